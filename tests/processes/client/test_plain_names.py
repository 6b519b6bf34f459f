"""Scripts with a fixed name run unchanged: devices of the default executor have plain names, and backends aliases."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from qiskit import QuantumCircuit
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import QiskitRuntimeService, SamplerV2, Session
from qiskit_ibm_runtime.executor_sampler import Sampler
from qiskit_ibm_runtime.fake_provider import FakeManilaV2

from kit.server.cluster_processes import Plugins
from kit.server.http_jobs import end_of, signed_in, submit, submit_named, when
from kit.server.server_process import StartServer, refusal, running_server
from qiskit_runtime_server.client import connect

pytestmark = pytest.mark.filterwarnings("ignore:The Sampler.*:DeprecationWarning")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QiskitRuntimeService]:
    """A server that offers fake_manila, and a snapshot of the same device under a name of the platform."""
    snapshots = tmp_path_factory.mktemp("snapshots")
    source = Path(str(FakeManilaV2.dirname))
    device = snapshots / "ibm_kingston"
    device.mkdir()
    for kind, name in (("conf", "configuration"), ("props", "properties")):
        (device / f"{name}.json").write_text((source / f"{kind}_manila.json").read_text())
    settings = {
        "QRS_EXECUTORS": "aer=1",
        "QRS_DEFAULT_EXECUTOR": "aer",
        "QRS_BACKENDS": "fake_manila ibm_kingston",
        "QRS_SNAPSHOTS": str(snapshots),
        "QRS_ALIASES": "class_device=fake_manila@aer, exam=ibm_kingston@aer",
    }
    with running_server(tmp_path_factory.mktemp("data"), **settings) as server:
        yield connect(server.url, "plain")


def test_all_names_are_listed(service: QiskitRuntimeService) -> None:
    names = {backend.name for backend in service.backends()}
    plain = {"fake_manila", "fake_manila@aer", "ibm_kingston", "ibm_kingston@aer"}
    assert names == plain | {"class_device", "exam"}
    assert service.least_busy().name in names


@pytest.mark.parametrize("name", ["fake_manila", "ibm_kingston", "class_device", "exam"])
def test_jobs_run_under_the_plain_name(service: QiskitRuntimeService, name: str) -> None:
    backend = service.backend(name)
    assert backend.name == name
    assert backend.properties().backend_name == name
    assert backend.status().operational
    circuit = QuantumCircuit(1)
    circuit.x(0)
    circuit.measure_all()
    isa = generate_preset_pass_manager(1, backend=backend, seed_transpiler=1).run(circuit)
    with Session(backend=backend) as session:
        job = SamplerV2(session, options={"simulator": {"seed_simulator": 3}}).run([isa], shots=100)
        assert job.result()[0].data.meas.get_counts()["1"] > 90
    assert job.backend().name == name
    (listed,) = service.jobs(backend_name=name, session_id=session.session_id)
    assert listed.job_id() == job.job_id()


def test_an_alias_has_the_device_and_the_queue_of_what_it_stands_for(service: QiskitRuntimeService) -> None:
    alias, plain = service.backend("class_device"), service.backend("fake_manila@aer")
    assert alias.coupling_map.get_edges() == plain.coupling_map.get_edges()
    assert alias.properties().last_update_date == plain.properties().last_update_date
    circuit = QuantumCircuit(2, 2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    isa = generate_preset_pass_manager(1, backend=alias, seed_transpiler=1).run(circuit)
    counts = []
    for backend in (alias, plain):
        sampler = SamplerV2(backend, options={"simulator": {"seed_simulator": 3}})
        counts.append(sampler.run([isa], shots=1000).result()[0].data.c.get_counts())
    assert counts[0] == counts[1]


def test_an_alias_takes_dry_runs(service: QiskitRuntimeService) -> None:
    backend = service.backend("class_device")
    circuit = QuantumCircuit(1, 1)
    circuit.x(0)
    circuit.measure(0, 0)
    isa = generate_preset_pass_manager(1, backend=backend).run(circuit)
    counts = Sampler(mode=backend).run([isa], dry_run=True, shots=1000).result()[0].data.c.get_counts()
    assert 400 < counts["1"] < 600, "fair coins, where a run gives 1"


def test_a_name_that_is_none_is_answered_with_the_alias_that_is_near(service: QiskitRuntimeService) -> None:
    with signed_in(str(service._account.url).partition("/experimental")[0]) as client:
        answer = client.get("/backends/class_devise/status")
    assert answer.status_code == 404
    assert "Did you mean class_device?" in answer.json()["error"]["message"]


def test_a_default_executor_that_is_not_there_is_refused(python: str, tmp_path: Path) -> None:
    said = refusal(python, tmp_path, QRS_DEFAULT_EXECUTOR="gpu")
    assert "QRS_DEFAULT_EXECUTOR: 'gpu' is none of the executors here" in said


def test_an_alias_that_points_nowhere_is_refused(python: str, tmp_path: Path) -> None:
    said = refusal(python, tmp_path, QRS_ALIASES="exam=fake_manilla@aer")
    assert "QRS_ALIASES: exam stands for fake_manilla@aer, and there is no" in said


def test_a_job_for_an_alias_does_not_run_on_the_device_that_comes_after_its_own(
    start_server: StartServer, plugins: Plugins
) -> None:
    server = start_server("--executors=counted=1", QRS_ALIASES="exam=fake_manila@counted", **plugins.environment)
    with signed_in(server.url) as client:
        running = submit_named(client, "held alias")
        when(client, running, {"Running"})
        queued = submit(client, backend="exam")
        server.stop(signal.SIGKILL)
    server = start_server("--executors=counted=1", QRS_ALIASES="exam=fake_lima@counted", **plugins.environment)
    with signed_in(server.url) as client:
        client.post(f"/jobs/{running}/cancel").raise_for_status()
        ended = end_of(client, queued)
        assert (ended["status"], ended["backend"]) == ("Failed", "exam")
        assert "accepted with calibration" in ended["state"]["reason"]
        assert end_of(client, submit(client, backend="exam"))["status"] == "Completed"
