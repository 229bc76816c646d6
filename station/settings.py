"""Settings files: TOML read into pydantic models, with errors that name file, line and field."""

import difflib
import json
import math
import re
import tomllib
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from station.toml_lines import KeyPath, key_lines

Model = TypeVar("Model", bound=BaseModel)

_TOML_POSITION = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)\s*$")
_LONGEST_SHOWN = 60


class Settings(BaseModel):
    """A table of a settings file: unknown fields are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a settings file. `line` counts from 1, None when the file has none."""

    file: Path
    line: int | None
    field: str
    found: str
    expected: str

    def __str__(self) -> str:
        place = f"{self.file}" if self.line is None else f"{self.file}:{self.line}"
        field = f" {self.field}:" if self.field else ""
        return f"{place}:{field} found {self.found}, expected {self.expected}"


class SettingsError(ValueError):
    """A settings file that is refused, with every problem that was found in it."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True)
class SettingsFile(Generic[Model]):
    """A settings file that was read, with the means to say where a field stands."""

    path: Path
    content: Model
    lines: Mapping[KeyPath, int]

    def problem(self, field: KeyPath, found: str, expected: str) -> Problem:
        """A problem with a field that the model itself could not see."""
        return Problem(self.path, line_of(self.lines, field), _field_name(field), found, expected)


def load_toml(path: Path, model: type[Model]) -> Model:
    """Read a TOML file into a model.

    Types must match exactly (an int may stand for a float, an array for a tuple, a string for a
    path or an enum); NaN and infinity are refused.

    Raises:
        SettingsError: for a file that cannot be read, is not TOML, or does not fit the model.
        TypeError: when the model or one inside it does not forbid unknown fields.
    """
    return read_settings(path, model).content


def read_settings(path: Path, model: type[Model]) -> SettingsFile[Model]:
    """As `load_toml`, and remembers the line of every field."""
    _require_strict_fields(model)
    text = _read(path)
    try:
        data = tomllib.loads(text)
        lines = key_lines(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(_syntax_problem(path, text, error)) from error
    except RecursionError as error:
        nested = Problem(path, None, "", "values nested too deep", "a few levels at most")
        raise SettingsError(nested) from error
    not_finite = [
        Problem(path, line_of(lines, field), _field_name(field), str(value), "a finite number")
        for field, value in _scalars(data, ())
        if isinstance(value, float) and not math.isfinite(value)
    ]
    if not_finite:
        raise SettingsError(*not_finite)
    try:
        content = model.model_validate_json(json.dumps(data, default=_as_text), strict=True)
    except ValidationError as error:
        problems = [
            _model_problem(path, lines, data, model, detail)
            for detail in error.errors(include_url=False)
        ]
        raise SettingsError(*sorted(problems, key=lambda p: p.line or 0)) from error
    return SettingsFile(path, content, lines)


def line_of(lines: Mapping[KeyPath, int], field: KeyPath) -> int:
    """The line of a field, or of the innermost table around it that the file mentions."""
    return lines.get(_mentioned(lines, field), 1)


def _mentioned(lines: Mapping[KeyPath, int], field: KeyPath) -> KeyPath:
    """The part of a field's path that the file mentions.

    Steps that are in no file are passed over: pydantic puts the names of union members in between.
    """
    path: KeyPath = ()
    for step in field:
        if (*path, step) in lines:
            path = (*path, step)
    return path


def _field_name(field: KeyPath) -> str:
    """``board[2].position[0].x_mm``: indices count from 0, as in the model."""
    name = ""
    for step in field:
        name += f"[{step}]" if isinstance(step, int) else f".{step}" if name else step
    return name


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SettingsError(
            Problem(path, None, "", error.strerror or str(error), "a readable settings file")
        ) from error
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"the byte 0x{data[error.start]:02x}"
        raise SettingsError(Problem(path, line, "", found, "UTF-8 text")) from error


def _syntax_problem(path: Path, text: str, error: tomllib.TOMLDecodeError) -> Problem:
    message = str(error)
    position = _TOML_POSITION.search(message)
    rows = text.split("\n")
    line = len(text.rstrip().split("\n"))
    if position and position.group(1):
        line = int(position.group(1))
    shown = _shown(rows[line - 1].strip())
    return Problem(path, line, "", shown, f"valid TOML: {_TOML_POSITION.sub('', message)}")


def _model_problem(
    path: Path,
    lines: Mapping[KeyPath, int],
    data: Mapping[str, Any],
    model: type[BaseModel],
    detail: ErrorDetails,
) -> Problem:
    field: KeyPath = detail["loc"]
    mentioned = _mentioned(lines, field)
    line = lines.get(mentioned, 1)
    if detail["type"] == "missing":
        name = _field_name((*mentioned, field[-1]))
        return Problem(path, line, name, "no such field", "this field to be given")
    if detail["type"] == "extra_forbidden":
        return Problem(
            path, line, _field_name(mentioned), "an unknown field", _known_fields(model, field)
        )
    expected = detail["msg"]
    for opening in ("Value error, ", "Input should be "):
        expected = expected.removeprefix(opening)
    if field and field[-1] not in mentioned[-1:] and field[-1] in _fields_around(model, field):
        name = _field_name((*mentioned, field[-1]))
        return Problem(path, line, name, "no such field", expected)
    return Problem(path, line, _field_name(mentioned), _shown(_at(data, mentioned)), expected)


def _known_fields(model: type[BaseModel], field: KeyPath) -> str:
    """The fields that the innermost table around an unknown field may have."""
    names = sorted(_fields_around(model, field))
    close = difflib.get_close_matches(str(field[-1]), names, n=1)
    return f"{close[0]!r}, perhaps" if close else f"one of {', '.join(names)}"


def _fields_around(model: type[BaseModel], field: KeyPath) -> set[str]:
    """The names that `field`'s last step may have in the innermost table around it."""
    tables: list[type[BaseModel]] = [model]
    for step in field[:-1]:
        inner = [
            found
            for table in tables
            if isinstance(step, str) and step in table.model_fields
            for found in _models_in(table.model_fields[step].annotation)
        ]
        tables = inner or tables
    return {info.alias or name for table in tables for name, info in table.model_fields.items()}


def _require_strict_fields(model: type[BaseModel]) -> None:
    for found in _all_models(model, set()):
        if found.model_config.get("extra") != "forbid":
            raise TypeError(f"{found.__name__} does not forbid unknown fields (extra='forbid')")


def _all_models(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    if model in seen:
        return
    seen.add(model)
    yield model
    for info in model.model_fields.values():
        for inner in _models_in(info.annotation):
            yield from _all_models(inner, seen)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)


def _scalars(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _scalars(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _scalars(inner, (*path, index))
    else:
        yield path, value


def _at(data: Any, path: KeyPath) -> Any:
    for step in path:
        data = data[step]
    return data


def _shown(value: Any) -> str:
    text = "a table" if isinstance(value, dict) else repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."


def _as_text(value: Any) -> str:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} in a TOML document")
