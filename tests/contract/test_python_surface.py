"""The public Python surface is what its page says, and each name of it is there."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/reference/python.md"
SECTIONS = dict(re.findall(r"^## `([\w.]+)`\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL))


def test_the_page_has_the_modules_with_public_names() -> None:
    assert set(SECTIONS) == {
        "qiskit_runtime_server",
        "qiskit_runtime_server.client",
        "qiskit_runtime_server.executors",
        "qiskit_runtime_server.pytest_plugin",
        "qiskit_runtime_server.testing",
    }


@pytest.mark.parametrize("module", SECTIONS)
def test_the_page_names_what_a_module_exports(module: str) -> None:
    named = re.findall(r"^\| `(\w+)` \|", SECTIONS[module], re.MULTILINE)
    assert sorted(named) == sorted(import_module(module).__all__)


@pytest.mark.parametrize("module", SECTIONS)
def test_every_public_name_is_there(module: str) -> None:
    exporting = import_module(module)
    for name in exporting.__all__:
        assert getattr(exporting, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        exporting.no_such_name  # noqa: B018 - raises


@pytest.mark.slow
def test_the_contract_of_a_plug_in_imports_no_simulator() -> None:
    names = "BaseExecutor, BitTensor, Capabilities, ExpectationTask, JobError, SampleTask"
    script = (
        f"import sys; from qiskit_runtime_server.executors import {names};"
        " found = [m for m in sys.modules if m.startswith('qiskit_runtime_server.executors.')];"
        " print(sorted(found))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "['qiskit_runtime_server.executors.base']"
