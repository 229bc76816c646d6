"""Connections: one pool that writes, one pool that can only read."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from db.errors import StoreError

BUSY_S = 20.0
"""How long a writer waits for another program's transaction."""

_WRITERS = 0x7E55E7A
"""Key of the PostgreSQL advisory lock that writers hold."""

READERS = 16
"""Connections that read at the same time; further readers wait for one of them."""


def url_of(path_or_url: str | Path) -> URL:
    """The database URL of a SQLite file, or of a text that is one already."""
    try:
        url = (
            make_url(path_or_url)
            if isinstance(path_or_url, str) and "://" in path_or_url
            else URL.create("sqlite", database=str(Path(path_or_url).absolute()))
        )
    except ArgumentError as error:
        raise StoreError("not a database URL", path_or_url) from error
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise StoreError("records must outlive the program: give a file", "SQLite in memory")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise StoreError("only SQLite and PostgreSQL are supported", place_of(url))
    return url


def place_of(url: URL) -> str:
    """What messages call the database: the file, or the URL without its password."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.render_as_string(hide_password=True)


def connect(url: URL) -> tuple[Engine, Engine]:
    """The engines of a database: the first writes one transaction at a time, the second reads.

    Writers of all programs take turns: each has the whole database to itself from its beginning,
    so that what it checks stays true and the outbox fills in the order of the commits.
    SQLite commits are flushed to the disk before they return (WAL, synchronous=FULL).
    Raises StoreError when the driver is not installed.
    """
    try:
        if url.get_backend_name() == "sqlite":
            return _connect_sqlite(url)
        return _connect_postgresql(url)
    except (ImportError, NoSuchModuleError) as error:
        raise StoreError(f"the database driver is not installed: {error}", place_of(url)) from error


@contextmanager
def refusing(where: str) -> Iterator[None]:
    """Turn what the database refuses into a StoreError that says what and where."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise StoreError(sentence_of(error), where) from error


def _connect_sqlite(url: URL) -> tuple[Engine, Engine]:
    arguments = {"timeout": BUSY_S, "check_same_thread": False, "isolation_level": None}
    writer = create_engine(
        url, poolclass=QueuePool, pool_size=1, max_overflow=0, connect_args=arguments
    )
    reader = create_engine(
        url, poolclass=QueuePool, pool_size=READERS, max_overflow=0, connect_args=arguments
    )
    event.listen(writer, "connect", _set_up_sqlite_writer)
    event.listen(reader, "connect", _set_up_sqlite_reader)
    event.listen(writer, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    event.listen(reader, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return writer, reader


def _connect_postgresql(url: URL) -> tuple[Engine, Engine]:
    writer = create_engine(url, pool_size=1, max_overflow=0, pool_pre_ping=True)
    event.listen(writer, "connect", _set_up_postgresql_writer)
    event.listen(writer, "begin", _take_turn)
    reader = create_engine(
        url,
        pool_size=READERS,
        max_overflow=0,
        pool_pre_ping=True,
        execution_options={"postgresql_readonly": True, "isolation_level": "REPEATABLE READ"},
    )
    return writer, reader


def _take_turn(connection: Connection) -> None:
    """Wait until no other program writes, so that what a writer checks stays true."""
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS})")


def _set_up_postgresql_writer(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute(f"SET lock_timeout = '{BUSY_S:.0f}s'")
    cursor.execute(f"SET idle_in_transaction_session_timeout = '{BUSY_S:.0f}s'")
    cursor.close()
    connection.commit()


def _set_up_sqlite_writer(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    _set(connection, "journal_mode", "wal")
    _set(connection, "synchronous", 2)
    _set(connection, "fullfsync", 1)
    _set(connection, "checkpoint_fullfsync", 1)
    _set(connection, "foreign_keys", 1)
    _set(connection, "recursive_triggers", 1)  # or REPLACE would delete past the triggers


def _set_up_sqlite_reader(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    _set(connection, "query_only", 1)


def _set(connection: DBAPIConnection, pragma: str, value: str | int) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA {pragma} = {value}")
    cursor.execute(f"PRAGMA {pragma}")
    row = cursor.fetchone()
    cursor.close()
    if row is None or row[0] != value:
        raise sqlite3.OperationalError(f"SQLite cannot set {pragma} to {value}, it says {row}")


def sentence_of(error: Exception) -> str:
    """What the database said, in words that help where they are known."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    said = str(cause).strip().splitlines()[0] if str(cause).strip() else type(error).__name__
    for sign, sentence in (
        ("disk is full", "the disk is full, nothing of this was stored"),
        ("No space left", "the disk is full, nothing of this was stored"),
        ("file is not a database", "this file is not a database"),
        ("lock timeout", "another program has held the database for too long"),
        ("database is locked", "another program has held the database for too long"),
        ("readonly database", "this database may only be read"),
        ("unable to open database file", "this file cannot be opened"),
    ):
        if sign in said:
            return f"{sentence}: {said}"
    return said
