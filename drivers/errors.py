# ruff: noqa: N818 - the names say what happened; all of them are errors
"""What can go wrong with an instrument, in words an operator can act on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import isfunction
from typing import TypeVar

_Class = TypeVar("_Class", bound=type)


class InstrumentError(Exception):
    """An instrument did not do what it was asked.

    Attributes:
        what: what happened.
        port: where the instrument is connected (VISA address, device path, endpoint).
        sent: the bytes or words that were sent last; empty when nothing was sent.
        advice: what the operator can do about it.
        instrument: which instrument, as people at the line call it; a port fills it in.
    """

    default_advice = "Check the instrument and its cable, then reconnect."

    def __init__(
        self, what: str, *, port: str, sent: str = "", advice: str = "", instrument: str = ""
    ) -> None:
        self.what = what
        self.instrument = instrument
        self.port = port
        self.sent = sent
        self.advice = advice or self.default_advice
        super().__init__(what)

    def __str__(self) -> str:
        sent = f" after sending {self.sent!r}" if self.sent else ""
        known = not self.instrument or self.what.startswith(self.instrument)
        who = "" if known else f"{self.instrument}: "
        return f"{who}{self.what} (port {self.port}{sent}). {self.advice}"

    def __reduce__(self) -> tuple[object, ...]:
        told = (type(self), self.what, self.port, self.sent, self.advice, self.instrument)
        return _rebuild, told


def _rebuild(
    kind: type[InstrumentError], what: str, port: str, sent: str, advice: str, instrument: str
) -> InstrumentError:
    return kind(what, port=port, sent=sent, advice=advice, instrument=instrument)


@contextmanager
def errors_of(instrument: str) -> Iterator[None]:
    """Let every instrument error that leaves the context name the instrument."""
    try:
        yield
    except InstrumentError as error:
        error.instrument = error.instrument or instrument
        raise


def names_its_errors(instrument: str) -> Callable[[_Class], _Class]:
    """Class decorator: every instrument error that leaves a public method names the instrument.

    Inherited methods count as well.
    """

    def decorated(driver: _Class) -> _Class:
        methods = {k: v for kind in reversed(driver.__mro__) for k, v in vars(kind).items()}
        for name, method in methods.items():
            if isfunction(method) and not name.startswith("_"):
                setattr(driver, name, errors_of(instrument)(method))
        return driver

    return decorated


class InstrumentTimeout(InstrumentError):
    """No complete answer within the deadline of the transaction."""

    default_advice = "Check that the instrument is on and not showing a message, then retry."


class InstrumentLost(InstrumentError):
    """The connection broke or could not be made."""

    default_advice = "Check power and cable of the instrument, then reconnect."


class InstrumentInterrupted(InstrumentError):
    """Another thread, such as the interlock, took the port in the middle of a transaction."""

    default_advice = "Nothing is wrong with the instrument; the reason is told by who stopped it."


class BrokenReply(InstrumentError):
    """An answer came that the protocol does not allow: garbled, truncated, of another question."""

    default_advice = "Retry; if it happens again, check the cable and its shielding."


class PictureRefused(InstrumentError):
    """A picture came that can't show what is in front of the camera now."""

    default_advice = "Restart the camera, look at its lamp and its lens cap, then retry."


class WrongInstrument(InstrumentError):
    """Something else, or something set up differently, answers on this port."""

    default_advice = "Check the address in the site profile against the label of the instrument."


class InstrumentRefused(InstrumentError):
    """The instrument, or its driver on its behalf, refused a command."""

    default_advice = "Nothing was changed. Correct the request and try again."


class SetpointRefused(InstrumentRefused, ValueError):
    """A requested value is outside what is allowed; nothing was sent."""


class LimitsNotProgrammed(InstrumentRefused):
    """The hardware limits are not programmed, or do not read back as programmed."""

    default_advice = "Programme the limits first; the output stays off until they read back."


class InterlockOpen(InstrumentRefused):
    """The safety interlock does not allow the requested voltage."""

    default_advice = "Close the lid and check the interlock plug at the back of the source."


class RampInterrupted(InstrumentError):
    """A voltage ramp ended before its target; the message holds the last reading."""

    default_advice = "Ramp down and find out why before trying again."


class ComplianceTripped(RampInterrupted):
    """The source reached its current limit during a ramp."""

    default_advice = "Ramp down; look for a short or a damaged channel before trying again."


class NotHomed(InstrumentRefused):
    """The machine does not know where it is."""

    default_advice = "Home the gantry first."


class MachineAlarm(InstrumentError):
    """A motion controller raised an alarm and locked itself."""

    default_advice = "Clear the machine by eye, acknowledge the alarm, then home the gantry."


class MotionStopped(InstrumentError):
    """A motion was stopped before its target."""

    default_advice = "Make sure that the way is free, then go on."


class OrdersLost(InstrumentError):
    """An instrument no longer does what it was told: it lost power, or somebody intervened."""

    default_advice = "Check its power and its panel, then send its settings again."
