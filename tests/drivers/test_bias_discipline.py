"""The bias discipline, on every supply: random calls, hands and faults against the true terminals.

Time passes only while somebody sleeps, so that every voltage the board saw is on record. A supply
joins with an entry in ``BENCHES``.
"""

import contextlib
import math
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from drivers.errors import InstrumentError, SetpointRefused
from drivers.faults import FaultPlan, LineFaults
from drivers.keithley import Keithley2450, Keithley2450Simulator
from drivers.keithley2400 import Keithley2400, Keithley2400Simulator
from drivers.keithley6517 import Keithley6517, Keithley6517Simulator
from drivers.supply import insist

from .hand_clock import HandClock

FAULT_RATES = {
    "late": 0.001,
    "lost": 0.001,
    "garbled": 0.001,
    "misread": 0.004,
    "truncated": 0.0005,
    "duplicated": 0.001,
    "disconnect": 0.0005,
}
TOLERANCE_V = 0.05


class Load:
    """A board: a dark current that grows, or a short that somebody makes."""

    def __init__(self) -> None:
        self.siemens = 1e-9

    def __call__(self, voltage_v: float) -> float:
        return self.siemens * voltage_v


@dataclass(frozen=True)
class Bench:
    """What the test has to know of one supply.

    Attributes:
        simulate: the simulator for a load, a clock and faults.
        open: the driver at an address, with clock and polarity.
        limits_hold: whether the hardware holds the limits of ``max_voltage_v`` and
            ``compliance_a``; asked at the moment in which the output goes on or rises.
    """

    simulate: Callable[[Load, Any, LineFaults], Any]
    open: Callable[[str, Any, int], Any]
    limits_hold: Callable[[Any], bool]
    max_voltage_v: float = 50.0
    compliance_a: float = 1e-4
    polarities: tuple[int, ...] = (1, -1)


def _keithley_limits(over_v: float, most_a: float) -> Callable[[Any], bool]:
    def hold(simulator: Any) -> bool:
        limit_v, limit_a = simulator.true_limits()
        return limit_v <= over_v and limit_a <= most_a * (1 + 1e-6)

    return hold


BENCHES = {
    "keithley2450": Bench(
        lambda load, clock, faults: Keithley2450Simulator(load, clock=clock, faults=faults),
        lambda address, clock, polarity: Keithley2450.open(
            address, clock=clock, polarity=polarity, deadline_s=0.3
        ),
        _keithley_limits(60, 1e-4),
    ),
    "keithley2400": Bench(
        lambda load, clock, faults: Keithley2400Simulator(
            load, clock=clock, faults=faults, link="pty"
        ),
        lambda address, clock, polarity: Keithley2400.open(
            address, clock=clock, polarity=polarity, deadline_s=0.3
        ),
        _keithley_limits(60, 1e-4),
    ),
    "keithley2410 with a capacitor": Bench(
        lambda load, clock, faults: Keithley2400Simulator(
            load, clock=clock, faults=faults, model="MODEL 2410", capacitance_f=1e-7
        ),
        lambda address, clock, polarity: Keithley2400.open(
            address, clock=clock, polarity=polarity, deadline_s=0.3
        ),
        _keithley_limits(100, 1e-4),
    ),
    "keithley6517": Bench(
        lambda load, clock, faults: Keithley6517Simulator(load, clock=clock, faults=faults),
        lambda address, clock, polarity: Keithley6517.open(
            address, clock=clock, polarity=polarity, deadline_s=0.3
        ),
        _keithley_limits(50, 1e-4),
    ),
}


class WatchedClock(HandClock):
    """Looks at the terminals whenever the driver lets time pass."""

    def __init__(self) -> None:
        super().__init__()
        self.look: Callable[[], None] = lambda: None
        self._driver = threading.current_thread()

    def sleep(self, duration_s: float) -> None:
        super().sleep(duration_s)
        if threading.current_thread() is self._driver:
            self.look()


