"""The role `executor`: the slots of one executor behind HTTP, or examined once by its doctor."""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from rich.console import Console
from starlette.applications import Starlette

from qiskit_runtime_server.byte_budget import ByteBudget
from qiskit_runtime_server.errors import StartupError
from qiskit_runtime_server.log.open_spans import open_spans
from qiskit_runtime_server.log.spans import NO_SPANS, Spans
from qiskit_runtime_server.machine import default_slots
from qiskit_runtime_server.metrics import metrics_route, new_registry
from qiskit_runtime_server.roles.banner import announce, how_to_stop, words_about
from qiskit_runtime_server.roles.connections import ConnectionLimits
from qiskit_runtime_server.roles.pools import slots_of
from qiskit_runtime_server.roles.process import is_loopback, listen, serve_app, serve_beside
from qiskit_runtime_server.roles.selftest import run_selftest
from qiskit_runtime_server.roles.tls import certificate_of
from qiskit_runtime_server.settings import Settings
from qiskit_runtime_server.trust.shared_keys import SharedKeys
from qiskit_runtime_server.worker.metrics import ExecutorMetrics
from qiskit_runtime_server.worker.runs import Runs
from qiskit_runtime_server.worker.service import Service
from qiskit_runtime_server.worker.slots import Slots

if TYPE_CHECKING:
    from qiskit_runtime_server.executors.base import BaseExecutor


async def serve_executor(name: str, settings: Settings, executor: "BaseExecutor | None" = None) -> None:
    """Serve the executor called `name` until SIGTERM or Ctrl-C.

    It then takes no more jobs, but answers for those that it has for `settings.drain`, or until a second signal.

    Args:
        name: An installed executor.
        settings: Its `host`, `port`, `slots`, `memory`, keys, certificate and the times.
        executor: Used in place of an installed one.

    Raises:
        StartupError: If it cannot start.
    """
    keys = SharedKeys(settings.executor_key, settings.executor_key_also)
    if not keys and not is_loopback(settings.host):
        raise StartupError(
            f"Anybody who reaches {settings.host} could use this executor: set QRS_EXECUTOR_KEY, here and for the api."
        )
    certificate = certificate_of(settings, settings.tls_client_ca)
    registry = new_registry()
    metrics = ExecutorMetrics(registry)
    with listen(settings.host, settings.port) as listener:
        async with AsyncExitStack() as stack:
            spans = open_spans("qiskit-runtime-executor")
            stack.push_async_callback(asyncio.to_thread, spans.close)
            runs = await stack.enter_async_context(running(name, settings, metrics, executor, spans))
            service = Service(runs)
            internal = _internal_app(registry, metrics, service, runs)
            internal_url = await stack.enter_async_context(
                serve_beside(internal, settings.host, settings.internal_port)
            )
            about = {"slots": await words_about(runs.slots), "stop": how_to_stop(settings.drain)}
            if internal_url is not None:
                about["internal"] = f"{internal_url}/metrics"

            await serve_app(
                service.app(keys),
                listener,
                limits=ConnectionLimits(),
                certificate=certificate,
                announce=partial(announce, f"Executor {name}", version("qiskit-runtime-server"), about),
                drain=partial(runs.drain, settings.drain),
                close=runs.close,
            )


def _internal_app(registry: CollectorRegistry, metrics: ExecutorMetrics, service: Service, runs: Runs) -> Starlette:
    async def refresh() -> None:
        metrics.show(runs.occupancy(), runs.states())

    # The probes once more, for supervisors that have no certificate to show.
    return Starlette(routes=[metrics_route(registry, refresh), *service.probes()])


@asynccontextmanager
async def running(
    name: str,
    settings: Settings,
    metrics: ExecutorMetrics,
    executor: "BaseExecutor | None" = None,
    spans: Spans = NO_SPANS,
) -> AsyncGenerator[Runs, None]:
    """Start the slots of an executor, have each pass the self-test, and take jobs until the end.

    Raises:
        StartupError: If a slot does not come up, or does not pass the self-test.
    """
    slots = _slots(name, settings, settings.slots or default_slots(), executor, spans)
    try:
        start = time.monotonic()
        await slots.start()
        metrics.import_seconds.set(time.monotonic() - start)
        passed = await run_selftest(name, slots)
        metrics.self_test_seconds.set(passed.seconds)
        runs = Runs(slots, metrics, orphan_after=settings.orphan_after, orphan_kept=settings.orphan_kept)
        await runs.start()
        yield runs
        await runs.close()
    finally:
        await slots.stop()


async def examine(name: str, settings: Settings) -> None:
    """Print what the executor called `name` can do here, and have it pass the self-test.

    Raises:
        StartupError: If it does not come up, or does not pass; the message says why.
    """
    slots = _slots(name, settings, 1)
    console = Console(highlight=False, soft_wrap=True)
    try:
        await slots.start()
        found = await slots.capabilities()
        console.print(f"[bold]Executor {name}[/bold]")
        console.print(f"  device     {found.device}")
        if found.compute_capability:
            console.print(f"  compute    {found.compute_capability}")
        if found.memory_bytes:
            console.print(f"  memory     {found.memory_bytes / 2**30:.1f} GiB for states")
        console.print(f"  qubits     {found.num_qubits}, {found.precision} precision")
        console.print(f"  methods    {', '.join(found.methods)}")
        passed = await run_selftest(name, slots)
        console.print(f"  self-test  passed in {passed.seconds:.2f} s: {', '.join(passed.methods)}")
    finally:
        await slots.stop()


def _slots(
    name: str, settings: Settings, size: int, executor: "BaseExecutor | None" = None, spans: Spans = NO_SPANS
) -> Slots:
    # What is here is bounded by the number of slots.
    budget = ByteBudget(sys.maxsize)
    return slots_of(name, settings, size, budget, executor=executor or name, sharing=size, spans=spans)
