"""Simulated modules in a store: what the line would have recorded about them."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import cv2
import numpy as np

import db
from station.catalogue import BoardShape, Catalogue, format_label
from station.events import Ending, Verdict

START = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
LIMITS = {
    "gain": (26.0, 30.5),
    "pedestal": (60.0, 160.0),
    "noise": (0.5, 5.0),
    "light_yield": (0.8, 6.0),
    "crosstalk": (None, 0.25),
    "gain_spread": (None, None),
}
UNITS = {
    "gain": "ADC/pe",
    "pedestal": "ADC",
    "noise": "ADC",
    "light_yield": "pe",
    "crosstalk": "1",
    "gain_spread": "ADC",
}


@dataclass
class Bench:
    """A store with the people and places that runs need, and a clock that goes on."""

    store: db.Store
    catalogue: Catalogue
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))
    now: datetime = START
    operator: str = "A. Weber"
    recipes: dict[str, db.Recipe] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.site = self.store.ensure_site(db.Site(name="DESY", code="1401"))
        self.station = self.store.ensure_station(db.Station(site_id=self.site.id, name="line 2"))
        self.person = self.store.ensure_operator(
            db.Operator(site_id=self.site.id, name=self.operator)
        )

    def tick(self, seconds: float = 1.0) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now

    def part(self, kind: str, label: str, subtype: str = "") -> db.Part:
        return self.store.ensure_part(
            db.Part(kind=kind, label=label, subtype=subtype, site_id=self.site.id, made_at=self.now)
        )

    def run(self, procedure: str, part_id: UUID) -> db.Run:
        recipe = self.recipes.get(procedure) or self.store.ensure_recipe(
            db.Recipe(
                name=procedure,
                version="1",
                sha256=hashlib.sha256(procedure.encode()).hexdigest(),
                content={"version": "1"},
            )
        )
        self.recipes[procedure] = recipe
        return db.Run(
            procedure=procedure,
            part_id=part_id,
            recipe_id=recipe.id,
            operator_id=self.person.id,
            station_id=self.station.id,
            started_at=self.tick(30),
            software_version="0.1.0",
            instruments={
                "bias": {
                    "idn": "KEITHLEY INSTRUMENTS,MODEL 2450,04096331,1.7.12b",
                    "serial": "04096331",
                    "address": "TCPIP::10.0.0.7::5025::SOCKET",
                },
                "readout": {"idn": "tileboard tester", "serial": "T-03", "address": "10.0.0.9"},
            },
            calibration={"camera_mm_per_px": 0.0202},
        )

    def end(
        self, run: db.Run, verdict: Verdict = "pass", *reasons: str, ending: Ending = "done"
    ) -> db.RunEnd:
        return db.RunEnd(
            run_id=run.id, at=self.tick(5), ending=ending, verdict=verdict, reasons=list(reasons)
        )

    def reading(
        self, run: db.Run, part_id: UUID, quantity: str, value: float | None, sigma: float | None,
        unit: str, *, channel: int | None = None, verdict: Verdict = "pass",
        low: float | None = None, high: float | None = None, reasons: tuple[str, ...] = (),
        supersedes: UUID | None = None,
    ) -> db.Reading:  # fmt: skip
        return db.Reading(
            run_id=run.id, part_id=part_id, channel=channel, quantity=quantity, value=value,
            sigma=sigma, unit=unit, method="simulated", low=low, high=high, verdict=verdict,
            reasons=list(reasons), at=self.tick(0.01), supersedes=supersedes,
        )  # fmt: skip


@dataclass
class Module:
    label: str
    part: db.Part
    board: db.Part
    shape: BoardShape


def open_bench(folder: Path, catalogue: Catalogue) -> Bench:
    return Bench(db.open_store(folder / "records.sqlite", folder / "files"), catalogue)


def record_module(
    bench: Bench,
    shape_name: str = "D8F",
    *,
    serial: int = 4711,
    bad: Mapping[int, Verdict] | None = None,
    skip: tuple[str, ...] = (),
    test_ending: Ending | None = "done",
    chipped: int | None = None,
    reason: str | None = None,
    placing: Sequence[tuple[int, Ending]] = ((1000, "done"),),
) -> Module:
    """Record the whole story of a module: tiles inspected, wrapped, placed; board tested.

    `bad` gives channels the verdict that their gain gets; `skip` names procedures that were not
    done; `test_ending` None leaves the test run open; `chipped` is a position whose tile has a
    chip with a picture; `placing` are the runs that place the tiles: up to which position, and how
    they ended.
    """
    shape = bench.catalogue.board_shapes[shape_name]
    module = bench.part("tile_module", format_label("TM", f"{shape_name}C", serial))
    board = bench.part("tileboard", format_label("TB", shape_name, serial))
    recorded = Module(str(module.label), module, board, shape)
    tiles = _tiles(bench, shape, serial)
    if "inspect_tile" not in skip:
        facts: list[db.Fact] = []
        for index, (bare, _) in enumerate(tiles):
            facts += _inspect(bench, shape, index, bare, chipped=index == chipped)
        bench.store.record(*facts)
    if "place_tiles" not in skip:
        first = 0
        for last, ending in placing:
            _place(bench, recorded, tiles, range(first, last), ending)
            first = last
    if "test_board" not in skip:
        record_test(bench, recorded, bad=bad or {}, ending=test_ending, reason=reason)
    return recorded


def record_test(
    bench: Bench,
    module: Module,
    *,
    bad: Mapping[int, Verdict],
    ending: Ending | None = "done",
    reason: str | None = None,
    channels: tuple[int, ...] | None = None,
) -> None:
    """An electrical test of all or some channels."""
    run = bench.run("test_board", module.part.id)
    facts: list[db.Reading | db.Curve] = []
    part = module.part.id
    volts = np.arange(36.0, 40.81, 0.1)
    amps = 2e-9 + 4e-7 * np.clip(volts - 38.34, 0, None) ** 2
    facts.append(_curve(bench, run, part, "iv", None, {"x": volts, "y": amps}, ("V", "A")))
    facts.append(bench.reading(run, part, "vbd_iv", 38.342, 0.013, "V", low=37.0, high=39.5))
    for position in module.shape.positions:
        if channels is None or position.channel in channels:
            facts += _channel(
                bench, run, part, position.channel, bad.get(position.channel, "pass"), reason
            )
    end: list[db.RunEnd] = []
    if ending is not None:
        said = [f"channel {c}: gain {v}" for c, v in sorted(bad.items())]
        verdict: Verdict = next(
            (v for v in ("fail", "unknown", "flag") if v in bad.values()), "pass"
        )
        if ending != "done":
            verdict, said = "unknown", [f"{ending}: the operator stopped it", *said]
        end.append(bench.end(run, verdict, *said, ending=ending))
    bench.store.record(run, *facts, *end)


def _channel(
    bench: Bench, run: db.Run, part: UUID, channel: int, verdict: Verdict, reason: str | None
) -> list[db.Reading | db.Curve]:
    rng = bench.rng
    gain = {"pass": 28.3, "flag": 26.05, "fail": 24.31, "unknown": 28.0}[verdict]
    gain += rng.normal(0, 0.4) if verdict == "pass" else 0.0
    values: dict[str, tuple[float | None, float | None]] = {
        "gain": (gain, 0.051) if verdict != "unknown" else (None, None),
        "pedestal": (rng.normal(102, 6), 0.08),
        "noise": (rng.normal(2.1, 0.1), 0.03),
        "light_yield": (rng.normal(2.4, 0.15), 0.021),
        "crosstalk": (rng.normal(0.048, 0.006), 0.003),
        "gain_spread": (rng.normal(1.4, 0.1), 0.12),
    }
    reasons = {
        "pass": (),
        "flag": (f"gain {gain:.2f}: inside the lower limit 26 by less than 2 sigma",),
        "fail": (reason or f"gain {gain:.2f} ± 0.05 ADC/pe: 1.69 beyond the lower limit 26",),
        "unknown": ("no resolved peaks: the spectrum has 12 entries",),
    }[verdict]
    facts: list[db.Reading | db.Curve] = []
    for quantity, (value, sigma) in values.items():
        low, high = LIMITS[quantity]
        is_bad = quantity == "gain"
        facts.append(
            bench.reading(
                run, part, quantity, value, sigma, UNITS[quantity], channel=channel, low=low,
                high=high, verdict=verdict if is_bad else "pass",
                reasons=reasons if is_bad else (),
            )
        )  # fmt: skip
    if verdict != "pass":
        pedestal = float(values["pedestal"][0] or 0)
        facts.append(
            _curve(
                bench, run, part, "charge_spectrum", channel,
                _spectrum(rng, gain, pedestal), ("ADC", "events"),
            )
        )  # fmt: skip
    return facts


def _spectrum(rng: np.random.Generator, gain: float, pedestal: float) -> dict[str, np.ndarray]:
    edges = np.arange(80.0, 420.0, 1.0)
    centres = (edges[:-1] + edges[1:]) / 2
    model = np.zeros_like(centres)
    weight = np.exp(-2.4)
    for k in range(12):
        width = np.hypot(2.1, 1.4 * np.sqrt(k))
        model += weight * np.exp(-0.5 * ((centres - pedestal - k * gain) / width) ** 2) / width
        weight *= 2.4 / (k + 1)
    model *= 5000 / model.sum()
    return {"x": edges, "y": rng.poisson(model).astype(float), "model": model}


def _curve(
    bench: Bench, run: db.Run, part: UUID, quantity: str, channel: int | None,
    arrays: Mapping[str, np.ndarray], units: tuple[str, str],
) -> db.Curve:  # fmt: skip
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return db.Curve(
        run_id=run.id, part_id=part, channel=channel, quantity=quantity, x_unit=units[0],
        y_unit=units[1], sha256=bench.store.attach(file.getvalue(), "application/x-npz"),
        at=bench.tick(0.01),
    )  # fmt: skip


def _tiles(bench: Bench, shape: BoardShape, serial: int) -> list[tuple[db.Part, db.Part]]:
    pairs = []
    facts: list[db.Part] = []
    for position in shape.positions:
        number = serial * 1000 + position.index
        bare, wrapped = (
            db.Part(
                kind=kind, label=format_label(major, position.format_code, number),
                subtype=position.format_code, site_id=bench.site.id, made_at=bench.now,
            )
            for kind, major in (("tile", "BC"), ("wrapped_tile", "TC"))
        )  # fmt: skip
        facts += [bare, wrapped]
        pairs.append((bare, wrapped))
    bench.store.record(*facts)
    return pairs


def _inspect(
    bench: Bench, shape: BoardShape, index: int, bare: db.Part, *, chipped: bool
) -> list[db.Fact]:
    tile = bench.catalogue.tile_formats[shape.positions[index].format_code]
    run = bench.run("inspect_tile", bare.id)
    nominal = {
        "inner_width": tile.inner_width_mm,
        "outer_width": tile.outer_width_mm,
        "height": tile.height_mm,
        "dimple_x": tile.dimple.x_mm,
        "dimple_y": tile.dimple.y_mm,
    }
    facts: list[db.Picture | db.Reading | db.Finding] = []
    if chipped:
        facts.append(_picture(bench, run, bare.id))
    for quantity, value in nominal.items():
        facts.append(
            bench.reading(
                run, bare.id, quantity, value + bench.rng.normal(0, 0.02), 0.006, "mm",
                low=value - 0.1, high=value + 0.1,
            )
        )  # fmt: skip
    facts.append(
        bench.reading(run, bare.id, "tile_rotation", bench.rng.normal(0, 0.004), 0.0003, "rad")
    )
    if chipped:
        facts.append(
            db.Finding(
                run_id=run.id, part_id=bare.id, kind="chip", x_mm=8.2, y_mm=-9.1, area_mm2=0.42,
                verdict="flag", text="chip in the edge, 0.31 mm deep", at=bench.tick(0.01),
            )
        )  # fmt: skip
    end = bench.end(run, "flag", "chip in the edge") if chipped else bench.end(run)
    return [run, *facts, end]


def _picture(bench: Bench, run: db.Run, part: UUID) -> db.Picture:
    image = np.full((900, 1200), 60, np.uint8)
    cv2.fillConvexPoly(image, np.array([(330, 700), (870, 700), (900, 180), (300, 180)]), 190)
    cv2.circle(image, (600, 440), 60, 150, -1)
    cv2.circle(image, (868, 640), 22, 60, -1)
    _, data = cv2.imencode(".jpg", cv2.GaussianBlur(image, (9, 9), 0))
    return db.Picture(
        run_id=run.id, part_id=part, purpose="bare tile in tray",
        sha256=bench.store.attach(data.tobytes(), "image/jpeg"), media_type="image/jpeg",
        mm_per_px=0.04, pose={"x_mm": 100.0, "y_mm": 50.0}, at=bench.tick(0.01),
    )  # fmt: skip


def _place(
    bench: Bench,
    module: Module,
    tiles: list[tuple[db.Part, db.Part]],
    positions: range,
    ending: Ending,
) -> None:
    run = bench.run("place_tiles", module.part.id)
    facts: list[db.Fact] = []
    if 0 in positions:
        facts.append(
            db.Assembly(
                parent_id=module.part.id, child_id=module.board.id, position="board",
                run_id=run.id, at=bench.tick(0.01),
            )
        )  # fmt: skip
    for position, (bare, wrapped) in zip(module.shape.positions, tiles, strict=True):
        if position.index not in positions:
            continue
        x, y = bench.rng.normal(0, 0.05, 2)
        facts += [
            db.Assembly(
                parent_id=wrapped.id, child_id=bare.id, position="inside", run_id=run.id,
                at=bench.tick(0.01),
            ),
            db.Assembly(
                parent_id=module.part.id, child_id=wrapped.id, position=str(position.index),
                run_id=run.id, x_mm=x, y_mm=y, sigma_mm=0.01, at=bench.tick(0.01),
            ),
        ]  # fmt: skip
        for quantity, value in (("sipm_offset_x", x), ("sipm_offset_y", y)):
            facts.append(
                bench.reading(
                    run, module.part.id, quantity, float(value), 0.011, "mm",
                    channel=position.channel, low=-0.25, high=0.25,
                )
            )  # fmt: skip
        facts.append(
            bench.reading(
                run, module.part.id, "placed_rotation", bench.rng.normal(0, 0.002), 0.0004, "rad",
                channel=position.channel, low=-0.012, high=0.012,
            )
        )  # fmt: skip
    end = (
        bench.end(run)
        if ending == "done"
        else bench.end(run, "unknown", f"{ending}: the program was ended", ending=ending)
    )
    bench.store.record(run, *facts, end)
