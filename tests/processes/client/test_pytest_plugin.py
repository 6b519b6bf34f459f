"""The plug-in of pytest, in a session of its own, as the author of a library has it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kit.server.server_process import NO_EXECUTOR

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[3] / "examples" / "test_a_library.py"

# What a library does: it connects by itself, and knows nothing of faults.
TESTS = """
import os
import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import QiskitRuntimeService
from qiskit_ibm_runtime.executor_sampler import Sampler
from qiskit_ibm_runtime.exceptions import RuntimeJobFailureError


def counts(backend):
    circuit = QuantumCircuit(1, 1)
    circuit.x(0)
    circuit.measure(0, 0)
    return Sampler(mode=backend).run([circuit], shots=100).result()[0].data.c.get_counts()


@pytest.mark.runtime_faults("fail=8053")
def test_a_failure(runtime_backend):
    with pytest.raises(RuntimeJobFailureError, match="8053"):
        counts(runtime_backend)


def test_no_fault_is_left_by_the_test_before(runtime_backend):
    assert counts(runtime_backend)["1"] > 60


@pytest.mark.runtime_faults("status=503", "times=2")
def test_a_service_that_is_away_for_a_moment(runtime_service):
    assert counts(QiskitRuntimeService().backend("chaos_fake_manila@aer"))["1"] > 60


def test_one_server_for_all(runtime_server, runtime_service):
    assert runtime_server.url in os.environ["QISKIT_IBM_URL"]
    with pytest.raises(ValueError, match="do you mean run"):
        runtime_server.set_faults("runn=1")


def test_names_are_plain(runtime_service):
    assert runtime_service.backend("fake_lima").num_qubits == 5
"""
INI = """
[pytest]
runtime_server_settings =
    QRS_DEFAULT_EXECUTOR=aer
    QRS_BACKENDS=fake_manila fake_lima
"""
# It starts no simulator that would be of no use.
WRONG_INI = f"""
[pytest]
runtime_server_settings =
    QRS_EXECUTORS={NO_EXECUTOR.removeprefix("--executors=")}
    QRS_BACKENDS=no_such_device
"""


def run(python: str, folder: Path, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run pytest there with the plug-in, and nothing of this session's."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("QISKIT_", "PYTEST_"))}
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers"]
    plugin = ["-p", "qiskit_runtime_server.pytest_plugin"]
    return subprocess.run(
        [*command, *plugin, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_fixtures_start_a_server_and_a_marker_sets_faults(python: str, tmp_path: Path) -> None:
    (tmp_path / "test_library.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text(INI)
    done = run(python, tmp_path, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout


@pytest.mark.thorough
def test_the_example_passes(python: str, tmp_path: Path) -> None:
    (tmp_path / EXAMPLE.name).write_text(EXAMPLE.read_text())
    done = run(python, tmp_path, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout


def test_a_server_that_does_not_start_says_why(python: str, tmp_path: Path) -> None:
    (tmp_path / "test_library.py").write_text("def test_it(runtime_server): pass\n")
    (tmp_path / "pytest.ini").write_text(WRONG_INI)
    done = run(python, tmp_path, tmp_path)
    assert done.returncode == 1
    assert "no device is called no_such_device" in done.stdout


def test_it_costs_nothing_to_those_who_do_without(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text(
        "import sys\n"
        "def test_nothing_is_imported():\n"
        "    heavy = {'qiskit', 'qiskit_ibm_runtime', 'httpx', 'fastapi', 'numpy', 'pydantic'}\n"
        "    assert heavy.isdisjoint(sys.modules), heavy & set(sys.modules)\n"
    )
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "qiskit_runtime_server.pytest_plugin",
    ]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
