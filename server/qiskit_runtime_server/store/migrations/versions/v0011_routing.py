"""Jobs say why they are on their executor, if it was chosen for them, and how long they take there."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Bring the schema here from the revision before."""
    op.add_column("jobs", sa.Column("routing", sa.Text, comment="JSON; null if the client named the executor"))
    op.add_column("jobs", sa.Column("predicted_seconds", sa.Double, comment="On its executor; null if not known"))
    routed = sa.text("state = 'Queued' AND held IS NULL AND routing IS NOT NULL")
    columns = ["executor", "created", "id"]
    op.create_index("jobs_routed", "jobs", columns, sqlite_where=routed, postgresql_where=routed)
