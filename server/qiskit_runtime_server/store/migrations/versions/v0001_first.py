"""The first schema."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_QUEUED: Final = "state = 'Queued'"
_PENDING: Final = "state IN ('Queued', 'Running')"
_RUNNING: Final = "state = 'Running'"


def upgrade() -> None:
    """Bring the schema here from the revision before."""
    _create_sessions()
    _create_jobs()
    _create_documents()
    _create_ledger()


def _time(name: str, *, nullable: bool = True) -> "sa.Column[object]":
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _create_sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("account", sa.String, nullable=False),
        sa.Column("instance", sa.String, nullable=False),
        sa.Column("backend", sa.String, nullable=False),
        sa.Column("mode", sa.String, nullable=False),
        _time("created", nullable=False),
        sa.Column("max_ttl_seconds", sa.Double, nullable=False),
        sa.Column("interactive_ttl_seconds", sa.Double, nullable=False),
        _time("closed"),
        sa.Column("active_jobs", sa.Integer, nullable=False),
        _time("first_job_started"),
        _time("last_job_started"),
        _time("last_job_completed"),
    )


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("account", sa.String, nullable=False),
        sa.Column("instance", sa.String, nullable=False),
        sa.Column("program_id", sa.String, nullable=False),
        sa.Column("backend", sa.String, nullable=False),
        sa.Column("executor", sa.String, nullable=False),
        _time("created", nullable=False),
        sa.Column("max_seconds", sa.Integer, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("calibration_digest", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("reason_code", sa.Integer),
        _time("started"),
        _time("finished"),
        sa.Column("session_id", sa.String, sa.ForeignKey("sessions.id")),
        sa.Column("tags", sa.Text, nullable=False, comment="JSON; in the order given"),
        sa.Column("cost", sa.Integer),
        sa.Column("private", sa.Boolean, nullable=False),
        sa.Column("runtime", sa.String),
        sa.Column("log_level", sa.String),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("worker_deaths", sa.Integer, nullable=False),
        sa.Column("losses", sa.Integer, nullable=False),
        sa.Column("metrics", sa.Text, nullable=False, comment="JSON"),
        sa.Column("lease_until", sa.Double, comment="Seconds on the store's lease clock"),
        sa.Column("endpoint", sa.String, comment="Of the last holder"),
        sa.Column("boot_id", sa.String, comment="Of the last holder"),
    )
    op.create_index("jobs_of_account", "jobs", ["account", "created", "id"])
    op.create_index("jobs_of_session", "jobs", ["session_id", "created", "id"])
    _create_partial_index("jobs_pending", "jobs", ["account", "created", "id"], where=_PENDING)
    _create_partial_index("jobs_queued", "jobs", ["executor", "created", "id"], where=_QUEUED)
    _create_partial_index("jobs_next", "jobs", ["executor", "account", "created", "id"], where=_QUEUED)
    _create_partial_index(
        "jobs_next_in_session",
        "jobs",
        ["executor", "account", "created", "id"],
        where=f"{_QUEUED} AND session_id IS NOT NULL",
    )
    _create_partial_index("jobs_leases", "jobs", ["executor", "lease_until"], where=_RUNNING)


def _create_documents() -> None:
    op.create_table(
        "job_tags",
        sa.Column("account", sa.String, primary_key=True),
        sa.Column("tag", sa.String, primary_key=True),
        sa.Column("job_id", sa.String, sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    )
    op.create_index("job_tags_of_job", "job_tags", ["job_id"])
    op.create_table(
        "documents",
        sa.Column("job_id", sa.String, sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("kind", sa.String, primary_key=True),
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )


def _create_ledger() -> None:
    op.create_table(
        "ledger",
        sa.Column("executor", sa.String, primary_key=True),
        sa.Column("account", sa.String, primary_key=True),
        sa.Column("queued", sa.Integer, nullable=False),
        sa.Column("queued_in_sessions", sa.Integer, nullable=False),
        sa.Column("running", sa.Integer, nullable=False),
        _time("last_served", nullable=False),
        sa.Column("seconds", sa.Double, nullable=False, comment="Slot time of jobs that have ended"),
        sa.Column("jobs", sa.Integer, nullable=False, comment="That have ended after running"),
    )
    op.create_index("ledger_of_account", "ledger", ["account"])
    share = ["executor", "running", "last_served"]
    _create_partial_index("ledger_next", "ledger", share, where="queued > 0")
    _create_partial_index("ledger_next_in_session", "ledger", share, where="queued_in_sessions > 0")


def _create_partial_index(name: str, table: str, columns: list[str], *, where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
