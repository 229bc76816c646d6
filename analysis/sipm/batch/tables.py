"""The spectra of many channels in one table, whatever shape the table has.

* one event per row: a column of charges, columns that say channel, bias, temperature, light;
* one event per row, a column of charges for each channel (ch0, ch1, ...);
* one event per row, vectors of charges with a vector of channels, or channels by position;
* one spectrum per row: a list of counts with edges or centres, or a list of charges.

Spectra without light come before the others, so that these can be matched on the way.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.sipm.batch.columns import Table, batches
from analysis.sipm.batch.counting import Counting
from analysis.sipm.batch.labels import Channel, Label, Light, label_of, light_of
from analysis.sipm.batch.parts import Binned, Counted, Data, Expected, Part, Refused

NAMES = {
    "channel": ("channel", "channel_id", "chan", "ch", "sipm", "sipm_id", "channels"),
    "bias_v": ("bias_v", "bias", "vbias", "v_bias", "hv", "voltage", "voltage_v"),
    "temperature_c": ("temperature_c", "temperature", "temp_c", "temp", "t_c"),
    "light": ("light", "led", "light_on", "led_on", "is_light", "pulsed"),
    "counts": ("counts", "hist", "histogram", "count", "contents"),
    "off_counts": ("off_counts", "counts_off", "dark_counts", "counts_dark"),
    "edges": ("edges", "bin_edges"),
    "centers": ("centers", "centres", "bin_centers"),
    "charge": ("charge", "charges", "adc", "qdc", "energy", "amplitude", "value"),
    "off_charge": ("charge_off", "charges_off", "off_charge", "off_charges", "dark_charges"),
}
LABELS = ("channel", "bias_v", "temperature_c", "light")
COLUMNS_AT_A_TIME = 256

Key = tuple[Channel | None, float | None, float | None, Light | None]
Array = NDArray[np.float64]


class TableError(Exception):
    """A table whose columns are not those of spectra; says what it has."""


@dataclass(frozen=True)
class _Roles:
    """Names of the columns by what they hold."""

    by_role: Mapping[str, str]

    def __getitem__(self, role: str) -> str:
        return self.by_role[role]

    def __contains__(self, role: str) -> bool:
        return role in self.by_role

    @property
    def labels(self) -> dict[str, str]:
        return {role: name for role, name in self.by_role.items() if role in LABELS}


def parts_of_table(table: Table, bin_width: float, expected: Expected) -> Iterator[Part]:
    """Every spectrum of a table, those without light first.

    bin_width: ADC per bin for single charges. expected: is told how many there are.

    Raises TableError when the columns can't be understood, and whatever the library of the format
    raises on damaged data.
    """
    roles = _roles(table)
    kind = table.columns
    if "counts" in roles and kind[roles["counts"]] == "list":
        yield from _rows_of_counts(table, roles, expected)
    elif "charge" in roles and kind[roles["charge"]] == "list":
        vector_of_channels = "channel" in roles and kind[roles["channel"]] == "list"
        if vector_of_channels or ("channel" not in roles and table.tree is not None):
            yield from _counted(table, _vectors(table, roles, bin_width), expected)
        else:
            yield from _rows_of_charges(table, roles, bin_width, expected)
    elif "charge" in roles and kind[roles["charge"]] == "number":
        yield from _counted(table, _events(table, roles, bin_width), expected)
    else:
        yield from _columns_of_charges(table, roles, bin_width, expected)


def _roles(table: Table) -> _Roles:
    lower = {name.lower(): name for name in reversed(list(table.columns))}
    found = {}
    for role, names in NAMES.items():
        name = next((lower[n] for n in names if n in lower), None)
        if name is not None:
            found[role] = name
    return _Roles(found)


def _identity(table: Table, key: Key) -> tuple[str, str]:
    """How a spectrum of a table is named for people, and what tells it from the others."""
    channel, bias, temperature, light = key
    words = [
        "" if channel is None else f"channel={channel}",
        "" if bias is None else f"bias_v={bias:g}",
        "" if temperature is None else f"temperature_c={temperature:g}",
        "" if light is None else f"light={light}",
    ]
    inner = ",".join(word for word in [table.tree or "", *words] if word)
    return f"{table.file}:{inner}" if inner else str(table.file), inner


def _part(table: Table, key: Key, data: Data, *, row: int | None = None) -> Part:
    source, inner = _identity(table, key)
    if row is not None:
        inner = f"{inner},row={row}" if inner else f"row={row}"
    label = Label(f"ch{key[0]}" if key[0] is not None else "", "", *key)
    if table.tree is not None:
        label = label.within(label_of(table.tree))
    return Part(source, inner, label, data)


def _counted(table: Table, filled: Counting, expected: Expected) -> Iterator[Part]:
    found = [(key, data) for key, data in filled.take_all()]
    found.sort(key=lambda pair: pair[0][3] != "off")  # type: ignore[index]
    expected.spectra += sum(key[3] != "off" for key, _ in found)  # type: ignore[index]
    for key, data in found:
        yield _part(table, key, data)  # type: ignore[arg-type]


def _events(table: Table, roles: _Roles, bin_width: float) -> Counting:
    counting = Counting(bin_width)
    labels = roles.labels
    for batch in batches(table, [*labels.values(), roles["charge"]]):
        number = _numbers(batch, labels, counting)
        counting.add(number, _floats(batch[roles["charge"]]))
    return counting


def _vectors(table: Table, roles: _Roles, bin_width: float) -> Counting:
    counting = Counting(bin_width)
    scalar = {r: n for r, n in roles.labels.items() if table.columns[n] != "list"}
    names = [*scalar.values(), roles["charge"]]
    by_position = "channel" not in roles
    if not by_position:
        names.append(roles["channel"])
    for batch in batches(table, names):
        lengths = _lengths(batch[roles["charge"]])
        flat: dict[str, pa.Array] = {}
        for name in scalar.values():
            flat[name] = batch[name].take(pa.array(np.repeat(np.arange(len(lengths)), lengths)))
        if by_position:
            starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
            flat["channel"] = pa.array(np.arange(len(starts)) - starts)
            labels = {**scalar, "channel": "channel"}
        else:
            if not np.array_equal(_lengths(batch[roles["channel"]]), lengths):
                raise TableError(f"{roles['channel']} and {roles['charge']} differ in length")
            flat[roles["channel"]] = pc.list_flatten(batch[roles["channel"]])
            labels = {**scalar, "channel": roles["channel"]}
        number = _numbers(flat, labels, counting)
        counting.add(number, _floats(pc.list_flatten(batch[roles["charge"]])))
    return counting


def _columns_of_charges(
    table: Table, roles: _Roles, bin_width: float, expected: Expected
) -> Iterator[Part]:
    labels = roles.labels
    columns: list[tuple[str, Label]] = [
        (name, label)
        for name, kind in table.columns.items()
        if kind == "number"
        and name not in labels.values()
        and (label := label_of(name)).channel is not None
    ]
    if not columns:
        listed = ", ".join(list(table.columns)[:8]) or "none"
        raise TableError(f"cannot tell which columns hold charges or counts; columns: {listed}")
    columns.sort(key=lambda column: column[1].light != "off")
    for begin in range(0, len(columns), COLUMNS_AT_A_TIME):
        group = columns[begin : begin + COLUMNS_AT_A_TIME]
        counting = Counting(bin_width)
        for batch in batches(table, [*labels.values(), *(name for name, _ in group)]):
            shared = Counting()
            rows = _numbers(batch, labels, shared)
            keys = list(shared.keys)
            for name, label in group:
                of_column = np.array(
                    [counting.number(_keyed(label, key)) for key in keys], dtype=np.int64
                )
                number = int(of_column[rows]) if isinstance(rows, int) else of_column[rows]
                counting.add(number, _floats(batch[name]))
        yield from _counted(table, counting, expected)


def _keyed(label: Label, key: Any) -> Key:
    channel, bias, temperature, light = key
    return (
        label.channel if label.channel is not None else channel,
        label.bias_v if label.bias_v is not None else bias,
        label.temperature_c if label.temperature_c is not None else temperature,
        label.light or light,
    )


def _rows_of_counts(table: Table, roles: _Roles, expected: Expected) -> Iterator[Part]:
    positions = roles.by_role.get("edges") or roles.by_role.get("centers")
    beside = "off_counts" if "off_counts" in roles else None

    def data(batch: dict[str, pa.Array], row: int, role: str) -> Data:
        counts = _list(batch[roles[role]], row)
        if counts is None:
            return Refused("the row has no counts")
        if positions is None:
            return Binned(counts, np.arange(len(counts) + 1, dtype=np.float64) - 0.5)
        x = _list(batch[positions], row)
        if x is None or len(x) < 2:
            return Refused("the row has no bin edges")
        if "edges" not in roles:
            middle = 0.5 * (x[1:] + x[:-1])
            x = np.r_[1.5 * x[0] - 0.5 * x[1], middle, 1.5 * x[-1] - 0.5 * x[-2]]
        return Binned(counts, np.asarray(x, dtype=np.float64))

    lists = [roles["counts"], *([positions] if positions else [])]
    yield from _rows(table, roles, lists, "counts", beside, data, expected)


def _rows_of_charges(
    table: Table, roles: _Roles, bin_width: float, expected: Expected
) -> Iterator[Part]:
    beside = "off_charge" if "off_charge" in roles else None

    def data(batch: dict[str, pa.Array], row: int, role: str) -> Data:
        charges = _list(batch[roles[role]], row)
        if charges is None or not len(charges):
            return Refused("the row has no charges")
        return counted(charges, bin_width)

    yield from _rows(table, roles, [roles["charge"]], "charge", beside, data, expected)


def counted(charges: Array, bin_width: float) -> Counted | Refused:
    """Single charges of one channel as a histogram of its filled bins."""
    counting = Counting(bin_width)
    try:
        counting.add(counting.number(None), charges)
    except ValueError as error:
        return Refused(str(error))
    data = next(data for _, data in counting.take_all())
    return data if not isinstance(data, Counted) or len(data.bins) else Refused("no charges")


def _rows(
    table: Table,
    roles: _Roles,
    lists: list[str],
    role: str,
    beside: str | None,
    data: Callable[[dict[str, pa.Array], int, str], Data],
    expected: Expected,
) -> Iterator[Part]:
    """Rows with one spectrum each, in two passes over the file: without light, then the rest."""
    labels = roles.labels
    passes: list[tuple[str, Callable[[Light | None], bool], Light | None]] = []
    if beside is not None:
        passes += [(beside, lambda _: True, "off"), (role, lambda _: True, "on")]
    elif "light" in labels:
        passes += [(role, lambda x: x == "off", None), (role, lambda x: x != "off", None)]
    else:
        passes += [(role, lambda _: True, None)]
    without_light = 0
    for number_of_pass, (of_role, wanted, light) in enumerate(passes, 1):
        if number_of_pass == len(passes):
            expected.spectra += table.n_rows - without_light
        names = [*labels.values(), *lists, *([roles[beside]] if of_role == beside else [])]
        row_number = 0
        for batch in batches(table, names):
            shared = Counting()
            n_rows = len(batch[roles[of_role]])
            number = _numbers(batch, labels, shared)
            keys: list[Any] = list(shared.keys)
            for row in range(n_rows):
                key = keys[number if isinstance(number, int) else number[row]]
                if not wanted(key[3]):
                    continue
                key = (*key[:3], light or key[3])
                without_light += beside is None and key[3] == "off"
                yield _part(table, key, data(batch, row, of_role), row=row_number + row)
            row_number += n_rows


def _numbers(
    batch: Mapping[str, pa.Array], labels: Mapping[str, str], counting: Counting
) -> NDArray[np.int64] | int:
    """For every row the number of its key (channel, bias, temperature, light)."""
    if not labels:
        return counting.number((None, None, None, None))
    total: NDArray[np.int64] | None = None
    values: list[list[Any]] = []
    roles = [role for role in LABELS if role in labels]
    for role in roles:
        encoded = pc.dictionary_encode(batch[labels[role]], null_encoding="encode")
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.combine_chunks()
        values.append([_value(role, v) for v in encoded.dictionary.to_pylist()])
        code = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        total = code if total is None else total * max(len(values[-1]), 1) + code
    assert total is not None
    distinct, inverse = _distinct(total)
    numbers = np.empty(len(distinct), dtype=np.int64)
    for index, code in enumerate(distinct):
        key: dict[str, Any] = dict.fromkeys(LABELS)
        rest = int(code)
        for role, choices in zip(reversed(roles), reversed(values), strict=True):
            rest, at = divmod(rest, max(len(choices), 1))
            key[role] = choices[at]
        numbers[index] = counting.number(tuple(key[role] for role in LABELS))
    return numbers[inverse]


def _distinct(codes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    encoded = pc.dictionary_encode(pa.array(codes))
    return encoded.dictionary.to_numpy(), encoded.indices.to_numpy().astype(np.int64)


def _value(role: str, value: Any) -> Any:
    if value is None or value != value:  # noqa: PLR0124
        return None
    if role == "light":
        return light_of(value) if isinstance(value, str) else "on" if value else "off"
    if role == "channel" and isinstance(value, str):
        return int(value) if re.fullmatch(r"\d+", value) else value
    if role == "channel":
        return int(value) if value == int(value) else str(value)
    return _number(value)


def _number(value: Any) -> float | None:
    try:
        return round(float(value), 6)
    except ValueError:
        return None


def _floats(column: pa.Array) -> Array:
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _lengths(column: pa.Array) -> NDArray[np.int64]:
    return np.asarray(
        pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64
    )


def _list(column: pa.Array, row: int) -> Array | None:
    value = column[row]
    return None if not value.is_valid else _floats(value.values)
