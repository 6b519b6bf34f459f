"""What goes wrong beside each instruction, read from a noise model through its public document.

Part of `exact_reference`: it turns `NoiseModel.to_dict()` into channels by its own arithmetic, and computes relaxation
during delays from T1 and T2, which no public interface of a noise model gives.

Superoperators here act on row-stacked matrices: entry ``[i, j, k, l]`` takes element ``(k, l)`` to ``(i, j)``. As in
Qiskit, the first qubit of a gate is the lowest bit of a row's number.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Delay, Instruction
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.providers import BackendV2, Options
from qiskit.transpiler import Target
from qiskit_aer.noise import NoiseModel

from kit.quantum.kronecker import kronecker_product

Matrix = NDArray[np.complex128]

_PAULIS: Mapping[str, Matrix] = {
    "I": np.eye(2, dtype=complex),
    "X": np.array([[0, 1], [1, 0]], dtype=complex),
    "Y": np.array([[0, -1j], [1j, 0]], dtype=complex),
    "Z": np.array([[1, 0], [0, -1]], dtype=complex),
}
_RESET = (np.array([[1, 0], [0, 0]], dtype=complex), np.array([[0, 1], [0, 0]], dtype=complex))
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "ps": 1e-12}
# Aer hands these to its simulator without their labels.
_LABELS_DO_NOT_COUNT = frozenset({"measure", "reset"})


@dataclass(frozen=True, kw_only=True)
class Channel:
    """A map of density matrices of some qubits, as its Kraus operators."""

    kraus: tuple[Matrix, ...]

    @cached_property
    def superoperator(self) -> Matrix:
        """Shape ``(d, d, d, d)``; see the module."""
        found: Matrix = np.einsum("aik,ajl->ijkl", np.array(self.kraus), np.conj(self.kraus))
        return found


@dataclass(frozen=True, kw_only=True)
class Relaxation:
    """How qubits relax to their ground state while they wait.

    Attributes:
        t1: In seconds, for each qubit; math.inf for none.
        t2: In seconds, at most twice `t1`.
        dt: Seconds of one unit ``dt``; None where there is none.
    """

    t1: Sequence[float]
    t2: Sequence[float]
    dt: float | None

    @classmethod
    def of_backend(cls, backend: BackendV2) -> "Relaxation":
        """Return what a device's properties say; T2 beyond 2 T1, which no qubit can have, is cut off."""
        known = backend.target.qubit_properties
        t1 = [math.inf if qubit.t1 is None else qubit.t1 for qubit in known]
        t2 = [2 * one if qubit.t2 is None else min(qubit.t2, 2 * one) for one, qubit in zip(t1, known, strict=True)]
        return cls(t1=t1, t2=t2, dt=backend.dt)

    def channel(self, delay: Delay, qubit: int) -> Channel:
        """Return amplitude and phase damping for the time of a delay: M. A. Nielsen, I. L. Chuang, chapter 8.3."""
        seconds = self._seconds(delay)
        lost = 1 - math.exp(-seconds / self.t1[qubit])
        coherent = math.exp(-seconds / self.t2[qubit])
        # Amplitude damping leaves sqrt(1 - lost) of the coherence, and dephasing takes the rest.
        dephased = max(0.0, 1 - lost - coherent**2)
        kraus = (
            np.diag([1, coherent]).astype(complex),
            np.array([[0, math.sqrt(lost)], [0, 0]], dtype=complex),
            np.diag([0, math.sqrt(dephased)]).astype(complex),
        )
        return Channel(kraus=kraus)

    def _seconds(self, delay: Delay) -> float:
        if delay.unit != "dt":
            return float(delay.duration * _SECONDS[delay.unit])
        if self.dt is None:
            message = "A delay in dt has no length without a dt."
            raise ValueError(message)
        return float(delay.duration * self.dt)


