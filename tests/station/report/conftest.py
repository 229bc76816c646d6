"""A catalogue and a bench with an empty store."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from station.catalogue import Catalogue, load_catalogue
from tests.station.report.recorded import Bench, Module, open_bench, record_module

BAD = {3: "flag", 7: "fail", 12: "unknown"}


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory, catalogue: Catalogue) -> Path:
    """The folder of a store without modules."""
    folder = tmp_path_factory.mktemp("empty") / "store"
    open_bench(folder, catalogue).store.close()
    return folder


@pytest.fixture
def bench(tmp_path: Path, empty: Path, catalogue: Catalogue) -> Iterator[Bench]:
    bench = open_bench(Path(shutil.copytree(empty, tmp_path / "store")), catalogue)
    yield bench
    bench.store.close()


@pytest.fixture(scope="session")
def shown(
    tmp_path_factory: pytest.TempPathFactory, catalogue: Catalogue
) -> Iterator[tuple[Bench, Module]]:
    """A finished module with a flagged, a failed and an unknown channel; only to be read."""
    bench = open_bench(tmp_path_factory.mktemp("shown"), catalogue)
    yield bench, record_module(bench, "D8F", bad=BAD, chipped=3)
    bench.store.close()
