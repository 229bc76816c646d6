"""The store: facts go in, each once, and never change."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

from sqlalchemy import Connection, Engine, select, update
from sqlmodel import Session

from db import files, ledger, schema
from db.engine import connect, place_of, refusing, sentence_of, url_of
from db.errors import StoreError
from db.ledger import Entry
from db.model import (
    Assembly,
    Attachment,
    Fact,
    Operator,
    Outbox,
    Part,
    Recipe,
    Run,
    RunEnd,
    Site,
    Station,
    table_of,
)
from db.rows import fact_of, row_of

AnyFact = TypeVar("AnyFact", bound=Fact)


def open_store(path_or_url: str | Path, attachments: Path) -> "Store":
    """Open the records, creating or migrating the database where needed.

    `path_or_url` is a SQLite file or a database URL (sqlite, postgresql), `attachments` the folder
    for files. Raises StoreError when the file is no database, belongs to another program or to a
    newer version of this one, or cannot be opened.
    """
    url = url_of(path_or_url)
    where = place_of(url)
    try:
        attachments.mkdir(parents=True, exist_ok=True)
        if url.get_backend_name() == "sqlite":
            Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the folder: {error}", where) from error
    writer, reader = connect(url)
    try:
        with refusing(where), writer.begin() as connection:
            schema.upgrade(connection, where)
    except BaseException:
        writer.dispose()
        reader.dispose()
        raise
    return Store(writer, reader, attachments, where)


class Store:
    """The records of a station. One store serves all threads of a program.

    Writers take turns, readers never wait for them. Everything raises StoreError when the database
    or the disk refuses; then nothing of that call was stored.
    """

    def __init__(self, writer: Engine, reader: Engine, attachments: Path, where: str) -> None:
        self._writer = writer
        self._reader = reader
        self.attachments = attachments
        self.where = where

    def record(self, *facts: Fact) -> None:
        """Store facts in one transaction, each with its row in the outbox.

        Facts may refer to each other in any order. A fact that is stored already is left alone if
        it says the same, so recording again after a crash is safe.
        Raises StoreError when a fact breaks a rule of its class, repeats an id with different
        content, refers to something that is not there, or supersedes what it must not.
        """
        entries = [self._entry(fact) for fact in facts]
        if any(entry.model is Attachment for entry in entries):
            raise StoreError("attachments are stored by attach(), with their bytes", self.where)
        if entries:
            with self._writing() as connection:
                ledger.add(connection, entries, self.where)

    def attach(self, data: bytes, media_type: str) -> str:
        """Store bytes as a file, once, and return their SHA-256.

        The file is on the disk before its row is: a crash in between leaves a file without a row.
        Raises StoreError when the disk refuses or the bytes are stored as another media type.
        """
        (sha256,) = self.attach_all([(data, media_type)])
        return sha256

    def attach_all(self, items: Iterable[tuple[bytes, str]]) -> list[str]:
        """Store several (bytes, media type) as files, their rows in one transaction.

        Returns the SHA-256 of each in the same order. Raises StoreError as `attach` does.
        """
        attachments = [
            Attachment(
                sha256=files.keep(self.attachments, data),
                size_bytes=len(data),
                media_type=media_type,
                made_at=datetime.now(UTC),
            )
            for data, media_type in items
        ]
        entries = {attachment.sha256: self._entry(attachment) for attachment in attachments}
        with self._writing() as connection:
            stored = ledger.stored_rows(connection, Attachment, entries)
            fresh = [entry for key, entry in entries.items() if key not in stored]
            ledger.add(connection, fresh, self.where)
            for attachment in attachments:
                known = stored.get(attachment.sha256, entries[attachment.sha256].row)
                if known["media_type"] != attachment.media_type:
                    raise StoreError(
                        f"attachment {attachment.sha256} is {known['media_type']}, "
                        f"not {attachment.media_type}",
                        self.where,
                    )
        return [attachment.sha256 for attachment in attachments]

    def read_attachment(self, sha256: str) -> bytes:
        """The bytes of an attachment. Raises StoreError when they are missing or were changed."""
        return files.read(self.attachments, sha256)

    def attachment_path(self, sha256: str) -> Path:
        """Where the file of an attachment lies. Raises StoreError for what is no SHA-256."""
        return files.path_of(self.attachments, sha256)

    def get_part(self, label: str) -> Part | None:
        """The part with this label, None when there is none."""
        table = table_of(Part)
        return self._one(Part, table.c.label == label)

    def part(self, part_id: UUID) -> Part:
        """The part with this id. Raises StoreError when there is none."""
        part = self._one(Part, table_of(Part).c.id == part_id)
        if part is None:
            raise StoreError(f"no part with id {part_id}", self.where)
        return part

    def ensure_part(self, part: Part) -> Part:
        """The stored part with this label; the given one is stored if there is none.

        A part without a label is always stored. Raises StoreError when the stored part is of
        another kind or subtype.
        """
        if part.label is None:
            self.record(part)
            return part
        return self._ensure(part, by=("label",), agreeing=("kind", "subtype"))

    def ensure_site(self, site: Site) -> Site:
        """The stored site of this name; the given one is stored if there is none."""
        return self._ensure(site, by=("name",), agreeing=("code",))

    def ensure_station(self, station: Station) -> Station:
        """The stored station of this site and name; the given one is stored if there is none."""
        return self._ensure(station, by=("site_id", "name"), agreeing=())

    def ensure_operator(self, operator: Operator) -> Operator:
        """The stored operator of this site and name; the given one is stored if there is none."""
        return self._ensure(operator, by=("site_id", "name"), agreeing=())

    def ensure_recipe(self, recipe: Recipe) -> Recipe:
        """The stored recipe of this SHA-256; the given one is stored if there is none.

        Raises StoreError when the stored one has another name, version or content.
        """
        return self._ensure(recipe, by=("sha256",), agreeing=("name", "version", "content"))

    def open_runs(self, station_id: UUID) -> list[Run]:
        """The runs of a station that have not ended, oldest first."""
        run, end = table_of(Run), table_of(RunEnd)
        query = (
            select(run)
            .outerjoin(end, end.c.run_id == run.c.id)
            .where(run.c.station_id == station_id, end.c.run_id.is_(None))
            .order_by(run.c.started_at, run.c.id)
        )
        with self.reading() as connection:
            return [fact_of(Run, row._asdict()) for row in connection.execute(query)]

    def current_assembly(self, child_id: UUID) -> Assembly | None:
        """Where a part is built in now, None when it is in nothing."""
        with self.reading() as connection:
            rows = ledger.current_assemblies(connection, children=[child_id])
        return fact_of(Assembly, rows[0]) if rows else None

    def unsent(self, limit: int = 1000) -> list[Outbox]:
        """The oldest rows of the outbox that were not sent yet, in the order to send them."""
        table = table_of(Outbox)
        query = select(table).where(table.c.sent_at.is_(None)).order_by(table.c.seq).limit(limit)
        with self.reading() as connection:
            return [fact_of(Outbox, row._asdict()) for row in connection.execute(query)]

    def mark_sent(self, seqs: Collection[int], at: datetime) -> None:
        """Note that these rows of the outbox have arrived; the first such time stays."""
        table = table_of(Outbox)
        with self._writing() as connection:
            for chunk in ledger.chunks(seqs):
                connection.execute(
                    update(table)
                    .where(table.c.seq.in_(chunk), table.c.sent_at.is_(None))
                    .values(sent_at=at)
                )

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session that can only read, and sees one moment of the records throughout."""
        with refusing(self.where), Session(self._reader, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that can only read, and sees one moment of the records throughout."""
        with refusing(self.where), self._reader.connect() as connection:
            yield connection

    def close(self) -> None:
        """Close all connections. Calls that come later open new ones."""
        self._reader.dispose()
        self._writer.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        try:
            with refusing(self.where), self._writer.begin() as connection:
                yield connection
        except ledger.RejectedError as rejected:
            with self.reading() as connection:
                reason = ledger.missing_reference(connection, rejected.entries)
            raise StoreError(reason or sentence_of(rejected.error), self.where) from rejected.error

    def _entry(self, fact: Fact) -> Entry:
        try:
            return Entry(type(fact), row_of(fact))
        except ValueError as error:
            raise StoreError(str(error), self.where) from error

    def _one(self, model: type[AnyFact], condition: Any) -> AnyFact | None:
        with self.reading() as connection:
            row = connection.execute(select(table_of(model)).where(condition)).first()
        return None if row is None else fact_of(model, row._asdict())

    def _ensure(self, fact: AnyFact, *, by: Sequence[str], agreeing: Sequence[str]) -> AnyFact:
        entry = self._entry(fact)
        table = table_of(entry.model)
        with self._writing() as connection:
            same = [table.c[name] == entry.row[name] for name in by]
            found = connection.execute(select(table).where(*same)).first()
            if found is None:
                ledger.add(connection, [entry], self.where)
                return fact
        stored = found._asdict()
        for name in agreeing:
            if stored[name] != entry.row[name]:
                what = " ".join(str(entry.row[column]) for column in by)
                raise StoreError(
                    f"{table.name} {what} is stored with {name} {stored[name]!r}, "
                    f"not {entry.row[name]!r}",
                    self.where,
                )
        return fact_of(type(fact), stored)
