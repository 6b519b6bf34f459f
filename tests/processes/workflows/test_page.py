"""The page about the ecosystem names what these tests run."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "how-to" / "ecosystem.md").read_text()
SCRIPTS = Path(__file__).with_name("scripts")


def test_the_page_links_to_every_script() -> None:
    linked = re.findall(r"\]\((\S+\.py)\)", PAGE)
    assert sorted((ROOT / "docs" / "how-to" / path).resolve() for path in linked) == sorted(SCRIPTS.glob("*.py"))


def test_every_script_is_run_by_a_test() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert set(re.findall(r'run\("(\w+)"\)', tests)) == {path.stem for path in SCRIPTS.glob("*.py")}


def test_the_page_has_the_versions_that_are_locked() -> None:
    locked = dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / "requirements" / "workflows.txt").read_text(), re.MULTILINE))
    named = dict(re.findall(r"^\| ([\w-]+) \| ([\d.]+) \|", PAGE, re.MULTILINE))
    assert len(named) == 7
    assert named == {package: locked[package] for package in named}
    assert f"`qiskit-ibm-runtime` {locked['qiskit-ibm-runtime']}" in PAGE
