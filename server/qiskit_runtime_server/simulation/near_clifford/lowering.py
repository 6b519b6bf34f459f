"""Writes a circuit and its errors in the format of Stim (Gidney, 2021, https://doi.org/10.22331/q-2021-07-06-497).

Gates that are no Clifford gates become rotations: of one qubit by Euler's angles, of two by Cartan's decomposition, in
which a gate is rotations about XX, YY and ZZ between gates of one (Kraus, Cirac, 2001,
https://doi.org/10.1103/PhysRevA.63.062309). Angles are in half turns:

    rz(0.3) q0            R_Z(0.0955) 0
    ecr q0, q1            H 0, CX 0 1, ...: a Clifford gate
    errors of ecr         PAULI_CHANNEL_2(...) 0 1
    measure q1            M 1; that it is misread comes later
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Delay, Gate, Instruction, ParameterExpression, QuantumCircuit
from qiskit.circuit.library import UnitaryGate
from qiskit.exceptions import QiskitError
from qiskit.synthesis import OneQubitEulerDecomposer, TwoQubitWeylDecomposition
from qiskit_aer.noise import NoiseModel

from qiskit_runtime_server.simulation.clifford.pauli_noise import PauliChannel, PauliErrors
from qiskit_runtime_server.simulation.clifford.recognition import clifford_gate, with_values

# Qiskit's own rotations, about these axes; phases do not count.
_ROTATIONS: Final[Mapping[str, str]] = {
    "rx": "R_X", "ry": "R_Y", "rz": "R_Z", "p": "R_Z", "u1": "R_Z", "rxx": "R_XX", "ryy": "R_YY", "rzz": "R_ZZ",
}  # fmt: skip
_FIXED: Final[Mapping[str, str]] = {"t": "T {0}", "tdg": "T_DAG {0}"}
_WRITABLE: Final = frozenset({"measure", "delay", "barrier"})
_MOST_QUBITS: Final = 2
_QUARTER: Final = math.pi / 2
_CLOSE: Final = 1e-7
"""As close as a gate has to be to a Clifford gate for it to be taken for one."""

_KEPT: Final = 4096


class Lowering:
    """A circuit without control flow whose angles are numbers or bare parameters."""

    def __init__(self, circuit: QuantumCircuit, noise: NoiseModel | None) -> None:
        """Read a circuit; `of` says which can be read."""
        self.num_clbits = circuit.num_clbits
        self._columns: Mapping[object, int] = {p: column for column, p in enumerate(circuit.parameters)}
        self._noise = PauliErrors(noise)
        # Lines, or gates whose angles are not known yet, with their qubits.
        self._parts: list[str | tuple[Instruction, tuple[int, ...]]] = []
        self._measured: list[int] = []
        self._misread: list[tuple[float, float]] = []
        qubits = {qubit: number for number, qubit in enumerate(circuit.qubits)}
        clbits = {clbit: number for number, clbit in enumerate(circuit.clbits)}
        for part in circuit.data:
            own = tuple(qubits[qubit] for qubit in part.qubits)
            self._read(part.operation, own, [clbits[clbit] for clbit in part.clbits])

    @classmethod
    def of(cls, circuit: QuantumCircuit, noise: NoiseModel | None) -> "Lowering | None":
        """Return a circuit, or None if it has something that cannot be written."""
        if not all(_is_writable(part.operation) for part in circuit.data):
            return None
        try:
            return cls(circuit, noise)
        except (QiskitError, TypeError):
            # A gate that has no matrix.
            return None

    def text(self, values: Sequence[float]) -> str:
        """Return the circuit with these values of its parameters."""
        return "\n".join(self._lines(values))

    def bits(self, outcomes: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
        """Return the classical bits, shape ``(shots, num_clbits)``, as outcomes are read that are drawn as `text` says.

        Args:
            outcomes: Of all measurements, shape ``(shots, measurements)``.
            rng: Draws what is misread.
        """
        bits = np.zeros((len(outcomes), self.num_clbits), dtype=np.bool_)
        for number, (clbit, misread) in enumerate(zip(self._measured, self._misread, strict=True)):
            read = outcomes[:, number]
            if any(misread):
                read = read ^ (rng.random(len(read)) < np.where(read, misread[1], misread[0]))
            bits[:, clbit] = read
        return bits

    def _lines(self, values: Sequence[float]) -> Iterator[str]:
        for part in self._parts:
            if isinstance(part, str):
                yield part
                continue
            operation, qubits = part
            yield _written(with_values(operation, self._columns, values)).format(*qubits)

    def _read(self, operation: Instruction, qubits: tuple[int, ...], clbits: Sequence[int]) -> None:
        name = operation.name
        if name == "barrier":
            return
        if name == "measure":
            self._measure(qubits[0], clbits[0])
            return
        if name.startswith("reset"):
            self._parts.append(f"R {qubits[0]}")
        elif any(isinstance(angle, ParameterExpression) for angle in operation.params):
            self._parts.append((operation, qubits))
        elif not isinstance(operation, Delay):
            self._parts.append(_written(operation).format(*qubits))
        self._err(self._noise.of(operation, qubits), qubits)

    def _measure(self, qubit: int, clbit: int) -> None:
        channel, misread = self._noise.of_measurement(qubit)
        self._err(channel, (qubit,))
        self._parts.append(f"M {qubit}")
        self._measured.append(clbit)
        self._misread.append(misread)

    def _err(self, channel: PauliChannel | None, qubits: tuple[int, ...]) -> None:
        if channel is None:
            return
        # Ours have the first qubit varying fastest, Stim's the last one.
        size = len(qubits)
        chances = channel.chances.reshape((4,) * size).transpose().reshape(-1)[1:]
        listed = ",".join(f"{chance:.17g}" for chance in chances)
        self._parts.append(f"PAULI_CHANNEL_{size}({listed}) " + " ".join(map(str, qubits)))


def rotations(text: str) -> int:
    """Return how many gates of a written circuit are no Clifford gates."""
    return sum(line.startswith(("R_", "T")) for line in text.splitlines())


def _is_writable(operation: Instruction) -> bool:
    if isinstance(operation, Gate):
        return bool(operation.num_qubits <= _MOST_QUBITS)
    return operation.name in _WRITABLE or (operation.name.startswith("reset") and operation.num_qubits == 1)


def _written(operation: Instruction) -> str:
    """Return a gate with numbers for angles as lines, where ``{0}``, ``{1}`` stand for its qubits."""
    known = clifford_gate(operation)
    if known is not None:
        return known.stim
    if operation.base_class.__module__.startswith("qiskit.circuit.library.standard_gates"):
        if operation.name in _FIXED:
            return _FIXED[operation.name]
        if operation.name in _ROTATIONS:
            return _rotation(_ROTATIONS[operation.name], float(operation.params[0]), range(operation.num_qubits))
    matrix = np.asarray(operation.to_matrix(), dtype=np.complex128)
    return _decomposed(np.ascontiguousarray(matrix).tobytes(), operation.num_qubits)


@lru_cache(maxsize=_KEPT)
def _decomposed(elements: bytes, num_qubits: int) -> str:
    matrix = np.frombuffer(elements, dtype=np.complex128).reshape(2**num_qubits, -1)
    if num_qubits == 1:
        return _turned(matrix, 0)
    parts = TwoQubitWeylDecomposition(matrix)
    lines = [_turned(parts.K2r, 0), _turned(parts.K2l, 1)]
    # exp(i a XX) is a rotation by -2a.
    lines += [
        _rotation(axis, -2 * angle, (0, 1)) for axis, angle in (("R_XX", parts.a), ("R_YY", parts.b), ("R_ZZ", parts.c))
    ]
    lines += [_turned(parts.K1r, 0), _turned(parts.K1l, 1)]
    return "\n".join(line for line in lines if line)


def _turned(matrix: NDArray[np.complex128], place: int) -> str:
    """Return a gate of one qubit, in the place of the others'."""
    known = clifford_gate(UnitaryGate(matrix))
    if known is not None:
        return known.stim.replace("{0}", f"{{{place}}}")
    theta, phi, lam = OneQubitEulerDecomposer("ZYZ").angles(matrix)
    lines = [_rotation(axis, angle, (place,)) for axis, angle in (("R_Z", lam), ("R_Y", theta), ("R_Z", phi))]
    return "\n".join(line for line in lines if line)


def _rotation(axis: str, angle: float, places: Sequence[int]) -> str:
    """Return a rotation as a line; a Clifford gate, or nothing, if it is close to so many quarter turns."""
    targets = " ".join(f"{{{place}}}" for place in places)
    quarters = round(angle / _QUARTER)
    if abs(angle - quarters * _QUARTER) >= _CLOSE:
        return f"{axis}({angle / math.pi:.17g}) {targets}"
    letters = axis.removeprefix("R_")
    return {
        0: "",
        1: f"SQRT_{letters} {targets}",
        2: f"{letters[0]} {targets}",
        3: f"SQRT_{letters}_DAG {targets}",
    }[quarters % 4]
