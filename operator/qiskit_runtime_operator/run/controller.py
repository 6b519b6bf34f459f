"""What the leader does: list, watch, reconcile what changed, and resync now and then."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, TypeVar

import aiohttp

from qiskit_runtime_operator.backoff import Backoff
from qiskit_runtime_operator.cluster.api_server import Cluster, collection_path
from qiskit_runtime_operator.cluster.connection import Connection
from qiskit_runtime_operator.cluster.ingress_classes import IngressClasses
from qiskit_runtime_operator.cluster.load_reader import LoadReader
from qiskit_runtime_operator.cluster.readiness_reader import ReadinessReader
from qiskit_runtime_operator.errors import (
    ClusterError,
    LeadershipLostError,
    MissingError,
    OperatorError,
    RefusedError,
)
from qiskit_runtime_operator.metrics import ScalingMetrics, WorkMetrics
from qiskit_runtime_operator.render import DefaultImages, RenderContext
from qiskit_runtime_operator.resource.kinds import OptionalApi, ResourceKind, watched_kinds
from qiskit_runtime_operator.resource.names import Key
from qiskit_runtime_operator.resource.urls import readiness_url
from qiskit_runtime_operator.run.claims import Claims
from qiskit_runtime_operator.run.reconcile import Reconciler
from qiskit_runtime_operator.run.turns import Turns
from qiskit_runtime_operator.scaling.autoscaler import Autoscaler
from qiskit_runtime_operator.settings import Settings
from qiskit_runtime_operator.status.readiness import address_to_ask
from qiskit_runtime_operator.watch.inventory import Inventory
from qiskit_runtime_operator.watch.kopf_watches import handlers, watches, watching
from qiskit_runtime_operator.watch.watchdog import Watchdog
from qiskit_runtime_operator.watch.work_queue import WorkQueue

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

# Resyncs of several operators drift apart.
_JITTER: Final = 0.1
_TURN_SECONDS: Final = 1
_TAKEN_SECONDS: Final = 3
_RANDOM: Final = secrets.SystemRandom()
_BACKOFF: Final = Backoff(first=timedelta(seconds=1), longest=timedelta(minutes=1))


class Controller:
    """Keeps all RuntimeServers as they should be, in a cluster whose optional APIs stay the same.

    Args:
        settings: Of the operator.
        connection: For kopf's watches.
        cluster: For everything else.
        outside: A session for what is not the API server.
        apis: The optional APIs of the cluster.
        scaling: Where decisions on the pods of executors are counted.
    """

    def __init__(  # noqa: PLR0913 - what it is put together from
        self,
        settings: Settings,
        connection: Connection,
        cluster: Cluster,
        outside: aiohttp.ClientSession,
        *,
        apis: frozenset[OptionalApi],
        scaling: ScalingMetrics,
    ) -> None:
        self._settings = settings
        self._connection = connection
        self._cluster = cluster
        self._apis = apis
        self._kinds = watched_kinds(apis)
        self._namespaces: tuple[str | None, ...] = settings.namespaces or (None,)
        self._inventory = Inventory(cluster.manager)
        self._listing = asyncio.Lock()
        self._queue = WorkQueue()
        self._reader = LoadReader(outside, cluster, settings.load_url)
        self._autoscaler = Autoscaler(metrics=scaling)
        self._readiness = ReadinessReader(outside)
        self._claims = Claims(
            cluster, self._inventory, settings.identity, settings.takeover, now=lambda: datetime.now(UTC)
        )
        self._turns = Turns(self._inventory, settings.rollouts_at_once, settings.rollout_interval or timedelta())
        self._reconciler = Reconciler(
            cluster=cluster,
            inventory=self._inventory,
            context=_context(settings, apis),
            loads=self._reader.loads,
            autoscaler=self._autoscaler,
            random=secrets.token_urlsafe,
            now=lambda: datetime.now(UTC),
            claims=self._claims,
            turns=self._turns,
            # They are objects of the cluster, which a Role in a namespace gives no right to.
            ingress_classes=None if settings.namespaces else IngressClasses(cluster, lambda: datetime.now(UTC)),
            answers=self._readiness.answers,
        )

    async def run(self, watchdog: Watchdog, metrics: WorkMetrics, keep_signals: Callable[[], None]) -> None:
        """Work until cancelled.

        Args:
            watchdog: Told what the watches tell.
            metrics: Of the passes.
            keep_signals: Called when kopf has taken the signals.

        Raises:
            ExceptionGroup: Of LeadershipLostError, ClusterError or OperatorError: it cannot go on like this.
        """
        metrics.depth.set_function(self._queue.__len__)
        watchdog.expect(collection_path(kind, namespace) for kind, namespace in self._collections())
        await until_answered(partial(self._begin, watchdog))
        async with self._watches(watchdog, keep_signals) as ended, asyncio.TaskGroup() as group:
            group.create_task(self._resync(watchdog))
            group.create_task(self._list_afresh(watchdog))
            group.create_task(self._tell_refusals(watchdog))
            group.create_task(self._read_loads())
            group.create_task(self._autoscale())
            group.create_task(self._give_turns())
            group.create_task(self._look_at_taken_names())
            for _ in range(self._settings.workers):
                group.create_task(self._reconcile(metrics))
            await ended

    def _watches(
        self, watchdog: Watchdog, spawned: Callable[[], None]
    ) -> AbstractAsyncContextManager[asyncio.Future[None]]:
        settings = self._settings
        return watches(
            handlers(self._connection, self._kinds, self._inventory, self._queue, watchdog),
            watching(self._kinds, settings.watch_renewal, settings.watch_silence),
            identity=settings.pod_name,
            namespaces=settings.namespaces,
            spawned=spawned,
        )

    async def _reconcile(self, metrics: WorkMetrics) -> None:
        """Take keys and make passes, for ever."""
        while True:
            key = await self._queue.get()
            try:
                with metrics.reconciles.time():
                    again = await self._reconciler.reconcile(key)
                if again:
                    self._queue.later(key, again)
                else:
                    self._queue.succeeded(key)
                    if again is not None:
                        self._queue.add(key)
            except LeadershipLostError:
                raise
            except ClusterError as error:
                logger.warning("%s/%s: %s", *key, error, extra=_about(key))
                metrics.errors.labels(type(error).__name__).inc()
                self._repeat(key, error)
                await self._tell_failed(key, error)
            except Exception as error:  # one RuntimeServer must not keep the others from being looked after
                logger.exception("%s/%s: a pass failed", *key, extra=_about(key))
                metrics.errors.labels(type(error).__name__).inc()
                self._queue.failed(key)
                await self._tell_failed(key, error)
            finally:
                self._queue.done(key)

    def _repeat(self, key: Key, error: ClusterError) -> None:
        """Have a pass that has failed repeated: when what was refused may be tried again, or after its back-off."""
        wait = self._reconciler.refusals.again_in(key, datetime.now(UTC))
        if isinstance(error, RefusedError) and wait:
            self._queue.later(key, wait)
        else:
            self._queue.failed(key, error.retry_after or timedelta())

    async def _tell_failed(self, key: Key, error: Exception) -> None:
        """Have the status say that a pass has failed; if that fails, the next pass that does tells it."""
        try:
            if await self._reconciler.tell_failed(key, error):
                self._queue.add(key)
        except LeadershipLostError:
            raise
        except ClusterError as refused:
            logger.warning("%s/%s: the status does not tell that: %s", *key, refused, extra=_about(key))
        except Exception:  # as above
            logger.exception("%s/%s: the status does not tell that", *key, extra=_about(key))

    async def _look_at_taken_names(self) -> None:
        """Queue, for ever, the RuntimeServers for which a name has become free; most such objects are not watched."""
        refusals = self._reconciler.refusals
        while True:
            for key, ref, taken_by in list(refusals.taken()):
                with _going_on(key, f"whether {ref.kind} {ref.name} is free"):
                    if await self._reconciler.objects.is_free(ref, taken_by):
                        refusals.forget(key, ref)
                        self._queue.add(key)
            await asyncio.sleep(_TAKEN_SECONDS)

    async def _resync(self, watchdog: Watchdog) -> None:
        """Queue all RuntimeServers every now and then, for ever: the watches may have missed something."""
        while True:
            for key in self._inventory.servers():
                self._queue.add(key)
            await asyncio.sleep(self._settings.resync.total_seconds() * _RANDOM.uniform(1 - _JITTER, 1 + _JITTER))
            try:
                if await optional_apis(self._cluster) != self._apis:
                    raise OperatorError(
                        "the optional APIs of the cluster have changed since the start: restart to watch them"
                    )
                await self._list(watchdog)
            except ClusterError as error:
                logger.warning("the resync is incomplete: %s", error)
            self._reconciler.look_again()

    async def _list_afresh(self, watchdog: Watchdog) -> None:
        """List, for ever, the collections whose watches began afresh, for these do not tell what was deleted before."""
        collections = {collection_path(*collection): collection for collection in self._collections()}
        failures: dict[str, int] = {}
        while True:
            path = await watchdog.afresh.get()
            try:
                keys = await self._list_one(*collections[path])
            except ClusterError as error:
                failures[path] = failures.get(path, 0) + 1
                wait = _BACKOFF.after(error, failures[path], _RANDOM.random()).total_seconds()
                logger.warning("%s is listed again in %.1f s: %s", path, wait, error)
                asyncio.get_running_loop().call_later(wait, watchdog.afresh.put_nowait, path)
            else:
                failures.pop(path, None)
                for key in keys:
                    self._queue.add(key)

    async def _begin(self, watchdog: Watchdog) -> None:
        """List everything for the first time.

        Raises:
            RefusedError: If nothing can be listed, or if the cluster does not have a kind, for it would never be
                watched.
        """
        refusals = await self._list(watchdog)
        missing = [refusal for refusal in refusals if isinstance(refusal, MissingError)]
        if missing or len(refusals) == len(list(self._collections())):
            raise (missing or refusals)[0]

    async def _list(self, watchdog: Watchdog) -> list[RefusedError]:
        """List everything, and return why some collections were refused."""
        refusals = []
        for kind, namespace in self._collections():
            try:
                await self._list_one(kind, namespace)
            except RefusedError as error:
                watchdog.refuse(collection_path(kind, namespace), str(error))
                refusals.append(error)
        return refusals

    async def _tell_refusals(self, watchdog: Watchdog) -> None:
        """Queue, for ever, the RuntimeServers of which a kind cannot be watched since a moment ago, or can be again."""
        collections = {collection_path(*collection): collection for collection in self._collections()}
        while True:
            path = await watchdog.retold.get()
            why = watchdog.refusals().get(path)
            logger.warning(
                "%s can be watched again" if why is None else "%s cannot be watched: %s", *filter(None, (path, why))
            )
            kind, namespace = collections[path]
            self._reconciler.set_unwatched(kind, namespace, why)
            for key in self._inventory.servers():
                if namespace in (None, key.namespace):
                    self._queue.add(key)

    async def _list_one(self, kind: ResourceKind, namespace: str | None) -> list[Key]:
        """List a collection and return the RuntimeServers to look after."""
        async with self._listing:
            self._inventory.begin_listing()
            listing = await self._cluster.list(kind, namespace, kind.selector)
            return self._inventory.see_all(kind, namespace, listing.objects, listing.version)

    async def _read_loads(self) -> None:
        while True:
            loads, answers = await asyncio.gather(
                self._reader.read(self._serving()), self._readiness.read(self._not_ready())
            )
            for key in {*loads, *answers}:
                self._queue.add(key)
            await asyncio.sleep(self._settings.load_interval.total_seconds())

    async def _autoscale(self) -> None:
        """Ask the apis of executors that are scaled, for ever: often, so that a job does not wait for a pod's start.

        Each is asked by itself, for one that does not answer must not delay the others.
        """
        asking = set[Key]()

        async def rescale(key: Key, *, serving: bool) -> None:
            with _going_on(key, "how many pods are needed"):
                load = await self._reader.load_of(key) if serving else None
                if self._reconciler.rescale(key, load):
                    self._queue.add(key)
            asking.discard(key)

        async with asyncio.TaskGroup() as group:
            while True:
                keys = set(self._reconciler.autoscaled())
                self._autoscaler.forget(keep=keys)
                for key in keys - asking:
                    asking.add(key)
                    group.create_task(rescale(key, serving=self._serves(key)))
                await asyncio.sleep(self._settings.autoscale_interval.total_seconds())

    async def _give_turns(self) -> None:
        """Queue, for ever, the RuntimeServers whose turn it is to be rolled out."""
        while self._turns.bounded:
            for key in self._turns.next(datetime.now(UTC)):
                self._queue.add(key)
            await asyncio.sleep(_TURN_SECONDS)

    def _collections(self) -> Iterator[tuple[ResourceKind, str | None]]:
        return ((kind, namespace) for kind in self._kinds for namespace in self._namespaces)

    def _not_ready(self) -> Iterator[tuple[Key, str, str]]:
        """Iterate over the pods of this operator's apis that run and are not ready: whose, their UID, where to ask."""
        for key in filter(self._claims.has, self._inventory.servers()):
            body = self._inventory.server(key) or {}
            tls = bool(body.get("spec", {}).get("tls", {}).get("secretName"))
            for _, known in self._inventory.parts(key, "Pod"):
                if address := address_to_ask(known.body):
                    yield key, known.uid, readiness_url(address, tls=tls)

    def _serving(self) -> Iterator[Key]:
        """Iterate over this operator's RuntimeServers whose api is ready."""
        return filter(self._serves, self._inventory.servers())

    def _serves(self, key: Key) -> bool:
        body = self._inventory.server(key)
        return body is not None and self._claims.has(key) and bool(body["status"].get("api", {}).get("ready"))


