"""Milliseconds per picture, per LED run and per slow-control question, simulators included."""

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from drivers.clock import ScaledClock
from drivers.opencv_camera.driver import OpenCvCamera
from drivers.opencv_camera.simulator import CameraStreamSimulator
from drivers.picture_trouble import accept_any
from drivers.tileboard_tester.driver import TileboardTester
from drivers.tileboard_tester.protocol import BoardConstants
from drivers.tileboard_tester.run_file import read_run, run_words, write_words
from drivers.tileboard_tester.simulator import TileboardTesterSimulator


@pytest.fixture
def textured_stream() -> Generator[str]:
    noise = np.random.default_rng(0).integers(0, 255, (1024, 1280)).astype(np.uint8)
    image = np.asarray(cv2.GaussianBlur(noise, (9, 9), 3), np.uint8)
    simulator = CameraStreamSimulator(lambda: image, fps=30.0)
    simulator.start()
    yield simulator.address
    simulator.stop()


def test_grab_1280x1024_at_30_fps(benchmark: BenchmarkFixture, textured_stream: str) -> None:
    camera = OpenCvCamera(textured_stream, trouble=accept_any)
    frame = benchmark.pedantic(camera.grab, kwargs={"deadline_s": 5.0}, rounds=50)
    assert frame.image.shape == (1024, 1280)


def test_open_camera_1280x1024(benchmark: BenchmarkFixture, textured_stream: str) -> None:
    camera = benchmark.pedantic(OpenCvCamera, args=(textured_stream,), rounds=20)
    assert camera.identity.model == "MJPG 1280x1024"


class FlatBoard:
    """A board whose charges cost nothing to make."""

    adc = np.random.default_rng(0).integers(80, 400, (72, 2500))

    def charges(self, n_events: int, led_on: bool, settings: object) -> NDArray[np.number[Any]]:
        return self.adc[:, :n_events]

    def input_voltage_v(self) -> float:
        return 41.0

    def input_current_a(self) -> float:
        return 1e-3

    def temperatures_c(self) -> list[float]:
        return [20.0] * 8


@pytest.fixture
def tester(tmp_path: Path) -> Generator[TileboardTester]:
    clock = ScaledClock(1e5)
    simulator = TileboardTesterSimulator(FlatBoard(), clock)
    simulator.start()
    tester = TileboardTester(
        simulator.host,
        slow_port=simulator.slow_port,
        fast_port=simulator.fast_port,
        data_port=simulator.data_port,
        data_folder=tmp_path,
        board_constants=BoardConstants(),
        clock=clock,
    )
    tester.configure()
    yield tester
    tester.close()
    simulator.stop()


def test_led_run_72_channels_2500_events(
    benchmark: BenchmarkFixture, tester: TileboardTester
) -> None:
    run = benchmark.pedantic(
        tester.take,
        args=(2500,),
        kwargs={"checkpoint": contextlib.nullcontext, "deadline_s": 60.0},
        rounds=20,
        warmup_rounds=1,
    )
    assert np.array_equal(run.adc, FlatBoard.adc)


def test_slow_control_question(benchmark: BenchmarkFixture, tester: TileboardTester) -> None:
    assert benchmark(tester.input_voltage_v) == pytest.approx(41.0, abs=0.02)


def test_read_run_file_144_channels_2500_events(
    benchmark: BenchmarkFixture, tmp_path: Path
) -> None:
    adc = np.random.default_rng(0).integers(80, 400, (144, 2500))
    path = tmp_path / "run0.root"
    write_words(path, run_words(adc, 2))
    assert np.array_equal(benchmark(read_run, path, n_rocs=2, n_events=2500), adc)
