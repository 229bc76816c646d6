import numpy as np
import pytest

from drivers.supply.terminals import Terminals

from .hand_clock import HandClock


def test_the_stage_settles_exponentially():
    clock = HandClock()
    terminals = Terminals(lambda v: 0.0, clock, settling_s=0.01)
    terminals.drive(10, 1)
    clock.sleep(0.01)
    assert terminals.voltage_v() == pytest.approx(10 * (1 - np.exp(-1)), rel=1e-6)
    clock.sleep(1)
    assert terminals.voltage_v() == 10


def test_the_stage_is_no_faster_than_its_slew_rate():
    clock = HandClock()
    terminals = Terminals(lambda v: 0.0, clock, slew_v_per_s=50)
    terminals.drive(40, 1)
    clock.sleep(0.5)
    assert terminals.voltage_v() == pytest.approx(25, rel=1e-6)


def test_a_capacitor_charges_with_the_current_that_the_load_leaves():
    clock = HandClock()
    terminals = Terminals(lambda v: 2e-5, clock, capacitance_f=1e-6)
    terminals.drive(40, 1e-4)
    clock.sleep(0.25)
    assert terminals.voltage_v() == pytest.approx(8e-5 * 0.25 / 1e-6, rel=0.02)
    assert terminals.limited()
    clock.sleep(1)
    assert terminals.voltage_v() == pytest.approx(40)
    assert not terminals.limited()


def test_a_load_that_draws_more_than_the_limit_folds_the_voltage_back():
    clock = HandClock()
    terminals = Terminals(lambda v: 1e-5 * v, clock)
    terminals.drive(-40, 1e-4)
    clock.sleep(1)
    assert terminals.voltage_v() == pytest.approx(-10)
    assert terminals.current_a() == pytest.approx(-1e-4)
    assert terminals.limited()
