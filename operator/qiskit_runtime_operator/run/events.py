"""Tells users of what happens to their RuntimeServers, as Kubernetes Events."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from qiskit_runtime_operator.cluster.api_server import Cluster
from qiskit_runtime_operator.errors import ClusterError
from qiskit_runtime_operator.resource.names import Key
from qiskit_runtime_operator.run.repairs import Occurrences
from qiskit_runtime_operator.status.notes import Note

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """Writes Events. One that cannot be written is logged and lost: nothing depends on it.

    Attributes:
        cluster: Where they are written.
        now: The clock.
    """

    cluster: Cluster
    now: Callable[[], datetime]
    _occurrences: Occurrences = field(default_factory=Occurrences, init=False)

    async def tell(self, key: Key, uid: str, notes: Iterable[Note], count: int = 1) -> None:
        """Write an Event about the RuntimeServer with this UID for each note, which stands for `count` occurrences."""
        for note in notes:
            try:
                await self.cluster.post_event(key.namespace, key.name, uid, note, count)
            except ClusterError as error:
                logger.warning("%s/%s: the Event %s could not be written: %s", *key, note.reason, error)

    async def tell_repeated(self, key: Key, uid: str, note: Note, *, what: str) -> None:
        """Write of what may happen again and again at most one Event every few minutes, with the count since then.

        Args:
            key: The RuntimeServer.
            uid: Of the RuntimeServer.
            note: What to say if something is to be said now.
            what: Tells occurrences of one thing from those of another.
        """
        count = self._occurrences.due(f"{uid} {what}", self.now())
        if count:
            await self.tell(key, uid, (note,), count)
