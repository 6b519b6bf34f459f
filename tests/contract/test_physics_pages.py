"""Physics has its sources: in the head of each module that does it, and on a page for each method."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVER = ROOT / "server/qiskit_runtime_server"
FOLDER = ROOT / "docs/explanation/physics"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "index.md")
MODULES = sorted(path for part in ("simulation", "programs/mitigation") for path in (SERVER / part).rglob("[!_]*.py"))
SOURCE = re.compile(r"https://(?:doi\.org/10\.\d{4,}/\S+|arxiv\.org/abs/(?:[a-z-]+/\d{7}|\d{4}\.\d{4,5}))")
TEST = re.compile(r"`(test_\w+\.py)::(\w+)`")
CODE = re.compile(r"^\| .+ \| `([\w/]+(?:\.py)?)`(?: \((.+)\))? \|$", re.MULTILINE)


@cache
def names_in(module: Path) -> frozenset[str]:
    """Return what a module defines: classes with their methods, functions, constants."""
    nodes = list(ast.walk(ast.parse(module.read_text())))
    defined = {node.name for node in nodes if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)}
    assigned = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return frozenset(defined | assigned)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(SERVER)))
def test_a_module_says_where_its_physics_is_from(module: Path) -> None:
    head = ast.get_docstring(ast.parse(module.read_text())) or ""
    assert SOURCE.search(head), head


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_has_sources_code_tests_and_limits(page: Path) -> None:
    text = page.read_text()
    assert SOURCE.search(text)
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert {"In the code", "Proven by"} <= set(headings)
    assert {"What it neglects", "What is missing"} & set(headings)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_the_code_that_a_page_names_is_there(page: Path) -> None:
    found = CODE.findall(page.read_text().partition("## In the code")[2])
    assert found
    for path, names in found:
        assert (SERVER / path).exists() or (SERVER / f"{path}.py").exists(), path
        missing = {name for name in re.findall(r"`(\w+)`", names) if name not in names_in(SERVER / path)}
        assert not missing, f"{path} has no {missing}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_the_tests_that_a_page_names_are_there(page: Path) -> None:
    found = TEST.findall(page.read_text())
    assert found
    for name, test in found:
        files = list((ROOT / "tests").rglob(name))
        assert any(test in names_in(file) for file in files), f"{name}::{test}"


def test_the_index_names_every_page() -> None:
    index = (FOLDER / "index.md").read_text()
    assert [page.name for page in PAGES if f"({page.name})" not in index] == []
