"""What apis, PostgreSQL and executor services cost and take, as processes of one machine."""

import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import cycle, islice
from pathlib import Path

from qiskit_ibm_runtime.fake_provider import FakeProviderForBackendV2

from benchmarks.clients import THREADS, run_sampler
from benchmarks.table import Row, sample, shown
from kit.quantum.circuits import isa_bell
from kit.server.cluster_processes import Cluster, Plugins, shared_by_apis
from kit.server.http_jobs import end_of, signed_in, submit
from kit.server.large_jobs import cancelled, largest_that_fits, state_bytes
from kit.server.postgresql_server import PostgresqlServer
from kit.server.server_process import running_server
from qiskit_runtime_server.client import connect

_REPLICAS = (1, 2, 4)
_SLOTS = 2


@contextmanager
def _cluster() -> Iterator[tuple[Cluster, dict[str, str]]]:
    """Yield a cluster without processes, and the variables of apis that share a database with fsync."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = stack.enter_context(PostgresqlServer(fsync=True))
        yield Cluster(folder, Plugins(folder), stack), shared_by_apis(database.url())


def _overhead_row(count: int) -> Row:
    """Take turns, so that both meet the same machine."""
    with _cluster() as (cluster, shared), running_server(cluster.data_dir, "--executors=aer=1") as alone:
        executor = cluster.executor(name="aer")
        api = cluster.api(executor.url, name="aer", **shared)
        circuit = isa_bell(FakeProviderForBackendV2().backend("fake_manila"))
        runs = {
            url: partial(run_sampler, connect(url).backend("fake_manila@aer"), circuit) for url in (api.url, alone.url)
        }
        times: dict[str, list[float]] = {url: [] for url in runs}
        for url in islice(cycle(runs), 2 * count):
            times[url] += sample(runs[url], count=1, warm_up=not times[url])
    ours, peer = times[api.url], times[alone.url]
    more = 1e3 * (statistics.median(ours) - statistics.median(peer))
    return Row(
        what="Bell on fake_manila through api, PostgreSQL and executor service; peer: the same in `serve`",
        ours=shown(ours),
        peer=shown(peer),
        ratio=f"{more:.3g} ms more",
        goal="15 ms more",
    )


def _throughput_row(replicas: int, seconds: float) -> Row:
    """Send jobs that simulate nothing, as plain requests: the real client takes more time than the server."""
    with _cluster() as (cluster, shared):
        executor = cluster.executor(f"--slots={_SLOTS}", "--memory=1Gi", name="null")
        apis = [cluster.api(executor.url, name="null", **shared) for _ in range(replicas)]
        states: list[str] = []
        ready = threading.Barrier(THREADS + 1)

        def send(url: str) -> None:
            with signed_in(url) as client:
                ready.wait()
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    states.append(end_of(client, submit(client, backend="fake_manila@null"))["status"])

        threads = [threading.Thread(target=send, args=(api.url,)) for api in islice(cycle(apis), THREADS)]
        for thread in threads:
            thread.start()
        ready.wait()
        start = time.monotonic()
        for thread in threads:
            thread.join()
        rate = states.count("Completed") / (time.monotonic() - start)
    what = f"Jobs that simulate nothing, {THREADS} senders, {_SLOTS} slots, {replicas} api{'s' * (replicas > 1)}"
    return Row(what=what, ours=f"{rate:.3g} jobs/s, {len(states) - states.count('Completed')} failures")


def _cancel_rows(count: int) -> Iterator[Row]:
    qubits = largest_that_fits()
    with _cluster() as (cluster, shared):
        executor = cluster.executor(f"--memory={state_bytes(qubits) * 5 // 4}", name="aer")
        with signed_in(cluster.api(executor.url, name="aer", **shared).url) as client:
            rounds = [cancelled(client, executor, qubits) for _ in range(count)]
    what = f"Cancel of a running {qubits}-qubit job, {count} times: until"
    for until, times, goal in (
        ("its process is gone, and its memory with it", [each.gone for each in rounds], "1 s, worst 2 s"),
        ("the next job runs", [each.next_begin for each in rounds], "worst 3 s"),
        ("the next job has ended", [each.next_end for each in rounds], ""),
    ):
        yield Row(what=f"{what} {until}", ours=shown(times), goal=goal)


def cluster_rows(*, quick: bool) -> Iterator[Row]:
    """Overhead, throughput, cancellation."""
    yield _overhead_row(5 if quick else 50)
    for replicas in _REPLICAS:
        yield _throughput_row(replicas, 5 if quick else 20)
    yield from _cancel_rows(2 if quick else 50)
