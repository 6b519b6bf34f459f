"""Slot time is kept by job and by day, executors can be drained, and jobs know how large their circuits may be."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Bring the schema here from the revision before."""
    op.add_column("jobs", sa.Column("max_qubits", sa.Integer, comment="Of a part of a circuit"))
    op.create_table(
        "slot_times",
        sa.Column("job_id", sa.String, primary_key=True),
        sa.Column("account", sa.String, nullable=False),
        sa.Column("instance", sa.String, nullable=False),
        sa.Column("executor", sa.String, nullable=False),
        sa.Column("program_id", sa.String, nullable=False),
        sa.Column("backend", sa.String, nullable=False),
        sa.Column("ended", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
    )
    op.create_table(
        "usage_days",
        sa.Column("account", sa.String, primary_key=True),
        sa.Column("instance", sa.String, primary_key=True),
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("executor", sa.String, primary_key=True),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("jobs", sa.Integer, nullable=False),
    )
    op.create_index("usage_days_by_day", "usage_days", ["day"])
    op.create_table(
        "executors",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("draining", sa.Boolean, nullable=False),
    )
