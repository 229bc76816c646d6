import pytest

from drivers.caen_a7585 import CaenA7585Simulator
from drivers.caen_a7585.protocol import Mode, Register
from drivers.clock import ScaledClock

from ..hand_clock import HandClock
from ..raw_port import hold_dialogue, lines


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def simulator(clock, world):
    return CaenA7585Simulator(world.current_a, lambda: world.temperature_c, clock, noise_v=0)


def test_the_output_begins_at_twenty_volts_and_ramps_from_there(simulator, clock):
    simulator.set_by_hand(Register.TARGET_V, 40)
    simulator.set_by_hand(Register.RAMP_V_PER_S, 5)
    simulator.press_output_button()
    assert simulator.true_voltage_v() == 20
    clock.sleep(2)
    assert simulator.true_voltage_v() == pytest.approx(30)
    clock.sleep(10)
    assert simulator.true_voltage_v() == 40


def test_the_output_discharges_when_it_goes_off(simulator, clock):
    simulator.press_output_button()
    simulator.press_output_button()
    assert simulator.true_voltage_v() == pytest.approx(20)
    clock.sleep(1)
    assert simulator.true_voltage_v() < 0.1


def test_the_voltage_limit_holds_the_output(simulator, clock):
    simulator.set_by_hand(Register.MAX_V, 35)
    simulator.set_by_hand(Register.TARGET_V, 40)
    simulator.press_output_button()
    clock.sleep(100)
    assert simulator.true_voltage_v() == 35


def test_the_current_limit_folds_the_output_back(simulator, clock, world):
    world.load = lambda v: 1e-4 * v
    simulator.set_by_hand(Register.MAX_MA, 3)
    simulator.set_by_hand(Register.TARGET_V, 40)
    simulator.press_output_button()
    clock.sleep(100)
    assert simulator.true_voltage_v() == pytest.approx(30)


def test_heat_and_an_emergency_stop_switch_it_off(simulator, world):
    simulator.press_output_button()
    world.temperature_c = 90
    assert not simulator.output_is_on()
    world.temperature_c = 25
    simulator.press_output_button()
    simulator.set_by_hand(Register.EMERGENCY_STOP, 1)
    assert not simulator.output_is_on()


def test_compensation_follows_the_temperature_at_the_ramp(simulator, clock, world):
    simulator.set_by_hand(Register.TEMPERATURE_COEFFICIENT, -40)
    simulator.set_by_hand(Register.MODE, Mode.TEMPERATURE)
    simulator.set_by_hand(Register.TARGET_V, 30)
    simulator.press_output_button()
    clock.sleep(10)
    world.temperature_c = 35
    assert simulator.true_voltage_v() == pytest.approx(30)
    clock.sleep(1)
    assert simulator.true_voltage_v() == pytest.approx(30.4)


def test_only_what_was_saved_survives_a_power_cut(simulator):
    simulator.set_by_hand(Register.MAX_V, 60)
    simulator.set_by_hand(Register.SAVE, 1)
    simulator.set_by_hand(Register.MAX_V, 50)
    simulator.press_output_button()
    simulator.power_cycle()
    assert simulator.register(Register.MAX_V) == 60
    assert not simulator.output_is_on()


def test_what_it_does_not_understand_or_allow_is_an_error(world):
    simulator = CaenA7585Simulator(world.current_a, clock=ScaledClock(100))
    simulator.start()
    hold_dialogue(
        simulator.address,
        [
            (b"AT+MACHINE\r\n", b"AT+MACHINE\r\nOK\r\n"),
            *lines(
                ("HELLO", "ERROR"),
                ("AT+GET,99", "ERROR"),
                ("AT+GET,x", "ERROR"),
                ("AT+SET,2", "ERROR"),
                ("AT+SET,2,high", "ERROR"),
                ("AT+SET,2,86", "ERROR"),
                ("AT+SET,2,19", "ERROR"),
                ("AT+SET,231,40", "ERROR"),
                ("AT+SET,2,nan", "ERROR"),
                ("AT+GET,230", "OK=5.020000"),
            ),
        ],
    )
    simulator.stop()
