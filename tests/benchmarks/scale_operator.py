"""One operator and many RuntimeServers: what each takes is measured, what many take is computed."""

import asyncio
import statistics
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import aiohttp
import yaml
from aiohttp import web
from prometheus_client import CollectorRegistry

from benchmarks.operator_run import PARTS, ROOT, objects, server
from benchmarks.table import Row
from kit.kubernetes.binaries import KubernetesBinaries
from kit.kubernetes.client import KubernetesClient, eventually
from kit.kubernetes.control_plane import running_control_plane
from kit.kubernetes.operator_process import OperatorProcess, running_operator
from kit.kubernetes.runtime_servers import runtime_server
from kit.kubernetes.simulated_operator import LOADS_AT_ONCE, LOOK_SECONDS, Takes, Work, passes, wakes
from qiskit_runtime_operator.cluster.load_reader import LoadReader
from qiskit_runtime_operator.metrics import ScalingMetrics
from qiskit_runtime_operator.resource.names import LOAD_KEY, Key
from qiskit_runtime_operator.scaling.autoscaler import Autoscaler

SERVERS = 20
LOOKS = 1000
# An api answers from a grouped count; its own time is in the section on queues.
ANSWER_SECONDS = 0.005
RESYNC_SECONDS = 300
SIZES = (100, 1_000, 10_000)
ANSWER = {"executors": {"aer": {"queued": 3, "running": 2, "slots": 4, "pods": {"10.0.0.1": 2}}}, "backends": 70}


def operator_rows(*, quick: bool) -> Iterator[Row]:
    """Measure passes and looks, then have a simulated operator make many of them."""
    work = measured(5 if quick else SERVERS)
    for what, takes in (
        ("A RuntimeServer of 2 executors is made: all passes over it, 16 objects", work.creation),
        ("A pass that finds all as it should be, with its part of a resync's lists", work.quiet),
        ("A look at an api's load over a connection of its own, with the decision; the api answers in 5 ms", work.look),
    ):
        words = f"{takes.processor * 1e3:.2g} ms of the operator's processor, {takes.waiting * 1e3:.2g} ms of waiting"
        yield Row(what=what, ours=words, peer="measured")
    for count in (10, 100) if quick else SIZES:
        yield from computed(count, work)


def computed(count: int, work: Work) -> Iterator[Row]:
    """Have a simulated operator deal with so many RuntimeServers."""
    made, resync = passes(count, work.creation), passes(count, work.quiet)
    yield Row(
        what=f"{count:,} RuntimeServers are made at once",
        ours=f"{made.until_all:.0f} s until all are; a change in the middle waits {made.urgent:.2g} s",
        peer="computed",
    )
    yield Row(
        what="... a resync of all, every 5 min",
        ours=f"{resync.until_all:.2g} s, {resync.until_all / RESYNC_SECONDS:.1%} of the time; a change waits"
        f" {resync.urgent:.2g} s",
        peer="computed",
    )
    woken = wakes(count, work.look)
    seconds = sorted(woken.seconds)
    yield Row(
        what=f"... all with `autoscale`, looked at each {LOOK_SECONDS} s: the first job of one waits for a decision",
        ours=f"p50 {statistics.median(seconds):.2g} s, longest {seconds[-1]:.2g} s; {woken.processor:.0%} of a core",
        peer="computed",
    )


def measured(count: int) -> Work:
    """Measure an operator on a control plane of its own, and its looks at loads."""
    KubernetesBinaries().ensure()
    with (
        running_control_plane(rate=20) as kubeconfig,
        closing(KubernetesClient(kubeconfig, namespace="scale")) as kubernetes,
        tempfile.TemporaryDirectory() as folder,
    ):
        kubernetes.apply(yaml.safe_load((ROOT / "crds" / "runtimeservers.yaml").read_text()))
        kubernetes.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": kubernetes.namespace}})
        with running_operator(kubernetes, Path(folder) / "log", QRO_RESYNC="5") as operator:
            operator.wait_until_leading()
            with measuring(operator) as creation:
                for number in range(count):
                    kubernetes.apply(server(f"lab-{number}"))
                    wanted = (number + 1) * sum(PARTS.values())
                    eventually(lambda wanted=wanted: objects(operator) >= wanted, seconds=300)  # type: ignore[misc]
            time.sleep(10)
            with measuring(operator) as quiet:
                time.sleep(30)
    return Work(creation=creation.each(count), quiet=quiet.each(quiet.passes), look=asyncio.run(_looks()))


class Measuring:
    """What an operator took between two moments, in seconds."""

    def __init__(self, operator: OperatorProcess) -> None:
        self._operator = operator
        self._before = self._now()
        self._after = self._before

    def _now(self) -> tuple[float, float, float]:
        metric = self._operator.metric
        return (
            metric("process_cpu_seconds_total"),
            metric("qro_reconcile_seconds_sum"),
            metric("qro_reconcile_seconds_count"),
        )

    def end(self) -> None:
        self._after = self._now()

    @property
    def passes(self) -> int:
        """How many passes there were."""
        return int(self._after[2] - self._before[2])

    def each(self, count: int) -> Takes:
        """Return what one of so many took."""
        processor = (self._after[0] - self._before[0]) / count
        whole = (self._after[1] - self._before[1]) / count
        return Takes(processor=processor, waiting=max(0.0, whole - processor))


@contextmanager
def measuring(operator: OperatorProcess) -> Iterator[Measuring]:
    """Measure what happens meanwhile."""
    found = Measuring(operator)
    yield found
    found.end()


class _Secrets:
    """Where the reader finds the key of each api."""

    async def get(self, *_: object) -> dict[str, Any]:
        return {"data": {LOAD_KEY: b64encode(b"key").decode()}}


async def _looks() -> Takes:
    """Read loads over HTTP from an api that another thread plays, and decide; processor time is this thread's."""
    with _played_api() as url:
        # More apis than connections are kept open for.
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
            reader = LoadReader(session, cast("Any", _Secrets()), url)
            autoscaler = Autoscaler(metrics=ScalingMetrics(CollectorRegistry()))
            known = runtime_server({"executors": [{"name": "aer", "autoscale": {"maxReplicas": 4}}]})
            begin = time.thread_time()

            async def look(number: int) -> None:
                load = await reader.load_of(Key("research", f"lab-{number % LOADS_AT_ONCE}"))
                assert load is not None
                autoscaler.look(known, (), (), load, datetime.now(UTC))

            await asyncio.gather(*map(look, range(LOOKS)))
            return Takes(processor=(time.thread_time() - begin) / LOOKS, waiting=ANSWER_SECONDS)


@contextmanager
def _played_api() -> Iterator[str]:
    ready, url = threading.Event(), ""
    loop = asyncio.new_event_loop()

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(ANSWER)

    async def serve() -> web.AppRunner:
        nonlocal url
        app = web.Application()
        app.router.add_get("/internal/load", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        url = f"http://127.0.0.1:{port}/internal/load"
        ready.set()
        return runner

    def run() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(serve())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait()
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
