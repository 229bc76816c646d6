"""After a crash: bias down before anything else, then the broken runs closed with their story."""

from datetime import UTC, datetime

from sqlmodel import col, select

import db
from db import Store
from drivers.roles import BiasReading, BiasSupply
from station.events import RefusedError
from station.line import Line
from station.run_record import Crew
from station.safe_state import SAFE_VOLTAGE_V

TILE_ON_TRAY_CLEARANCE_MM = 0.2


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


def close_broken_runs(store: Store, crew: Crew, bias_story: str | None) -> list[str]:
    """Close every run that this station left open, as interrupted, with what was found."""
    stories = []
    if bias_story is not None:
        remember(store, crew, bias_story)
        stories.append(bias_story)
    for run in store.open_runs(crew.station_id):
        part = store.part(run.part_id)
        reasons = ["the station stopped without ending this run"]
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


def put_back_held_tile(line: Line, store: Store, crew: Crew) -> list[str]:
    """Return a tile that is still on the nozzle to the tray slot it was picked from.

    Raises RefusedError when the records don't say which slot that is: a person must take it off.
    """
    if not line.gripper.vacuum_on():
        return []
    if not line.gripper.holding():
        line.gripper.release()
        return []
    with store.session() as session:
        note = session.exec(
            select(db.Event)
            .where(db.Event.station_id == crew.station_id, db.Event.text == "placing")
            .order_by(col(db.Event.at).desc())
        ).first()
    if note is None:
        raise RefusedError("a tile hangs on the nozzle and no record says where it came from")
    slot, label = int(note.data["slot"]), str(note.data["label"])
    line.lift()
    line.move_over(*line.tray_slot(slot))
    line.lower_to(
        line.profile.tray.surface_z_mm
        + float(note.data["thickness_mm"])
        + TILE_ON_TRAY_CLEARANCE_MM
    )
    line.gripper.release()
    line.wait(line.profile.gripper.settle_s)
    line.lift()
    story = f"{label} was found on the nozzle and put back into slot {slot}"
    remember(store, crew, story)
    return [story]


def remember(store: Store, crew: Crew, text: str) -> None:
    """Store a recovery event of the station."""
    store.record(
        db.Event(
            station_id=crew.station_id, at=datetime.now(UTC), kind="recovery", text=text, data={}
        )
    )
