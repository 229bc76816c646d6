"""The dialogue with an N1470, byte by byte; driver and simulator are both held to it."""

import pytest

from drivers.caen_hv import BoardSetup, CaenHv, CaenHvSimulator
from drivers.clock import ScaledClock
from drivers.errors import LimitsNotProgrammed

from ..raw_port import hold_dialogue, lines, replaced
from ..scripted import scripted_pty


def board(*pairs):
    """Questions and orders to board 0 and its channel 0 in short, spelt out."""
    spelt = []
    for asked, answered in pairs:
        command, _, rest = asked.partition(" ")
        channel = "" if rest.startswith("BD") else "CH:0,"
        parameter, _, value = rest.partition("=")
        sent = f"$BD:00,CMD:{command},{channel}PAR:{parameter}" + (f",VAL:{value}" if value else "")
        got = "#BD:00,CMD:OK" + (f",VAL:{answered}" if answered else "")
        spelt.append((sent, got))
    return lines(*spelt)


OPENING = board(
    ("MON BDNAME", "N1470"),
    ("MON BDSNUM", "00312"),
    ("MON BDFREL", "1.12"),
    ("MON POL", "+"),
    ("MON VDEC", "1"),
    ("MON ISDEC", "2"),
    ("MON MVDEC", "0"),
)
OFF, ON = ("MON STAT", "00000"), ("MON STAT", "00001")
READ_LIMITS = board(
    ("MON ISET", "100.00"), ("MON MAXV", "51"), ("MON TRIP", "10.0"), ("MON PDWN", "KILL")
)
LIMITS = [
    *board(
        OFF,
        ("SET VSET=0.0", ""),
        ("SET RUP=20", ""),
        ("SET RDW=20", ""),
        ("SET ISET=100.00", ""),
        ("SET MAXV=51", ""),
        ("SET TRIP=10.0", ""),
        ("SET PDWN=KILL", ""),
    ),
    *READ_LIMITS,
]
SWITCHING_ON = [
    *READ_LIMITS,
    *board(
        OFF,
        ("MON BDCTR", "REMOTE"),
        ("MON BDILK", "NO"),
        ("MON POL", "+"),
        ("SET VSET=0.0", ""),
        ("MON VSET", "0.0"),
        ("SET ON", ""),
        ON,
    ),
]


def reading(voltage, current, setpoint, status="00001"):
    return board(
        ("MON VMON", voltage),
        ("MON IMON", current),
        ("MON VSET", setpoint),
        ("MON STAT", status),
    )


RAMPING = [
    *board(
        ("MON BDCTR", "REMOTE"),
        ("MON BDILK", "NO"),
        ("MON POL", "+"),
        ON,
        ("SET RUP=10", ""),
        ("SET RDW=10", ""),
    ),
    *reading("0.0", "0.000", "0.0"),
    *board(ON),
    *READ_LIMITS,
    *board(("MON VSET", "0.0"), ("SET VSET=0.9", "")),
    *reading("0.9", "0.090", "0.9"),
    *board(ON),
    *READ_LIMITS,
    *board(("MON VSET", "0.9"), ("SET VSET=1.8", "")),
    *reading("1.8", "0.180", "1.8"),
    *board(ON),
]
RAMPING_DOWN = [
    *board(
        ON,
        ("MON VSET", "1.8"),
        ("MON VSET", "1.8"),
        ("SET RUP=10", ""),
        ("SET RDW=10", ""),
        ("SET VSET=0.8", ""),
        ("SET VSET=0.0", ""),
        ("SET OFF", ""),
        OFF,
        ("SET VSET=0.0", ""),
    ),
    *reading("0.0", "0.000", "0.0", "00000"),
]
CLOSING = board(OFF, OFF)
SESSION = OPENING + LIMITS + SWITCHING_ON + RAMPING + RAMPING_DOWN + CLOSING


def test_the_driver_says_exactly_these_bytes():
    with scripted_pty(SESSION) as (path, peer):
        supply = CaenHv.open(path, board=0, clock=ScaledClock(1000))
        supply.program_limits(max_voltage_v=50.5, compliance_a=1e-4)
        supply.switch_on()
        supply.ramp_to(1.8, rate_v_per_s=9.5)
        off = supply.ramp_down(rate_v_per_s=9.5)
        supply.close()
    peer.check()
    assert supply.identity.model == "N1470"
    assert supply.identity.serial == "00312"
    assert not off.output_on


