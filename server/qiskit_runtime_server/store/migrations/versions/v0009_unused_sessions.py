"""Sessions that are never used are found, so that they can be removed."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Bring the schema here from the revision before."""
    unused = sa.text("first_job_started IS NULL")
    columns = ["created", "id", "account"]
    op.create_index("sessions_unused", "sessions", columns, sqlite_where=unused, postgresql_where=unused)
