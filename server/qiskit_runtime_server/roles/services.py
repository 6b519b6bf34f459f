"""What stands behind the API of a process: its store, its pools, its dispatcher, its sweeper and its keys."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from pydantic import SecretStr

from qiskit_runtime_server.accounts.identity import AccessTokens, Anonymous, Directory
from qiskit_runtime_server.accounts.outsiders import Outsiders
from qiskit_runtime_server.accounts.principal import IssuerName
from qiskit_runtime_server.api.answers import AnswerBudget
from qiskit_runtime_server.api.rates import Rates
from qiskit_runtime_server.api.services import Services
from qiskit_runtime_server.backends.aliases import Aliases
from qiskit_runtime_server.backends.catalog import Catalog
from qiskit_runtime_server.backends.names import AUTO, DRY_RUN
from qiskit_runtime_server.byte_budget import ByteBudget
from qiskit_runtime_server.chaos.chaos import Chaos
from qiskit_runtime_server.chaos.faults import Faults
from qiskit_runtime_server.dispatch import job_log
from qiskit_runtime_server.dispatch.allowances import Allowances
from qiskit_runtime_server.dispatch.dispatcher import Dispatcher
from qiskit_runtime_server.dispatch.endings import Endings
from qiskit_runtime_server.dispatch.metrics import JobMetrics
from qiskit_runtime_server.dispatch.queue_spans import QueueSpans
from qiskit_runtime_server.dispatch.sweeper import Sweeper
from qiskit_runtime_server.errors import MalformedRequestError, StartupError
from qiskit_runtime_server.log.spans import NO_SPANS, Spans
from qiskit_runtime_server.roles.accounts_file import keep_accounts_file, open_token_folder
from qiskit_runtime_server.roles.issuers import issuers_of
from qiskit_runtime_server.roles.pools import auto_of, offers_auto, pools_of
from qiskit_runtime_server.roles.process import is_loopback
from qiskit_runtime_server.roles.selftest import run_selftest
from qiskit_runtime_server.settings import Settings
from qiskit_runtime_server.store.port import Load, Retention, Store
from qiskit_runtime_server.store.sqlite.database import open_sqlite
from qiskit_runtime_server.store.sqlite.folder import KEY_NAME
from qiskit_runtime_server.waiting import KeptTasks
from qiskit_runtime_server.worker.slots import Slots, all_or_none

if TYPE_CHECKING:
    from qiskit_runtime_server.executors.base import BaseExecutor

# A part of `max_held_bytes`; the rest is for uploads, and for jobs and results inside.
_FOR_ANSWERS: Final = 4


@asynccontextmanager
async def run_services(
    settings: Settings,
    metrics: JobMetrics,
    executors: "Mapping[str, BaseExecutor] | None" = None,
    spans: Spans = NO_SPANS,
) -> AsyncIterator[Services]:
    """Start everything behind the API, and stop it at the end: jobs that still run then go back to the queue.

    Raises:
        StartupError: If a part does not come up.
    """
    issuers = issuers_of(settings)
    _check_tokens(settings, issuers.names())
    catalog = _catalog(settings)
    chaos = _chaos(settings)
    for_answers = settings.max_held_bytes // _FOR_ANSWERS
    budget = ByteBudget(settings.max_held_bytes - for_answers)
    pools = pools_of(settings, executors, budget, spans)
    auto = auto_of(settings, pools)
    offered = [*([AUTO] if offers_auto(settings, pools) else []), *pools]
    aliases = Aliases.read(
        settings.aliases,
        [*catalog.names(), *chaos.names(catalog.names())],
        offered,
        default_executor=settings.default_executor,
        reserved_prefixes=(DRY_RUN, settings.chaos_prefix),
    )
    metrics.expect(offered)
    store = await _open_store(settings)
    metrics.count_ends(store.signals)
    store.signals.on_end(job_log.ended)
    queue_spans = QueueSpans(spans)
    store.signals.on_end(queue_spans.ended)
    keeping = KeptTasks()
    try:
        directory = await _directory(settings, store, keeping, issuers.names())
        await all_or_none(pool.start() for pool in pools.values())
        await all_or_none(run_selftest(name, pool) for name, pool in pools.items() if isinstance(pool, Slots))
        endings = Endings()
        following = asyncio.create_task(endings.follow(store.signals))
        dispatcher = Dispatcher(
            store,
            pools,
            metrics,
            budget,
            lease=settings.lease,
            short=settings.short_job,
            chaos=chaos,
            aliases=aliases,
            auto=auto if AUTO in offered or await _is_left(store) else None,
            queue_spans=queue_spans,
            allowances=Allowances(directory, store, settings.max_seconds, lambda: datetime.now(UTC)),
        )
        dispatcher.start()
        sweeping = asyncio.create_task(_sweeper(settings, store, metrics).run())
        services = Services(
            settings=settings,
            access_tokens=AccessTokens(
                directory,
                _signing_key(settings),
                settings.access_token_lifetime,
                settings.auth_recheck,
                also=_secret(settings.signing_key_also),
            ),
            issuers=issuers,
            catalog=catalog,
            pools=pools,
            auto=auto if AUTO in offered else None,
            store=store,
            dispatcher=dispatcher,
            endings=endings,
            metrics=metrics,
            budget=budget,
            answers=AnswerBudget(for_answers),
            rates=Rates(settings),
            chaos=chaos,
            aliases=aliases,
        )
        try:
            yield services
        finally:
            endings.close()
            sweeping.cancel()
            await dispatcher.drain(timedelta(0))
            following.cancel()
    finally:
        await keeping.cancel()
        for pool in pools.values():
            await pool.stop()
        await store.close()
        await issuers.close()


async def _is_left(store: Store) -> bool:
    """Return whether jobs wait for the choice of an executor, from a time when that was offered."""
    load = (await store.counts.load()).get(AUTO, Load())
    return bool(load.queued or load.running)


def _catalog(settings: Settings) -> Catalog:
    catalog = Catalog(snapshots=settings.snapshots, include=settings.backends)
    if not catalog.names():
        everything = [str(name) for name in Catalog(snapshots=settings.snapshots).names()]
        nearest = get_close_matches(settings.backends[0], everything, n=3, cutoff=0.5) or everything[:3]
        raise StartupError(
            f"QRS_BACKENDS: no device is called {' or '.join(settings.backends)}, so that there would be none at all:"
            f" give names or patterns as in {' '.join(nearest)} or fake_*."
        )
    return catalog


def _chaos(settings: Settings) -> Chaos:
    if settings.chaos and (settings.database_url or settings.database_url_file):
        raise StartupError("QRS_CHAOS: faults are counted by one process: leave out the database that servers share.")
    try:
        faults = Faults().but(settings.chaos_faults)
    except MalformedRequestError as error:
        raise StartupError(f"QRS_CHAOS_FAULTS: {error}") from error
    return Chaos(settings.chaos, faults, settings.chaos_seed, prefix=settings.chaos_prefix)


def _sweeper(settings: Settings, store: Store, metrics: JobMetrics) -> Sweeper:
    retention = Retention(age=settings.retain_for, jobs=settings.retain_jobs, stored_bytes=settings.retain_bytes)
    return Sweeper(store.archive, retention, metrics, every=settings.sweep_every)


async def _open_store(settings: Settings) -> Store:
    url = settings.database_url_file or _secret(settings.database_url)
    if url is None:
        return await open_sqlite(settings.data_dir, wait=settings.data_dir_wait, keep_free=settings.keep_free)
    if settings.signing_key is None:
        raise StartupError(
            "Servers that share a database need the same signing key: set QRS_SIGNING_KEY, the same for all."
        )
    from qiskit_runtime_server.store.postgresql.database import open_postgresql  # noqa: PLC0415 - SQLite does without asyncpg

    return await open_postgresql(
        url,
        direct_url=settings.database_direct_url_file or _secret(settings.database_direct_url),
        prepared_statements=settings.database_prepared_statements,
    )


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()


def _check_tokens(settings: Settings, issuers: Collection[IssuerName]) -> None:
    if issuers and settings.anonymous:
        raise StartupError(
            f"QRS_ANONYMOUS: any token would do, so that nobody could ask {', '.join(issuers)} about it."
        )
    if settings.tokens is not None:
        if not settings.tokens.is_dir():
            raise StartupError(f"The token folder {settings.tokens} does not exist.")
    elif not issuers and not settings.anonymous and not is_loopback(settings.host):
        raise StartupError(
            f"Anybody who reaches {settings.host} could use this server: give a token folder (--tokens DIR)"
            " or say --anonymous."
        )


async def _directory(
    settings: Settings, store: Store, keeping: KeptTasks, issuers: Collection[IssuerName]
) -> Directory:
    if settings.tokens is None:
        if issuers:
            return Outsiders(issuers)
        return Anonymous()
    folder = await open_token_folder(settings.tokens, store.overviews, issuers)
    keeping.begin(keep_accounts_file(folder, store.overviews))
    return folder


def _signing_key(settings: Settings) -> str:
    if settings.signing_key is not None:
        return settings.signing_key.get_secret_value()
    path = settings.data_dir / KEY_NAME
    if not path.exists():
        # Under its own name only once it is whole; the folder's lock keeps others away.
        draft = path.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(48))
        draft.replace(path)
    return path.read_text().strip()
