"""What goes wrong on a device, cut down to the few qubits and instructions that a circuit uses.

The errors are those of `qiskit_aer.noise.NoiseModel.from_backend`: depolarisation and thermal relaxation after each
gate, relaxation during delays, readout errors. Building them for a whole device takes seconds, so each is built when a
circuit first needs it, and kept.

Relaxation for a time t with T1 and T2 leaves ``exp(-t/T1)`` of an excitation and ``exp(-t/T2)`` of a coherence; what a
gate's calibrated infidelity has beyond that is depolarisation (Georgopoulos, Emary, Zuliani, 2021,
https://doi.org/10.1103/PhysRevA.104.062432), with ``1 - F = p (d - 1) / d`` for its parameter p in d dimensions
(Nielsen, 2002, https://doi.org/10.1016/S0375-9601(02)01272-0):

    sx of 60 ns, T1 = T2 = 100 us     relaxation, mean infidelity 3e-4
    calibrated error 5e-4             depolarisation with p = 4e-4 or so makes up for the rest
    measure, error 0.02               0 is read as 1, and 1 as 0, with probability 0.02 each
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, cached_property, lru_cache, reduce
from typing import Final

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Delay, Instruction, QuantumCircuit, Reset
from qiskit.circuit.library import IGate, PauliGate, XGate, YGate, ZGate
from qiskit.quantum_info import SuperOp
from qiskit.transpiler import Target
from qiskit.utils import apply_prefix
from qiskit_aer.noise import NoiseModel, QuantumError, ReadoutError, thermal_relaxation_error
from qiskit_aer.noise.device import basic_device_gate_errors, basic_device_readout_errors
from qiskit_aer.noise.passes import LocalNoisePass, RelaxationNoisePass

from qiskit_runtime_server.errors import InvalidInputError, UnsupportedOptionError
from qiskit_runtime_server.simulation import noise_models

Use = tuple[str, tuple[int, ...]]
"""What an instruction's errors are called, see `error_name`, and its qubits."""

Relaxation = Callable[[float, str, int], QuantumError | None]
"""What a delay of some duration, in some unit, does to a qubit of the device."""

_PAIR: Final = 2
# By their names, and by the letter that PauliGate has for them.
_PLAIN: Final = {"i": IGate, "id": IGate, "x": XGate, "y": YGate, "z": ZGate, "reset": Reset}
_KEPT_PARTS: Final = 256
_KEPT_CHANNELS: Final = 4096


class DeviceNoise(ABC):
    """The errors of a device, from which `restricted_to` cuts parts."""

    def __init__(self) -> None:
        self._restricted = lru_cache(maxsize=_KEPT_PARTS)(self._cut)

    @classmethod
    def from_target(cls, target: Target, readouts: Mapping[int, ReadoutError] | None = None) -> "DeviceNoise":
        """Return the errors that follow from a device's calibration.

        Args:
            target: Has the calibration.
            readouts: How each qubit is misread; by default as Aer has it, with the error of the target's `measure` for
                both values.
        """
        return _CalibratedNoise(target, readouts)

    @classmethod
    def from_model(cls, model: NoiseModel, num_qubits: int) -> "DeviceNoise":
        """Return the errors of a model that a user brings along.

        Raises:
            UnsupportedOptionError: If the model has a noise pass other than Aer's relaxation.
            InvalidInputError: If it has errors for qubits that the device does not have.
        """
        return _ModelNoise(model, num_qubits)

    def restricted_to(self, qubits: Sequence[int], uses: frozenset[Use] | None = None) -> NoiseModel | None:
        """Return the errors of `qubits`, renumbered 0, 1, ... in their order; None if there are none.

        Args:
            qubits: Of the device.
            uses: The instructions that the model has to serve, with the new numbers of their qubits; by default all.
        """
        model = self._restricted(tuple(qubits), uses)
        return None if model.is_ideal() else model

    @property
    def labels(self) -> frozenset[str]:
        """The names that have errors of their own beside those of gates: a label is none unless it is among them."""
        return frozenset()

    @cached_property
    def unread(self) -> "DeviceNoise":
        """The same errors, but for those of reading bits."""
        return _UnreadNoise(self)

    def readouts(self, qubits: Iterable[int]) -> dict[int, NDArray[np.float64]] | None:
        """Return the readout matrix of each of `qubits` that has one.

        They are all that goes wrong when the qubits are measured; None if it is not that simple.
        """
        found: dict[int, NDArray[np.float64]] = {}
        measure: Use = ("measure", (0,))
        for qubit in qubits:
            model = self.restricted_to((qubit,), frozenset({measure}))
            if model is not None and gate_error(model, measure) is not None:
                return None
            matrix = None if model is None else readout_matrix(model, 0)
            if matrix is not None:
                found[qubit] = matrix
        return found

    @abstractmethod
    def _cut(self, qubits: tuple[int, ...], uses: frozenset[Use] | None) -> NoiseModel:
        """Return a new model; its errors are the same objects each time."""


