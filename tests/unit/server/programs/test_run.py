"""A worker turns a task into a result document and its metrics, or fails with a reason."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import qiskit
from ibm_quantum_schemas.estimator.version_0_1.primitive_result import PrimitiveResultWrapperModel as EstimatorResult
from ibm_quantum_schemas.sampler.version_0_1 import PrimitiveResultWrapperModel as SamplerResult
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.primitives import DataBin, PrimitiveResult, PubResult, StatevectorEstimator, StatevectorSampler
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit_aer.noise import NoiseModel, depolarizing_error
from qiskit_ibm_runtime.decoders.result_decoder import ResultDecoder
from qiskit_ibm_runtime.json import RuntimeEncoder

from kit.quantum.plain_executor import PlainExecutor
from qiskit_runtime_server.backends.names import dry_run_name
from qiskit_runtime_server.errors import (
    CalibrationMissingError,
    CircuitTooLargeError,
    InternalError,
    InvalidInputError,
    NotIsaError,
    UnsupportedOptionError,
)
from qiskit_runtime_server.executors.base import BaseExecutor
from qiskit_runtime_server.messages.messages import Completed, Task
from qiskit_runtime_server.programs.device import progress
from qiskit_runtime_server.worker.run import run_program


class UserExecutor(BaseExecutor):
    """What a user writes who knows only Qiskit's own primitives."""

    def execute_sampler(
        self, pubs: Sequence[SamplerPub], options: Mapping[str, Any], backend_name: str
    ) -> PrimitiveResult[Any]:
        assert backend_name == "fake_manila@aer"
        return StatevectorSampler(seed=options["simulator"]["seed_simulator"]).run(pubs, shots=100).result()

    def execute_estimator(
        self, pubs: Sequence[EstimatorPub], options: Mapping[str, Any], backend_name: str
    ) -> PrimitiveResult[Any]:
        assert backend_name == "fake_manila@aer"
        return StatevectorEstimator(seed=options["simulator"]["seed_simulator"]).run(pubs).result()


class CarelessExecutor(UserExecutor):
    """Returns something that no client can read."""

    def execute_sampler(
        self, pubs: Sequence[SamplerPub], options: Mapping[str, Any], backend_name: str
    ) -> PrimitiveResult[Any]:
        assert pubs, (options, backend_name)
        return PrimitiveResult([PubResult(DataBin(), {"what": object()})])


def circuit() -> QuantumCircuit:
    flip = QuantumCircuit(5, 1)
    flip.sx(0)
    flip.rz(Parameter("a"), 0)
    flip.sx(0)
    return flip


def measured() -> QuantumCircuit:
    flip = circuit()
    flip.measure(0, 0)
    return flip


def task(executor: BaseExecutor, pubs: Sequence[Any], **changes: Any) -> Task:
    program = changes.get("program_id", "sampler")
    kind: Any = {"sampler": SamplerPub, "estimator": EstimatorPub}.get(program, SamplerPub)
    options = changes.pop("options", {})
    params = {"pubs": [kind.coerce(pub) for pub in pubs], "options": options, "version": 2, "support_qiskit": True}
    digest = executor.catalog.get("fake_manila", ideal_qubits=executor.capabilities().num_qubits).digest
    fields: dict[str, Any] = {
        "job_id": "job",
        "fence": 1,
        "program_id": "sampler",
        "backend_name": "fake_manila@aer",
        "calibration_digest": digest,
        "seed": 11,
        "seconds": 60.0,
        "params": json.dumps(params, cls=RuntimeEncoder).encode(),
    }
    return Task(**{**fields, **changes})


def result(completed: Completed) -> PrimitiveResult[Any]:
    decoded = ResultDecoder.decode(completed.result.decode())
    assert isinstance(decoded, PrimitiveResult)
    return decoded


def test_a_sampler_task_becomes_a_document_and_metrics() -> None:
    executor = PlainExecutor()
    pubs = [(measured(), [[0.0], [1.0]], 50), (measured(), [0.5], 30)]
    completed = run_program(task(executor, pubs), executor, print)
    assert [pub_result.data.c.num_shots for pub_result in result(completed)] == [50, 30]
    assert completed.metrics.num_circuits == 2
    assert completed.metrics.executions == 130
    assert completed.metrics.num_qubits == (5, 5)
    assert completed.metrics.qiskit_version == qiskit.__version__
    assert completed.metrics.seconds > 0


