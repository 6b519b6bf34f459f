"""Every option that a client can send is honoured, refused by name, or idle because its feature is off."""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from qiskit.circuit import QuantumCircuit
from qiskit.transpiler import CouplingMap
from qiskit_aer.noise import NoiseModel
from qiskit_ibm_runtime.options import EstimatorOptions, SamplerOptions
from qiskit_ibm_runtime.results import LayerError

from qiskit_runtime_server.errors import InvalidInputError, UnsupportedOptionError
from qiskit_runtime_server.programs.options.mitigation import Methods, Randomizations, Twirling
from qiskit_runtime_server.programs.options.options import (
    Options,
    estimator_methods,
    estimator_options,
    idle,
    sampler_methods,
    sampler_options,
    with_seed,
)
from qiskit_runtime_server.simulation.seeds import SeedPath
from qiskit_runtime_server.simulation.wish import Approximation, GivenWish, Wish

# Not of the programs: the client sends these beside the params, or not at all.
ELSEWHERE = {"_VERSION", "max_execution_time", "environment"}

# A value for each option; what it does is tested where it acts.
VALUES: dict[str, Any] = {
    "default_shots": 100,
    "default_precision": 0.1,
    "seed_estimator": 5,
    "simulator.noise_model": NoiseModel(),
    "simulator.seed_simulator": 5,
    "simulator.coupling_map": [[0, 1]],
    "simulator.basis_gates": ["x"],
    "execution.init_qubits": True,
    "execution.rep_delay": 0.00025,
    "execution.meas_type": "classified",
    "dynamical_decoupling.enable": True,
    "dynamical_decoupling.sequence_type": "XY4",
    "dynamical_decoupling.extra_slack_distribution": "edges",
    "dynamical_decoupling.scheduling_method": "asap",
    "dynamical_decoupling.skip_reset_qubits": True,
    "twirling.enable_gates": True,
    "twirling.enable_measure": True,
    "twirling.num_randomizations": 8,
    "twirling.shots_per_randomization": "auto",
    "twirling.strategy": "all",
    "experimental": {"noise": {"readout": "asymmetric"}},
    "resilience_level": 2,
    "resilience.measure_mitigation": True,
    "resilience.measure_noise_learning.num_randomizations": 8,
    "resilience.measure_noise_learning.shots_per_randomization": 64,
    "resilience.zne_mitigation": True,
    "resilience.zne.amplifier": "gate_folding_front",
    "resilience.zne.noise_factors": [1, 2],
    "resilience.zne.extrapolator": "linear",
    "resilience.zne.extrapolated_noise_factors": [0, 0.5],
    "resilience.pec_mitigation": True,
    "resilience.pec.max_overhead": 7.5,
    "resilience.pec.noise_gain": "auto",
    "resilience.layer_noise_learning.max_layers_to_learn": 1,
    "resilience.layer_noise_learning.shots_per_randomization": 32,
    "resilience.layer_noise_learning.num_randomizations": 8,
    "resilience.layer_noise_learning.layer_pair_depths": [0, 4],
    "resilience.layer_noise_model": [LayerError(QuantumCircuit(2), [0, 1])],
}
REFUSED: dict[str, Any] = {
    "execution.init_qubits": False,
    "execution.meas_type": "kerneled",
}
# Sections that do nothing at the default level.
OFF = {
    sampler_options: ("dynamical_decoupling", "twirling"),
    estimator_options: ("dynamical_decoupling", "resilience.zne.", "resilience.pec.", "resilience.layer_noise"),
}


def names(options: object, prefix: str = "") -> Iterator[str]:
    """All options of the client library, by their dotted names."""
    assert is_dataclass(options)
    for field in fields(options):
        value = getattr(options, field.name)
        if field.name in ELSEWHERE:
            continue
        if is_dataclass(value):
            yield from names(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}"


def nested(name: str, *, value: object) -> dict[str, Any]:
    *sections, option = name.split(".")
    options: dict[str, Any] = {option: value}
    for section in reversed(sections):
        options = {section: options}
    return options


PROGRAMS = [(sampler_options, name) for name in names(SamplerOptions())]
PROGRAMS += [(estimator_options, name) for name in names(EstimatorOptions())]


@pytest.mark.parametrize(("read", "name"), PROGRAMS)
def test_no_option_of_the_client_is_dropped_silently(read: Callable[..., Options], name: str) -> None:
    if name not in VALUES:
        assert name in REFUSED
        return
    options = nested(name, value=VALUES[name])
    checked = read(options)
    switch = name.rpartition(".")[2].startswith("enable")
    off = not switch and name.startswith(OFF[read])
    assert idle(checked, (sampler_methods if read is sampler_options else estimator_methods)(checked)) == (
        (name,) if off else ()
    )


