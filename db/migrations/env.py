"""Run by alembic: hands the connection that `db.schema` opened to the revisions."""

from alembic import context

from db.model import Fact

with_connection = context.config.attributes["connection"]
context.configure(
    connection=with_connection,
    target_metadata=Fact.metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
