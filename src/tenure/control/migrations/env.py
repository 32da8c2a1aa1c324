"""Runs the steps inside the transaction that `ControlDatabase.open` holds, so that a crash leaves none half done."""

from alembic import context

from tenure.control.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