@pytest.mark.parametrize(("name", "value"), REFUSED.items())
def test_a_value_that_is_not_supported_is_refused_by_name(name: str, value: object) -> None:
    read = sampler_options if name.startswith("execution") else estimator_options
    with pytest.raises(UnsupportedOptionError, match=f"Option {name}"):
        read(nested(name, value=value))


@pytest.mark.parametrize(
    "name", ["foo", "simulator.foo", "twirling.foo", "resilience.zne.foo", "experimental.foo", "default_shots_"]
)
def test_an_unknown_option_is_refused_by_name(name: str) -> None:
    with pytest.raises(UnsupportedOptionError, match=f"Option {name} is unknown"):
        estimator_options(nested(name, value=1))


def test_the_sampler_has_no_options_of_the_estimator() -> None:
    for name in ("resilience_level", "default_precision", "seed_estimator", "resilience"):
        with pytest.raises(UnsupportedOptionError, match=f"Option {name}"):
            sampler_options(nested(name, value=1))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("default_shots", 0),
        ("default_shots", True),
        ("default_shots", 1.5),
        ("default_precision", 0),
        ("default_precision", "x"),
        ("default_precision", float("nan")),
        ("seed_estimator", -1),
        ("simulator.seed_simulator", "1"),
        ("simulator.noise_model", 1),
        ("simulator.noise_model", {"errors": [1]}),
        ("simulator.coupling_map", [[0, 1, 2]]),
        ("simulator.coupling_map", "ab"),
        ("simulator.basis_gates", "x"),
        ("simulator", 1),
        ("execution.rep_delay", -1.0),
        ("dynamical_decoupling.enable", "yes"),
        ("dynamical_decoupling.sequence_type", "YY"),
        ("twirling.num_randomizations", 0),
        ("twirling.num_randomizations", "many"),
        ("twirling.strategy", 1),
        ("resilience.zne.amplifier", "LocalFolding"),
        ("resilience.zne.noise_factors", [0.5, 1]),
        ("resilience.zne.noise_factors", 3),
        ("resilience.zne.extrapolator", ["double_exponential"]),
        ("resilience.zne.extrapolator", []),
        ("resilience.pec.max_overhead", 0),
        ("resilience.layer_noise_learning.layer_pair_depths", [-1]),
        ("resilience.layer_noise_model", [1]),
        ("resilience_level", 3),
        ("resilience_level", True),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InvalidInputError, match=f"(Option {name})|(noise model)"):
        estimator_options(nested(name, value=value))


def test_null_is_the_same_as_none_given() -> None:
    options = estimator_options({"default_shots": None, "simulator": {"noise_model": None}, "twirling": None})
    assert options.default_shots is None
    assert options.noise_model is None


def test_null_means_no_limit_where_the_client_says_so() -> None:
    options = estimator_options(
        {"resilience": {"pec": {"max_overhead": None}, "layer_noise_learning": {"max_layers_to_learn": None}}}
    )
    assert options.resilience.pec.max_overhead is None
    assert options.resilience.layer_noise_learning.max_layers_to_learn is None
    assert estimator_options({}).resilience.layer_noise_learning.max_layers_to_learn == 4


