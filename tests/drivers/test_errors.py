"""Errors of instruments: what a person reads."""

import pickle

import pytest

from drivers.errors import InstrumentTimeout, errors_of, names_its_errors
from drivers.loopback import SocketEnd
from drivers.transport import VisaTransport


def test_an_error_names_instrument_port_what_was_sent_and_the_remedy() -> None:
    error = InstrumentTimeout("no answer in time", port="COM1", sent="*IDN?", instrument="chiller")
    assert str(error) == (
        "chiller: no answer in time (port COM1 after sending '*IDN?'). "
        "Check that the instrument is on and not showing a message, then retry."
    )
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_the_instrument_is_named_once() -> None:
    error = InstrumentTimeout("chiller: no answer", port="COM1", instrument="chiller")
    assert str(error).count("chiller") == 1


def test_the_first_name_stays() -> None:
    with pytest.raises(InstrumentTimeout) as caught, errors_of("gantry"):
        raise InstrumentTimeout("late", port="COM1", instrument="GRBL gantry")
    assert caught.value.instrument == "GRBL gantry"


def test_a_port_names_the_instrument_behind_it() -> None:
    end = SocketEnd(lambda line: None, name="silent")
    end.start()
    transport = VisaTransport(f"TCPIP::{end.host}::{end.port}::SOCKET")
    transport.instrument = "Keithley 2450"
    try:
        with pytest.raises(InstrumentTimeout, match=r"^Keithley 2450: "):
            transport.query("*IDN?", deadline_s=0.05)
    finally:
        transport.close()
        end.stop()


def test_every_public_method_of_a_named_driver_names_it() -> None:
    @names_its_errors("GRBL gantry")
    class Driver:
        def modes(self) -> None:
            raise InstrumentTimeout("late", port="COM1")

    with pytest.raises(InstrumentTimeout, match=r"^GRBL gantry: late"):
        Driver().modes()


def test_what_a_named_driver_inherits_names_it_too() -> None:
    class Circulator:
        def running(self) -> None:
            raise InstrumentTimeout("late", port="COM1")

    @names_its_errors("Huber chiller")
    class Driver(Circulator):
        pass

    with pytest.raises(InstrumentTimeout, match=r"^Huber chiller: late"):
        Driver().running()
    with pytest.raises(InstrumentTimeout, match=r"^late"):
        Circulator().running()
