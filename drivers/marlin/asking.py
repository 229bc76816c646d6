"""Finding by asking whether a gantry speaks GRBL or one of the Marlin family's dialects."""

from typing import Literal

from drivers.clock import Clock
from drivers.errors import InstrumentTimeout, WrongInstrument
from drivers.grbl import GrblController, GrblGantry
from drivers.grbl import protocol as grbl
from drivers.marlin import protocol
from drivers.marlin.driver import MarlinGantry
from drivers.marlin.protocol import Triple
from drivers.transport import SerialTransport

OPENING_S = 10.0
ASK_AGAIN_S = 1.0
QUIET_S = 0.1

Family = Literal["grbl", "marlin"]


def ask_family(port: str, *, baud: int = grbl.BAUD) -> Family:
    """Which family answers on a port; nothing that could move anything is sent.

    What is left of a broken-off line is spoilt by the number and checksum of the first question,
    which no firmware carries out. GRBL answers it with an error of a number, or it says its status
    in a form of its own; Marlin, Smoothie and Duet tell their firmware.

    Raises:
        WrongInstrument: something answers, but not like any of them.
        InstrumentTimeout: silence; GRBL is deaf after an alarm at a limit, Marlin when killed.
        InstrumentLost: the port can't be opened.
    """
    transport = SerialTransport(port, baud=baud)
    transport.keep_stray_lines = True
    transport.verify = lambda exchange: None
    heard: list[str] = []
    try:
        for _ in range(round(OPENING_S / ASK_AGAIN_S)):
            with transport.transaction(deadline_s=ASK_AGAIN_S + 4 * QUIET_S) as exchange:
                for question in (
                    protocol.numbered(protocol.UNEXPECTED_NUMBER, protocol.IDENTITY),
                    protocol.IDENTITY,
                ):
                    exchange.send(question)
                    heard += [
                        line.decode("ascii", "replace").strip() for line in exchange.drain(QUIET_S)
                    ]
            family = _family(heard)
            if family is not None:
                return family
    except InstrumentTimeout:
        pass
    finally:
        transport.close()
    if heard:
        raise WrongInstrument(
            f"{heard[-1]!r} answers, neither GRBL nor Marlin, Smoothie or Duet",
            port=port,
            sent=protocol.IDENTITY,
        )
    raise InstrumentTimeout(
        "no controller of a gantry answers",
        port=port,
        sent=protocol.IDENTITY,
        advice="Check power and cable; press the reset button of the controller, then retry.",
    )


def open_gantry(
    port: str,
    *,
    baud: int = grbl.BAUD,
    clock: Clock | None = None,
    travel_mm: Triple | None = None,
) -> GrblGantry | MarlinGantry:
    """The gantry on a port, whichever firmware it has; nothing moves.

    Args:
        travel_mm: for controllers that do not tell their travel.

    Raises:
        WrongInstrument: no gantry answers.
        InstrumentTimeout: silence.
        InstrumentRefused: the travel is not known.
    """
    if ask_family(port, baud=baud) == "grbl":
        return GrblGantry(GrblController.open(port, clock=clock))
    return MarlinGantry.open(port, baud=baud, clock=clock, travel_mm=travel_mm)


def _family(heard: list[str]) -> Family | None:
    """GRBL's banner and its errors come in a form that the others do not have."""
    for line in heard:
        if protocol.is_identity(line):
            return "marlin"
    for line in heard:
        if grbl.is_banner(line) or grbl.error_number(line) is not None:
            return "grbl"
    return None
