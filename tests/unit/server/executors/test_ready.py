"""Executors get the defaults of how their jobs are simulated, and refuse what makes no sense."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from qiskit.circuit import QuantumCircuit
from qiskit.primitives import PrimitiveResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit_ibm_runtime.decoders.executor.decoder import ExecutorResultDecoder
from qiskit_ibm_runtime.json import RuntimeEncoder
from qiskit_ibm_runtime.options_models import ExecutorOptions
from qiskit_ibm_runtime.quantum_program import QuantumProgram
from qiskit_ibm_runtime.quantum_program.params_converters import QUANTUM_PROGRAM_PARAMS_CONVERTERS

from kit.quantum.plain_executor import PlainExecutor
from qiskit_runtime_server.backends.names import dry_run_name
from qiskit_runtime_server.errors import InvalidInputError, StartupError, UnsupportedOptionError
from qiskit_runtime_server.executors import AerExecutor, registry
from qiskit_runtime_server.executors.base import BaseExecutor
from qiskit_runtime_server.executors.ready import ready
from qiskit_runtime_server.messages.messages import SELF_TEST, Task
from qiskit_runtime_server.simulation.wish import Approximation, GivenWish, Method
from qiskit_runtime_server.worker.run import run_program


def made(options: dict[str, Any], executor: str | BaseExecutor = "aer") -> BaseExecutor:
    return ready(executor, options, memory_bytes=2**30, threads=1, snapshots=None)


def bell() -> QuantumCircuit:
    pair = QuantumCircuit(5, 2)
    pair.sx(0)
    pair.cx(0, 1)
    pair.measure([0, 1], [0, 1])
    return pair


def task(executor: BaseExecutor, program: str, document: bytes, backend: str | None = None) -> Task:
    return Task(
        job_id="job",
        fence=1,
        program_id=program,
        backend_name=backend or "fake_manila@aer",
        calibration_digest=executor.catalog.get("fake_manila", ideal_qubits=5).digest,
        seed=11,
        seconds=60.0,
        params=document,
        log_level="INFO",
    )


def log_of(executor: BaseExecutor, simulator: dict[str, Any] | None = None, backend: str | None = None) -> str:
    """Run a sampler job on a device with errors that are no Pauli errors, and return its log."""
    options = {} if simulator is None else {"simulator": simulator}
    params = {"pubs": [SamplerPub.coerce(bell())], "options": options, "version": 2, "support_qiskit": True}
    lines: list[str] = []
    document = json.dumps(params, cls=RuntimeEncoder).encode()
    run_program(task(executor, "sampler", document, backend), executor, lines.append)
    return "\n".join(lines)


TWIRLED = "Simulates 2 qubits by clifford-frames, errors twirled"


@pytest.mark.parametrize("executor", ["aer", PlainExecutor()])
def test_a_default_is_for_jobs_that_say_nothing(executor: str | BaseExecutor) -> None:
    default = made({"approximation": "twirled-noise"}, executor)
    assert TWIRLED in log_of(default)
    assert TWIRLED in log_of(default, {"approximation": None})
    assert TWIRLED in log_of(default, backend=dry_run_name("fake_manila@aer"))
    assert TWIRLED not in log_of(made({}, "aer"))


def test_the_options_of_a_job_win_one_by_one() -> None:
    executor = made({"method": "clifford", "approximation": "none"})
    with pytest.raises(
        UnsupportedOptionError,
        match=r"approximation is none.* By default of this executor, simulator\.method is clifford and"
        r" simulator\.approximation is none\.",
    ):
        log_of(executor)
    # Of what a job says itself, nothing is said.
    with pytest.raises(UnsupportedOptionError, match=r"By default of this executor, simulator\.method is clifford\."):
        log_of(executor, {"approximation": "none"})
    with pytest.raises(UnsupportedOptionError, match=r"would run the circuit\.$"):
        log_of(made({}), {"method": "clifford", "approximation": "none"})
    # The method is still the executor's, and the other way round.
    assert TWIRLED in log_of(executor, {"approximation": "twirled-noise"})
    assert TWIRLED not in log_of(executor, {"method": "automatic"})


def test_a_truncation_error_of_a_job_needs_truncation_by_whomever() -> None:
    said = {"max_truncation_error": 0.1}
    log_of(made({"approximation": "truncated"}), said)
    log_of(made({"max_truncation_error": 0.3}))
    for options in ({}, {"approximation": "none"}, {"max_truncation_error": 0.3}):
        with pytest.raises(
            InvalidInputError, match=r"max_truncation_error is for simulator\.approximation: truncated"
        ) as refused:
            log_of(made(options), said)
        by_default = "By default of this executor, simulator.approximation is none." in str(refused.value)
        assert by_default is ("approximation" in options)


def test_the_program_executor_has_the_defaults_too() -> None:
    executor = made({"method": "clifford"})
    for options, twirled in (({}, True), ({"simulator": {"method": "executor"}}, False)):
        program = QuantumProgram(shots=10)
        program.append_circuit_item(bell())
        model = QUANTUM_PROGRAM_PARAMS_CONVERTERS["v1.1"].encoder(program, ExecutorOptions(experimental=options))
        lines: list[str] = []
        done = run_program(task(executor, "executor", model.model_dump_json().encode()), executor, lines.append)
        assert ExecutorResultDecoder.decode(done.result.decode())[0]["c"].shape == (10, 2)
        assert (TWIRLED in "\n".join(lines)) is twirled


def test_the_estimator_has_the_defaults_too() -> None:
    executor = made({"method": "clifford"})
    for options, twirled in (({}, True), ({"simulator": {"method": "executor"}}, False)):
        pubs = [EstimatorPub.coerce((bell().remove_final_measurements(inplace=False), "IIIZZ"))]
        params = {"pubs": pubs, "options": options, "version": 2, "support_qiskit": True}
        lines: list[str] = []
        document = json.dumps(params, cls=RuntimeEncoder).encode()
        run_program(task(executor, "estimator", document), executor, lines.append)
        assert (TWIRLED in "\n".join(lines)) is twirled


def test_the_self_test_is_no_job_of_a_client() -> None:
    # By frames it could not run at all: its circuits have other gates.
    for method in ("clifford", "pauli-propagation"):
        executor = made({"method": method})
        run_program(task(executor, SELF_TEST, b""), executor, print)
        assert executor.default_wish == GivenWish(method=Method(method))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"method": "warp"},
            r"Option method of 'aer' must be one of automatic, clifford, .*it is 'warp'",
        ),
        (
            {"approximation": True},
            r"approximation of 'aer' must be one of none, twirled-noise, truncated; .*True",
        ),
        ({"max_truncation_error": 0}, r"Option max_truncation_error of 'aer' must be a positive number; it is 0"),
        ({"max_truncation_error": "0.1"}, r"max_truncation_error of 'aer' must be a positive number; it is '0\.1'"),
        ({"colour": "red", "method": "clifford"}, r"'aer' does not take these options: .*colour"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(StartupError, match=message):
        made(options)


class OwnMethods(AerExecutor):
    def __init__(self, method: str = "dense") -> None:
        super().__init__(threads=1)
        self.chosen = method

    def fitted(self, *, memory_bytes: int | None, threads: int) -> "OwnMethods":
        return self


class NoSimulator(BaseExecutor):
    def execute_sampler(
        self, pubs: Sequence[SamplerPub], options: Mapping[str, Any], backend_name: str
    ) -> PrimitiveResult[Any]:
        return PrimitiveResult([])


def test_an_argument_of_the_executor_stays_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "load", lambda _name: OwnMethods)
    executor = made({"method": "sparse", "approximation": "none"}, "own")
    assert isinstance(executor, OwnMethods)
    assert executor.chosen == "sparse"
    assert executor.default_wish == GivenWish(approximation=Approximation.NONE)


def test_an_executor_that_the_server_chooses_no_methods_for_takes_no_defaults() -> None:
    assert made({}, NoSimulator()).default_wish == GivenWish()
    with pytest.raises(StartupError, match="'NoSimulator' does not take these options: approximation, method"):
        made({"method": "clifford", "approximation": "none"}, NoSimulator())
