"""One pass over one RuntimeServer: read, render, apply, prune, and write its status once.

A pass is level-triggered: it does not know which event caused it, compares what is wanted with what is there, and
brings the one to the other. So a lost event, a crash in the middle and a change by somebody else are all mended alike.

1. Parse the RuntimeServer (`resource`), and render all that it asks for (`render`); both are pure.
2. Settle each object: look whose it is, apply it, and take back fields that others have changed. What belongs to
   somebody else is left alone, and the status says so. An object is skipped while the fingerprints of what was wanted
   and of what is there are those of our last apply: a pass with nothing to do sends no request.
3. Prune: delete what the RuntimeServer owns and no longer asks for.
4. Observe (`status`), and write the status and Events of what is new, once, at the end.

What fails raises, and the work queue brings the RuntimeServer back; what is refused is first said in the status.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from qiskit_runtime_operator.cluster.api_server import Cluster
from qiskit_runtime_operator.errors import ClusterError, ConflictError, InvalidSpecError, RefusedError, StaleError
from qiskit_runtime_operator.render import RenderContext, render
from qiskit_runtime_operator.render.keys_secret import keys_checksum, keys_secret
from qiskit_runtime_operator.render.replicas import scaled_elsewhere
from qiskit_runtime_operator.render.volume_claim import data_claim, is_data_of
from qiskit_runtime_operator.resource.kinds import CLAIMS, KINDS, SECRETS, SERVERS, ResourceKind
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer, is_owned, is_paused
from qiskit_runtime_operator.resource.names import (
    LAST_ROLLOUT,
    OTHER_OPERATORS,
    VOLUME_CAPACITY,
    VOLUME_CLAIM,
    Key,
    data_name,
    keys_name,
)
from qiskit_runtime_operator.run.claims import Claims
from qiskit_runtime_operator.run.refusals import Attempt, Refusals
from qiskit_runtime_operator.run.repairs import Occurrences, Repairs
from qiskit_runtime_operator.run.scaler import Change, Scaler
from qiskit_runtime_operator.run.turns import Turns
from qiskit_runtime_operator.scaling.autoscaler import Autoscaler, scaled
from qiskit_runtime_operator.scaling.load import Load
from qiskit_runtime_operator.status import notes
from qiskit_runtime_operator.status.conditions import Reason
from qiskit_runtime_operator.status.notes import (
    Note,
    claim_changed,
    ignored,
    other_operators,
    replaced,
    taken_back,
    transitions,
)
from qiskit_runtime_operator.status.refusals import contested, name_taken, watch_refused, write_refused
from qiskit_runtime_operator.status.status import Observed, Refusal, observe, refuse
from qiskit_runtime_operator.watch import fingerprint
from qiskit_runtime_operator.watch.inventory import Inventory, Known, Ref

logger = logging.getLogger(__name__)

# The words of the API server, which has no reason of its own for this.
_FIXED: Final = ("immutable", "may not change once set")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Applied:
    """What our last apply of an object left: while both sides stay as they were, there is nothing to do."""

    uid: str
    wanted: bytes
    live: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reported:
    """The last status that was written, and what the API server made of it: an older CRD has not all of its fields."""

    uid: str
    sent: Manifest
    kept: Manifest


@dataclass(kw_only=True, slots=True)
class Reconciler:
    """Brings what is there to what RuntimeServers ask for.

    Attributes:
        cluster: Where it is written.
        inventory: What is there.
        context: What rendering depends on.
        loads: How busy the executors are, as far as it is known.
        autoscaler: Decides on the pods of executors with `autoscale`.
        random: Makes keys; see `keys_secret`.
        now: The clock.
        turns: Whose turn it is to be rolled out.
        answers: What pods that are not ready have said of it, by their UIDs.
        claims: Which RuntimeServers are this operator's; all, if there are none.
        refusals: What could not be written.
    """

    cluster: Cluster
    inventory: Inventory
    context: RenderContext
    loads: Mapping[Key, Load]
    autoscaler: Autoscaler
    random: Callable[[int], str]
    now: Callable[[], datetime]
    turns: Turns
    answers: Mapping[str, str] = field(default_factory=dict)
    claims: Claims | None = None
    refusals: Refusals = field(default_factory=Refusals, init=False)
    _scaler: Scaler = field(init=False)
    _applied: dict[Key, dict[Ref, _Applied]] = field(default_factory=dict, init=False)
    _volume_claims: dict[Key, str] = field(default_factory=dict, init=False)
    _told_others: dict[Key, tuple[str, ...]] = field(default_factory=dict, init=False)
    _understood: dict[Key, RuntimeServer] = field(default_factory=dict, init=False)
    _reported: dict[Key, _Reported] = field(default_factory=dict, init=False)
    _unwatched: dict[tuple[str, str | None], Refusal] = field(default_factory=dict, init=False)
    _repairs: Repairs = field(default_factory=Repairs, init=False)
    _occurrences: Occurrences = field(default_factory=Occurrences, init=False)
    _keys_checksums: dict[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._scaler = Scaler(cluster=self.cluster, inventory=self.inventory, autoscaler=self.autoscaler)

    async def reconcile(self, key: Key) -> timedelta | None:
        """Make one pass, and return in what time another one is due, if one is: the API server refuses something.

        At once, if the spec was changed, unseen, while this one ran.

        Raises:
            ClusterError: If it has to be repeated; also if something was refused anew, after the status has said so.
        """
        try:
            return await self._pass(key)
        finally:
            self.turns.done(key)

    async def _pass(self, key: Key) -> timedelta | None:
        body = self.inventory.server(key)
        if body is None or "deletionTimestamp" in body["metadata"]:
            self._forget(key)
            return None
        if self.claims and not await self.claims.hold(key, body["metadata"]["uid"]):
            self._forget(key)
            return None
        body = self.inventory.server(key) or body
        server, invalid = await self._understand(key, body)
        if server is None:
            deployments = tuple(known.body for _, known in self.inventory.parts(key, "Deployment"))
            generation, previous = body["metadata"]["generation"], body["status"]
            status = refuse(invalid, generation, deployments, previous=previous, now=self.now())
            return timedelta() if await self._report(key, status) else None
        elsewhere = scaled_elsewhere(self._bodies(server, "Deployment"))
        context = replace(self.context, scaled_elsewhere=elsewhere, decided=self._scaler.decided(server))
        refusals = () if server.paused else await self._converge(server, context)
        deployments, pods = (tuple(self._bodies(server, kind)) for kind in ("Deployment", "Pod"))
        load = self._load(key)
        seen = (*refusals, *self._unwatched_in(key.namespace))
        others = await self._others(key, body)
        observed = Observed(
            deployments=deployments,
            pods=pods,
            answers=self.answers,
            ways_in=tuple(way for kind in ("Ingress", "HTTPRoute") for way in self._bodies(server, kind)),
            refusals=seen,
            load=load,
            scaling=self._scaler.shown(server, context),
            invalid=invalid,
            other_operators=others,
            turns=str(self.turns) if self.turns.waits(key) else "",
        )
        news = self.refusals.keep(key, refusals)
        if await self._report(key, observe(server, context, observed, previous=body["status"], now=self.now())):
            return timedelta()
        if news:
            raise RefusedError("; ".join(map(str, news)))
        return self.refusals.again_in(key, self.now())

    def _load(self, key: Key) -> Load | None:
        """Return how busy the executors are; that of executors which are scaled is asked for more often."""
        known, newer = self.loads.get(key), self.autoscaler.load(key)
        return known if newer is None else replace(newer, without_slots=known is not None and known.without_slots)

    def autoscaled(self) -> list[Key]:
        """Return the RuntimeServers with an executor whose number of pods is decided here."""
        return [key for key, server in self._understood.items() if any(scaled(server))]

    def rescale(self, key: Key, load: Load | None) -> bool:
        """Decide on the pods of a RuntimeServer by what its api says, and tell whether a pass is due."""
        server = self._understood.get(key)
        return server is not None and self._scaler.rescale(server, load, self.now())

    async def _others(self, key: Key, body: Manifest) -> tuple[str, ...]:
        """Return the other operators that would look after a RuntimeServer, and tell of them once."""
        others = tuple(body["claim"].get(OTHER_OPERATORS, ()))
        if others and others != self._told_others.get(key):
            await self._tell(key, body["metadata"]["uid"], (other_operators(others),))
        self._told_others[key] = others
        return others

    def _forget(self, key: Key) -> None:
        for memory in (self._applied, self._understood, self._reported, self._told_others, self._volume_claims):
            memory.pop(key, None)
        self.refusals.forget(key)
        self.turns.forget(key)

    def set_unwatched(self, kind: ResourceKind, namespace: str | None, why: str | None) -> None:
        """Say why the objects of a kind cannot be watched, in one namespace or in all; None if they can."""
        if why is None:
            self._unwatched.pop((kind.plural, namespace), None)
        else:
            self._unwatched[kind.plural, namespace] = watch_refused(kind.kind, why)

    def _unwatched_in(self, namespace: str) -> Iterator[Refusal]:
        for (_, where), refusal in sorted(self._unwatched.items(), key=lambda item: item[0][0]):
            if where in (None, namespace):
                yield refusal

    async def _understand(self, key: Key, body: Manifest) -> tuple[RuntimeServer | None, str]:
        """Return the RuntimeServer, or as it was when its spec last made sense, and why that is not now."""
        metadata, last = body["metadata"], self._understood.get(key)
        try:
            server = RuntimeServer.from_object(body)
        except InvalidSpecError as error:
            same = last is not None and last.uid == metadata["uid"]
            if last is None or not same:
                return None, str(error)
            return replace(last, generation=metadata["generation"], paused=is_paused(body)), str(error)
        if server.ignored and (last is None or last.ignored != server.ignored):
            await self._tell(key, server.uid, (ignored(server.ignored),))
        self._understood[key] = server
        return server, ""

    def look_for_keys(self) -> None:
        """Do not take for granted any more that the Secrets with keys are there: they are not watched."""
        self._keys_checksums.clear()

    def _bodies(self, server: RuntimeServer, kind: str) -> Iterator[Manifest]:
        for _, known in self.inventory.parts(server.key, kind):
            if kind == "Pod" or known.owner == server.uid:
                yield known.body

    def _last(self, server: RuntimeServer) -> dict[Ref, _Applied]:
        return self._applied.setdefault(server.key, {})

    async def _converge(self, server: RuntimeServer, context: RenderContext) -> tuple[Refusal, ...]:
        refusals = [await self._settle_keys(server), await self._settle_claim(server)]
        context = replace(context, keys_checksum=self._keys_checksums.get(server.uid, ""))
        refusals += [await self._rescaled(server, change) for change in self._scaler.changes(server, context)]
        wanted = [(KINDS[manifest["kind"]], manifest) for manifest in render(server, context)]
        held = self.turns.hold_back(server, wanted, self.now())
        refusals += [await self._settle(server, *item) for item in wanted if Ref.of(*item) not in held]
        refusals += await self._prune(server, {Ref.of(kind, manifest) for kind, manifest in wanted})
        return tuple(refusal for refusal in refusals if refusal is not None)

    async def _rescaled(self, server: RuntimeServer, change: Change) -> Refusal | None:
        """Tell of a change in the number of pods, and keep those that have jobs from being the first to go."""
        key, name = server.key, change.executor.name
        load = self.autoscaler.load(key)
        jobs = load.executors.get(name) if load else None
        queued, running = (jobs.queued, jobs.running) if jobs else (0, 0)
        count = self._occurrences.due(f"{server.uid} {Reason.SCALED} {name}", self.now())
        if count:
            await self._tell(
                key, server.uid, (notes.scaled(name, change.before, change.after, queued, running),), count
            )
        return await self._scaler.spare(server, change.executor) if change.after < change.before else None

    async def _settle_keys(self, server: RuntimeServer) -> Refusal | None:
        """Make the keys, once. Those of a RuntimeServer that is gone are about to go."""
        if server.uid in self._keys_checksums:
            return None
        name = keys_name(server.name)
        attempt = Attempt.of(server, Ref(SECRETS.kind, server.namespace, name))
        if standing := self.refusals.standing(attempt, self.now()):
            return standing
        secret = await self.cluster.get(SECRETS, server.namespace, name)
        if secret is None:
            secret = keys_secret(server, self.random)
            try:
                await self.cluster.create(SECRETS, secret)
            except RefusedError as error:
                return self.refusals.note(attempt, write_refused(SECRETS.kind, name, str(error)), self.now())
        elif not is_owned(secret, server.uid):
            return self._taken(server, Known.of(SECRETS, secret, self.cluster.manager), attempt)
        self._keys_checksums[server.uid] = keys_checksum(secret)
        return None

    async def _settle_claim(self, server: RuntimeServer) -> Refusal | None:
        if server.spec.database.sqlite is None:
            return None
        ref = Ref(CLAIMS.kind, server.namespace, data_name(server.name))
        known = await self._look_up(CLAIMS, ref)
        ours = known is not None and _is_ours(server, known, self._last(server).get(ref))
        manifest = data_claim(server, known.body if known and ours else None)
        refusal = None if manifest is None else await self._settle(server, CLAIMS, manifest)
        await self._note_claim(server, ref)
        return refusal

    async def _note_claim(self, server: RuntimeServer, ref: Ref) -> None:
        """Tell if the claim is another one than before; the status remembers which one that was."""
        key, made = server.key, self._last(server).get(ref)
        body = self.inventory.server(key)
        if made is None or body is None:
            return
        before = self._volume_claims.get(key, body["status"].get(VOLUME_CLAIM, made.uid))
        self._volume_claims[key] = made.uid
        if before != made.uid:
            await self._tell(key, server.uid, (claim_changed(ref.name, before, made.uid),))

    async def _settle(self, server: RuntimeServer, kind: ResourceKind, manifest: Manifest) -> Refusal | None:
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
        known = await self._look_up(kind, ref)
        if known is not None and not _is_ours(server, known, last):
            return self._taken(server, known, attempt)
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
            try:
                # Others may have put something into its lists that makes ours impossible.
                await self.cluster.overlay(kind, manifest, uid=known.uid)
                return await self.cluster.apply(kind, manifest, uid=known.uid, force=True)
            except RefusedError as refused:
                if not (kind.pruned and _is_fixed(refused)):
                    raise error from refused
                return await self._replace(server, kind, manifest, known, refused)

    async def _replace(
        self, server: RuntimeServer, kind: ResourceKind, manifest: Manifest, known: Known, why: RefusedError
    ) -> Manifest:
        """Delete an object that cannot be changed to what is wanted, and make it again: none of these holds any data.

        The pods of a Deployment end as in a roll-out, for they drain when they are told to stop.
        """
        ref = Ref.of(kind, manifest)
        await self.cluster.delete(kind, ref.namespace, ref.name, known.uid)
        self.inventory.drop(ref)
        live = await self._apply(server, kind, manifest, None)
        await self._tell(server.key, server.uid, (replaced(kind.kind, ref.name, str(why)),))
        return live

    def _fingerprint(self, live: Manifest) -> bytes:
        return fingerprint.of_applied(live, self.cluster.manager)

    def _contested(self, ref: Ref) -> Refusal | None:
        """Say who changes an object again and again, if somebody does."""
        who = self._repairs.contested_by(ref, self.now())
        return contested(ref.kind, ref.name, who) if who else None

    def _taken(self, server: RuntimeServer, known: Known, attempt: Attempt) -> Refusal:
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

    async def _look_up(self, kind: ResourceKind, ref: Ref) -> Known | None:
        """Return what is there, also if the watches do not show it: what is not ours, or has lost its labels."""
        known = self.inventory.find(ref)
        if known is None:
            body = await self.cluster.look_up(kind, ref.namespace, ref.name)
            known = Known.of(kind, body, self.cluster.manager) if body else None
        return known

    async def _apply(self, server: RuntimeServer, kind: ResourceKind, manifest: Manifest, uid: str | None) -> Manifest:
        """Apply a manifest to the object with this UID, which is ours, or to nothing."""
        try:
            return await self.cluster.apply(kind, manifest, uid=uid)
        except ConflictError as conflict:
            if uid is None:
                raise StaleError(str(conflict)) from conflict
            live = await self.cluster.apply(kind, manifest, uid=uid, force=True)
            await self._tell_taken_back(server, Ref.of(kind, manifest), conflict.managers)
            return live
        except StaleError:
            self.inventory.drop(Ref.of(kind, manifest))
            raise

    async def _tell_taken_back(self, server: RuntimeServer, ref: Ref, managers: tuple[str, ...]) -> None:
        self._repairs.name(ref, managers)
        note = taken_back(ref.kind, ref.name, managers)
        count = self._occurrences.due(f"{server.uid} {note.message}", self.now())
        if count:
            await self._tell(server.key, server.uid, (note,), count)

    async def _prune(self, server: RuntimeServer, wanted: set[Ref]) -> list[Refusal | None]:
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
        known = await self._look_up(KINDS[ref.kind], ref)
        if known is not None and _is_ours(server, known, applied.get(ref)):
            try:
                await self.cluster.delete(known.kind, ref.namespace, ref.name, known.uid)
            except RefusedError as error:
                return self.refusals.note(attempt, write_refused(ref.kind, ref.name, str(error)), self.now())
        self.inventory.drop(ref)
        self._repairs.forget(ref)
        applied.pop(ref, None)
        return None

    async def _report(self, key: Key, status: Manifest) -> bool:
        """Write the status, and tell whether the answer shows another spec than the one that it is about."""
        body = self.inventory.server(key)
        if body is None:
            return False
        status = {**status, **body["claim"], **self._remembered(key, body)}
        if status == body["status"]:
            return False
        uid = body["metadata"]["uid"]
        if self._reported.get(key) == _Reported(uid=uid, sent=status, kept=body["status"]):
            return False
        written = await self.cluster.write_status(key.namespace, key.name, uid, status)
        if written is None:
            return False
        changed = self.inventory.see(SERVERS, None, written) is not None
        self._reported[key] = _Reported(uid=uid, sent=status, kept=written.get("status", {}))
        await self._tell(key, uid, transitions(body["status"], status))
        return changed

    def _remembered(self, key: Key, body: Manifest) -> Manifest:
        """Return what the status remembers for the passes after a restart."""
        begun, before = self.turns.begun(key), body["status"]
        last = begun.strftime("%Y-%m-%dT%H:%M:%SZ") if begun else before.get(LAST_ROLLOUT)
        claim = self._volume_claims.get(key, before.get(VOLUME_CLAIM))
        known = self.inventory.find(Ref(CLAIMS.kind, key.namespace, data_name(key.name)))
        size = known.body["status"]["capacity"].get("storage") if known and known.uid == claim else None
        remembered = {LAST_ROLLOUT: last, VOLUME_CLAIM: claim, VOLUME_CAPACITY: size}
        return {name: value for name, value in remembered.items() if value}

    async def _tell(self, key: Key, uid: str, notes: Iterable[Note], count: int = 1) -> None:
        for note in notes:
            try:
                await self.cluster.post_event(key.namespace, key.name, uid, note, count)
            except ClusterError as error:
                logger.warning("%s/%s: the Event %s could not be written: %s", *key, note.reason, error)


def _is_ours(server: RuntimeServer, known: Known, last: _Applied | None) -> bool:
    """Tell whether an object may be overwritten: it has its owner, holds its data, or has lost its owner."""
    known_to_be = known.owner is None and last is not None and last.uid == known.uid
    kept = known.kind == CLAIMS and known.owner is None and is_data_of(server, known.body)
    return known.owner == server.uid or known_to_be or kept


def _is_fixed(error: RefusedError) -> bool:
    """Tell whether the API server refuses a change because a field can never be changed."""
    return any(words in str(error) for words in _FIXED)
