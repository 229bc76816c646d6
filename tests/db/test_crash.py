import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text

from db import Curve, Reading, open_store
from db.model import FACTS, table_of
from db.rows import fact_id, key_name

RECORD = """
import itertools, os, sys
from datetime import datetime, UTC
from pathlib import Path
from uuid import UUID
from db import Curve, Reading, open_store

folder, run_id, part_id = Path(sys.argv[1]), UUID(sys.argv[2]), UUID(sys.argv[3])
store = open_store(folder / "records.db", folder / "attachments")
print("open", flush=True)
for number in itertools.count():
    data = os.urandom(3000)
    sha256 = store.attach(data, "application/x-npz")
    where = dict(run_id=run_id, part_id=part_id, channel=number, quantity="gain")
    facts = [Curve(**where, x_unit="ADC", y_unit="1", sha256=sha256, at=datetime.now(UTC))]
    facts += [
        Reading(**where, value=41.5, sigma=0.2, unit="ADC/pe", method="peak fit", verdict="pass",
                at=datetime.now(UTC))
        for _ in range(2)
    ]
    store.record(*facts)
    print(*(fact.id for fact in facts), flush=True)
"""


def crash(
    folder: Path, line: Any, environment: dict[str, str], *, after_lines: int, later_s: float
) -> list[UUID]:
    """Let a program record, kill it some time after so many printed batches; what it printed."""
    program = subprocess.Popen(
        [sys.executable, "-c", RECORD, str(folder), str(line.run.id), str(line.board.id)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    printed = [program.stdout.readline() for _ in range(after_lines)]
    with suppress(subprocess.TimeoutExpired):
        program.wait(later_s)
    program.kill()
    rest = program.communicate()[0].splitlines()
    lines = [text.split() for text in [*printed, *rest]]
    assert lines[0] == ["open"]
    return [UUID(name) for ids in lines[1:] for name in ids if len(name) == 36]


def check(folder: Path, printed: list[UUID]) -> int:
    """Every printed fact is there once; facts, outbox and files agree. Returns the readings."""
    with open_store(folder / "records.db", folder / "attachments") as store:
        with store.reading() as connection:
            assert connection.scalar(text("PRAGMA integrity_check")) == "ok"
            assert list(connection.execute(text("PRAGMA foreign_key_check"))) == []
            stored = [
                (name, fact_id(key))
                for name, model in FACTS.items()
                for key in connection.scalars(select(table_of(model).c[key_name(model)]))
            ]
            curves = list(connection.scalars(select(table_of(Curve).c.sha256)))
            readings = list(connection.scalars(select(table_of(Reading).c.id)))
            curve_ids = list(connection.scalars(select(table_of(Curve).c.id)))
        outbox = [(row.table_name, row.fact_id) for row in store.unsent(10_000_000)]
        assert len(set(outbox)) == len(outbox)
        assert sorted(outbox) == sorted(stored)
        for sha256 in curves:
            assert len(store.read_attachment(sha256)) == 3000
        recorded = [*readings, *curve_ids]
        assert len(set(recorded)) == len(recorded)
        assert set(printed) <= set(recorded)
        assert len(readings) == 2 * len(curve_ids)
        return len(readings)


def kill_many_times(folder: Path, line: Any, environment: dict[str, str], kills: int) -> None:
    line.store.close()
    dice = random.Random(20261121)
    printed: list[UUID] = []
    before = 0
    for _ in range(kills):
        printed += crash(
            folder,
            line,
            environment,
            after_lines=dice.randint(1, 12),
            later_s=dice.uniform(0.0, 0.03),
        )
        readings = check(folder, printed)
        assert readings >= before
        before = readings
    assert len(printed) >= kills


def test_killing_the_station_loses_and_doubles_nothing(
    tmp_path: Path, sqlite_line: Any, python_path: dict[str, str]
) -> None:
    kill_many_times(tmp_path, sqlite_line, python_path, kills=5)


@pytest.mark.study
@pytest.mark.timeout(900)
def test_killing_the_station_fifty_times_loses_and_doubles_nothing(
    tmp_path: Path, sqlite_line: Any, python_path: dict[str, str]
) -> None:
    kill_many_times(tmp_path, sqlite_line, python_path, kills=50)
