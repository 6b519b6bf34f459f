"""The options of the sampler and the estimator: each is honoured, or the job is refused with an error that names it.

Whatever is not in the tables of this module is unknown and refused. A value of null is the same as none given, as in
the client's own defaults, but where it means "no limit". Parts of a feature that is switched off (the sequence of a
disabled dynamical decoupling) have no effect; `idle` lists them.
"""

import math
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Final

import numpy as np
from qiskit.transpiler import CouplingMap
from qiskit_aer.noise import NoiseModel
from qiskit_ibm_runtime.results import LayerError, NoiseLearnerResult

from qiskit_runtime_server.errors import InvalidInputError, UnsupportedOptionError
from qiskit_runtime_server.programs.options.mitigation import (
    AUTO,
    Check,
    Checks,
    Decoupling,
    LayerLearning,
    Methods,
    Pec,
    ReadoutLearning,
    Resilience,
    Twirling,
    Zne,
    decide,
)
from qiskit_runtime_server.programs.wire.codec import noise_model
from qiskit_runtime_server.simulation.seeds import SeedPath

DEFAULT_SHOTS: Final = 4096
DEFAULT_PRECISION: Final = 0.015625
DEFAULT_LEVEL: Final = 1
MAX_LAYER_PAIRS: Final = 10_000
"""The circuits are built layer by layer; long before that, nothing is left of a state that could be learned from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a job asks for beside its pubs.

    Attributes:
        default_shots: For pubs that name none.
        default_precision: For pubs that name none; `default_shots` overrides it.
        seeds: The root of all randomness of the job.
        noise_model: Takes the place of the device's noise.
        asymmetric_readout: Whether a 0 and a 1 are misread as often as the device's calibration says of each; else both
            as often as its `readout_error` says.
        coupling_map: The only directed pairs of qubits that circuits may use, beside the device's own rules.
        basis_gates: The only gates that circuits may use, beside the device's own rules.
        rep_delay: Seconds between shots. It needs no simulation: every shot starts in the exact ground state, however
            long ago the last one was.
        twirling: As given, but for what the program or the resilience level adds; so are the next two.
        given: The names of all options that are set.
    """

    default_shots: int | None = None
    default_precision: float | None = None
    seeds: SeedPath = field(default_factory=SeedPath)
    noise_model: NoiseModel | None = None
    asymmetric_readout: bool = False
    coupling_map: frozenset[tuple[int, int]] | None = None
    basis_gates: frozenset[str] | None = None
    rep_delay: float | None = None
    twirling: Twirling = field(default_factory=Twirling)
    decoupling: Decoupling = field(default_factory=Decoupling)
    resilience: Resilience = field(default_factory=Resilience)
    given: tuple[str, ...] = ()

    @property
    def noise_metadata(self) -> dict[str, Any]:
        """What the result says about the noise as a whole; nothing where it is the one of default options."""
        return {"noise": {"readout": _ASYMMETRIC}} if self.asymmetric_readout else {}


def sampler_options(options: Mapping[str, Any], seed: int | None = None) -> Options:
    """Return the sampler's options, checked.

    Args:
        options: As clients send them: nested, values decoded.
        seed: Used where they have none; by default one that nobody knows.

    Raises:
        UnsupportedOptionError: If one of them is not honoured.
        InvalidInputError: If a value makes no sense.
    """
    return _of(_checked(options, _SAMPLER), seed)


def estimator_options(options: Mapping[str, Any], seed: int | None = None) -> Options:
    """Return the estimator's options, checked; arguments and errors as in `sampler_options`."""
    return _of(_checked(options, _ESTIMATOR), seed)


def idle(options: Options, methods: Methods) -> tuple[str, ...]:
    """Return the names of the given options that have no effect, because `methods` does without their feature."""
    used = {
        "dynamical_decoupling": methods.decouple,
        "twirling": methods.twirls,
        "resilience.measure_noise_learning": methods.trex,
        "resilience.zne": methods.zne,
        "resilience.pec": methods.pec,
        "resilience.layer_noise_learning": methods.needs_layers and options.resilience.layer_noise_model is None,
        "resilience.layer_noise_model": methods.needs_layers,
    }
    return tuple(path for path in options.given if not _is_used(path, used))


def _is_used(path: str, used: Mapping[str, bool]) -> bool:
    section, _, name = path.rpartition(".")
    return name.startswith("enable") or used.get(path, used.get(section, True))


def sampler_methods(options: Options) -> Methods:
    """Return what is done for every pub of a sampler job."""
    twirling = options.twirling
    return Methods(
        twirl_gates=bool(twirling.enable_gates),
        twirl_measure=bool(twirling.enable_measure),
        decouple=options.decoupling.enable,
    )


def estimator_methods(options: Options, level: int | None = None) -> Methods:
    """Return what is done at a level, by default that of the options; errors as in `decide`."""
    if level is None:
        level = DEFAULT_LEVEL if options.resilience.level is None else options.resilience.level
    return decide(options.twirling, options.decoupling, options.resilience, level)


