"""Every test belongs to a part that CONTRIBUTING.md describes."""

from pathlib import Path

import pytest
from parts_of_tests import PARTS, counted, minutes, table

from kit import ROOT


def test_every_part_is_there_and_every_test_belongs_to_one() -> None:
    assert all((ROOT / part).is_dir() for part in PARTS)
    files = {path.parent.relative_to(ROOT).as_posix() for path in ROOT.glob("tests/**/test_*.py")}
    outside = {"tests/node"}
    assert {folder for folder in files if not any(f"{folder}/".startswith(f"{part}/") for part in PARTS)} == outside


def test_tests_and_seconds_are_added_up_by_part(tmp_path: Path) -> None:
    report = tmp_path / "one.xml"
    case = '<testcase classname="{}" name="a" time="{}"/>'
    cases = [
        case.format("tests.unit.server.store.test_sqlite", 90),
        case.format("tests.unit.server.store.test_sqlite", 30),
        case.format("tests.unit.server.test_settings", 6),
    ]
    report.write_text(f'<testsuites><testsuite time="81">{"".join(cases)}</testsuite></testsuites>')
    found = counted([report])
    assert found == {"tests/unit/server/store": (2, 120.0), "tests/unit/server": (1, 6.0)}
    assert table(found).splitlines()[-1] == "| all | | 3 | 2.1 | `make test` |"
    assert minutes([report, report]) == 2.7
    report.write_text(f"<testsuite>{case.format('tests.elsewhere.test_a', 1)}</testsuite>")
    with pytest.raises(ValueError, match="belongs to no part"):
        counted([report])