def test_an_estimator_task_counts_every_configuration() -> None:
    executor = PlainExecutor()
    pub = (circuit(), {"IIIIZ": 1.0, "IIIIX": 1.0}, [[0.0], [1.0], [2.0]], 0.1)
    options = {"resilience_level": 0}
    completed = run_program(task(executor, [pub], program_id="estimator", options=options), executor, print)
    assert result(completed)[0].data.evs.shape == (3,)
    assert completed.metrics.executions == 2 * 3 * 100


def test_the_log_tells_what_is_to_be_run_before_it_is() -> None:
    executor, lines = PlainExecutor(), list[str]()
    pub = (circuit(), {"IIIIZ": 1.0, "IIIIX": 1.0}, [[0.0], [1.0], [2.0]], 0.1)
    options = {"resilience_level": 1}
    run_program(
        task(executor, [pub], program_id="estimator", options=options, log_level="INFO"), executor, lines.append
    )
    assert lines[0] == (
        "Runs 6 circuits of 1 pub; each is varied or repeated by twirling.enable_measure,"
        " resilience.measure_mitigation."
    )


@pytest.mark.parametrize(("level", "number"), [("WARNING", 1), ("ERROR", 0)])
def test_the_log_of_a_long_job_tells_how_far_it_is(level: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_FIRST_LINE_SECONDS", "_LINE_PAUSE_SECONDS"):
        monkeypatch.setattr(progress, name, 0.0)
    executor, lines = PlainExecutor(), list[str]()
    pubs = [(measured(), [[0.0], [1.0]], 50)] * 3
    run_program(task(executor, pubs, log_level=level), executor, lines.append)
    told = [line for line in lines if "circuits in" in line]
    assert len(told[:1]) == number
    assert all(line.startswith("33 % done, done with pub 1 of 3: 2 of about 6 circuits in ") for line in told[:1])


def test_results_are_of_the_platforms_schemas() -> None:
    executor = PlainExecutor()
    sampled = run_program(task(executor, [(measured(), [0.5], 30)]), executor, print)
    SamplerResult.model_validate_json(sampled.result)
    pub = (circuit(), {"IIIIZ": 1.0}, [0.5], 0.1)
    options = {"resilience_level": 0}
    estimated = run_program(task(executor, [pub], program_id="estimator", options=options), executor, print)
    EstimatorResult.model_validate_json(estimated.result)


@pytest.mark.parametrize(("level", "number"), [("debug", 1), ("INFO", 1), ("warning", 0), ("Error", 0)])
def test_levels_of_logs_are_spelled_in_any_case(level: str, number: int) -> None:
    lines: list[str] = []
    executor = PlainExecutor()
    run_program(task(executor, [(measured(), [0.5], 30)], log_level=level), executor, lines.append)
    assert sum(line.startswith("sampler on fake_manila@aer") for line in lines) == number


def test_every_attempt_at_a_job_gives_the_same_bits() -> None:
    executor = PlainExecutor()
    pubs = [(measured(), [0.7])]
    first, second, other = (
        result(run_program(task(executor, pubs, seed=seed), executor, print))[0].data.c for seed in (1, 1, 2)
    )
    assert first == second != other


def test_a_seed_of_the_job_overrides_that_of_the_task() -> None:
    executor = PlainExecutor()
    for options, program in (({"simulator": {"seed_simulator": 3}}, "sampler"), ({"seed_estimator": 3}, "estimator")):
        pub = (measured(), [0.7]) if program == "sampler" else (circuit(), "IIIIZ", [0.7])
        tasks = [task(executor, [pub], seed=seed, options=options, program_id=program) for seed in (1, 2)]
        first, second = (result(run_program(one, executor, print))[0].data for one in tasks)
        assert first.c == second.c if program == "sampler" else first.evs == second.evs


@pytest.mark.parametrize("program", ["sampler", "estimator"])
def test_an_executor_of_the_user_needs_only_two_methods(program: str) -> None:
    executor = UserExecutor()
    pub = (measured(), [np.pi], 100) if program == "sampler" else (circuit(), "IIIIZ", [0.0], 0.1)
    completed = run_program(task(executor, [pub], program_id=program), executor, print)
    data = result(completed)[0].data
    if program == "sampler":
        assert data.c.get_counts() == {"0": 100}
        assert completed.metrics.executions == 100
    else:
        assert data.evs == pytest.approx(-1, abs=0.5)
        assert data.stds.shape == ()


def test_a_result_that_clients_cannot_read_is_an_error_of_the_server() -> None:
    executor = CarelessExecutor()
    with pytest.raises(InternalError, match="cannot be sent"):
        run_program(task(executor, [(measured(), [0.1])]), executor, print)


def test_an_unknown_program_is_refused_naming_the_known_ones() -> None:
    executor = PlainExecutor()
    with pytest.raises(
        InvalidInputError,
        match="'circuit-runner' not found: there are calibrate, estimator, executor, noise-learner, sampler",
    ):
        run_program(task(executor, [(measured(), [0.1])], program_id="circuit-runner"), executor, print)


@pytest.mark.parametrize(
    "changes", [{"calibration_digest": "0" * 64}, {"backend_name": "fake_nowhere@aer"}, {"backend_name": "x"}]
)
def test_a_job_is_not_run_on_another_calibration_than_it_was_accepted_with(changes: dict[str, str]) -> None:
    executor = PlainExecutor()
    with pytest.raises(CalibrationMissingError):
        run_program(task(executor, [(measured(), [0.1])], **changes), executor, print)


def test_options_and_circuits_are_checked_before_anything_runs() -> None:
    executor = PlainExecutor()
    with pytest.raises(UnsupportedOptionError, match=r"execution\.meas_type"):
        run_program(
            task(executor, [(measured(), [0.1])], options={"execution": {"meas_type": "kerneled"}}), executor, print
        )
    hadamard = QuantumCircuit(5, 1)
    hadamard.h(0)
    with pytest.raises(NotIsaError):
        run_program(task(executor, [hadamard]), executor, print)
    assert executor.tasks == []


def test_the_log_tells_what_has_no_effect() -> None:
    executor = PlainExecutor()
    lines: list[str] = []
    options = {"twirling": {"enable_gates": False, "num_randomizations": 5}}
    run_program(task(executor, [(measured(), [0.1])], options=options), executor, lines.append)
    assert any("twirling.num_randomizations has no effect" in line for line in lines)
    assert not any("enable_gates" in line for line in lines)


def test_an_executor_of_the_user_gets_options_as_they_were_sent() -> None:
    sent: list[Mapping[str, Any]] = []

    class Curious(UserExecutor):
        def execute_sampler(
            self, pubs: Sequence[SamplerPub], options: Mapping[str, Any], backend_name: str
        ) -> PrimitiveResult[Any]:
            sent.append(options)
            return super().execute_sampler(pubs, options, backend_name)

    executor, lines = Curious(), list[str]()
    options = {"an": {"option": "of its own"}, "twirling": {"num_randomizations": 5}}
    run_program(task(executor, [(measured(), [0.1])], options=options), executor, lines.append)
    assert sent == [{**options, "simulator": {"seed_simulator": 11}}]
    assert not lines


def waiting() -> QuantumCircuit:
    circuit = QuantumCircuit(5, 1)
    circuit.x(0)
    circuit.delay(1000, 0)
    circuit.measure(0, 0)
    return circuit


def waiting_in(block: str) -> QuantumCircuit:
    circuit, body = QuantumCircuit(5, 1), QuantumCircuit(1)
    body.delay(1000, 0)
    empty, condition = QuantumCircuit(1), (circuit.clbits[0], 1)
    match block:
        case "if":
            circuit.if_test(condition, body, [0], [])
        case "else":
            circuit.if_else(condition, empty, body, [0], [])
        case "for":
            circuit.for_loop(range(2), None, body, [0], [])
        case "switch":
            circuit.switch(circuit.clbits[0], [(0, empty), (1, body)], [0], [])
        case "box":
            circuit.box(body, [0], [])
        case "box in a box":
            outer = QuantumCircuit(1)
            outer.box(body, [0], [])
            circuit.box(outer, [0], [])
    circuit.measure(0, 0)
    return circuit


@pytest.mark.parametrize(
    "circuit",
    [waiting(), *map(waiting_in, ("if", "else", "for", "switch", "box", "box in a box"))],
    ids=["straight", "if", "else", "for", "switch", "box", "box in a box"],
)
def test_the_log_tells_that_delays_are_ideal_under_a_noise_model_without_them(circuit: QuantumCircuit) -> None:
    executor, lines = PlainExecutor(), list[str]()
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.01, 1), "x")
    options = {"simulator": {"noise_model": model}}
    run_program(task(executor, [circuit], options=options), executor, lines.append)
    assert any("Delays are ideal" in line for line in lines)
    lines.clear()
    run_program(task(executor, [circuit]), executor, lines.append)
    assert not lines


