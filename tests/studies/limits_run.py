"""Run the study of limits on two processes: `python -m tests.studies.limits_run [--quick]`."""

import argparse
import csv
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from tests.studies.limits_points import Point, anything, axes, resolved
from tests.studies.limits_trial import Outcome, measure

PROCESSES = 2
SEED = 20_261_122


@dataclass(frozen=True)
class Size:
    """Trials per point of an axis, with bright light, at dark rates that are slow to simulate, and
    of an ensemble."""

    per_point: int
    per_bright_point: int
    per_slow_point: int
    ensemble: int


FULL = Size(24, 16, 6, 250)
QUICK = Size(2, 1, 0, 8)
SLOW_DARK_PER_GATE = 100.0


def tasks(size: Size) -> Iterator[tuple[Point, int, int]]:
    """(point, trial, seed) of every measurement; all points advance together."""
    todo: list[tuple[float, tuple[Point, int, int]]] = []
    for number, axis in enumerate(axes()):
        for index, point in enumerate(axis.points):
            n = size.per_bright_point if axis.name == "dcr_bright" else size.per_point
            if point.dark_per_gate > SLOW_DARK_PER_GATE:
                n = size.per_slow_point
            seed = SEED + 1000 * number + index
            todo += [(trial / n, (point, trial, seed)) for trial in range(n)]
    for number, ensemble in enumerate((resolved, anything)):
        seed = SEED + 100_000 * (number + 1)
        for trial in range(size.ensemble):
            device = ensemble(np.random.default_rng([seed, 7, trial]), trial)
            todo.append((trial / size.ensemble, (device, trial, seed)))
    yield from (task for _, task in sorted(todo, key=lambda one: one[0]))


def run(size: Size, processes: int = PROCESSES) -> Iterator[Outcome]:
    """All outcomes of a study, as they come."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    with ProcessPoolExecutor(processes) as pool:
        for outcomes in pool.map(_measured, tasks(size), chunksize=2):
            yield from outcomes


def _measured(task: tuple[Point, int, int]) -> list[Outcome]:
    return measure(*task)


def write(outcomes: Iterable[Outcome], path: Path) -> None:
    """Keep outcomes as CSV, so that the page can be written again without the study."""
    with path.open("w", newline="", buffering=1) as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Outcome)])
        writer.writeheader()
        for outcome in outcomes:
            writer.writerow(asdict(outcome))


def read(path: Path) -> list[Outcome]:
    """What `write` kept."""
    with path.open() as file:
        return [
            Outcome(
                row["axis"],
                float(row["x"]),
                int(row["trial"]),
                row["method"],
                float(row["true"]),
                float(row["value"]),
                float(row["sigma"]),
                float(row["dark_per_gate"]),
                row["chosen"],
            )
            for row in csv.DictReader(file)
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few trials, no slow points")
    parser.add_argument("--keep", type=Path, help="CSV of all outcomes; read where it exists")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="where the page goes")
    arguments = parser.parse_args()
    began = time.monotonic()
    if arguments.keep and arguments.keep.exists():
        outcomes = read(arguments.keep)
    else:
        outcomes = list(run(QUICK if arguments.quick else FULL))
        if arguments.keep:
            write(outcomes, arguments.keep)
    from tests.studies.limits_page import write_page

    write_page(outcomes, arguments.docs)
    print(f"{len(outcomes)} outcomes in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
