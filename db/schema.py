"""Bringing a database to the schema of this program, or refusing it."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from db.errors import StoreError

REVISION = "0001"
"""The newest revision in `db/migrations/versions`."""

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(connection: Connection, where: object) -> None:
    """Create or migrate the schema inside the transaction that the connection is in.

    Raises StoreError when the database belongs to a newer version or to another program.
    """
    found = stored_revision(connection)
    if found == REVISION:
        return
    if found is None:
        strangers = inspect(connection).get_table_names()
        if strangers:
            names = ", ".join(sorted(strangers)[:5])
            raise StoreError(f"this database belongs to another program: it holds {names}", where)

    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise StoreError(
            f"this database has schema {found}, this program knows schemas up to {REVISION}: "
            "it was written by a newer version, update this program",
            where,
        )
    command.upgrade(config, "head")


def stored_revision(connection: Connection) -> str | None:
    """The schema revision that the database says it has, None when it says nothing."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision
