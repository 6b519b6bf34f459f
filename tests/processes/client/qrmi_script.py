"""QRMI's primitives for IBM, unmodified, on the resources that a Slurm job would be given."""

import math
import os
import warnings

from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.transpiler import generate_preset_pass_manager
from qrmi import Payload, QRMIService, QuantumResource, ResourceProvider, ResourceStatusCode, ResourceType, TaskStatus
from qrmi.primitives.ibm import EstimatorV2, SamplerV2, get_backend, get_target

BACKEND = "fake_manila@aer"


def check_target(resource: QuantumResource) -> None:
    assert resource.status().status == ResourceStatusCode.Online
    assert resource.resource_id() == BACKEND
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert get_target(resource).num_qubits == 5
    backend = get_backend(resource)
    assert backend.status().operational
    assert {"cx", "sx", "rz"} <= set(backend.target.operation_names)
    assert backend.properties().t1(0) > 0


def check_primitives(resource: QuantumResource) -> None:
    passes = generate_preset_pass_manager(1, backend=get_backend(resource), initial_layout=[3, 4], seed_transpiler=1)
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    measured = passes.run(circuit.measure_all(inplace=False))
    angled = QuantumCircuit(2)
    angled.ry(Parameter("a"), 0)
    turned = passes.run(angled.measure_all(inplace=False))
    bell, turns = SamplerV2(resource).run([measured, (turned, [[0.0], [math.pi]], 100)], shots=500).result()
    counts = bell.data.meas.get_counts()
    assert sum(counts.values()) == 500
    assert counts["00"] + counts["11"] > 400
    assert turns.data.meas.shape == (2,)
    assert turns.data.meas[0].get_counts()["00"] > 80
    assert turns.data.meas[1].get_counts()["01"] > 80

    isa = passes.run(circuit)
    observables = [{label: 1.0} for label in ("ZZIII", "XXIII", "IIIIZ")]
    job = EstimatorV2(resource).run([(isa, observables)], precision=0.05)
    (pub,) = job.result()
    assert pub.metadata["shots"] >= 400
    assert [round(float(value)) for value in pub.data.evs] == [1, 1, 1]
    assert isinstance(job.logs(), str)


def check_tasks(resource: QuantumResource) -> None:
    text = 'OPENQASM 3.0; include "stdgates.inc"; bit[1] c; x $0; c[0] = measure $0;'
    for qiskit, words in (("true", "PrimitiveResult"), ("false", '"samples":["0x')):
        escaped = text.replace('"', '\\"')
        document = f'{{"pubs": [["{escaped}", null, 10]], "version": 2, "shots": 10, "support_qiskit": {qiskit}}}'
        task = resource.task_start(Payload.QiskitPrimitive(input=document, program_id="sampler"))
        while resource.task_status(task) in {TaskStatus.Queued, TaskStatus.Running}:
            pass
        assert resource.task_status(task) == TaskStatus.Completed
        assert words in resource.task_result(task).value
        assert "sampler" in resource.task_logs(task)
        resource.task_stop(task)


def check_session(resource: QuantumResource) -> None:
    token = resource.acquire()
    assert resource.metadata()["session_id"] == token
    check_tasks(resource)
    resource.release(token)


def check_least_busy(kind: ResourceType) -> None:
    marker = f"{BACKEND}_QRMI_IBM_"
    environment = {name.removeprefix(f"{BACKEND}_"): os.environ[name] for name in os.environ if name.startswith(marker)}
    provider = ResourceProvider(kind, environment)
    found = provider.resources("num_qubits=100&name=fake_*@aer&status=online")
    assert "fake_torino@aer" in {resource.resource_id() for resource in found}
    least_busy = provider.least_busy("name=fake_manila@aer&status=online")
    assert least_busy.resource_id() == BACKEND


if __name__ == "__main__":
    (first,) = QRMIService().resources()
    check_target(first)
    check_primitives(first)
    check_tasks(first)
    check_session(first)
    check_least_busy(first.resource_type())
    print("all well")
