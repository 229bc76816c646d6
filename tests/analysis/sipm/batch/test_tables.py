"""Tables of every shape give the same spectra."""

from pathlib import Path

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from analysis.sipm.batch import Item, Naming, find_items
from analysis.sipm.batch.parts import Refused, spectrum_of
from analysis.sipm.spectrum import Spectrum
from tests.analysis.sipm.batch.toys import Toy

TOYS = [Toy(channel, bias) for channel in (0, 1, 2) for bias in (40.5, 41.0)]
EVENTS = 400


def charges(toy: Toy, light: str = "on") -> np.ndarray:
    return toy.charges(1.5 if light == "on" else 0.05, EVENTS)


def items(*sources: Path, **naming: float) -> list[Item]:
    return list(find_items(sources, Naming(**naming)))  # type: ignore[arg-type]


def assert_complete(found: list[Item], *, with_off: bool, bias: bool = True) -> None:
    assert len(found) == len(TOYS)
    by_key = {(item.channel, item.bias_v): item for item in found}
    for toy in TOYS:
        item = by_key[toy.channel, toy.bias_v]
        assert_same(spectrum_of(item.on), charges(toy))
        if with_off:
            assert item.off is not None
            assert_same(spectrum_of(item.off), charges(toy, "off"))
        else:
            assert item.off is None
    assert len({item.identity for item in found}) == len(found)
    assert len({item.source for item in found}) == len(found)


def assert_same(found: Spectrum, wanted: np.ndarray) -> None:
    whole = Spectrum.from_charges(wanted)
    first = int(np.searchsorted(found.edges, whole.edges[0] - 1e-6))
    np.testing.assert_allclose(found.edges[first : first + len(whole.edges)], whole.edges)
    np.testing.assert_array_equal(found.counts[first : first + len(whole.counts)], whole.counts)
    assert found.n_entries == whole.n_entries


def long_columns(lights: tuple[str, ...]) -> dict[str, np.ndarray]:
    rows = [(toy, light) for toy in TOYS for light in lights]
    columns = {
        "channel": np.repeat([toy.channel for toy, _ in rows], EVENTS),
        "bias_v": np.repeat([toy.bias_v for toy, _ in rows], EVENTS),
        "led": np.repeat([light == "on" for _, light in rows], EVENTS),
        "charge": np.concatenate([charges(*row) for row in rows]),
    }
    mixed = np.random.default_rng(1).permutation(len(columns["charge"]))
    return {name: values[mixed] for name, values in columns.items()}


def test_parquet_with_an_event_per_row_in_any_order(tmp_path: Path) -> None:
    file = tmp_path / "run.parquet"
    pq.write_table(pa.table(long_columns(("on", "off"))), file, row_group_size=700)
    assert_complete(items(file), with_off=True)


def test_a_tree_with_an_event_per_entry(tmp_path: Path) -> None:
    file = tmp_path / "run.root"
    columns = long_columns(("on", "off"))
    with uproot.recreate(file) as root:
        root.mktree("events", {name: values.dtype for name, values in columns.items()})
        root["events"].extend(columns)
    assert_complete(items(file), with_off=True)


