"""Every option that a client can send is honoured, refused by name, or idle because its feature is off."""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from qiskit.transpiler import CouplingMap
from qiskit_aer.noise import NoiseModel
from qiskit_ibm_runtime.options import EstimatorOptions, SamplerOptions

from qiskit_runtime_server.errors import InvalidInputError, UnsupportedOptionError
from qiskit_runtime_server.programs.options import Options, estimator_options, idle, sampler_options, with_seed

# Not of the programs: the client sends these beside the params, or not at all.
ELSEWHERE = {"_VERSION", "max_execution_time", "environment"}

# What each honoured option is set to here; what it does is tested where it acts.
HONOURED = {
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
    "resilience_level": 0,
}
SWITCHES = {
    "dynamical_decoupling.enable",
    "twirling.enable_gates",
    "twirling.enable_measure",
    "resilience.measure_mitigation",
    "resilience.zne_mitigation",
    "resilience.pec_mitigation",
}
REFUSED: dict[str, Any] = {
    "experimental": {"foo": 1},
    "resilience.layer_noise_model": [1],
    "resilience_level": 1,
    "execution.init_qubits": False,
    "execution.meas_type": "kerneled",
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
    if name in HONOURED:
        assert read(nested(name, value=HONOURED[name])) is not None
        assert idle(nested(name, value=HONOURED[name])) == ()
    elif name in SWITCHES:
        assert read(nested(name, value=False)) is not None
        with pytest.raises(UnsupportedOptionError, match=f"Option {name}: true"):
            read(nested(name, value=True))
    elif name in REFUSED:
        with pytest.raises(UnsupportedOptionError, match=f"Option {name}"):
            read(nested(name, value=REFUSED[name]))
    else:
        assert read(nested(name, value=1)) is not None
        assert idle(nested(name, value=1)) == (name,)


@pytest.mark.parametrize(("name", "value"), REFUSED.items())
def test_a_value_that_is_not_supported_is_refused_by_name(name: str, value: object) -> None:
    read = sampler_options if name.startswith("execution") else estimator_options
    with pytest.raises(UnsupportedOptionError, match=f"Option {name}"):
        read(nested(name, value=value))


@pytest.mark.parametrize("name", ["foo", "simulator.foo", "twirling.foo", "resilience.zne.foo", "default_shots_"])
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


def test_seeds_of_both_kinds_count() -> None:
    both = estimator_options({"seed_estimator": 1, "simulator": {"seed_simulator": 2}})
    assert both.seed == (1, 2)
    assert estimator_options({"seed_estimator": 1}).seed == (1,)


def test_jobs_without_a_seed_differ() -> None:
    assert sampler_options({}).seed != sampler_options({}).seed


def test_the_seed_of_the_task_is_used_only_where_the_job_has_none() -> None:
    assert with_seed({}, 3) == {"simulator": {"seed_simulator": 3}}
    basis = {"simulator": {"basis_gates": ["x"]}}
    assert with_seed(basis, 3) == {"simulator": {"basis_gates": ["x"], "seed_simulator": 3}}
    for own in ({"simulator": {"seed_simulator": 0}}, {"seed_estimator": 0}):
        assert with_seed(own, 3) == own


def test_a_coupling_map_may_be_an_object_or_pairs() -> None:
    for pairs in ([[0, 1], [1, 2]], CouplingMap([[0, 1], [1, 2]])):
        assert sampler_options({"simulator": {"coupling_map": pairs}}).coupling_map == {(0, 1), (1, 2)}
