"""Rows of the database as Arrow tables and pandas data frames."""

import json
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import pandas as pd
import pyarrow as pa

ID = pa.string()
TEXT = pa.string()
NUMBER = pa.float64()
INTEGER = pa.int64()
TIME = pa.timestamp("us", tz="UTC")
TEXTS = pa.list_(pa.string())


def json_field(name: str) -> pa.Field:
    """A column of JSON: text in an Arrow table, decoded in a data frame."""
    return pa.field(name, pa.string(), metadata={b"content": b"json"})


def arrow_table(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """The rows as an Arrow table; ids become text, what is unknown stays null."""
    every = list(rows)
    return pa.table(
        {
            field.name: pa.array([_plain(row[field.name], field) for row in every], type=field.type)
            for field in schema
        },
        schema=schema,
    )


def data_frame(table: pa.Table) -> pd.DataFrame:
    """The table as a data frame: lists and JSON as Python objects, integers nullable."""
    frame: pd.DataFrame = table.to_pandas(types_mapper={INTEGER: pd.Int64Dtype()}.get)
    for field in table.schema:
        values = table.column(field.name).to_pylist()
        if _is_json(field):
            frame[field.name] = pd.Series(
                [None if text is None else json.loads(text) for text in values], dtype=object
            )
        elif field.type == TEXTS:
            frame[field.name] = pd.Series(values, dtype=object)
    return frame


def _plain(value: Any, field: pa.Field) -> Any:
    if value is None:
        return None
    if isinstance(value, UUID):
        return str(value)
    if _is_json(field):
        return json.dumps(value, ensure_ascii=False)
    return value


def _is_json(field: pa.Field) -> bool:
    return (field.metadata or {}).get(b"content") == b"json"
