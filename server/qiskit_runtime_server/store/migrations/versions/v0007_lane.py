"""Jobs are held while their account may not start them, and are known as long once they have turned out to be."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_WAITING: Final = "state = 'Queued' AND held IS NULL"


def upgrade() -> None:
    """Bring the schema here from the revision before."""
    since = sa.Column("long_since", sa.DateTime(timezone=True), comment="Null while it counts as a short job")
    op.add_column("jobs", since)
    why = "Why it is not started; null if it is when its turn comes"
    op.add_column("jobs", sa.Column("held", sa.Text, comment=why))
    for name in ("jobs_queued", "jobs_next", "jobs_next_in_session"):
        op.drop_index(name, "jobs")
    # Servers of the revision before, which know nothing of holds, start held jobs; their counts stay right with that.
    _create_index("jobs_waiting", "executor", "created", "id", where=_WAITING)
    _create_index("jobs_next", "executor", "account", "created", "id", where=_WAITING)
    in_session = f"{_WAITING} AND session_id IS NOT NULL"
    _create_index("jobs_next_in_session", "executor", "account", "created", "id", where=in_session)
    _create_index("jobs_held", "account", "instance", where="state = 'Queued' AND held IS NOT NULL")
    _create_index("jobs_long", "executor", where="state = 'Running' AND long_since IS NOT NULL")


def _create_index(name: str, *columns: str, where: str) -> None:
    op.create_index(name, "jobs", list(columns), sqlite_where=sa.text(where), postgresql_where=sa.text(where))
