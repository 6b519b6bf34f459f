"""The pages that are made from the code are up to date, and names that Python itself uses stay free."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from kit.kubernetes.played_messages import messages
from qiskit_runtime_operator.status.conditions import MEANINGS, Reason

ROOT = Path(__file__).parents[2]


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", sorted(generator().PAGES))
def test_reference_pages_are_as_the_code_says(name: str) -> None:
    assert (ROOT / "docs" / "reference" / name).read_text() == generator().PAGES[name](), "run `make docs`"


def test_every_reason_has_a_paragraph_and_a_message_that_the_operator_makes() -> None:
    said = messages()
    assert set(said) == set(MEANINGS) == set(Reason)
    assert all(said.values())
    page = (ROOT / "docs" / "reference" / "operator.md").read_text()
    rows = [line.split(" | ") for line in page.splitlines()]
    described = {row[0].strip("| `"): row[1:] for row in rows if len(row) == 3}
    for reason in Reason:
        meaning, message = described[reason]
        assert len(meaning) > 30, reason
        assert message.removesuffix(" |") == said[reason].replace("|", "\\|").replace("<", "\\<")


def test_every_path_is_described() -> None:
    page = (ROOT / "docs" / "reference" / "rest.md").read_text()
    for path in ("POST /api/v1/jobs", "GET /api/v1/backends/{name}/properties", "POST /identity/token"):
        assert f"`{path}`" in page


def test_operator_is_still_pythons_own() -> None:
    assert not list(ROOT.glob("operator/__init__.py")) + list(ROOT.glob("tests/**/operator/__init__.py"))
    assert Path(sys.modules["operator"].__file__ or "").is_relative_to(Path(importlib.util.__file__).parents[1])


def test_no_file_names_a_registry_or_a_path_of_a_machine() -> None:
    for path in ROOT.glob("requirements/*.txt"):
        lines = path.read_text().splitlines()
        assert not [line for line in lines if "://" in line or line.startswith("-")], path


def test_metrics_are_named_as_prometheus_asks() -> None:
    """https://prometheus.io/docs/practices/naming: a prefix of one's own, base units, _total for counters only."""
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
    kinds = {row[0].strip("| `"): row[1] for row in rows}
    assert all(re.fullmatch("qrs(_[a-z]+)+", name) for name in kinds)
    assert {name for name in kinds if name.endswith("_total")} == {n for n, kind in kinds.items() if kind == "counter"}
    assert all(name.endswith("_seconds") for name, kind in kinds.items() if kind == "histogram")
