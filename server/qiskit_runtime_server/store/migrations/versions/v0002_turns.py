"""Accounts wait for turns, by weight."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_MAY_RUN: Final = sa.text("queued > 0 AND running < max_running")


def upgrade() -> None:
    """Bring the schema here from the revision before."""
    for column in (
        sa.Column("weight", sa.Integer, nullable=False, server_default="1"),
        sa.Column("max_running", sa.Integer, nullable=False, server_default="2147483647"),
        sa.Column("share", sa.Double, nullable=False, server_default="0", comment="Running jobs by weight"),
        sa.Column("claims_in_turn", sa.Integer, nullable=False, server_default="0"),
        sa.Column("session_claims_in_row", sa.Integer, nullable=False, server_default="0"),
    ):
        op.add_column("ledger", column)
    op.execute("UPDATE ledger SET share = running")
    # Servers of the revision before still find what they look for, one row for each account, without these.
    op.drop_index("ledger_next", "ledger")
    op.drop_index("ledger_next_in_session", "ledger")
    op.create_index(
        "ledger_turn",
        "ledger",
        ["executor", "share", "last_served"],
        sqlite_where=_MAY_RUN,
        postgresql_where=_MAY_RUN,
    )
