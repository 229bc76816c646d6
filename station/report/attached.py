"""Curves and pictures of a report, read back from their files."""

import io
import zipfile
from collections.abc import Sequence
from typing import cast

import numpy as np

import db
from station.catalogue import BoardShape, LabelError, TilePosition, parse_label
from station.events import Verdict
from station.report.model import CurveData, FoundDefect
from station.report.records import ModuleFacts


def load_curve(store: db.Store, curve: db.Curve, name: str, notices: list[str]) -> CurveData | None:
    """The curve in the file; None, with a notice that says why, when there is none in it."""
    try:
        with np.load(io.BytesIO(store.read_attachment(curve.sha256)), allow_pickle=False) as file:
            x = np.asarray(file["x"], dtype=np.float64)
            y = np.asarray(file["y"], dtype=np.float64)
            model = np.asarray(file["model"], dtype=np.float64) if "model" in file else None
    except (db.StoreError, KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        notices.append(f"{name}: its file can't be read ({error})")
        return None
    if (
        y.ndim != 1
        or x.shape not in (y.shape, (len(y) + 1,))
        or (model is not None and model.shape != y.shape)
        or not len(y)
        or not (np.isfinite(x).all() and np.isfinite(y).all())
    ):
        notices.append(f"{name}: its file does not hold a curve (x {x.shape}, y {y.shape})")
        return None
    return CurveData(curve.quantity, curve.channel, x, y, model, curve.x_unit, curve.y_unit)


def findings(
    store: db.Store, facts: ModuleFacts, shape: BoardShape, notices: list[str]
) -> tuple[FoundDefect, ...]:
    """Findings of the last run of each procedure on each part, with their pictures."""
    parts = {part.part_id: part for part in facts.parts}
    last_runs = {(run.part_id, run.procedure): run.run_id for run in facts.runs if run.ending}
    last = set(last_runs.values())
    found = []
    for finding in facts.findings:
        if finding.run_id not in last:
            continue
        part = parts[finding.part_id]
        place = parts[part.inside] if part.kind == "tile" and part.inside else part
        position = position_named(shape, place.position)
        picture = _picture_of(finding, facts.pictures)
        try:
            data = store.read_attachment(picture.sha256) if picture else None
        except db.StoreError as error:
            notices.append(f"picture of {part.label}: it can't be read ({error})")
            data = None
        found.append(
            FoundDefect(
                part_label=part.label,
                position=position.name if position else place.position,
                format_code=_format_code(part.label),
                kind=finding.kind,
                verdict=cast(Verdict, finding.verdict),
                text=finding.text,
                x_mm=finding.x_mm,
                y_mm=finding.y_mm,
                area_mm2=finding.area_mm2,
                picture=data,
            )
        )
    return tuple(found)


def position_named(shape: BoardShape, name: str) -> TilePosition | None:
    """The position with this index or name, such as ``7`` or ``R1C8``."""
    for position in shape.positions:
        if name in (str(position.index), position.name):
            return position
    return None


def _picture_of(finding: db.Finding, pictures: Sequence[db.Picture]) -> db.Picture | None:
    """The picture that the finding names, or the last one of its run before it."""
    before = None
    for picture in pictures:
        if picture.id == finding.picture_id:
            return picture
        if picture.run_id == finding.run_id and picture.at <= finding.at:
            before = picture
    return before if finding.picture_id is None else None


def _format_code(label: str) -> str | None:
    try:
        return parse_label(label).format_code
    except LabelError:
        return None
