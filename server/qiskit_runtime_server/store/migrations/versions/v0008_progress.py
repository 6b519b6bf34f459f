"""Jobs say how far they have come while they run."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Bring the schema here from the revision before."""
    progress = sa.Column("progress", sa.Text, comment="JSON; of the run that goes on, null while nothing is known")
    op.add_column("jobs", progress)
