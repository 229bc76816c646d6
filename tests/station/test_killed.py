"""kill -9 of the station at random instants: nothing lost, nothing doubled, the bias comes down.

The oracle is independent of the station: the twin lives in this process and says what is true, the
log says what the station had told before it died, and the records are read with plain queries.
"""

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlmodel import select

import db
from db import Store, open_store
from station.journal_file import read_journal
from station.last_known import LastKnown
from station.safety.watchdog_report import FOLDER
from station.twin.server import Twin, start_twin

SPEED = 200.0
SHIFT_TIMEOUT_S = 400.0
BIAS_DOWN_WITHIN_S = 5.0
SHORT_LIFE_S, LONG_LIFE_S = (0.5, 6.0), (6.0, 20.0)
LIVES_LONG = 0.3
"""The share of lives that are long enough for the longest step of a module."""
JUDGED: tuple[Any, ...] = (db.Reading, db.Finding)
MEASURED: tuple[Any, ...] = (db.Reading, db.Curve, db.Picture, db.Finding, db.Assembly)


class Nursery:
    """Client of `tests.station.nursery`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.station.nursery"],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._said() == "ready"

    def start(self, arguments: list[str], out: Path) -> int:
        return int(self._ask({"start": arguments, "out": str(out)}))

    def wait(self, within_s: float) -> int | None:
        """The exit status of the station; None when it still runs."""
        status = json.loads(self._ask({"wait": within_s}))
        return None if status is None else int(status)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)

    def _ask(self, command: dict[str, Any]) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._said()

    def _said(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@dataclass
class Death:
    """One kill: what the station was doing, and how long the bias took to come down."""

    after_s: float
    bias_was_on: bool
    bias_down_s: float
    doing: str


@dataclass
class Plant:
    """A twin in this process, and a station that is started on it again and again."""

    folder: Path
    twin: Twin
    nursery: Nursery
    deaths: list[Death] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "facts.jsonl"

    def start(self) -> int:
        return self.nursery.start(
            [
                *("run", "--headless", "--boards", "1"),
                *("--line", str(self.folder / "twin" / "line.toml")),
                *("--data", str(self.data), "--operator", "A. Weber", "--log", str(self.log)),
            ],
            self.folder / "station.out",
        )

    def said(self) -> str:
        return (self.folder / "station.out").read_text()[-3000:]

    def told(self) -> list[dict[str, Any]]:
        """What the station said it had stored, in every life so far; a cut line does not count."""
        if not self.log.exists():
            return []
        lines = []
        for line in self.log.read_text().split("\n"):
            with contextlib.suppress(ValueError):
                lines.append(json.loads(line))
        return [line for line in lines if line.get("fact_id")]

    def store(self) -> contextlib.AbstractContextManager[Store]:
        return open_store(self.data / "station.sqlite", self.data / "attachments")

    def journal(self) -> LastKnown:
        path = self.data / "line.journal"
        site, station = self.twin.profile.site, self.twin.profile.station
        return read_journal(path, f"{site.code}/{station.name}") if path.exists() else LastKnown()

    def kill(self, pid: int, after_s: float) -> None:
        bias_was_on = self.twin.bias.output_is_on()
        os.kill(pid, signal.SIGKILL)
        began_s = time.monotonic()
        assert self.nursery.wait(10.0) == -signal.SIGKILL
        while self.twin.bias.output_is_on() or abs(self.twin.bias.true_voltage_v()) > 0.5:
            assert time.monotonic() < began_s + 60, "the bias stays up"
            time.sleep(0.01)
        down_s = time.monotonic() - began_s if bias_was_on else 0.0
        known = self.journal()
        doing = known.under_way[-1].name if known.under_way else known.step or "starting"
        if known.run is not None:
            doing = f"{known.run.procedure}: {doing}"
        self.deaths.append(Death(after_s, bias_was_on, down_s, doing))

    def stop(self) -> None:
        """Start once more, and stop the shift in order once it has stored something new."""
        before = len(self.told())
        pid = self.start()
        ends_s = time.monotonic() + 60
        while len(self.told()) == before:
            assert self.nursery.wait(0.1) is None, self.said()
            assert time.monotonic() < ends_s, self.said()
        os.kill(pid, signal.SIGTERM)
        assert self.nursery.wait(60.0) == 1, self.said()
        assert not self.twin.bias.output_is_on()
        assert self.journal().clean

    def end(self) -> None:
        """Let the shift go on to its end."""
        self.start()
        ended = self.nursery.wait(SHIFT_TIMEOUT_S)
        assert ended in (0, 3), self.said()


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    twin = start_twin(tmp_path / "twin", seed=5, shape="G3L", speed=SPEED, tells_truth=True)
    nursery = Nursery()
    yield Plant(tmp_path, twin, nursery)
    nursery.close()
    twin.close()


def check_facts(store: Store, told: list[dict[str, Any]]) -> None:
    """Every fact that was told is there once, as it was told, with one outbox row; of every run at
    most the last fact was stored and not told any more; every file is what its name says."""
    with store.session() as session:
        sent = session.exec(select(db.Outbox.table_name, db.Outbox.fact_id)).all()
        attachments = session.exec(select(db.Attachment)).all()
        verdicts = {
            str(fact.id): fact.verdict
            for kind in JUDGED
            for fact in session.exec(select(kind)).all()
        }
        measured = [
            (str(fact.run_id), str(fact.id))
            for kind in MEASURED
            for fact in session.exec(select(kind)).all()
        ]
    assert max(Counter(sent).values(), default=1) == 1
    stored = {str(fact_id) for _, fact_id in sent}
    known = {line["fact_id"]: line for line in told}
    facts = [line["fact_id"] for line in told if line["event"] != "NewPart"]
    assert len(facts) == len(set(facts))
    assert [fact for fact in known if UUID(fact).hex not in stored] == []
    for fact_id, verdict in verdicts.items():
        if fact_id in known:
            assert known[fact_id]["verdict"] == verdict
    untold = Counter(run_id for run_id, fact_id in measured if fact_id not in known)
    assert all(count == 1 for count in untold.values()), untold
    for attachment in attachments:
        data = store.read_attachment(attachment.sha256)
        assert hashlib.sha256(data).hexdigest() == attachment.sha256


def check_runs(store: Store, *, still_open: int) -> None:
    """Every run has one end; only the newest may be open, while the station lies dead."""
    with store.session() as session:
        runs = [run.id for run in session.exec(select(db.Run).order_by(db.Run.id)).all()]  # type: ignore[arg-type]
        ends = session.exec(select(db.RunEnd)).all()
    ended = Counter(end.run_id for end in ends)
    assert not ended or max(ended.values()) == 1
    left_open = [run for run in runs if run not in ended]
    assert len(left_open) <= still_open
    assert left_open == runs[len(runs) - len(left_open) :]
    assert all(end.reasons for end in ends if end.ending != "done")


def check_tiles(store: Store, truth: dict[str, Any]) -> None:
    """A tile that the records have in the module truly lies there, and in one place only."""
    with store.session() as session:
        joined = session.exec(select(db.Assembly)).all()
        parts = {part.id: part for part in session.exec(select(db.Part)).all()}
    assert max(Counter((a.parent_id, a.position) for a in joined).values(), default=1) == 1
    assert max(Counter(a.child_id for a in joined).values(), default=1) == 1
    board = truth["board"]
    if board is None:
        return
    here = board["module_label"]
    recorded = {
        parts[a.child_id].label
        for a in joined
        if parts[a.parent_id].label == here and a.position != "board"
    }
    assert recorded <= set(truth["placed"])
    assert len(set(truth["placed"]) - recorded) <= 1, "a tile was placed and forgotten"


def check_module(store: Store, truth: dict[str, Any]) -> None:
    """The finished module holds every tile once, where it truly lies; every value is there once."""
    with store.session() as session:
        joined = session.exec(select(db.Assembly)).all()
        readings = session.exec(select(db.Reading)).all()
        parts = {part.id: part for part in session.exec(select(db.Part)).all()}
    assert max(Counter((r.run_id, r.channel, r.quantity) for r in readings).values()) == 1
    placed = truth["placed"]
    here = truth["board"]["module_label"]
    on_board = {
        parts[a.child_id].label: a
        for a in joined
        if parts[a.parent_id].label == here and a.position.startswith("R")
    }
    assert set(on_board) == set(placed)
    assert truth["held"] is None
    for label, assembly in on_board.items():
        if assembly.x_mm is not None and assembly.y_mm is not None:
            assert abs(assembly.x_mm - placed[label]["x_mm"]) < 0.05
            assert abs(assembly.y_mm - placed[label]["y_mm"]) < 0.05


def check(plant: Plant, *, still_open: int) -> None:
    if not (plant.data / "station.sqlite").exists():
        return
    with plant.store() as store:
        check_facts(store, plant.told())
        check_runs(store, still_open=still_open)
        check_tiles(store, plant.twin.world.truth())


def shifts_with_kills(plant: Plant, kills: int, seed: int, until_s: float = float("inf")) -> None:
    """Kill at random instants; a module that gets finished meanwhile is checked and taken out."""
    rng = random.Random(seed)
    while len(plant.deaths) < kills and time.monotonic() < until_s:
        pid = plant.start()
        life_s = rng.uniform(*(LONG_LIFE_S if rng.random() < LIVES_LONG else SHORT_LIFE_S))
        ended = plant.nursery.wait(life_s)
        if ended is None:
            plant.kill(pid, life_s)
            check(plant, still_open=1)
            continue
        assert ended in (0, 3), plant.said()
        finish(plant)
        plant.twin.world.unload()


def finish(plant: Plant) -> None:
    check(plant, still_open=0)
    with plant.store() as store:
        check_module(store, plant.twin.world.truth())
    assert plant.journal().clean


def test_a_shift_killed_again_and_again_loses_and_doubles_nothing(plant: Plant) -> None:
    shifts_with_kills(plant, kills=2, seed=1)
    plant.stop()
    check(plant, still_open=0)
    assert max(death.bias_down_s for death in plant.deaths) < BIAS_DOWN_WITHIN_S


@pytest.mark.study
@pytest.mark.timeout(0)
def test_two_hundred_kills_at_random_instants_lose_and_double_nothing(plant: Plant) -> None:
    kills = int(os.environ.get("TESSERA_KILLS", "200"))
    within_s = float(os.environ.get("TESSERA_KILLS_WITHIN_S", "inf"))
    try:
        shifts_with_kills(
            plant,
            kills,
            int(os.environ.get("TESSERA_KILLS_SEED", "7")),
            time.monotonic() + within_s,
        )
        plant.end()
        finish(plant)
    finally:
        tell(plant)
    assert max(death.bias_down_s for death in plant.deaths) < BIAS_DOWN_WITHIN_S


def tell(plant: Plant) -> None:
    """Print what was killed when: the figures of the study."""
    doing = Counter(death.doing.split(":")[0] for death in plant.deaths)
    down = sorted(death.bias_down_s for death in plant.deaths if death.bias_was_on)
    print(f"\n{len(plant.deaths)} kills: {dict(doing)}; bias on in {len(down)}")
    if down:
        print(f"bias down after {down[len(down) // 2]:.2f} s (median), {down[-1]:.2f} s (longest)")
    reports = list((plant.data / FOLDER).glob("*.told")) + list(
        (plant.data / FOLDER).glob("*.json")
    )
    print(f"{len(reports)} reports of the watchdog")
