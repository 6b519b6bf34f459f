"""Jobs for `@auto` on a server with two executors, sent by a real client: where they go, and what is kept of that."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import (
    Batch,
    EstimatorV2,
    Executor,
    QiskitRuntimeService,
    RuntimeJobFailureError,
    RuntimeJobV2,
    SamplerV2,
)
from qiskit_ibm_runtime.noise_learner import NoiseLearner
from qiskit_ibm_runtime.quantum_program import QuantumProgram

from kit.quantum.qsim_alone import needs_qsim
from kit.server.http_jobs import signed_in
from kit.server.server_process import ServerProcess, running_server
from qiskit_runtime_server.client import connect

# Version 2 of the primitives is deprecated in the client, and what everybody uses.
pytestmark = [needs_qsim, pytest.mark.filterwarnings("ignore:The .*V2 class is deprecated:DeprecationWarning")]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    devices = "fake_manila fake_torino fake_quantum_sim"
    data = tmp_path_factory.mktemp("data")
    with running_server(data, "--executors=aer=1 qsim=1", "--log-level=info", QRS_BACKENDS=devices) as server:
        yield server


@pytest.fixture(scope="module")
def service(served: ServerProcess) -> QiskitRuntimeService:
    return connect(served.url, "a token")


def brickwork(num_qubits: int, layers: int) -> QuantumCircuit:
    """Return a circuit of gates of an ideal device that no method but a state vector runs."""
    circuit = QuantumCircuit(num_qubits)
    for layer in range(layers):
        for qubit in range(num_qubits):
            circuit.sx(qubit)
            circuit.rz(0.3 + 0.1 * qubit + 0.7 * layer, qubit)
            circuit.sx(qubit)
        for qubit in range(layer % 2, num_qubits - 1, 2):
            circuit.cz(qubit, qubit + 1)
    circuit.measure_all()
    return circuit


def run(service: QiskitRuntimeService, backend: str, circuit: QuantumCircuit, shots: int = 200) -> RuntimeJobV2:
    sampler = SamplerV2(mode=service.backend(backend))
    sampler.options.simulator.seed_simulator = 7
    return sampler.run([circuit], shots=shots)


def bits(job: RuntimeJobV2) -> NDArray[np.uint8]:
    found: NDArray[np.uint8] = job.result()[0].data.meas.array
    return found


def executor_of(job: RuntimeJobV2) -> str | None:
    """Return the executor that was chosen, once one was."""
    deadline = time.monotonic() + 60
    found: str | None = None
    while (found := job.metrics()["executor"]) is None and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


@contextmanager
def busy(service: QiskitRuntimeService, executor: str) -> Iterator[None]:
    """Have an executor run a job that takes long."""
    job = run(service, f"fake_quantum_sim@{executor}", brickwork(24, 300))
    deadline = time.monotonic() + 60
    while job.metrics()["progress"] is None and time.monotonic() < deadline:
        time.sleep(0.1)
    yield
    job.cancel()


def test_it_comes_first_and_is_a_backend_like_any_other(service: QiskitRuntimeService) -> None:
    names = [backend.name for backend in service.backends()]
    assert names.index("fake_manila@auto") < min(names.index(f"fake_manila@{each}") for each in ("aer", "qsim"))
    backend = service.backend("fake_torino@auto")
    assert backend.num_qubits == 133
    assert backend.properties().last_update_date == service.backend("fake_torino@aer").properties().last_update_date
    assert backend.status().operational
    assert service.backend("fake_quantum_sim@auto").num_qubits == service.backend("fake_quantum_sim@qsim").num_qubits
    assert service.least_busy(filters=lambda backend: backend.name.startswith("fake_manila@")).name in names


def test_wide_and_dense_goes_to_qsim_and_is_the_same_by_name(service: QiskitRuntimeService) -> None:
    circuit = brickwork(19, 16)
    job = run(service, "fake_quantum_sim@auto", circuit)
    metrics = job.metrics() if job.result() else {}
    assert metrics["executor"] == "qsim"
    assert metrics["routing"]["qsim"]["seconds"] < metrics["routing"]["aer"]["seconds"]
    said = job.result().metadata["routing"]
    assert said["executor"] == "qsim"
    assert said["predicted_seconds"] == {name: each["seconds"] for name, each in metrics["routing"].items()}
    named = run(service, "fake_quantum_sim@qsim", circuit)
    assert (bits(named) == bits(job)).all()
    assert "routing" not in named.result().metadata
    assert (named.metrics()["executor"], named.metrics()["routing"]) == ("qsim", None)


def test_small_and_noisy_goes_to_aer_and_is_the_same_by_name(service: QiskitRuntimeService) -> None:
    backend = service.backend("fake_manila@auto")
    circuit = generate_preset_pass_manager(backend=backend, seed_transpiler=1).run(brickwork(4, 3))
    job = run(service, "fake_manila@auto", circuit)
    found = bits(job)
    assert executor_of(job) == "aer"
    assert job.backend().name == "fake_manila@auto"
    assert (bits(run(service, "fake_manila@aer", circuit)) == found).all()


def test_estimates_of_a_batch_are_routed_too(service: QiskitRuntimeService) -> None:
    backend = service.backend("fake_manila@auto")
    circuit = generate_preset_pass_manager(backend=backend, seed_transpiler=1).run(
        brickwork(3, 1).remove_final_measurements(inplace=False)
    )
    observable = SparsePauliOp("ZIZ").apply_layout(circuit.layout)
    with Batch(backend=backend) as batch:
        estimator = EstimatorV2(mode=batch)
        jobs = [estimator.run([(circuit, observable)]) for _ in range(3)]
        assert all(-1.2 < float(job.result()[0].data.evs) < 1.2 for job in jobs)
    assert {executor_of(job) for job in jobs} == {"aer"}


def test_what_the_better_one_is_too_busy_for_goes_to_the_other(service: QiskitRuntimeService) -> None:
    with busy(service, "qsim"):
        job = run(service, "fake_quantum_sim@auto", brickwork(19, 16))
        assert job.result()[0].data.meas.num_shots == 200
        assert executor_of(job) == "aer"


def test_with_both_busy_it_is_looked_at_beside_them_and_can_be_cancelled(service: QiskitRuntimeService) -> None:
    with busy(service, "qsim"), busy(service, "aer"):
        job = run(service, "fake_quantum_sim@auto", brickwork(19, 16))
        assert executor_of(job) in {"aer", "qsim"}
        assert job.status() == "QUEUED"
        assert job.metrics()["position_in_queue"] == 1
        job.cancel()
        assert job.status() == "CANCELLED"


@pytest.mark.filterwarnings("ignore:The NoiseLearner class is deprecated:DeprecationWarning")
def test_what_other_programs_return_says_where_it_was_made_too(
    served: ServerProcess, service: QiskitRuntimeService
) -> None:
    backend = service.backend("fake_manila@auto")
    circuit = generate_preset_pass_manager(backend=backend, seed_transpiler=1).run(brickwork(2, 1))
    program = QuantumProgram(shots=10)
    program.append_circuit_item(circuit)
    job = Executor(mode=backend).run(program)
    assert job.result()[0]["meas"].shape == (10, 2)
    with signed_in(served.url, "a token") as client:
        sent = client.get(f"/jobs/{job.job_id()}/results").raise_for_status().json()
    assert sent["metadata"]["routing"]["executor"] == executor_of(job)
    few = {"num_randomizations": 2, "layer_pair_depths": [0, 1], "max_layers_to_learn": 1}
    learning = NoiseLearner(backend, few).run([circuit])
    said = learning.result().metadata["routing"]
    assert said["executor"] == executor_of(learning)
    assert said["predicted_seconds"].keys() == {"aer", "qsim"}


def conforms(python: str, url: str, *only: str) -> list[dict[str, str]]:
    """Return what the checks of the conformance command say of a device whose executor is chosen; none fails."""
    with TemporaryDirectory() as folder:
        said = Path(folder) / "said.json"
        command = [python, "-m", "qiskit_runtime_server.conformance.command", f"--url={url}", f"--json={said}"]
        asked = [*command, "--backend=fake_manila@auto", *(f"--only={each}" for each in only)]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        found: list[dict[str, str]] = json.loads(said.read_text())["checks"]
        return found


@pytest.mark.slow
def test_it_conforms_in_one_check_of_each_kind(python: str, served: ServerProcess) -> None:
    only = ("sessions.batch", "errors.cancel", "sampler.seed", "estimator.values", "noise-learner-v3.boxes")
    assert [check["verdict"] for check in conforms(python, served.url, *only)] == ["passed"] * len(only)


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_it_conforms_in_every_check(python: str, served: ServerProcess) -> None:
    checks = conforms(python, served.url)
    assert {check["name"] for check in checks if check["verdict"] != "passed"} == {
        "options.every-job.environment.image"
    }


# As test_the_options_and_the_memory_that_count_are_those_of_each and test_the_choice, with a client.
@pytest.mark.thorough
def test_a_job_that_none_can_run_is_refused_with_advice(service: QiskitRuntimeService) -> None:
    backend = service.backend("fake_torino@auto")
    wide = QuantumCircuit(45)
    for _ in range(4):
        wide.sx(range(45))
        wide.rz(0.3, range(45))
        for pair in [pair for pair in backend.target["cz"] if max(pair) < 45]:
            wide.cz(*pair)
    wide.sx(range(45))
    wide.measure_all()
    job = SamplerV2(mode=backend).run([wide])
    with pytest.raises(RuntimeJobFailureError, match="45 qubits of the circuit are entangled"):
        job.result()
    routing = job.metrics()["routing"]
    assert all("45 qubits" in routing[name]["refusal"] for name in ("aer", "qsim"))


def test_the_command_shows_the_executor_and_why(
    python: str, served: ServerProcess, service: QiskitRuntimeService
) -> None:
    job = run(service, "fake_quantum_sim@auto", brickwork(5, 2))
    job.result()
    command = [python, "-m", "qiskit_runtime_server", "job", job.job_id(), "--url", served.url]
    done = subprocess.run([*command, "--token", "a token"], capture_output=True, text=True, timeout=60, check=True)
    assert re.search(r"executor\s+aer, chosen: aer about 0.0s, qsim about 0.0s", done.stdout), done.stdout
