"""Scenario a: from `kubectl apply` to counts through the ingress, as the tutorial goes. Scenario c: routing."""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from qiskit.quantum_info import SparsePauliOp
from qiskit_ibm_runtime import EstimatorV2, IBMBackend, SamplerV2, Session, executor_sampler

from kit.kubernetes.client import eventually
from kit.quantum.circuits import isa_bell
from kit.server.server_process import running_server
from node.figures import Figures
from node.server_on_node import TOKEN, URL, Lab, correct
from qiskit_runtime_server.client import connect, environment

pytestmark = pytest.mark.smoke
EXAMPLES = Path(__file__).parents[2] / "examples"
ROUNDS = 20


def test_counts_come_through_the_ingress_soon_after_apply(lab: Lab, figures: Figures) -> None:
    began = time.monotonic()
    backend = lab.service().backend("fake_marrakesh@aer")
    assert correct(SamplerV2(mode=backend).run([isa_bell(backend)], shots=1024))
    figures.add("from there to first counts, client included", time.monotonic() - began, "s")


@pytest.mark.usefixtures("lab")
@pytest.mark.parametrize("script", ["connect", "sampler", "estimator", "sessions_and_batches"])
def test_the_scripts_of_the_tutorial_run(script: str) -> None:
    command: list[str | Path] = [sys.executable, EXAMPLES / f"{script}.py"]
    settings = {**os.environ, **environment(URL, TOKEN)}
    done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_every_device_is_listed_with_every_executor(lab: Lab) -> None:
    lab.change({"executors": lab.executors({"name": "second", "type": "aer"})})
    lab.wait_for_rollout()
    names = {backend.name for backend in lab.service().backends()}
    devices = {name.partition("@")[0] for name in names}
    assert {"fake_marrakesh", "fake_quantum_sim"} <= devices
    assert names == {f"{device}@{executor}" for device in devices for executor in ("auto", "aer", "second")}
    eventually(lambda: lab.status().get("backends") == len(names), 60)


def test_an_ideal_estimator_is_exact_within_its_precision(lab: Lab) -> None:
    backend = lab.service().backend("fake_quantum_sim@aer")
    circuit = isa_bell(backend).remove_final_measurements(inplace=False)
    observable = SparsePauliOp("ZZ").apply_layout(circuit.layout) if circuit.layout else SparsePauliOp("ZZ")
    estimator = EstimatorV2(mode=backend, options={"resilience_level": 0})
    value = estimator.run([(circuit, observable)], precision=0.02).result()[0].data.evs
    # <ZZ> of a Bell state is 1, and each shot gives exactly that.
    assert float(value) == pytest.approx(1)


def test_the_sampler_that_runs_in_the_client_works(lab: Lab) -> None:
    backend = lab.service().backend("fake_marrakesh@aer")
    assert correct(executor_sampler.SamplerV2(mode=backend).run([isa_bell(backend)], shots=1024))


def test_a_session_takes_jobs_until_it_is_closed(lab: Lab) -> None:
    backend = lab.service().backend("fake_marrakesh@aer")
    with Session(backend=backend) as session:
        jobs = [SamplerV2(mode=session).run([isa_bell(backend)], shots=1024) for _ in range(2)]
        assert all(correct(job) for job in jobs)
    details = session.details()
    assert details
    assert details["accepting_jobs"] is False


def test_jobs_reach_the_executor_that_the_backend_names(lab: Lab) -> None:
    lab.change({"executors": lab.executors({"name": "second", "type": "aer"})})
    lab.wait_for_rollout()
    # The client asks for the list of backends once, when it connects.
    service = lab.service()
    before = {role: lab.runs(role) for role in ("executor-aer", "executor-second")}
    for name, count in (("fake_manila@aer", 3), ("fake_manila@second", 2)):
        backend = service.backend(name)
        assert all(correct(SamplerV2(mode=backend).run([isa_bell(backend)], shots=1024)) for _ in range(count))
    eventually(lambda: lab.runs("executor-aer") - before["executor-aer"] == 3, 10)
    assert lab.runs("executor-second") - before["executor-second"] == 2


@pytest.mark.usefixtures("lab")
def test_wrong_tokens_are_refused_through_the_ingress() -> None:
    answer = httpx.post(f"{URL}/identity/token", data={"apikey": "nobody's"})
    assert answer.status_code == httpx.codes.BAD_REQUEST
    assert httpx.get(f"{URL}/api/v1/backends").status_code == httpx.codes.UNAUTHORIZED


def test_a_round_trip_through_the_ingress_costs_little_more_than_one_to_a_process(
    lab: Lab, figures: Figures, tmp_path: Path
) -> None:
    through_ingress = _round_trip(lab.service().backend("fake_sherbrooke@aer"))
    with running_server(tmp_path) as server:
        to_process = _round_trip(connect(server.url).backend("fake_sherbrooke@aer"))
    figures.add("round trip of a Bell job on fake_sherbrooke to `serve`", 1000 * to_process, "ms")
    figures.add("the same through ingress, api pod and executor pod", 1000 * through_ingress, "ms")
    figures.add("difference", 1000 * (through_ingress - to_process), "ms", "60 ms")


def _round_trip(backend: IBMBackend) -> float:
    """Return the median of warm round trips, in seconds."""
    isa = isa_bell(backend)
    sampler = SamplerV2(mode=backend)
    seconds = []
    for _ in range(ROUNDS):
        began = time.monotonic()
        assert correct(sampler.run([isa], shots=1024))
        seconds.append(time.monotonic() - began)
    return statistics.median(seconds[3:])
