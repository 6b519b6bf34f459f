"""Rules for options: which there are, for each program, and what values each may have.

Whatever is not in these tables is unknown and refused. A value of null is the same as none given, as in the client's
own defaults, but where it means "no limit".
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

import numpy as np
from qiskit.transpiler import CouplingMap
from qiskit_aer.noise import NoiseModel
from qiskit_ibm_runtime.results import LayerError, NoiseLearnerResult

from qiskit_runtime_server.errors import InvalidInputError, UnsupportedOptionError
from qiskit_runtime_server.programs.options.mitigation import AUTO
from qiskit_runtime_server.programs.wire.reading import noise_model
from qiskit_runtime_server.simulation.wish import Approximation, Method

MAX_LAYER_PAIRS: Final = 10_000
"""The circuits are built layer by layer; long before that, nothing is left of a state that could be learned from."""

Rule = Callable[[Any, str], Any]
"""Takes a value and what to call it; returns it checked."""


def checked_values(options: Mapping[str, Any], rules: Mapping[str, Rule]) -> dict[str, Any]:
    """Return the values of all options that are set, by their dotted names."""
    values: dict[str, Any] = {}
    for path, value in _leaves(options, rules):
        rule = rules.get(path)
        if rule is None:
            nearest = get_close_matches(path, rules, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else "."
            raise UnsupportedOptionError(f"Option {path} is unknown to this server{hint}")
        values[path] = rule(value, f"Option {path}")
    return values


def _leaves(options: Mapping[str, Any], rules: Mapping[str, Rule], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted names and the values of all options that are set."""
    for name, value in options.items():
        path = f"{prefix}{name}"
        if value is None and path not in _NO_LIMIT:
            continue
        if not any(rule.startswith(f"{path}.") for rule in rules):
            yield path, value
        elif isinstance(value, Mapping):
            yield from _leaves(value, rules, f"{path}.")
        elif path in rules:
            yield path, value
        else:
            raise InvalidInputError(f"Option {path} must be an object, not {type(value).__name__}.")


def _integer(least: int, most: int | None = None) -> Rule:
    def check(value: object, name: str) -> int:
        if (
            not isinstance(value, int | np.integer)
            or isinstance(value, bool)
            or value < least
            or (most is not None and value > most)
        ):
            limits = f"at least {least}" if most is None else f"{least} to {most}"
            raise InvalidInputError(f"{name} must be an integer, {limits}; it is {value!r}.")
        return int(value)

    return check


def _number(*, zero: bool = False, least: float = 0) -> Rule:
    wanted = f"a number, at least {least}" if least else f"a {'non-negative' if zero else 'positive'} number"

    def check(value: object, name: str) -> float:
        if (
            not isinstance(value, int | float | np.number)
            or isinstance(value, bool | complex)
            or not math.isfinite(value)
            or value < least
            or (value == 0 and not zero)
        ):
            raise InvalidInputError(f"{name} must be {wanted}; it is {value!r}.")
        return float(value)

    return check


def _switch(*, supported: bool, why: str) -> Rule:
    def check(value: object, name: str) -> bool:
        if not isinstance(value, bool):
            raise InvalidInputError(f"{name} must be true or false; it is {value!r}.")
        if value is not supported:
            raise UnsupportedOptionError(f"{name}: {str(value).lower()} is not supported: {why}")
        return value

    return check


def _flag(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidInputError(f"{name} must be true or false; it is {value!r}.")
    return value


def _choice(*known: str) -> Rule:
    def check(value: object, name: str) -> str:
        if not isinstance(value, str) or value not in known:
            raise InvalidInputError(f"{name} must be one of {', '.join(known)}; it is {value!r}.")
        return value

    return check


def _or_auto(rule: Rule) -> Rule:
    return lambda value, name: AUTO if isinstance(value, str) and value == AUTO else rule(value, name)


def _unlimited(rule: Rule) -> Rule:
    return lambda value, name: None if value is None else rule(value, name)


def _list_of(rule: Rule) -> Rule:
    def check(value: object, name: str) -> tuple[Any, ...]:
        if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray) or not len(value):
            raise InvalidInputError(f"{name} must be a non-empty list; it is {value!r}.")
        return tuple(rule(item, name) for item in value)

    return check


def _extrapolators(value: object, name: str) -> tuple[str, ...]:
    rule = _choice(*NEEDED_FACTORS)
    names: tuple[str, ...] = _list_of(rule)([value] if isinstance(value, str) else value, name)
    return names


def _layers(value: object, name: str) -> list[LayerError]:
    layers = value.data if isinstance(value, NoiseLearnerResult) else value
    if not isinstance(layers, list | tuple) or not all(isinstance(layer, LayerError) for layer in layers):
        raise InvalidInputError(f"{name} must be a NoiseLearnerResult or a list of LayerError.")
    return list(layers)


def _measurement_type(value: object, name: str) -> str:
    if value != "classified":
        raise UnsupportedOptionError(
            f"{name}: {value!r} is not supported: this server simulates bits, not measurement traces."
        )
    return "classified"


def _noise_model(value: object, name: str) -> NoiseModel:
    if isinstance(value, NoiseModel):
        return value
    if isinstance(value, Mapping):
        return noise_model(value)
    raise InvalidInputError(f"{name} must be a noise model, not {type(value).__name__}.")


def _coupling_map(value: object, name: str) -> frozenset[tuple[int, int]]:
    pairs: object = list(value.get_edges()) if isinstance(value, CouplingMap) else value
    if not isinstance(pairs, list | tuple) or not all(map(_is_pair, pairs)):
        raise InvalidInputError(f"{name} must be a list of pairs of qubits.")
    return frozenset((int(first), int(second)) for first, second in pairs)


