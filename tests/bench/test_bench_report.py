"""Seconds per module report, as `make bench` shows them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from station.catalogue import load_catalogue
from station.report import collect, write_report
from station.report.page import html
from station.report.paper import pdf
from tests.station.report.recorded import Bench, Module, open_bench, record_module


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, Module]]:
    bench = open_bench(tmp_path_factory.mktemp("report"), load_catalogue())
    yield bench, record_module(bench, "D8F", bad={3: "flag", 7: "fail", 12: "unknown"}, chipped=3)
    bench.store.close()


@pytest.mark.parametrize("part", ["collect", "html", "pdf"])
def test_a_part_of_the_report_of_64_channels(benchmark, module, part: str) -> None:  # type: ignore[no-untyped-def]
    bench, recorded = module
    report = collect(bench.store, bench.catalogue, recorded.label)
    work = {
        "collect": lambda: collect(bench.store, bench.catalogue, recorded.label),
        "html": lambda: html(report),
        "pdf": lambda: pdf(report),
    }[part]
    benchmark(work)


def test_the_report_of_64_channels_on_disk(benchmark, module, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    bench, recorded = module
    benchmark(write_report, bench.store, bench.catalogue, recorded.label, tmp_path)
