"""Instruments behind wires that fail in every way: a right answer or an error, and never late."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from drivers.clock import ScaledClock
from drivers.errors import InstrumentError
from drivers.faults import FAULT_KINDS, FaultKind, FaultPlan, LineFaults
from drivers.grbl import GrblController, GrblSimulator
from drivers.keithley import Keithley2450, Keithley2450Simulator
from drivers.opencv_camera.driver import OpenCvCamera
from drivers.opencv_camera.simulator import CameraStreamSimulator
from drivers.picture_trouble import accept_any
from drivers.tileboard_tester.driver import TileboardTester
from drivers.tileboard_tester.protocol import BoardConstants
from drivers.tileboard_tester.simulator import TileboardTesterSimulator
from tests.drivers.tileboard_tester.conftest import World

DEADLINE_S = 0.3
CHANGED: tuple[FaultKind, ...] = ("garbled", "misread")
UNCHANGED: tuple[FaultKind, ...] = tuple(
    kind for kind in FAULT_KINDS if kind not in (*CHANGED, "wrong_identity")
)


@dataclass
class Tally:
    right: int = 0
    failed: int = 0
    unclear: int = 0
    wrong: list[object] = field(default_factory=list)
    longest_s: float = 0.0


def plan(
    seed: int, kinds: tuple[FaultKind, ...], rate: float = 0.05, away_s: float = DEADLINE_S
) -> FaultPlan:
    return FaultPlan.from_seed(
        seed,
        rates=dict.fromkeys(kinds, rate / len(kinds)),
        late_s=(0.0, 2 * DEADLINE_S),
        copy_s=(0.0, 0.0),
        away_s=(0.0, away_s),
    )


def ask_often(count: int, ask: Callable[[], object], is_right: Callable[[object], bool]) -> Tally:
    tally = Tally()
    for _ in range(count):
        began_s = time.monotonic()
        try:
            answer = ask()
        except InstrumentError as error:
            tally.failed += 1
            tally.unclear += not (error.port and error.advice)
        else:
            if is_right(answer):
                tally.right += 1
            else:
                tally.wrong.append(answer)
        tally.longest_s = max(tally.longest_s, time.monotonic() - began_s)
    return tally


def ask_a_source(seed: int, kinds: tuple[FaultKind, ...], count: int) -> Tally:
    simulator = Keithley2450Simulator(lambda v: 1e-6 * v, clock=ScaledClock(1000))
    simulator.start()
    source = Keithley2450.open(simulator.address, deadline_s=DEADLINE_S, clock=ScaledClock(1000))
    source.program_limits(max_voltage_v=50, compliance_a=1e-4)
    source.switch_on()
    source.ramp_to(12.5, rate_v_per_s=100)
    simulator.faults.plan_all(plan(seed, kinds).faults)
    tally = ask_often(
        count,
        source.read,
        lambda reading: (
            reading.output_on  # type: ignore[attr-defined]
            and not reading.in_compliance  # type: ignore[attr-defined]
            and reading.set_v == 12.5  # type: ignore[attr-defined]
            and abs(reading.voltage_v - 12.5) < 0.1  # type: ignore[attr-defined]
            and abs(reading.current_a - 12.5e-6) < 1e-7
        ),  # type: ignore[attr-defined]
    )
    simulator.faults.clear()
    source.close()
    assert not simulator.output_is_on()
    simulator.stop()
    return tally


def ask_a_gantry(seed: int, kinds: tuple[FaultKind, ...], count: int) -> Tally:
    faults = LineFaults()
    simulator = GrblSimulator(ScaledClock(1000), start_mm=(10, 20, 30), faults=faults)
    simulator.start()
    controller = GrblController.open(simulator.path, clock=ScaledClock(1000), deadline_s=DEADLINE_S)
    before = controller.status()
    faults.plan_all(plan(seed, kinds).faults)
    tally = ask_often(
        count,
        controller.status,
        lambda status: (status.mode, status.mpos) == (before.mode, before.mpos),  # type: ignore[attr-defined]
    )
    controller.close()
    simulator.stop()
    return tally


def ask_a_tester(seed: int, kinds: tuple[FaultKind, ...], count: int) -> Tally:
    wires = {"slow": LineFaults()}
    clock = ScaledClock(1000)
    simulator = TileboardTesterSimulator(World(), clock, wires=wires)  # type: ignore[arg-type]
    simulator.start()
    tester = TileboardTester(
        simulator.host,
        slow_port=simulator.slow_port,
        fast_port=simulator.fast_port,
        data_port=simulator.data_port,
        data_folder="/tmp",
        board_constants=BoardConstants(),
        clock=clock,
        reply_deadline_s=4 * DEADLINE_S,
    )
    expected = tester.temperatures_c()
    # a ZMQ message comes whole or not at all
    whole = tuple(kind for kind in kinds if kind != "truncated")
    wires["slow"].plan_all(plan(seed, whole).faults)
    tally = ask_often(count, tester.temperatures_c, lambda answer: answer == expected)
    wires["slow"].clear()
    tester.close()
    simulator.stop()
    return tally


def ask_a_camera(seed: int, kinds: tuple[FaultKind, ...], count: int) -> Tally:
    image = np.full((64, 96), 30, np.uint8)
    image[20:40, 30:60] = 200
    simulator = CameraStreamSimulator(lambda: image, fps=200)
    simulator.start()
    camera = OpenCvCamera(simulator.address, trouble=accept_any)
    simulator.faults.plan_all(plan(seed, kinds, away_s=0.0).faults)
    tally = ask_often(
        count,
        lambda: camera.grab(deadline_s=DEADLINE_S).image,
        lambda picture: int(np.abs(picture.astype(int) - image).max()) < 40,  # type: ignore[attr-defined]
    )
    camera.close()
    simulator.stop()
    return tally


INSTRUMENTS = {
    "source": ask_a_source,
    "gantry": ask_a_gantry,
    "tester": ask_a_tester,
    "camera": ask_a_camera,
}


def report(name: str, seed: int, tally: Tally) -> None:
    print(
        f"{name} {seed}: {tally.right} right, {tally.failed} failed, wrong {tally.wrong[:3]}, "
        f"longest {tally.longest_s:.3f} s"
    )


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_every_question_is_answered_rightly_or_fails_clearly(name: str) -> None:
    tally = INSTRUMENTS[name](1, UNCHANGED, 40)
    report(name, 1, tally)
    assert tally.wrong == []
    assert tally.unclear == 0
    assert tally.right > 20


@pytest.mark.study
@pytest.mark.parametrize("kinds", [UNCHANGED, CHANGED], ids=["unchanged", "changed"])
@pytest.mark.parametrize("name", INSTRUMENTS)
def test_many_plans_over_each_instrument(name: str, kinds: tuple[FaultKind, ...]) -> None:
    for seed in range(10):
        tally = INSTRUMENTS[name](seed, kinds, 100)
        report(f"{name} {kinds[0]}", seed, tally)
        assert tally.right > 50
        if kinds is UNCHANGED:
            assert tally.wrong == []
