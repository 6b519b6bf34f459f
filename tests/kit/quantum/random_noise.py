"""Random noise models of users' own, of every kind that Aer knows."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from qiskit.circuit.library import RXGate, RYGate, RZGate, RZZGate
from qiskit.quantum_info import Operator
from qiskit_aer.noise import (
    NoiseModel,
    QuantumError,
    ReadoutError,
    amplitude_damping_error,
    coherent_unitary_error,
    depolarizing_error,
    kraus_error,
    pauli_error,
    phase_amplitude_damping_error,
    phase_damping_error,
    reset_error,
    thermal_relaxation_error,
)
from qiskit_ibm_runtime.fake_provider import FakeManilaV2

from kit.quantum.exact_noise import Errors, Relaxation

_NO_GATES = ("measure", "reset", "delay", "id")


@dataclass(frozen=True, kw_only=True)
class RandomNoise:
    """A model and what the reference makes of it.

    Attributes:
        model: What a user sends; None where the device's own errors count, or none at all.
        description: What was drawn.
    """

    model: NoiseModel | None = None
    errors: Errors | None = None
    description: str = ""


def user_noise(
    rng: np.random.Generator, gates: Mapping[str, Sequence[tuple[int, ...]]], qubits: Sequence[int], *, labels: bool
) -> RandomNoise:
    """Return a model for some gates of a device, by their names and qubits.

    Args:
        rng: Fixes it.
        gates: The device's, and the groups of qubits that they may act on.
        qubits: That circuits use.
        labels: Whether the model names the labels `mine` and `mine_of_two`.
    """
    if rng.random() < 0.1 and max(qubits) < 5:
        return _manila()
    model = NoiseModel()
    drawn = [*_gate_errors(rng, model, gates), *_other_errors(rng, model, qubits)]
    if labels and rng.random() < 0.7:
        drawn += _label_errors(rng, model, gates, qubits)
    drawn += _readout_errors(rng, model, qubits)
    return RandomNoise(model=model, errors=Errors.of_model(model), description="; ".join(drawn))


@cache
def _manila() -> RandomNoise:
    backend = FakeManilaV2()
    model = NoiseModel.from_backend(backend)
    errors = Errors.of_model(model, Relaxation.of_backend(backend))
    return RandomNoise(model=model, errors=errors, description="all of fake_manila, as a user's own model")


def _gate_errors(
    rng: np.random.Generator, model: NoiseModel, gates: Mapping[str, Sequence[tuple[int, ...]]]
) -> list[str]:
    drawn = []
    for name, groups in gates.items():
        size = len(groups[0])
        if name not in _NO_GATES and rng.random() < 0.6:
            drawn += _added(rng, model, name, groups, size)
    return drawn


def _other_errors(rng: np.random.Generator, model: NoiseModel, qubits: Sequence[int]) -> list[str]:
    drawn = []
    for name in _NO_GATES:
        if rng.random() < 0.25:
            drawn += _added(rng, model, name, [(qubit,) for qubit in qubits], 1)
    return drawn


def _label_errors(
    rng: np.random.Generator,
    model: NoiseModel,
    gates: Mapping[str, Sequence[tuple[int, ...]]],
    qubits: Sequence[int],
) -> list[str]:
    drawn = _added(rng, model, "mine", [(qubit,) for qubit in qubits], 1)
    pairs = sorted({group for groups in gates.values() for group in groups if len(group) == 2})
    return drawn + (_added(rng, model, "mine_of_two", pairs, 2) if pairs else [])


def _added(
    rng: np.random.Generator, model: NoiseModel, name: str, groups: Sequence[tuple[int, ...]], size: int
) -> list[str]:
    """Add an error for all qubits, or for one group of them, or different ones for both."""
    drawn = []
    which = int(rng.integers(3))
    if which != 1:
        text, error = _error(rng, size)
        model.add_all_qubit_quantum_error(error, name, warnings=False)
        drawn.append(f"{name}: {text}")
    if which != 0:
        text, error = _error(rng, size)
        group = groups[int(rng.integers(len(groups)))]
        model.add_quantum_error(error, name, list(group), warnings=False)
        drawn.append(f"{name} on {group}: {text}")
    return drawn


def _readout_errors(rng: np.random.Generator, model: NoiseModel, qubits: Sequence[int]) -> list[str]:
    def matrix() -> list[list[float]]:
        one, other = rng.uniform(0, 0.25, 2).tolist()
        return [[1 - one, one], [other, 1 - other]]

    drawn = []
    if rng.random() < 0.5:
        model.add_all_qubit_readout_error(ReadoutError(matrix()), warnings=False)
        drawn.append("readout of all qubits")
    for qubit in qubits:
        if rng.random() < 0.25:
            model.add_readout_error(ReadoutError(matrix()), [qubit], warnings=False)
            drawn.append(f"readout of {qubit}")
    return drawn


def _error(rng: np.random.Generator, size: int) -> tuple[str, QuantumError]:
    kinds = _SINGLE if size == 1 else _DOUBLE
    name = list(kinds)[int(rng.integers(len(kinds)))]
    return name, kinds[name](rng)


def _pauli(rng: np.random.Generator, labels: Sequence[str]) -> QuantumError:
    chances = rng.dirichlet(np.ones(len(labels))) * rng.uniform(0.02, 0.3)
    return pauli_error([*zip(labels, chances.tolist(), strict=True), ("I" * len(labels[0]), 1 - float(chances.sum()))])


def _thermal(rng: np.random.Generator) -> QuantumError:
    t1 = float(rng.uniform(3e-5, 1e-4))
    t2 = t1 * float(rng.uniform(0.3, 1.9))
    return thermal_relaxation_error(t1, t2, float(rng.uniform(1e-6, 2e-5)), float(rng.choice([0, 0.1])))


def _turned(rng: np.random.Generator) -> QuantumError:
    gate = [RXGate, RYGate, RZGate][int(rng.integers(3))]
    return coherent_unitary_error(Operator(gate(float(rng.uniform(-0.5, 0.5)))).data)


def _mixture(rng: np.random.Generator) -> QuantumError:
    share = float(rng.uniform(0.7, 0.95))
    operators = [math.sqrt(share) * np.eye(2), math.sqrt(1 - share) * Operator(RYGate(1.1)).data]
    return kraus_error(operators)


def _phase_amplitude(rng: np.random.Generator) -> QuantumError:
    return phase_amplitude_damping_error(float(rng.uniform(0.02, 0.2)), float(rng.uniform(0.02, 0.2)), 0.1)


_SINGLE: Mapping[str, Callable[[np.random.Generator], QuantumError]] = {
    "depolarizing": lambda rng: depolarizing_error(float(rng.uniform(0.01, 0.2)), 1),
    "Pauli": lambda rng: _pauli(rng, ["X", "Y", "Z"]),
    "amplitude damping": lambda rng: amplitude_damping_error(
        float(rng.uniform(0.02, 0.3)), float(rng.choice([0, 0.2]))
    ),
    "phase damping": lambda rng: phase_damping_error(float(rng.uniform(0.02, 0.3))),
    "both kinds of damping": _phase_amplitude,
    "thermal relaxation": _thermal,
    "coherent": _turned,
    "Kraus mixture": _mixture,
    "reset": lambda rng: reset_error(float(rng.uniform(0.01, 0.15)), float(rng.uniform(0, 0.1))),
}
_DOUBLE: Mapping[str, Callable[[np.random.Generator], QuantumError]] = {
    "depolarizing": lambda rng: depolarizing_error(float(rng.uniform(0.01, 0.2)), 2),
    "Pauli": lambda rng: _pauli(rng, ["IX", "YI", "ZZ", "XY"]),
    "coherent": lambda rng: coherent_unitary_error(Operator(RZZGate(float(rng.uniform(-0.6, 0.6)))).data),
    "product": lambda rng: _error(rng, 1)[1].expand(_error(rng, 1)[1]),
    "amplitude damping after depolarizing": lambda rng: depolarizing_error(float(rng.uniform(0.01, 0.1)), 2).compose(
        amplitude_damping_error(float(rng.uniform(0.02, 0.2))).tensor(amplitude_damping_error(0.1))
    ),
}