def test_a_desktop_supply_has_no_board_number_and_other_names():
    session = lines(
        ("$CMD:MON,PAR:BDNAME", "#CMD:OK,VAL:DT5533E"),
        ("$CMD:MON,PAR:BDSNUM", "#CMD:OK,VAL:221"),
        ("$CMD:MON,PAR:BDFREL", "#CMD:OK,VAL:1.05"),
        ("$CMD:MON,CH:2,PAR:POL", "#CMD:OK,VAL:-"),
        ("$CMD:MON,CH:2,PAR:VSDEC", "#CMD:OK,VAL:1"),
        ("$CMD:MON,CH:2,PAR:ISDEC", "#CMD:OK,VAL:2"),
        ("$CMD:MON,CH:2,PAR:MVDEC", "#CMD:OK,VAL:0"),
        ("$CMD:MON,CH:2,PAR:VMON", "#CMD:OK,VAL:12.3"),
        ("$CMD:MON,CH:2,PAR:IMON", "#CMD:OK,VAL:0.045"),
        ("$CMD:MON,CH:2,PAR:VSET", "#CMD:OK,VAL:12.3"),
        ("$CMD:MON,CH:2,PAR:STAT", "#CMD:OK,VAL:00009"),
    )
    with scripted_pty(session) as (path, peer):
        supply = CaenHv.open(path, channel=2, polarity=-1)
        found = supply.read()
        supply.leave()
    peer.check()
    assert (found.voltage_v, found.set_v) == (-12.3, -12.3)
    assert found.current_a == pytest.approx(-0.045e-6)
    assert found.output_on
    assert found.in_compliance


def test_a_supply_with_one_channel_is_not_asked_for_a_channel():
    session = lines(
        ("$CMD:MON,PAR:BDNAME", "#CMD:OK,VAL:DT5472"),
        ("$CMD:MON,PAR:BDSNUM", "#CMD:OK,VAL:7"),
        ("$CMD:MON,PAR:BDFREL", "#CMD:OK,VAL:1.0"),
        ("$CMD:MON,PAR:POLARITY", "#CMD:OK,VAL:+"),
        ("$CMD:MON,PAR:VSDEC", "#CMD:OK,VAL:1"),
        ("$CMD:MON,PAR:ISDEC", "#CMD:OK,VAL:2"),
        ("$CMD:MON,PAR:MVDEC", "#CMD:OK,VAL:0"),
        ("$CMD:MON,PAR:STAT", "#CMD:OK,VAL:00000"),
    )
    with scripted_pty(session) as (path, peer):
        supply = CaenHv.open(path)
        assert not supply.output_is_on()
        supply.leave()
    peer.check()


@pytest.mark.parametrize(
    ("parameter", "wrong", "complaint"),
    [
        ("ISET", "300.00", r"ISET reads back 300\.00 instead of 100\.00"),
        ("MAXV", "500", "MAXV reads back 500 instead of 51"),
        ("TRIP", "1000.0", r"TRIP reads back 1000\.0 instead of 10\.0"),
        ("PDWN", "RAMP", "PDWN reads back RAMP instead of KILL"),
    ],
)
def test_limits_that_read_back_wrong_keep_the_output_off(parameter, wrong, complaint):
    ((asked, answer),) = board((f"MON {parameter}", wrong))
    with scripted_pty(OPENING + replaced(LIMITS, asked, answer)) as (path, peer):
        supply = CaenHv.open(path, board=0)
        with pytest.raises(LimitsNotProgrammed, match=complaint):
            supply.program_limits(max_voltage_v=50.5, compliance_a=1e-4)
        with pytest.raises(LimitsNotProgrammed):
            supply.switch_on()
        supply.leave()
    assert not peer.mismatch


def test_the_simulator_answers_exactly_these_bytes():
    simulator = CaenHvSimulator((BoardSetup(loads=(lambda v: v * 1e-7,)),), ScaledClock(1e6))
    simulator.start()
    hold_dialogue(simulator.address, SESSION)
    simulator.stop()


def test_the_simulator_answers_the_vendors_errors():
    simulator = CaenHvSimulator()
    simulator.start()
    hold_dialogue(
        simulator.address,
        lines(
            ("$BD:00,CMD:GET,CH:0,PAR:VSET", "#BD:00,CMD:ERR"),
            ("$BD:00,CMD:MON,CH:4,PAR:VSET", "#BD:00,CH:ERR"),
            ("$BD:00,CMD:MON,CH:0,PAR:VOLT", "#BD:00,PAR:ERR"),
            ("$BD:00,CMD:SET,CH:0,PAR:VSET,VAL:9999", "#BD:00,VAL:ERR"),
            ("$BD:00,CMD:SET,CH:0,PAR:VSET,VAL:1.23", "#BD:00,VAL:ERR"),
            ("$BD:00,CMD:SET,CH:0,PAR:PDWN,VAL:SOON", "#BD:00,VAL:ERR"),
        ),
    )
    simulator.set_local(True)
    hold_dialogue(
        simulator.address,
        lines(
            ("$BD:00,CMD:SET,CH:0,PAR:OFF", "#BD:00,LOC:ERR"),
            ("$BD:00,CMD:MON,PAR:BDCTR", "#BD:00,CMD:OK,VAL:LOCAL"),
        ),
    )
    simulator.stop()
