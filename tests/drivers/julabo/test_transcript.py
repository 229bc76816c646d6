"""The exact bytes of the manuals, from both ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import (
    BrokenReply,
    InstrumentRefused,
    MachineAlarm,
    SetpointRefused,
    WrongInstrument,
)
from drivers.julabo import Julabo, JulaboSimulator, protocol
from drivers.julabo.protocol import ProtocolError
from drivers.transport import SerialTransport
from tests.drivers.scripted import Dialogue, scripted_pty

OPENING: Dialogue = [(b"version\r", b"JULABO FL1703 VERSION 4.0\r\n")]
REMOTE_STOP = (b"status\r", b"02 REMOTE STOP\r\n")
REMOTE_START = (b"status\r", b"03 REMOTE START\r\n")


def opened(path: str) -> Julabo:
    return Julabo.open(path, lowest_c=-15, highest_c=30, pause_s=0.0, deadline_s=2.0)


def test_opening_asks_who_is_there_and_changes_nothing() -> None:
    with scripted_pty(OPENING) as (path, peer):
        chiller = opened(path)
        chiller.close()
        peer.check()
    assert (chiller.identity.model, chiller.identity.firmware) == ("FL1703", "4.0")


def test_a_set_point_is_sent_checked_by_the_status_and_read_back() -> None:
    dialogue = [
        *OPENING,
        REMOTE_STOP,
        (b"out_sp_00 -12.50\r" + b"status\r", b"02 REMOTE STOP\r\n"),
        (b"in_sp_00\r", b"-12.50\r\n"),
    ]
    with scripted_pty(dialogue) as (path, peer):
        chiller = opened(path)
        chiller.set_temperature(-12.5)
        chiller.close()
        peer.check()


def test_starting_stopping_and_reading() -> None:
    dialogue = [
        *OPENING,
        REMOTE_STOP,
        (b"out_mode_05 1\r" + b"status\r", b"03 REMOTE START\n"),
        (b"in_pv_00\r", b" 21.30\r\n"),
        (b"in_pv_00\r", b" 21.28\r\n"),
        (b"in_pv_00\r", b" 21.21\r\n"),
        REMOTE_START,
        REMOTE_START,
        (b"out_mode_05 0\r" + b"status\r", b"02 REMOTE STOP\r\n"),
    ]
    with scripted_pty(dialogue) as (path, peer):
        chiller = opened(path)
        chiller.start()
        assert chiller.bath_c() == 21.28
        assert chiller.bath_c() == 21.21
        assert chiller.running()
        chiller.stop()
        chiller.close()
        peer.check()


@pytest.mark.parametrize(
    ("complaint", "kind"),
    [
        (b"-08 INVALID COMMAND", InstrumentRefused),
        (b"-09 COMMAND NOT ALLOWED IN CURRENT OPERATING MODE", InstrumentRefused),
        (b"-10 VALUE TOO SMALL", SetpointRefused),
        (b"-11 VALUE TOO LARGE", SetpointRefused),
        (b"-01 LOW LEVEL ALARM", MachineAlarm),
        (b"-03 EXCESS TEMPERATURE WARNING", MachineAlarm),
        (b"-33 CABLE TO SENSOR BROKEN", MachineAlarm),
    ],
)
def test_what_became_of_an_order_is_in_the_status(complaint: bytes, kind: type[Exception]) -> None:
    dialogue = [*OPENING, REMOTE_STOP, (b"out_sp_00 5.00\rstatus\r", complaint + b"\r\n")]
    with scripted_pty(dialogue) as (path, peer):
        chiller = opened(path)
        with pytest.raises(kind, match=complaint.decode()):
            chiller.set_temperature(5.0)
        chiller.close()
        peer.check()


def test_the_panel_s_control_is_respected() -> None:
    with scripted_pty([*OPENING, (b"status\r", b"01 MANUAL START\r\n")]) as (path, peer):
        chiller = opened(path)
        with pytest.raises(InstrumentRefused, match="panel"):
            chiller.stop()
        chiller.close()
        peer.check()


def test_something_else_is_refused() -> None:
    dialogue = [(b"version\r", b"LAUDA RE 104\r\n")]
    with scripted_pty(dialogue) as (path, _), pytest.raises(WrongInstrument, match="LAUDA"):
        opened(path)


def test_a_bath_that_jumps_between_two_readings_was_misread() -> None:
    dialogue = [*OPENING, (b"in_pv_00\r", b"21.30\r\n"), (b"in_pv_00\r", b"91.30\r\n")]
    with scripted_pty(dialogue) as (path, _):
        chiller = opened(path)
        with pytest.raises(BrokenReply, match=r"21\.3 and 91\.3"):
            chiller.bath_c()
        chiller.close()


def test_the_simulator_speaks_the_same_words(simulator: JulaboSimulator) -> None:
    port = SerialTransport(simulator.path, write_terminator=b"\r")
    for sent, reply in (
        ("version", "JULABO HIGHTECH FL1703 VERSION 4.0"),
        ("status", "02 REMOTE STOP"),
        ("in_sp_00", "20.00"),
        ("in_mode_05", "0"),
        ("in_pv_02", "---.--"),
    ):
        assert port.query(sent, deadline_s=1.0) == reply
    port.write("out_sp_00 -35.5", deadline_s=1.0)
    assert port.query("status", deadline_s=1.0) == "-10 VALUE TOO SMALL"
    assert port.query("status", deadline_s=1.0) == "02 REMOTE STOP"
    port.write("out_sp_00 99", deadline_s=1.0)
    assert port.query("status", deadline_s=1.0) == "-11 VALUE TOO LARGE"
    port.write("sing", deadline_s=1.0)
    assert port.query("status", deadline_s=1.0) == "-08 INVALID COMMAND"
    port.write("out_mode_05 1", deadline_s=1.0)
    assert port.query("status", deadline_s=1.0) == "03 REMOTE START"
    port.close()


@given(st.floats(-99, 99).map(lambda value: round(value, 2)))
def test_temperatures_survive_their_text(value_c: float) -> None:
    assert protocol.parse_temperature(protocol.format_temperature(value_c)) == value_c


@given(st.text(max_size=12))
def test_any_text_is_a_temperature_or_refused(text: str) -> None:
    try:
        value_c = protocol.parse_temperature(text)
    except ProtocolError:
        return
    assert float(text) == value_c
    assert abs(value_c) < 1000


@given(st.text(max_size=40))
def test_any_text_is_a_status_or_refused(text: str) -> None:
    try:
        status = protocol.parse_status(text)
    except ProtocolError:
        return
    assert str(status) == text.strip()


@pytest.mark.parametrize("reply", ["04 REMOTE START", "03 REMOTE STOP", "-02 LOW LEVEL ALARM", ""])
def test_a_status_whose_number_was_misread_is_refused(reply: str) -> None:
    with pytest.raises(ProtocolError):
        protocol.parse_status(reply)


@pytest.mark.parametrize("reply", ["", "JULABO", "HUBER CC", "?"])
def test_a_version_names_maker_and_model(reply: str) -> None:
    with pytest.raises(ProtocolError):
        protocol.parse_version(reply)
