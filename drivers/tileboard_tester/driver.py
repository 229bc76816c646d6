"""The tileboard tester: charges, LEDs, bias switches, thermometers and board supplies."""

from pathlib import Path

from drivers.clock import Clock, RealClock
from drivers.errors import (
    BrokenReply,
    InstrumentRefused,
    SetpointRefused,
    WrongInstrument,
    names_its_errors,
)
from drivers.roles import Identity
from drivers.tileboard_tester import protocol
from drivers.tileboard_tester.protocol import BoardConstants, LedRun
from drivers.tileboard_tester.runs import TesterRuns

_CLOSING_DEADLINE_S = 1.0


@names_its_errors("tileboard tester")
class TileboardTester(TesterRuns):
    """A tileboard tester with its board.

    Fulfils the roles ``ChargeReadout``, ``LightPulser``, ``BiasSwitch`` and ``ClimateSensor``.

    Opening checks that a tester with ``board_constants.n_rocs`` chips answers, powers the board if
    it is not powered, stops an acquisition that someone left running and initialises the three
    servers. Bias switches and LEDs stay as they are found: bring the supply down before switching
    them. ``close`` switches both off.

    ``data_folder`` is where the data client writes and this program reads. ``data_host`` is the
    machine of the data client when it is not the tester.

    Raises:
        InstrumentTimeout: one of the three servers does not answer.
        WrongInstrument: something else answers, or the board has another number of chips.
    """

    def __init__(
        self,
        host: str,
        *,
        data_folder: Path,
        board_constants: BoardConstants,
        fast_port: int = protocol.FAST_PORT,
        slow_port: int = protocol.SLOW_PORT,
        data_port: int = protocol.DATA_PORT,
        push_port: int = protocol.PUSH_PORT,
        data_host: str | None = None,
        clock: Clock | None = None,
        reply_deadline_s: float = 3.0,
    ) -> None:
        super().__init__(
            f"tcp://{host}:{slow_port}",
            f"tcp://{host}:{fast_port}",
            f"tcp://{data_host or host}:{data_port}",
            server_host=host,
            push_port=push_port,
            data_folder=data_folder,
            board_constants=board_constants,
            clock=clock or RealClock(),
            reply_deadline_s=reply_deadline_s,
        )
        self._closed = False
        try:
            self._open()
        except BaseException:
            self._close_ports()
            raise
        self._identity = Identity(
            maker="HGCAL",
            model=f"tileboard tester, {board_constants.n_rocs} x HGCROC",
            serial="",
            firmware="",
            port=self._slow.port,
        )

    @classmethod
    def open(
        cls,
        address: str,
        *,
        data_folder: Path,
        board_constants: BoardConstants,
        clock: Clock | None = None,
        reply_deadline_s: float = 3.0,
    ) -> "TileboardTester":
        """The tester at a host name or address, with its servers on their usual ports."""
        return cls(
            address,
            data_folder=data_folder,
            board_constants=board_constants,
            clock=clock,
            reply_deadline_s=reply_deadline_s,
        )

    @property
    def identity(self) -> Identity:
        return self._identity

    def _open(self) -> None:
        if not self._folder.is_dir():
            raise SetpointRefused(
                f"the data folder {self._folder} does not exist",
                port=self._data.port,
                advice="Create the folder or correct it in the site profile.",
            )
        try:
            self._read_pins()
        except (BrokenReply, InstrumentRefused) as error:
            raise WrongInstrument(
                f"no tileboard tester answers: {error.what}", port=error.port, sent=error.sent
            ) from error
        self._done(protocol.set_gpio_direction(protocol.GPIO_DIRECTION))
        self._power_board()
        for transport in (self._fast, self._data):
            if protocol.RUNNING in self._ask(transport, "status"):
                self._expect(transport, "stop", protocol.CONFIGURED)
        self._initialize_chips()
        self._send_tree(self._fast, "initialize", protocol.daq_document(LedRun(), 1))
        self._send_tree(self._data, "initialize", self._client_tree("idle"))

    def close(self) -> None:
        """Stop an acquisition, switch LEDs and bias off, read that back, give the ports back.

        Raises the first InstrumentError met; the other steps are tried all the same.
        """
        if self._closed:
            return
        self._closed = True
        self._reply_deadline_s = min(self._reply_deadline_s, _CLOSING_DEADLINE_S)
        try:
            self._first_failure([self._stop_all, self.pulse_off, self.disconnect])
        finally:
            self._close_ports()
