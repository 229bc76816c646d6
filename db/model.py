"""The model of the records: every table, one class for each kind of fact.

Facts are append-only. A correction is a new fact whose `supersedes` names the one it replaces.
Identity is a UUIDv7 made at the station with `new_id`; a label is an attribute of a part. Times are
aware UTC. The same model serves SQLite at the station and PostgreSQL as the shared database.
"""

from datetime import UTC, datetime
from functools import cache
from typing import Any, ClassVar, cast
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Index,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
    inspect,
)
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel
from uuid_utils.compat import uuid7

from db.rules import (
    Rule,
    checks,
    different,
    finite,
    not_blank,
    not_negative,
    one_of,
    positive,
    sha256_hex,
)

VERDICTS = ("pass", "flag", "fail", "unknown")
ENDINGS = ("done", "refused", "aborted", "failed", "tripped", "lost_instrument", "interrupted")
PART_KINDS = (
    "tile",
    "wrapped_tile",
    "sipm",
    "tileboard",
    "tile_module",
    "motherboard",
    "tester",
)
EVENT_KINDS = ("note", "ask", "answer", "trip", "reset", "recovery", "error")


_BIG_INTEGER = BigInteger().with_variant(Integer(), "sqlite")


def new_id() -> UUID:
    """A new identity, UUIDv7 (RFC 9562): later ones of one process sort after earlier ones."""
    return uuid7()


class UtcTime(TypeDecorator[datetime]):
    """An aware time, stored as UTC and returned as aware UTC by every database.

    SQLite knows no time zones and stores text that sorts by time. Naive times are refused.
    """

    impl = DateTime
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(timezone=True)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.utcoffset() is None:
            raise ValueError(f"a time without its zone: {value}")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class StringList(TypeDecorator[list[str]]):
    """A list of sentences, stored as a JSON array."""

    impl = JSON
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(none_as_null=True)


class JsonObject(TypeDecorator[dict[str, Any]]):
    """A mapping of names to what JSON can hold."""

    impl = JSON
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(none_as_null=True)


