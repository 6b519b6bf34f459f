"""What is known of the cluster: fed by watches, lists and the answers to writes, read by passes without a request.

For each object the inventory holds its UID, its resource version, whose it is, a fingerprint of the fields that the
operator manages in it, and the few fields that decisions are made from (`ResourceKind.kept`): 100 RuntimeServers are a
few megabytes, not the hundreds that whole objects would be. Three rules keep it true:

- The higher resource version wins. Watches of different kinds run apart from each other, and an answer to a write may
  come before its event or after it.
- A list tells what is gone: what it lacks and what is not younger than it is dropped (`see_all`). An object whose
  deletion was seen while the list was on its way does not come back with it.
- `see` returns the RuntimeServer that an object belongs to, but only if something changed that a decision depends on;
  that key goes into the work queue.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

from qiskit_runtime_operator.resource.identity import is_an_operators
from qiskit_runtime_operator.resource.kinds import ResourceKind, controller_of
from qiskit_runtime_operator.resource.model import Manifest
from qiskit_runtime_operator.resource.names import KIND, MANAGER, Key
from qiskit_runtime_operator.watch import fingerprint

_DELETED: Final = "DELETED"
_CHANGED: Final = ("ADDED", "MODIFIED")


class Ref(NamedTuple):
    """Which object."""

    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, kind: ResourceKind, manifest: Manifest) -> Self:
        """Return the reference to a manifest's object."""
        return cls(kind.kind, manifest["metadata"]["namespace"], manifest["metadata"]["name"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What matters of an object.

    Attributes:
        kind: Its kind.
        uid: Its own.
        version: Its resource version.
        owner: The UID of its controller.
        key: The RuntimeServer that it is part of.
        applied: The fingerprint of what we manage in it.
        handed_down: Whether operators of other releases have applied fields of it.
        body: The parts that are looked at later.
    """

    kind: ResourceKind
    uid: str
    version: int
    owner: str | None
    key: Key | None
    applied: bytes
    handed_down: bool
    body: Manifest

    @classmethod
    def of(cls, kind: ResourceKind, body: Manifest, manager: str, before: Self | None = None) -> Self:
        """Return what matters of `body` to a field manager; `before` is what was known of the object of that name."""
        metadata = body["metadata"]
        owner, name = controller_of(body), kind.belongs_to(body)
        # Somebody may have removed what says whose it is: then it is to be repaired.
        told = before.key if before and before.uid == metadata["uid"] else None
        return cls(
            kind=kind,
            uid=metadata["uid"],
            version=int(metadata["resourceVersion"]),
            owner=owner["uid"] if owner else None,
            key=Key(metadata["namespace"], name) if name else told,
            applied=fingerprint.of_applied(body, manager) if kind.applied else b"",
            handed_down=kind.applied and any(map(_others(manager), fingerprint.applied_entries(body))),
            body=kind.kept(body),
        )


class Inventory:
    """The RuntimeServers and what belongs to them, as last seen.

    Args:
        manager: The field manager whose fields matter.
    """

    def __init__(self, manager: str = MANAGER) -> None:
        self._manager = manager
        self._objects: dict[Ref, Known] = {}
        self._parts: dict[Key, set[Ref]] = {}
        self._deleted: set[str] = set()

    def see(self, kind: ResourceKind, change: str | None, body: Manifest) -> Key | None:
        """Take in an object.

        Args:
            kind: Its kind.
            change: What a watch says of it; None if it comes from a list, or from the answer to a write.
            body: The object.

        Returns:
            The RuntimeServer to look after, or None if nothing has changed that could matter to it.
        """
        ref = Ref.of(kind, body)
        before = self._objects.get(ref)
        known = Known.of(kind, body, self._manager, before)
        if before is not None and known.version < before.version:
            return None
        # A watch shows an object by the schema of the time when the watch began; lists and writes by the one in force.
        if before is not None and known.version == before.version and change in _CHANGED:
            return None
        if change == _DELETED:
            self._deleted.add(known.uid)
            self.drop(ref)
            return known.key
        self._keep(ref, known)
        return None if before is not None and _same(before, known) else known.key

    def begin_listing(self) -> None:
        """Say that a list is about to be read; what is deleted from now on is not to come back with it."""
        self._deleted.clear()

    def see_all(self, kind: ResourceKind, namespace: str | None, bodies: Iterable[Manifest], version: int) -> list[Key]:
        """Take in a list of all objects of a kind, in one namespace or in all: what is not in it is gone.

        Args:
            kind: Of the objects.
            namespace: Theirs, or None for all.
            bodies: The objects.
            version: The resource version of the list; what is known to be younger is not expected in it.

        Returns:
            The RuntimeServers to look after.
        """
        present = {Ref.of(kind, body): body for body in bodies if body["metadata"]["uid"] not in self._deleted}
        gone = {
            ref: known.key
            for ref, known in self._objects.items()
            if ref.kind == kind.kind and namespace in (None, ref.namespace) and ref not in present
            if known.version <= version
        }
        for ref in gone:
            self.drop(ref)
        touched = [*gone.values(), *(self.see(kind, None, body) for body in present.values())]
        return [key for key in touched if key is not None]

    def drop(self, ref: Ref) -> None:
        """Forget an object."""
        known = self._objects.pop(ref, None)
        if known is not None and known.key is not None:
            parts = self._parts.get(known.key, set())
            parts.discard(ref)
            if not parts:
                self._parts.pop(known.key, None)

    def find(self, ref: Ref) -> Known | None:
        """Return what is known of an object."""
        return self._objects.get(ref)

    def server(self, key: Key) -> Manifest | None:
        """Return a RuntimeServer."""
        known = self._objects.get(Ref(KIND, *key))
        return known.body if known else None

    def servers(self) -> list[Key]:
        """Return all RuntimeServers."""
        return [Key(ref.namespace, ref.name) for ref in self._objects if ref.kind == KIND]

    def parts(self, key: Key, kind: str | None = None) -> Iterator[tuple[Ref, Known]]:
        """Iterate over the objects of a RuntimeServer, of one kind or of all."""
        for ref in sorted(self._parts.get(key, ())):
            if kind in (None, ref.kind):
                yield ref, self._objects[ref]

    def _keep(self, ref: Ref, known: Known) -> None:
        self.drop(ref)
        self._objects[ref] = known
        if known.key is not None and ref.kind != KIND:
            self._parts.setdefault(known.key, set()).add(ref)


def _others(manager: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda entry: entry["manager"] != manager and is_an_operators(entry["manager"])


def _same(before: Known, now: Known) -> bool:
    """Tell whether nothing happened that asks for a pass."""
    names = [name for name in now.body if name != "status" or not now.kind.own_status]
    bodies = ({name: known.body.get(name) for name in names} for known in (before, now))
    return (before.uid, before.owner, before.applied) == (now.uid, now.owner, now.applied) and next(bodies) == next(
        bodies
    )