def bell() -> QuantumCircuit:
    pair = QuantumCircuit(5, 2)
    for _ in range(2):
        pair.sx(0)
        pair.cx(0, 1)
    pair.measure([0, 1], [0, 1])
    return pair


def test_the_log_tells_how_circuits_are_simulated_from_level_info_on() -> None:
    executor, lines = PlainExecutor(), list[str]()
    run_program(task(executor, [bell(), bell()], log_level="INFO"), executor, lines.append)
    assert lines[0] == "Runs 2 circuits of 2 pubs."
    assert [line for line in lines if line.startswith("Simulates 2 qubits by statevector: about ")] == lines[1:2]
    lines.clear()
    run_program(task(executor, [bell()]), executor, lines.append)
    assert not lines


def test_the_log_tells_of_each_approximation() -> None:
    executor, lines = PlainExecutor(), list[str]()
    options = {"simulator": {"method": "clifford"}}
    done = run_program(task(executor, [bell()], options=options), executor, lines.append)
    (line,) = lines
    assert line.startswith("Simulates 2 qubits by clifford-frames, errors twirled over the Pauli operators: about ")
    (way,) = result(done)[0].metadata["simulation"]
    assert way == {"qubits": [0, 1], "method": "clifford-frames", "noise": "pauli-twirled", "truncation_error": 0.0}


