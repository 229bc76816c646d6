"""One port for several instruments behind it, such as the channels of one power supply.

The port has one owner and one lock; each instrument gets a view of it that it may use and close as
if the port were its own. The port closes with its last view. An interruption through one view
breaks off whatever is under way on the port: getting one channel down comes before another one's
ramp.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NoReturn, TypeVar

from drivers.errors import InstrumentLost
from drivers.transport import Exchange, LineTransport, PortStatistics

_Driver = TypeVar("_Driver")


def open_all(
    transport: LineTransport, makers: Sequence[Callable[[LineTransport], _Driver]]
) -> list[_Driver]:
    """Drivers that share a port, each made with its view; all of them or none."""
    shared = SharedPort(transport)
    views = [shared.view() for _ in makers]
    try:
        return [make(view) for make, view in zip(makers, views, strict=True)]
    except BaseException:
        for view in views:
            view.close()
        raise


class SharedPort:
    """A port that several drivers use.

    Args:
        transport: the port; nobody else may use it.
    """

    def __init__(self, transport: LineTransport) -> None:
        self._transport = transport
        self._views: list[PortView] = []
        transport.verify = self._verify

    def view(self) -> "PortView":
        """The port for one more driver."""
        view = PortView(self._transport, self._let_go)
        self._views.append(view)
        return view

    def _let_go(self, view: "PortView") -> None:
        if view in self._views:
            self._views.remove(view)
        if not self._views:
            self._transport.close()

    def _verify(self, exchange: Exchange) -> None:
        for view in list(self._views):
            if view.verify is not None:
                view.verify(exchange)


class PortView(LineTransport):
    """A shared port as one of its drivers sees it."""

    def __init__(self, transport: LineTransport, on_close: Callable[["PortView"], None]) -> None:
        self._behind = transport
        self._on_close = on_close
        self._let_go = False
        self.read_terminator = transport.read_terminator
        self.write_terminator = transport.write_terminator

    @property
    def port(self) -> str:
        return self._behind.port

    @property
    def instrument(self) -> str:
        """What errors call the instrument; the views of a port are of one instrument."""
        return self._behind.instrument

    @instrument.setter
    def instrument(self, name: str) -> None:
        self._behind.instrument = name

    @property
    def is_closed(self) -> bool:
        return self._let_go or self._behind.is_closed

    @property
    def statistics(self) -> PortStatistics:
        """Those of the port behind, of all its users."""
        return self._behind.statistics

    def is_busy(self) -> bool:
        return self._behind.is_busy()

    def interrupt(self) -> int:
        return self._behind.interrupt()

    def transaction(self, *, deadline_s: float) -> AbstractContextManager[Exchange]:
        if self._let_go:
            raise InstrumentLost(
                "the port is closed",
                port=self.port,
                advice="Reconnect the instrument.",
                instrument=self.instrument,
            )
        return self._behind.transaction(deadline_s=deadline_s)

    def close(self) -> None:
        """Give this view back; the port closes with the last one."""
        if not self._let_go:
            self._let_go = True
            self._on_close(self)

    def _connect(self, turn: object) -> NoReturn:
        raise NotImplementedError("the port behind is open")
