"""Dry runs and calibrations, asked for by an unmodified client."""

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import Calibrator, EstimatorV2, IBMBackend, QiskitRuntimeService, SamplerV2, Session
from qiskit_ibm_runtime.exceptions import RuntimeJobFailureError
from qiskit_ibm_runtime.executor_estimator import Estimator
from qiskit_ibm_runtime.executor_sampler import Sampler

from kit.server.server_process import ServerProcess
from qiskit_runtime_server.client import connect

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def service(server: ServerProcess) -> QiskitRuntimeService:
    return connect(server.url, "dry")


@pytest.fixture(scope="module")
def flipped(manila: IBMBackend) -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.x([0, 1])
    return generate_preset_pass_manager(backend=manila, optimization_level=1).run(circuit)


def measured(circuit: QuantumCircuit) -> QuantumCircuit:
    other = circuit.copy()
    other.measure_all()
    return other


def test_backends_for_dry_runs_are_listed_on_demand_only(service: QiskitRuntimeService) -> None:
    usual = {backend.name for backend in service.backends(filters=lambda backend: "manila" in backend.name)}
    wanted = filter(None, [service.backend("mock_manila@aer")])
    assert usual == {"fake_manila@aer"}
    assert [backend.name for backend in wanted] == ["mock_manila@aer"]
    assert service.backend("mock_manila@aer").target.num_qubits == 5
    assert not service.least_busy().name.startswith("mock_")


@pytest.mark.parametrize("primitive", [SamplerV2, Sampler])
def test_samplers_get_random_bits_of_the_right_shape(
    manila: IBMBackend, flipped: QuantumCircuit, primitive: type[SamplerV2 | Sampler]
) -> None:
    sampler = primitive(mode=manila, options={"twirling": {"enable_gates": True, "num_randomizations": 8}})
    job = sampler.run([measured(flipped)], shots=4000, dry_run=True)
    assert job.backend().name == "mock_manila@aer"
    bits = job.result()[0].data.meas.to_bool_array()
    assert bits.shape[0] == 4000
    # Five standard deviations around what a fair coin gives; the device would give ones.
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(4000)


@pytest.mark.parametrize("primitive", [EstimatorV2, Estimator])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_estimators_get_results_of_the_right_shape(
    manila: IBMBackend, flipped: QuantumCircuit, primitive: type[EstimatorV2 | Estimator], level: int
) -> None:
    observable = SparsePauliOp("ZZ").apply_layout(flipped.layout)
    options = {"resilience_level": level, "twirling": {"num_randomizations": 4, "shots_per_randomization": 64}}
    data = primitive(mode=manila, options=options).run([(flipped, [observable] * 3)], dry_run=True).result()[0].data
    assert data.evs.shape == data.stds.shape == (3,)


def test_the_usage_of_a_dry_run_is_what_a_device_would_need(manila: IBMBackend, flipped: QuantumCircuit) -> None:
    seconds = []
    for shots in (1000, 3000):
        job = SamplerV2(mode=manila).run([measured(flipped)], shots=shots, dry_run=True)
        job.result()
        seconds.append(job.usage())
        assert job.usage_estimation == {"quantum_seconds": seconds[-1]}
    target = manila.target
    (qubit,) = {flipped.layout.final_index_layout()[0]}
    circuit_seconds = target["x"][(qubit,)].duration + target["measure"][(qubit,)].duration
    pause = (manila.configuration().default_rep_delay or 250e-6) / 1
    assert seconds[0] == pytest.approx(1000 * (circuit_seconds + pause), rel=0.02)
    assert seconds[1] == pytest.approx(3 * seconds[0])


def test_a_dry_run_checks_what_a_run_would(manila: IBMBackend) -> None:
    circuit = QuantumCircuit(2, 2)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    sampler = SamplerV2(mode=manila, options={"execution": {"meas_type": "kerneled"}})
    with pytest.raises(RuntimeJobFailureError, match="meas_type"):
        sampler.run([circuit], dry_run=True).result()


def test_dry_runs_are_in_listings_on_demand_and_work_in_sessions(
    server: ServerProcess, flipped: QuantumCircuit
) -> None:
    service = connect(server.url, "dry-session")
    with Session(backend=service.backend("fake_manila@aer")) as session:
        real = SamplerV2(mode=session).run([measured(flipped)], shots=10)
        dry = SamplerV2(mode=session).run([measured(flipped)], shots=10, dry_run=True)
        dry.result()
    assert [job.job_id() for job in service.jobs()] == [real.job_id()]
    assert {job.job_id() for job in service.jobs(include_mocks=True)} == {real.job_id(), dry.job_id()}
    assert [job.job_id() for job in service.jobs(backend_name="mock_manila@aer")] == [dry.job_id()]


def test_a_device_can_be_calibrated_and_stays_as_it_is(service: QiskitRuntimeService, manila: IBMBackend) -> None:
    before = manila.properties()
    with Session(backend=manila) as session:
        result = Calibrator(session).run().result()
        assert result.start <= result.stop
        with pytest.raises(RuntimeJobFailureError, match=r"experimental\.deep"):
            Calibrator(session, options={"experimental": {"deep": True}}).run().result()
    assert service.backend("fake_manila@aer").properties().to_dict() == before.to_dict()
