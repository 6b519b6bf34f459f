"""The bits of a seeded job are a promise: each part of a job draws from the same seeds in every release.

What is recorded here was recorded once. A change of it changes the results of jobs that users have seeded.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from qiskit.circuit import ClassicalRegister, Parameter, QuantumCircuit, QuantumRegister
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit_ibm_runtime.decoders.executor.decoder import ExecutorResultDecoder
from qiskit_ibm_runtime.decoders.noise_learner import NoiseLearnerResultDecoder
from qiskit_ibm_runtime.decoders.result_decoder import ResultDecoder
from qiskit_ibm_runtime.json import RuntimeEncoder
from qiskit_ibm_runtime.noise_learner_v3.converters.version_0_3 import noise_learner_v3_inputs_to_0_3
from qiskit_ibm_runtime.options_models import ExecutorOptions, NoiseLearnerV3Options
from qiskit_ibm_runtime.quantum_program import QuantumProgram
from qiskit_ibm_runtime.quantum_program.params_converters import QUANTUM_PROGRAM_PARAMS_CONVERTERS
from samplomatic import Twirl, build

from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.executors.base import BaseExecutor, BitTensor, SampleTask
from qiskit_runtime_server.messages.messages import Capabilities, Task
from qiskit_runtime_server.worker.run import run_program

QUICK = {"num_randomizations": 2, "shots_per_randomization": 16, "layer_pair_depths": [0, 1, 4]}
TWIRLED = {"num_randomizations": 4, "shots_per_randomization": 8}


@dataclass
class Digest:
    """Of everything that a simulator was asked for."""

    values: bool = True
    """Whether parameter values are part of it, which in PEC depend on learned rates, and so on simulated bits."""
    tasks: int = 0
    _found: Any = field(default_factory=hashlib.sha256)

    def add(self, task: SampleTask) -> None:
        self.tasks += 1
        places = {qubit: place for place, qubit in enumerate(task.circuit.qubits)}
        gates = [(part.name, [places[qubit] for qubit in part.qubits]) for part in task.circuit.data]
        self._found.update(repr((task.shots, gates, task.seeds.tolist())).encode())
        if self.values:
            self._found.update((np.round(task.parameter_values, 5) + 0.0).tobytes())

    def __str__(self) -> str:
        return f"{self.tasks}:{self._found.hexdigest()[:16]}"


class BiasedCoins(BaseExecutor):
    """Reads 1 in three of ten cases, whatever the circuit: no bit of it depends on the version of a simulator."""

    def __init__(self, digest: Digest) -> None:
        self.digest = digest

    def capabilities(self) -> Capabilities:
        return Capabilities(num_qubits=20)

    def sample(self, task: SampleTask) -> BitTensor:
        self.digest.add(task)
        size = (task.shots, task.circuit.num_clbits)
        return np.array([np.random.default_rng(seed).random(size) < 0.3 for seed in task.seeds.tolist()])


class DigestedAer(AerExecutor):
    """Simulates: nothing can be learned from coins."""

    def __init__(self, digest: Digest) -> None:
        super().__init__(threads=1)
        self.digest = digest

    def sample(self, task: SampleTask) -> BitTensor:
        self.digest.add(task)
        return super().sample(task)


def layers() -> QuantumCircuit:
    """Two entangling layers of five qubits, on all of which something is random."""
    circuit = QuantumCircuit(5)
    angle = Parameter("a")
    for pairs in (((0, 1), (3, 2)), ((1, 2), (4, 3))):
        circuit.sx(range(5))
        circuit.rz(angle, range(5))
        circuit.sx(range(5))
        for pair in pairs:
            circuit.cx(*pair)
    return circuit


def measured() -> QuantumCircuit:
    circuit = layers()
    register = ClassicalRegister(5, "c")
    circuit.add_register(register)
    circuit.measure(range(5), register)
    return circuit


def bits_of(executor: BaseExecutor, program: str, params: Mapping[str, Any] | str, backend: str = "fake_manila") -> str:
    metadata = executor.catalog.get(backend, ideal_qubits=executor.capabilities().num_qubits)
    task = Task(
        job_id="job",
        fence=1,
        program_id=program,
        backend_name=f"{backend}@aer",
        calibration_digest=metadata.digest,
        seed=11,
        seconds=60.0,
        params=(params if isinstance(params, str) else json.dumps(params, cls=RuntimeEncoder)).encode(),
    )
    return run_program(task, executor, lambda _line: None).result.decode()


def sampled(digest: Digest, options: Mapping[str, Any], backend: str = "fake_manila") -> list[str]:
    """Return the first shots of two parameter sets each of two pubs, and what was simulated for them."""
    pubs = [SamplerPub.coerce((measured(), [[0.4], [0.9]], 32)) for _ in range(2)]
    params = {"pubs": pubs, "options": options, "version": 2, "support_qiskit": True}
    result = ResultDecoder.decode(bits_of(BiasedCoins(digest), "sampler", params, backend))
    return ["".join(f"{shot:02x}" for shot in row[:6, 0]) for pub in result for row in pub.data.c.array]


def estimated(executor: BaseExecutor, options: Mapping[str, Any], backend: str = "fake_manila") -> list[float]:
    """Return the values of two observables, measured in two bases, each for two parameter sets."""
    observables = [[{"IIIIZ": 1.0, "IIIXI": 0.5}], [{"IIZZI": 1.0}]]
    pub = EstimatorPub.coerce((layers(), observables, [[0.4], [0.9]], 1 / 8))
    params = {"pubs": [pub], "options": options, "version": 2, "support_qiskit": True}
    result = ResultDecoder.decode(bits_of(executor, "estimator", params, backend))
    return [float(value) for value in result[0].data.evs.ravel()]


SAMPLED: Mapping[str, tuple[str, Mapping[str, Any], str, list[str]]] = {
    "plain": (
        "fake_manila",
        {},
        "2:c3747bdaa9ba9d4c",
        ["000d06080809", "0b0415130911", "1e0a08070800", "06100114020c"],
    ),
    "measurements twirled": (
        "fake_manila",
        {"twirling": {"enable_measure": True, **TWIRLED}},
        "2:c3747bdaa9ba9d4c",
        ["010d06080809", "0b0415130911", "1e0a08030800", "06100114020c"],
    ),
    "gates twirled": (
        "fake_manila",
        {"twirling": {"enable_gates": True, **TWIRLED}},
        "2:a6452ea3c372e8d1",
        ["0c1202161007", "1a0000040800", "000400010002", "10060805040c"],
    ),
    "a dry run": (
        "mock_manila",
        {},
        "0:e3b0c44298fc1c14",
        ["181b0617011d", "12101a1f1d1e", "1a1c1b0a1e01", "001101041f11"],
    ),
}

ESTIMATED: Mapping[str, tuple[str, Mapping[str, Any], str, list[float]]] = {
    "level 0": ("fake_manila", {"resilience_level": 0}, "2:a3dd6e9a58d2db5e", [0.625, 0.671875, 0.125, 0.3125]),
    "level 1": (
        "fake_manila",
        {"resilience_level": 1, "twirling": TWIRLED},
        "2:a3dd6e9a58d2db5e",
        [0.4992423199, 0.650089544, 0.1662067846, 0.4570686577],
    ),
    "folding": (
        "fake_manila",
        {
            "resilience": {
                "zne_mitigation": True,
                "zne": {"noise_factors": [1, 1.5, 2.2], "extrapolator": "linear"},
                "measure_mitigation": True,
            },
            "twirling": {"enable_gates": True, **TWIRLED},
        },
        "3:d06d0201c721cb7a",
        [-0.1209332657, -0.3067580354, 1.1078201053, -1.1213131861],
    ),
    "a dry run": (
        "mock_manila",
        {"resilience_level": 1},
        "0:e3b0c44298fc1c14",
        [0.253346447, -0.1357370095, 0.1240796956, -0.1654395941],
    ),
}


@pytest.mark.parametrize("case", SAMPLED)
def test_a_sampler_job_has_the_bits_that_it_always_had(case: str) -> None:
    backend, options, tasks, shots = SAMPLED[case]
    digest = Digest()
    assert (sampled(digest, options, backend), str(digest)) == (shots, tasks)


@pytest.mark.parametrize("case", ESTIMATED)
def test_an_estimator_job_has_the_values_that_it_always_had(case: str) -> None:
    backend, options, tasks, values = ESTIMATED[case]
    digest = Digest()
    found = estimated(BiasedCoins(digest), options, backend)
    assert str(digest) == tasks
    # The library extrapolates by scipy.optimize.curve_fit, which ends where a step is below 1.5e-8 of a parameter; from
    # there on the digits differ between kinds of processors.
    relative = 1.5e-8 if "zne" in options.get("resilience", {}) else 0.0
    assert found == pytest.approx(values, abs=1e-9, rel=relative)


def test_layers_are_learned_and_cancelled_by_the_seeds_that_they_always_had() -> None:
    digest = Digest(values=False)
    resilience = {"pec_mitigation": True, "pec": {"max_overhead": 4}, "layer_noise_learning": QUICK}
    estimated(DigestedAer(digest), {"resilience": resilience, "twirling": TWIRLED})
    assert str(digest) == "9:da3b3ea0ca81b383"


def test_a_noise_learner_draws_what_it_always_drew() -> None:
    digest = Digest()
    bits_of(DigestedAer(digest), "noise-learner", {"circuits": [layers().assign_parameters([0.4])], "options": QUICK})
    assert str(digest) == "8:ce22e321e1376b7e"


def test_a_dry_run_of_the_noise_learner_learns_what_it_always_learned() -> None:
    params = {"circuits": [layers().assign_parameters([0.4])], "options": QUICK}
    result = NoiseLearnerResultDecoder.decode(bits_of(BiasedCoins(Digest()), "noise-learner", params, "mock_manila"))
    rates = [float(layer.error.rates.sum()) for layer in result]
    assert rates == pytest.approx([0.006266092073961807, 0.015151655216997769], abs=1e-6)


def test_boxes_are_learned_with_the_seeds_that_they_always_had() -> None:
    digest = Digest()
    circuit = QuantumCircuit(QuantumRegister(5, "q"))
    with circuit.box([Twirl()]):
        circuit.cx(0, 1)
    params = json.loads(noise_learner_v3_inputs_to_0_3(list(circuit.data), NoiseLearnerV3Options()).model_dump_json())
    bits_of(DigestedAer(digest), "noise-learner", params | {"schema_version": "v0.3", "options": QUICK})
    assert str(digest) == "2:60c31025e2bc3838"


def test_a_quantum_program_has_the_bits_that_it_always_had() -> None:
    digest = Digest()
    program = QuantumProgram(shots=16, meas_level="both")
    program.append_circuit_item(measured(), circuit_arguments=np.array([[0.4], [0.9]]))
    boxed = QuantumCircuit(2)
    with boxed.box([Twirl()]):
        boxed.rx(Parameter("a"), 0)
        boxed.cx(0, 1)
    with boxed.box([Twirl()]):
        boxed.measure_all()
    template, samplex = build(boxed)
    angles = np.array([[0.0], [np.pi]])
    program.append_samplex_item(template, samplex, samplex_arguments={"parameter_values": angles}, shape=(3, 2))
    text = QUANTUM_PROGRAM_PARAMS_CONVERTERS["v2.0"].encoder(program, ExecutorOptions()).model_dump_json()
    one, other = ExecutorResultDecoder.decode(bits_of(BiasedCoins(digest), "executor", text))
    bits = np.packbits(one["c"].ravel()[:64]).tobytes().hex(), np.packbits(other["meas"].ravel()[:64]).tobytes().hex()
    points = [float(np.real(item).ravel()[3]) for item in (one["c_iq"], other["meas_iq"])]
    flips = np.packbits(other["measurement_flips.meas"].ravel()).tobytes().hex()
    assert (str(digest), *bits, flips) == ("2:cc1e6eb57d746455", "43001858351e2103", "1c0012609062a539", "3a70")
    assert points == pytest.approx([-0.7762272484843463, 1.3022652524159635])
