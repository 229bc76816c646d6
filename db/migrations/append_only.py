"""Triggers that keep what was written as it was written."""

from collections.abc import Sequence

from alembic import op


def refuse_changes(table: str) -> None:
    """Make a table append-only: the database itself refuses UPDATE, DELETE and TRUNCATE."""
    _refuse(table, "UPDATE", "update")
    _refuse(table, "DELETE", "delete")
    _refuse_truncate(table)


def freeze_columns(table: str, columns: Sequence[str]) -> None:
    """Make a table append-only, but let its other columns than these be updated."""
    _refuse(table, f"UPDATE OF {', '.join(columns)}", "update")
    _refuse(table, "DELETE", "delete")
    _refuse_truncate(table)


def prepare() -> None:
    """Create what the triggers call, where the database needs that."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ "
            "BEGIN RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP "
            "USING ERRCODE = 'integrity_constraint_violation'; END $$"
        )


def _refuse(table: str, event: str, name: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f'CREATE TRIGGER {table}_no_{name} BEFORE {event} ON "{table}" '
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
    else:
        op.execute(
            f'CREATE TRIGGER {table}_no_{name} BEFORE {event} ON "{table}" '
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only: {name} refused'); END"
        )


def _refuse_truncate(table: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f'CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON "{table}" '
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