class Session:
    """One supply, its world, and the rules that its terminals keep."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench = bench
        self.draw = random.Random(seed)
        self.polarity = self.draw.choice(bench.polarities)
        self.rate_v_per_s = self.draw.choice((5.0, 15.0, 40.0))
        self.load = Load()
        self.clock = WatchedClock()
        self.faults = LineFaults()
        self.simulator = bench.simulate(self.load, self.clock, self.faults)
        self.simulator.start()
        self.supply: Any = None
        self.open()
        self.clock.look = self.look
        self.lowest_rise_v = math.inf
        plan = FaultPlan.from_seed(seed, rates=FAULT_RATES, late_s=(0.0, 0.4), away_s=(0.0, 0.2))
        self.faults.plan_all(plan.faults)

    def open(self) -> None:
        planned = list(self.faults.planned)
        self.faults.clear()
        self.supply = insist(
            lambda: self.bench.open(self.simulator.address, self.clock, self.polarity)
        )
        write_output, write_voltage = self.supply._write_output, self.supply._write_voltage

        def checked_output(exchange: Any, *, on: bool) -> None:
            assert not on or self.bench.limits_hold(self.simulator), "on without limits"
            write_output(exchange, on=on)

        def checked_voltage(exchange: Any, voltage_v: float) -> None:
            rises = abs(voltage_v) > abs(self.simulator.true_voltage_v()) + TOLERANCE_V
            live = self.simulator.output_is_on()
            assert not (rises and live) or self.bench.limits_hold(self.simulator), "rise"
            assert voltage_v * self.polarity >= 0
            write_voltage(exchange, voltage_v)

        self.supply._write_output = checked_output
        self.supply._write_voltage = checked_voltage
        self.faults.plan_all(planned)

    def look(self) -> None:
        """The rules: never above the maximum, never the wrong sign, never up faster than asked."""
        voltage_v = self.simulator.true_voltage_v() * self.polarity
        assert voltage_v <= self.bench.max_voltage_v + TOLERANCE_V
        assert voltage_v >= -TOLERANCE_V
        counted_v = max(voltage_v, self.supply.LOWEST_V)
        behind_v = counted_v - self.rate_v_per_s * self.clock.now_s()
        step_v = min(self.rate_v_per_s * self.supply.STEP_S, self.supply.MAX_STEP_V)
        assert behind_v <= self.lowest_rise_v + step_v + TOLERANCE_V, "faster than asked"
        self.lowest_rise_v = min(self.lowest_rise_v, behind_v)

    def by_hand(self) -> None:
        """Somebody at the front panel, or the mains; not what the driver answers for."""
        what = self.draw.choice(("power", "power and button", "button", "knob", "short", "clear"))
        if what.startswith("power"):
            self.simulator.power_cycle()
        if what.endswith("button"):
            self.simulator.press_output_button()
        if what == "knob" and hasattr(self.simulator, "turn_knob"):
            self.simulator.turn_knob(self.polarity * self.draw.uniform(0, 10))
        self.load.siemens = {"short": 1e-4, "clear": 1e-9}.get(what, self.load.siemens)
        self.clock.look = lambda: None
        self.clock.sleep(0.1)
        self.clock.look = self.look
        self.lowest_rise_v = math.inf

    @contextlib.contextmanager
    def checkpoint(self):
        if self.draw.random() < 0.005:
            self.by_hand()
        yield

    def target_v(self) -> float:
        return self.polarity * self.draw.uniform(self.supply.LOWEST_V, self.bench.max_voltage_v)

    def act(self, action: str) -> None:
        """Do ``action``, or what comes up."""
        draw, supply = self.draw, self.supply
        match action or draw.choice(
            (
                "limits",
                "limits",
                "on",
                "on",
                "ramp",
                "ramp",
                "ramp",
                "ramp",
                "down",
                "off",
                "read",
                "hand",
                "crash",
                "wrong",
            )
        ):
            case "limits":
                supply.program_limits(
                    max_voltage_v=self.bench.max_voltage_v, compliance_a=self.bench.compliance_a
                )
            case "on":
                supply.switch_on()
            case "ramp":
                supply.ramp_to(
                    round(self.target_v(), 1),
                    rate_v_per_s=self.rate_v_per_s,
                    checkpoint=self.checkpoint,
                )
            case "down":
                self.ramp_down()
            case "off":
                supply.switch_off()
                assert not self.simulator.output_is_on()
            case "read":
                reading = supply.read()
                assert reading.output_on == self.simulator.output_is_on()
                look = getattr(self.simulator, "true_load_v", self.simulator.true_voltage_v)
                true_v = look()
                if not reading.in_compliance and reading.output_on:
                    assert abs(reading.voltage_v - true_v) <= 0.5 + 0.02 * abs(true_v)
            case "hand":
                self.by_hand()
            case "crash":
                supply.leave()
                self.open()
            case "wrong":
                wrong_v = draw.choice(
                    (math.nan, math.inf, -self.polarity * 5.0, self.polarity * 50.001)
                )
                with pytest.raises(InstrumentError):
                    supply.ramp_to(wrong_v, rate_v_per_s=self.rate_v_per_s)

    def ramp_down(self) -> None:
        start_v, start_s = self.highest_v(), self.clock.now_s()
        live = self.simulator.output_is_on()
        reading = self.supply.ramp_down(rate_v_per_s=self.rate_v_per_s)
        assert not reading.output_on
        if live:
            self.is_down(start_v / self.rate_v_per_s + 2.0, start_s)

    def highest_v(self) -> float:
        """Where the set-point may be; a short hides it from the terminals."""
        shorted = self.load.siemens > 1e-6
        return self.bench.max_voltage_v if shorted else abs(self.simulator.true_voltage_v())

    def is_down(self, within_s: float, start_s: float) -> None:
        self.clock.sleep(0.05)
        assert not self.simulator.output_is_on()
        assert abs(self.simulator.true_voltage_v()) <= self.supply.DISCHARGED_V
        assert self.clock.now_s() - start_s <= within_s

    def end(self) -> None:
        start_v, start_s = self.highest_v(), self.clock.now_s()
        live = self.simulator.output_is_on()
        self.supply.close()
        assert not self.simulator.output_is_on()
        if live:
            # else a hand or the mains switched off, and a capacitor takes its time
            self.is_down(start_v / self.supply.CLOSING_RATE_V_PER_S + 2.0, start_s)
        self.simulator.stop()


def run(name: str, seed: int) -> None:
    session = Session(BENCHES[name], seed)
    for action in ["limits", "on", "ramp", *[""] * 12]:
        with contextlib.suppress(InstrumentError, SetpointRefused):
            session.act(action)
        session.look()
    session.end()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", BENCHES)
def test_whatever_happens_the_terminals_keep_the_rules(name, seed):
    run(name, seed)


@pytest.mark.study
@pytest.mark.parametrize("seed", range(5, 105))
@pytest.mark.parametrize("name", BENCHES)
def test_whatever_happens_the_terminals_keep_the_rules_for_a_long_time(name, seed):
    run(name, seed)
