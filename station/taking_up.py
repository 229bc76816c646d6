"""A session begins: the bias comes down, broken runs are closed, the journal is taken up."""

from datetime import UTC, datetime
from pathlib import Path

import db
from db import Store
from drivers.roles import BiasReading, BiasSupply
from station.discrepancies import Found, compare
from station.journal import Journal
from station.journal_file import JournalError
from station.line import Line
from station.recovery import Recovery
from station.run_record import Crew, remember
from station.safe_state import SAFE_VOLTAGE_V
from station.safety.rules import breaches
from station.safety.section import POSITIONED


def bias_as_found(bias: BiasSupply, *, ramp_v_per_s: float) -> tuple[BiasReading, str | None]:
    """Read the bias as it is and bring it down if it is on.

    Returns the reading as found, and the sentence that tells what was done, or None when the
    output was off. Raises `drivers.errors.InstrumentError` when it does not come down.
    """
    found = bias.read()
    if not found.output_on and abs(found.voltage_v) <= SAFE_VOLTAGE_V:
        return found, None
    after = bias.ramp_down(rate_v_per_s=ramp_v_per_s)
    return found, (
        f"the bias was found at {found.voltage_v:.2f} V, output "
        f"{'on' if found.output_on else 'off'}; it was ramped down and reads "
        f"{after.voltage_v:.2f} V, output {'on' if after.output_on else 'off'}"
    )


def close_broken_runs(
    store: Store, crew: Crew, bias_story: str | None, step: str = ""
) -> list[str]:
    """Close every run that this station left open, as interrupted, with what was found."""
    stories = []
    if bias_story is not None:
        remember(store, crew, bias_story)
        stories.append(bias_story)
    for run in store.open_runs(crew.station_id):
        part = store.part(run.part_id)
        reasons = [
            "the station stopped without ending this run" + (f", at: {step}" if step else "")
        ]
        if bias_story is not None:
            reasons.append(bias_story)
        store.record(
            db.RunEnd(
                run_id=run.id,
                at=datetime.now(UTC),
                ending="interrupted",
                verdict="unknown",
                reasons=reasons,
            )
        )
        stories.append(f"run {run.procedure} of {part.label} was closed as interrupted")
    return stories


def _nothing_is_wrong(line: Line) -> bool:
    """Whether the rules about all but the gantry let it move now; nobody watches them yet."""
    seen = line.observe()
    broken = (
        breach
        for rule in line.profile.safety.all_rules()
        if rule.severity == "trip" and not rule.quantity.startswith(POSITIONED)
        for breach in breaches(rule, seen)
    )
    return next(broken, None) is None


def take_up(
    line: Line,
    store: Store,
    crew: Crew,
    path: Path,
    *,
    bias: BiasReading,
    bias_story: str | None,
    watchdog: str = "",
) -> tuple[tuple[str, ...], Recovery]:
    """Take up the journal at `path` on a safe line: what was found, told, and left to settle.

    bias: its reading before it was brought down, with the sentence that tells that.
    watchdog: what the watchdog told that it did since.

    The runs that were left open are closed. A gantry that lost its home between two sessions that
    closed well is homed at once, unless a rule is broken; otherwise nothing moves. Raises
    JournalError when the journal can't be used (the runs are closed by then), StoreError and
    InstrumentError.
    """
    site, station = line.profile.site, line.profile.station
    try:
        journal = Journal.open(path, f"{site.code}/{station.name}")
    except JournalError:
        close_broken_runs(store, crew, bias_story)
        raise
    line.keep_journal(journal)
    stories = close_broken_runs(store, crew, bias_story, journal.found.step)
    seen = compare(journal.found, Found(bias=bias, watchdog=watchdog))
    opening = tuple(about for about in seen if about.kind.startswith("bias"))
    recovery = Recovery(line, store, crew, opening)
    if journal.found.clean and not line.gantry.is_homed() and _nothing_is_wrong(line):
        line.gantry.home()
    outlook = [about.text for about in recovery.left() if about.kind != "bias_left_on"]
    return (*stories, *outlook), recovery
