"""Instruments whose acts are written into the journal before they are done."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, TypeVar, cast

from drivers.errors import InstrumentError
from station.journal import Journal

_Role = TypeVar("_Role")


@dataclass(frozen=True)
class ActKind:
    """How the journal calls an act. One towards safety is done first and noted afterwards.

    `reads_back` is the method that says afterwards what the instrument is at.
    """

    name: str
    towards_safety: bool = False
    reads_back: str = ""


ACTS: Mapping[str, Mapping[str, ActKind]] = {
    "bias": {
        "switch_on": ActKind("bias.on", reads_back="read"),
        "ramp_to": ActKind("bias.ramp", reads_back="read"),
        "ramp_down": ActKind("bias.down", towards_safety=True),
        "switch_off": ActKind("bias.off", towards_safety=True),
    },
    "switch": {
        "connect": ActKind("switch.connect", reads_back="connected"),
        "disconnect": ActKind("switch.disconnect", towards_safety=True),
    },
    "gantry": {
        "home": ActKind("gantry.home", reads_back="position"),
        "recover": ActKind("gantry.recover", reads_back="state"),
        "move_to": ActKind("gantry.move", reads_back="position"),
        "stop": ActKind("gantry.stop", towards_safety=True),
    },
    "gripper": {
        "grip": ActKind("gripper.grip", reads_back="vacuum_on"),
        "release": ActKind("gripper.release", reads_back="vacuum_on"),
    },
    "glue_valve": {
        "dispense": ActKind("glue.dispense", reads_back="is_open"),
        "shut": ActKind("glue.shut", towards_safety=True),
    },
    "chiller": {
        "start": ActKind("chiller.start", reads_back="running"),
        "set_temperature": ActKind("chiller.set", reads_back="setpoint_c"),
        "stop": ActKind("chiller.stop", towards_safety=True),
    },
}
"""Every physical act of every role, by the method that does it."""


def journaled(
    instrument: _Role,
    role: str,
    journal: Journal,
    still_allowed: Callable[[], Callable[[], None]] = lambda: lambda: None,
) -> _Role:
    """The instrument with its acts journaled; everything else passes as it is.

    still_allowed: called before an intent is written; what it returns is called when the intent
    is on disk, and raises when the act may not begin any more.
    """
    return cast(_Role, _Journaled(instrument, ACTS[role], journal, still_allowed))


class _Journaled:
    def __init__(
        self,
        instrument: object,
        acts: Mapping[str, ActKind],
        journal: Journal,
        still_allowed: Callable[[], Callable[[], None]],
    ) -> None:
        self._instrument = instrument
        self._acts = acts
        self._journal = journal
        self._still_allowed = still_allowed

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._instrument, name)
        kind = self._acts.get(name)
        if kind is None:
            return attribute
        written = self._afterwards if kind.towards_safety else self._before
        return functools.partial(written, kind, attribute)

    def _afterwards(self, kind: ActKind, do: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        result = do(*args, **kwargs)
        self._journal.safe(kind.name, _as_read(result))
        return result

    def _before(self, kind: ActKind, do: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        given = _numbers(inspect.signature(do).bind(*args, **kwargs).arguments)
        in_hand = self._journal.in_hand
        if kind.name == "gripper.grip" and in_hand is not None:
            given |= asdict(in_hand)
        with self._journal.act(kind.name, given, self._still_allowed()) as read:
            result = do(*args, **kwargs)
            with contextlib.suppress(InstrumentError):
                read.update(_as_read(getattr(self._instrument, kind.reads_back)()))
        return result


def _numbers(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in given.items() if isinstance(value, bool | int | float | str)
    }


def _as_read(result: object) -> dict[str, Any]:
    if is_dataclass(result) and not isinstance(result, type):
        return asdict(result)
    return {} if result is None else {"value": result}
