"""What kopf does for us: it watches, and tells the queue which RuntimeServers have changed or lost something.

Its change handlers, timers and daemons would write finalizers and annotations; raw events write nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final, cast

import kopf

from qiskit_runtime_operator.cluster.api_server import collection_path
from qiskit_runtime_operator.cluster.connection import Connection
from qiskit_runtime_operator.errors import OperatorError
from qiskit_runtime_operator.resource.kinds import ResourceKind
from qiskit_runtime_operator.resource.model import Manifest
from qiskit_runtime_operator.watch.inventory import Inventory
from qiskit_runtime_operator.watch.watchdog import Watchdog
from qiskit_runtime_operator.watch.work_queue import WorkQueue

# How long kopf may take to end; what it has not told by then, nobody would act upon.
_END_SECONDS: Final = 1.0


def handlers(
    connection: Connection, kinds: Iterable[ResourceKind], inventory: Inventory, queue: WorkQueue, watchdog: Watchdog
) -> kopf.OperatorRegistry:
    """Return what kopf is to call."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: object) -> kopf.AiohttpSession:
        session = connection.session((watchdog.trace(),), (watchdog.outlast,))
        return kopf.AiohttpSession(server=connection.server, aiohttp_session=session)

    def watch(kind: ResourceKind) -> None:
        @kopf.on.event(*_resource(kind), id=kind.plural, registry=registry)
        async def changed(event: kopf.RawEvent, **_: object) -> None:
            body: Manifest = dict(event["object"])
            namespace = body["metadata"]["namespace"]
            watchdog.seen(collection_path(kind, None))
            watchdog.seen(collection_path(kind, namespace))
            key = inventory.see(kind, event["type"], body)
            if key is not None:
                queue.add(key)

    for kind in kinds:
        watch(kind)
    return registry


@asynccontextmanager
async def watches(
    registry: kopf.OperatorRegistry,
    settings: kopf.OperatorSettings,
    *,
    identity: str,
    namespaces: Collection[str],
    spawned: Callable[[], None],
) -> AsyncIterator[asyncio.Future[None]]:
    """Have kopf watch for as long as the context lasts; give what tells if it ends before, and why.

    Not by `kopf.operator`: when that is to end, it waits five seconds for all tasks that have begun since it did, also
    for those of passes, probes and connections, and work goes on meanwhile.

    Args:
        registry: From `handlers`.
        settings: From `watching`.
        identity: What kopf calls itself.
        namespaces: Where to watch; everywhere, if there are none.
        spawned: Called at once when kopf has set handlers of its own for signals.

    Raises:
        OperatorError: From the future, if kopf ends without an error.
    """
    tasks = await kopf.spawn_tasks(
        registry=registry,
        # kopf would ask for the user's name, which a container's user need not have.
        identity=cast("Any", identity),
        settings=settings,
        standalone=True,
        clusterwide=not namespaces,
        namespaces=namespaces,
    )
    spawned()
    ended = asyncio.ensure_future(_first_end(tasks))
    try:
        yield ended
    finally:
        for task in (*tasks, ended):
            task.cancel()
        await asyncio.wait([*tasks, ended], timeout=_END_SECONDS)


async def _first_end(tasks: Iterable[asyncio.Task[None]]) -> None:
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    raise OperatorError("kopf has ended its watches")


def watching(kinds: Iterable[ResourceKind], renewal: timedelta, silence: timedelta) -> kopf.OperatorSettings:
    """Return how kopf is to watch: what we own only, and never for ever."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.watching.server_timeout = int(renewal.total_seconds())
    settings.watching.client_timeout = renewal.total_seconds() + silence.total_seconds()
    settings.watching.inactivity_timeout = silence.total_seconds()
    settings.queueing.exit_timeout = _END_SECONDS / 2
    for kind in kinds:
        if kind.selector:
            settings.watching.label_selectors[_resource(kind)] = kind.selector
    return settings


class _NoDiffs(kopf.DiffBaseStorage):
    """Keeps kopf from copying every object at every event, for change handlers that there are not."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Return what changes are told by: nothing."""
        return kopf.BodyEssence({})

    def fetch(self, **_: Any) -> None:
        """Return what was stored: nothing."""

    def store(self, **_: Any) -> None:
        """Store nothing."""


def _resource(kind: ResourceKind) -> tuple[str, str, str]:
    group, _, version = kind.api_version.rpartition("/")
    return group, version, kind.plural
