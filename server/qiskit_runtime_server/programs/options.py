"""The options of the sampler and the estimator: each is honoured, or the job is refused with an error that names it.

Whatever is not in the tables of this module is unknown and refused. A value of null is the same as none given, as in
the client's own defaults. Parts of a feature that is switched off (the sequence of a disabled dynamical decoupling)
have no effect; `idle` lists them.
"""

import math
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from qiskit.transpiler import CouplingMap
from qiskit_aer.noise import NoiseModel

from qiskit_runtime_server.errors import InvalidInputError, UnsupportedOptionError
from qiskit_runtime_server.programs.codec import noise_model

DEFAULT_SHOTS: Final = 4096
DEFAULT_PRECISION: Final = 0.015625


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a job asks for beside its pubs.

    Attributes:
        default_shots: For pubs that name none.
        default_precision: For pubs that name none; `default_shots` overrides it.
        seed: All seeds that were given; together they fix every bit of the result.
        noise_model: Takes the place of the device's noise.
        coupling_map: The only directed pairs of qubits that circuits may use, beside the device's own rules.
        basis_gates: The only gates that circuits may use, beside the device's own rules.
        rep_delay: Seconds between shots. It needs no simulation: every shot starts in the exact ground state, however
            long ago the last one was.
    """

    default_shots: int | None = None
    default_precision: float | None = None
    seed: tuple[int, ...] = ()
    noise_model: NoiseModel | None = None
    coupling_map: frozenset[tuple[int, int]] | None = None
    basis_gates: frozenset[str] | None = None
    rep_delay: float | None = None

    def seed_sequence(self, *key: int) -> np.random.SeedSequence:
        """Return the source of randomness of one part of the job, apart from those of all others."""
        return np.random.SeedSequence(list(self.seed), spawn_key=key)


def sampler_options(options: Mapping[str, Any]) -> Options:
    """Return the sampler's options, checked.

    Raises:
        UnsupportedOptionError: If one of them is not honoured.
        InvalidInputError: If a value makes no sense.
    """
    return _options(options, _SAMPLER)


def estimator_options(options: Mapping[str, Any]) -> Options:
    """Return the estimator's options, checked; errors as in `sampler_options`."""
    return _options(options, _ESTIMATOR)


