"""The accounts file that was valid last is kept, so that a broken one does not undo limits when a server starts."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Bring the schema here from the revision before."""
    op.create_table(
        "kept_texts",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("since", sa.DateTime(timezone=True), primary_key=True, comment="When it became what it is"),
        sa.Column("text", sa.Text, nullable=False),
    )
