"""An executor that keeps state vectors in single precision, and so holds one qubit more than double precision does."""

from typing import Self

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit_aer import AerSimulator

from qiskit_runtime_server.executors import BaseExecutor, BitTensor, Capabilities, CircuitTooLargeError, SampleTask

BYTES_PER_AMPLITUDE = 8
LARGEST = 34  # what the machine may hold where nobody says how much memory a slot has


class SinglePrecisionExecutor(BaseExecutor):
    """Runs each row of a task by itself.

    Args:
        memory_bytes: What a state vector may take, None for no limit.
        threads: How many cores to use.
    """

    def __init__(self, *, memory_bytes: int | None = None, threads: int = 1) -> None:
        self._memory_bytes = memory_bytes
        self._threads = threads

    def fitted(self, *, memory_bytes: int | None, threads: int) -> Self:
        """Return an executor for a slot of this size."""
        return type(self)(memory_bytes=memory_bytes, threads=threads)

    def capabilities(self) -> Capabilities:
        """Return how many qubits fit."""
        amplitudes = (self._memory_bytes or BYTES_PER_AMPLITUDE << LARGEST) // BYTES_PER_AMPLITUDE
        return Capabilities(num_qubits=max(amplitudes, 1).bit_length() - 1, methods=("statevector",))

    def sample(self, task: SampleTask) -> BitTensor:
        """Return bits of shape ``(rows, shots, clbits)``, each row from its own seed.

        Raises:
            CircuitTooLargeError: If the state does not fit; nothing was allocated for it.
        """
        if task.circuit.num_qubits > (fits := self.capabilities().num_qubits):
            message = f"{task.circuit.num_qubits} entangled qubits are too many here; {fits} fit."
            raise CircuitTooLargeError(message)
        rows = zip(task.parameter_values, task.seeds, strict=True)
        return np.stack([self._row(task, values, seed) for values, seed in rows])

    def _row(self, task: SampleTask, values: NDArray[np.float64], seed: np.uint64) -> BitTensor:
        circuit: QuantumCircuit = task.circuit.assign_parameters(values)
        simulator = AerSimulator(
            method="statevector",
            precision="single",
            noise_model=task.noise,
            max_parallel_threads=self._threads,
            # Aer takes seeds of 31 bits; a plain remainder would give 3 and 3 + 2**31 the same shots.
            seed_simulator=int(np.random.default_rng(seed).integers(2**31)),
        )
        # A number for each shot: get_memory() would leave out bits that are in no register.
        memory = simulator.run(circuit, shots=task.shots, memory=True).result().data()["memory"]
        return np.array([[bool(int(shot, 16) >> bit & 1) for bit in range(circuit.num_clbits)] for shot in memory])