def idle(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the given options that have no effect because their feature is switched off."""
    rules = {**_SAMPLER, **_ESTIMATOR}
    return tuple(path for path, _ in _leaves(options, rules) if rules.get(path) is _idle)


def with_seed(options: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return `options` with `seed` as the simulator's seed, if they have none of their own."""
    simulator = options.get("simulator") or {}
    if not isinstance(simulator, Mapping):
        raise InvalidInputError("Option simulator must be an object.")
    if simulator.get("seed_simulator") is not None or options.get("seed_estimator") is not None:
        return dict(options)
    return {**options, "simulator": {**simulator, "seed_simulator": seed}}


def _options(options: Mapping[str, Any], rules: Mapping[str, "_Rule"]) -> Options:
    values: dict[str, Any] = {}
    for path, value in _leaves(options, rules):
        rule = rules.get(path)
        if rule is None:
            message = f"Option {path} is unknown to this server."
            raise UnsupportedOptionError(message)
        values[path] = rule(value, f"Option {path}")
    seeds = (values.get("seed_estimator"), values.get("simulator.seed_simulator"))
    return Options(
        default_shots=values.get("default_shots"),
        default_precision=values.get("default_precision"),
        seed=tuple(seed for seed in seeds if seed is not None) or (secrets.randbits(128),),
        noise_model=values.get("simulator.noise_model"),
        coupling_map=values.get("simulator.coupling_map"),
        basis_gates=values.get("simulator.basis_gates"),
        rep_delay=values.get("execution.rep_delay"),
    )


def _leaves(options: Mapping[str, Any], rules: Mapping[str, "_Rule"], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted names and the values of all options that are set."""
    for name, value in options.items():
        path = f"{prefix}{name}"
        if value is None:
            continue
        if not any(rule.startswith(f"{path}.") for rule in rules):
            yield path, value
        elif isinstance(value, Mapping):
            yield from _leaves(value, rules, f"{path}.")
        elif path in rules:
            yield path, value
        else:
            raise InvalidInputError(f"Option {path} must be an object, not {type(value).__name__}.")


_Rule = Callable[[Any, str], Any]
"""Takes a value and what to call it; returns it checked."""


def _idle(value: object, _name: str) -> object:
    return value


def _integer(least: int, most: int | None = None) -> _Rule:
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


def _number(*, zero: bool) -> _Rule:
    def check(value: object, name: str) -> float:
        if (
            not isinstance(value, int | float | np.integer)
            or isinstance(value, bool)
            or not math.isfinite(value)
            or value < 0
            or (value == 0 and not zero)
        ):
            raise InvalidInputError(
                f"{name} must be a {'non-negative' if zero else 'positive'} number; it is {value!r}."
            )
        return float(value)

    return check


def _switch(*, supported: bool, why: str) -> _Rule:
    def check(value: object, name: str) -> bool:
        if not isinstance(value, bool):
            raise InvalidInputError(f"{name} must be true or false; it is {value!r}.")
        if value is not supported:
            message = f"{name}: {str(value).lower()} is not supported: {why}"
            raise UnsupportedOptionError(message)
        return value

    return check


def _measurement_type(value: object, name: str) -> str:
    if value != "classified":
        message = f"{name}: {value!r} is not supported: this server simulates bits, not measurement traces."
        raise UnsupportedOptionError(message)
    return "classified"


def _resilience_level(value: object, name: str) -> int:
    level: int = _integer(0, 2)(value, name)
    if level:
        message = f"{name}: {level} is not supported: this server does not mitigate errors yet. Set it to 0."
        raise UnsupportedOptionError(message)
    return level


def _refused(why: str) -> _Rule:
    def check(value: object, name: str) -> None:
        if isinstance(value, Mapping) and not value:
            return
        inside = f" ({', '.join(map(str, value))})" if isinstance(value, Mapping) else ""
        message = f"{name}{inside} is not supported: {why}"
        raise UnsupportedOptionError(message)

    return check


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


def _off(why: str) -> _Rule:
    return _switch(supported=False, why=why)


_NO_MITIGATION: Final = "this server does not mitigate errors yet."

_COMMON: Final[Mapping[str, _Rule]] = {
    "default_shots": _integer(1),
    "simulator.noise_model": _noise_model,
    "simulator.seed_simulator": _integer(0),
    "simulator.coupling_map": _coupling_map,
    "simulator.basis_gates": _basis_gates,
    "execution.init_qubits": _switch(supported=True, why="every shot of a simulation starts in the ground state."),
    "execution.rep_delay": _number(zero=True),
    "dynamical_decoupling.enable": _off("this server does not insert dynamical decoupling yet."),
    "dynamical_decoupling.sequence_type": _idle,
    "dynamical_decoupling.extra_slack_distribution": _idle,
    "dynamical_decoupling.scheduling_method": _idle,
    "dynamical_decoupling.skip_reset_qubits": _idle,
    "twirling.enable_gates": _off("this server does not twirl yet."),
    "twirling.enable_measure": _off("this server does not twirl yet."),
    "twirling.num_randomizations": _idle,
    "twirling.shots_per_randomization": _idle,
    "twirling.strategy": _idle,
    "experimental": _refused("this server has no experimental options."),
}

_SAMPLER: Final[Mapping[str, _Rule]] = {
    **_COMMON,
    "execution.meas_type": _measurement_type,
}

_ESTIMATOR: Final[Mapping[str, _Rule]] = {
    **_COMMON,
    "default_precision": _number(zero=False),
    "seed_estimator": _integer(0),
    "resilience_level": _resilience_level,
    "resilience.measure_mitigation": _off(_NO_MITIGATION),
    "resilience.measure_noise_learning.num_randomizations": _idle,
    "resilience.measure_noise_learning.shots_per_randomization": _idle,
    "resilience.zne_mitigation": _off(_NO_MITIGATION),
    "resilience.zne.amplifier": _idle,
    "resilience.zne.noise_factors": _idle,
    "resilience.zne.extrapolator": _idle,
    "resilience.zne.extrapolated_noise_factors": _idle,
    "resilience.pec_mitigation": _off(_NO_MITIGATION),
    "resilience.pec.max_overhead": _idle,
    "resilience.pec.noise_gain": _idle,
    "resilience.layer_noise_learning.max_layers_to_learn": _idle,
    "resilience.layer_noise_learning.shots_per_randomization": _idle,
    "resilience.layer_noise_learning.num_randomizations": _idle,
    "resilience.layer_noise_learning.layer_pair_depths": _idle,
    "resilience.layer_noise_model": _refused(_NO_MITIGATION),
}
