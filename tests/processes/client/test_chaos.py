"""The real client meets faults that were asked for, and ordinary devices of the same server have none."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import IBMBackend, QiskitRuntimeService, RuntimeJobV2, SamplerV2, Session
from qiskit_ibm_runtime.exceptions import IBMRuntimeError, RuntimeJobFailureError, RuntimeJobMaxTimeoutError

from kit.server.server_process import ServerProcess, running_server
from qiskit_runtime_server.client import connect

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:The SamplerV2 class:DeprecationWarning")]

SETTINGS = {"QRS_CHAOS": "fake_manila fake_lima", "QRS_CHAOS_FAULTS": "drift=0.2 drift_every=1", "QRS_CHAOS_SEED": "5"}

CIRCUIT = QuantumCircuit(1, 1)
CIRCUIT.x(0)
CIRCUIT.measure(0, 0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running_server(tmp_path_factory.mktemp("data"), **SETTINGS) as started:
        yield started


@pytest.fixture(scope="module")
def service(server: ServerProcess) -> Iterator[QiskitRuntimeService]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("IAM_URL", "GLOBAL_SEARCH_URL", "GLOBAL_CATALOG_URL"):
            patch.setenv(name, server.url)
        yield connect(server.url, "chaos")


@pytest.fixture(scope="module")
def backend(service: QiskitRuntimeService) -> IBMBackend:
    return service.backend("chaos_fake_manila@aer")


def submitted(mode: IBMBackend | Session, *tags: str, **options: Any) -> RuntimeJobV2:
    sampler = SamplerV2(mode=mode, options={"environment": {"job_tags": list(tags)}, **options})
    return sampler.run([CIRCUIT], shots=200)


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_job_is_seen_queued_running_and_done(backend: IBMBackend) -> None:
    job = submitted(backend, "chaos:queue=2", "chaos:run=2")
    seen = [str(job.status())]

    def done() -> bool:
        if (status := str(job.status())) != seen[-1]:
            seen.append(status)
        return status == "DONE"

    until(done)
    assert seen == ["QUEUED", "RUNNING", "DONE"]
    assert job.result()[0].data.c.get_counts()["1"] > 150
    times = job.metrics()["timestamps"]
    assert "2 s longer, on purpose" in job.logs()
    assert times["running"] > times["created"]
    assert job.usage() >= 2


@pytest.mark.parametrize("code", [1305, 1109, 8053, 9999])
def test_a_job_fails_with_the_code_that_was_asked_for(backend: IBMBackend, code: int) -> None:
    job = submitted(backend, f"chaos:fail={code}")
    error = RuntimeJobMaxTimeoutError if code == 1305 else RuntimeJobFailureError
    with pytest.raises(error):
        job.result()
    assert str(job.status()) in {"ERROR", "CANCELLED"}
    assert str(code) in job.error_message()
    assert "on purpose" in job.error_message()


def test_a_job_that_takes_longer_than_it_may_is_ended(backend: IBMBackend) -> None:
    job = submitted(backend, "chaos:run=30", max_execution_time=1)
    with pytest.raises((RuntimeJobFailureError, RuntimeJobMaxTimeoutError)):
        job.result()
    assert "1305" in job.error_message()


@pytest.mark.parametrize("tag", ["chaos:queue=60", "chaos:run=60"])
def test_a_job_can_be_cancelled_while_it_waits_or_runs(backend: IBMBackend, tag: str) -> None:
    job = submitted(backend, tag)
    until(lambda: str(job.status()) == ("QUEUED" if "queue" in tag else "RUNNING"))
    job.cancel()
    assert str(job.status()) == "CANCELLED"


def test_a_submission_that_is_answered_503_is_sent_again(server: ServerProcess, backend: IBMBackend) -> None:
    before = "".join(server.output).count("Chaos: answered 503")
    job = submitted(backend, "chaos:status=503", "chaos:times=2")
    assert job.result()[0].data.c.num_shots == 200
    # Twice for the submission, twice for each question about it.
    assert "".join(server.output).count("Chaos: answered 503") >= before + 6


def test_a_submission_that_is_answered_429_is_the_callers_to_send_again(backend: IBMBackend) -> None:
    with pytest.raises(IBMRuntimeError, match="429"):
        submitted(backend, "chaos:status=429", "chaos:retry_after=1")
    # The same request is answered now; and what is asked about the job, after as long as the answers say.
    job = submitted(backend, "chaos:status=429", "chaos:retry_after=1")
    began = time.monotonic()
    job.status()
    assert time.monotonic() - began >= 1


def test_a_session_expires(backend: IBMBackend) -> None:
    with Session(backend=backend) as session:
        job = submitted(session, "chaos:expire=1")
        job.result()
        until(lambda: session.status() == "Closed")
        with pytest.raises(IBMRuntimeError, match="accepts no more jobs"):
            submitted(session)


def test_properties_drift_between_two_fetches(service: QiskitRuntimeService, backend: IBMBackend) -> None:
    first = backend.properties(refresh=True)
    until(lambda: backend.properties(refresh=True).last_update_date != first.last_update_date)
    assert backend.properties(refresh=True).t1(0) != first.t1(0)
    ordinary = service.backend("fake_manila@aer")
    assert ordinary.properties(refresh=True).to_dict()["qubits"] == ordinary.properties().to_dict()["qubits"]


@pytest.mark.thorough
def test_the_same_seed_brings_the_same(tmp_path: Path) -> None:
    seen = []
    for run in ("first", "second"):
        settings = {**SETTINGS, "QRS_CHAOS_FAULTS": "fail=1109+9999 fail_rate=0.5", "QRS_CHAOS_SEED": "11"}
        with running_server(tmp_path / run, **settings) as server, pytest.MonkeyPatch.context() as patch:
            for name in ("IAM_URL", "GLOBAL_SEARCH_URL", "GLOBAL_CATALOG_URL"):
                patch.setenv(name, server.url)
            device = connect(server.url, "chaos").backend("chaos_fake_manila@aer")
            jobs = [submitted(device) for _ in range(6)]
            until(lambda jobs=jobs: all(job.in_final_state() for job in jobs))  # type: ignore[misc]
            seen.append(
                [
                    (job.error_message() or "").partition("code")[2] or job.result()[0].data.c.get_counts()
                    for job in jobs
                ]
            )
    assert seen[0] == seen[1]
    assert len({str(one) for one in seen[0]}) > 1


def test_ordinary_devices_know_nothing_of_it(service: QiskitRuntimeService) -> None:
    names = {backend.name for backend in service.backends()}
    assert {name for name in names if name.startswith("chaos_")} == {"chaos_fake_manila@aer", "chaos_fake_lima@aer"}
    job = submitted(service.backend("fake_manila@aer"), "chaos:fail=9999", "chaos:queue=60")
    assert job.result()[0].data.c.num_shots == 200


def test_a_tag_that_makes_no_sense_is_refused(backend: IBMBackend) -> None:
    with pytest.raises(IBMRuntimeError, match="do you mean fail"):
        submitted(backend, "chaos:fial=1305")
