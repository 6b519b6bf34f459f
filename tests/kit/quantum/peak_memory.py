"""Runs simulations, each in a process of its own, and prints what they took.

Reads a line with a list in JSON for each: the name of the case, qubits, limit. Prints a line with an object for each:
`peak`, how many bytes were resident at most beyond those before; or `refused`, the message with which the executor
refused the circuit. Linux alone tells the peak from a given moment on. The processes are forked from this one, which
has imported what they need and has run nothing.
"""

import json
import multiprocessing
import resource
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from qiskit import QuantumCircuit
from qiskit_aer.noise import NoiseModel, amplitude_damping_error, depolarizing_error

from qiskit_runtime_server.errors import JobError
from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.executors.base import BaseExecutor, SampleTask
from qiskit_runtime_server.executors.qsim.executor import QsimExecutor

SHOTS = 3


def chain(num_qubits: int, measured: int) -> QuantumCircuit:
    """Return a chain of entangled qubits that are no stabilizer state, the last ones measured."""
    circuit = QuantumCircuit(num_qubits, measured)
    circuit.h(0)
    for qubit in range(num_qubits - 1):
        circuit.cx(qubit, qubit + 1)
        circuit.ry(0.3, qubit + 1)
    circuit.measure(range(num_qubits - measured, num_qubits), range(measured))
    return circuit


def mesh(num_qubits: int) -> QuantumCircuit:
    """Return a circuit on a ring with chords, whose bonds are too large for a matrix product state."""
    circuit = QuantumCircuit(num_qubits, num_qubits)
    circuit.ry(0.3, range(num_qubits))
    for step in (1, num_qubits // 2):
        for qubit in range(num_qubits):
            circuit.cx(qubit, (qubit + step) % num_qubits)
        circuit.ry(0.2, range(num_qubits))
    circuit.measure(range(num_qubits), range(num_qubits))
    return circuit


def decided(num_qubits: int) -> QuantumCircuit:
    """Return a circuit with a decision that needs the interpreter."""
    circuit = chain(num_qubits, num_qubits)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    circuit.measure(1, 1)
    return circuit


def damped() -> NoiseModel:
    """Return errors that are no mixtures of unitaries."""
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.01, 2), "cx")
    model.add_all_qubit_quantum_error(amplitude_damping_error(0.01), "ry")
    return model


CASES: Mapping[str, tuple[Callable[[int], QuantumCircuit], bool]] = {
    "ideal probabilities": (lambda n: chain(n, 12), False),
    "density evolution": (lambda n: chain(n, n), True),
    "state vector": (mesh, False),
    "trajectories": (mesh, True),
    "interpreter": (decided, False),
    "interpreter with errors": (decided, True),
    "state vector on qsim": (mesh, False),
    "trajectories on qsim": (mesh, True),
}
"""The circuit of so many qubits, and whether it has errors."""


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def measured(name: str, num_qubits: int, limit: int) -> dict[str, int | str]:
    """Return what is printed of a case; to be called once in a process."""
    build, errs = CASES[name]
    circuit = build(num_qubits)
    noise = damped() if errs else None
    kind = QsimExecutor if name.endswith("qsim") else AerExecutor
    executor = kind(memory_bytes=limit, threads=1)
    small = build(4 if name != "ideal probabilities" else 13)
    run(executor, small, noise)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident()
    try:
        run(executor, circuit, noise)
    except JobError as error:
        return {"refused": str(error)}
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {"peak": int(status["VmHWM"].split()[0]) * 1024 - before}


def run(executor: BaseExecutor, circuit: QuantumCircuit, noise: NoiseModel | None) -> None:
    bits = executor.sample(
        SampleTask(
            circuit=circuit,
            parameter_values=np.empty((1, 0)),
            shots=SHOTS,
            noise=noise,
            seeds=np.array([1], dtype=np.uint64),
        )
    )
    assert bits.shape == (1, SHOTS, circuit.num_clbits)


def tell(name: str, num_qubits: int, limit: int) -> None:
    print(json.dumps(measured(name, num_qubits, limit)), flush=True)


def main() -> None:
    for line in sys.stdin:
        process = multiprocessing.get_context("fork").Process(target=tell, args=json.loads(line))
        process.start()
        process.join()
        if process.exitcode != 0:
            print(json.dumps({"ended": process.exitcode}), flush=True)


if __name__ == "__main__":
    main()
