"""The watch of a session: supervisor and watchdog over its line, and what both tell the records."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import db
from db import Store
from station.events import Listener
from station.line import Line
from station.metrics import MetricsRecorder
from station.observing import traffic
from station.profile import Profile
from station.run_record import Crew
from station.safety import Supervisor, Trip
from station.safety.history import as_columns
from station.safety.rules import Breach, Snapshot, Value
from station.safety.watchdog_link import WatchdogError, WatchdogLink
from station.safety.watchdog_report import reports, taken

FAILED_WITHIN_S = 2.0


@contextmanager
def watchdog_over(line_file: Path, profile: Profile, records: Path) -> Iterator[WatchdogLink]:
    """A watchdog from now on until all that was opened inside is closed.

    It may still be starting: `wait_until_ready` before the bias is switched on. On leaving, it
    reads that the output is off. Raises WatchdogError when it can't be started, or can't read that.
    """
    watchdog = WatchdogLink(line_file, records, after_s=profile.safety.watchdog_after_s)
    watchdog.start()
    try:
        yield watchdog
    except BaseException:
        # what went wrong is told; what the watchdog finds meanwhile is in its report
        with suppress(WatchdogError):
            watchdog.finish(FAILED_WITHIN_S)
        raise
    watchdog.finish()


def record_reports(store: Store, crew: Crew, records: Path) -> list[str]:
    """Take what a watchdog did since the last session into the records; returns the stories."""
    stories = []
    for path, report in reports(records):
        data = {name: value for name, value in vars(report).items() if name != "id"}
        store.record(
            db.Event(
                id=UUID(report.id),
                station_id=crew.station_id,
                at=datetime.fromisoformat(report.detected_at),
                kind="recovery",
                text=report.story,
                data={"watchdog": data},
            )
        )
        taken(path)
        stories.append(report.story)
    return stories


class LineWatch:
    """The supervisor of a session and the metrics of its line.

    Every trip, warning and reset is an event in the records, and so is a disk that takes no
    metrics.
    """

    def __init__(
        self, line: Line, store: Store, crew: Crew, *, heart: WatchdogLink, listener: Listener
    ) -> None:
        self._line = line
        self._watchdog = heart
        self._store = store
        self._crew = crew
        self._supervisor = Supervisor(
            line,
            line.profile.safety,
            on_state=listener,
            on_trip=self._tripped,
            on_aftermath=self._after,
            on_warning=self._warned,
            heart=heart,
        )
        self._metrics = MetricsRecorder(
            heart.records,
            self._measured,
            every_s=line.profile.metrics.every_s,
            keep_days=line.profile.metrics.keep_days,
            on_trouble=self._metrics_stopped,
        )

    @property
    def last_seen(self) -> Snapshot | None:
        return self._supervisor.last_seen

    def start(self) -> None:
        self._supervisor.start()
        self._metrics.start()

    def finish(self) -> None:
        """End the watch; a trip that could not be told yet is told once more."""
        self._metrics.finish()
        self._watchdog.closing()
        self._supervisor.finish()

    def recover(self, act: Callable[[], None]) -> None:
        """As `station.safety.supervisor.Supervisor.recover`."""
        self._supervisor.recover(act)

    def reset(self, who: str, why: str = "") -> None:
        """Release a latched trip on the word of a person, and record who said so and why.

        Raises `station.safety.InterlockTrippedError` while a cause stands.
        """
        self._supervisor.reset()
        text = f"interlock reset by {who}" + (f": {why}" if why else "")
        self._remember("reset", text, {"who": who, "why": why})

    def _measured(self) -> dict[str, Value]:
        seen = self._supervisor.last_seen
        if seen is None:
            return {}
        return {**seen.values, **traffic(self._line)}

    def _metrics_stopped(self, text: str) -> None:
        # the disk that refuses the metrics may refuse this as well: the log has it
        with suppress(db.StoreError):
            self._remember("error", text, {})

    def _tripped(self, trip: Trip, unverified: tuple[str, ...]) -> None:
        self._remember(
            "trip",
            f"{trip.rule}: {trip.cause}",
            {
                "rule": trip.rule,
                "quantity": trip.quantity,
                "history": as_columns(trip.history),
                "unverified": list(unverified),
            },
            trip.at,
        )

    def _after(self, trip: Trip, readings: tuple[Mapping[str, Any], ...]) -> None:
        self._remember(
            "note",
            f"after the trip {trip.rule}",
            {"rule": trip.rule, "tripped_at": trip.at.isoformat(), "history": as_columns(readings)},
        )

    def _warned(self, breach: Breach) -> None:
        self._remember(
            "note",
            f"warning: {breach.rule.name}: {breach.told}",
            {"rule": breach.rule.name, "quantity": breach.quantity},
        )

    def _remember(
        self, kind: str, text: str, data: Mapping[str, Any], at: datetime | None = None
    ) -> None:
        self._store.record(
            db.Event(
                station_id=self._crew.station_id,
                at=at or datetime.now(UTC),
                kind=kind,
                text=text,
                data=dict(data),
            )
        )