def with_seed(options: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return `options` with `seed` as the simulator's seed, if they have none of their own."""
    simulator = options.get("simulator") or {}
    if not isinstance(simulator, Mapping):
        raise InvalidInputError("Option simulator must be an object.")
    if simulator.get("seed_simulator") is not None or options.get("seed_estimator") is not None:
        return dict(options)
    return {**options, "simulator": {**simulator, "seed_simulator": seed}}


def executor_options(experimental: Mapping[str, Any]) -> tuple[int | None, bool]:
    """Return what the experimental options of the program `executor` say: its seed, and `Options.asymmetric_readout`.

    Errors as in `sampler_options`.
    """
    values = _checked({"experimental": experimental}, _EXECUTOR)
    return values.get("experimental.seed_simulator"), values.get(_READOUT) == _ASYMMETRIC


def noise_learner_options(options: Mapping[str, Any], seed: int) -> tuple[Options, LayerLearning]:
    """Return the options of the legacy noise learner, and how it learns; otherwise as `sampler_options`."""
    values = _checked(options, _NOISE_LEARNER)
    twirling = Twirling(strategy=values.get("twirling_strategy", Twirling().strategy))
    return replace(_of(values, seed), twirling=twirling), _learning(values)


def _learning(values: Mapping[str, Any]) -> LayerLearning:
    names = ("max_layers_to_learn", *_LEARNING)
    return LayerLearning(**{name: values[name] for name in names if name in values})


def noise_learner_v3_options(options: Mapping[str, Any], seed: int) -> tuple[Options, LayerLearning, Checks]:
    """Return the options of the noise learner v3, how it learns, and which shots it drops."""
    values = _checked(options, _NOISE_LEARNER_V3)
    pre = Check(**_section(values, "bit_flip_checks.pre_circuit"))
    post = Check(**_section(values, "bit_flip_checks.post_circuit"))
    # What schemas before v0.3 call post selection is the check after the circuit.
    older = Check(**_section(values, "post_selection"))
    return _of(values, seed), _learning(values), Checks(pre=pre, post=post if post.enable else older)


def _checked(options: Mapping[str, Any], rules: Mapping[str, "_Rule"]) -> dict[str, Any]:
    """Return the values of all options that are set, by their dotted names."""
    values: dict[str, Any] = {}
    for path, value in _leaves(options, rules):
        rule = rules.get(path)
        if rule is None:
            nearest = get_close_matches(path, rules, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else "."
            message = f"Option {path} is unknown to this server{hint}"
            raise UnsupportedOptionError(message)
        values[path] = rule(value, f"Option {path}")
    return values


def _of(values: Mapping[str, Any], seed: int | None) -> Options:
    if _READOUT in values and "simulator.noise_model" in values:
        message = (
            f"Option {_READOUT} cannot be combined with simulator.noise_model, which has readout errors of its own."
        )
        raise InvalidInputError(message)
    given = (values.get("seed_estimator"), values.get("simulator.seed_simulator"))
    own = tuple(number for number in given if number is not None)
    return Options(
        default_shots=values.get("default_shots"),
        default_precision=values.get("default_precision"),
        seeds=SeedPath(job=own or (secrets.randbits(128) if seed is None else seed,)),
        noise_model=values.get("simulator.noise_model"),
        asymmetric_readout=values.get(_READOUT) == _ASYMMETRIC,
        coupling_map=values.get("simulator.coupling_map"),
        basis_gates=values.get("simulator.basis_gates"),
        rep_delay=values.get("execution.rep_delay", values.get("rep_delay")),
        twirling=Twirling(**_section(values, "twirling")),
        decoupling=Decoupling(**_section(values, "dynamical_decoupling")),
        resilience=_resilience(values),
        given=tuple(values),
    )


def _resilience(values: Mapping[str, Any]) -> Resilience:
    return Resilience(
        level=values.get("resilience_level"),
        measure_noise_learning=ReadoutLearning(**_section(values, "resilience.measure_noise_learning")),
        zne=_zne(_section(values, "resilience.zne")),
        pec=Pec(**_section(values, "resilience.pec")),
        layer_noise_learning=LayerLearning(**_section(values, "resilience.layer_noise_learning")),
        **_section(values, "resilience"),
    )


def _section(values: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the values directly in a section, by their names without the path."""
    parts = [(*name.rpartition("."), value) for name, value in values.items()]
    return {name: value for section, _, name, value in parts if section == path}


def _zne(section: Mapping[str, Any]) -> Zne:
    """Return the options of ZNE, with enough noise factors for each extrapolator."""
    zne = Zne(**section)
    for name in [zne.extrapolator] if isinstance(zne.extrapolator, str) else zne.extrapolator:
        if len(zne.noise_factors) < _NEEDED_FACTORS[name]:
            raise InvalidInputError(
                f"Option resilience.zne.extrapolator: {name} needs {_NEEDED_FACTORS[name]} noise factors;"
                f" resilience.zne.noise_factors has {len(zne.noise_factors)}."
            )
    return zne


def _leaves(options: Mapping[str, Any], rules: Mapping[str, "_Rule"], prefix: str = "") -> Iterator[tuple[str, Any]]:
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


_Rule = Callable[[Any, str], Any]
"""Takes a value and what to call it; returns it checked."""


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


def _number(*, zero: bool = False, least: float = 0) -> _Rule:
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


def _switch(*, supported: bool, why: str) -> _Rule:
    def check(value: object, name: str) -> bool:
        if not isinstance(value, bool):
            raise InvalidInputError(f"{name} must be true or false; it is {value!r}.")
        if value is not supported:
            message = f"{name}: {str(value).lower()} is not supported: {why}"
            raise UnsupportedOptionError(message)
        return value

    return check


def _flag(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidInputError(f"{name} must be true or false; it is {value!r}.")
    return value


def _choice(*known: str) -> _Rule:
    def check(value: object, name: str) -> str:
        if not isinstance(value, str) or value not in known:
            raise InvalidInputError(f"{name} must be one of {', '.join(known)}; it is {value!r}.")
        return value

    return check


def _or_auto(rule: _Rule) -> _Rule:
    return lambda value, name: AUTO if isinstance(value, str) and value == AUTO else rule(value, name)


def _unlimited(rule: _Rule) -> _Rule:
    return lambda value, name: None if value is None else rule(value, name)


def _list_of(rule: _Rule) -> _Rule:
    def check(value: object, name: str) -> tuple[Any, ...]:
        if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray) or not len(value):
            raise InvalidInputError(f"{name} must be a non-empty list; it is {value!r}.")
        return tuple(rule(item, name) for item in value)

    return check


def _extrapolators(value: object, name: str) -> tuple[str, ...]:
    rule = _choice(*_NEEDED_FACTORS)
    names: tuple[str, ...] = _list_of(rule)([value] if isinstance(value, str) else value, name)
    return names


def _layers(value: object, name: str) -> list[LayerError]:
    layers = value.data if isinstance(value, NoiseLearnerResult) else value
    if not isinstance(layers, list | tuple) or not all(isinstance(layer, LayerError) for layer in layers):
        raise InvalidInputError(f"{name} must be a NoiseLearnerResult or a list of LayerError.")
    return list(layers)


def _measurement_type(value: object, name: str) -> str:
    if value != "classified":
        message = f"{name}: {value!r} is not supported: this server simulates bits, not measurement traces."
        raise UnsupportedOptionError(message)
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

_NEEDED_FACTORS: Final = {
    "linear": 2,
    "exponential": 2,
    "double_exponential": 4,
    "fallback": 2,
    **{f"polynomial_degree_{degree}": degree + 1 for degree in range(1, 8)},
}

_INITIAL: Final = _switch(supported=True, why="every shot of a simulation starts in the ground state.")
_STRATEGY: Final = _choice("active", "active-accum", "active-circuit", "all")

_READOUT: Final = "experimental.noise.readout"
_ASYMMETRIC: Final = "asymmetric"

_EXPERIMENTAL: Final[Mapping[str, _Rule]] = {_READOUT: _choice("symmetric", _ASYMMETRIC)}

_EVERYWHERE: Final[Mapping[str, _Rule]] = {
    "simulator.noise_model": _noise_model,
    "simulator.seed_simulator": _integer(0),
    "simulator.coupling_map": _coupling_map,
    "simulator.basis_gates": _basis_gates,
    **_EXPERIMENTAL,
}

_EXECUTOR: Final[Mapping[str, _Rule]] = {**_EXPERIMENTAL, "experimental.seed_simulator": _integer(0)}

_LEARNING: Final[Mapping[str, _Rule]] = {
    "shots_per_randomization": _integer(1),
    "num_randomizations": _integer(1),
    "layer_pair_depths": _list_of(_integer(0, MAX_LAYER_PAIRS)),
}

_COMMON: Final[Mapping[str, _Rule]] = {
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

_SAMPLER: Final[Mapping[str, _Rule]] = {
    **_COMMON,
    "execution.meas_type": _measurement_type,
}

_ESTIMATOR: Final[Mapping[str, _Rule]] = {
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
    **{f"resilience.layer_noise_learning.{name}": rule for name, rule in _LEARNING.items()},
    "resilience.layer_noise_model": _layers,
}

_NOISE_LEARNER: Final[Mapping[str, _Rule]] = {
    **_EVERYWHERE,
    **_LEARNING,
    "max_layers_to_learn": _unlimited(_integer(0)),
    "twirling_strategy": _STRATEGY,
}

_NOISE_LEARNER_V3: Final[Mapping[str, _Rule]] = {
    **_EVERYWHERE,
    **_LEARNING,
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
