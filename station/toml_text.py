"""A settings model written as TOML: tables, arrays of tables, and a comment on top."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel


def toml_text(model: BaseModel, *, comment: str) -> str:
    """The TOML document that `station.settings.load_toml` reads back as `model`.

    Fields that are None or empty are left out.
    """
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    lines += _table(model.model_dump(mode="json", exclude_none=True), ())
    return "\n".join(lines) + "\n"


def toml_value(value: Any) -> str:
    """A scalar or an array of scalars as TOML writes it.

    Raises TypeError for anything else.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml_value(item) for item in value)}]"
    raise TypeError(f"{type(value).__name__} is no TOML value that is written here")


def _table(content: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    inner: list[tuple[str, Any]] = []
    for key, value in content.items():
        if isinstance(value, dict) or _is_array_of_tables(value):
            inner.append((key, value))
        elif value != []:
            yield f"{key} = {toml_value(value)}"
    for key, value in inner:
        here = (*path, key)
        if isinstance(value, dict):
            rows = list(_table(value, here))
            if rows:
                yield from ("", f"[{'.'.join(here)}]", *rows)
        else:
            for element in value:
                yield from ("", f"[[{'.'.join(here)}]]", *_table(element, here))


def _is_array_of_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)
