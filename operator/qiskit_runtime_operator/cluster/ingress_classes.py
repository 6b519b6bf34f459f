"""Which IngressClasses the cluster has: objects of the cluster, which not every operator may list."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from qiskit_runtime_operator.cluster.api_server import Cluster
from qiskit_runtime_operator.errors import ClusterError, RefusedError
from qiskit_runtime_operator.resource.kinds import INGRESS_CLASSES

logger = logging.getLogger(__name__)

# However many RuntimeServers wait for an address.
_ASK_AGAIN: Final = timedelta(seconds=30)


class IngressClasses:
    """The names of the IngressClasses, read when they are asked for, and not often.

    Args:
        cluster: Where they are.
        now: The clock.
    """

    def __init__(self, cluster: Cluster, now: Callable[[], datetime]) -> None:
        self._cluster = cluster
        self._now = now
        self._names: frozenset[str] | None = None
        self._read_at: datetime | None = None

    async def names(self) -> frozenset[str] | None:
        """Return the names, as they were half a minute ago at the earliest; None if they cannot be known."""
        if self._read_at is None or self._now() - self._read_at > _ASK_AGAIN:
            self._read_at = self._now()
            await self._read()
        return self._names

    async def _read(self) -> None:
        try:
            listing = await self._cluster.list(INGRESS_CLASSES, None)
        except RefusedError as error:
            logger.info("the IngressClasses are not known: %s", error)
            self._names = None
        except ClusterError as error:
            logger.info("the IngressClasses are not read again: %s", error)
        else:
            self._names = frozenset(found["metadata"]["name"] for found in listing.objects)
