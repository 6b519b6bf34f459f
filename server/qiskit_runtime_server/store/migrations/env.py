"""Runs migrations on the connection that `store.sql.migration` hands over."""

from alembic import context

from qiskit_runtime_server.store.sql.schema import metadata

# SQLite changes tables only by copying them, which `render_as_batch` writes into new migrations.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