def _is_pair(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2  # noqa: PLR2004 - a pair
        and all(isinstance(qubit, int | np.integer) and not isinstance(qubit, bool) for qubit in value)
    )


def _basis_gates(value: object, name: str) -> frozenset[str]:
    if not isinstance(value, list | tuple | set | frozenset) or not all(isinstance(gate, str) for gate in value):
        raise InvalidInputError(f"{name} must be a list of names of gates.")
    return frozenset(value)


# Null, which elsewhere is the same as none given, means something in these.
_NO_LIMIT: Final = frozenset(
    {"resilience.pec.max_overhead", "resilience.layer_noise_learning.max_layers_to_learn", "max_layers_to_learn"}
)

NEEDED_FACTORS: Final = {
    "linear": 2,
    "exponential": 2,
    "double_exponential": 4,
    "fallback": 2,
    **{f"polynomial_degree_{degree}": degree + 1 for degree in range(1, 8)},
}

_INITIAL: Final = _switch(supported=True, why="every shot of a simulation starts in the ground state.")
_STRATEGY: Final = _choice("active", "active-accum", "active-circuit", "all")

READOUT: Final = "experimental.noise.readout"
ASYMMETRIC: Final = "asymmetric"

METHODS: Final[Mapping[str, Rule]] = {
    "method": _choice(*Method),
    "approximation": _choice(*Approximation),
    "max_truncation_error": _number(zero=False),
}
"""What the section `simulator` says of how circuits are simulated."""

_EXPERIMENTAL: Final[Mapping[str, Rule]] = {
    READOUT: _choice("symmetric", ASYMMETRIC),
    **{f"experimental.simulator.{name}": rule for name, rule in METHODS.items()},
}

_EVERYWHERE: Final[Mapping[str, Rule]] = {
    "simulator.noise_model": _noise_model,
    "simulator.seed_simulator": _integer(0),
    "simulator.coupling_map": _coupling_map,
    "simulator.basis_gates": _basis_gates,
    **{f"simulator.{name}": rule for name, rule in METHODS.items()},
    **_EXPERIMENTAL,
}

EXECUTOR: Final[Mapping[str, Rule]] = {**_EXPERIMENTAL, "experimental.seed_simulator": _integer(0)}

LEARNING: Final[Mapping[str, Rule]] = {
    "shots_per_randomization": _integer(1),
    "num_randomizations": _integer(1),
    "layer_pair_depths": _list_of(_integer(0, MAX_LAYER_PAIRS)),
}

_COMMON: Final[Mapping[str, Rule]] = {
    **_EVERYWHERE,
    "default_shots": _integer(1),
    "execution.init_qubits": _INITIAL,
    "execution.rep_delay": _number(zero=True),
    "dynamical_decoupling.enable": _flag,
    "dynamical_decoupling.sequence_type": _choice("XX", "XpXm", "XY4"),
    "dynamical_decoupling.extra_slack_distribution": _choice("middle", "edges"),
    "dynamical_decoupling.scheduling_method": _choice("alap", "asap"),
    "dynamical_decoupling.skip_reset_qubits": _flag,
    "twirling.enable_gates": _flag,
    "twirling.enable_measure": _flag,
    "twirling.num_randomizations": _or_auto(_integer(1)),
    "twirling.shots_per_randomization": _or_auto(_integer(1)),
    "twirling.strategy": _STRATEGY,
}

SAMPLER: Final[Mapping[str, Rule]] = {
    **_COMMON,
    "execution.meas_type": _measurement_type,
}

ESTIMATOR: Final[Mapping[str, Rule]] = {
    **_COMMON,
    "default_precision": _number(zero=False),
    "seed_estimator": _integer(0),
    "resilience_level": _integer(0, 2),
    "resilience.measure_mitigation": _flag,
    "resilience.measure_noise_learning.num_randomizations": _integer(1),
    "resilience.measure_noise_learning.shots_per_randomization": _or_auto(_integer(1)),
    "resilience.zne_mitigation": _flag,
    "resilience.zne.amplifier": _choice("gate_folding", "gate_folding_front", "gate_folding_back", "pea"),
    "resilience.zne.noise_factors": _list_of(_number(least=1)),
    "resilience.zne.extrapolator": _extrapolators,
    "resilience.zne.extrapolated_noise_factors": _list_of(_number(zero=True)),
    "resilience.pec_mitigation": _flag,
    "resilience.pec.max_overhead": _unlimited(_number(zero=False)),
    "resilience.pec.noise_gain": _or_auto(_number(zero=True)),
    "resilience.layer_noise_learning.max_layers_to_learn": _unlimited(_integer(0)),
    **{f"resilience.layer_noise_learning.{name}": rule for name, rule in LEARNING.items()},
    "resilience.layer_noise_model": _layers,
}

NOISE_LEARNER: Final[Mapping[str, Rule]] = {
    **_EVERYWHERE,
    **LEARNING,
    "max_layers_to_learn": _unlimited(_integer(0)),
    "twirling_strategy": _STRATEGY,
}

NOISE_LEARNER_V3: Final[Mapping[str, Rule]] = {
    **_EVERYWHERE,
    **LEARNING,
    "init_qubits": _INITIAL,
    "rep_delay": _number(zero=True),
    **{
        f"{check}.{name}": rule
        for check in ("bit_flip_checks.pre_circuit", "bit_flip_checks.post_circuit", "post_selection")
        for name, rule in (
            ("enable", _flag),
            ("x_pulse_type", _choice("xslow", "rx")),
            ("strategy", _choice("node", "edge")),
        )
    },
}
