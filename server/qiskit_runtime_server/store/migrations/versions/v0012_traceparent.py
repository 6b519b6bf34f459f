"""Jobs say where their submission belongs in a trace of OpenTelemetry, and so does what becomes of them."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Bring the schema here from the revision before."""
    op.add_column("jobs", sa.Column("traceparent", sa.String, comment="Of its submission in a trace of OpenTelemetry"))
