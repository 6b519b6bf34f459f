"""What a fake device gives exactly: outcome probabilities with its errors, without the server or a simulator.

The errors are read from the noise model that Aer makes of the device's calibration; density matrices are evolved here.
"""

from functools import cached_property
from string import ascii_letters

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction
from qiskit.providers import BackendV2
from qiskit.quantum_info import SuperOp, process_fidelity
from qiskit_aer.noise import NoiseModel, thermal_relaxation_error

ComplexArray = NDArray[np.complex128]
FloatArray = NDArray[np.float64]


class ExactDevice:
    """The errors of a fake device."""

    def __init__(self, backend: BackendV2) -> None:
        self._backend = backend
        self._model = NoiseModel.from_backend(backend)
        self._channels: dict[object, ComplexArray] = {}

    def probabilities(self, circuit: QuantumCircuit, *, readout: bool = True) -> FloatArray:
        """Return the probability of each outcome.

        Args:
            circuit: An ISA circuit without control flow, in which nothing follows a measurement and each bit is
                measured into once.
            readout: Whether bits are misread.

        Returns:
            An array of 2^n numbers, n being the number of bits; bit 0 of the index is bit 0 of the circuit.
        """
        evolution = _Evolution(circuit)
        for instruction in circuit:
            operands = [circuit.find_bit(qubit).index for qubit in instruction.qubits]
            if instruction.operation.name not in {"barrier", "measure"}:
                evolution.apply(self._channel(instruction, tuple(operands)), operands)
        probabilities = evolution.measured()
        if not readout:
            return probabilities.reshape(-1)
        for axis, qubit in enumerate(reversed(evolution.measured_qubits)):
            misread = np.tensordot(probabilities, self.readout(qubit), axes=(axis, 0))
            probabilities = np.moveaxis(misread, -1, axis)
        return probabilities.reshape(-1)

    def readout(self, qubit: int) -> FloatArray:
        """Return the probability of reading a bit [1] where the qubit is in a state [0]."""
        return np.asarray(self._model._local_readout_errors[qubit,].probabilities)

    def process_fidelity(self, gate: str, qubits: tuple[int, ...]) -> float:
        """Return the process fidelity of the error behind a gate."""
        return float(process_fidelity(SuperOp(self._gate_errors[gate][qubits])))

    @cached_property
    def _gate_errors(self) -> dict[str, dict[tuple[int, ...], object]]:
        errors: dict[str, dict[tuple[int, ...], object]] = self._model._local_quantum_errors
        assert "measure" not in errors
        return errors

    def _channel(self, instruction: CircuitInstruction, qubits: tuple[int, ...]) -> ComplexArray:
        """Return the superoperator of an instruction and the error behind it; column-stacking, of shape (4^n, 4^n)."""
        operation = instruction.operation
        key = (operation.name, operation.unit if operation.name == "delay" else None, *operation.params, *qubits)
        if key not in self._channels:
            self._channels[key] = self._new_channel(instruction, qubits)
        return self._channels[key]

    def _new_channel(self, instruction: CircuitInstruction, qubits: tuple[int, ...]) -> ComplexArray:
        operation = instruction.operation
        if operation.name == "delay":
            seconds = operation.duration * {"dt": self._backend.dt, "s": 1}[operation.unit]
            times = self._backend.qubit_properties(qubits[0])
            idle = SuperOp(thermal_relaxation_error(times.t1, min(times.t2, 2 * times.t1), seconds))
            return np.asarray(idle.data)
        gate = SuperOp(operation)
        error = self._gate_errors.get(operation.name, {}).get(qubits)
        return np.asarray(gate.data if error is None else gate.compose(SuperOp(error)).data)


class _Evolution:
    """A density matrix of the qubits that a circuit uses, first in their ground states.

    Its tensor has two axes for each qubit: the row's, then the column's.
    """

    def __init__(self, circuit: QuantumCircuit) -> None:
        wiring: dict[int, int] = {}
        used: dict[int, None] = {}
        for instruction in circuit:
            if instruction.operation.name == "barrier":
                continue
            operands = [circuit.find_bit(qubit).index for qubit in instruction.qubits]
            assert not set(operands) & set(wiring.values()), "something follows a measurement"
            used |= dict.fromkeys(operands)
            if instruction.operation.name == "measure":
                bit = circuit.find_bit(instruction.clbits[0]).index
                assert bit not in wiring, "a bit is measured into twice"
                wiring[bit] = operands[0]
        assert sorted(wiring) == list(range(circuit.num_clbits)), "a bit is not measured into"
        self.measured_qubits = [wiring[bit] for bit in range(circuit.num_clbits)]
        self._position = {qubit: position for position, qubit in enumerate(used)}
        self._state = np.zeros((2,) * (2 * len(used)), dtype=np.complex128)
        self._state[(0,) * (2 * len(used))] = 1

    def apply(self, channel: ComplexArray, qubits: list[int]) -> None:
        """Apply a superoperator (column-stacking; its first qubit is the least significant)."""
        axes = [2 * self._position[qubit] + 1 for qubit in reversed(qubits)]
        axes += [2 * self._position[qubit] for qubit in reversed(qubits)]
        tensor = channel.reshape((2,) * (2 * len(axes)))
        moved = np.tensordot(tensor, self._state, axes=(range(len(axes), 2 * len(axes)), axes))
        self._state = np.moveaxis(moved, range(len(axes)), axes)

    def measured(self) -> FloatArray:
        """Return the probabilities of the measured qubits, the last bit's axis first."""
        count = len(self._position)
        letters = ascii_letters[:count]
        diagonal = np.einsum(f"{''.join(2 * letter for letter in letters)}->{letters}", self._state).real
        kept = [self._position[qubit] for qubit in reversed(self.measured_qubits)]
        rest = tuple(position for position in range(count) if position not in kept)
        found: FloatArray = diagonal.sum(axis=rest).transpose([sorted(kept).index(position) for position in kept])
        return found
