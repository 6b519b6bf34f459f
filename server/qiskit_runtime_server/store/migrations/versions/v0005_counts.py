"""The counts of accounts on executors are called that, and say since when an account waits for its turn."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_MAY_RUN: Final = sa.text("queued > 0 AND running < max_running")


def upgrade() -> None:
    """Bring the schema here from the revision before."""
    op.drop_index("ledger_of_account", "ledger")
    op.drop_index("ledger_turn", "ledger")
    op.rename_table("ledger", "counts")
    op.execute("ALTER TABLE counts RENAME COLUMN last_served TO waiting_since")
    op.create_index("counts_of_account", "counts", ["account"])
    op.create_index(
        "counts_turn",
        "counts",
        ["executor", "share", "waiting_since"],
        sqlite_where=_MAY_RUN,
        postgresql_where=_MAY_RUN,
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER INDEX ledger_pkey RENAME TO counts_pkey")
        # Servers of the revision before, which run beside newer ones while a Deployment rolls, go on under the old
        # names: a view of one table can be read, locked, inserted into and updated like it. On SQLite one server at a
        # time has the folder, and a view there does not say how many rows an UPDATE has changed.
        op.execute(
            "CREATE VIEW ledger AS SELECT executor, account, queued, queued_in_sessions, running,"
            " waiting_since AS last_served, seconds, jobs, weight, max_running, share, claims_in_turn,"
            " session_claims_in_row FROM counts"
        )
