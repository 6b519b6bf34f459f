"""Sessions keep their states and slot time, slot times their sessions; admins can limit instances over the API."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Bring the schema here from the revision before."""
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
    op.create_table(
        "instance_limits",
        sa.Column("account", sa.String, primary_key=True),
        sa.Column("instance", sa.String, primary_key=True),
        sa.Column("seconds_per_day", sa.Integer, nullable=False),
    )