def test_the_log_of_a_dry_run_tells_the_plan_and_what_would_be_refused() -> None:
    executor, lines = PlainExecutor(), list[str]()
    name = dry_run_name("fake_manila@aer")
    run_program(task(executor, [bell()], backend_name=name, log_level="INFO"), executor, lines.append)
    assert lines[0] == "Runs 1 circuit of 1 pub."
    assert lines[1].startswith("Simulates 2 qubits by statevector")
    lines.clear()
    run_program(task(executor, [bell()], backend_name=name, seconds=1e-9), executor, lines.append)
    (line,) = lines
    assert line.startswith("This would be refused: 2 qubits of the circuit are entangled: by statevector")


def test_a_plan_that_takes_far_longer_than_the_job_may_is_refused_before_it_starts() -> None:
    executor = PlainExecutor()
    with pytest.raises(CircuitTooLargeError, match="by statevector their simulation would take about"):
        run_program(task(executor, [bell()], seconds=1e-9), executor, lambda _: None)


def test_the_log_warns_of_layouts_on_broken_couplers() -> None:
    executor, lines = PlainExecutor(), list[str]()
    broken, sound = QuantumCircuit(156, 1), QuantumCircuit(156, 1)
    for circuit, pair in ((broken, (28, 27)), (sound, (1, 0))):
        circuit.cz(*pair)
        circuit.cz(*pair[::-1])
        circuit.measure(pair[0], 0)
    digest = executor.catalog.get("fake_fez", ideal_qubits=executor.capabilities().num_qubits).digest
    fields = {"backend_name": "fake_fez@aer", "calibration_digest": digest}
    run_program(task(executor, [sound], **fields), executor, lines.append)
    assert not lines
    run_program(task(executor, [broken, broken], **fields), executor, lines.append)
    (line,) = lines
    assert "couplers of fake_fez whose calibrated error is 1, behind which nothing is left of the state: 27-28." in line