class Fact(SQLModel):
    """What all tables share: one schema, and rules that are checked in Python and in SQL."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    rules: ClassVar[tuple[Rule, ...]] = ()


class Site(Fact, table=True):
    """A place that runs a line; `code` is what production databases call it, where they do."""

    rules = (not_blank("name"),)
    __table_args__ = checks(rules)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    name: str = Field(unique=True)
    code: str = ""


class Station(Fact, table=True):
    """One line of a site."""

    rules = (not_blank("name"),)
    __table_args__ = (*checks(rules), UniqueConstraint("site_id", "name"))

    id: UUID = Field(default_factory=new_id, primary_key=True)
    site_id: UUID = Field(foreign_key="site.id")
    name: str


class Operator(Fact, table=True):
    """A person who runs procedures."""

    rules = (not_blank("name"),)
    __table_args__ = (*checks(rules), UniqueConstraint("site_id", "name"))

    id: UUID = Field(default_factory=new_id, primary_key=True)
    site_id: UUID = Field(foreign_key="site.id")
    name: str


class Part(Fact, table=True):
    """A thing with an identity: bare tile, wrapped tile, SiPM, tileboard, tile module, ...

    `made_at` is when the part was made, None where nobody knows.
    """

    rules = (one_of("kind", PART_KINDS), not_blank("label"))
    __table_args__ = checks(rules)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    kind: str
    label: str | None = Field(default=None, unique=True)
    subtype: str = ""
    site_id: UUID = Field(foreign_key="site.id")
    made_at: datetime | None = Field(default=None, sa_type=UtcTime)
    note: str = ""


class Recipe(Fact, table=True):
    """Parameters and limits of a procedure, one version of them; `sha256` is its identity."""

    rules = (not_blank("name"), not_blank("version"), sha256_hex("sha256"))
    __table_args__ = checks(rules)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    name: str
    version: str
    sha256: str = Field(unique=True)
    content: dict[str, Any] = Field(sa_type=JsonObject)


class Run(Fact, table=True):
    """One execution of a procedure on a part; open until it has its `RunEnd`.

    `instruments` maps each role to what filled it (idn, serial, address), `calibration` holds the
    constants used.
    """

    rules = (not_blank("procedure"), not_blank("software_version"))
    __table_args__ = (
        *checks(rules),
        Index(None, "part_id"),
        Index(None, "station_id"),
        Index(None, "started_at"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    procedure: str
    part_id: UUID = Field(foreign_key="part.id")
    recipe_id: UUID = Field(foreign_key="recipe.id")
    operator_id: UUID = Field(foreign_key="operator.id")
    station_id: UUID = Field(foreign_key="station.id")
    started_at: datetime = Field(sa_type=UtcTime)
    software_version: str
    instruments: dict[str, Any] = Field(default_factory=dict, sa_type=JsonObject)
    calibration: dict[str, Any] = Field(default_factory=dict, sa_type=JsonObject)


class RunEnd(Fact, table=True):
    """How a run ended. An ending other than `done`, or an unknown verdict, states its reasons."""

    __tablename__ = "run_end"
    rules = (
        one_of("ending", ENDINGS),
        one_of("verdict", VERDICTS),
        Rule(
            "reasons_given",
            "(ending = 'done' AND verdict <> 'unknown') OR json_array_length(reasons) > 0",
            lambda row: (
                (row["ending"] == "done" and row["verdict"] != "unknown") or bool(row["reasons"])
            ),
            "an ending other than done, or an unknown verdict, needs a reason",
        ),
        Rule(
            "pass_is_done",
            "ending = 'done' OR verdict <> 'pass'",
            lambda row: row["ending"] == "done" or row["verdict"] != "pass",
            "a run that did not get done cannot pass",
        ),
    )
    __table_args__ = checks(rules)

    run_id: UUID = Field(primary_key=True, foreign_key="run.id")
    at: datetime = Field(sa_type=UtcTime)
    ending: str
    verdict: str
    reasons: list[str] = Field(default_factory=list, sa_type=StringList)


class Assembly(Fact, table=True):
    """A child part built into a parent at a position, with the placement measured there."""

    rules = (
        not_blank("position"),
        different("child_id", "parent_id"),
        different("supersedes", "id"),
        *finite("x_mm", "y_mm", "rotation_rad", "sigma_mm", "sigma_rad"),
        not_negative("sigma_mm"),
        not_negative("sigma_rad"),
        Rule(
            "place_has_sigma",
            "(x_mm IS NULL) = (y_mm IS NULL) AND (x_mm IS NULL OR sigma_mm IS NOT NULL)",
            lambda row: (
                (row["x_mm"] is None) == (row["y_mm"] is None)
                and (row["x_mm"] is None or row["sigma_mm"] is not None)
            ),
            "a placement needs x_mm, y_mm and sigma_mm together",
        ),
    )
    __table_args__ = (
        *checks(rules),
        Index(None, "parent_id"),
        Index(None, "child_id"),
        Index(None, "supersedes"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    parent_id: UUID = Field(foreign_key="part.id")
    child_id: UUID = Field(foreign_key="part.id")
    position: str
    run_id: UUID = Field(foreign_key="run.id")
    x_mm: float | None = None
    y_mm: float | None = None
    rotation_rad: float | None = None
    sigma_mm: float | None = None
    sigma_rad: float | None = None
    at: datetime = Field(sa_type=UtcTime)
    supersedes: UUID | None = Field(default=None, foreign_key="assembly.id")


class Reading(Fact, table=True):
    """One measured quantity of a part, or of one of its channels, with its uncertainty.

    A value that cannot be told is None, with the reasons. `low` and `high` are the limits that
    were applied.
    """

    rules = (
        not_blank("quantity"),
        not_blank("method"),
        not_negative("channel"),
        *finite("value", "sigma", "low", "high"),
        not_negative("sigma"),
        one_of("verdict", VERDICTS),
        different("supersedes", "id"),
        Rule(
            "value_has_sigma",
            "(value IS NULL) = (sigma IS NULL)",
            lambda row: (row["value"] is None) == (row["sigma"] is None),
            "a value needs its sigma, and a sigma its value",
        ),
        Rule(
            "unknown_has_reason",
            "(value IS NOT NULL AND verdict <> 'unknown') OR json_array_length(reasons) > 0",
            lambda row: (
                (row["value"] is not None and row["verdict"] != "unknown") or bool(row["reasons"])
            ),
            "an unknown value or verdict needs a reason",
        ),
        Rule(
            "pass_has_value",
            "value IS NOT NULL OR verdict <> 'pass'",
            lambda row: row["value"] is not None or row["verdict"] != "pass",
            "an unknown value cannot pass",
        ),
        Rule(
            "limits_in_order",
            "low <= high",
            lambda row: row["low"] is None or row["high"] is None or row["low"] <= row["high"],
            "low must not be above high",
        ),
    )
    __table_args__ = (
        *checks(rules),
        Index(None, "part_id", "quantity", "channel"),
        Index(None, "run_id"),
        Index(None, "supersedes"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    run_id: UUID = Field(foreign_key="run.id")
    part_id: UUID = Field(foreign_key="part.id")
    channel: int | None = None
    quantity: str
    value: float | None
    sigma: float | None
    unit: str
    method: str
    low: float | None = None
    high: float | None = None
    verdict: str
    reasons: list[str] = Field(default_factory=list, sa_type=StringList)
    conditions: dict[str, Any] = Field(default_factory=dict, sa_type=JsonObject)
    at: datetime = Field(sa_type=UtcTime)
    supersedes: UUID | None = Field(default=None, foreign_key="reading.id")


class Attachment(Fact, table=True):
    """A file that was stored, named by the SHA-256 of its bytes."""

    rules = (sha256_hex("sha256"), not_negative("size_bytes"), not_blank("media_type"))
    __table_args__ = checks(rules)

    sha256: str = Field(primary_key=True)
    size_bytes: int = Field(sa_type=_BIG_INTEGER)
    media_type: str
    made_at: datetime = Field(sa_type=UtcTime)


class Curve(Fact, table=True):
    """A curve of a part or channel; the file is an NPZ with x, y and, where there is one, model."""

    rules = (not_blank("quantity"), not_negative("channel"))
    __table_args__ = (*checks(rules), Index(None, "part_id"), Index(None, "run_id"))

    id: UUID = Field(default_factory=new_id, primary_key=True)
    run_id: UUID = Field(foreign_key="run.id")
    part_id: UUID = Field(foreign_key="part.id")
    channel: int | None = None
    quantity: str
    x_unit: str
    y_unit: str
    sha256: str = Field(foreign_key="attachment.sha256")
    meta: dict[str, Any] = Field(default_factory=dict, sa_type=JsonObject)
    at: datetime = Field(sa_type=UtcTime)


class Picture(Fact, table=True):
    """A picture of a part; `pose` says where the camera was, `mm_per_px` is None if unknown."""

    rules = (not_blank("purpose"), *finite("mm_per_px"), positive("mm_per_px"))
    __table_args__ = (*checks(rules), Index(None, "part_id"), Index(None, "run_id"))

    id: UUID = Field(default_factory=new_id, primary_key=True)
    run_id: UUID = Field(foreign_key="run.id")
    part_id: UUID = Field(foreign_key="part.id")
    purpose: str
    sha256: str = Field(foreign_key="attachment.sha256")
    media_type: str
    mm_per_px: float | None = None
    pose: dict[str, Any] = Field(default_factory=dict, sa_type=JsonObject)
    at: datetime = Field(sa_type=UtcTime)


class Finding(Fact, table=True):
    """A located defect of a part, in the part's own frame."""

    rules = (
        not_blank("kind"),
        *finite("x_mm", "y_mm", "area_mm2"),
        not_negative("area_mm2"),
        one_of("verdict", VERDICTS),
        Rule(
            "unknown_has_reason",
            "verdict <> 'unknown' OR trim(text) <> ''",
            lambda row: row["verdict"] != "unknown" or row["text"].strip(" ") != "",
            "an unknown verdict needs a text that says why",
        ),
    )
    __table_args__ = (*checks(rules), Index(None, "part_id"), Index(None, "run_id"))

    id: UUID = Field(default_factory=new_id, primary_key=True)
    run_id: UUID = Field(foreign_key="run.id")
    part_id: UUID = Field(foreign_key="part.id")
    picture_id: UUID | None = Field(default=None, foreign_key="picture.id")
    kind: str
    x_mm: float | None = None
    y_mm: float | None = None
    area_mm2: float | None = None
    verdict: str
    text: str = ""
    at: datetime = Field(sa_type=UtcTime)


