"""Sessions keep their states and slot time, slot times their sessions; admins can limit instances over the API."""

from datetime import timedelta

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Bring the schema here from the revision before."""
    op.add_column(
        "sessions",
        sa.Column(
            "expires",
            sa.DateTime(timezone=True),
            comment="When it accepts no more jobs; null before the first has started",
        ),
    )
    op.add_column(
        "sessions",
        sa.Column(
            "changes", sa.Text, nullable=False, server_default="[]", comment="JSON; states and when it came into them"
        ),
    )
    op.add_column(
        "sessions",
        sa.Column(
            "seconds", sa.Double, nullable=False, server_default="0", comment="Slot time of jobs that have ended"
        ),
    )
    op.create_index("sessions_of_account", "sessions", ["account", "created", "id"])
    op.add_column(
        "slot_times",
        sa.Column(
            "queue_seconds",
            sa.Double,
            nullable=False,
            server_default="0",
            comment="Until the run that ended it began",
        ),
    )
    op.add_column("slot_times", sa.Column("session_id", sa.String))
    op.create_index("slot_times_of_account", "slot_times", ["account", "ended"])
    op.create_index("slot_times_by_end", "slot_times", ["ended"])
    op.create_table(
        "instance_limits",
        sa.Column("account", sa.String, primary_key=True),
        sa.Column("instance", sa.String, primary_key=True),
        sa.Column("seconds_per_day", sa.Integer, nullable=False),
    )
    _fill_expires()


def _fill_expires() -> None:
    connection = op.get_bind()
    sessions = sa.table(
        "sessions",
        sa.column("id", sa.String),
        sa.column("first_job_started", sa.DateTime(timezone=True)),
        sa.column("max_ttl_seconds", sa.Double),
        sa.column("expires", sa.DateTime(timezone=True)),
    )
    started = sa.select(sessions).where(sessions.c.first_job_started.is_not(None))
    for row in connection.execute(started).all():
        expires = row.first_job_started + timedelta(seconds=row.max_ttl_seconds)
        connection.execute(sa.update(sessions).where(sessions.c.id == row.id).values(expires=expires))
