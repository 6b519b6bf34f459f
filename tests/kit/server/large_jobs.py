"""Jobs that fill their slot's memory, and what happens when they are cancelled."""

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
from qiskit import QuantumCircuit

from kit.server.cluster_processes import wait_until, workers_of
from kit.server.http_jobs import circuit_of, end_of, submit
from kit.server.server_process import ServerProcess

MAX_QUBITS = 28
_LAYERS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """How long things took after a cancellation, in seconds.

    Attributes:
        gone: Until its process was gone with all its threads, the last of which lets go of the memory.
        next_begin: Until a small job that was sent right after it began to run.
        next_end: Until that job had ended.
    """

    gone: float
    next_begin: float
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
    start, start_utc = time.monotonic(), datetime.now(UTC)
    client.post(f"/jobs/{job}/cancel").raise_for_status()
    following = submit(client, circuit_of("next"), backend="fake_manila@aer")
    gone = _seconds_until_gone(worker, start)
    assert end_of(client, following)["status"] == "Completed"
    next_end = time.monotonic() - start
    begin = client.get(f"/jobs/{following}/metrics").raise_for_status().json()["timestamps"]["running"]
    next_begin = (datetime.fromisoformat(begin) - start_utc).total_seconds()
    return Cancellation(gone=gone, next_begin=next_begin, next_end=next_end)


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
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.005)
    return time.monotonic() - start


def _resident(pid: int) -> int:
    [kilobytes] = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(kilobytes) * 1024


def _available() -> int:
    [kilobytes] = re.findall(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    return int(kilobytes) * 1024
