"""Circuits of all 127 qubits of a device, beside the same client's local testing mode with two minutes for each."""

import math
import re
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from qiskit import QuantumCircuit
from qiskit.primitives import PubResult
from qiskit.providers import BackendV2
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import EstimatorV2, QiskitRuntimeService, SamplerV2
from qiskit_ibm_runtime.fake_provider import FakeProviderForBackendV2

from benchmarks.table import PEER_SECONDS, Row, sample, shown
from kit.server.server_process import ServerProcess, running_server
from qiskit_runtime_server.client import connect

DEVICE = "fake_sherbrooke"
SHOTS = 4096
MOST_SHOTS = 100_000
"""Of a pub: the device allows no more."""
MANY_PUBS = 10
TWIRLED = {"simulator": {"approximation": "twirled-noise"}}
TRUNCATED = {"simulator": {"approximation": "truncated", "max_truncation_error": 0.02}}
MAGNETIZED = 61
"""A qubit in the middle. The paper's is its neighbour 62, whose calibrated error of sx is 60 times larger here."""


def couplers(backend: BackendV2) -> list[tuple[int, int]]:
    """Return the pairs of coupled qubits, without those whose calibrated error is 1."""
    pairs = {(min(pair), max(pair)) for pair, known in backend.target["ecr"].items() if known.error < 1}
    return sorted(pairs)


def layers(backend: BackendV2, depth: int) -> QuantumCircuit:
    """Return layers of random Clifford gates: of each qubit, and of as many pairs as there is room for."""
    rng = np.random.default_rng(3)
    pairs = sorted(backend.target["ecr"])
    circuit = QuantumCircuit(backend.num_qubits)
    for _ in range(depth):
        for qubit in range(backend.num_qubits):
            circuit.rz(math.pi / 2 * int(rng.integers(4)), qubit)
            circuit.sx(qubit)
        busy: set[int] = set()
        for place in rng.permutation(len(pairs)).tolist():
            if busy.isdisjoint(pairs[place]):
                busy.update(pairs[place])
                circuit.ecr(*pairs[place])
    circuit.measure_all()
    return circuit


def tree_ghz(backend: BackendV2) -> QuantumCircuit:
    """Return a GHZ state of all qubits, made along first paths from the qubit in the middle."""
    circuit = QuantumCircuit(backend.num_qubits)
    start = backend.num_qubits // 2
    circuit.h(start)
    neighbours: dict[int, list[int]] = {qubit: [] for qubit in range(backend.num_qubits)}
    for one, other in couplers(backend):
        neighbours[one].append(other)
        neighbours[other].append(one)
    reached = [start]
    for qubit in reached:
        for other in neighbours[qubit]:
            if other not in reached:
                circuit.cx(qubit, other)
                reached.append(other)
    circuit.measure_all()
    return isa(backend, circuit)


def kicked_ising(backend: BackendV2, steps: int, kick: float) -> QuantumCircuit:
    """Return the experiment of Kim et al., 2023, https://doi.org/10.1038/s41586-023-06096-3."""
    circuit = QuantumCircuit(backend.num_qubits)
    for _ in range(steps):
        circuit.rx(kick, range(backend.num_qubits))
        for pair in couplers(backend):
            circuit.rzz(-math.pi / 2, *pair)
    circuit.measure_all()
    return isa(backend, circuit)


def isa(backend: BackendV2, circuit: QuantumCircuit) -> QuantumCircuit:
    layout = list(range(backend.num_qubits))
    return generate_preset_pass_manager(backend=backend, optimization_level=1, initial_layout=layout).run(circuit)


def run(backend: BackendV2, circuit: QuantumCircuit, shots: int, pubs: int = 1) -> None:
    """Run a circuit as one job of so many equal pubs on a server."""
    sampler = SamplerV2(mode=backend, options={"experimental": TWIRLED})
    sampler.run([circuit] * pubs, shots=shots).result()


def estimate(backend: BackendV2, circuit: QuantumCircuit, qubit: int, **options: object) -> PubResult:
    """Return the result of estimating the magnetization of one qubit at the precision of so many shots."""
    observable = SparsePauliOp.from_sparse_list([("Z", [qubit], 1.0)], circuit.num_qubits)
    estimator = EstimatorV2(mode=backend, options={"resilience_level": 0, **options})
    (result,) = estimator.run([(circuit, observable)], precision=1 / math.sqrt(SHOTS)).result()
    return result


def _locally(answer: Connection, work: Callable[[BackendV2], object]) -> None:
    backend = FakeProviderForBackendV2().backend(DEVICE)
    try:
        answer.send(shown(sample(partial(work, backend), count=1, warm_up=0)))
    except Exception as error:  # noqa: BLE001 - whatever it is, it goes into the table
        answer.send(f"fails: {_reason(error)}")


