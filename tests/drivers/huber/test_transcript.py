"""The exact frames, from both ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import BrokenReply, WrongInstrument
from drivers.faults import misread
from drivers.huber import Huber, HuberSimulator, protocol
from drivers.huber.protocol import ProtocolError, State
from drivers.transport import SerialTransport
from tests.drivers.scripted import scripted_pty

VERIFY = (b"[M01V07C6\r", b"[S01V0DCC240W4C\r")


def test_the_verify_question_has_the_field_s_bytes() -> None:
    assert protocol.verify_question() == "[M01V07C6"
    # 5B 4D 30 31 47 30 44 and six times 2A
    assert protocol.general_question() == "[M01G0D******C0"
    assert protocol.general_question(setpoint="FB2E").startswith("[M01G0D**FB2E")


def test_an_order_is_answered_with_the_state_and_asked_again() -> None:
    state = State(protocol.INTERNAL, False, -12.34, -3.5, None)
    answer = protocol.format_state(state)
    assert answer == "[S01G15I0FB2EFEA2C5040E"
    set_point = "[M01G0D**FB2E" + protocol.checksum("[M01G0D**FB2E")
    start = "[M01G0DI*****" + protocol.checksum("[M01G0DI*****")
    reply = answer.encode() + b"\r"
    dialogue = [
        VERIFY,
        (set_point.encode() + b"\r", reply),
        (b"[M01G0D******C0\r", reply),
        (start.encode() + b"\r", reply),
        (b"[M01G0D******C0\r", reply),
    ]
    with scripted_pty(dialogue) as (path, peer):
        chiller = Huber.open(path, lowest_c=-30, highest_c=30)
        assert chiller.identity.model == "CC240W"
        chiller.set_temperature(-12.34)
        chiller.start()
        chiller.close()
        peer.check()


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (b"JULABO FL1703\r", WrongInstrument),
        (b"[M01V07C6\r", WrongInstrument),
        (b"[S01V0DCC240WDB\r", BrokenReply),
        (b"[S01V0CCC240W4B\r", BrokenReply),
    ],
)
def test_something_else_is_refused(reply: bytes, kind: type[Exception]) -> None:
    with scripted_pty([(VERIFY[0], reply)]) as (path, _), pytest.raises(kind):
        Huber.open(path, lowest_c=-30, highest_c=30)


def test_the_simulator_speaks_the_same_frames(simulator: HuberSimulator) -> None:
    port = SerialTransport(simulator.path, read_terminator=b"\r", write_terminator=b"\r")
    assert port.query("[M01V07C6", deadline_s=1.0) == protocol.frame("S", "V", "UNISTAT405W")
    # off, no alarm, set-point 20.00, bath 22.00, no external sensor
    assert port.query("[M01G0D******C0", deadline_s=1.0) == "[S01G15O007D00898C504CB"
    port.close()


temperatures = st.integers(-15000, 32767).map(lambda number: round(number * 0.01, 2))


@given(temperatures)
def test_temperatures_survive_their_digits(temperature_c: float) -> None:
    digits = protocol.format_temperature(temperature_c)
    assert protocol.parse_temperature(digits) == temperature_c


@given(
    st.sampled_from(sorted(protocol.MODES)),
    st.booleans(),
    temperatures,
    temperatures,
    st.none() | temperatures,
)
def test_states_survive_their_frames(
    mode: str, has_alarm: bool, setpoint_c: float, bath_c: float, external_c: float | None
) -> None:
    state = State(mode, has_alarm, setpoint_c, bath_c, external_c)
    assert protocol.parse_state(protocol.format_state(state)) == state


@given(temperatures, st.floats(0, 1, exclude_max=True))
def test_a_misread_digit_is_always_seen(bath_c: float, where: float) -> None:
    answer = protocol.format_state(State("I", False, 5.0, bath_c, None))
    with pytest.raises(ProtocolError):
        protocol.parse_state(misread(answer.encode(), where).decode())


@given(st.text(max_size=30))
def test_any_text_is_a_frame_or_refused(text: str) -> None:
    try:
        protocol.parse_state(text)
    except ProtocolError:
        return
    raise AssertionError(f"{text!r} passed for a state")


@pytest.mark.parametrize("temperature_c", [-151.0, 327.68, float("nan"), float("inf")])
def test_what_has_no_room_in_four_digits_is_refused(temperature_c: float) -> None:
    with pytest.raises(ProtocolError):
        protocol.format_temperature(temperature_c)


def test_a_bath_without_a_sensor_gives_no_number() -> None:
    with pytest.raises(ProtocolError, match="no sensor"):
        protocol.parse_state(protocol.frame("S", "G", "I0" + "07D0" + "C504" + "C504"))
