"""Catalogue files laid over each other: the newest entry wins and remembers where it stands."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from station.catalogue.entries import CatalogueFile, GridEntry
from station.settings import Problem, SettingsError, SettingsFile
from station.toml_lines import KeyPath

T = TypeVar("T")
Section = Literal["tile_format", "board_family", "board_shape"]


@dataclass(frozen=True)
class Origin:
    """Where a value stands. `layer` is 0 for the project's data, then 1, 2, ... for site files."""

    file: SettingsFile[CatalogueFile]
    layer: int
    field: KeyPath

    def inside(self, *steps: str | int) -> "Origin":
        """Origin of something in the same table."""
        return Origin(self.file, self.layer, (*self.field[:-1], *steps))


@dataclass(frozen=True)
class Entry(Generic[T]):
    value: T
    origin: Origin


Layers = Sequence[tuple[int, SettingsFile[CatalogueFile]]]


@dataclass
class Complaints:
    """Problems collected while a catalogue is built, one for each value to blame."""

    problems: dict[tuple[Path, KeyPath], Problem] = field(default_factory=dict)
    repeats: Counter[tuple[Path, KeyPath]] = field(default_factory=Counter)

    def add(self, origins: Iterable[Origin], found: str, expected: str) -> None:
        """Blame what is wrong on the newest entry involved (the first of several): the layers
        below it were good without it."""
        blamed = max(origins, key=lambda origin: origin.layer)
        key = blamed.file.path, blamed.field
        self.problems.setdefault(key, blamed.file.problem(blamed.field, found, expected))
        self.repeats[key] += 1

    def stop_if_any(self) -> None:
        """Refuse the files.

        Raises:
            SettingsError: with everything collected so far.
        """
        if self.problems:
            raise SettingsError(*(self._with_repeats(key) for key in self.problems))

    def _with_repeats(self, key: tuple[Path, KeyPath]) -> Problem:
        problem, more = self.problems[key], self.repeats[key] - 1
        if more == 0:
            return problem
        return replace(problem, expected=f"{problem.expected} ({more} more of this value)")


def merged_grids(layers: Layers) -> dict[str, Entry[GridEntry]]:
    merged: dict[str, Entry[GridEntry]] = {}
    for layer, file in layers:
        for name, grid in file.content.grid.items():
            merged[name] = Entry(grid, Origin(file, layer, ("grid", name)))
    return merged


def merged_values(layers: Layers, section: Literal["tile", "board"]) -> dict[str, Entry[Any]]:
    """The values of `[tile]` or `[board]`, each from the newest file that gives it."""
    merged: dict[str, Entry[Any]] = {}
    for layer, file in layers:
        for name, value in getattr(file.content, section):
            if value is not None:
                merged[name] = Entry(value, Origin(file, layer, (section, name)))
    return merged


def merged_list(
    layers: Layers, section: Section, key: str, complaints: Complaints
) -> dict[str, Entry[Any]]:
    """The entries of an array of tables by their key; twice in one file is a problem."""
    merged: dict[str, Entry[Any]] = {}
    for layer, file in layers:
        for index, value in enumerate(getattr(file.content, section)):
            name = getattr(value, key)
            origin = Origin(file, layer, (section, index, key))
            if name in merged and merged[name].origin.file is file:
                complaints.add([origin], f"{name!r} a second time", "each one once in a file")
            merged[name] = Entry(value, origin)
    return merged