def _reason(error: Exception) -> str:
    """Return why local testing mode fails, in a table's cell: it goes on with no shots where Aer had no memory."""
    if "could not broadcast" in str(error):
        return "a circuit requires more memory than there is"
    return str(error).rpartition("ERROR:")[2].strip().splitlines()[0].replace("|", "/")[:120]


def _sample_locally(backend: BackendV2, circuit: QuantumCircuit, shots: int) -> None:
    SamplerV2(mode=backend).run([circuit], shots=shots).result()


def peer(work: Callable[[BackendV2], object]) -> str:
    """Return what local testing mode takes, how it fails, or that it was stopped; it is given a process of its own.

    Args:
        work: Can be pickled; is given the local backend.
    """
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_locally, args=(sender, work), daemon=True)
    process.start()
    sender.close()
    try:
        if not receiver.poll(PEER_SECONDS):
            return f"stopped after {PEER_SECONDS} s"
        return str(receiver.recv())
    except EOFError:
        process.join()
        return f"killed, exit code {process.exitcode}"
    finally:
        process.kill()
        process.join()


def peak_gib(server: ServerProcess) -> float:
    """Return the largest resident memory that one of the server's processes ever had."""
    parents: dict[int, int] = {}
    peaks: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        found = re.search(r"^PPid:\s+(\d+)", text, re.MULTILINE), re.search(r"^VmHWM:\s+(\d+) kB", text, re.MULTILINE)
        if found[0] and found[1]:
            parents[int(status.parent.name)], peaks[int(status.parent.name)] = int(found[0][1]), int(found[1][1])
    own = {server.process.pid}
    while new := {pid for pid, parent in parents.items() if parent in own} - own:
        own |= new
    return max(peaks[pid] for pid in own if pid in peaks) / 2**20


def wide_rows(*, quick: bool) -> Iterator[Row]:
    """Yield the rows; those of circuits that matrix product states could hold ask for twirled noise, as all do here."""
    count = 1 if quick else 5
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder) / "data") as server:
        service: QiskitRuntimeService = connect(server.url)
        backend = service.backend(f"{DEVICE}@aer")
        cases = [
            ("20 layers of Clifford gates", layers(backend, 20), SHOTS, "1 s"),
            ("GHZ state along a tree", tree_ghz(backend), SHOTS, "1 s"),
            *(
                (
                    f"kicked Ising model, {steps} steps, theta_h = {name}",
                    kicked_ising(backend, steps, kick),
                    SHOTS,
                    "2 s",
                )
                for steps in (5, 20)
                for name, kick in (("0", 0.0), ("pi/2", math.pi / 2))
            ),
        ]
        for what, circuit, shots, goal in cases:
            ours = sample(partial(run, backend, circuit, shots), count=count)
            yield Row(
                what=f"{what}, {shots:,} shots",
                ours=shown(ours),
                peer=peer(partial(_sample_locally, circuit=circuit, shots=shots)),
                goal=goal,
            )
        yield _propagated_row(backend, min(count, 2))
        many = layers(backend, 10)
        ours = sample(partial(run, backend, many, MOST_SHOTS, MANY_PUBS), count=min(count, 2), warm_up=0)
        memory = f"the largest process of the server had {peak_gib(server):.2g} GiB"
        what = f"10 layers, {MANY_PUBS} pubs of {MOST_SHOTS:,} shots; {memory}; peer: one pub"
        yield Row(
            what=what,
            ours=shown(ours),
            peer=peer(partial(_sample_locally, circuit=many, shots=MOST_SHOTS)),
            goal="20 s, 2 GiB",
        )


def _propagated_row(backend: BackendV2, count: int) -> Row:
    """Return the row of a circuit that is far from Clifford gates, with the error that its result tells."""
    # The local estimator would take the bits of final measurements for its own.
    circuit = kicked_ising(backend, 20, 0.3).remove_final_measurements(inplace=False)
    run_it = partial(estimate, backend, circuit, MAGNETIZED, experimental=TRUNCATED)
    ways = run_it().metadata["simulation"]
    error = max(way["truncation_error"] for way in ways)
    what = f"kicked Ising model, 20 steps, theta_h = 0.3, <Z> of qubit {MAGNETIZED}; truncation error {error:.2g}"
    ours = sample(run_it, count=count, warm_up=0)
    local = peer(partial(estimate, circuit=circuit, qubit=MAGNETIZED))
    return Row(what=what, ours=shown(ours), peer=local, goal="60 s, error 0.02")
