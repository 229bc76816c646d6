"""From files, folders and tables to items: a spectrum, with its light-off partner if it has one."""

import glob
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from analysis.sipm.batch.labels import Channel, Label, label_of
from analysis.sipm.batch.parts import Data, Expected, InFile, Part, Refused
from analysis.sipm.readers import ROOT_NAME

TEXT = {".csv", ".txt", ".dat", ".tsv", ".asc", ".mca", ".spe", ".npz", ".npy", ".gz"}
PARQUET = {".parquet", ".pq"}
ROOT = {".root"}


@dataclass(frozen=True)
class Naming:
    """How names are understood. pattern: see `labels`; None for the usual ways to write them.

    bin_width: ADC per bin for single charges.
    """

    pattern: str | None = None
    bin_width: float = 1.0


@dataclass(frozen=True)
class Item:
    """One spectrum to be analysed.

    source, off_source: names for people. device: the same for spectra of one channel whose names
    differ in bias and temperature only; place: the same for all of one folder and channel, empty
    without a channel. identity: changes whenever the data may have changed. notes: what to know
    about the pairing.
    """

    source: str
    device: str
    place: str
    channel: Channel | None
    bias_v: float | None
    temperature_c: float | None
    on: Data
    off: Data | None
    off_source: str
    identity: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _File:
    """A file with the label that its name carries; inner: one object in it that was asked for."""

    path: Path
    label: Label
    inner: str | None = None

    @property
    def is_table(self) -> bool:
        """Whether there may be many spectra in it."""
        return self.path.suffix.lower() in PARQUET | ROOT


def find_items(
    sources: Sequence[str | Path],
    naming: Naming,
    *,
    leave_out: Path | None = None,
    expected: Expected | None = None,
) -> Iterator[Item]:
    """Every spectrum of the sources, in a fixed order, read only as far as needed.

    sources: files, folders (searched to the bottom), patterns such as "scan/*.csv", and
        "file.root:name". leave_out: a folder that is not searched. expected: is kept up to date.

    A light-off spectrum goes with the light-on one of the same name, or else with the only one of
    the same folder, channel, bias and temperature; without a partner it is an item of its own.
    What can't be read is an item too, refused with the reason.

    Raises ValueError for a naming pattern that can't be understood.
    """
    files: list[_File] = []
    seen: set[tuple[Path, str | None]] = set()
    for source in sources:
        found = _files(source, naming, leave_out)
        if not found:
            yield _refused(str(source), "no spectrum files here")
        for file in found:
            if (file.path, file.inner) not in seen:
                seen.add((file.path, file.inner))
                files.append(file)
    expected = expected or Expected()
    singles = _off_first(f for f in files if not f.is_table)
    items = list(_paired(_single(file, naming) for file in singles))
    expected.spectra += len(items)
    yield from items
    yield from _of_tables([f for f in files if f.is_table], naming, expected)


def _off_first(files: Iterable[_File]) -> list[_File]:
    return sorted(files, key=lambda file: file.label.light != "off")


def _files(source: str | Path, naming: Naming, leave_out: Path | None) -> list[_File]:
    named = ROOT_NAME.fullmatch(str(source))
    if named and not Path(source).exists():
        path = Path(named["file"])
        return [_File(path, label_of(path.name, naming.pattern), named["inside"])]
    path = Path(source)
    if path.is_dir():
        return [
            _File(found, label_of(found.relative_to(path).as_posix(), naming.pattern))
            for found in _walk(path, leave_out)
        ]
    if path.exists():
        return [_File(path, label_of(path.name, naming.pattern))]
    if glob.has_magic(str(source)):
        matches = sorted(Path(match) for match in glob.glob(str(source), recursive=True))
        return [file for match in matches for file in _files(match, naming, leave_out)]
    return [_File(path, Label(rest=str(path)))]


def _walk(folder: Path, leave_out: Path | None) -> list[Path]:
    known = TEXT | PARQUET | ROOT
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and (leave_out is None or (Path(root) / name).resolve() != leave_out.resolve())
        )
        found += [
            Path(root) / name
            for name in sorted(names)
            if not name.startswith(".") and Path(name).suffix.lower() in known
        ]
    return found


def _stamp(path: Path) -> str:
    try:
        state = path.stat()
    except OSError:
        return f"{path.absolute()}|missing"
    return f"{path.absolute()}|{state.st_size}|{state.st_mtime_ns}"


def _refused(source: str, reason: str, label: Label | None = None) -> Item:
    label = label or Label(rest=source)
    return Item(
        source,
        label.rest or source,
        _place(label),
        label.channel,
        label.bias_v,
        label.temperature_c,
        Refused(reason),
        None,
        "",
        f"{_stamp(Path(source))}|{reason}",
    )


def _single(file: _File, naming: Naming) -> Part:
    return Part(
        str(file.path),
        _stamp(file.path),
        file.label,
        InFile(str(file.path), None, naming.bin_width),
    )