class DelayNoisePass(LocalNoisePass):  # type: ignore[misc]  # Aer has no types
    """Lets the qubits of a cut circuit relax during delays; Aer runs the passes of a model on circuits with delays."""

    def __init__(self, relaxation: Relaxation, qubits: tuple[int, ...]) -> None:
        """Take what delays do to the device's qubits, and which of them the circuit has."""
        self._relaxation = relaxation
        self._qubits = qubits
        super().__init__(lambda delay, places: self.error(delay, places[0]), op_types=Delay, method="append")

    def error(self, delay: Delay, qubit: int) -> QuantumError | None:
        """Return what `delay` does to `qubit` of the cut circuit."""
        return self._relaxation(delay.duration, delay.unit, self._qubits[qubit])


def error_name(operation: Instruction) -> str:
    """Return what the errors of an instruction are called in a model: its label, as Aer has it, or its name.

    Aer looks for errors of measurements and resets by their names only.
    """
    name: str = operation.name
    return name if name in {"measure", "reset"} else operation.label or name


def gate_error(model: NoiseModel, use: Use) -> QuantumError | None:
    """Return what `model` does besides an instruction; before it if that is a measurement, else after it."""
    label, qubits = use
    return noise_models.local_errors(model).get(label, {}).get(qubits, noise_models.default_errors(model).get(label))


def errors_of(model: NoiseModel, operation: Instruction, qubits: tuple[int, ...]) -> list[QuantumError]:
    """Return all that a model cut by `DeviceNoise` does after an instruction, in order."""
    errors = [gate_error(model, (error_name(operation), qubits))]
    if isinstance(operation, Delay):
        errors += [noise_pass.error(operation, qubits[0]) for noise_pass in noise_models.passes(model)]
    return [error for error in errors if error is not None]


def error_channel(model: NoiseModel, operation: Instruction, qubits: tuple[int, ...]) -> NDArray[np.complex128] | None:
    """Return all that a model cut by `DeviceNoise` does after an instruction, as in `channel`; None if nothing."""
    channels = [channel(error) for error in errors_of(model, operation, qubits)]
    return reduce(lambda first, second: second @ first, channels) if channels else None


def readout_matrix(model: NoiseModel, qubit: int) -> NDArray[np.float64] | None:
    """Return the probabilities to read the bit of the column when it is that of the row, shape (2, 2)."""
    error = noise_models.readout_error(model, qubit)
    return None if error is None else np.asarray(error.probabilities, dtype=np.float64)


def misread_chances(model: NoiseModel, qubit: int) -> tuple[float, float]:
    """Return how often 0 is read as 1, and 1 as 0."""
    matrix = readout_matrix(model, qubit)
    return (0.0, 0.0) if matrix is None else (float(matrix[0, 1]), float(matrix[1, 0]))


def channel(error: QuantumError) -> NDArray[np.complex128]:
    """Return the superoperator of `error`, column-stacking, as in Qiskit. It is computed once for each error."""
    known = _channels.get(error.id)
    if known is None:
        while len(_channels) >= _KEPT_CHANNELS:
            del _channels[next(iter(_channels))]
        known = _channels[error.id] = _superoperator(error)
    return known


# Errors have unique ids, but no hash.
_channels: dict[str, NDArray[np.complex128]] = {}


