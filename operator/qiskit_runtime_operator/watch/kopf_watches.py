"""What kopf does for us: it watches, and tells the queue which RuntimeServers have changed or lost something.

Its change handlers, timers and daemons would write finalizers and annotations; raw events write nothing.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import kopf

from qiskit_runtime_operator.cluster.api_server import collection_path
from qiskit_runtime_operator.cluster.connection import Connection
from qiskit_runtime_operator.resource.kinds import ResourceKind
from qiskit_runtime_operator.resource.model import Manifest
from qiskit_runtime_operator.watch.inventory import Inventory
from qiskit_runtime_operator.watch.watchdog import Watchdog
from qiskit_runtime_operator.watch.work_queue import WorkQueue


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


def watching(kinds: Iterable[ResourceKind], renewal: timedelta, silence: timedelta) -> kopf.OperatorSettings:
    """Return how kopf is to watch: what we own only, and never for ever."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.watching.server_timeout = int(renewal.total_seconds())
    settings.watching.client_timeout = renewal.total_seconds() + silence.total_seconds()
    settings.watching.inactivity_timeout = silence.total_seconds()
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
