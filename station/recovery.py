"""After a crash, a stop or a power cut: what was found is compared with the journal and settled.

The bias comes down first, always, without asking. Whatever else is not as the journal has it
becomes a proposal to the operator, and nothing moves before it is answered. Where nobody sits at
the line the safest choice is taken and the records say that nobody was asked.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from sqlmodel import col, select

import db
from db import Store
from drivers.errors import MachineAlarm, NotHomed
from station.discrepancies import Discrepancy, Found, Kind, compare
from station.events import Answer, Ask, RefusedError, unattended
from station.last_known import NOWHERE, Axes, Carried, LastKnown
from station.line import Line
from station.proposals import DONE, RETRY, SET_ASIDE, STOP, Proposal, propose
from station.run_record import Crew, remember
from station.set_aside import set_aside

TILE_ON_TRAY_CLEARANCE_MM = 0.2
MOST_ROUNDS = 50
"""No machine has so many things to settle: then something does not stay settled."""


def read_machine(line: Line) -> Found:
    """Read the machine as it is; nothing is changed. Raises `drivers.errors.InstrumentError`."""
    alarm, homed, position = _gantry(line)
    vacuum_on = line.gripper.vacuum_on()
    return Found(
        homed=homed,
        alarm=alarm,
        position_mm=position,
        vacuum_on=vacuum_on,
        holding=vacuum_on and line.gripper.holding(),
        chiller_on=None if line.chiller is None else line.chiller.running(),
        serials=serials(line),
    )


def serials(line: Line) -> dict[str, str]:
    """The serial numbers of the instruments that have one; an address is none."""
    roles: dict[str, Any] = {
        "bias": line.bias,
        "readout": line.readout,
        "gantry": line.gantry,
        "camera": line.camera,
        "chiller": line.chiller,
    }
    known = {role: one.identity for role, one in roles.items() if one is not None}
    return {
        role: identity.serial
        for role, identity in known.items()
        if identity.serial and identity.serial != identity.port
    }


def _gantry(line: Line) -> tuple[str, bool, Axes]:
    try:
        state = line.gantry.state()
        if state.startswith("Alarm"):
            return state, False, NOWHERE
        if not line.gantry.is_homed():
            return "", False, NOWHERE
        at = line.gantry.position()
    except MachineAlarm as alarm:
        return alarm.what, False, NOWHERE
    except NotHomed:
        return "", False, NOWHERE
    return "", True, (at.x_mm, at.y_mm, at.z_mm)


class Recovery:
    """What has to be settled on a line before work goes on.

    opening: what was found of the bias when the station started, before it was brought down.
    """

    def __init__(
        self, line: Line, store: Store, crew: Crew, opening: tuple[Discrepancy, ...] = ()
    ) -> None:
        self._line = line
        self._store = store
        self._crew = crew
        self._opening = list(opening)
        self._accepted: set[str] = set()
        self._stories: list[str] = []

    def left(self, found: Found | None = None) -> list[Discrepancy]:
        """What has to be told or asked; nothing is changed."""
        seen = compare(self._known(), found or read_machine(self._line))
        return [about for about in (*self._opening, *seen) if about.text not in self._accepted]

    def settle(self, answer: Answer) -> tuple[str, ...]:
        """Compare, ask and act until nothing is left to settle; returns the story.

        Raises RefusedError when a person stops it, RunAbortedError and InterlockTrippedError when
        the line is stopped, JournalError, `db.StoreError`, and `drivers.errors.InstrumentError`
        when an act fails. The next call goes on from what the machine is then.
        """
        self._accepted.clear()
        self._stories = []
        for _ in range(MOST_ROUNDS):
            with self._line.checkpoint():
                pass
            found = read_machine(self._line)
            left = self.left(found)
            if not left:
                self._is_settled(found)
                return tuple(self._stories)
            self._settle(left[0], self._known(), found, answer)
        raise RefusedError("the line does not stay as it was settled; look at it by eye")

    def _known(self) -> LastKnown:
        journal = self._line.journal
        return LastKnown() if journal is None else journal.known

    def _is_settled(self, found: Found) -> None:
        """From now on the journal has the machine as it is."""
        self._opening.clear()
        journal = self._line.journal
        if journal is None:
            return
        journal.machine(
            {
                "position_mm": list(found.position_mm),
                "homed": found.homed,
                "vacuum_on": found.vacuum_on,
                "holding": found.holding,
                "chiller_on": found.chiller_on,
            }
        )
        if dict(journal.known.serials) != dict(found.serials):
            journal.instruments(found.serials)

    def _settle(self, about: Discrepancy, known: LastKnown, found: Found, answer: Answer) -> None:
        about = self._with_origin(about)
        proposal = propose(about, known, found)
        if proposal is None:
            if about.kind == "vacuum_without_tile":
                self._line.release()
            self._tell(about.text, {"kind": about.kind})
            self._accepted.add(about.text)
            return
        said = self._ask(proposal, answer)
        if said == STOP:
            raise RefusedError(f"stopped at: {proposal.question}")
        if said == RETRY:
            return
        self._accepted.add(about.text)
        if said == SET_ASIDE:
            self._set_aside(about, known, answer)
        else:
            _CONTINUE.get(about.kind, _go_on)(self, about)
        # only now: what could not be done is asked again
        if about in self._opening:
            self._opening.remove(about)

    def _with_origin(self, about: Discrepancy) -> Discrepancy:
        """A tile of which the journal says nothing may be in the notes of the records."""
        if about.kind != "tile_on_nozzle" or about.carried is not None:
            return about
        carried = last_placing(self._store, self._crew)
        if carried is None:
            return about
        text = (
            f"a tile hangs on the nozzle; by the records it is {carried.label} from slot "
            f"{carried.slot}"
        )
        return Discrepancy(about.kind, text, carried)

    def _ask(self, proposal: Proposal, answer: Answer) -> str:
        said = answer(Ask(proposal.question, proposal.choices, proposal.default))
        if said not in proposal.choices:
            raise RefusedError(f"no answer to: {proposal.question}")
        asked = "nobody" if unattended(answer) else "operator"
        remember(
            self._store,
            self._crew,
            f"{proposal.question} {_WHO_SAID[asked]}: {said}",
            {
                "kind": proposal.about.kind,
                "choices": list(proposal.choices),
                "answer": said,
                "asked": asked,
                "carried": None if (c := proposal.about.carried) is None else asdict(c),
            },
        )
        return said

    def _tell(self, story: str, data: Mapping[str, Any]) -> None:
        remember(self._store, self._crew, story, data)
        self._stories.append(story)

    # -- what is done ------------------------------------------------------------------------

    def _home(self, about: Discrepancy) -> None:
        with self._line.checkpoint():
            self._line.gantry.home()
        self._tell("the gantry was homed", {"kind": about.kind})

    def _recover_alarm(self, about: Discrepancy) -> None:
        with self._line.checkpoint():
            recover_gantry(self._line)
        self._tell("the alarm of the gantry was acknowledged and it was homed", {"kind": "alarm"})

    def _start_chiller(self, about: Discrepancy) -> None:
        assert self._line.chiller is not None
        with self._line.checkpoint():
            self._line.chiller.start()
        self._tell("the chiller was started again", {"kind": about.kind})

    def _put_back(self, about: Discrepancy) -> None:
        tile = about.carried
        assert tile is not None
        line = self._line
        line.lift()
        line.move_over(*line.tray_slot(tile.slot))
        line.lower_to(
            line.profile.tray.surface_z_mm + tile.thickness_mm + TILE_ON_TRAY_CLEARANCE_MM
        )
        line.release()
        line.wait(line.profile.gripper.settle_s)
        line.lift()
        self._tell(
            f"{tile.label} was found on the nozzle and put back into slot {tile.slot}",
            {"kind": about.kind, "carried": asdict(tile)},
        )

    def _set_aside(self, about: Discrepancy, known: LastKnown, answer: Answer) -> None:
        tile = about.carried
        label = known.run.label if tile is None and known.run is not None else None
        label = tile.label if tile is not None else label
        if about.kind == "tile_on_nozzle":
            self._hand_over(label or "the tile", answer)
        if label is None:
            return
        part = self._store.get_part(label)
        if part is not None:
            self._stories.append(set_aside(self._store, self._crew, part, about.text))

    def _hand_over(self, what: str, answer: Answer) -> None:
        question = f"Hold {what} under the nozzle: the vacuum goes off when you say {DONE}."
        if answer(Ask(question, (DONE, STOP), STOP)) != DONE:
            raise RefusedError(f"stopped at: {question}")
        self._line.release()


_WHO_SAID = {"nobody": "Nobody was asked", "operator": "Answered"}


def _go_on(recovery: Recovery, about: Discrepancy) -> None:
    """What was accepted needs no act."""


_CONTINUE: Mapping[Kind, Callable[[Recovery, Discrepancy], None]] = {
    "alarm": Recovery._recover_alarm,
    "not_homed": Recovery._home,
    "elsewhere": Recovery._home,
    "tile_on_nozzle": Recovery._put_back,
    "chiller_stopped": Recovery._start_chiller,
}


def recover_gantry(line: Line) -> None:
    """Leave an alarm on a person's word, and home. Raises `drivers.errors.InstrumentError`."""
    line.gantry.recover()
    if not line.gantry.is_homed():
        line.gantry.home()


def last_placing(store: Store, crew: Crew) -> Carried | None:
    """The tile that the newest note of a placement is about."""
    with store.session() as session:
        note = session.exec(
            select(db.Event)
            .where(db.Event.station_id == crew.station_id, db.Event.text == "placing")
            .order_by(col(db.Event.at).desc())
        ).first()
    if note is None:
        return None
    return Carried(
        str(note.data["label"]),
        int(note.data["slot"]),
        float(note.data["thickness_mm"]),
        str(note.data.get("part_id", "")),
    )
