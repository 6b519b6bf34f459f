"""What a user of the all-in-one server sees, beside the same client's local testing mode."""

import re
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit.library import efficient_su2
from qiskit.primitives.containers import EstimatorPubLike
from qiskit.providers import BackendV2
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_aer import AerSimulator
from qiskit_ibm_runtime import EstimatorV2, QiskitRuntimeService, SamplerV2
from qiskit_ibm_runtime.fake_provider import FakeProviderForBackendV2

from benchmarks.table import Row, compared, sample, shown
from kit.quantum.circuits import isa_bell
from kit.server.server_process import ServerProcess, running_server
from qiskit_runtime_server.client import connect

THREADS = 16


def run_sampler(backend: BackendV2, circuit: QuantumCircuit) -> object:
    return SamplerV2(mode=backend).run([circuit], shots=1024).result()


def bell_rows(service: QiskitRuntimeService, count: int) -> Iterator[Row]:
    """Sampler with default options and 1,024 shots, submit to result."""
    goals = {"fake_manila": "2 x", "fake_sherbrooke": "30 x, 100 ms", "fake_torino": "", "fake_marrakesh": ""}
    for name, goal in goals.items():
        remote = service.backend(f"{name}@aer")
        local = FakeProviderForBackendV2().backend(name)
        circuit = isa_bell(local)
        ours = sample(partial(run_sampler, remote, circuit), count=count)
        peer = sample(partial(run_sampler, local, circuit), count=3)
        yield compared(f"Bell, 1,024 shots, {name} ({local.num_qubits} qubits)", ours, peer, goal)


def sweep(device: BackendV2) -> EstimatorPubLike:
    """Return an estimate on 100 parameter sets."""
    circuit = generate_preset_pass_manager(backend=device, optimization_level=1).run(efficient_su2(4, reps=2))
    terms = SparsePauliOp.from_list([("ZZII", 1.0), ("IXXI", 0.5), ("IIYY", 0.25), ("ZIIZ", -1.0)])
    values = np.random.default_rng(1).uniform(0, np.pi, (100, circuit.num_parameters))
    return circuit, terms.apply_layout(circuit.layout), values


def run_estimator(backend: BackendV2, pub: EstimatorPubLike) -> object:
    """Run it at resilience level 0."""
    return EstimatorV2(mode=backend, options={"resilience_level": 0}).run([pub]).result()


def estimator_row(service: QiskitRuntimeService, count: int) -> Row:
    """Compare estimates on 100 parameter sets."""
    local = FakeProviderForBackendV2().backend("fake_sherbrooke")
    pub = sweep(local)
    ours = sample(partial(run_estimator, service.backend("fake_sherbrooke@aer"), pub), count=count)
    peer = sample(lambda: EstimatorV2(mode=local).run([pub]).result(), count=3)
    what = "Estimator, 4-qubit efficient_su2, 4 terms, 100 parameter sets, fake_sherbrooke"
    return compared(what, ours, peer, "20 x, 0.23 s")


def ideal_row(service: QiskitRuntimeService, count: int) -> Row:
    """Compare a large ideal circuit with a bare AerSimulator in this process: what the server costs on top."""
    backend = service.backend("fake_quantum_sim@aer")
    rng = np.random.default_rng(2)
    circuit = QuantumCircuit(24)
    for layer in range(20):
        for qubit in range(24):
            circuit.rz(rng.uniform(0, np.pi), qubit)
            circuit.sx(qubit)
        for qubit in range(layer % 2, 23, 2):
            circuit.cx(qubit, qubit + 1)
    circuit.measure_all()
    circuit = generate_preset_pass_manager(backend=backend, optimization_level=1).run(circuit)
    simulator = AerSimulator(method="statevector")
    ours = sample(partial(run_sampler, backend, circuit), count=count)
    peer = sample(lambda: simulator.run(circuit, shots=1024, memory=True).result().get_memory(), count=count)
    ratio = statistics.median(ours) / statistics.median(peer)
    return Row(
        what="24 qubits, depth 20, ideal; peer: a bare AerSimulator in-process",
        ours=shown(ours),
        peer=shown(peer),
        ratio=f"{ratio:.3g} x its time",
        goal="1.10 x",
    )


def throughput_row(url: str, seconds: float) -> Row:
    """Sixteen client threads that send Bell jobs one after the other."""
    times: list[float] = []
    failures: list[str] = []
    circuit = isa_bell(FakeProviderForBackendV2().backend("fake_sherbrooke"))
    services = [connect(url, f"thread-{number}") for number in range(THREADS)]
    backends = [service.backend("fake_sherbrooke@aer") for service in services]
    end = time.perf_counter() + seconds

    def send(backend: BackendV2) -> None:
        while time.perf_counter() < end:
            start = time.perf_counter()
            try:
                run_sampler(backend, circuit)
            except Exception as error:  # noqa: BLE001 - any failure counts
                failures.append(repr(error))
            times.append(time.perf_counter() - start)

    threads = [threading.Thread(target=send, args=(backend,)) for backend in backends]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    p50, p99 = (1e3 * float(np.quantile(times, q)) for q in (0.5, 0.99))
    rate = len(times) / seconds
    return Row(
        what=f"{THREADS} client threads, Bell on fake_sherbrooke, {seconds:g} s",
        ours=f"{rate:.3g} jobs/s, p50 {p50:.3g} ms, p99 {p99:.3g} ms, {len(failures)} failures",
        goal="no failure",
    )


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1024


@contextmanager
def timed_server() -> Iterator[tuple[ServerProcess, float]]:
    """Start a server and say how long it took to listen, in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        with running_server(Path(folder) / "data") as server:
            yield server, time.perf_counter() - start


def start_row(count: int) -> Row:
    times = []
    for _ in range(count):
        with timed_server() as (_, seconds):
            times.append(seconds)
    return Row(what="`serve`: from the command to warm and listening", ours=shown(times), goal="3 s")


def client_rows(*, quick: bool) -> Iterator[Row]:
    with timed_server() as (server, _):
        service = connect(server.url)
        count = 5 if quick else 30
        yield from bell_rows(service, count)
        yield estimator_row(service, count)
        yield ideal_row(service, 1 if quick else 3)
        yield throughput_row(server.url, 5 if quick else 30)
        resident = f"{resident_mib(server.process.pid):.0f} MiB"
        yield Row(what="Resident memory of the api process after all that", ours=resident, goal="150 MB")
    yield start_row(1 if quick else 5)