@contextmanager
def _going_on(key: Key, what: str) -> Iterator[None]:
    """Log why something about one RuntimeServer could not be found out, by a task that does the same for all others."""
    try:
        yield
    except LeadershipLostError:
        raise
    except ClusterError as error:
        logger.info("%s/%s: %s cannot be read: %s", *key, what, error, extra=_about(key))
    except Exception:  # one RuntimeServer must not keep the others from being looked after
        logger.exception("%s/%s: %s cannot be told", *key, what, extra=_about(key))


def _about(key: Key) -> dict[str, str]:
    """Return what a line of a JSON log has beside its message."""
    return {"namespace": key.namespace, "runtimeserver": key.name}


async def until_answered(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Return what the API server answers, once it does: it may be starting, or busy.

    Raises:
        RefusedError: If it will not.
    """
    failures = 0
    while True:
        try:
            return await ask()
        except RefusedError:
            raise
        except ClusterError as error:
            failures += 1
            wait = _BACKOFF.after(error, failures, _RANDOM.random())
            logger.warning("the API server is asked again in %.1f s: %s", wait.total_seconds(), error)
            await asyncio.sleep(wait.total_seconds())


async def optional_apis(cluster: Cluster) -> frozenset[OptionalApi]:
    """Return the optional APIs that the cluster has."""
    kinds = {kind.optional: kind for kind in watched_kinds(frozenset(OptionalApi)) if kind.optional}
    there = {api: await cluster.serves(kind.api_version, kind.plural) for api, kind in kinds.items()}
    return frozenset(api for api, served in there.items() if served)


def _context(settings: Settings, apis: frozenset[OptionalApi]) -> RenderContext:
    return RenderContext(
        images=DefaultImages(
            api=settings.api_image, executor=settings.executor_image, executor_gpu=settings.executor_gpu_image
        ),
        operator_namespace=settings.namespace,
        monitoring_namespaces=settings.monitoring_namespaces,
        apis=apis,
        json_logs=settings.log_format == "json",
    )
