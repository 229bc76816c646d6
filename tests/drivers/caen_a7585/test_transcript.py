"""The dialogue with an A7585D, byte by byte; driver and simulator are both held to it."""

import pytest

from drivers.caen_a7585 import CaenA7585, CaenA7585Simulator, TemperatureCompensation
from drivers.clock import ScaledClock
from drivers.errors import LimitsNotProgrammed

from ..raw_port import hold_dialogue, lines, replaced
from ..scripted import scripted_pty

OPENING = lines(
    ("AT+MACHINE", "OK"),
    ("AT+CGMI", "Nuclear Instruments"),
    ("AT+CGMM", "A7585D"),
    ("AT+GET,251", "OK=50"),
    ("AT+GET,254", "OK=1042"),
    ("AT+GET,252", "OK=12"),
)
READ_LIMITS = lines(
    ("AT+GET,4", "OK=50.000000"),
    ("AT+GET,5", "OK=1.000000"),
    ("AT+GET,1", "OK=0"),
)
LIMITS = [
    *lines(
        ("AT+GET,0", "OK=false"),
        ("AT+SET,2,20.000000", "OK"),
        ("AT+SET,3,10.000000", "OK"),
        ("AT+SET,4,50.000000", "OK"),
        ("AT+SET,5,1.000000", "OK"),
        ("AT+SET,1,0", "OK"),
    ),
    *READ_LIMITS,
]


def reading(voltage, current_ma, target, on="true"):
    return lines(
        ("AT+GET,231", f"OK={voltage}"),
        ("AT+GET,232", f"OK={current_ma}"),
        ("AT+GET,2", f"OK={target}"),
        ("AT+GET,250", "OK=false"),
        ("AT+GET,0", f"OK={on}"),
    )


SWITCHING_ON = [
    *READ_LIMITS,
    *lines(
        ("AT+GET,0", "OK=false"),
        ("AT+SET,2,20.000000", "OK"),
        ("AT+GET,2", "OK=20.000000"),
        ("AT+SET,3,10.000000", "OK"),
        ("AT+SET,0,1", "OK"),
        ("AT+GET,0", "OK=true"),
    ),
    *reading("20.000000", "0.002000", "20.000000"),
    *lines(("AT+GET,249", "OK=false")),
]
RAMPING = [
    *lines(("AT+GET,0", "OK=true"), ("AT+SET,3,20.000000", "OK")),
    *reading("20.000000", "0.002000", "20.000000"),
    *lines(("AT+GET,249", "OK=false")),
    *READ_LIMITS,
    *lines(("AT+GET,2", "OK=20.000000"), ("AT+SET,2,22.000000", "OK")),
    *reading("22.000000", "0.002200", "22.000000"),
    *lines(("AT+GET,249", "OK=false")),
]
RAMPING_DOWN = [
    *lines(
        ("AT+GET,0", "OK=true"),
        ("AT+GET,1", "OK=0"),
        ("AT+GET,2", "OK=22.000000"),
        ("AT+GET,2", "OK=22.000000"),
        ("AT+SET,3,20.000000", "OK"),
        ("AT+SET,2,20.000000", "OK"),
        ("AT+SET,0,0", "OK"),
        ("AT+GET,0", "OK=false"),
        ("AT+GET,0", "OK=false"),
        ("AT+SET,2,20.000000", "OK"),
    ),
    *reading("0.000000", "0.000000", "20.000000", on="false"),
]
CLOSING = lines(("AT+GET,0", "OK=false"), ("AT+GET,0", "OK=false"))
SESSION = OPENING + LIMITS + SWITCHING_ON + RAMPING + RAMPING_DOWN + CLOSING


def test_the_driver_says_exactly_these_bytes():
    with scripted_pty(SESSION) as (path, peer):
        module = CaenA7585.open(path, clock=ScaledClock(1000))
        module.program_limits(max_voltage_v=50, compliance_a=1e-3)
        module.switch_on()
        module.ramp_to(22, rate_v_per_s=20)
        off = module.ramp_down(rate_v_per_s=20)
        module.close()
    peer.check()
    assert module.identity.model == "A7585D"
    assert module.identity.serial == "1042"
    assert not off.output_on


def test_the_current_limit_goes_to_register_5_and_the_temperature_limit_to_6():
    limits = [
        *LIMITS[:5],
        *lines(("AT+SET,6,60.000000", "OK"), ("AT+SET,1,0", "OK")),
        *READ_LIMITS[:2],
        *lines(("AT+GET,6", "OK=60.000000"), ("AT+GET,1", "OK=0")),
        *CLOSING,
    ]
    with scripted_pty(OPENING + limits) as (path, peer):
        module = CaenA7585.open(path, max_temperature_c=60)
        module.program_limits(max_voltage_v=50, compliance_a=1e-3)
        module.close()
    peer.check()


def test_temperature_compensation_is_programmed_and_read_back():
    limits = [
        *LIMITS[:5],
        *lines(
            ("AT+SET,28,-35.000000", "OK"),
            ("AT+SET,7,0.000000", "OK"),
            ("AT+SET,8,50.000000", "OK"),
            ("AT+SET,9,0.500000", "OK"),
            ("AT+SET,1,2", "OK"),
        ),
        *READ_LIMITS[:2],
        *lines(
            ("AT+GET,28", "OK=-35.000000"),
            ("AT+GET,7", "OK=0.000000"),
            ("AT+GET,8", "OK=50.000000"),
            ("AT+GET,9", "OK=0.500000"),
            ("AT+GET,1", "OK=2"),
        ),
        *CLOSING,
    ]
    compensation = TemperatureCompensation(-35, sensor=(0, 50, 0.5))
    with scripted_pty(OPENING + limits) as (path, peer):
        module = CaenA7585.open(path, compensation=compensation)
        module.program_limits(max_voltage_v=50, compliance_a=1e-3)
        module.close()
    peer.check()


@pytest.mark.parametrize(
    ("question", "wrong", "complaint"),
    [
        (b"AT+GET,4\r\n", b"OK=85.000000\r\n", r"register 4 \(max_v\) reads back 85 instead of 50"),
        (b"AT+GET,5\r\n", b"OK=10.000000\r\n", r"register 5 \(max_ma\) reads back 10 instead of 1"),
        (b"AT+GET,1\r\n", b"OK=1\r\n", r"register 1 \(mode\) reads back 1 instead of 0"),
    ],
)
def test_limits_that_read_back_wrong_keep_the_output_off(question, wrong, complaint):
    with scripted_pty(OPENING + replaced(LIMITS, question, wrong)) as (path, peer):
        module = CaenA7585.open(path)
        with pytest.raises(LimitsNotProgrammed, match=complaint):
            module.program_limits(max_voltage_v=50, compliance_a=1e-3)
        with pytest.raises(LimitsNotProgrammed):
            module.switch_on()
        module.leave()
    assert not peer.mismatch


def test_the_simulator_answers_exactly_these_bytes():
    simulator = CaenA7585Simulator(lambda v: v * 1e-7, clock=ScaledClock(1e6), noise_a=0, noise_v=0)
    simulator.start()
    echoed = [(b"AT+MACHINE\r\n", b"AT+MACHINE\r\nOK\r\n"), *SESSION[1:]]
    hold_dialogue(simulator.address, echoed)
    simulator.stop()
