"""The set-up of the line at the desk: what it is, the step in work, and what was found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gui.session import StationSession
    from station.doctor import Found
    from station.events import Answer, RunEnded
    from station.setup_facts import SetupFacts

Start = Callable[
    [str, Callable[[], Any], Callable[[Any], object], Callable[[BaseException], object]], Any
]


@dataclass
class SetupState:
    """What the setup place shows. `facts` is None until they were read for the first time."""

    facts: "SetupFacts | None" = None
    trouble: str = ""
    """Why the facts can't be read."""
    step: str = ""
    """The step in work."""
    refused: str = ""
    """Why the last step did not end well."""
    asks_to_save: bool = False
    saved: Path | None = None
    """The copy of the profile as it was, once the new values are written."""
    looking: bool = False
    others: "Sequence[Found] | None" = None
    """Who else is connected; None before somebody looked."""


class SetupDesk:
    """The setup part of a desk: every call returns at once, `changed` is called afterwards."""

    def __init__(
        self,
        start: Start,
        explain: Callable[[BaseException], str],
        changed: Callable[[], object],
        tell: Callable[[str, str], object],
    ) -> None:
        self.state = SetupState()
        self._start, self._explain = start, explain
        self._changed, self._tell = changed, tell
        self._reading = False

    def read(self, session: "StationSession") -> None:
        """Read the facts anew."""
        if self._reading:
            return
        self._reading = True
        self._start("setup", session.setup, self._read, self._not_read)

    def _read(self, facts: "SetupFacts") -> None:
        self._reading = False
        self.state.facts, self.state.trouble = facts, ""
        self._changed()

    def _not_read(self, error: BaseException) -> None:
        self._reading = False
        self.state.trouble = self._explain(error)
        self._changed()

    def begin_step(
        self,
        session: "StationSession",
        step: str,
        answer: "Answer",
        ended: Callable[[str], object],
    ) -> Any:
        """Start a step on its thread; `ended` is called with what went wrong, or empty."""
        state = self.state
        state.step, state.refused, state.asks_to_save, state.saved = step, "", False, None

        def done(result: "RunEnded") -> None:
            state.step = ""
            if result.ending != "done":
                state.refused = "; ".join(result.reasons)
            ended(state.refused)
            self.read(session)

        def failed(error: BaseException) -> None:
            state.step, state.refused = "", self._explain(error)
            ended(state.refused)
            self.read(session)

        return self._start(
            f"commission {step}", lambda: session.commission(step, answer), done, failed
        )

    def ask_to_save(self, wanted: bool) -> None:
        self.state.asks_to_save = wanted
        self._changed()

    def save(self, session: "StationSession") -> None:
        self.state.asks_to_save = False
        self._start("save the calibration", session.save_commissioning, self._saved, self._kept)
        self._changed()

    def _saved(self, kept: Path) -> None:
        self.state.saved = kept
        self._tell(
            "The profile is written. Close the window and open it again to work with the new "
            f"calibration. The file as it was: {kept}",
            "",
        )

    def _kept(self, error: BaseException) -> None:
        self._tell(f"Nothing was written: {self._explain(error)}", "fail")

    def look_around(self, session: "StationSession") -> None:
        if self.state.looking:
            return
        self.state.looking = True
        self._start("look around", session.look_around, self._looked, self._not_looked)
        self._changed()

    def _looked(self, others: "Sequence[Found]") -> None:
        self.state.looking, self.state.others = False, others
        self._changed()

    def _not_looked(self, error: BaseException) -> None:
        self.state.looking = False
        self._tell(f"Nobody could be asked: {self._explain(error)}", "fail")
