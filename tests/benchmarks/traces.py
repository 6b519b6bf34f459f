"""What OpenTelemetry traces cost a job: processor time of the server and its workers, with them and without."""

import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from qiskit import QuantumCircuit
from qiskit_ibm_runtime import SamplerV2
from qiskit_ibm_runtime.fake_provider import FakeProviderForBackendV2

from benchmarks.table import Row
from kit.quantum.circuits import ghz, isa_bell, isa_circuit
from kit.server.cluster_processes import templates_of, workers_of
from kit.server.collector import collecting
from kit.server.server_process import ServerProcess, running_server
from qiskit_runtime_server.client import connect


def _processor_seconds(server: ServerProcess) -> float:
    """Return what all threads of a server, of its template and of its workers have used, in seconds."""
    processes = {server.process.pid} | templates_of(server.process.pid) | workers_of(server)
    threads = [path for process in processes for path in Path(f"/proc/{process}/task").glob("*/schedstat")]
    return sum(int(path.read_text().split()[0]) for path in threads) / 1e9


def _job(server: ServerProcess, device: str, circuit: QuantumCircuit) -> Callable[[], object]:
    sampler = SamplerV2(connect(server.url).backend(f"{device}@aer"))
    return lambda: sampler.run([circuit], shots=4096).result()


def _taken(
    servers: dict[str, ServerProcess], jobs: dict[str, Callable[[], object]], rounds: int, each: int
) -> dict[str, list[float]]:
    """Return the milliseconds of a job in each round; the servers take turns, so that both meet the same machine."""
    taken: dict[str, list[float]] = {name: [] for name in servers}
    for job in jobs.values():
        job()
    for number in range(rounds):
        for name in sorted(servers, reverse=bool(number % 2)):
            before = _processor_seconds(servers[name])
            for _ in range(each):
                jobs[name]()
            taken[name].append(1e3 * (_processor_seconds(servers[name]) - before) / each)
    return taken


def trace_rows(*, quick: bool) -> Iterator[Row]:
    """Yield the rows: a job that hardly does anything, and one of a usual size."""
    rounds, each = (4, 10) if quick else (20, 25)
    fakes = FakeProviderForBackendV2()
    circuits = {
        "fake_manila": ("Bell on fake_manila", isa_bell(fakes.backend("fake_manila"))),
        "fake_sherbrooke": ("10-qubit GHZ on fake_sherbrooke", isa_circuit(ghz(10), fakes.backend("fake_sherbrooke"))),
    }
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        collector = stack.enter_context(collecting())
        environments = {"with": {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}, "without": {}}
        servers = {
            name: stack.enter_context(running_server(folder / name, "--executors=aer=1", "--anonymous", **said))
            for name, said in environments.items()
        }
        for device, (what, circuit) in circuits.items():
            jobs = {name: _job(server, device, circuit) for name, server in servers.items()}
            taken = _taken(servers, jobs, rounds, each)
            more = [ours - peer for ours, peer in zip(taken["with"], taken["without"], strict=True)]
            error = statistics.stdev(more) / len(more) ** 0.5
            share = 100 * statistics.mean(more) / statistics.mean(taken["without"])
            yield Row(
                what=f"Processor time of {what}, 4,096 shots, with traces; peer: without",
                ours=f"{statistics.mean(taken['with']):.3g} ms",
                peer=f"{statistics.mean(taken['without']):.3g} ms",
                ratio=f"{statistics.mean(more):.2g} ± {error:.1g} ms more, {share:.2g} %",
                goal="1 % of the larger job",
            )
