"""The bytes of the data sheets."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import BrokenReply, InstrumentRefused, WrongInstrument
from drivers.sensirion import Sensirion, protocol
from drivers.sensirion.protocol import ProtocolError

words = st.integers(0, 0xFFFF)
Step = tuple[bytes, int, float, bytes]


class ScriptedBus:
    """A bus that expects exact exchanges with address 0x44."""

    port = "/dev/i2c-1"
    is_closed = False

    def __init__(self, script: Sequence[Step]) -> None:
        self.left = list(script)

    def exchange(
        self,
        address: int,
        write: bytes,
        read_count: int = 0,
        *,
        wait_s: float = 0.0,
        deadline_s: float,
    ) -> bytes:
        assert deadline_s > 0
        expected, count, least_s, reply = self.left.pop(0)
        assert (address, write.hex(), read_count) == (0x44, expected.hex(), count)
        assert wait_s >= least_s
        return reply

    def interrupt(self) -> int:
        return 0

    def close(self) -> None:
        raise AssertionError("a shared bus is not the sensor's to close")


def crc_of(text: str) -> bytes:
    data = bytes.fromhex(text)
    return data + bytes((protocol.crc(data),))


def test_the_checksum_of_be_ef_is_92() -> None:
    assert protocol.crc(bytes.fromhex("beef")) == 0x92
    assert protocol.crc(bytes(2)) == 0x81
    assert protocol.with_crc(0xBEEF, 0) == bytes.fromhex("beef92000081")


def test_a_dialogue_of_opening_measuring_heating_and_resetting() -> None:
    serial = crc_of("0123") + bytes.fromhex("beef92")
    normal, heated = bytes.fromhex("000081"), crc_of("2000")
    bus = ScriptedBus(
        [
            (bytes.fromhex("3682"), 6, 0.001, serial),
            (bytes.fromhex("f32d"), 3, 0.001, normal),
            (bytes.fromhex("2400"), 6, 0.0155, bytes.fromhex("beef92") + crc_of("8000")),
            (bytes.fromhex("f32d"), 3, 0.001, normal),
            (bytes.fromhex("306d"), 0, 0.001, b""),
            (bytes.fromhex("f32d"), 3, 0.001, heated),
            (bytes.fromhex("3066"), 0, 0.001, b""),
            (bytes.fromhex("f32d"), 3, 0.001, normal),
            (bytes.fromhex("30a2"), 0, 0.0015, b""),
            (bytes.fromhex("3041"), 0, 0.001, b""),
            (bytes.fromhex("f32d"), 3, 0.001, normal),
        ]
    )
    sensor = Sensirion(bus)
    assert sensor.identity.serial == "0123BEEF"
    assert sensor.identity.port == "/dev/i2c-1 address 0x44"
    reading = sensor.read()
    assert reading.temperature_c == pytest.approx(-45 + 175 * 0xBEEF / 65535)
    assert reading.humidity_percent == pytest.approx(100 * 0x8000 / 65535)
    sensor.heat()
    sensor.stop_heating()
    sensor.reset()
    sensor.close()
    assert bus.left == []


def test_a_wrong_checksum_is_asked_again_and_then_refused() -> None:
    opening = [
        (bytes.fromhex("3682"), 6, 0.0, crc_of("0123") + crc_of("4567")),
        (bytes.fromhex("f32d"), 3, 0.0, crc_of("0000")),
    ]
    good, bad = crc_of("6000") + crc_of("4000"), crc_of("6000") + bytes.fromhex("400000")
    status = (bytes.fromhex("f32d"), 3, 0.0, crc_of("0000"))
    measure = bytes.fromhex("2400")
    bus = ScriptedBus([*opening, (measure, 6, 0.0, bad), (measure, 6, 0.0, good), status])
    assert Sensirion(bus).read().humidity_percent == pytest.approx(25.0, abs=0.01)
    bus = ScriptedBus([*opening, (measure, 6, 0.0, bad), (measure, 6, 0.0, bad)])
    with pytest.raises(BrokenReply, match="checksum of 40 00 00 is wrong"):
        Sensirion(bus).read()


def test_a_sensor_whose_heater_is_on_gives_no_climate() -> None:
    bus = ScriptedBus(
        [
            (bytes.fromhex("3682"), 6, 0.0, crc_of("0123") + crc_of("4567")),
            (bytes.fromhex("f32d"), 3, 0.0, crc_of("0000")),
            (bytes.fromhex("2400"), 6, 0.0, crc_of("6000") + crc_of("4000")),
            (bytes.fromhex("f32d"), 3, 0.0, crc_of("2000")),
        ]
    )
    with pytest.raises(InstrumentRefused, match="heater"):
        Sensirion(bus).read()


def test_something_else_at_the_address_is_refused() -> None:
    other = (bytes.fromhex("3682"), 6, 0.0, bytes(6))
    with pytest.raises(WrongInstrument, match="no SHT3x"):
        Sensirion(ScriptedBus([other, other]))


def test_only_the_two_addresses_exist() -> None:
    with pytest.raises(ValueError, match="0x44 or 0x45, not 0x46"):
        Sensirion(ScriptedBus([]), i2c_address=0x46)


@given(words, words)
def test_words_survive_their_bytes(first: int, second: int) -> None:
    assert protocol.parse_words(protocol.with_crc(first, second), 2) == (first, second)


@given(words, st.integers(0, 23))
def test_one_wrong_bit_is_always_seen(word: int, bit: int) -> None:
    data = int.from_bytes(protocol.with_crc(word), "big") ^ 1 << bit
    with pytest.raises(ProtocolError):
        protocol.parse_words(data.to_bytes(3, "big"), 1)


@given(words, st.integers(0, 16), st.integers(1, 0xFF))
def test_a_burst_of_wrong_bits_is_always_seen(word: int, shift: int, pattern: int) -> None:
    data = int.from_bytes(protocol.with_crc(word), "big") ^ pattern << shift
    with pytest.raises(ProtocolError):
        protocol.parse_words((data & 0xFFFFFF).to_bytes(3, "big"), 1)


@given(st.binary(max_size=8))
def test_any_bytes_are_words_or_refused(data: bytes) -> None:
    try:
        found = protocol.parse_words(data, 2)
    except ProtocolError:
        return
    assert protocol.with_crc(*found) == data


@given(st.floats(-45.0, 130.0), st.floats(0.0, 100.0))
def test_the_simulator_s_words_mean_what_it_measures(value_c: float, percent: float) -> None:
    assert protocol.temperature_c(protocol.temperature_word(value_c)) == pytest.approx(
        value_c, abs=0.0014
    )
    assert protocol.humidity_percent(protocol.humidity_word(percent)) == pytest.approx(
        percent, abs=0.0008
    )
