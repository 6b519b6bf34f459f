"""Documents may be compressed, jobs know how large theirs are, and ended ones are found by age and by account."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Bring the schema here from the revision before."""
    op.add_column("documents", sa.Column("codec", sa.String, comment="How data is compressed; null if it is not"))
    _add_size("params_bytes", "As they were sent")
    _add_size("stored_bytes", "Of all documents, as they are kept")
    if op.get_bind().dialect.name == "postgresql":
        # What can be compressed is; the database's own try would only cost time.
        op.execute("ALTER TABLE documents ALTER COLUMN data SET STORAGE EXTERNAL")
    _index_ended("jobs_ended", ["finished", "id"])
    _index_ended("jobs_ended_of_account", ["account", "finished", "id", "stored_bytes"])


def _index_ended(name: str, columns: list[str]) -> None:
    ended = sa.text("(state NOT IN ('Queued', 'Running'))")
    op.create_index(name, "jobs", columns, sqlite_where=ended, postgresql_where=ended)


def _add_size(name: str, comment: str) -> None:
    op.add_column("jobs", sa.Column(name, sa.BigInteger, nullable=False, server_default="0", comment=comment))