class Event(Fact, table=True):
    """Something that happened at a station, in a run or outside of any."""

    rules = (one_of("kind", EVENT_KINDS),)
    __table_args__ = (*checks(rules), Index(None, "run_id"), Index(None, "station_id", "at"))

    id: UUID = Field(default_factory=new_id, primary_key=True)
    run_id: UUID | None = Field(default=None, foreign_key="run.id")
    station_id: UUID = Field(foreign_key="station.id")
    at: datetime = Field(sa_type=UtcTime)
    kind: str
    text: str = ""
    data: dict[str, Any] = Field(default_factory=dict, sa_type=JsonObject)


class Outbox(Fact, table=True):
    """One row for each fact, in the order in which they must travel: parents before children.

    `fact_id` is the fact's key: the 32 hexadecimal digits of its UUID, or the SHA-256 of an
    attachment. `sent_at` is the only column of the whole schema that may change.
    """

    __table_args__ = (
        UniqueConstraint("table_name", "fact_id"),
        Index(None, "sent_at", "seq"),
        {"sqlite_autoincrement": True},
    )

    seq: int | None = Field(default=None, primary_key=True, sa_type=_BIG_INTEGER)
    table_name: str
    fact_id: str
    made_at: datetime = Field(sa_type=UtcTime)
    sent_at: datetime | None = Field(default=None, sa_type=UtcTime)


@cache
def table_of(model: type[Fact]) -> Table:
    """The table that holds the facts of a class."""
    return cast(Table, inspect(model).local_table)


FACTS: dict[str, type[Fact]] = {
    table_of(model).name: model
    for model in (
        Site,
        Station,
        Operator,
        Part,
        Recipe,
        Run,
        RunEnd,
        Assembly,
        Reading,
        Attachment,
        Curve,
        Picture,
        Finding,
        Event,
    )
}
"""Every class of facts by its table's name: all that only ever grows."""
