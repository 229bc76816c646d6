"""Gains of spectra in files, and their way into the records."""

import getpass
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from sqlmodel import select

import db
from analysis.estimate import Estimate, unknown
from analysis.sipm.gain import DevicePrior, GainAnswer, extract_gain
from analysis.sipm.readers import SpectrumFileError, read_spectrum
from analysis.sipm.spectrum import Spectrum
from db import Store, open_store
from station.catalogue import LabelError, parse_label
from station.events import Reading
from station.limits import judge
from station.run_record import Crew, reading_fact
from station.session import DATABASE

PROCEDURE = "gain_of_file"
NO_LIMITS = {"limits": "none", "procedure": PROCEDURE}


class GainError(Exception):
    """The request can't be done as it stands; nothing was stored."""


@dataclass(frozen=True)
class Measured:
    """What was measured beside the light-on spectra, and how.

    off: light-off spectra, one for each file or one for all; empty for none. bin_width: ADC per
    bin for lists of single charges. gate_ns, pulse_tau_ns: gate and decay time of the pulses.
    """

    off: Sequence[str] = ()
    bin_width: float = 1.0
    gate_ns: float | None = None
    pulse_tau_ns: float | None = None


@dataclass(frozen=True)
class FileGain:
    """What one file gave. `spectrum` and `off` are None when they could not be read or given."""

    source: str
    answer: GainAnswer
    spectrum: Spectrum | None
    off: Spectrum | None = None


def gain_of_files(
    files: Sequence[str],
    measured: Measured,
    priors: Sequence[DevicePrior | None],
) -> list[FileGain]:
    """Gain of every file, in order; a file that can't be read is an unknown with its reason.

    priors: what is known of the device of each file. Raises GainError when a light-off file can't
    be read or when files and light-off files don't match in number.
    """
    if len(measured.off) not in {0, 1, len(files)}:
        raise GainError(f"{len(measured.off)} light-off spectra for {len(files)} files")
    try:
        dark = [read_spectrum(file, bin_width=measured.bin_width) for file in measured.off]
    except SpectrumFileError as error:
        raise GainError(str(error)) from error
    partners: list[Spectrum | None] = [*dark] if len(dark) == len(files) else [None] * len(files)
    if len(dark) == 1:
        partners = [dark[0]] * len(files)
    return [
        _gain_of_file(file, off, measured, prior)
        for file, off, prior in zip(files, partners, priors, strict=True)
    ]


def _gain_of_file(
    file: str, off: Spectrum | None, measured: Measured, prior: DevicePrior | None
) -> FileGain:
    try:
        spectrum = read_spectrum(file, bin_width=measured.bin_width)
    except (SpectrumFileError, ValueError) as error:
        return FileGain(file, GainAnswer(unknown("ADC/pe", "none", str(error)), "unknown"), None)
    answer = extract_gain(
        spectrum,
        off,
        prior=prior,
        gate_ns=measured.gate_ns,
        pulse_tau_ns=measured.pulse_tau_ns,
    )
    return FileGain(file, answer, spectrum, off)


def priors_from_answers(file: Path, sources: Sequence[str]) -> list[DevicePrior | None]:
    """What an earlier `tessera gain --json` of the same devices at the same bias found.

    One answer in the file holds for all sources; of several, every source takes the one whose
    file has the same name. Raises GainError when the file is none of these or has no answer.
    """
    try:
        answers = json.loads(file.read_text())
    except OSError as error:
        raise GainError(f"{file}: {error.strerror or error}") from error
    except ValueError as error:
        raise GainError(f"{file}: not the output of tessera gain --json: {error}") from error
    answers = answers if isinstance(answers, list) else [answers]
    try:
        names = [Path(answer["source"]).name for answer in answers]
        priors: dict[str, DevicePrior | None] = {
            name: _prior(answer) for name, answer in zip(names, answers, strict=True)
        }
    except (KeyError, TypeError, ValueError) as error:
        raise GainError(f"{file}: not the output of tessera gain --json: {error!r}") from error
    if len(answers) == 1:
        return [*priors.values()] * len(sources)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise GainError(f"{file}: several answers for files named {', '.join(twice[:4])}")
    lacking = [source for source in sources if Path(source).name not in priors]
    if lacking:
        raise GainError(f"{file}: no answer for {', '.join(lacking[:4])}")
    return [priors[Path(source).name] for source in sources]


def _prior(answer: Mapping[str, Any]) -> DevicePrior:
    found: dict[str, Any] = {}
    quantities = {**answer["quantities"], "gain": answer}
    for name in (field.name for field in fields(DevicePrior)):
        quantity = quantities.get(name)
        if quantity is not None and quantity["value"] is not None:
            found[name] = Estimate(
                float(quantity["value"]),
                float(quantity["sigma"]),
                str(quantity["unit"]),
                f"earlier: {quantity['method']}",
            )
    return DevicePrior(**found)


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
            if result.spectrum is None:
                continue
            if label is None:
                part = _unlabelled(store, crew, Path(result.source).name)
            else:
                part = store.ensure_part(
                    db.Part(
                        kind=label.kind,
                        label=label.text,
                        subtype=label.subtype,
                        site_id=crew.site_id,
                    )
                )
            _store_one(store, crew, recipe, part, result, result.spectrum)


def _store_one(
    store: Store,
    crew: Crew,
    recipe: db.Recipe,
    part: db.Part,
    result: FileGain,
    spectrum: Spectrum,
) -> None:
    now = datetime.now(UTC)
    answer = result.answer
    run = db.Run(
        procedure=PROCEDURE,
        part_id=part.id,
        recipe_id=recipe.id,
        operator_id=crew.operator_id,
        station_id=crew.station_id,
        started_at=now,
        software_version=crew.software_version,
        instruments={"file": Path(result.source).name},
    )
    readings = []
    for quantity, estimate in {"gain": answer.gain, **answer.quantities}.items():
        reading = Reading.from_estimate(quantity, estimate)
        verdict, reasons = judge(reading, None)
        if quantity == "gain":
            verdict, reasons = answer.verdict, answer.reasons
        readings.append(reading_fact(reading, run.id, part.id, None, verdict, reasons))
    store.record(
        run,
        *readings,
        db.Curve(
            run_id=run.id,
            part_id=part.id,
            quantity="charge_spectrum",
            x_unit="ADC",
            y_unit="events",
            sha256=store.attach(_npz(spectrum, answer), "application/x-npz"),
            meta={"method": answer.gain.method, "reasons": list(answer.reasons)},
            at=now,
        ),
        db.RunEnd(
            run_id=run.id,
            at=datetime.now(UTC),
            ending="done",
            verdict=answer.verdict,
            reasons=list(answer.reasons),
        ),
    )


def _npz(spectrum: Spectrum, answer: GainAnswer) -> bytes:
    model = np.zeros(len(spectrum.counts)) if answer.model is None else answer.model
    file = io.BytesIO()
    np.savez_compressed(file, x=spectrum.edges, y=spectrum.counts, model=model)
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