@pytest.mark.parametrize("kind", ["parquet", "root"])
def test_a_column_for_every_channel(tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"run.{kind}"
    columns: dict[str, np.ndarray] = {"bias_v": np.repeat([40.5, 41.0], EVENTS)}
    for channel in (0, 1, 2):
        both = [toy for toy in TOYS if toy.channel == channel]
        columns[f"ch{channel}"] = np.concatenate([charges(toy) for toy in both])
        columns[f"ch{channel}_off"] = np.concatenate([charges(toy, "off") for toy in both])
    if kind == "parquet":
        pq.write_table(pa.table(columns), file)
    else:
        with uproot.recreate(file) as root:
            root.mktree("events", {name: values.dtype for name, values in columns.items()})
            root["events"].extend(columns)
    assert_complete(items(file), with_off=True)


def test_vectors_with_their_channels_and_vectors_by_position(tmp_path: Path) -> None:
    for bias in (40.5, 41.0):
        here = [toy for toy in TOYS if toy.bias_v == bias]
        matrix = np.stack([charges(toy) for toy in here], axis=1)
        with uproot.recreate(tmp_path / f"position_{bias}V.root") as root:
            root.mktree("t", {"adc": ("i8", (3,))})
            root["t"].extend({"adc": matrix})
        turned = [np.roll(np.arange(3), shift % 3) for shift in range(EVENTS)]
        with uproot.recreate(tmp_path / f"named_{bias}V.root") as root:
            root.mktree("t", {"ch": "var * int64", "charge": "var * int64"})
            root["t"].extend(
                {
                    "ch": ak.Array(turned),
                    "charge": ak.Array([matrix[i][order] for i, order in enumerate(turned)]),
                }
            )
    for name in ("position", "named"):
        files = [tmp_path / f"{name}_{bias}V.root" for bias in (40.5, 41.0)]
        assert_complete(items(*files), with_off=False)


@pytest.mark.parametrize("axis", ["edges", "centers"])
def test_a_histogram_per_row(tmp_path: Path, axis: str) -> None:
    rows = []
    for toy in TOYS:
        for light in ("on", "off"):
            spectrum = Spectrum.from_charges(charges(toy, light))
            rows.append(
                {
                    "channel": toy.channel,
                    "bias_v": toy.bias_v,
                    "light": light,
                    "counts": spectrum.counts.astype(int).tolist(),
                    axis: getattr(spectrum, axis).tolist(),
                }
            )
    file = tmp_path / "run.parquet"
    pq.write_table(pa.Table.from_pylist(rows), file)
    assert_complete(items(file), with_off=True)


def test_counts_beside_each_other_in_a_row(tmp_path: Path) -> None:
    edges = np.arange(0, 301) - 0.5
    rows = [
        {
            "channel": toy.channel,
            "bias_v": toy.bias_v,
            "counts": np.histogram(charges(toy), edges)[0].tolist(),
            "off_counts": np.histogram(charges(toy, "off"), edges)[0].tolist(),
        }
        for toy in TOYS
    ]
    file = tmp_path / "run.parquet"
    pq.write_table(pa.Table.from_pylist(rows), file)
    assert_complete(items(file), with_off=True)


def test_a_list_of_charges_per_row(tmp_path: Path) -> None:
    rows = [
        {"channel": toy.channel, "bias_v": toy.bias_v, "charges": charges(toy).tolist()}
        for toy in TOYS
    ]
    file = tmp_path / "run.parquet"
    pq.write_table(pa.Table.from_pylist(rows), file)
    assert_complete(items(file), with_off=False)


def test_a_collection_of_histograms(tmp_path: Path) -> None:
    file = tmp_path / "run.root"
    edges = np.arange(0, 301) - 0.5
    with uproot.recreate(file) as root:
        for toy in TOYS:
            for light in ("on", "off"):
                name = f"{toy.bias_v}V/h_ch{toy.channel}_{light}"
                root[name] = np.histogram(charges(toy, light), edges)
    assert_complete(items(file), with_off=True)


def test_light_off_in_a_file_of_its_own(tmp_path: Path) -> None:
    for light in ("on", "off"):
        columns = long_columns((light,))
        del columns["led"]
        pq.write_table(pa.table(columns), tmp_path / f"run7_led_{light}.parquet")
    assert_complete(items(tmp_path), with_off=True)


def test_a_channel_with_a_charge_that_is_no_number_is_refused_alone(tmp_path: Path) -> None:
    columns = long_columns(("on",))
    columns["charge"] = columns["charge"].astype(float)
    columns["charge"][np.flatnonzero(columns["channel"] == 1)[0]] = np.nan
    file = tmp_path / "run.parquet"
    pq.write_table(pa.table(columns), file)
    refused = [item for item in items(file) if isinstance(item.on, Refused)]
    assert [item.channel for item in refused] == [1]
    assert isinstance(refused[0].on, Refused)
    assert "not finite" in refused[0].on.reason


def test_channels_may_have_names(tmp_path: Path) -> None:
    file = tmp_path / "run.parquet"
    table = {"channel": ["R3C2"] * 3 + ["R3C3"] * 3, "charge": [1, 2, 3, 4, 5, 6]}
    pq.write_table(pa.table(table), file)
    assert [item.channel for item in items(file)] == ["R3C2", "R3C3"]


def test_columns_that_say_nothing_are_named(tmp_path: Path) -> None:
    file = tmp_path / "weather.parquet"
    pq.write_table(pa.table({"wind": [1.0], "rain": [2.0]}), file)
    (item,) = items(file)
    assert isinstance(item.on, Refused)
    assert "wind, rain" in item.on.reason
    assert item.source == str(file)


@pytest.mark.parametrize("kind", ["parquet", "root"])
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.98])
def test_damaged_tables_are_one_item_that_names_the_file(
    tmp_path: Path, kind: str, keep: float
) -> None:
    file = tmp_path / f"run.{kind}"
    columns = long_columns(("on",))
    if kind == "parquet":
        pq.write_table(pa.table(columns), file)
    else:
        with uproot.recreate(file) as root:
            root.mktree("events", {name: values.dtype for name, values in columns.items()})
            root["events"].extend(columns)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(keep * len(whole))])
    found = items(file)
    assert [item.source for item in found] == [str(file)]
    assert isinstance(found[0].on, Refused)
    assert found[0].on.reason
