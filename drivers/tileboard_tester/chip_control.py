"""The readout chips of a board: who is there, and their registers."""

from collections.abc import Mapping
from typing import Any

from drivers.errors import InstrumentError, WrongInstrument
from drivers.tileboard_tester import chips, protocol
from drivers.tileboard_tester.protocol import ProtocolError
from drivers.tileboard_tester.servers import TesterServers

MOST_DIFFERENCES = 5


class TesterChips(TesterServers):
    """What the slow control does with the chips."""

    def __init__(
        self, slow: str, fast: str, data: str, *, n_rocs: int, reply_deadline_s: float
    ) -> None:
        super().__init__(slow, fast, data, reply_deadline_s=reply_deadline_s)
        self._n_rocs = n_rocs

    def _initialize_chips(self) -> None:
        self._send_tree(self._slow, "initialize", chips.phase_document(0, n_rocs=1))
        expected = {protocol.roc_name(index) for index in range(self._n_rocs)}
        found = {name for name in self._read_tree({}) if str(name).startswith("roc_s")}
        if found != expected:
            raise WrongInstrument(
                f"the board has the chips {', '.join(sorted(found)) or 'none'}, "
                f"expected {', '.join(sorted(expected))}",
                port=self._slow.port,
                sent="read",
                advice="Check that the scanned label belongs to the board on the tester.",
            )

    def set_registers(self, tree: Mapping[str, Any]) -> None:
        """Write registers of the chips and read every one of them back.

        ``tree`` is ``{"roc_s0": {"sc": {block: {copy or "all": {register: value}}}}}``; blocks,
        copies and ranges are in ``chips.REGISTERS`` and ``chips.BLOCK_COPIES``.

        Raises:
            SetpointRefused: no such register or value; nothing was sent.
            InstrumentError: a register reads back as something else.
        """
        try:
            wanted = chips.flattened(tree, self._n_rocs)
        except ProtocolError as error:
            self._refuse_setting(str(error))
        self._send_tree(self._slow, "configure", chips.tree_of(wanted))
        read_back = self._read_tree(chips.tree_of(wanted))
        wrong = [
            f"{' '.join(map(str, place))} is {found!r} instead of {value}"
            for place, value in wanted.items()
            if (found := chips.looked_up(read_back, place)) != value
        ]
        if wrong:
            more = f" and {len(wrong) - MOST_DIFFERENCES} more" if len(wrong) > 5 else ""
            raise InstrumentError(
                f"registers do not read back as set: {'; '.join(wrong[:MOST_DIFFERENCES])}{more}",
                port=self._slow.port,
                sent="configure",
                advice="Reset the chips; check the board's plugs if it happens again.",
            )

    def registers(self) -> dict[str, Any]:
        """All registers of all chips, as the slow control reads them."""
        return self._read_tree({})

    def reset_tdc(self) -> None:
        """Reset the chips' time-to-digital converters, which may lock up on a new setting."""
        self._request(self._slow, [protocol.RESET_TDC])
