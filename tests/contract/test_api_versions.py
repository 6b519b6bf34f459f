"""Both versions of a RuntimeServer have one shape, so that nothing has to be converted."""

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_versions_differ_in_name_and_storage_only() -> None:
    spec = yaml.safe_load((ROOT / "crds" / "runtimeservers.yaml").read_text())["spec"]
    assert [version["name"] for version in spec["versions"]] == ["v1alpha1", "v1beta1"]
    assert all(version["served"] for version in spec["versions"])
    alpha, beta = (
        {name: part for name, part in version.items() if name not in {"name", "storage"}}
        for version in spec["versions"]
    )
    assert alpha == beta
    assert spec.get("conversion", {"strategy": "None"}) == {"strategy": "None"}


def test_what_is_stored_is_what_the_release_before_can_read() -> None:
    spec = yaml.safe_load((ROOT / "crds" / "runtimeservers.yaml").read_text())["spec"]
    assert [version["name"] for version in spec["versions"] if version["storage"]] == ["v1alpha1"]
