"""What the journal says of the line: folded from its records, one after the other.

Records are plain data (see `station.journal`). An act that was intended and is neither done nor
failed is *under way*: it may have happened, in part or not at all.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, Self

Axes = tuple[float | None, float | None, float | None]
NOWHERE: Axes = (None, None, None)
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Carried:
    """The tile on the nozzle and the tray slot that it was taken from."""

    label: str
    slot: int
    thickness_mm: float
    part_id: str = ""


@dataclass(frozen=True)
class RunInJournal:
    """The run that was under way."""

    run_id: str
    procedure: str
    label: str
    part_id: str


@dataclass(frozen=True)
class Act:
    """A physical act whose intent is on disk; `given` holds its arguments."""

    n: int
    name: str
    given: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    step: str = ""
    at: str = ""


@dataclass(frozen=True)
class LastKnown:
    """The line as the journal has it.

    `clean`: the last session closed with a verified safe state (or there was none). Positions are
    those last commanded and reached (mm; None where that is not known), voltages those last set.
    """

    clean: bool = True
    at: str = ""
    bias_v: float = 0.0
    bias_on: bool = False
    bias_connected: bool = False
    position_mm: Axes = NOWHERE
    homed: bool = False
    vacuum_on: bool = False
    carried: Carried | None = None
    chiller_on: bool | None = None
    run: RunInJournal | None = None
    step: str = ""
    serials: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    under_way: tuple[Act, ...] = ()

    @property
    def nothing(self) -> bool:
        """Whether this is the first journal of the line: it says nothing of the time before."""
        return self.at == ""

    def doing(self, name: str) -> Act | None:
        """The newest act of this name that is under way."""
        return next((act for act in reversed(self.under_way) if act.name == name), None)

    @property
    def bias_may_be_on(self) -> bool:
        return self.bias_on or self.doing("bias.on") is not None

    @property
    def highest_bias_v(self) -> float:
        """The largest magnitude that was set or was about to be."""
        ramps = [act.given.get("voltage_v", 0.0) for act in self.under_way if _is_ramp(act)]
        return max(abs(float(v)) for v in (self.bias_v, *ramps))

    @property
    def may_carry(self) -> Carried | None:
        """What hangs on the nozzle, or may: a grip under way counts, a release under way too."""
        grip = self.doing("gripper.grip")
        return self.carried if grip is None else _carried(grip.given) or self.carried

    @property
    def moving(self) -> bool:
        """Whether a motion was under way: the gantry may stand anywhere on its line."""
        return any(act.name.startswith("gantry.") for act in self.under_way)

    def as_data(self) -> dict[str, Any]:
        """Plain data for the head of a journal."""
        data = asdict(replace(self, serials={}, under_way=()))
        data["serials"] = dict(self.serials)
        data["under_way"] = [
            asdict(replace(act, given={})) | {"given": dict(act.given)} for act in self.under_way
        ]
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """The opposite of `as_data`. Raises KeyError, TypeError or ValueError for other data."""
        known = dict(data)
        x, y, z = known["position_mm"]
        carried, run = known["carried"], known["run"]
        known["position_mm"] = (x, y, z)
        known["carried"] = None if carried is None else Carried(**carried)
        known["run"] = None if run is None else RunInJournal(**run)
        known["under_way"] = tuple(Act(**act) for act in known["under_way"])
        return cls(**known)


def folded(records: Iterable[Mapping[str, Any]], start: LastKnown | None = None) -> LastKnown:
    """The line after all `records`, in their order."""
    known = start or LastKnown()
    for record in records:
        known = after(known, record)
    return known


def after(known: LastKnown, record: Mapping[str, Any]) -> LastKnown:
    """The line after one record more. Raises KeyError for a record that is none."""
    known = replace(known, at=str(record.get("at", known.at)))
    return _FOLDS[record["kind"]](known, record)


def _opened(known: LastKnown, record: Mapping[str, Any]) -> LastKnown:
    return replace(known, clean=False)


def _closed(known: LastKnown, record: Mapping[str, Any]) -> LastKnown:
    return replace(known, clean=True)


def _serials(known: LastKnown, record: Mapping[str, Any]) -> LastKnown:
    return replace(known, serials={**known.serials, **record["serials"]})


def _run(known: LastKnown, record: Mapping[str, Any]) -> LastKnown:
    run = RunInJournal(
        record["run_id"], record["procedure"], record["label"], record.get("part_id", "")
    )
    return replace(known, run=run, step="")


def _run_ended(known: LastKnown, record: Mapping[str, Any]) -> LastKnown:
    return replace(known, run=None, step="")


def _intend(known: LastKnown, record: Mapping[str, Any]) -> LastKnown:
    act = Act(
        int(record["n"]),
        record["act"],
        record.get("given", {}),
        record.get("step", ""),
        record.get("at", ""),
    )
    return replace(known, under_way=(*known.under_way, act), step=act.step or known.step)


def _done(known: LastKnown, record: Mapping[str, Any]) -> LastKnown:
    act, known = _taken(known, int(record["of"]))
    return known if act is None else _effect(known, act)


def _failed(known: LastKnown, record: Mapping[str, Any]) -> LastKnown:
    """An act that was refused changed nothing; of any other failure the worse is believed."""
    act, known = _taken(known, int(record["of"]))
    if act is None or record.get("refused", False):
        return known
    if act.name.startswith("gantry."):
        return replace(known, position_mm=NOWHERE)
    if act.name in ("gripper.release", "chiller.start"):
        return known
    return _effect(known, act)


def _safe(known: LastKnown, record: Mapping[str, Any]) -> LastKnown:
    return _effect(known, Act(0, record["act"], record.get("given", {})))


def _found(known: LastKnown, record: Mapping[str, Any]) -> LastKnown:
    """What a recovery read from the machine, with the bias down, takes the place of the rest."""
    x, y, z = record["position_mm"]
    return replace(
        known,
        bias_v=0.0,
        bias_on=False,
        bias_connected=False,
        position_mm=(x, y, z),
        homed=bool(record["homed"]),
        vacuum_on=bool(record["vacuum_on"]),
        carried=known.may_carry if record["holding"] else None,
        chiller_on=record["chiller_on"],
        run=None,
        step="",
        under_way=(),
    )


_FOLDS: Mapping[str, Callable[[LastKnown, Mapping[str, Any]], LastKnown]] = {
    "opened": _opened,
    "closed": _closed,
    "serials": _serials,
    "run": _run,
    "run_ended": _run_ended,
    "intend": _intend,
    "done": _done,
    "failed": _failed,
    "safe": _safe,
    "found": _found,
}


def _taken(known: LastKnown, n: int) -> tuple[Act | None, LastKnown]:
    act = next((act for act in known.under_way if act.n == n), None)
    left = tuple(act for act in known.under_way if act.n != n)
    return act, replace(known, under_way=left)


def _effect(known: LastKnown, act: Act) -> LastKnown:
    """The line after an act that was done."""
    if (fixed := _ALWAYS.get(act.name)) is not None:
        known = replace(known, **fixed)
    if act.name in ("bias.down", "bias.off"):
        left = tuple(a for a in known.under_way if a.name not in ("bias.on", "bias.ramp"))
        return replace(known, under_way=left)
    if act.name == "bias.ramp":
        return replace(known, bias_v=float(act.given.get("voltage_v", 0.0)))
    if act.name == "gantry.move":
        x, y, z = (
            old if act.given.get(axis) is None else float(act.given[axis])
            for old, axis in zip(known.position_mm, ("x_mm", "y_mm", "z_mm"), strict=True)
        )
        return replace(known, position_mm=(x, y, z))
    if act.name == "gantry.stop" and known.moving:
        return replace(known, position_mm=NOWHERE)
    if act.name == "gripper.grip":
        return replace(known, carried=_carried(act.given))
    return known


_ALWAYS: Mapping[str, Mapping[str, Any]] = {
    "bias.on": {"bias_on": True, "bias_v": 0.0},
    "bias.down": {"bias_on": False, "bias_v": 0.0},
    "bias.off": {"bias_on": False, "bias_v": 0.0},
    "switch.connect": {"bias_connected": True},
    "switch.disconnect": {"bias_connected": False},
    "gantry.home": {"homed": True, "position_mm": NOWHERE},
    "gantry.recover": {"homed": False, "position_mm": NOWHERE},
    "gripper.grip": {"vacuum_on": True},
    "gripper.release": {"vacuum_on": False, "carried": None},
    "chiller.start": {"chiller_on": True},
    "chiller.stop": {"chiller_on": False},
}
"""What an act leaves behind, whatever its arguments."""


def _carried(given: Mapping[str, Any]) -> Carried | None:
    if "label" not in given:
        return None
    return Carried(
        str(given["label"]),
        int(given["slot"]),
        float(given["thickness_mm"]),
        str(given.get("part_id", "")),
    )


def _is_ramp(act: Act) -> bool:
    return act.name == "bias.ramp"
