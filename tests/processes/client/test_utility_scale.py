"""The script of the tutorial on 127 qubits, on few of them: its values are those of physics."""

import os
import re
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp, Statevector

from kit.server.server_process import ServerProcess
from qiskit_runtime_server.client import environment

ROOT = Path(__file__).parents[3]
QUBITS, MEASURED, STEPS, ANGLES = 8, 3, 3, 5
# 5-6 and 6-7 could not be calibrated.
COUPLERS = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]
CELL = re.compile(r"(-?\d+\.\d+) \+- (\d+\.\d+)")


def exact(theta: float) -> float:
    """Return <Z> as the state has it that the model, and no transpiler, makes of the device's first qubits."""
    circuit = QuantumCircuit(QUBITS)
    for _ in range(STEPS):
        circuit.rx(theta, range(QUBITS))
        for pair in COUPLERS:
            circuit.rzz(-np.pi / 2, *pair)
    observable = SparsePauliOp.from_sparse_list([("Z", [MEASURED], 1.0)], QUBITS)
    return float(Statevector(circuit).expectation_value(observable).real)


def test_the_script_of_the_tutorial_gives_what_physics_does(python: str, server: ServerProcess, tmp_path: Path) -> None:
    picture = tmp_path / "picture.svg"
    arguments = f"--qubits {QUBITS} --measure {MEASURED} --steps {STEPS} --angles {ANGLES} --precision 0.005"
    done = subprocess.run(
        [python, ROOT / "examples/utility_scale.py", *arguments.split(), "--svg", picture],
        env={**os.environ, **environment(server.url, "utility")},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [CELL.findall(line) for line in done.stdout.splitlines() if line.count("+-") == 3]
    table = np.array(rows, dtype=np.float64)
    assert table.shape == (ANGLES, 3, 2)
    (ideal, noisy, mitigated), (ideal_stds, noisy_stds, mitigated_stds) = np.moveaxis(table, 2, 0).transpose(0, 2, 1)
    expected = np.array([exact(theta) for theta in np.linspace(0, np.pi / 2, ANGLES)])
    # Of the printed digits, the last one is rounded.
    assert (np.abs(ideal - expected) <= 5 * ideal_stds + 1e-4).all()
    # Errors make the magnetization smaller, and mitigation brings more than half of that back.
    large = expected > 0.3
    assert large.sum() >= 2
    lost, left = np.abs(noisy - expected)[large], np.abs(mitigated - expected)[large]
    assert (lost > 5 * noisy_stds[large]).all()
    assert (left < lost).all()
    assert left.sum() < lost.sum() / 2
    assert (mitigated_stds > 0).all()
    groups = ET.parse(picture).iterfind(".//{http://www.w3.org/2000/svg}g[@id]")  # noqa: S314 - of our own script
    assert [group.get("id") for group in groups] == ["ideal", "noisy", "mitigated"]


def test_the_picture_of_the_tutorial_is_one_of_the_script() -> None:
    drawn = ET.parse(ROOT / "docs/pictures/utility-scale.svg")  # noqa: S314 - our own file
    groups = drawn.iterfind(".//{http://www.w3.org/2000/svg}g[@id]")
    assert [group.get("id") for group in groups] == ["ideal", "noisy", "mitigated"]
    texts = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert "<Z> of qubit 61 after 4 steps on 127 qubits" in texts
