"""Run the benchmarks and write `docs/performance.md`: `python -m tests.bench.table`."""

import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PAGE = Path("docs/performance.md")
HEAD = """# Performance

Written by `make bench`: medians of pytest-benchmark, with the spread between the quartiles. Nothing
in the tests depends on these figures.

"""


def measured(arguments: list[str]) -> dict[str, Any]:
    """The JSON report of all benchmarks; ends the program when they fail."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "bench.json"
        done = subprocess.run(
            [
                *(
                    sys.executable,
                    "-m",
                    "pytest",
                    "tests",
                    "--benchmark-only",
                    "-p",
                    "no:cacheprovider",
                ),
                *(
                    "-o",
                    "addopts=--import-mode=importlib -q -p no:pytest-qt",
                    f"--benchmark-json={report}",
                ),
                *("--timeout", "1200", *arguments),
            ],
            check=False,
        )
        if done.returncode != 0:
            sys.exit(done.returncode)
        return dict(json.loads(report.read_text()))


def page(report: dict[str, Any]) -> str:
    """The Markdown page of a report."""
    cpu = report["machine_info"].get("cpu", {}).get("brand_raw", platform.processor())
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.node()}: {os.cpu_count()} cores, {cpu}, "
        f"Python {platform.python_version()}.",
        "",
        "| what | median | quartiles | per second |",
        "|---|---|---|---|",
    ]
    for bench in sorted(report["benchmarks"], key=lambda b: b["fullname"]):
        stats = bench["stats"]
        what = (bench.get("extra_info") or {}).get("what") or bench["name"].removeprefix("test_")
        lines.append(
            f"| {what.replace('_', ' ')} | {shown(stats['median'])} | "
            f"{shown(stats['q1'])} to {shown(stats['q3'])} | {1 / stats['median']:.3g} |"
        )
    return HEAD + "\n".join(lines) + "\n"


def shown(seconds: float) -> str:
    """A duration with the unit that people would use."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


if __name__ == "__main__":
    text = page(measured(sys.argv[1:]))
    PAGE.write_text(text)
    print(text)
