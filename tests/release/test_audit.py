"""Known vulnerabilities are found by ranges of versions, in what users install."""

import json
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from audit import ADVISORIES, Pin, main, pinned, vulnerabilities
from kit import ROOT


def advisory(*events: dict[str, str], **affected: object) -> dict[str, object]:
    package = {"ecosystem": "PyPI", "name": "Some_Package"}
    ranges = [{"type": "ECOSYSTEM", "events": list(events)}]
    return {
        "id": "GHSA-1",
        "aliases": ["CVE-1"],
        "summary": "bad",
        "affected": [{"package": package, "ranges": ranges, **affected}],
    }


@pytest.mark.parametrize(
    ("events", "hit", "missed"),
    [
        (
            [{"introduced": "0"}, {"fixed": "1.10"}],
            ["0.1", "1.9", "1.10rc1"],
            ["1.10", "2"],
        ),
        (
            [{"introduced": "1.2"}, {"last_affected": "1.4"}],
            ["1.2", "1.4"],
            ["1.1", "1.4.1"],
        ),
        (
            [{"fixed": "1.1"}, {"introduced": "0"}, {"introduced": "2"}, {"fixed": "2.1"}],
            ["1.0", "2.0.9"],
            ["1.1", "1.9", "2.1"],
        ),
    ],
)
def test_a_version_is_affected_between_what_introduced_it_and_what_fixed_it(
    events: list[dict[str, str]], hit: list[str], missed: list[str]
) -> None:
    known = [advisory(*events)]
    for version in hit:
        pin = Pin(name="some-package", version=version)
        assert list(vulnerabilities(pin, known)) == ["GHSA-1, CVE-1: bad"]
    for version in missed:
        assert list(vulnerabilities(Pin(name="some-package", version=version), known)) == []
    assert list(vulnerabilities(Pin(name="other", version=hit[0]), known)) == []


def test_a_version_may_be_named_by_itself() -> None:
    known = [advisory(versions=["1.0.post1"])]
    assert list(vulnerabilities(Pin(name="some-package", version="1.0.post1"), known))
    assert not list(vulnerabilities(Pin(name="some-package", version="1.0"), known))


def test_stored_advisories_are_on_what_is_installed_and_none_is_left_open() -> None:
    stored = json.loads(ADVISORIES.read_text())
    pins = {pin for path in (ROOT / "requirements").glob("image-*.txt") for pin in pinned(path.read_text())}
    names = {canonicalize_name(affected["package"]["name"]) for known in stored for affected in known["affected"]}
    assert names <= {pin.name for pin in pins}
    assert [said for pin in pins for said in vulnerabilities(pin, stored)] == []


def test_the_audit_fails_for_a_vulnerable_pin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    requirements = tmp_path / "old.txt"
    requirements.write_text("starlette==0.48.0 \\\n    --hash=sha256:00\nh11==0.16.0\n")
    assert main([str(requirements)]) == 1
    assert "starlette 0.48.0: GHSA-7f5h-v6xp-fcq8, CVE-2025-62727" in capsys.readouterr().out
