"""Every test belongs to a part that CONTRIBUTING.md describes."""

import ast
import re
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
    assert table(found, {}).splitlines()[-1] == "| all | | 3 | 2.1 | `make test` |"
    last = table(found, {"tests/unit/server": (2, 600.0)}).splitlines()[-1]
    assert re.fullmatch(r"\| marked `thorough` \| .+ \| 2 \| 10\.0 \| `make test-thorough` \|", last)
    assert minutes([report, report]) == 2.7
    report.write_text(f"<testsuite>{case.format('tests.elsewhere.test_a', 1)}</testsuite>")
    with pytest.raises(ValueError, match="belongs to no part"):
        counted([report])


def test_what_is_thorough_has_a_shorter_test_beside_it() -> None:
    marked = [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if THOROUGH in path.read_text()]
    assert len(marked) > 5
    for path in marked:
        if path != Path(__file__):
            tests = [node for node in ast.parse(path.read_text()).body if getattr(node, "name", "").startswith("test_")]
            assert not all(is_thorough(test) for test in tests), path


THOROUGH = "pytest.mark.thorough"


def is_thorough(test: ast.stmt) -> bool:
    """Tell whether all of a test is, and not only for some of its parameters."""
    assert isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef), test
    return THOROUGH in {ast.unparse(decorator) for decorator in test.decorator_list}


def test_thorough_tests_are_left_out_of_make_test_and_run_each_week() -> None:
    makefile = (ROOT / "Makefile").read_text()
    workflow = (ROOT / ".github" / "workflows" / "weekly.yml").read_text()
    weekly = re.findall(r"^ +matrix: {target: \[(.+)\]}$", workflow, re.MULTILINE)[0].split(", ")
    assert all(re.search(rf"^{target}: .*## ", makefile, re.MULTILINE) for target in weekly)
    assert "test-thorough" in weekly
    runs = re.findall(r'-m "?([^"\n]*serial[^"\n ]*[^"\n]*)" --junitxml=\$\(REPORTS\)/(\S+)', makefile)
    chosen = {report: "not thorough" not in expression for expression, report in runs}
    assert chosen == {
        "computing.xml": False,
        "servers.xml": False,
        "again/servers.xml": False,
        "serial.xml": False,
        "fast/computing.xml": False,
        "thorough/all.xml": True,
    }
