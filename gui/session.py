"""The part of the station's session that the desktop uses."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from station.events import Answer, Listener, ModuleDone, RunEnded

if TYPE_CHECKING:
    from station.catalogue import Catalogue
    from station.doctor import Found
    from station.setup_facts import SetupFacts


class Named(Protocol):
    @property
    def name(self) -> str: ...


class SiteAndStation(Protocol):
    @property
    def site(self) -> Named: ...

    @property
    def station(self) -> Named: ...


class StationSession(Protocol):
    """An open station. Every method may block; messages come to the listener in any thread."""

    @property
    def profile(self) -> SiteAndStation: ...

    @property
    def operator_name(self) -> str: ...

    @property
    def catalogue(self) -> "Catalogue": ...

    @property
    def recovery(self) -> tuple[str, ...]: ...

    def run_shift(
        self, *, boards: int, answer: Answer, label: str | None = None
    ) -> list[ModuleDone]: ...

    def setup(self) -> "SetupFacts": ...

    def commission(self, step: str, answer: Answer) -> RunEnded: ...

    def save_commissioning(self) -> Path:
        """The copy of the profile as it was before."""
        ...

    def look_around(self) -> "Sequence[Found]":
        """Who else is connected to this computer."""
        ...

    def stop(self, reason: str) -> None: ...

    def reset_trip(self, who: str) -> None: ...

    def close(self) -> tuple[str, ...]:
        """What could not be verified; empty when the line is safe."""
        ...


Opener = Callable[[Listener], StationSession]
CountResults = Callable[[StationSession, datetime], int]
"""How many results the records of a session hold since a time (aware)."""
