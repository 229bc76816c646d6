"""Gains of spectra in files, and their way into the records."""

import getpass
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from sqlmodel import select

import db
from analysis.estimate import Estimate
from analysis.sipm.dispersion import mean_dispersion
from analysis.sipm.peaks import PeakFit, fit_peaks
from analysis.sipm.readers import SpectrumFileError, read_spectrum
from analysis.sipm.spectrum import Spectrum
from db import Store, open_store
from station.catalogue import LabelError, parse_label
from station.events import Reading, Verdict
from station.limits import judge, worst
from station.runner import Crew, reading_fact
from station.session import DATABASE

PROCEDURE = "gain_of_file"
NO_LIMITS = {"limits": "none", "procedure": PROCEDURE}
QUANTITIES = ("gain", "pedestal", "noise", "gain_spread", "light_yield", "crosstalk")


class GainError(Exception):
    """The request can't be done as it stands; nothing was stored."""


@dataclass(frozen=True)
class FileGain:
    """What one file gave. `spectrum` and `fit` are None when it could not be read."""

    file: str
    estimate: Estimate
    spectrum: Spectrum | None
    fit: PeakFit | None

    @property
    def unreadable(self) -> bool:
        return self.spectrum is None

    @property
    def verdict(self) -> Verdict:
        return "unknown" if self.estimate.value is None else "pass"

    def as_data(self) -> dict[str, Any]:
        """The object that `--json` prints for this file."""
        return {
            "file": self.file,
            "value": self.estimate.value,
            "sigma": self.estimate.sigma,
            "unit": self.estimate.unit,
            "method": self.estimate.method,
            "verdict": self.verdict,
            "reasons": list(self.estimate.reasons),
            "goodness": dict(self.estimate.goodness),
        }


def gain_of_files(
    files: Sequence[str],
    *,
    off: str | None = None,
    enf_divisor: float | None = None,
    enf_divisor_sigma: float | None = None,
) -> list[FileGain]:
    """Gain of every file, in order; a file that can't be read is an unknown with its reason.

    Peaks are fitted first; where there are none and a light-off spectrum is given, mean and
    dispersion is used. Raises GainError when the light-off file can't be read or the divisor F
    comes without its error.
    """
    if (enf_divisor is None) != (enf_divisor_sigma is None):
        raise GainError("the divisor F and its error belong together: give both or none")
    divisor = None
    if enf_divisor is not None and enf_divisor_sigma is not None:
        divisor = Estimate(enf_divisor, enf_divisor_sigma, "1", "given by the user", {})
    try:
        dark = None if off is None else read_spectrum(off)
    except SpectrumFileError as error:
        raise GainError(str(error)) from error
    return [_gain_of_file(file, dark, divisor) for file in files]


def _gain_of_file(file: str, dark: Spectrum | None, divisor: Estimate | None) -> FileGain:
    try:
        spectrum = read_spectrum(file)
    except SpectrumFileError as error:
        return FileGain(file, Estimate(None, None, "ADC/pe", "none", {}, (str(error),)), None, None)
    fit = fit_peaks(spectrum)
    estimate = fit.gain
    if estimate.value is None and dark is not None:
        by_moments = mean_dispersion(spectrum, dark, divisor)
        if by_moments.value is not None:
            estimate = by_moments
        else:
            estimate = Estimate(
                None,
                None,
                estimate.unit,
                f"{estimate.method}, {by_moments.method}",
                {},
                (*estimate.reasons, *by_moments.reasons),
            )
    return FileGain(file, estimate, spectrum, fit)


def store_gains(
    results: Sequence[FileGain], data: Path, *, part_label: str | None, operator: str | None
) -> None:
    """Keep every readable result: a run with its readings, the spectrum with its model, the file.

    Without `part_label` the part is an unlabelled SiPM named after the file. Raises GainError for
    a label that can't be, `db.StoreError` when the records refuse.
    """
    try:
        label = None if part_label is None else parse_label(part_label)
    except LabelError as error:
        raise GainError(str(error)) from error
    with open_store(data / DATABASE, data / "attachments") as store:
        crew = _desk(store, operator or getpass.getuser())
        recipe = store.ensure_recipe(
            db.Recipe(
                name=PROCEDURE,
                version="1",
                sha256=hashlib.sha256(json.dumps(NO_LIMITS).encode()).hexdigest(),
                content=NO_LIMITS,
            )
        )
        for result in results:
            if result.spectrum is None or result.fit is None:
                continue
            if label is None:
                part = _unlabelled(store, crew, Path(result.file).name)
            else:
                part = store.ensure_part(
                    db.Part(
                        kind=label.kind,
                        label=label.text,
                        subtype=label.subtype,
                        site_id=crew.site_id,
                    )
                )
            _store_one(store, crew, recipe, part, result)


def _store_one(
    store: Store, crew: Crew, recipe: db.Recipe, part: db.Part, result: FileGain
) -> None:
    assert result.spectrum is not None
    assert result.fit is not None
    now = datetime.now(UTC)
    run = db.Run(
        procedure=PROCEDURE,
        part_id=part.id,
        recipe_id=recipe.id,
        operator_id=crew.operator_id,
        station_id=crew.station_id,
        started_at=now,
        software_version=crew.software_version,
        instruments={"file": Path(result.file).name},
    )
    readings = []
    for quantity in QUANTITIES:
        estimate = result.estimate if quantity == "gain" else getattr(result.fit, quantity)
        reading = Reading.from_estimate(quantity, estimate)
        verdict, reasons = judge(reading, None)
        readings.append(reading_fact(reading, run.id, part.id, None, verdict, reasons))
    verdict = worst([r.verdict for r in readings if r.quantity == "gain"])  # type: ignore[misc]
    store.record(
        run,
        *readings,
        db.Curve(
            run_id=run.id,
            part_id=part.id,
            quantity="charge_spectrum",
            x_unit="ADC",
            y_unit="events",
            sha256=store.attach(_npz(result.spectrum, result.fit), "application/x-npz"),
            meta={"kind": result.fit.kind, "reasons": list(result.fit.reasons)},
            at=now,
        ),
        db.RunEnd(
            run_id=run.id,
            at=datetime.now(UTC),
            ending="done",
            verdict=verdict,
            reasons=list(result.estimate.reasons),
        ),
    )


def _npz(spectrum: Spectrum, fit: PeakFit) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, x=spectrum.edges, y=spectrum.counts, model=fit.model)
    return file.getvalue()


def _desk(store: Store, operator_name: str) -> Crew:
    site = store.ensure_site(db.Site(name="local", code="LOCAL"))
    station = store.ensure_station(db.Station(site_id=site.id, name="desk"))
    operator = store.ensure_operator(db.Operator(site_id=site.id, name=operator_name))
    return Crew(site.id, station.id, operator.id, version("tessera-qc"))


def _unlabelled(store: Store, crew: Crew, name: str) -> db.Part:
    note = f"spectrum file {name}"
    with store.session() as session:
        found = session.exec(
            select(db.Part).where(db.Part.kind == "sipm", db.Part.note == note)
        ).first()
    if found is not None:
        return found
    part = db.Part(kind="sipm", site_id=crew.site_id, note=note)
    store.record(part)
    return part
