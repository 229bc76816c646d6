"""What the two outputs of a GRBL 1.1 controller switch: a vacuum and a glue valve."""

from drivers.errors import InstrumentRefused, MachineAlarm, names_its_errors
from drivers.glue_valve import TimedValve
from drivers.grbl import protocol
from drivers.grbl.controller import GrblController

LONGEST_S = 5.0


@names_its_errors("gripper on the GRBL gantry")
class GrblVacuumGripper:
    """A vacuum on the flood output (M8, 0xA0), its switch on the probe input (``Pn:P``)."""

    def __init__(self, controller: GrblController) -> None:
        self.controller = controller

    def grip(self) -> None:
        """Switch the vacuum on and see it on; does not wait for a tile to be held.

        Raises:
            InstrumentRefused: the controller is in alarm or moving, or the output stays off.
        """
        self.controller.command("M8")
        self._expect_vacuum("F" in self.controller.accessories(), "on", "M8")

    def release(self) -> None:
        """Switch the vacuum off and see it off; the other output stays as it is.

        Raises:
            InstrumentRefused: the controller is in alarm or moving, or the output stays on.
        """
        modes = self.controller.modes()
        if "M8" not in modes:
            return
        if "M7" in modes:
            self.controller.send_realtime(protocol.FLOOD_TOGGLE)
            sent = repr(protocol.FLOOD_TOGGLE)
        else:
            self.controller.command("M9")
            sent = "M9"
        self._expect_vacuum("F" not in self.controller.accessories(), "off", sent)

    def holding(self) -> bool:
        return "P" in self.controller.status().pins

    def vacuum_on(self) -> bool:
        return "F" in self.controller.accessories()

    def _expect_vacuum(self, as_wanted: bool, wanted: str, sent: str) -> None:
        if not as_wanted:
            raise InstrumentRefused(
                f"the vacuum does not switch {wanted}",
                port=self.controller.port,
                sent=sent,
                advice="Wait until the gantry stands still; acknowledge an alarm; then retry.",
            )


@names_its_errors("glue valve on the GRBL gantry")
class GrblGlueValve(TimedValve):
    """A glue valve on the mist output (M7, 0xA1), read back from the status reports.

    Any reset and any alarm of the controller shuts it.

    Args:
        longest_s: it never stays open for longer.

    Raises:
        InstrumentRefused: the firmware was built without the mist output.
    """

    def __init__(self, controller: GrblController, *, longest_s: float = LONGEST_S) -> None:
        super().__init__(controller.clock, port=controller.port, longest_s=longest_s)
        self.controller = controller
        if not controller.has_mist:
            raise InstrumentRefused(
                "the firmware of the gantry has no mist output (M7)",
                port=controller.port,
                sent=protocol.INFO,
                advice="Build GRBL with ENABLE_M7, or take the glue valve out of the profile.",
            )

    def is_open(self) -> bool:
        """Whether the output is on, as the controller reports.

        An alarm at a limit switches all outputs off, and then the controller reports no more.
        """
        try:
            return "M" in self.controller.accessories()
        except MachineAlarm:
            if self.controller.is_deaf:
                return False
            raise

    def _open(self) -> None:
        self.controller.command("M7")
        self._expect(is_open=True, sent="M7")

    def _shut(self) -> None:
        if self.controller.is_deaf:
            return
        # the mode changes with the output, so that a toggle can't open a valve that is shut
        if "M7" in self.controller.modes():
            self.controller.send_realtime(protocol.MIST_TOGGLE)
        self._expect(is_open=False, sent=repr(protocol.MIST_TOGGLE))

    def _expect(self, *, is_open: bool, sent: str) -> None:
        if self.is_open() != is_open:
            raise InstrumentRefused(
                f"the glue valve does not {'open' if is_open else 'shut'}",
                port=self.controller.port,
                sent=sent,
                advice="Shut the glue by hand, then look at the valve and its relay.",
            )
