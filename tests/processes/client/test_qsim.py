"""The executor `qsim` behind a real server and a real client."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import QiskitRuntimeService, RuntimeJobFailureError, RuntimeJobV2, SamplerV2

from kit.quantum.qsim_alone import needs_qsim
from kit.server.server_process import ServerProcess, running_server
from qiskit_runtime_server.client import connect

# Version 2 of the primitives is deprecated in the client, and what everybody uses.
pytestmark = [needs_qsim, pytest.mark.filterwarnings("ignore:The .*V2 class is deprecated:DeprecationWarning")]

TICKS = os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running_server(tmp_path_factory.mktemp("data"), "--executors=qsim=1") as server:
        yield server


@pytest.fixture(scope="module")
def service(served: ServerProcess) -> QiskitRuntimeService:
    return connect(served.url, "a token")


def entangled(num_qubits: int, layers: int) -> QuantumCircuit:
    """Return a circuit of angles that no method but a state vector runs."""
    angle = Parameter("angle")
    circuit = QuantumCircuit(num_qubits)
    for layer in range(layers):
        for qubit in range(num_qubits):
            circuit.sx(qubit)
            circuit.rz(angle + 0.1 * qubit + 0.7 * layer, qubit)
            circuit.sx(qubit)
        for qubit in range(num_qubits):
            circuit.cz(qubit, (qubit + 1 + layer % 4) % num_qubits)
    circuit.measure_all()
    return circuit


def test_noisy_shots_come_from_qsim_and_a_seed_gives_the_same_bits(service: QiskitRuntimeService) -> None:
    backend = service.backend("fake_torino@qsim")
    circuit = QuantumCircuit(14)
    angle = Parameter("angle")
    for _ in range(3):
        circuit.ry(angle, range(14))
        for qubit in range(13):
            circuit.cz(qubit, qubit + 1)
        for qubit in range(0, 12, 3):
            circuit.rzz(angle, qubit, qubit + 2)
    circuit.measure_all()
    isa = generate_preset_pass_manager(backend=backend, optimization_level=1, seed_transpiler=1).run(circuit)
    sampler = SamplerV2(mode=backend)
    sampler.options.simulator.seed_simulator = 3
    sampler.options.environment.log_level = "INFO"
    jobs = [sampler.run([(isa, [[0.4], [0.9]], 20)]) for _ in range(2)]
    one, other = (job.result()[0] for job in jobs)
    assert [way["simulator"] for way in one.metadata["simulation"] if way["method"] != "product"] == ["qsim"]
    assert (one.data.meas.array == other.data.meas.array).all()
    assert "14 qubits by statevector on qsim" in jobs[0].logs()


def test_a_circuit_with_a_decision_runs_on_aer(service: QiskitRuntimeService) -> None:
    circuit = QuantumCircuit(2, 2)
    circuit.sx(0)
    circuit.rz(1.0, 0)
    circuit.sx(0)
    circuit.cx(0, 1)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    circuit.measure(1, 1)
    result = SamplerV2(mode=service.backend("fake_quantum_sim@qsim")).run([circuit]).result()[0]
    assert [way["simulator"] for way in result.metadata["simulation"]] == ["aer"]
    assert set(result.data.c.get_counts()) == {"00", "01"}


def test_a_circuit_that_cannot_fit_is_refused_with_its_size(service: QiskitRuntimeService) -> None:
    backend = service.backend("fake_torino@qsim")
    pairs = [pair for pair in backend.target["cz"] if max(pair) < 45]
    wide = QuantumCircuit(45)
    for _ in range(4):
        wide.sx(range(45))
        wide.rz(0.3, range(45))
        for pair in pairs:
            wide.cz(*pair)
    wide.sx(range(45))
    wide.measure_all()
    with pytest.raises(RuntimeJobFailureError, match="45 qubits of the circuit are entangled: their trajectories need"):
        SamplerV2(mode=backend).run([wide]).result()


def worker_of(server: ServerProcess, busy_seconds: float) -> int:
    """Return the process below the server that has worked for so long."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for pid in descendants(server.process.pid):
            if seconds_of(pid) > busy_seconds and name_of(pid) == "qrs-worker":
                return pid
        time.sleep(0.1)
    raise AssertionError("no worker is busy")


def descendants(pid: int) -> Iterator[int]:
    for child in children_of(pid):
        yield child
        yield from descendants(child)


def children_of(pid: int) -> list[int]:
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # threads come and go
            found += [int(word) for word in path.read_text().split()]
    return found


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def seconds_of(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


@pytest.mark.slow
@pytest.mark.serial
@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes by /proc")
def test_27_qubits_stop_within_a_second(served: ServerProcess, service: QiskitRuntimeService) -> None:
    """qsim answers no signal while it evolves a state; the process ends."""
    backend = service.backend("fake_quantum_sim@qsim")
    assert backend.num_qubits >= 27
    pub = (entangled(27, 60), [[0.1]], 10)
    idle = {pid: seconds_of(pid) for pid in descendants(served.process.pid)}
    job: RuntimeJobV2 = SamplerV2(mode=backend).run([pub])
    worker = worker_of(served, max(idle.values(), default=0.0) + 3)
    begin = time.monotonic()
    job.cancel()
    while name_of(worker) == "qrs-worker" and time.monotonic() < begin + 30:
        time.sleep(0.02)
    took = time.monotonic() - begin
    assert took < 1.0
    assert job.status() == "CANCELLED"
    # And the next job runs.
    small = entangled(5, 1).assign_parameters([0.1])
    assert SamplerV2(mode=backend).run([small], shots=5).result()[0].data.meas.num_shots == 5


def test_the_doctor_and_the_refusal_of_a_wrong_option(python: str) -> None:
    command = [python, "-m", "qiskit_runtime_server", "executor", "qsim", "--port=0", "--doctor"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "single" in done.stdout
    options = {"QRS_EXECUTOR_OPTIONS": '{"qsim": {"max_fused_gate_size": 9}}'}
    failed = subprocess.run(command, env=os.environ | options, capture_output=True, text=True, timeout=120, check=False)
    assert failed.returncode != 0
    assert "max_fused_gate_size is 9; it takes an integer from 1 to 6" in failed.stderr
