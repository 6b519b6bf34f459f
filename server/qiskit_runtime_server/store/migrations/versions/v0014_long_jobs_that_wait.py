"""Whether jobs wait that are known as long is told without reading the queue."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

_WAIT: Final = sa.text("state = 'Queued' AND held IS NULL AND long_since IS NOT NULL")


def upgrade() -> None:
    """Bring the schema here from the revision before."""
    op.create_index("jobs_waiting_long", "jobs", ["executor", "account"], sqlite_where=_WAIT, postgresql_where=_WAIT)
