"""Drives an unmodified client against a running server, as its users would.

test_clients.py runs it with several versions of the client. Usage: python client_script.py, with the variables that
`qiskit-runtime-server connect` prints.
"""

import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import Batch, EstimatorV2, QiskitRuntimeService, SamplerV2, Session
from qiskit_ibm_runtime.exceptions import (
    IBMRuntimeError,
    RuntimeInvalidStateError,
    RuntimeJobFailureError,
    RuntimeJobNotFound,
)

# The server-side primitives are deprecated in favour of the client-side ones, and still what most scripts use.
warnings.filterwarnings("ignore", category=DeprecationWarning)

SHOTS = 2000
DEVICE = "fake_manila@aer"


def bell() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    return circuit


def refusal(error: type[Exception], call: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """Return the message with which `call` is refused."""
    try:
        call(*args, **kwargs)
    except error as refused:
        return str(refused)
    raise AssertionError(f"{call} was not refused")


def check_backends(service: QiskitRuntimeService) -> None:
    names = {backend.name for backend in service.backends()}
    assert {DEVICE, "fake_marrakesh@aer", "fake_quantum_sim@aer", "statevector_simulator@aer"} <= names, names
    assert len(names) == 70, len(names)
    backend = service.backend(DEVICE)
    assert backend.num_qubits == 5
    assert backend.properties().t1(0) > 0
    assert backend.status().operational
    assert backend.status().pending_jobs == 0
    assert service.least_busy(min_num_qubits=100).num_qubits >= 100


def check_sampler(service: QiskitRuntimeService) -> str:
    backend = service.backend(DEVICE)
    manager = generate_preset_pass_manager(backend=backend, optimization_level=1)
    circuit = bell()
    circuit.measure_all()
    sampler = SamplerV2(mode=backend)
    sampler.options.simulator.seed_simulator = 7
    sampler.options.environment.job_tags = ["acceptance", "bell"]
    isa = manager.run(circuit)
    job = sampler.run([isa], shots=SHOTS)
    counts = job.result()[0].data.meas.get_counts()
    assert sum(counts.values()) == SHOTS
    assert counts["00"] + counts["11"] > 0.85 * SHOTS, counts
    assert sampler.run([isa], shots=SHOTS).result()[0].data.meas.get_counts() == counts, "the seed does not hold"
    assert job.status() == "DONE"
    assert job.metrics()["usage"]["status"] == "final"
    assert job.usage() > 0
    assert job.metrics()["num_circuits"] == 1
    assert isinstance(job.logs(), str)
    assert set(job.tags) == {"acceptance", "bell"}
    assert job.inputs["pubs"][0][2] == SHOTS
    spans = job.result().metadata["execution"]["execution_spans"]
    assert spans.duration > 0
    job.update_tags(["renamed"])
    assert job.tags == ["renamed"]
    return str(job.job_id())


def check_parameters(service: QiskitRuntimeService) -> None:
    theta = Parameter("theta")
    circuit = QuantumCircuit(1)
    circuit.rx(theta, 0)
    circuit.measure_all()
    backend = service.backend("fake_quantum_sim@aer")
    isa = generate_preset_pass_manager(backend=backend, optimization_level=1).run(circuit)
    data = SamplerV2(mode=backend).run([(isa, [[0.0], [3.141592653589793]], 100)]).result()[0].data
    assert data.meas.shape == (2,)
    assert data.meas[0].get_counts() == {"0": 100}
    assert data.meas[1].get_counts() == {"1": 100}


def check_estimator(service: QiskitRuntimeService) -> None:
    backend = service.backend("fake_quantum_sim@aer")
    isa = generate_preset_pass_manager(backend=backend, optimization_level=1).run(bell())
    observable = SparsePauliOp.from_list([("ZZ", 1.0), ("XX", 1.0)]).apply_layout(isa.layout)
    estimator = EstimatorV2(mode=backend, options={"resilience_level": 0})
    result = estimator.run([(isa, observable)], precision=0.02).result()[0]
    assert abs(float(result.data.evs) - 2.0) < 0.1, result.data.evs
    assert result.data.evs.shape == result.data.stds.shape == ()


def check_session(service: QiskitRuntimeService) -> None:
    backend = service.backend(DEVICE)
    circuit = bell()
    circuit.measure_all()
    isa = generate_preset_pass_manager(backend=backend, optimization_level=1).run(circuit)
    for mode, cls in (("dedicated", Session), ("batch", Batch)):
        with cls(backend=backend, max_time="10m") as session:
            jobs = [SamplerV2(mode=session).run([isa], shots=10) for _ in range(2)]
            for job in jobs:
                job.result()
            details = session.details()
            assert details["mode"] == mode
            assert details["accepting_jobs"]
            assert details["max_time"] == 600
            assert "accepting new jobs" in session.status()
        assert session.status() == "Closed", session.status()
        found = {job.job_id() for job in service.jobs(session_id=session.session_id)}
        assert found == {job.job_id() for job in jobs}
        again = cls.from_id(session.session_id, service)
        message = refusal(IBMRuntimeError, SamplerV2(mode=again).run, [isa], shots=10)
        assert "session" in message.lower(), message


def check_jobs(service: QiskitRuntimeService, job_id: str) -> None:
    assert service.job(job_id).job_id() == job_id
    assert job_id in {job.job_id() for job in service.jobs(limit=None, job_tags=["renamed"])}
    assert service.jobs(job_tags=["renamed", "bell"]) == []
    assert all(job.backend().name == DEVICE for job in service.jobs(backend_name=DEVICE, limit=2))
    assert service.jobs(pending=True) == service.jobs(skip=10_000) == []
    long_ago = datetime.now(UTC) - timedelta(days=1)
    assert service.jobs(created_before=long_ago) == []
    assert service.jobs(created_after=long_ago, limit=1)
    oldest = service.jobs(limit=None, descending=False)
    assert [job.job_id() for job in oldest][::-1] == [job.job_id() for job in service.jobs(limit=None)]
    assert service.usage()["usage_consumed_seconds"] > 0
    service.delete_job(job_id)
    refusal(RuntimeJobNotFound, service.job, job_id)


def check_failures(service: QiskitRuntimeService) -> None:
    backend = service.backend(DEVICE)
    circuit = bell()
    circuit.measure_all()
    isa = generate_preset_pass_manager(backend=backend, optimization_level=1).run(circuit)
    sampler = SamplerV2(mode=backend)
    sampler.options.experimental = {"warp": 9}
    job = sampler.run([isa])
    message = refusal(RuntimeJobFailureError, job.result)
    assert "warp" in message, message
    assert job.status() == "ERROR"
    assert "warp" in job.error_message()
    refusal(RuntimeInvalidStateError, job.cancel)


def check_private(service: QiskitRuntimeService) -> None:
    backend = service.backend(DEVICE)
    circuit = bell()
    circuit.measure_all()
    isa = generate_preset_pass_manager(backend=backend, optimization_level=1).run(circuit)
    sampler = SamplerV2(mode=backend, options={"environment": {"private": True}})
    job = sampler.run([isa], shots=10)
    assert sum(job.result()[0].data.meas.get_counts().values()) == 10
    assert service.job(job.job_id()).result() is None, "a private result was readable twice"


def main() -> None:
    service = QiskitRuntimeService()
    check_backends(service)
    job_id = check_sampler(service)
    check_parameters(service)
    check_estimator(service)
    check_session(service)
    check_private(service)
    check_failures(service)
    check_jobs(service, job_id)
    print("all well")


if __name__ == "__main__":
    main()
