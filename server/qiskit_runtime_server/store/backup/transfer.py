"""Copies a whole store from one database to another, and makes what was copied a store of its own."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Select, func, insert, select, update

from qiskit_runtime_server.jobs import RetryReason, requeued
from qiskit_runtime_server.store.sql import transitions
from qiskit_runtime_server.store.sql.rows import JOB_COLUMNS, job_of
from qiskit_runtime_server.store.sql.schema import IS_RUNNING, documents, jobs, metadata

# Rows of documents have up to 1 MiB each.
_ROWS: Final = 1000
_ROWS_OF_DOCUMENTS: Final = 16
_PORTION: Final = 100

_A_JOB: Final = select(jobs.c.id).limit(1)
"""Any job."""

_HOW_MANY: Final = select(func.count()).select_from(jobs)
"""How many jobs there are; reads a whole index."""

_RUNNING: Final = select(*JOB_COLUMNS).where(IS_RUNNING).limit(_PORTION)
"""Some of the jobs that run. Index `jobs_leases`."""

_FORGET_HOLDERS: Final = update(jobs).where(IS_RUNNING).values(endpoint=None, boot_id=None)
"""Forgets who ran jobs. Index `jobs_leases`."""


def has_jobs(connection: Connection) -> bool:
    """Return whether a database of this release has a job."""
    return connection.scalar(_A_JOB) is not None


def number_of_jobs(connection: Connection) -> int:
    """Return how many jobs a database of this release has."""
    return connection.execute(_HOW_MANY).scalar_one()


def copy_rows(source: Connection, target: Connection) -> None:
    """Copy all rows of all tables, in portions that fit into memory; both have the schema of this release.

    Args:
        source: In a transaction that sees one moment.
        target: In a transaction; its tables are empty.
    """
    for table in metadata.sorted_tables:
        size = _ROWS_OF_DOCUMENTS if table is documents else _ROWS
        rows: Select[tuple[object, ...]] = select(table)
        found = source.execution_options(yield_per=size).execute(rows)
        for portion in found.mappings().partitions():
            target.execute(insert(table), [dict(row) for row in portion])


def queue_again(connection: Connection, now: Callable[[Connection], datetime]) -> int:
    """Bring all jobs that ran to their places in the queue, without an attempt used, and return how many.

    Whoever ran them may still do so, for the store that this is a copy of.
    """
    connection.execute(_FORGET_HOLDERS)
    number = 0
    while portion := connection.execute(_RUNNING).mappings().all():
        for row in portion:
            ran, at = job_of(row), now(connection)
            queued = requeued(ran, RetryReason.NOT_STARTED, at, reason="")
            transitions.requeue(connection, ran, queued, at)
        number += len(portion)
    return number
