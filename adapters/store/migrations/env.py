"""Alembic's entry: runs the revisions on a connection that `adapters.store.schema` opened.

The caller owns the transaction, so an upgrade is applied whole or not at all on both databases.
"""

from alembic import context

from adapters.store.schema.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
