"""What a simulation takes stays below the limit that its executor was given, for everything that takes shots.

The limits are the tightest at which the executor does not refuse the circuit, or chooses another method.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from kit import environment
from kit.quantum import peak_memory
from kit.quantum.qsim_alone import needs_qsim

MIB = 2**20
FIXED = 16 * MIB
"""What does not grow with the state: code that is loaded late, tables of errors, circuits."""

Measured = Callable[[str, int, int], dict[str, int | str]]


@pytest.fixture(scope="module")
def measured() -> Iterator[Measured]:
    """Return a function that runs a case in a new process."""
    command = [sys.executable, "-m", peak_memory.__name__]
    with subprocess.Popen(
        command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin
        assert stdout

        def measure(*case: str | int) -> dict[str, int | str]:
            print(json.dumps(case), file=stdin, flush=True)
            found: dict[str, int | str] = json.loads(stdout.readline())
            return found

        yield measure
        stdin.close()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak from a given moment on")
@pytest.mark.parametrize(
    ("case", "num_qubits", "limit"),
    [
        ("ideal probabilities", 22, 72 * MIB),
        pytest.param("ideal probabilities", 24, 285 * MIB, marks=pytest.mark.thorough),
        ("density evolution", 20, 72 * MIB),
        ("density evolution", 22, 286 * MIB),
        # What spelled out all outcomes took 3.6 GiB here.
        ("density evolution", 24, 2048 * MIB),
        ("state vector", 18, 5 * MIB),
        ("state vector", 22, 72 * MIB),
        ("trajectories", 18, 5 * MIB),
        ("interpreter", 18, 21 * MIB),
        ("interpreter", 20, 81 * MIB),
        ("interpreter with errors", 14, 5 * MIB),
        # Half of what Aer takes, and three states of it along trajectories, with holes between small ones.
        pytest.param("state vector on qsim", 22, 36 * MIB, marks=needs_qsim),
        pytest.param("state vector on qsim", 24, 143 * MIB, marks=[needs_qsim, pytest.mark.thorough]),
        pytest.param("trajectories on qsim", 20, 54 * MIB, marks=needs_qsim),
        pytest.param("trajectories on qsim", 22, 107 * MIB, marks=needs_qsim),
    ],
)
def test_a_simulation_keeps_to_its_limit(measured: Measured, case: str, num_qubits: int, limit: int) -> None:
    found = measured(case, num_qubits, limit)
    peak = found.get("peak")
    assert isinstance(peak, int), found
    assert peak > 16 * 2**num_qubits // 32, f"it cannot have had a state: {found}"
    assert peak <= limit + FIXED
