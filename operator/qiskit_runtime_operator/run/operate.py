"""Puts the operator together and runs it: probes at once, everything else while the Lease is held."""

import asyncio
import logging
import os
import time
from collections.abc import Coroutine
from datetime import timedelta
from functools import partial
from typing import Any, Final

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from qiskit_runtime_operator.cluster.api_server import Cluster
from qiskit_runtime_operator.cluster.connection import Connection, Kubeconfig, connected
from qiskit_runtime_operator.cluster.lease import Leadership, LeaseTimings
from qiskit_runtime_operator.cluster.outside import outside_session
from qiskit_runtime_operator.errors import LeadershipLostError, OperatorError
from qiskit_runtime_operator.metrics import LeaderMetrics, ScalingMetrics, WatchMetrics, WorkMetrics, WriteMetrics
from qiskit_runtime_operator.run.controller import Controller, optional_apis, until_answered
from qiskit_runtime_operator.run.probes import metrics, probes
from qiskit_runtime_operator.run.stopping import set_on_signals, until_set
from qiskit_runtime_operator.settings import Settings
from qiskit_runtime_operator.watch.watchdog import Watchdog

logger = logging.getLogger(__name__)

_LEASE_REQUEST: Final = timedelta(seconds=3)
_LEASE_ROUNDS: Final = 5
_LEASE_PERIOD: Final = timedelta(seconds=2)
_WATCH_SLACK: Final = 4 / 3
# How long an operator that must not write any more may take to end in an orderly way.
_LAST_SECONDS: Final = 5


async def operate(settings: Settings, chosen: Kubeconfig) -> None:
    """Look after RuntimeServers until a signal says stop.

    Args:
        settings: What is set.
        chosen: Which cluster.

    Raises:
        OperatorError: If there is no way to begin, or to go on.
    """
    stop = asyncio.Event()
    set_on_signals(stop)
    # Each counter and histogram would have a second series that says when it was made.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no annotations
    registry = CollectorRegistry()
    watchdog = Watchdog(settings.watch_renewal * _WATCH_SLACK, time.monotonic)
    async with connected(chosen) as connection, outside_session() as outside:
        writes = WriteMetrics(registry)
        leadership = _leadership(settings, connection, writes)
        work, scaling = _measure(registry, leadership, watchdog), ScalingMetrics(registry)
        async with (
            probes(settings.health_port, live=watchdog.silent, ready=leadership.out_of_touch),
            metrics(settings.metrics_port, registry),
        ):
            if not await until_set(stop, leadership.acquire()):
                return
            cluster = Cluster(
                connection,
                time_to_write=leadership.time_left,
                metrics=writes,
                manager=settings.identity.field_manager,
            )

            async def lead() -> None:
                apis = await until_answered(lambda: optional_apis(cluster))
                controller = Controller(settings, connection, cluster, outside, apis=apis, scaling=scaling)
                await controller.run(watchdog, work, keep_signals=partial(set_on_signals, stop))

            await _while_leading(leadership, until_set(stop, lead()))
            await leadership.release()


def _leadership(settings: Settings, connection: Connection, writes: WriteMetrics) -> Leadership:
    timings = LeaseTimings(
        namespace=settings.namespace,
        name=settings.lease_name,
        identity=settings.pod_name,
        duration=settings.lease_duration,
        period=min(settings.lease_duration / _LEASE_ROUNDS, _LEASE_PERIOD),
    )
    limit = min(_LEASE_REQUEST, settings.lease_duration / 2)
    leases = Cluster(connection, time_to_write=lambda: limit, metrics=writes, limit=limit)
    return Leadership(leases, timings, time.monotonic)


def _measure(registry: CollectorRegistry, leadership: Leadership, watchdog: Watchdog) -> WorkMetrics:
    LeaderMetrics(registry, leadership.leads)
    WatchMetrics(registry, watchdog.ages, watchdog.refusals)
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return WorkMetrics(registry)


async def _while_leading(leadership: Leadership, work: Coroutine[Any, Any, object]) -> None:
    """Work, and renew the Lease; without it, end at once."""

    async def keep() -> None:
        try:
            await leadership.keep()
        except LeadershipLostError as error:
            # Nothing is written any more. But a replica that hangs must not keep a better one from its place.
            asyncio.get_running_loop().call_later(_LAST_SECONDS, _end_by_force, str(error))
            raise

    try:
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(keep())
            await work
            keeping.cancel()
    except* OperatorError as errors:
        raise _first(errors) from errors


def _end_by_force(reason: str) -> None:
    logger.error("%s; the shutdown takes too long and is cut short", reason)
    os._exit(1)


def _first(errors: BaseExceptionGroup[OperatorError]) -> OperatorError:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
