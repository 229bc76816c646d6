import pytest

from drivers.keithley2400 import Keithley2400Simulator

from ..hand_clock import HandClock


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def ask(clock):
    simulator = Keithley2400Simulator(lambda v: 1e-6 * v, clock=clock, noise_a=0, noise_v=0)

    def ask(line):
        reply = simulator.answer(line.encode())
        return None if reply is None else reply.decode().removesuffix("\n")

    ask.simulator = simulator
    return ask


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (":SOURC:VOLT 1", -113),
        (":SOUR:VOLT:ILIM 1e-4", -113),
        ("*LANG?", -113),
        (":SOUR:VOLT", -109),
        (":SOUR:VOLT abc", -104),
        (":SOUR:VOLT 23", -222),
        (":SOUR:VOLT 211", -222),
        (":SENS:CURR:PROT 1.1", -222),
        (":OUTP:SMOD MAYBE", -224),
        (":READ?", 803),
        (":INIT", 803),
    ],
)
def test_a_bad_command_queues_its_error_and_says_nothing(ask, command, code):
    assert ask(command) is None
    assert ask(":SYST:ERR?").split(",")[0] == str(code)
    assert ask(":SYST:ERR?") == '0,"No error"'


@pytest.mark.parametrize(
    ("asked_v", "held"),
    [(10, "+2.000000E+01"), (50, "+4.000000E+01"), (60, "+6.000000E+01"), (200, "+2.100000E+02")],
)
def test_a_protection_between_two_steps_is_the_lower_one(ask, asked_v, held):
    ask(f":SOUR:VOLT:PROT {asked_v}")
    assert ask(":SOUR:VOLT:PROT?") == held


def test_the_protection_holds_the_output_down(ask, clock):
    ask(":SENS:CURR:PROT 1e-3;:SOUR:VOLT:RANG 200;:SOUR:VOLT:PROT 20;:SOUR:VOLT 35;:OUTP ON")
    clock.sleep(0.1)
    assert ask.simulator.true_voltage_v() == pytest.approx(20)
    assert int(float(ask(":READ?").split(",")[4])) & 1 << 4


def test_the_voltage_sags_to_where_the_load_draws_the_limit(ask, clock):
    ask(":SENS:CURR:PROT 1e-5;:SOUR:VOLT 15;:OUTP ON")
    clock.sleep(0.1)
    assert ask.simulator.true_voltage_v() == pytest.approx(10)
    assert ask(":SENS:CURR:PROT:TRIP?") == "1"


def test_a_voltage_that_is_not_measured_is_what_was_set(ask, clock):
    ask(":SENS:CURR:PROT 1e-5;:SOUR:VOLT 15;:OUTP ON")
    clock.sleep(0.1)
    voltage, *_, status = map(float, ask(":READ?").split(","))
    assert voltage == 15
    assert not int(status) & 1 << 11
    ask(":SENS:FUNC 'VOLT','CURR'")
    voltage, *_, status = map(float, ask(":READ?").split(","))
    assert voltage == pytest.approx(10)
    assert int(status) & 1 << 11


@pytest.mark.parametrize(("mode", "left_v"), [("ZERO", 0), ("NORM", 9.5), ("HIMP", 9.9)])
def test_the_off_mode_decides_what_becomes_of_a_charged_capacitor(clock, mode, left_v):
    simulator = Keithley2400Simulator(lambda v: 1e-9 * v, clock=clock, capacitance_f=1e-6)
    line = f":OUTP:SMOD {mode};:SENS:CURR:PROT 1e-4;:SOUR:VOLT 10;:OUTP ON"
    assert simulator.answer(line.encode()) is None
    clock.sleep(2)
    assert simulator.true_voltage_v() == pytest.approx(10)
    simulator.answer(b":OUTP OFF")
    clock.sleep(0.2)
    assert simulator.true_voltage_v() == pytest.approx(left_v, abs=0.5)


def test_a_sweep_takes_its_time_and_only_an_abort_is_heard_meanwhile(ask, clock):
    ask(":SENS:CURR:PROT 1e-3;:SOUR:DEL 1;:SOUR:VOLT:START 1;:SOUR:VOLT:STOP 5;:SOUR:VOLT:STEP 1")
    ask(":TRIG:COUN 5;:SOUR:VOLT:MODE SWE;:OUTP ON;:INIT")
    clock.sleep(2.5)
    assert ask.simulator.true_voltage_v() == pytest.approx(3)
    before_s = clock.now_s()
    assert ask(":OUTP?") == "1"
    assert clock.now_s() - before_s > 2
    assert len(ask(":FETC?").split(",")) == 25
    ask(":INIT")
    clock.sleep(1.5)
    before_s = clock.now_s()
    ask(":ABOR")
    assert clock.now_s() == before_s


def test_the_mains_switch_takes_limits_and_output_and_leaves_the_output_enable(ask):
    ask(":SENS:CURR:PROT 1e-3;:SOUR:VOLT:PROT 20;:OUTP:ENAB ON;:OUTP ON")
    ask.simulator.power_cycle()
    assert ask(":OUTP?;:SENS:CURR:PROT?;:OUTP:ENAB?") == "0;+1.050000E-04;1"
    assert ask.simulator.true_limits()[0] > 200


def test_the_error_queue_overflows_with_its_own_error(ask):
    for _ in range(15):
        ask(":NONSENSE")
    codes = [ask(":SYST:ERR?").split(",")[0] for _ in range(11)]
    assert codes == ["-113"] * 9 + ["-350", "0"]
