"""What CONTRIBUTING.md says of the layout: no circle of imports, and rooms that can be looked over."""

from collections import Counter
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
