"""Drives an unmodified client of 2025 against a running server, on either of the channels that it knows.

test_clients.py runs it. It keeps to what such a client sends in its own way: circuits as older QPY, names of backends
for objects, and other paths.
"""

import warnings

from qiskit import QuantumCircuit
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import EstimatorV2, QiskitRuntimeService, SamplerV2, Session
from qiskit_ibm_runtime.noise_learner import NoiseLearner

warnings.filterwarnings("ignore", category=DeprecationWarning)

DEVICE = "fake_manila@aer"


def check_backends(service: QiskitRuntimeService) -> None:
    names = {backend.name for backend in service.backends()}
    assert {DEVICE, "fake_quantum_sim@aer"} <= names
    assert service.least_busy(min_num_qubits=100).num_qubits >= 100
    assert service.least_busy(simulator=False).status().operational
    backend = service.backend(DEVICE)
    assert backend.properties().t1(0) > 0
    # Up to 0.40 a circuit may not be in a job of more than so many.
    ideal = service.backend("fake_quantum_sim@aer")
    assert ideal.configuration().max_experiments == backend.configuration().max_experiments > 0


def check_jobs(service: QiskitRuntimeService) -> None:
    backend = service.backend(DEVICE)
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    passes = generate_preset_pass_manager(backend=backend, optimization_level=1)
    measured, isa = passes.run(circuit.measure_all(inplace=False)), passes.run(circuit)
    with Session(backend=backend) as session:
        job = SamplerV2(mode=session).run([measured], shots=100)
        result = job.result()
        counts = result[0].data.meas.get_counts()
        assert counts["00"] + counts["11"] > 70, counts
        assert result.metadata["execution"]["execution_spans"].duration > 0
    assert [found.job_id() for found in service.jobs(session_id=session.session_id)] == [job.job_id()]
    assert job.usage() >= 0
    twirling = {"enable_gates": True, "num_randomizations": 4, "shots_per_randomization": 25}
    spans = SamplerV2(mode=backend, options={"twirling": twirling}).run([measured]).result().metadata["execution"]
    (span,) = spans["execution_spans"]
    assert span.mask(0).shape == (100,)
    (result,) = EstimatorV2(mode=backend).run([(isa, "ZZIII")]).result()
    assert abs(result.data.evs) <= 1.2

    learner = NoiseLearner(backend, {"num_randomizations": 2, "layer_pair_depths": [0, 1], "max_layers_to_learn": 1})
    (layer,) = learner.run([isa]).result()
    assert layer.circuit.count_ops() == {"cx": 1}
    estimator = EstimatorV2(
        mode=backend, options={"resilience": {"pec_mitigation": True, "layer_noise_model": [layer]}}
    )
    (result,) = estimator.run([(isa, "ZZIII")], precision=0.1).result()
    assert abs(result.data.evs) <= 3


if __name__ == "__main__":
    connected = QiskitRuntimeService()
    check_backends(connected)
    check_jobs(connected)
    print("all well")
