"""kill -9 of the station at random instants: nothing lost, nothing doubled, the bias comes down."""

import hashlib
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from sqlmodel import select

import db
from db import Store, open_store
from station.twin.hands import TwinHands

START_TIMEOUT_S = 60
SHIFT_TIMEOUT_S = 400
LONGEST_LIFE_S = 20.0


@dataclass
class TwinOnItsOwn:
    """The twin as a process of its own, and the folder of a station that works on it."""

    folder: Path
    hands: TwinHands

    @property
    def records(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "facts.jsonl"

    def station(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "station.cli", "run", "--headless", "--boards", "1"),
                *("--line", str(self.folder / "twin" / "line.toml")),
                *("--data", str(self.records), "--operator", "A. Weber", "--log", str(self.log)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=(self.folder / "station.out").open("ab"),
            stderr=subprocess.STDOUT,
        )

    def told(self) -> list[str]:
        """Ids of the facts that the station said it had stored, in every life so far."""
        if not self.log.exists():
            return []
        whole = self.log.read_text().rpartition("\n")[0]
        lines = [json.loads(line) for line in whole.splitlines() if line.endswith("}")]
        return [line["fact_id"] for line in lines if line.get("fact_id")]

    def truth(self) -> dict[str, object]:
        return dict(self.hands.do("truth"))


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[TwinOnItsOwn]:
    twin = subprocess.Popen(
        [
            *(sys.executable, "-m", "station.twin", str(tmp_path / "twin")),
            *("--seed", "5", "--shape", "G3L", "--speed", "200"),
        ],
        stdout=subprocess.PIPE,
        env={**os.environ, "TESSERA_TWIN_TRUTH": "1"},
    )
    assert twin.stdout is not None
    card = json.loads(twin.stdout.readline())
    hands = TwinHands(card["hands"])
    yield TwinOnItsOwn(tmp_path, hands)
    hands.close()
    twin.terminate()
    assert twin.wait(START_TIMEOUT_S) == 0


def check_facts(store: Store, told: list[str]) -> None:
    """Every fact that was told is there once, with one outbox row; every file is what it says."""
    with store.session() as session:
        sent = session.exec(select(db.Outbox.table_name, db.Outbox.fact_id)).all()
        attachments = session.exec(select(db.Attachment)).all()
    assert max(Counter(sent).values()) == 1
    stored = {str(fact_id) for _, fact_id in sent}
    assert [fact for fact in told if UUID(fact).hex not in stored] == []
    for attachment in attachments:
        data = store.read_attachment(attachment.sha256)
        assert hashlib.sha256(data).hexdigest() == attachment.sha256


def check_module(store: Store, truth: dict[str, object]) -> None:
    """The finished module holds every tile once, where it truly lies; every run ended once."""
    with store.session() as session:
        runs = session.exec(select(db.Run)).all()
        ends = session.exec(select(db.RunEnd)).all()
        joined = session.exec(select(db.Assembly)).all()
        readings = session.exec(select(db.Reading)).all()
        parts = {part.id: part for part in session.exec(select(db.Part)).all()}
    assert {run.id for run in runs} == {end.run_id for end in ends}
    assert len(ends) == len(runs)
    assert all(end.reasons for end in ends if end.ending != "done")
    assert max(Counter((a.parent_id, a.position) for a in joined).values()) == 1
    assert max(Counter(a.child_id for a in joined).values()) == 1
    assert max(Counter((r.run_id, r.channel, r.quantity) for r in readings).values()) == 1
    placed = truth["placed"]
    assert isinstance(placed, dict)
    module = [p for p in parts.values() if p.kind == "tile_module"]
    assert len(module) == 1
    on_board = {parts[a.child_id].label: a for a in joined if a.position.startswith("R")}
    assert set(on_board) == set(placed)
    for label, assembly in on_board.items():
        if assembly.x_mm is not None and assembly.y_mm is not None:
            assert abs(assembly.x_mm - placed[label]["x_mm"]) < 0.05
            assert abs(assembly.y_mm - placed[label]["y_mm"]) < 0.05


def shift_with_kills(alone: TwinOnItsOwn, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    killed = 0
    while killed < kills:
        station = alone.station()
        try:
            ended = station.wait(timeout=rng.uniform(1.0, LONGEST_LIFE_S))
        except subprocess.TimeoutExpired:
            station.kill()
            station.wait()
            killed += 1
        else:
            assert ended in (0, 3), (alone.folder / "station.out").read_text()[-3000:]
            break
        if (alone.records / "station.sqlite").exists():
            with open_store(
                alone.records / "station.sqlite", alone.records / "attachments"
            ) as store:
                check_facts(store, alone.told())
    assert killed > 0
    ended = alone.station().wait(timeout=SHIFT_TIMEOUT_S)
    assert ended in (0, 3), (alone.folder / "station.out").read_text()[-3000:]
    with open_store(alone.records / "station.sqlite", alone.records / "attachments") as store:
        check_facts(store, alone.told())
        check_module(store, alone.truth())


def test_a_shift_killed_again_and_again_loses_and_doubles_nothing(alone: TwinOnItsOwn) -> None:
    shift_with_kills(alone, kills=2, seed=1)


@pytest.mark.study
@pytest.mark.parametrize("seed", range(10))
def test_fifty_kills_at_random_instants_lose_and_double_nothing(
    alone: TwinOnItsOwn, seed: int
) -> None:
    shift_with_kills(alone, kills=5, seed=100 + seed)
