"""What OpenTelemetry traces cost a job: processor time of the server and its workers, with them and without.

It depends on the number of spans, which is the same for each job, and not on what is simulated. So it is measured with
a job that hardly does anything, and compared with what one of a usual size takes.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
from qiskit_ibm_runtime.fake_provider import FakeProviderForBackendV2

from benchmarks.clients import run_estimator, sweep
from benchmarks.table import Row
from kit.server.cluster_processes import templates_of, workers_of
from kit.server.collector import collecting
from kit.server.http_jobs import ENDED, signed_in, submit
from kit.server.server_process import ServerProcess, running_server
from qiskit_runtime_server.client import connect


def _processor_seconds(server: ServerProcess) -> float:
    """Return what all threads of a server, of its template and of its workers have used, in seconds."""
    processes = {server.process.pid} | templates_of(server.process.pid) | workers_of(server, paused=True)
    threads = [path for process in processes for path in Path(f"/proc/{process}/task").glob("*/schedstat")]
    return sum(int(path.read_text().split()[0]) for path in threads) / 1e9


def _each(server: ServerProcess, run: Callable[[], object], number: int) -> float:
    """Return the milliseconds of processor time that one of `number` runs takes."""
    before = _processor_seconds(server)
    for _ in range(number):
        run()
    return 1e3 * (_processor_seconds(server) - before) / number


def _small_job(client: httpx.Client) -> None:
    """Run a job of one qubit; requests wait for its end, so that all jobs have about as many."""
    job = submit(client)
    while client.get(f"/jobs/{job}", params={"exclude_params": "true"}).json()["status"] not in ENDED:
        """Ask again."""


def trace_rows(*, quick: bool) -> Iterator[Row]:
    """Yield what traces add to a small job, and which part that is of a usual one."""
    rounds, number = (40, 5) if quick else (400, 5)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        collector = stack.enter_context(collecting())
        environments = {"with": {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}, "without": {}}
        servers = {
            name: stack.enter_context(running_server(folder / name, "--executors=aer=1", "--anonymous", **said))
            for name, said in environments.items()
        }
        jobs = {
            name: partial(_small_job, stack.enter_context(signed_in(server.url))) for name, server in servers.items()
        }
        taken: dict[str, list[float]] = {name: [] for name in servers}
        for round_number in range(rounds + 1):
            # They take turns, so that both meet the same machine; the first round is to warm up.
            for name in sorted(servers, reverse=bool(round_number % 2)):
                each = _each(servers[name], jobs[name], number)
                taken[name] += [each] if round_number else []
        more = [ours - peer for ours, peer in zip(taken["with"], taken["without"], strict=True)]
        error = statistics.stdev(more) / len(more) ** 0.5
        yield Row(
            what="Processor time of a job of one qubit, with traces; peer: without",
            ours=f"{statistics.mean(taken['with']):.3g} ms",
            peer=f"{statistics.mean(taken['without']):.3g} ms",
            ratio=f"{statistics.mean(more):.2g} ± {error:.1g} ms more",
        )
        plain = servers["without"]
        pub = sweep(FakeProviderForBackendV2().backend("fake_sherbrooke"))
        estimate = partial(run_estimator, connect(plain.url).backend("fake_sherbrooke@aer"), pub)
        estimate()
        usual = _each(plain, estimate, 5 * number)
        yield Row(
            what="Processor time of an estimate on 100 parameter sets, as above, without traces; how much they add",
            ours=f"{usual:.3g} ms",
            ratio=f"{100 * statistics.mean(more) / usual:.2g} ± {100 * error / usual:.1g} %",
            goal="1 %",
        )
