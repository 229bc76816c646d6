"""Who answers on a port where answers do not repeat their question."""

from collections.abc import Callable
from typing import TypeVar

from drivers.errors import BrokenReply
from drivers.transport import Exchange

QUIET_S = 0.05

_Answer = TypeVar("_Answer")


def settled(
    exchange: Exchange, ask: Callable[[Exchange], _Answer], known: _Answer | None
) -> _Answer:
    """What ``ask`` brings, asked again when it is not what is known.

    After a timeout an answer of before may come late, and then stands where the identity is
    expected. The second asking has none of its kind left: it brings what is known, or the same
    other identity twice.

    Raises:
        BrokenReply: two askings bring two different answers, neither of them known.
    """
    found = ask(exchange)
    if known is None or found == known:
        return found
    exchange.drain(QUIET_S)
    again = ask(exchange)
    if again not in (known, found):
        raise BrokenReply(
            f"the instrument calls itself {found}, then {again}",
            port=exchange.port,
            sent=exchange.sent,
        )
    return again
