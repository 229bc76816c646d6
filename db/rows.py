"""Facts into rows and back: plain Python values of exactly the right type, or a refusal."""

import json
import numbers
import operator
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import BigInteger, Float, Integer, Uuid
from sqlalchemy.types import TypeEngine
from sqlmodel import AutoString

from db.model import FACTS, Fact, JsonObject, StringList, UtcTime, table_of
from db.rules import Row

AnyFact = TypeVar("AnyFact", bound=Fact)


def row_of(fact: Fact) -> Row:
    """The columns of a fact, checked against their types and the rules of its class.

    Raises ValueError naming the table, the column and what was expected.
    """
    if type(fact) not in FACTS.values():
        raise ValueError(f"not a fact: {type(fact).__name__}")
    row: Row = {}
    for name, nullable, convert in _columns(type(fact)):
        value = getattr(fact, name)
        if value is None:
            if not nullable:
                raise ValueError(f"{_name(fact)}: {name} is missing")
            row[name] = None
            continue
        try:
            row[name] = convert(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{_name(fact)}: {name} = {value!r}: {error}") from error
    for rule in type(fact).rules:
        if not rule.holds(row):
            raise ValueError(f"{_name(fact)}: {rule.says}; it says {_excerpt(row)}")
    return row


def fact_of(model: type[AnyFact], row: Mapping[str, Any]) -> AnyFact:
    """The fact that a row holds."""
    return model(**row)


@cache
def key_name(model: type[Fact]) -> str:
    """The name of the primary key's column."""
    (column,) = table_of(model).primary_key.columns
    return column.name


def fact_id(key: UUID | str) -> str:
    """A fact's key as the outbox names it: 32 hexadecimal digits of the UUID, or the SHA-256."""
    return key.hex if isinstance(key, UUID) else key


def _name(fact: Fact) -> str:
    return table_of(type(fact)).name


def _excerpt(row: Row) -> str:
    told = (f"{name}={value}" for name, value in row.items() if value not in (None, "", [], {}))
    return ", ".join(told)[:400]


@cache
def _columns(model: type[Fact]) -> tuple[tuple[str, bool, Callable[[Any], Any]], ...]:
    return tuple(
        (column.name, bool(column.nullable), _converter(column.type))
        for column in table_of(model).columns
    )


def _converter(kind: TypeEngine[Any]) -> Callable[[Any], Any]:
    for known, convert in (
        (StringList, _as_sentences),
        (UtcTime, _as_time),
        (JsonObject, _as_json_object),
        (Uuid, _as_uuid),
        (Float, _as_float),
        (BigInteger, _as_long_integer),
        (Integer, _as_integer),
        (AutoString, _as_text),
    ):
        if isinstance(kind, known):
            return convert
    raise TypeError(f"no way to check a column of type {kind!r}")


def _as_uuid(value: Any) -> UUID:
    if not isinstance(value, UUID):
        raise TypeError("a UUID is expected")
    return value


def _as_time(value: Any) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError("a time is expected")
    if value.utcoffset() is None:
        raise ValueError("a time needs its time zone")
    utc = value.astimezone(UTC)
    return datetime.combine(utc.date(), utc.time(), UTC)


def _as_float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError("a number is expected")
    return float(value)


def _as_integer(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError("an integer is expected")
    number = operator.index(value)
    if not -(2**31) <= number < 2**31:
        raise OverflowError("an integer of 32 bits is expected")
    return number


def _as_long_integer(value: Any) -> int:
    number = operator.index(value)
    if not -(2**63) <= number < 2**63:
        raise OverflowError("an integer of 64 bits is expected")
    return number


def _as_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("text is expected")
    if "\0" in value:
        raise ValueError("text must not contain the character NUL")
    return value.encode("utf-8").decode("utf-8")


def _as_sentences(value: Any) -> list[str]:
    if not isinstance(value, list | tuple):
        raise TypeError("a list of texts is expected")
    sentences = [_as_text(item) for item in value]
    if any(not sentence.strip() for sentence in sentences):
        raise ValueError("an empty text says nothing")
    return sentences


def _as_json_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError("a mapping is expected")
    text = json.dumps(dict(value), allow_nan=False, default=_plain_number, ensure_ascii=False)
    _as_text(text)
    content: dict[str, Any] = json.loads(text)
    return content


def _plain_number(value: Any) -> int | float:
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    raise TypeError(f"{type(value).__name__} cannot be kept as JSON")