def _of_tables(files: list[_File], naming: Naming, expected: Expected) -> Iterator[Item]:
    """Files with many spectra: a light-off file comes with the light-on file of the same name."""
    partners: dict[tuple[object, ...], list[_File]] = {}
    for file in files:
        if file.label.light == "off":
            partners.setdefault(_same_name(file.label), []).append(file)
    used: set[Path] = set()
    for file in files:
        if file.label.light == "off":
            continue
        beside = partners.get(_same_name(file.label), [])
        used |= {partner.path for partner in beside}
        yield from _paired(
            chain.from_iterable(_parts(f, naming, expected) for f in (*beside, file))
        )
    for file in files:
        if file.label.light == "off" and file.path not in used:
            yield from _paired(_parts(file, naming, expected))


def _parts(file: _File, naming: Naming, expected: Expected) -> Iterator[Part]:
    """The spectra of one file; damage ends it with a part that is refused."""
    import pyarrow as pa

    from analysis.sipm.batch.tables import TableError

    stamp = _stamp(file.path)
    try:
        for part in _raw_parts(file, naming, expected):
            yield replace(
                part, identity=f"{stamp}|{part.identity}", label=part.label.within(file.label)
            )
    except (TableError, OSError, pa.ArrowException, ValueError, KeyError, EOFError) as error:
        yield Part(str(file.path), f"{stamp}|damaged", file.label, Refused(_told(error)))
    # what uproot and awkward raise on damaged bytes depends on where the damage is
    except Exception as error:
        if file.path.suffix.lower() not in ROOT:
            raise
        yield Part(str(file.path), f"{stamp}|damaged", file.label, Refused(_told(error)))


def _told(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"cannot be read: {text[:300] or type(error).__name__}"


def _raw_parts(file: _File, naming: Naming, expected: Expected) -> Iterator[Part]:
    from analysis.sipm.batch.columns import parquet_table, root_tables
    from analysis.sipm.batch.tables import TableError, parts_of_table

    if file.path.suffix.lower() in PARQUET:
        yield from parts_of_table(parquet_table(file.path), naming.bin_width, expected)
        return
    histograms = _histograms(file.path, file.inner)
    labels = {name: label_of(name, naming.pattern) for name in histograms}
    expected.spectra += sum(label.light != "off" for label in labels.values())
    for name in sorted(histograms, key=lambda name: labels[name].light != "off"):
        data = InFile(str(file.path), name)
        yield Part(f"{file.path}:{name}", name, labels[name], data)
    tables = root_tables(file.path, file.inner)
    for table in tables:
        yield from parts_of_table(table, naming.bin_width, expected)
    if not histograms and not tables:
        raise TableError("no histograms or trees" if file.inner is None else f"no {file.inner}")


def _histograms(path: Path, wanted: str | None) -> list[str]:
    import uproot

    with uproot.open(path) as root:
        return [
            name
            for name, kind in root.classnames(recursive=True, cycle=False).items()
            if kind.startswith("TH1") and (wanted is None or name == wanted)
        ]


def _same_name(label: Label) -> tuple[object, ...]:
    return (label.rest, label.channel, label.bias_v, label.temperature_c)


def _same_place(label: Label) -> tuple[object, ...] | None:
    if label.channel is None:
        return None
    return (label.folder, label.channel, label.bias_v, label.temperature_c)


def _place(label: Label) -> str:
    if label.channel is None:
        return ""
    channel = f"ch{label.channel}" if isinstance(label.channel, int) else label.channel
    return f"{label.folder}/{channel}".lstrip("/")


def _paired(parts: Iterable[Part]) -> Iterator[Item]:
    """Items from parts, the light-off ones of which come first."""
    by_name: dict[tuple[object, ...], list[Part]] = {}
    by_place: dict[tuple[object, ...], list[Part]] = {}
    used: set[str] = set()
    for part in parts:
        if part.label.light == "off":
            by_name.setdefault(_same_name(part.label), []).append(part)
            place = _same_place(part.label)
            if place is not None:
                by_place.setdefault(place, []).append(part)
            continue
        candidates = by_name.get(_same_name(part.label), [])
        place = _same_place(part.label)
        if not candidates and place is not None:
            candidates = by_place.get(place, [])
        used |= {candidate.identity for candidate in candidates}
        yield _item(part, candidates)
    for waiting in by_name.values():
        for part in waiting:
            if part.identity not in used:
                yield _item(part, [])


def _item(part: Part, candidates: list[Part]) -> Item:
    label = part.label
    off: Part | None = None
    notes: tuple[str, ...] = ()
    if len(candidates) == 1:
        off = candidates[0]
    elif candidates:
        names = ", ".join(candidate.source for candidate in candidates[:3])
        notes = (f"{len(candidates)} light-off spectra fit, none is used: {names}",)
    identity = f"{part.identity}|{off.identity if off else ''}"
    return Item(
        part.source,
        label.rest or part.source,
        _place(label),
        label.channel,
        label.bias_v,
        label.temperature_c,
        part.data,
        None if off is None else off.data,
        "" if off is None else off.source,
        hashlib.sha256(identity.encode()).hexdigest(),
        notes,
    )
