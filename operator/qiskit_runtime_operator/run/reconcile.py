"""One pass over one RuntimeServer: read, render, apply, prune, and write its status once.

A pass is level-triggered: it does not know which event caused it, compares what is wanted with what is there, and
brings the one to the other. So a lost event, a crash in the middle and a change by somebody else are all mended alike.

1. Parse the RuntimeServer (`resource`), and render all that it asks for (`render`); both are pure.
2. Settle each object: look whose it is, apply it, and take back fields that others have changed. What belongs to
   somebody else is left alone, and the status says so. An object is skipped while the fingerprints of what was wanted
   and of what is there are those of our last apply: a pass with nothing to do sends no request.
3. Prune: delete what the RuntimeServer owns and no longer asks for.
4. Observe (`status`), and write the status and Events of what is new, once, at the end.

What fails raises, and the work queue brings the RuntimeServer back; what is refused is first said in the status. There
it is said, too, that a pass has failed: at once if that is a defect, and after a while if it is the API server.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from qiskit_runtime_operator.cluster.api_server import Cluster
from qiskit_runtime_operator.cluster.ingress_classes import IngressClasses
from qiskit_runtime_operator.errors import ClusterError, InvalidSpecError, RefusedError
from qiskit_runtime_operator.render import RenderContext, render
from qiskit_runtime_operator.render.replicas import scaled_elsewhere
from qiskit_runtime_operator.render.volume_claim import data_claim
from qiskit_runtime_operator.resource.kinds import CLAIMS, KINDS, PODS, SERVERS, ResourceKind
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer, is_paused
from qiskit_runtime_operator.resource.names import (
    LAST_ROLLOUT,
    OTHER_OPERATORS,
    VOLUME_CAPACITY,
    VOLUME_CLAIM,
    Key,
    data_name,
)
from qiskit_runtime_operator.run.certificates import Certificates
from qiskit_runtime_operator.run.claims import Claims
from qiskit_runtime_operator.run.events import Events
from qiskit_runtime_operator.run.keys import Keys
from qiskit_runtime_operator.run.objects import Objects
from qiskit_runtime_operator.run.owned_secrets import OwnedSecrets
from qiskit_runtime_operator.run.refusals import Refusals
from qiskit_runtime_operator.run.scaler import Change, Scaler
from qiskit_runtime_operator.run.turns import Turns
from qiskit_runtime_operator.scaling.autoscaler import Autoscaler, scaled
from qiskit_runtime_operator.scaling.load import Load
from qiskit_runtime_operator.status import notes
from qiskit_runtime_operator.status.conditions import Reason
from qiskit_runtime_operator.status.notes import claim_changed, ignored, other_operators, reconcile_failed, transitions
from qiskit_runtime_operator.status.refusals import failed, lacks_what_it_reads, watch_refused
from qiskit_runtime_operator.status.rollout import has_rolled_out, template_of
from qiskit_runtime_operator.status.status import Observed, Refusal, fail, observe, refuse
from qiskit_runtime_operator.status.way_in import waits_for_address
from qiskit_runtime_operator.watch.inventory import Inventory, Ref

# Objects change under a pass, and API servers are restarted: that passes by itself.
_PATIENCE: Final = timedelta(seconds=15)


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
        ingress_classes: Which IngressClasses there are, if that can be known.
        refusals: What could not be written.
        events: Tells users of what happens.
        objects: Applies and prunes what a RuntimeServer asks for.
        keys: Makes and changes the keys.
        certificates: Makes and renews the certificates.
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
    ingress_classes: IngressClasses | None = None
    refusals: Refusals = field(default_factory=Refusals, init=False)
    events: Events = field(init=False)
    objects: Objects = field(init=False)
    keys: Keys = field(init=False)
    certificates: Certificates = field(init=False)
    _scaler: Scaler = field(init=False)
    _volume_claims: dict[Key, str] = field(default_factory=dict, init=False)
    _told_others: dict[Key, tuple[str, ...]] = field(default_factory=dict, init=False)
    _understood: dict[Key, RuntimeServer] = field(default_factory=dict, init=False)
    _reported: dict[Key, _Reported] = field(default_factory=dict, init=False)
    _rolled_out: dict[Key, Mapping[str, str]] = field(default_factory=dict, init=False)
    _unwatched: dict[tuple[str, str | None], Refusal] = field(default_factory=dict, init=False)
    _changed: set[Key] = field(default_factory=set, init=False)
    _unfinished: dict[Key, datetime] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.events = Events(cluster=self.cluster, now=self.now)
        self.objects = Objects(
            cluster=self.cluster,
            inventory=self.inventory,
            refusals=self.refusals,
            events=self.events,
            now=self.now,
        )
        secrets = OwnedSecrets(cluster=self.cluster, refusals=self.refusals, objects=self.objects, now=self.now)
        self.keys = Keys(
            secrets=secrets, inventory=self.inventory, events=self.events, random=self.random, now=self.now
        )
        self.certificates = Certificates(secrets=secrets, now=self.now)
        self._scaler = Scaler(cluster=self.cluster, inventory=self.inventory, autoscaler=self.autoscaler)

    async def reconcile(self, key: Key) -> timedelta | None:
        """Make one pass, and return in what time another one is due, if one is: the API server refuses something.

        At once, if the spec was changed, unseen, while this one ran.

        Raises:
            ClusterError: If it has to be repeated; also if something was refused anew, after the status has said so.
        """
        self._unfinished.setdefault(key, self.now())
        try:
            news = await self._pass(key)
            del self._unfinished[key]
            if key in self._changed:
                return timedelta()
            if news:
                raise RefusedError("; ".join(map(str, news)))
            return self.refusals.again_in(key, self.now())
        finally:
            self._changed.discard(key)
            self.turns.done(key)

    async def tell_failed(self, key: Key, error: Exception) -> bool:
        """Say in the status that a pass has failed, and tell whether the spec was changed, unseen, before that.

        Nothing is said of a pass that only found something refused, which has told so itself.

        Raises:
            ClusterError: If the status cannot be written.
        """
        since, body = self._unfinished.get(key), self.inventory.server(key)
        if since is None or body is None or not (self.claims is None or self.claims.has(key)):
            return False
        if isinstance(error, ClusterError) and self.now() - since < _PATIENCE:
            return False
        uid, previous, message = body["metadata"]["uid"], body["status"], failed(error)
        await self.events.tell_repeated(key, uid, reconcile_failed(message), what=type(error).__name__)
        status = fail(message, body["metadata"]["generation"], previous=previous, now=self.now())
        written = None if status == previous else await self.cluster.write_status(*key, uid, status)
        return written is not None and self.inventory.see(SERVERS, None, written) is not None

    async def _pass(self, key: Key) -> tuple[Refusal, ...]:
        """Do what there is to do, and return what was refused anew, which the status says."""
        body = self.inventory.server(key)
        if body is None or "deletionTimestamp" in body["metadata"]:
            self._forget(key)
            return ()
        known = self._understood.get(key)
        if known is not None and known.uid != body["metadata"]["uid"]:
            self._forget(key)
        if self.claims and not await self.claims.hold(key, body["metadata"]["uid"]):
            self._forget(key)
            return ()
        body = self.inventory.server(key) or body
        server, invalid = await self._understand(key, body)
        if server is None:
            deployments = tuple(known.body for _, known in self.inventory.parts(key, "Deployment"))
            generation, previous = body["metadata"]["generation"], body["status"]
            status = refuse(invalid, generation, deployments, previous=previous, now=self.now())
            await self._report(key, status)
            return ()
        elsewhere = scaled_elsewhere(self._bodies(server, "Deployment"))
        context = replace(self.context, scaled_elsewhere=elsewhere, decided=self._scaler.decided(server))
        refusals = () if server.paused else await self._converge(server, context)
        deployments, pods = (tuple(self._bodies(server, kind)) for kind in ("Deployment", "Pod"))
        load = self._load(key)
        seen = (*refusals, *self._unwatched_in(key.namespace))
        others = await self._others(key, body)
        ways_in = tuple(way for kind in ("Ingress", "HTTPRoute") for way in self._bodies(server, kind))
        observed = Observed(
            deployments=deployments,
            pods=pods,
            answers=self.answers,
            ways_in=ways_in,
            ingress_classes=await self._ingress_classes(server, ways_in),
            refusals=seen,
            load=load,
            scaling=self._scaler.shown(server, context),
            invalid=invalid,
            other_operators=others,
            turns=str(self.turns) if self.turns.waits(key) else "",
            rolled_out=self._note_rolled_out(key, deployments),
        )
        news = self.refusals.keep(key, refusals)
        await self._report(key, observe(server, context, observed, previous=body["status"], now=self.now()))
        return news

    async def _ingress_classes(self, server: RuntimeServer, ways_in: Sequence[Manifest]) -> Set[str] | None:
        """Return the names of the IngressClasses, if they matter and are known."""
        if self.ingress_classes is None or not waits_for_address(server, ways_in):
            return None
        return await self.ingress_classes.names()

    def _note_rolled_out(self, key: Key, deployments: Sequence[Manifest]) -> Mapping[str, str]:
        """Return, by their UIDs, the template that all pods of Deployments have, or last had, by its checksum."""
        before = self._rolled_out.get(key, {})
        found = ((each["metadata"]["uid"], each) for each in deployments)
        now = {uid: template_of(each) if has_rolled_out(each) else before.get(uid) for uid, each in found}
        self._rolled_out[key] = {uid: template for uid, template in now.items() if template is not None}
        return self._rolled_out[key]

    def _load(self, key: Key) -> Load | None:
        """Return how busy the executors are; that of executors which are scaled is asked for more often."""
        known, newer = self.loads.get(key), self.autoscaler.load(key)
        return known if newer is None else replace(newer, without_slots=known is not None and known.without_slots)

    def look_again(self) -> None:
        """Do not take for granted any more that Secrets are as they were left: they are not watched."""
        self.keys.look_again()
        self.certificates.look_again()

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
            await self.events.tell(key, body["metadata"]["uid"], (other_operators(others),))
        self._told_others[key] = others
        return others

    def _forget(self, key: Key) -> None:
        memories = self._understood, self._reported, self._told_others, self._volume_claims, self._rolled_out
        for memory in memories:
            memory.pop(key, None)
        self.autoscaler.drop(key)
        self.objects.forget(key)
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
            await self.events.tell(key, server.uid, (ignored(server.ignored),))
        self._understood[key] = server
        return server, ""

    def _bodies(self, server: RuntimeServer, kind: str) -> Iterator[Manifest]:
        for _, known in self.inventory.parts(server.key, kind):
            if kind == "Pod" or known.owner == server.uid:
                yield known.body

    async def _converge(self, server: RuntimeServer, context: RenderContext) -> tuple[Refusal, ...]:
        watched = not any(refusal.kind == PODS.kind for refusal in self._unwatched_in(server.namespace))
        refusals = [await self.keys.settle(server, watched=watched), await self._settle_claim(server)]
        refusals += await self.certificates.settle(server)
        context = replace(context, keys_checksum=self.keys.checksum(server))
        refusals += [await self._rescaled(server, change) for change in self._scaler.changes(server, context)]
        wanted = [(KINDS[manifest["kind"]], manifest) for manifest in render(server, context)]
        held = self.turns.hold_back(server, wanted, self.now())
        if self.turns.begun(server.key):
            await self._record_turn(server.key)
        for kind, manifest in wanted:
            if Ref.of(kind, manifest) not in held and not lacks_what_it_reads(manifest, filter(None, refusals)):
                refusals.append(await self.objects.settle(server, kind, manifest))
        refusals += await self.objects.prune(server, {Ref.of(kind, manifest) for kind, manifest in wanted})
        return tuple(refusal for refusal in refusals if refusal is not None)

    async def _rescaled(self, server: RuntimeServer, change: Change) -> Refusal | None:
        """Tell of a change in the number of pods, and keep those that have jobs from being the first to go."""
        key, name = server.key, change.executor.name
        load = self.autoscaler.load(key)
        jobs = load.executors.get(name) if load else None
        queued, running = (jobs.queued, jobs.running) if jobs else (0, 0)
        note = notes.scaled(name, change.before, change.after, queued, running)
        await self.events.tell_repeated(key, server.uid, note, what=f"{Reason.SCALED} {name}")
        return await self._scaler.spare(server, change.executor) if change.after < change.before else None

    async def _settle_claim(self, server: RuntimeServer) -> Refusal | None:
        if server.spec.database.sqlite is None:
            return None
        ref = Ref(CLAIMS.kind, server.namespace, data_name(server.name))
        known = await self.objects.look_up(CLAIMS, ref)
        ours = known is not None and self.objects.is_ours(server, known, ref)
        manifest = data_claim(server, known.body if known and ours else None)
        refusal = None if manifest is None else await self.objects.settle(server, CLAIMS, manifest)
        await self._note_claim(server, ref)
        return refusal

    async def _note_claim(self, server: RuntimeServer, ref: Ref) -> None:
        """Tell if the claim is another one than before; the status remembers which one that was."""
        key, made = server.key, self.objects.written(server, ref)
        body = self.inventory.server(key)
        if made is None or body is None:
            return
        before = self._volume_claims.get(key, body["status"].get(VOLUME_CLAIM, made))
        self._volume_claims[key] = made
        if before != made:
            await self.events.tell(key, server.uid, (claim_changed(ref.name, before, made),))

    async def _record_turn(self, key: Key) -> None:
        """Write when a roll-out begins before it does: an operator that is ended in between must not start the next."""
        if body := self.inventory.server(key):
            await self._report(key, body["status"])

    async def _report(self, key: Key, status: Manifest) -> None:
        """Write the status, and note whether the answer shows another spec than the one that the pass is about."""
        body = self.inventory.server(key)
        if body is None:
            return
        status = {**status, **body["claim"], **self._remembered(key, body)}
        if status == body["status"]:
            return
        uid = body["metadata"]["uid"]
        if self._reported.get(key) == _Reported(uid=uid, sent=status, kept=body["status"]):
            return
        written = await self.cluster.write_status(key.namespace, key.name, uid, status)
        if written is None:
            return
        if self.inventory.see(SERVERS, None, written) is not None:
            self._changed.add(key)
        self._reported[key] = _Reported(uid=uid, sent=status, kept=written.get("status", {}))
        await self.events.tell(key, uid, transitions(body["status"], status))

    def _remembered(self, key: Key, body: Manifest) -> Manifest:
        """Return what the status remembers for the passes after a restart."""
        begun, before = self.turns.begun(key), body["status"]
        last = begun.strftime("%Y-%m-%dT%H:%M:%SZ") if begun else before.get(LAST_ROLLOUT)
        claim = self._volume_claims.get(key, before.get(VOLUME_CLAIM))
        known = self.inventory.find(Ref(CLAIMS.kind, key.namespace, data_name(key.name)))
        size = known.body["status"]["capacity"].get("storage") if known and known.uid == claim else None
        remembered = {LAST_ROLLOUT: last, VOLUME_CLAIM: claim, VOLUME_CAPACITY: size}
        return {name: value for name, value in remembered.items() if value}
