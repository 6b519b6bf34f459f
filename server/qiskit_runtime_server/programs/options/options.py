"""The options of a job: each is honoured, or the job is refused with an error that names it (`rules`).

Parts of a feature that is switched off (the sequence of a disabled dynamical decoupling) have no effect; `idle` lists
them.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from qiskit_aer.noise import NoiseModel

from qiskit_runtime_server.errors import InvalidInputError
from qiskit_runtime_server.programs.options import rules
from qiskit_runtime_server.programs.options.mitigation import (
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
from qiskit_runtime_server.simulation.seeds import SeedPath
from qiskit_runtime_server.simulation.wish import Approximation, GivenWish, Method

DEFAULT_SHOTS: Final = 4096
DEFAULT_PRECISION: Final = 0.015625
DEFAULT_LEVEL: Final = 1


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
        wish: How circuits are to be simulated, where the job says so.
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
    wish: GivenWish = field(default_factory=GivenWish)
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
        return {"noise": {"readout": rules.ASYMMETRIC}} if self.asymmetric_readout else {}


def sampler_options(options: Mapping[str, Any], seed: int | None = None) -> Options:
    """Return the sampler's options, checked.

    Args:
        options: As clients send them: nested, values decoded.
        seed: Used where they have none; by default one that nobody knows.

    Raises:
        UnsupportedOptionError: If one of them is not honoured.
        InvalidInputError: If a value makes no sense.
    """
    return _of(rules.checked_values(options, rules.SAMPLER), seed)


def estimator_options(options: Mapping[str, Any], seed: int | None = None) -> Options:
    """Return the estimator's options, checked; arguments and errors as in `sampler_options`."""
    return _of(rules.checked_values(options, rules.ESTIMATOR), seed)


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


def executor_options(experimental: Mapping[str, Any]) -> tuple[int | None, bool, GivenWish]:
    """Return what the experimental options of the program `executor` say.

    They are its seed, and `asymmetric_readout` and `wish` as in `Options`. Errors as in `sampler_options`.
    """
    values = rules.checked_values({"experimental": experimental}, rules.EXECUTOR)
    seed, asymmetric = values.get("experimental.seed_simulator"), values.get(rules.READOUT) == rules.ASYMMETRIC
    return seed, asymmetric, _wish(values)


def noise_learner_options(options: Mapping[str, Any], seed: int) -> tuple[Options, LayerLearning]:
    """Return the options of the legacy noise learner, and how it learns; otherwise as `sampler_options`."""
    values = rules.checked_values(options, rules.NOISE_LEARNER)
    twirling = Twirling(strategy=values.get("twirling_strategy", Twirling().strategy))
    return replace(_of(values, seed), twirling=twirling), _learning(values)


def _learning(values: Mapping[str, Any]) -> LayerLearning:
    names = ("max_layers_to_learn", *rules.LEARNING)
    return LayerLearning(**{name: values[name] for name in names if name in values})


def noise_learner_v3_options(options: Mapping[str, Any], seed: int) -> tuple[Options, LayerLearning, Checks]:
    """Return the options of the noise learner v3, how it learns, and which shots it drops."""
    values = rules.checked_values(options, rules.NOISE_LEARNER_V3)
    pre = Check(**_section(values, "bit_flip_checks.pre_circuit"))
    post = Check(**_section(values, "bit_flip_checks.post_circuit"))
    # What schemas before v0.3 call post selection is the check after the circuit.
    older = Check(**_section(values, "post_selection"))
    return _of(values, seed), _learning(values), Checks(pre=pre, post=post if post.enable else older)


def _of(values: Mapping[str, Any], seed: int | None) -> Options:
    if rules.READOUT in values and "simulator.noise_model" in values:
        raise InvalidInputError(
            f"Option {rules.READOUT} cannot be combined with simulator.noise_model, which has readout errors of its"
            " own."
        )
    given = (values.get("seed_estimator"), values.get("simulator.seed_simulator"))
    own = tuple(number for number in given if number is not None)
    return Options(
        default_shots=values.get("default_shots"),
        default_precision=values.get("default_precision"),
        seeds=SeedPath(job=own or (secrets.randbits(128) if seed is None else seed,)),
        noise_model=values.get("simulator.noise_model"),
        asymmetric_readout=values.get(rules.READOUT) == rules.ASYMMETRIC,
        wish=_wish(values),
        coupling_map=values.get("simulator.coupling_map"),
        basis_gates=values.get("simulator.basis_gates"),
        rep_delay=values.get("execution.rep_delay", values.get("rep_delay")),
        twirling=Twirling(**_section(values, "twirling")),
        decoupling=Decoupling(**_section(values, "dynamical_decoupling")),
        resilience=_resilience(values),
        given=tuple(values),
    )


def _wish(values: Mapping[str, Any]) -> GivenWish:
    """Return how circuits are to be simulated.

    The client has no such options of its own. It sends experimental ones among its own where it has a section of their
    name, and else in one that is called experimental.
    """
    return given_wish(
        {name: values.get(f"simulator.{name}", values.get(f"experimental.simulator.{name}")) for name in rules.METHODS}
    )


def given_wish(values: Mapping[str, Any]) -> GivenWish:
    """Return the wish that checked values say, by the names of `rules.METHODS`."""
    method, approximation = values.get("method"), values.get("approximation")
    return GivenWish(
        method=method and Method(method),
        approximation=approximation and Approximation(approximation),
        max_truncation_error=values.get("max_truncation_error"),
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
    """Return the options of ZNE, with enough different noise factors for each extrapolator."""
    zne = Zne(**section)
    different = len(set(zne.noise_factors))
    for name in [zne.extrapolator] if isinstance(zne.extrapolator, str) else zne.extrapolator:
        if different < rules.NEEDED_FACTORS[name]:
            raise InvalidInputError(
                f"Option resilience.zne.extrapolator: {name} needs {rules.NEEDED_FACTORS[name]} different noise"
                f" factors; resilience.zne.noise_factors has {different}."
            )
    return zne
