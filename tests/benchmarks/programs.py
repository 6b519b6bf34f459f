"""Twirling and mitigation: what a user of the client-side and the server-side primitives waits for, and why."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit.library import efficient_su2
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.providers import BackendV2
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import EstimatorV2, QiskitRuntimeService, RuntimeJobV2
from qiskit_ibm_runtime.executor_estimator import Estimator
from qiskit_ibm_runtime.executor_sampler import Sampler
from qiskit_ibm_runtime.fake_provider import FakeProviderForBackendV2
from qiskit_ibm_runtime.options_models import ExecutorOptions
from qiskit_ibm_runtime.quantum_program import QuantumProgram
from qiskit_ibm_runtime.quantum_program.params_converters import QUANTUM_PROGRAM_PARAMS_CONVERTERS

from benchmarks.table import Row, compared, sample, shown
from kit.quantum.circuits import ghz, isa_circuit
from kit.server.server_process import running_server
from qiskit_runtime_server.client import connect
from qiskit_runtime_server.executors import AerExecutor
from qiskit_runtime_server.executors.base import BitTensor, SampleTask
from qiskit_runtime_server.programs import executor_program
from qiskit_runtime_server.programs.device.shots import SimulatedShots
from qiskit_runtime_server.programs.wire.quantum_program import decode_program

RANDOMIZATIONS = 32
SHOTS = 128


class WatchedExecutor(AerExecutor):
    """Adds up the seconds that simulations take."""

    seconds = 0.0

    def sample(self, task: SampleTask) -> BitTensor:
        start = time.perf_counter()
        bits = super().sample(task)
        self.seconds += time.perf_counter() - start
        return bits


def run_twirled(backend: BackendV2, circuit: QuantumCircuit) -> RuntimeJobV2:
    twirling = {"enable_gates": True, "enable_measure": True}
    counts = {"num_randomizations": RANDOMIZATIONS, "shots_per_randomization": SHOTS}
    job = Sampler(mode=backend, options={"twirling": {**twirling, **counts}}).run([circuit])
    job.result()
    return job


def simulated_share(job: RuntimeJobV2) -> float:
    """Return which part of a quantum program's time the simulator takes, run again in this process."""
    (program,) = (value for value in job.inputs.values() if isinstance(value, QuantumProgram))
    params = QUANTUM_PROGRAM_PARAMS_CONVERTERS["v2.0"].encoder(program, ExecutorOptions())
    document = params.model_dump_json().encode()
    for _ in range(2):  # once to warm up
        executor = WatchedExecutor()
        start = time.perf_counter()
        executor_program.execute(SimulatedShots(executor), decode_program(document), job.backend().name, 1)
        share = executor.seconds / (time.perf_counter() - start)
    return share


def twirled_rows(service: QiskitRuntimeService, count: int) -> Iterator[Row]:
    remote = service.backend("fake_sherbrooke@aer")
    local = FakeProviderForBackendV2().backend("fake_sherbrooke")
    for num_qubits, goal in ((4, "20 x"), (10, "2 x, hoped for 3 x")):
        circuit = isa_circuit(ghz(num_qubits), local)
        ours = sample(partial(run_twirled, remote, circuit), count=count)
        peer = sample(partial(run_twirled, local, circuit), count=min(count, 3), warm_up=0)
        job = run_twirled(remote, circuit)
        each = 1e3 * job.metrics()["usage"]["seconds"] / RANDOMIZATIONS
        what = (
            f"Client-side Sampler, {num_qubits}-qubit GHZ, gates and measurements twirled, {RANDOMIZATIONS} x {SHOTS},"
            f" fake_sherbrooke; in the server {each:.2g} ms each, {simulated_share(job):.0%} of it simulating"
        )
        yield compared(what, ours, peer, goal)


def all_z_row(service: QiskitRuntimeService, count: int) -> Row:
    """Ten qubits and one observable, where local mode runs out of memory."""
    remote = service.backend("fake_sherbrooke@aer")
    circuit = isa_circuit(ghz(10, measured=False), remote)
    observable = SparsePauliOp("Z" * 10).apply_layout(circuit.layout)

    def run(backend: BackendV2) -> object:
        return Estimator(mode=backend).run([(circuit, observable)]).result()

    ours = sample(partial(run, remote), count=count)
    try:
        peer = shown(sample(partial(run, FakeProviderForBackendV2().backend("fake_sherbrooke")), count=1, warm_up=0))
    except Exception as error:  # noqa: BLE001 - whatever it is, it goes into the table
        reason = str(error).rpartition("ERROR:")[2].strip().splitlines()[0]
        peer = f"fails: {reason}"
    what = "Client-side Estimator, 10 qubits, one all-Z observable, default level, fake_sherbrooke"
    return Row(what=what, ours=shown(ours), peer=peer, goal="answers")


def default_level_row(service: QiskitRuntimeService, count: int) -> Row:
    """Level 1 against level 0; level 1 draws its flips without a samplex."""
    remote = service.backend("fake_sherbrooke@aer")
    circuit = generate_preset_pass_manager(backend=remote, optimization_level=1).run(efficient_su2(4, reps=2))
    terms = SparsePauliOp.from_list([("ZZII", 1.0), ("IXXI", 0.5), ("IIYY", 0.25), ("ZIIZ", -1.0)])
    values = np.random.default_rng(1).uniform(0, np.pi, (100, circuit.num_parameters))
    pub = (circuit, terms.apply_layout(circuit.layout), values)

    def times(options: dict[str, Any]) -> list[float]:
        return sample(lambda: EstimatorV2(mode=remote, options=options).run([pub]).result(), count=count)

    what = "Estimator, 4-qubit efficient_su2, 100 parameter sets, fake_sherbrooke, level 1; peer: level 0 on the server"
    row = compared(what, times({}), times({"resilience_level": 0}), "")
    return Row(what=row.what, ours=row.ours, peer=row.peer, ratio=row.ratio)


def zero_noise_row(service: QiskitRuntimeService, count: int) -> Row:
    """Level 2, and what it spends outside of the simulator."""
    remote = service.backend("fake_torino@aer")
    circuit = efficient_su2(6, reps=6)
    circuit = circuit.assign_parameters(np.random.default_rng(3).uniform(0, np.pi, circuit.num_parameters))
    circuit = generate_preset_pass_manager(backend=remote, optimization_level=1, seed_transpiler=1).run(circuit)
    pub = (circuit, SparsePauliOp("ZZZZZZ").apply_layout(circuit.layout))
    options = {"resilience_level": 2}
    ours = sample(lambda: EstimatorV2(mode=remote, options=options).run([pub]).result(), count=count)
    share = outside([EstimatorPub.coerce(pub)], options, "fake_torino")
    what = f"Estimator, resilience_level 2, 6 qubits, depth 6, fake_torino; {share:.0%} outside of the simulator"
    return Row(what=what, ours=shown(ours), goal="20 % outside")


def outside(pubs: Sequence[EstimatorPub], options: dict[str, Any], device: str) -> float:
    """Return which part of a job's time goes into anything but simulating, in a worker that had it before."""
    executor = WatchedExecutor()
    for _ in range(2):  # once to warm up
        executor.seconds = 0.0
        start = time.perf_counter()
        executor.execute_estimator(pubs, options, device)
        share = 1 - executor.seconds / (time.perf_counter() - start)
    return share


def program_rows(*, quick: bool) -> Iterator[Row]:
    count = 1 if quick else 5
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder) / "data") as server:
        service = connect(server.url)
        yield from twirled_rows(service, count)
        yield all_z_row(service, count)
        yield default_level_row(service, count)
        yield zero_noise_row(service, count)
