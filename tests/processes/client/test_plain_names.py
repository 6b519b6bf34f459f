"""Scripts with the name of a device in them run unchanged: names without `@` are those of the default executor."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from qiskit import QuantumCircuit
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import QiskitRuntimeService, SamplerV2, Session
from qiskit_ibm_runtime.fake_provider import FakeManilaV2

from kit.server.server_process import running_server
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
    }
    with running_server(tmp_path_factory.mktemp("data"), **settings) as server:
        yield connect(server.url, "plain")


def test_both_names_are_listed(service: QiskitRuntimeService) -> None:
    names = {backend.name for backend in service.backends()}
    assert names == {"fake_manila", "fake_manila@aer", "ibm_kingston", "ibm_kingston@aer"}
    assert service.least_busy().name in names


@pytest.mark.parametrize("name", ["fake_manila", "ibm_kingston"])
def test_jobs_run_under_the_plain_name(service: QiskitRuntimeService, name: str) -> None:
    backend = service.backend(name)
    assert backend.name == name
    assert backend.properties().backend_name == name
    assert backend.status().operational
    circuit = QuantumCircuit(1)
    circuit.x(0)
    circuit.measure_all()
    isa = generate_preset_pass_manager(1, backend=backend).run(circuit)
    with Session(backend=backend) as session:
        job = SamplerV2(session).run([isa], shots=100)
        assert job.result()[0].data.meas.get_counts()["1"] > 90
    assert job.backend().name == name
    (listed,) = service.jobs(backend_name=name, session_id=session.session_id)
    assert listed.job_id() == job.job_id()


def test_a_default_executor_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(pytest.fail.Exception, match="QRS_DEFAULT_EXECUTOR: 'gpu' is none of the executors here"),
        running_server(tmp_path, QRS_DEFAULT_EXECUTOR="gpu"),
    ):
        pass
