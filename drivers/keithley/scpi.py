"""Questions and commands in SCPI, as the Keithley sources speak it."""

from collections.abc import Mapping

from drivers.errors import BrokenReply, InstrumentRefused
from drivers.keithley.protocol import QueuedError, parse_error, parse_flag, parse_number

__all__ = [
    "ask",
    "ask_all",
    "ask_flag",
    "ask_number",
    "ask_twice",
    "command",
    "drain_errors",
    "parse_flag",
    "parse_number",
    "port_to",
]
from drivers.transport import Exchange, LineTransport, SerialTransport, VisaTransport

NEXT_ERROR = ":SYST:ERR?"
LONGEST_QUEUE = 64
TERMINATORS: Mapping[str, bytes] = {"LF": b"\n", "CR": b"\r", "CR+LF": b"\r\n"}
"""What the front panels offer for RS-232 (Menu, Communication, RS-232, Terminator)."""


def port_to(address: str, *, baud: int, terminator: str, pause_s: float = 0.0) -> LineTransport:
    """A serial port (``/dev/ttyUSB0``), or a VISA address, to which only the address matters.

    Raises:
        ValueError: there is no such terminator.
        InstrumentLost: nothing can be opened there.
    """
    if terminator not in TERMINATORS:
        raise ValueError(f"a terminator is LF, CR or CR+LF, not {terminator!r}")
    if not address.startswith(("/", "COM")):
        return VisaTransport(address)
    end = TERMINATORS[terminator]
    return SerialTransport(
        address, baud=baud, read_terminator=end, write_terminator=end, pause_s=pause_s
    )


def ask(exchange: Exchange, query: str) -> str:
    exchange.send(query)
    return exchange.receive()


def ask_all(exchange: Exchange, *queries: str) -> list[str]:
    """The answers to several questions asked in one line.

    Raises:
        BrokenReply: more or fewer answers than questions.
    """
    query = ";".join(queries)
    answers = ask(exchange, query).split(";")
    if len(answers) != len(queries):
        raise BrokenReply(
            f"{len(answers)} answers to {len(queries)} questions", port=exchange.port, sent=query
        )
    return answers


def ask_twice(exchange: Exchange, query: str, repeat: str = "") -> str:
    """The answer to a question, sent twice in one line: no checksum guards its digits.

    ``repeat`` asks for the same once more where asking the same again would measure again.

    Raises:
        BrokenReply: the two differ.
    """
    first, second = ask_all(exchange, query, repeat or query)
    if first != second:
        raise BrokenReply(
            f"the same came as {first!r} and as {second!r}", port=exchange.port, sent=exchange.sent
        )
    return first


def ask_number(exchange: Exchange, query: str) -> float:
    return parse_number(ask(exchange, query), port=exchange.port, sent=query)


def ask_flag(exchange: Exchange, query: str) -> bool:
    return parse_flag(ask(exchange, query), port=exchange.port, sent=query)


def drain_errors(exchange: Exchange) -> list[QueuedError]:
    """Empty the error queue and return what was in it.

    Raises:
        BrokenReply: the queue does not end.
    """
    errors: list[QueuedError] = []
    while len(errors) <= LONGEST_QUEUE:
        error = parse_error(ask(exchange, NEXT_ERROR), port=exchange.port, sent=exchange.sent)
        if error.code == 0:
            return errors
        errors.append(error)
    raise BrokenReply("the error queue does not end", port=exchange.port, sent=NEXT_ERROR)


def command(exchange: Exchange, text: str, *, name: str) -> None:
    """Send a command to the instrument ``name`` and look for errors.

    Raises:
        InstrumentRefused: the error queue is not empty afterwards.
    """
    exchange.send(text)
    errors = drain_errors(exchange)
    if errors:
        raise InstrumentRefused(
            f"{name}: the source refuses: " + ", ".join(map(str, errors)),
            port=exchange.port,
            sent=text,
            advice="Check the request against the manual of the source; nothing was changed.",
        )
