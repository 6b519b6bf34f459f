"""A worker says what a job would take on other executors, too, without running any of it."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest
from qiskit import QuantumCircuit
from qiskit.primitives import PrimitiveResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit_ibm_runtime.json import RuntimeEncoder

from kit.quantum.qsim_alone import needs_qsim
from qiskit_runtime_server.errors import InvalidInputError
from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.executors.base import BaseExecutor, BitTensor, SampleTask
from qiskit_runtime_server.messages.messages import (
    PREDICTION,
    Candidate,
    Capabilities,
    Fitted,
    Metrics,
    Prediction,
    Routing,
    Task,
)
from qiskit_runtime_server.worker.run import run_program

GIB = 2**30
GPU = Capabilities(
    num_qubits=33,
    device="A GPU that is not here",
    memory_bytes=80 * GIB,
    fitted=Fitted(kind="custatevec", memory_bytes=GIB, threads=1, options={}),
)


class NeverRun(AerExecutor):
    """Makes offers, and must not be asked for more."""

    def sample(self, task: SampleTask) -> BitTensor:
        raise AssertionError(task)


class Own(BaseExecutor):
    """Runs samplers in a way of its own."""

    def execute_sampler(
        self, pubs: Sequence[SamplerPub], options: Mapping[str, Any], backend_name: str
    ) -> PrimitiveResult[Any]:
        raise AssertionError(pubs, options, backend_name)


def fitted(kind: str, *, memory: int = 4 * GIB, threads: int = 1, **options: object) -> Capabilities:
    """Return the capabilities of an executor elsewhere."""
    return Capabilities(num_qubits=27, fitted=Fitted(kind=kind, memory_bytes=memory, threads=threads, options=options))


def entangled(num_qubits: int, layers: int = 4) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits)
    for layer in range(layers):
        for qubit in range(num_qubits):
            circuit.sx(qubit)
            circuit.rz(0.3 + 0.1 * qubit + 0.7 * layer, qubit)
            circuit.sx(qubit)
        for qubit in range(layer % 2, num_qubits - 1, 2):
            circuit.cz(qubit, qubit + 1)
    return circuit


def measured(num_qubits: int, layers: int = 4) -> QuantumCircuit:
    circuit = entangled(num_qubits, layers)
    circuit.measure_all()
    return circuit


def asked(
    params: Mapping[str, Any],
    candidates: Mapping[str, Capabilities],
    *,
    executor: BaseExecutor | None = None,
    program: str = "sampler",
    device: str = "fake_quantum_sim",
    **changes: Any,
) -> dict[str, Prediction]:
    """Return what a worker of the executor `here` says of a job."""
    own = executor or NeverRun(memory_bytes=GIB, threads=1)
    digest = own.catalog.get(device, ideal_qubits=own.capabilities().num_qubits).digest
    all_candidates = {"here": own.capabilities(), **candidates}
    task = Task(
        job_id="job",
        fence=1,
        program_id=f"{PREDICTION}:{program}",
        backend_name=f"{device}@auto",
        calibration_digest=digest,
        seed=1,
        seconds=30.0,
        run_seconds=3600.0,
        candidates=tuple(
            Candidate(executor=name, capabilities=each, asked=name == "here") for name, each in all_candidates.items()
        ),
        params=json.dumps({"version": 2, "support_qiskit": True, **params}, cls=RuntimeEncoder).encode(),
        **changes,
    )
    done = run_program(task, own, print)
    assert done.metrics == Metrics()
    return msgspec.json.decode(done.result, type=dict[str, Prediction])


def sampler(*pubs: Any, **options: Any) -> dict[str, Any]:
    return {"pubs": [SamplerPub.coerce(pub) for pub in pubs], "options": options}


def estimator(*pubs: Any, **options: Any) -> dict[str, Any]:
    return {"pubs": [EstimatorPub.coerce(pub) for pub in pubs], "options": options}


def seconds(found: Prediction) -> float:
    assert found.seconds is not None, found
    return found.seconds


@needs_qsim
def test_an_executor_speaks_for_others_of_which_it_knows_how_they_were_made() -> None:
    found = asked(sampler((measured(20), None, 1000)), {"qsim": fitted("qsim"), "gpu": GPU, "double": fitted("aer")})
    assert seconds(found["qsim"]) < 0.5 * seconds(found["here"])
    assert seconds(found["double"]) == seconds(found["here"])
    assert seconds(found["gpu"]) > 0


@needs_qsim
def test_the_options_and_the_memory_that_count_are_those_of_each() -> None:
    candidates = {
        "large": fitted("aer", memory=64 * GIB),
        "single": fitted("qsim", memory=GIB),
        "double": fitted("qsim", memory=GIB, precision="double"),
        "gpu": GPU,
    }
    found = asked(sampler((measured(26, 30), None, 10)), candidates, ideal_qubits=33)
    assert "26 qubits of the circuit are entangled" in found["here"].refusal
    assert found["double"].refusal
    assert found["here"].seconds is None
    for name in ("large", "single", "gpu"):
        assert seconds(found[name]) > 0


def test_nothing_is_said_for_those_that_cannot_be_made_here() -> None:
    strangers = {
        "object": fitted(""),
        "plug-in": fitted("not-installed"),
        "older": Capabilities(num_qubits=20),
        "wrong": fitted("aer", what=1),
    }
    assert asked(sampler((measured(3), None, 10)), strangers).keys() == {"here"}


def test_who_runs_the_program_in_a_way_of_its_own_cannot_say_how_long() -> None:
    found = asked(sampler((measured(3), None, 10)), {"aer": fitted("aer")}, executor=Own())
    assert found["here"] == Prediction()
    assert seconds(found["aer"]) > 0


def test_what_is_wrong_with_a_job_is_what_everybody_says() -> None:
    wide = QuantumCircuit(9, 9)
    wide.measure(range(9), range(9))
    found = asked(sampler((wide, None, 10)), {"aer": fitted("aer")}, device="fake_manila")
    assert found["here"].refusal == found["aer"].refusal != ""
    with pytest.raises(InvalidInputError, match="Program 'prediction:nothing' not found"):
        asked(sampler((measured(3), None, 10)), {}, program="nothing")


def test_an_ideal_device_is_as_wide_as_it_was_shown() -> None:
    few = QuantumCircuit(30, 2)
    few.h(0)
    few.cx(0, 1)
    few.measure([0, 1], [0, 1])
    assert asked(sampler((few, None, 10)), {})["here"].refusal
    assert seconds(asked(sampler((few, None, 10)), {}, ideal_qubits=33)["here"]) >= 0


def test_time_grows_with_parameter_sets_and_pubs_and_not_with_what_is_cheap() -> None:
    circuit = measured(14)
    one = seconds(asked(sampler((circuit, None, 1000)), {})["here"])
    three = seconds(asked(sampler((circuit, None, 1000), (circuit, None, 1000), (circuit, None, 1000)), {})["here"])
    assert three == pytest.approx(3 * one)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_mitigated_estimates_are_foreseen_with_all_their_variants(level: int) -> None:
    # ISA circuit of the device.
    circuit = QuantumCircuit(5)
    for qubit in (1, 3):
        circuit.sx(qubit)
        circuit.rz(0.4, qubit)
        circuit.cx(qubit, qubit - 1)
    params = estimator((circuit, ["ZZIII", "IIIXX"])) | {"resilience_level": level}
    start = time.process_time()
    found = asked(params, {"aer": fitted("aer")}, program="estimator", device="fake_manila")
    assert time.process_time() - start < 20
    assert found["here"] == found["aer"]
    assert 0 < seconds(found["here"]) < 60


def test_a_look_ends_in_time_however_many_variants_there_are() -> None:
    circuit = QuantumCircuit(5)
    for _ in range(6):
        circuit.sx(range(5))
        circuit.cx(1, 0)
        circuit.cx(3, 2)
    options = {"resilience": {"zne_mitigation": True}, "twirling": {"enable_gates": True, "num_randomizations": 500}}
    start = time.process_time()
    found = asked(estimator((circuit, ["ZZIII"]), **options), {}, program="estimator", device="fake_manila")
    assert time.process_time() - start < 20
    assert seconds(found["here"]) > 0


def test_what_would_have_to_be_tried_is_not() -> None:
    """Truncation shows in trials that take seconds; what they take at most is known before."""
    options = {"simulator": {"approximation": "truncated"}}
    start = time.process_time()
    found = asked(sampler((measured(40, 2), None, 100), **options), {}, ideal_qubits=50)
    assert time.process_time() - start < 5
    assert seconds(found["here"]) > 0


def test_a_loop_takes_a_time_that_is_not_known() -> None:
    circuit = QuantumCircuit(13, 1)
    circuit.h(range(13))
    for qubit in range(12):
        circuit.cp(0.3, qubit, qubit + 1)
    with circuit.while_loop((circuit.clbits[0], 0)):
        circuit.h(0)
        circuit.measure(0, 0)
    circuit.measure_all()
    assert asked(sampler((circuit, None, 10)), {})["here"] == Prediction()


def test_results_say_where_they_were_made_and_why_there() -> None:
    executor = AerExecutor()
    params = sampler((measured(2), None, 5))
    task = Task(
        job_id="job",
        fence=2,
        program_id="sampler",
        backend_name="fake_quantum_sim@aer",
        calibration_digest=executor.catalog.get("fake_quantum_sim", ideal_qubits=2).digest,
        seed=1,
        seconds=30.0,
        routing=Routing(predictions={"aer": Prediction(seconds=0.5), "gpu": Prediction(refusal="no")}),
        params=json.dumps({"version": 2, "support_qiskit": True, **params}, cls=RuntimeEncoder).encode(),
    )
    said = json.loads(run_program(task, executor, print).result)["__value__"]["metadata"]["routing"]
    assert said == {"executor": "aer", "predicted_seconds": {"aer": 0.5}}
    assert math.isfinite(said["predicted_seconds"]["aer"])