def _superoperator(error: QuantumError) -> NDArray[np.complex128]:
    """Return what `channel` does, in a tenth of the time that Qiskit takes for errors of calibrated gates.

    Such an error is a mixture of up to 144 circuits of instructions that act on each qubit by itself, so that of each
    only a product of small matrices for each qubit is needed: the mixture of their tensor products is one contraction.
    Qiskit multiplies a matrix of all qubits for every instruction.
    """
    factors = [_factors(circuit) for circuit in error.circuits]
    if error.num_qubits > _PAIR or None in factors:
        return np.asarray(SuperOp(error).data)
    # Columns are stacked, so that the second index of a density matrix comes first: (circuits, qubits, j', i', j, i).
    of_qubits = np.array(factors).reshape(-1, error.num_qubits, 2, 2, 2, 2).swapaxes(0, 1)
    size = 4**error.num_qubits
    indices = "k,kabcd->abcd" if error.num_qubits == 1 else "k,kabcd,kefgh->eafbgchd"
    mixed: NDArray[np.complex128] = np.einsum(indices, np.asarray(error.probabilities), *of_qubits, optimize=True)
    return mixed.reshape(size, size)


def _factors(circuit: QuantumCircuit) -> list[NDArray[np.complex128]] | None:
    """Return the superoperator of each qubit; None if the circuit has other instructions than errors of devices."""
    found: list[NDArray[np.complex128]] = [np.eye(4, dtype=np.complex128)] * circuit.num_qubits
    for instruction in circuit.data:
        operation = instruction.operation
        if operation.base_class is PauliGate:
            steps = [_plain(letter.lower()) for letter in reversed(operation.params[0])]
        elif operation.base_class is _PLAIN.get(operation.name):
            steps = [_plain(operation.name)]
        elif operation.name == "kraus" and operation.num_qubits == 1:
            steps = [np.sum([np.kron(kraus.conj(), kraus) for kraus in operation.params], axis=0)]
        else:
            return None
        for qubit, step in zip(instruction.qubits, steps, strict=True):
            place = circuit.find_bit(qubit).index
            found[place] = step @ found[place]
    return found


@cache
def _plain(name: str) -> NDArray[np.complex128]:
    return np.asarray(SuperOp(_PLAIN[name]()).data)


class _UnreadNoise(DeviceNoise):
    """Another noise without its readout errors."""

    def __init__(self, noise: DeviceNoise) -> None:
        super().__init__()
        self._noise = noise

    @property
    def labels(self) -> frozenset[str]:
        return self._noise.labels

    def _cut(self, qubits: tuple[int, ...], uses: frozenset[Use] | None) -> NoiseModel:
        model = self._noise._cut(qubits, uses)
        noise_models.remove_readout_errors(model)
        return model


class _CalibratedNoise(DeviceNoise):
    """Errors that follow from a target; of each gate when it is first used."""

    def __init__(self, target: Target, readouts: Mapping[int, ReadoutError] | None = None) -> None:
        super().__init__()
        self._target = target
        self._errors: dict[Use, QuantumError | None] = {}
        self._readouts = readouts
        self._relaxed = lru_cache(maxsize=_KEPT_CHANNELS)(self._relaxation)

    def _cut(self, qubits: tuple[int, ...], uses: frozenset[Use] | None) -> NoiseModel:
        model = NoiseModel(basis_gates=list(self._target.operation_names))
        uses = self._uses(qubits) if uses is None else uses
        for label, places in sorted(uses):
            error = self._error(label, tuple(qubits[place] for place in places))
            if error is not None:
                model.add_quantum_error(error, label, places, warnings=False)
        for place, qubit in enumerate(qubits):
            readout = self._readout(qubit) if ("measure", (place,)) in uses else None
            if readout is not None:
                model.add_readout_error(readout, [place], warnings=False)
        # Without these properties Aer's model has no such pass either.
        if self._target.qubit_properties and any(label == "delay" for label, _ in uses):
            noise_models.passes(model).append(DelayNoisePass(self._relaxed, qubits))
        return model

    def _uses(self, qubits: tuple[int, ...]) -> frozenset[Use]:
        """Return all instructions within `qubits`, renumbered."""
        places = {qubit: place for place, qubit in enumerate(qubits)}
        return frozenset(
            (name, tuple(places[qubit] for qubit in group))
            for name in self._target.operation_names
            for group in self._target[name] or ()
            if group is not None and all(qubit in places for qubit in group)
        )

    def _error(self, label: str, qubits: tuple[int, ...]) -> QuantumError | None:
        if (label, qubits) not in self._errors:
            self._errors[label, qubits] = self._built(label, qubits)
        return self._errors[label, qubits]

    def _built(self, name: str, qubits: tuple[int, ...]) -> QuantumError | None:
        """Have Aer build one error, from a target that has nothing but this instruction."""
        if name not in self._target.operation_names or not self._target[name]:
            return None
        properties = self._target[name].get(qubits)
        if properties is None:
            return None
        known = self._target.qubit_properties
        part = Target(num_qubits=len(qubits), dt=self._target.dt, qubit_properties=known and [known[q] for q in qubits])
        operation = self._target.operation_from_name(name)
        part.add_instruction(operation, {tuple(range(len(qubits))): properties}, name=name)
        return next((error for _, _, error in basic_device_gate_errors(target=part)), None)

    def _readout(self, qubit: int) -> ReadoutError | None:
        if self._readouts is None:
            self._readouts = {qubits[0]: error for qubits, error in basic_device_readout_errors(target=self._target)}
        return self._readouts.get(qubit)

    def _relaxation(self, duration: float, unit: str, qubit: int) -> QuantumError | None:
        if unit == "dt" and self._target.dt is None:
            raise InvalidInputError(f"A delay of {duration} dt has no length: the device has no dt.")
        seconds = duration * self._target.dt if unit == "dt" else apply_prefix(duration, unit)
        known = self._target.qubit_properties[qubit]
        t1 = math.inf if known.t1 is None else known.t1
        t2 = 2 * t1 if known.t2 is None else min(known.t2, 2 * t1)
        return None if t1 == t2 == math.inf else thermal_relaxation_error(t1, t2, seconds)


