"""What CONTRIBUTING.md says of the layout: no circle of imports, and rooms that can be looked over."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest
import rustworkx

from kit import ROOT

PACKAGES = {"server": "qiskit_runtime_server", "operator": "qiskit_runtime_operator"}
MOST_MODULES = 16


@pytest.mark.parametrize("package", PACKAGES.values())
def test_no_modules_import_each_other_in_a_circle(package: str) -> None:
    imports = grimp.build_graph(package, exclude_type_checking_imports=True, cache_dir=None)
    graph: rustworkx.PyDiGraph[str, None] = rustworkx.PyDiGraph()
    numbers = {module: graph.add_node(module) for module in sorted(imports.modules)}
    for module, number in numbers.items():
        for imported in imports.find_modules_directly_imported_by(module):
            graph.add_edge(number, numbers[imported], None)
    circles = [{graph[number] for number in part} for part in rustworkx.strongly_connected_components(graph)]
    assert [circle for circle in circles if len(circle) > 1] == []


@pytest.mark.parametrize(("folder", "package"), PACKAGES.items())
def test_no_folder_has_more_modules_than_one_can_look_over(folder: str, package: str) -> None:
    modules = [path for path in (ROOT / folder / package).rglob("*.py") if path.name != "__init__.py"]
    assert modules
    counted = Counter(path.parent.relative_to(ROOT) for path in modules)
    assert {where.as_posix(): count for where, count in counted.items() if count > MOST_MODULES} == {}


def test_programs_has_eight_modules_beside_its_folders() -> None:
    programs = Path(ROOT / "server" / PACKAGES["server"] / "programs")
    assert len([path for path in programs.glob("*.py") if path.name != "__init__.py"]) <= 8


def test_constants_of_modules_are_final() -> None:
    modules = [path for folder, package in PACKAGES.items() for path in (ROOT / folder / package).rglob("*.py")]
    assert [f"{path.relative_to(ROOT)}: {name}" for path in modules for name in _not_final(path)] == []


def _not_final(module: Path) -> Iterator[str]:
    for statement in ast.parse(module.read_text()).body:
        if isinstance(statement, ast.AnnAssign) and not ast.unparse(statement.annotation).startswith("Final"):
            names = ast.unparse(statement.target)
        elif isinstance(statement, ast.Assign) and not ast.unparse(statement.value).startswith(
            ("TypeVar(", "ParamSpec(")
        ):
            names = ", ".join(map(ast.unparse, statement.targets))
        else:
            continue
        yield from re.findall(r"\b_?[A-Z][A-Z0-9_]*\b(?!\[)", names)


PRIVATE = {
    "qiskit_runtime_server": {"programs/private_names.py", "simulation/noise_models.py", "worker/fork_server.py"},
    "qiskit_runtime_operator": set(),
}


@pytest.mark.parametrize(("folder", "package"), PACKAGES.items())
def test_private_names_of_libraries_are_used_in_modules_for_them(folder: str, package: str) -> None:
    """Also as texts that `getattr` is given. The names, and a test of each, are in docs/reference/dependencies.md."""
    modules = {path: ast.parse(path.read_text()) for path in (ROOT / folder / package).rglob("*.py")}
    ours = {name for tree in modules.values() for name in _defined(tree)} | {"_exit", "_mapping"}
    for path, tree in modules.items():
        if path.relative_to(ROOT / folder / package).as_posix() not in PRIVATE[package]:
            assert {name for name in _private(tree) if name not in ours} == set(), path


def _defined(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case (
                ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store())
                | ast.Name(id=name, ctx=ast.Store())
            ):
                yield name


def _private(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) if name.startswith("_") and not name.startswith("__"):
                yield name
            case ast.Call(func=ast.Name(id="getattr" | "hasattr"), args=[_, ast.Constant(value=str(name)), *_]):
                if name.startswith("_") and not name.startswith("__"):
                    yield name


def test_a_module_calls_its_logger_logger() -> None:
    modules = [path for folder, package in PACKAGES.items() for path in (ROOT / folder / package).rglob("*.py")]
    names = re.findall(r"^(\w+).* = logging\.getLogger", "\n".join(path.read_text() for path in modules), re.MULTILINE)
    assert len(names) > 20
    assert set(names) == {"logger"}


def test_errors_are_raised_with_their_message_in_place() -> None:
    modules = [path for folder, package in PACKAGES.items() for path in (ROOT / folder / package).rglob("*.py")]
    raised = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in modules
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Raise) and node.exc and ast.unparse(node.exc).endswith("(message)")
    ]
    assert raised == []