class TestMethods:
    """What is done at a level, and what cannot be had together."""

    @pytest.mark.parametrize(
        ("options", "done"),
        [
            ({}, Methods(level=1, twirl_measure=True, trex=True)),
            ({"resilience_level": 0}, Methods()),
            ({"resilience_level": 2}, Methods(level=2, twirl_gates=True, twirl_measure=True, trex=True, zne=True)),
            ({"twirling": {"enable_measure": False}}, Methods(level=1)),
            ({"resilience": {"measure_mitigation": False}}, Methods(level=1, twirl_measure=True)),
            (
                {"resilience": {"pec_mitigation": True}},
                Methods(level=1, twirl_gates=True, twirl_measure=True, trex=True, pec=True),
            ),
            (
                {"resilience_level": 0, "resilience": {"zne_mitigation": True, "zne": {"amplifier": "pea"}}},
                Methods(twirl_gates=True, twirl_measure=True, zne=True, pea=True),
            ),
            # Level 2 extrapolates, unless errors are cancelled instead.
            (
                {"resilience_level": 2, "resilience": {"pec_mitigation": True}},
                Methods(level=2, twirl_gates=True, twirl_measure=True, trex=True, pec=True),
            ),
        ],
    )
    def test_a_level_fills_in_what_the_options_leave_open(self, options: dict[str, Any], done: Methods) -> None:
        assert estimator_methods(estimator_options(options)) == done

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (
                {"resilience": {"pec_mitigation": True, "zne_mitigation": True}},
                "resilience.zne_mitigation and resilience.pec_mitigation",
            ),
            (
                {"resilience_level": 1, "twirling": {"enable_measure": False}},
                "resilience.measure_mitigation is not supported with twirling.enable_measure: false",
            ),
            (
                {"resilience": {"pec_mitigation": True}, "twirling": {"enable_gates": False}},
                "resilience.pec_mitigation is not supported with twirling.enable_gates: false",
            ),
        ],
    )
    def test_what_cannot_be_had_together_is_refused_by_name(self, options: dict[str, Any], words: str) -> None:
        with pytest.raises(UnsupportedOptionError, match=words):
            estimator_methods(estimator_options(options))

    @pytest.mark.parametrize(
        ("twirling", "shots", "pub_says", "randomizations"),
        [
            (Twirling(), 4096, False, (32, 128)),
            (Twirling(), 1000, False, (16, 64)),
            (Twirling(num_randomizations=10), 1000, False, (10, 100)),
            (Twirling(shots_per_randomization=30), 1000, False, (34, 30)),
            # Both together make the shots, unless the pub itself asks for a number.
            (Twirling(num_randomizations=40, shots_per_randomization=40), 400, False, (40, 40)),
            (Twirling(num_randomizations=40, shots_per_randomization=40), 400, True, (10, 40)),
        ],
    )
    def test_shots_are_shared_out_among_randomizations(
        self, twirling: Twirling, shots: int, pub_says: object, randomizations: tuple[int, int]
    ) -> None:
        assert twirling.randomizations(shots, pub_says=bool(pub_says)) == Randomizations(*randomizations)


def test_seeds_of_both_kinds_count() -> None:
    both = estimator_options({"seed_estimator": 1, "simulator": {"seed_simulator": 2}})
    assert both.seeds == SeedPath((1, 2))
    assert estimator_options({"seed_estimator": 1}).seeds == SeedPath((1,))


def test_jobs_without_a_seed_differ() -> None:
    assert sampler_options({}).seeds != sampler_options({}).seeds


def test_the_seed_of_the_task_is_used_only_where_the_job_has_none() -> None:
    assert with_seed({}, 3) == {"simulator": {"seed_simulator": 3}}
    basis = {"simulator": {"basis_gates": ["x"]}}
    assert with_seed(basis, 3) == {"simulator": {"basis_gates": ["x"], "seed_simulator": 3}}
    assert sampler_options({}, 3).seeds == SeedPath((3,))
    assert estimator_options({"seed_estimator": 0}, 3).seeds == SeedPath((0,))
    for own in ({"simulator": {"seed_simulator": 0}}, {"seed_estimator": 0}):
        assert with_seed(own, 3) == own


def test_a_coupling_map_may_be_an_object_or_pairs() -> None:
    for pairs in ([[0, 1], [1, 2]], CouplingMap([[0, 1], [1, 2]])):
        assert sampler_options({"simulator": {"coupling_map": pairs}}).coupling_map == frozenset({(0, 1), (1, 2)})


def test_a_truncation_error_is_taken_only_where_truncation_is_asked_for() -> None:
    truncated = {"approximation": "truncated"}
    assert sampler_options({"simulator": truncated}).wish == GivenWish(approximation=Approximation.TRUNCATED)
    for section in ("simulator", "experimental"):
        simulator = {**truncated, "max_truncation_error": 0.1}
        options = {"simulator": simulator} if section == "simulator" else {"experimental": {"simulator": simulator}}
        assert estimator_options(options).wish.over(GivenWish()).max_truncation_error == 0.1
    alone = estimator_options({"simulator": {"max_truncation_error": 0.1}}).wish
    with pytest.raises(InvalidInputError, match=r"max_truncation_error is for simulator\.approximation: truncated"):
        alone.over(GivenWish())
    truncating = GivenWish(approximation=Approximation.TRUNCATED, max_truncation_error=0.3)
    assert alone.over(truncating) == Wish(approximation=Approximation.TRUNCATED, max_truncation_error=0.1)
    with pytest.raises(InvalidInputError, match=r"max_truncation_error must be a positive number"):
        estimator_options({"simulator": {**truncated, "max_truncation_error": 0}})
