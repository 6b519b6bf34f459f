"""The tables, and the predicates that their partial indexes share with the queries.

A change here needs a migration; a test compares the two.
"""

from datetime import UTC, datetime
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Date,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    and_,
    func,
    literal_column,
    select,
)

from qiskit_runtime_server.jobs import JobState

HEAD: Final = "0014"
"""The newest migration: two digits for the minor release that brings it and two for its number there."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

UNLIMITED: Final = 2**31 - 1
"""Stands for no limit in columns that are compared."""


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes in and out, also where the database has no time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return `value` in UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return `value` with its time zone."""
        if value is None or value.tzinfo is not None:
            return value
        return value.replace(tzinfo=UTC)


CLOCK: Final = func.clock_timestamp(type_=UtcDateTime())
"""The store's clock: PostgreSQL's own, which goes on within a transaction; a function of ours on SQLite."""

ASK_CLOCK: Final = select(CLOCK)

metadata = MetaData()

sessions = Table(
    "sessions",
    metadata,
    Column("id", String, primary_key=True),
    Column("account", String, nullable=False),
    Column("instance", String, nullable=False),
    Column("backend", String, nullable=False),
    Column("mode", String, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("max_ttl_seconds", Double, nullable=False),
    Column("interactive_ttl_seconds", Double, nullable=False),
    Column("closed", UtcDateTime),
    Column("active_jobs", Integer, nullable=False),
    Column("first_job_started", UtcDateTime),
    Column("last_job_started", UtcDateTime),
    Column("last_job_completed", UtcDateTime),
    Column("expires", UtcDateTime, comment="When it accepts no more jobs; null before the first has started"),
    Column("changes", Text, nullable=False, server_default="[]", comment="JSON; states and when it came into them"),
    Column("seconds", Double, nullable=False, server_default="0", comment="Slot time of jobs that have ended"),
)
Index("sessions_of_account", sessions.c.account, sessions.c.created, sessions.c.id)
IS_UNUSED: Final = sessions.c.first_job_started.is_(None)
Index(
    "sessions_unused",
    sessions.c.created,
    sessions.c.id,
    sessions.c.account,
    sqlite_where=IS_UNUSED,
    postgresql_where=IS_UNUSED,
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String, primary_key=True),
    Column("account", String, nullable=False),
    Column("instance", String, nullable=False),
    Column("program_id", String, nullable=False),
    Column("backend", String, nullable=False),
    Column("executor", String, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("max_seconds", Integer, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("calibration_digest", String, nullable=False),
    Column("state", String, nullable=False),
    Column("reason", Text),
    Column("reason_code", Integer),
    Column("started", UtcDateTime),
    Column("finished", UtcDateTime),
    Column("session_id", String, ForeignKey("sessions.id")),
    Column("tags", Text, nullable=False, comment="JSON; in the order given"),
    Column("cost", Integer),
    Column("private", Boolean, nullable=False),
    Column("runtime", String),
    Column("log_level", String),
    Column("fence", Integer, nullable=False),
    Column("worker_deaths", Integer, nullable=False),
    Column("losses", Integer, nullable=False),
    Column("metrics", Text, nullable=False, comment="JSON"),
    Column("params_bytes", BigInteger, nullable=False, server_default="0", comment="As they were sent"),
    Column(
        "stored_bytes", BigInteger, nullable=False, server_default="0", comment="Of all documents, as they are kept"
    ),
    Column("max_qubits", Integer, comment="Of a part of a circuit"),
    Column("long_since", UtcDateTime, comment="Null while it counts as a short job"),
    Column("held", Text, comment="Why it is not started; null if it is when its turn comes"),
    Column("progress", Text, comment="JSON; of the run that goes on, null while nothing is known"),
    Column("routing", Text, comment="JSON; null if the client named the executor"),
    Column("predicted_seconds", Double, comment="On its executor; null if not known"),
    Column("traceparent", String, comment="Of its submission in a trace of OpenTelemetry"),
    Column("lease_until", Double, comment="Seconds on the store's lease clock"),
    Column("endpoint", String, comment="Of the last holder"),
    Column("boot_id", String, comment="Of the last holder"),
)


# Partial indexes are used only for predicates that are spelled like their own, so states are literals, not parameters.
def _state(state: JobState) -> ColumnElement[str]:
    return literal_column(f"'{state}'", String)


IS_QUEUED: Final = jobs.c.state == _state(JobState.QUEUED)
IS_RUNNING: Final = jobs.c.state == _state(JobState.RUNNING)
IS_PENDING: Final = jobs.c.state.in_([_state(JobState.QUEUED), _state(JobState.RUNNING)])
IS_ENDED: Final = jobs.c.state.not_in([_state(JobState.QUEUED), _state(JobState.RUNNING)])
IS_WAITING: Final = and_(IS_QUEUED, jobs.c.held.is_(None))
IS_WAITING_IN_SESSION: Final = and_(IS_WAITING, jobs.c.session_id.is_not(None))
IS_ROUTED: Final = and_(IS_WAITING, jobs.c.routing.is_not(None))
IS_SHORT: Final = jobs.c.long_since.is_(None)
IS_HELD: Final = and_(IS_QUEUED, jobs.c.held.is_not(None))
IS_WAITING_LONG: Final = and_(IS_WAITING, jobs.c.long_since.is_not(None))
IS_RUNNING_LONG: Final = and_(IS_RUNNING, jobs.c.long_since.is_not(None))


def _partial_index(name: str, *columns: Column[object], where: object) -> Index:
    return Index(name, *columns, sqlite_where=where, postgresql_where=where)


_AGE: Final = (jobs.c.created, jobs.c.id)
Index("jobs_of_account", jobs.c.account, *_AGE)
# With the state, so that looking for the few jobs in one reads no rows of others.
Index("jobs_by_age", *_AGE, jobs.c.state)
Index("jobs_of_session", jobs.c.session_id, *_AGE)
_partial_index("jobs_pending", jobs.c.account, *_AGE, where=IS_PENDING)
_partial_index("jobs_running", jobs.c.account, *_AGE, where=IS_RUNNING)
_partial_index("jobs_waiting", jobs.c.executor, *_AGE, where=IS_WAITING)
_partial_index("jobs_routed", jobs.c.executor, *_AGE, where=IS_ROUTED)
_partial_index("jobs_next", jobs.c.executor, jobs.c.account, *_AGE, where=IS_WAITING)
_partial_index("jobs_next_in_session", jobs.c.executor, jobs.c.account, *_AGE, where=IS_WAITING_IN_SESSION)
_partial_index("jobs_held", jobs.c.account, jobs.c.instance, where=IS_HELD)
_partial_index("jobs_waiting_long", jobs.c.executor, jobs.c.account, where=IS_WAITING_LONG)
_partial_index("jobs_long", jobs.c.executor, where=IS_RUNNING_LONG)
_partial_index("jobs_leases", jobs.c.executor, jobs.c.lease_until, where=IS_RUNNING)
_partial_index("jobs_ended", jobs.c.finished, jobs.c.id, where=IS_ENDED)
_partial_index("jobs_ended_of_account", jobs.c.account, jobs.c.finished, jobs.c.id, jobs.c.stored_bytes, where=IS_ENDED)

job_tags = Table(
    "job_tags",
    metadata,
    Column("account", String, primary_key=True),
    Column("tag", String, primary_key=True),
    Column("job_id", String, ForeignKey(jobs.c.id, ondelete="CASCADE"), primary_key=True),
)
Index("job_tags_of_job", job_tags.c.job_id)

documents = Table(
    "documents",
    metadata,
    Column("job_id", String, ForeignKey(jobs.c.id, ondelete="CASCADE"), primary_key=True),
    Column("kind", String, primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
    Column("codec", String, comment="How data is compressed; null if it is not"),
)

# `fair_share.Counts` as rows, and the slot time used: one row for every account that ever sent a job to the executor.
# Rows are never deleted.
counts = Table(
    "counts",
    metadata,
    Column("executor", String, primary_key=True),
    Column("account", String, primary_key=True),
    Column("queued", Integer, nullable=False),
    Column("queued_in_sessions", Integer, nullable=False),
    Column("running", Integer, nullable=False),
    Column("waiting_since", UtcDateTime, nullable=False),
    Column("seconds", Double, nullable=False, comment="Slot time of jobs that have ended"),
    Column("jobs", Integer, nullable=False, comment="That have ended after running"),
    Column("weight", Integer, nullable=False, server_default="1"),
    Column("max_running", Integer, nullable=False, server_default=str(UNLIMITED)),
    Column("share", Double, nullable=False, server_default="0", comment="Running jobs by weight"),
    Column("claims_in_turn", Integer, nullable=False, server_default="0"),
    Column("session_claims_in_row", Integer, nullable=False, server_default="0"),
)

MAY_RUN: Final = and_(counts.c.queued > literal_column("0"), counts.c.running < counts.c.max_running)

Index("counts_of_account", counts.c.account)
_partial_index("counts_turn", counts.c.executor, counts.c.share, counts.c.waiting_since, where=MAY_RUN)

# One row for every job that ended after running, also of those that were deleted since. Rows are never deleted.
slot_times = Table(
    "slot_times",
    metadata,
    Column("job_id", String, primary_key=True),
    Column("account", String, nullable=False),
    Column("instance", String, nullable=False),
    Column("executor", String, nullable=False),
    Column("program_id", String, nullable=False),
    Column("backend", String, nullable=False),
    Column("ended", UtcDateTime, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("queue_seconds", Double, nullable=False, server_default="0", comment="Until the run that ended it began"),
    Column("session_id", String),
)
Index("slot_times_of_account", slot_times.c.account, slot_times.c.ended)
Index("slot_times_by_end", slot_times.c.ended)

# Sums over the same times, by the day (UTC) on which runs ended: also what jobs have used that are not over yet.
usage_days = Table(
    "usage_days",
    metadata,
    Column("account", String, primary_key=True),
    Column("instance", String, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("executor", String, primary_key=True),
    Column("seconds", Double, nullable=False),
    Column("jobs", Integer, nullable=False),
)
Index("usage_days_by_day", usage_days.c.day)

# Executors that an admin has ever told to drain, or that have ever run a job that turned out to be long.
executors = Table(
    "executors",
    metadata,
    Column("name", String, primary_key=True),
    Column("draining", Boolean, nullable=False),
)

# Limits that admins have set over the API, in place of those in accounts.toml.
instance_limits = Table(
    "instance_limits",
    metadata,
    Column("account", String, primary_key=True),
    Column("instance", String, primary_key=True),
    Column("seconds_per_day", Integer, nullable=False),
)

# What has to outlive a restart of every api; of each name the newest row counts.
kept_texts = Table(
    "kept_texts",
    metadata,
    Column("name", String, primary_key=True),
    Column("since", UtcDateTime, primary_key=True, comment="When it became what it is"),
    Column("text", Text, nullable=False),
)