class _ModelNoise(DeviceNoise):
    """Errors of a model that is there as a whole."""

    def __init__(self, model: NoiseModel, num_qubits: int) -> None:
        super().__init__()
        self._model = model
        for noise_pass in noise_models.passes(model):
            if not isinstance(noise_pass, RelaxationNoisePass):
                raise UnsupportedOptionError(
                    f"Option simulator.noise_model: its pass {type(noise_pass).__name__} is not supported."
                )
        # Qubits that no gate joins are simulated apart.
        if any(len(group) > 1 for group in noise_models.local_readout_errors(model)):
            raise UnsupportedOptionError(
                "Option simulator.noise_model: readout errors of several qubits at once are not supported."
            )
        missing = [qubit for qubit in model.noise_qubits if qubit >= num_qubits]
        if missing:
            raise InvalidInputError(
                f"Option simulator.noise_model has errors of qubits {missing}; there are {num_qubits} qubits."
            )
        self._relaxations = [_relaxation_of(noise_pass) for noise_pass in noise_models.passes(model)]

    @property
    def labels(self) -> frozenset[str]:
        return frozenset(noise_models.default_errors(self._model)) | frozenset(noise_models.local_errors(self._model))

    def _cut(self, qubits: tuple[int, ...], uses: frozenset[Use] | None) -> NoiseModel:
        labels = None if uses is None else {label for label, _ in uses}
        model = NoiseModel(basis_gates=self._model.basis_gates)
        for label, error in noise_models.default_errors(self._model).items():
            if labels is None or label in labels:
                model.add_all_qubit_quantum_error(error, label, warnings=False)
        misread = noise_models.default_readout_error(self._model)
        if misread is not None:
            model.add_all_qubit_readout_error(misread, warnings=False)
        self._add_local_errors(model, {qubit: place for place, qubit in enumerate(qubits)}, labels)
        if labels is None or "delay" in labels:
            noise_models.passes(model).extend(DelayNoisePass(relaxation, qubits) for relaxation in self._relaxations)
        return model

    def _add_local_errors(self, model: NoiseModel, places: dict[int, int], labels: set[str] | None) -> None:
        for label, errors in noise_models.local_errors(self._model).items():
            for group, error in errors.items() if labels is None or label in labels else ():
                if all(qubit in places for qubit in group):
                    model.add_quantum_error(error, label, [places[qubit] for qubit in group], warnings=False)
        for group, error in noise_models.local_readout_errors(self._model).items():
            if all(qubit in places for qubit in group):
                model.add_readout_error(error, [places[qubit] for qubit in group], warnings=False)


def _relaxation_of(noise_pass: RelaxationNoisePass) -> Relaxation:
    return lru_cache(maxsize=_KEPT_CHANNELS)(
        lambda duration, unit, qubit: noise_models.relaxation(noise_pass, Delay(duration, unit), qubit)
    )
