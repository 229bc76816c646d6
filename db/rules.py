"""Rules that a fact must fulfil, each stated once for Python and once for SQL."""

import math
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CheckConstraint

Row = dict[str, Any]
"""The columns of one fact by name, as they go to the database."""

LARGEST_FLOAT = 1.7976931348623157e308


@dataclass(frozen=True)
class Rule:
    """One condition on the columns of a row: `sql` and `holds` say the same.

    SQL can refuse a fact but cannot say why in words, and SQLite turns NaN into NULL before it
    looks; Python can do both but does not see what other programs write. So both are asked.
    """

    name: str
    sql: str
    holds: Callable[[Row], bool]
    says: str


def checks(rules: Iterable[Rule]) -> tuple[CheckConstraint, ...]:
    """The CHECK constraints of a table, one for each rule."""
    return tuple(CheckConstraint(rule.sql, name=rule.name) for rule in rules)


def one_of(column: str, allowed: Collection[str]) -> Rule:
    """The column holds one of the allowed words."""
    words = ", ".join(f"'{word}'" for word in allowed)
    return Rule(
        f"{column}_known",
        f"{column} IN ({words})",
        lambda row: row[column] in allowed,
        f"{column} must be one of {', '.join(allowed)}",
    )


def not_blank(column: str) -> Rule:
    """The column, where it is given, is more than spaces."""
    return Rule(
        f"{column}_not_blank",
        f"trim({column}) <> ''",
        lambda row: row[column] is None or row[column].strip(" ") != "",
        f"{column} must not be empty",
    )


def finite(*columns: str) -> tuple[Rule, ...]:
    """The columns, where given, are neither NaN nor infinite."""
    return tuple(_finite(column) for column in columns)


def _finite(column: str) -> Rule:
    return Rule(
        f"{column}_finite",
        f"{column} BETWEEN -{LARGEST_FLOAT!r} AND {LARGEST_FLOAT!r}",
        lambda row: row[column] is None or math.isfinite(row[column]),
        f"{column} must be a finite number",
    )


def not_negative(column: str) -> Rule:
    """The column, where it is given, is zero or more."""
    return Rule(
        f"{column}_not_negative",
        f"{column} >= 0",
        lambda row: row[column] is None or row[column] >= 0,
        f"{column} must not be negative",
    )


def positive(column: str) -> Rule:
    """The column, where it is given, is more than zero."""
    return Rule(
        f"{column}_positive",
        f"{column} > 0",
        lambda row: row[column] is None or row[column] > 0,
        f"{column} must be positive",
    )


def different(column: str, other: str) -> Rule:
    """The two columns, where both are given, differ."""
    return Rule(
        f"{column}_not_{other}",
        f"{column} <> {other}",
        lambda row: row[column] is None or row[other] is None or row[column] != row[other],
        f"{column} and {other} must not be the same",
    )


def sha256_hex(column: str) -> Rule:
    """The column is a SHA-256 as 64 lower-case hexadecimal digits."""
    return Rule(
        f"{column}_complete",
        f"length({column}) = 64 AND lower({column}) = {column}",
        lambda row: re.fullmatch(r"[0-9a-f]{64}", row[column]) is not None,
        f"{column} must be 64 lower-case hexadecimal digits",
    )
