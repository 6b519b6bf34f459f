"""Jobs that fill their slot's memory, and what happens when they are cancelled."""

import re
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
from cluster_processes import wait_until, workers_of
from http_jobs import circuit_of, end_of, submit
from qiskit import QuantumCircuit
from server_process import ServerProcess

MAX_QUBITS = 28
_LAYERS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """How long things took after a cancellation, in seconds.

    Attributes:
        gone: Until its process was gone.
        freed: Until its memory was the system's again.
        next_end: Until a small job that was sent right after it had ended.
    """

    gone: float
    freed: float
    next_end: float


def state_bytes(qubits: int) -> int:
    """Return the size of the state vector."""
    return 16 << qubits


def largest_that_fits() -> int:
    """Return how many qubits a job may have that leaves this machine room for others."""
    return min(MAX_QUBITS, (_available() // 24).bit_length() - 1)


def cancelled(client: httpx.Client, executor: ServerProcess, qubits: int) -> Cancellation:
    """Run a job of that size on `fake_quantum_sim@aer` and cancel it once its state is in memory."""
    [worker] = workers_of(executor)
    job = submit(client, _entangled(qubits), backend="fake_quantum_sim@aer")
    wait_until(lambda: _resident(worker) > state_bytes(qubits) * 0.9, seconds=60)
    available = _available()
    start = time.monotonic()
    client.post(f"/jobs/{job}/cancel").raise_for_status()
    gone = _seconds_until_gone(worker, start)
    wait_until(lambda: _available() - available > state_bytes(qubits) / 2)
    freed = time.monotonic() - start
    following = submit(client, circuit_of("next"), backend="fake_manila@aer")
    assert end_of(client, following)["status"] == "Completed"
    return Cancellation(gone=gone, freed=freed, next_end=time.monotonic() - start)


def _entangled(qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(qubits)
    for layer in range(_LAYERS):
        for qubit in range(qubits):
            circuit.h(qubit)
            circuit.rz(0.1 * layer + 0.01 * qubit, qubit)
        for qubit in range(qubits - 1):
            circuit.cx(qubit, qubit + 1)
    circuit.measure_all()
    return circuit


def _seconds_until_gone(pid: int, start: float) -> float:
    status = Path(f"/proc/{pid}/stat")
    while True:
        try:
            if status.read_text().rpartition(")")[2].split()[0] == "Z":
                break
        except OSError:
            break
        time.sleep(0.005)
    return time.monotonic() - start


def _resident(pid: int) -> int:
    [kilobytes] = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(kilobytes) * 1024


def _available() -> int:
    [kilobytes] = re.findall(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    return int(kilobytes) * 1024
