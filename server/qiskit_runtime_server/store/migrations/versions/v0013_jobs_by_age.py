"""The jobs of all accounts are listed by age, and those of an account that run, without reading all of them."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Bring the schema here from the revision before."""
    op.create_index("jobs_by_age", "jobs", ["created", "id", "state"])
    running = sa.text("state = 'Running'")
    columns = ["account", "created", "id"]
    op.create_index("jobs_running", "jobs", columns, sqlite_where=running, postgresql_where=running)
