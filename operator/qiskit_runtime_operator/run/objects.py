"""Brings the objects of RuntimeServers to what is wanted of them, one at a time, and deletes what is wanted no more.

Before an object is written it is looked up: what belongs to somebody else is left alone. An object that is wanted, and
is there, as our last apply left it costs no request. A write begins with the gentlest means: an apply; then one that
takes our fields back from others; then one after removing what others have added to our lists, or beside our fields,
as some exclude each other; and at last, for an object with fields that cannot be changed, its deletion and a new one.

What the API server refuses is returned as a `Refusal`. What has to be repeated, because an object has changed meanwhile
or the API server does not answer, raises.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from qiskit_runtime_operator.cluster.api_server import Cluster
from qiskit_runtime_operator.errors import ConflictError, RefusedError, StaleError
from qiskit_runtime_operator.render.replicas import may_undo_scale, undoes_scale, with_live_replicas
from qiskit_runtime_operator.render.volume_claim import is_data_of
from qiskit_runtime_operator.resource.kinds import CLAIMS, KINDS, ResourceKind
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer
from qiskit_runtime_operator.resource.names import Key
from qiskit_runtime_operator.run.events import Events
from qiskit_runtime_operator.run.refusals import Attempt, Refusals
from qiskit_runtime_operator.run.repairs import Repairs
from qiskit_runtime_operator.status.notes import replaced, taken_back
from qiskit_runtime_operator.status.refusals import contested, name_taken, write_refused
from qiskit_runtime_operator.status.status import Refusal
from qiskit_runtime_operator.watch import fingerprint
from qiskit_runtime_operator.watch.inventory import Inventory, Known, Ref

# The words of the API server, which has no reason of its own for this.
_FIXED: Final = ("immutable", "may not change once set")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Applied:
    """What our last apply of an object left: while both sides stay as they were, there is nothing to do."""

    uid: str
    wanted: bytes
    live: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """What the operator has written for each RuntimeServer, and how it does.

    Attributes:
        cluster: Where it is written.
        inventory: What is there.
        refusals: What could not be written.
        events: Tells of what users should know.
        now: The clock.
    """

    cluster: Cluster
    inventory: Inventory
    refusals: Refusals
    events: Events
    now: Callable[[], datetime]
    _applied: dict[Key, dict[Ref, _Applied]] = field(default_factory=dict, init=False)
    _repairs: Repairs = field(default_factory=Repairs, init=False)

    def forget(self, key: Key) -> None:
        """Forget what was written for a RuntimeServer."""
        self._applied.pop(key, None)

    def written(self, server: RuntimeServer, ref: Ref) -> str | None:
        """Return the UID of an object as it was when it was last written; None if it has not been."""
        last = self._last(server).get(ref)
        return last.uid if last else None

    def is_ours(self, server: RuntimeServer, known: Known, ref: Ref) -> bool:
        """Tell whether an object may be overwritten: it has its owner, holds its data, or has lost its owner."""
        known_to_be = known.owner is None and known.uid == self.written(server, ref)
        kept = known.kind == CLAIMS and known.owner is None and is_data_of(server, known.body)
        return known.owner == server.uid or known_to_be or kept

    async def settle(self, server: RuntimeServer, kind: ResourceKind, manifest: Manifest) -> Refusal | None:
        """Bring one object to what is wanted, unless it is; say so if that must not be."""
        ref, wanted = Ref.of(kind, manifest), fingerprint.of_manifest(manifest)
        applied = self._last(server)
        last, known = applied.get(ref), self.inventory.find(ref)
        if last and known and last == _Applied(uid=known.uid, wanted=wanted, live=known.applied):
            return self._contested(ref)
        # Wanted as before: somebody else has changed or deleted it.
        repairs = last is not None and last.wanted == wanted
        if repairs and not self._repairs.may(ref, self.now()):
            return self._contested(ref)
        attempt = Attempt.of(server, ref, wanted, known)
        if standing := self.refusals.standing(attempt, self.now()):
            return standing
        known = await self.look_up(kind, ref)
        if known is not None and not self.is_ours(server, known, ref):
            return self.taken(server, known, attempt)
        try:
            live = await self._write(server, kind, manifest, known)
        except RefusedError as error:
            return self.refusals.note(attempt, write_refused(ref.kind, ref.name, str(error)), self.now())
        self.inventory.see(kind, None, live)
        applied[ref] = _Applied(uid=live["metadata"]["uid"], wanted=wanted, live=self._fingerprint(live))
        if repairs:
            self._repairs.done(ref, self.now())
        return self._contested(ref)

    async def _write(
        self, server: RuntimeServer, kind: ResourceKind, manifest: Manifest, known: Known | None
    ) -> Manifest:
        """Apply a manifest to what is there, which is ours, or to nothing, by all means that there are.

        Raises:
            RefusedError: If none of them will do; the message is that of the first one.
        """
        ref = Ref.of(kind, manifest)
        if known is not None and known.handed_down:
            await self.cluster.inherit(kind, ref.namespace, ref.name, known.uid)
        try:
            return await self._apply(server, kind, manifest, known.uid if known else None)
        except RefusedError as error:
            if known is None:
                raise
            return await self._make_room(server, kind, manifest, known, error)

    async def _make_room(
        self, server: RuntimeServer, kind: ResourceKind, manifest: Manifest, known: Known, why: RefusedError
    ) -> Manifest:
        """Apply what is refused beside something of others, after removing that: in lists, then everywhere, or all.

        Raises:
            RefusedError: If it is refused for another reason.
        """
        refused = why
        for remove in (self.cluster.overlay, self._reset)[: 2 if kind.pruned else 1]:
            try:
                await remove(kind, manifest, uid=known.uid)
                return await self.cluster.apply(kind, manifest, uid=known.uid, force=True)
            except RefusedError as error:
                refused = error
        if kind.pruned and _is_fixed(refused):
            return await self._replace(server, kind, manifest, known, refused)
        raise why from refused

    async def _reset(self, kind: ResourceKind, manifest: Manifest, *, uid: str) -> None:
        """Leave nothing of others in an object, but the number of replicas if that is theirs."""
        ref = Ref.of(kind, manifest)
        live = await self.cluster.get(kind, ref.namespace, ref.name)
        if live is None:
            raise StaleError(f"{ref.kind} {ref.name} has been deleted")
        await self.cluster.reset(
            kind, with_live_replicas(manifest, live), uid=uid, version=live["metadata"]["resourceVersion"]
        )

    async def _replace(
        self, server: RuntimeServer, kind: ResourceKind, manifest: Manifest, known: Known, why: RefusedError
    ) -> Manifest:
        """Delete an object that cannot be changed to what is wanted, and make it again: none of these holds any data.

        The pods of a Deployment end as in a roll-out, for they drain when they are told to stop.
        """
        ref = Ref.of(kind, manifest)
        await self.cluster.delete(kind, ref.namespace, ref.name, known.uid)
        self.inventory.drop(ref)
        live = await self._apply(server, kind, with_live_replicas(manifest, known.body), None)
        await self.events.tell(server.key, server.uid, (replaced(kind.kind, ref.name, str(why)),))
        return live

    def _fingerprint(self, live: Manifest) -> bytes:
        return fingerprint.of_applied(live, self.cluster.manager)

    def _contested(self, ref: Ref) -> Refusal | None:
        """Say who changes an object again and again, if somebody does."""
        who = self._repairs.contested_by(ref, self.now())
        return contested(ref.kind, ref.name, who) if who else None

    def taken(self, server: RuntimeServer, known: Known, attempt: Attempt) -> Refusal:
        """Say whose the name is; what the last RuntimeServer of this name left will be gone in a moment."""
        name = attempt.ref.name
        if known.owner is not None and known.key == attempt.key:
            raise StaleError(
                f"{known.kind.kind} {name} of the deleted RuntimeServer {server.name} has not been deleted yet"
            )
        return self.refusals.note(attempt, name_taken(known.kind.kind, name), self.now(), taken_by=known.uid)

    async def is_free(self, ref: Ref, taken_by: str) -> bool:
        """Tell whether the object that has had a name is gone: it may be one that no watch shows."""
        body = await self.cluster.look_up(KINDS[ref.kind], ref.namespace, ref.name)
        return body is None or body["metadata"]["uid"] != taken_by

    async def look_up(self, kind: ResourceKind, ref: Ref) -> Known | None:
        """Return what is there, also if the watches do not show it: what is not ours, or has lost its labels."""
        known = self.inventory.find(ref)
        if known is None:
            body = await self.cluster.look_up(kind, ref.namespace, ref.name)
            known = Known.of(kind, body, self.cluster.manager) if body else None
        return known

    async def _apply(self, server: RuntimeServer, kind: ResourceKind, manifest: Manifest, uid: str | None) -> Manifest:
        """Apply a manifest to the object with this UID, which is ours, or to nothing."""
        version = await self._version_not_scaled(server, kind, manifest) if uid else None
        try:
            return await self.cluster.apply(kind, manifest, uid=uid, version=version)
        except ConflictError as conflict:
            if uid is None:
                raise StaleError(str(conflict)) from conflict
            live = await self.cluster.apply(kind, manifest, uid=uid, version=version, force=True)
            await self._tell_taken_back(server, Ref.of(kind, manifest), conflict.managers)
            return live
        except StaleError:
            self.inventory.drop(Ref.of(kind, manifest))
            raise

    async def _version_not_scaled(self, server: RuntimeServer, kind: ResourceKind, manifest: Manifest) -> str | None:
        """Return the only version of a Deployment that a number of replicas may be applied to; None if any will do.

        The watches may not have shown yet who has scaled it. Such a number must not be set back, not even once.

        Raises:
            StaleError: If somebody has scaled it since the manifest was rendered.
        """
        if not may_undo_scale(manifest, server):
            return None
        ref = Ref.of(kind, manifest)
        live = await self.cluster.get(kind, ref.namespace, ref.name)
        if live is None:
            return None
        if undoes_scale(manifest, live):
            self.inventory.see(kind, None, live)
            raise StaleError(f"{ref.kind} {ref.name} has been scaled meanwhile")
        return str(live["metadata"]["resourceVersion"])

    async def _tell_taken_back(self, server: RuntimeServer, ref: Ref, managers: tuple[str, ...]) -> None:
        self._repairs.name(ref, managers)
        note = taken_back(ref.kind, ref.name, managers)
        await self.events.tell_repeated(server.key, server.uid, note, what=note.message)

    async def prune(self, server: RuntimeServer, wanted: set[Ref]) -> list[Refusal | None]:
        """Delete what is owned and not wanted any more, and return what could not be."""
        key = server.key
        applied = self._last(server)
        shown = {ref for ref, known in self.inventory.parts(key) if known.owner == server.uid and known.kind.pruned}
        # What was applied may have lost its owner, or the labels that the watches go by.
        made = {ref for ref in applied if KINDS[ref.kind].pruned}
        return [await self._delete(server, ref) for ref in sorted((shown | made) - wanted)]

    async def _delete(self, server: RuntimeServer, ref: Ref) -> Refusal | None:
        applied, attempt = self._last(server), Attempt.of(server, ref, known=self.inventory.find(ref))
        if standing := self.refusals.standing(attempt, self.now()):
            return standing
        known = await self.look_up(KINDS[ref.kind], ref)
        if known is not None and self.is_ours(server, known, ref):
            try:
                await self.cluster.delete(known.kind, ref.namespace, ref.name, known.uid)
            except RefusedError as error:
                return self.refusals.note(attempt, write_refused(ref.kind, ref.name, str(error)), self.now())
        self.inventory.drop(ref)
        self._repairs.forget(ref)
        applied.pop(ref, None)
        return None

    def _last(self, server: RuntimeServer) -> dict[Ref, _Applied]:
        return self._applied.setdefault(server.key, {})


def _is_fixed(error: RefusedError) -> bool:
    """Tell whether the API server refuses a change because a field can never be changed."""
    return any(words in str(error) for words in _FIXED)