@dataclass(frozen=True, kw_only=True)
class Errors:
    """What goes wrong beside each instruction, as an instruction's name or label and its qubits say.

    Attributes:
        local: By name or label and qubits, in the order of the instruction; these go before `default`.
        default: By name or label, on any qubits.
        local_readout: By qubit; row and column are the bit that is there and the bit that is read.
        default_readout: Of qubits that `local_readout` does not have.
        relaxation: During delays.
        ignores_labels: Whether labels are names for drawings only, as on a device.
        known: The name that an instruction goes by in the model, where it is not its own.
    """

    local: Mapping[tuple[str, tuple[int, ...]], Channel] = field(default_factory=dict)
    default: Mapping[str, Channel] = field(default_factory=dict)
    local_readout: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)
    default_readout: NDArray[np.float64] | None = None
    relaxation: Relaxation | None = None
    ignores_labels: bool = False
    known: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_backend(cls, backend: BackendV2, qubits: Iterable[int] | None = None) -> "Errors":
        """Return what `NoiseModel.from_backend` makes of a device's calibration; labels change nothing.

        Devices with u1, u2 and u3 have their errors for rz, sx and x.

        Args:
            backend: Has properties.
            qubits: Those whose errors are wanted, by default all; for a large device all of them take half a minute.
        """
        legacy = {"rz": "u1", "sx": "u2", "x": "u3"} if "u3" in backend.operation_names else {}
        part = backend if qubits is None else _Part(backend, frozenset(qubits))
        errors = cls.of_model(NoiseModel.from_backend(part), Relaxation.of_backend(backend))
        return cls(**{**vars(errors), "ignores_labels": True, "known": legacy})

    @classmethod
    def of_model(cls, model: NoiseModel, relaxation: Relaxation | None = None) -> "Errors":
        """Return what a model of a user's own says.

        A label that the model names takes the place of the name; any other label changes nothing.

        Args:
            model: Has readout errors of single qubits only.
            relaxation: What the model's relaxation pass does, if it has one.
        """
        local: dict[tuple[str, tuple[int, ...]], Channel] = {}
        default: dict[str, Channel] = {}
        readout: dict[int, NDArray[np.float64]] = {}
        default_readout = None
        for entry in model.to_dict()["errors"]:
            places = entry.get("gate_qubits")
            if entry["type"] == "roerror":
                matrix = np.array(entry["probabilities"], dtype=float)
                if places is None:
                    default_readout = matrix
                else:
                    readout |= {_only(qubits): matrix for qubits in places}
            else:
                channel = _channel(entry, None if places is None else len(places[0]))
                for name in entry["operations"]:
                    if places is None:
                        default[name] = channel
                    else:
                        local |= {(name, tuple(qubits)): channel for qubits in places}
        return cls(
            local=local,
            default=default,
            local_readout=readout,
            default_readout=default_readout,
            relaxation=relaxation,
        )

    def beside(self, operation: Instruction, qubits: tuple[int, ...]) -> list[Channel]:
        """Return what happens before a measurement, or after any other instruction, in order."""
        name = self._name(operation)
        found = [self.local.get((name, qubits), self.default.get(name))]
        if isinstance(operation, Delay) and self.relaxation is not None:
            found.append(self.relaxation.channel(operation, qubits[0]))
        return [channel for channel in found if channel is not None]

    def misread(self, qubit: int) -> NDArray[np.float64]:
        """Return the probability to read the column's bit where the row's is, shape (2, 2)."""
        matrix = self.local_readout.get(qubit, self.default_readout)
        return np.eye(2) if matrix is None else matrix

    def _name(self, operation: Instruction) -> str:
        label = None if self.ignores_labels or operation.name in _LABELS_DO_NOT_COUNT else operation.label
        if label is not None and (label in self.default or any(name == label for name, _ in self.local)):
            return str(label)
        return self.known.get(operation.name, str(operation.name))


class _Part(BackendV2):  # type: ignore[misc] # Qiskit ships no types
    """A device that can do nothing but with some of its qubits, which keep their numbers."""

    def __init__(self, backend: BackendV2, qubits: frozenset[int]) -> None:
        super().__init__(name=backend.name)
        whole = backend.target
        self._target = Target(num_qubits=whole.num_qubits, dt=whole.dt, qubit_properties=whole.qubit_properties)
        for name in whole.operation_names:
            properties = {
                group: known for group, known in (whole[name] or {}).items() if group and qubits >= set(group)
            }
            if properties:
                self._target.add_instruction(whole.operation_from_name(name), properties, name=name)

    @property
    def target(self) -> Target:
        return self._target

    @property
    def max_circuits(self) -> None:
        return None

    @classmethod
    def _default_options(cls) -> Options:
        return Options()

    def run(self, run_input: Any, **options: Any) -> Any:  # noqa: ANN401 - as in Qiskit
        raise NotImplementedError


def _only(qubits: Sequence[int]) -> int:
    (qubit,) = qubits
    return qubit


def _channel(entry: Mapping[str, Any], num_qubits: int | None) -> Channel:
    """Return the mixture of circuits that an entry of the document describes."""
    circuits = entry["instructions"]
    width = num_qubits or 1 + max(qubit for circuit in circuits for part in circuit for qubit in part["qubits"])
    kraus: list[Matrix] = []
    for circuit, probability in zip(circuits, entry["probabilities"], strict=True):
        if probability > 0:
            kraus += [math.sqrt(probability) * operator for operator in _circuit_kraus(circuit, width)]
    return Channel(kraus=tuple(kraus))


def _circuit_kraus(circuit: Iterable[Mapping[str, Any]], width: int) -> list[Matrix]:
    """Return the Kraus operators of a sequence of parts: all products of theirs."""
    found = [np.eye(2**width, dtype=complex)]
    for part in circuit:
        operators = [embedded(operator, part["qubits"], width) for operator in _part_kraus(part)]
        found = [after @ before for before in found for after in operators]
    return found


def _part_kraus(part: Mapping[str, Any]) -> Sequence[Matrix]:
    name, params = part["name"], part.get("params", [])
    if name == "kraus":
        return [np.asarray(matrix, dtype=complex) for matrix in params]
    if name == "unitary":
        return [np.asarray(params[0], dtype=complex)]
    if name == "pauli":
        return [kronecker_product(_PAULIS[letter] for letter in params[0])]
    if name == "reset":
        return _RESET
    gate = get_standard_gate_name_mapping()[name]
    return [np.asarray(type(gate)(*params).to_matrix(), dtype=complex)]


def embedded(operator: Matrix, places: Sequence[int], width: int) -> Matrix:
    """Return an operator of some qubits as one of `width` qubits; `places` names them, its lowest bit first."""
    tensor = np.kron(np.eye(2 ** (width - len(places))), operator).reshape((2,) * 2 * width)
    # Axis 0 is the highest bit; the operator's own qubits are the lowest bits.
    others = [place for place in range(width) if place not in places]
    order = [*places, *others]
    axes = [width - 1 - order.index(width - 1 - axis) for axis in range(width)]
    ordered = tensor.transpose([*axes, *(width + axis for axis in axes)]).reshape(2**width, 2**width)
    return np.asarray(ordered, dtype=np.complex128)
