"""A serial port that does not take the framing that it is given."""

import contextlib
import termios

import pytest
import serial

from drivers.errors import InstrumentLost
from drivers.loopback import PtyEnd
from drivers.transport import SerialTransport


class Deaf:
    def receive(self, data: bytes) -> None:
        pass

    def advance(self) -> float | None:
        return None


def test_a_port_that_refuses_its_settings_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise termios.error(22, "Invalid argument")

    monkeypatch.setattr(serial, "Serial", refuse)
    with pytest.raises(InstrumentLost, match=r"4800 7E1.*Invalid argument.*baud rate"):
        SerialTransport("/dev/ttyUSB0", baud=4800, bytesize=7, parity="E")


def test_a_pseudo_terminal_given_seven_bits_opens_again_with_its_own_settings() -> None:
    """It has no framing; the second time some systems refuse to be given one."""
    end = PtyEnd(Deaf(), name="deaf")
    end.start()
    try:
        for _ in range(2):
            with contextlib.suppress(InstrumentLost):
                SerialTransport(end.path, baud=4800, bytesize=7, parity="E").close()
        SerialTransport(end.path).close()
    finally:
        end.stop()
