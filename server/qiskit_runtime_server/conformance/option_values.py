"""The options of clients, with a value for each and what else has to be set for it to matter."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from qiskit_runtime_server.conformance.target import Target


def _noise(_: "Target") -> object:
    if find_spec("qiskit_aer") is None:
        return {"errors": []}  # what NoiseModel.to_dict() makes of an empty one
    from qiskit_aer.noise import NoiseModel  # noqa: PLC0415 - an optional package of the client

    return NoiseModel()


def _basis(target: "Target") -> object:
    return list(target.backend.configuration().basis_gates)


def _coupling(target: "Target") -> object:
    return [list(pair) for pair in target.backend.configuration().coupling_map]


@dataclass(frozen=True, slots=True)
class Trial:
    """A job with an option set.

    Attributes:
        program: As in the table of options.
        option: Its dotted name.
        value: What it is set to; a function is called with the target.
        beside: Other options, by dotted name.
        refused: Whether the value is one that has to be refused, by the option's name.
    """

    program: str
    option: str
    value: object | Callable[["Target"], object]
    beside: Mapping[str, object] = field(default_factory=dict)
    refused: bool = False


_DECOUPLED: Final = {"dynamical_decoupling.enable": True, "dynamical_decoupling.sequence_type": "XY4"}
_TWIRLED: Final = {"twirling.enable_gates": True}
_ZNE: Final = {"resilience.zne_mitigation": True}
_PEC: Final = {"resilience.pec_mitigation": True, "resilience.layer_noise_learning.num_randomizations": 2,
               "resilience.layer_noise_learning.layer_pair_depths": [0, 1]}  # fmt: skip

_CIRCUITS: Final[Mapping[str, tuple[object, Mapping[str, object]]]] = {
    "default_shots": (77, {}),
    "dynamical_decoupling.enable": (True, {}),
    "dynamical_decoupling.extra_slack_distribution": ("edges", _DECOUPLED),
    "dynamical_decoupling.scheduling_method": ("asap", _DECOUPLED),
    "dynamical_decoupling.sequence_type": ("XpXm", {"dynamical_decoupling.enable": True}),
    "dynamical_decoupling.skip_reset_qubits": (True, _DECOUPLED),
    "execution.init_qubits": (True, {}),
    "simulator.seed_simulator": (5, {}),
    "twirling.enable_gates": (True, {}),
    "twirling.enable_measure": (True, {}),
    "twirling.num_randomizations": (4, _TWIRLED),
    "twirling.shots_per_randomization": (16, _TWIRLED),
    "twirling.strategy": ("all", _TWIRLED),
}
_SIMULATED: Final[Mapping[str, tuple[object, Mapping[str, object]]]] = {
    "experimental": ({}, {}),
    "simulator.basis_gates": (_basis, {}),
    "simulator.coupling_map": (_coupling, {}),
    "simulator.noise_model": (_noise, {}),
}
_MITIGATION: Final[Mapping[str, tuple[object, Mapping[str, object]]]] = {
    "default_precision": (0.1, {}),
    "resilience_level": (2, {}),
    "resilience.measure_mitigation": (True, {}),
    "resilience.measure_noise_learning.num_randomizations": (4, {"resilience.measure_mitigation": True}),
    "resilience.zne_mitigation": (True, {}),
    "resilience.zne.amplifier": ("gate_folding_front", _ZNE),
    "resilience.zne.extrapolated_noise_factors": ([0, 0.5, 1], _ZNE),
    "resilience.zne.extrapolator": ("linear", _ZNE),
    "resilience.zne.noise_factors": ([1, 2, 3], _ZNE),
}
_LEGACY_MITIGATION: Final[Mapping[str, tuple[object, Mapping[str, object]]]] = {
    "seed_estimator": (3, {}),
    "resilience.measure_noise_learning.shots_per_randomization": (16, {"resilience.measure_mitigation": True}),
    "resilience.pec_mitigation": (True, _PEC),
    "resilience.pec.max_overhead": (10.0, _PEC),
    "resilience.pec.noise_gain": (0.5, _PEC),
    "resilience.layer_noise_model": ([], _PEC),
    "resilience.layer_noise_learning.layer_pair_depths": ([0, 2], _PEC),
    "resilience.layer_noise_learning.max_layers_to_learn": (1, _PEC),
    "resilience.layer_noise_learning.num_randomizations": (3, _PEC),
    "resilience.layer_noise_learning.shots_per_randomization": (16, _PEC),
}
# The client does PEC itself, with a model that it is given.
_CLIENT_PEC: Final = {"resilience.pec_mitigation": True, "resilience.layer_noise_model": "given"}
_CLIENT_MITIGATION: Final[Mapping[str, tuple[object, Mapping[str, object]]]] = {
    "resilience.pec_mitigation": (True, _CLIENT_PEC),
    "resilience.pec.max_overhead": (10.0, _CLIENT_PEC),
    "resilience.pec.noise_gain": (0.5, _CLIENT_PEC),
    "resilience.layer_noise_model": ("given", _CLIENT_PEC),
}
_CLIENT_SIDE: Final[Mapping[str, tuple[object, Mapping[str, object]]]] = {
    "execution.scheduler_timing": (True, {}),
    "execution.stretch_values": (True, {}),
    "experimental": ({}, {}),
    "simulator.angle_decimals": (3, {}),
    "twirling.group": ("balanced_pauli", _TWIRLED),
}
_LEARNER: Final[Mapping[str, tuple[object, Mapping[str, object]]]] = {
    "layer_pair_depths": ([0, 2], {}),
    "num_randomizations": (3, {}),
    "shots_per_randomization": (16, {}),
}
_CHECKS: Final[Mapping[str, tuple[object, Mapping[str, object]]]] = {
    f"bit_flip_checks.{place}.{name}": (value, {f"bit_flip_checks.{place}.enable": True})
    for place in ("pre_circuit", "post_circuit")
    for name, value in (("enable", True), ("strategy", "edge"), ("x_pulse_type", "rx"))
}
_JOB: Final[Mapping[str, tuple[object, Mapping[str, object]]]] = {
    "environment.image": ("mine:latest", {}),
    "environment.job_tags": (["conformance"], {}),
    "environment.log_level": ("INFO", {}),
    "environment.max_execution_time": (300, {}),
    "environment.private": (True, {}),
    "max_execution_time": (300, {}),
}

_ALL: Final[Mapping[str, tuple[Mapping[str, tuple[object, Mapping[str, object]]], ...]]] = {
    "sampler": (_CIRCUITS, _SIMULATED, {"execution.meas_type": ("classified", {})}),
    "estimator": (_CIRCUITS, _SIMULATED, _MITIGATION, _LEGACY_MITIGATION),
    "noise-learner": (
        _LEARNER,
        _SIMULATED,
        {"max_layers_to_learn": (1, {}), "simulator.seed_simulator": (5, {}), "twirling_strategy": ("all", {})},
    ),
    "NoiseLearnerV3": (_LEARNER, _CHECKS, {"execution.init_qubits": (True, {})}),
    "executor_sampler.Sampler": (_CIRCUITS, _CLIENT_SIDE, {"execution.meas_type": ("kerneled", {})}),
    "executor_estimator.Estimator": (_CIRCUITS, _CLIENT_SIDE, _MITIGATION, _CLIENT_MITIGATION),
    "Executor": ({name: _CLIENT_SIDE[name] for name in list(_CLIENT_SIDE)[:3]}, {"execution.init_qubits": (True, {})}),
    "Calibrator": ({"experimental": ({}, {})},),
    "every job": (_JOB,),
}
# Out of the range of any device; a device whose delay is fixed refuses every one.
_DELAY: Final = 10.0


def trials() -> Iterator[Trial]:
    """Return a job for each option that a client sends."""
    for program, tables in _ALL.items():
        for table in tables:
            for option, (value, beside) in table.items():
                others = {name: other for name, other in beside.items() if name != option}
                yield Trial(program, option, value, others)
        if program in {"sampler", "estimator", "NoiseLearnerV3", "Executor"} or program.startswith("executor_"):
            yield Trial(program, "execution.rep_delay", _DELAY, refused=True)


def nested(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options by dotted name as sections within each other."""
    made: dict[str, Any] = {}
    for name, value in options.items():
        *sections, last = name.split(".")
        place = made
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return made
