"""What the outputs of a Marlin, Smoothie or Duet controller switch: a vacuum and a glue valve."""

from dataclasses import dataclass

from drivers.errors import BrokenReply, InstrumentError, InstrumentRefused, names_its_errors
from drivers.glue_valve import TimedValve
from drivers.marlin import protocol
from drivers.marlin.controller import MarlinController
from drivers.marlin.protocol import DUET

LONGEST_S = 5.0
DUET_FANS = 'M409 K"fans[].actualValue"'
"""unverified"""


@dataclass(frozen=True)
class Output:
    """One output of a controller.

    Attributes:
        on: the command that switches it on.
        off: the command that switches it off.
        fan: its number among the fans; None for a bare pin.
    """

    on: str
    off: str
    fan: int | None = None


def fan_output(number: int) -> Output:
    """A fan output, switched with `M106` and `M107`."""
    return Output(f"M106 P{number} S255", f"M107 P{number}", number)


def pin_output(pin: int) -> Output:
    """A bare pin, switched with `M42`."""
    return Output(f"M42 P{pin} S255", f"M42 P{pin} S0")


class _Switch:
    """An output and what is known of its level.

    Marlin and Smoothie do not tell it: it is what was acknowledged last, and off after a restart.
    Duet does.
    """

    def __init__(self, controller: MarlinController, output: Output) -> None:
        self.controller = controller
        self._output = output
        self._acknowledged_on = False
        self._restarts = controller.restarts

    def set(self, *, on: bool) -> None:
        """Raises InstrumentRefused: the controller tells another level than it was set to."""
        line = self._output.on if on else self._output.off
        try:
            self.controller.command(line)
        except InstrumentError:
            # it may have switched all the same
            self._acknowledged_on = self._acknowledged_on or on
            raise
        self._acknowledged_on = on
        self._restarts = self.controller.restarts
        if self.is_on() != on:
            raise InstrumentRefused(
                f"the output does not switch {'on' if on else 'off'}",
                port=self.controller.port,
                sent=line,
                advice="Look at the output and its relay, then retry.",
            )

    def is_on(self) -> bool:
        if self.controller.firmware.dialect is DUET and self._output.fan is not None:
            (line,) = self.controller.ask(DUET_FANS, lambda text: text[:1] == "{")[:1]
            fans = protocol.parse_model(line, port=self.controller.port, sent=DUET_FANS)
            if not isinstance(fans, list) or self._output.fan >= len(fans):
                raise BrokenReply("the fan is not told", port=self.controller.port, sent=DUET_FANS)
            return float(fans[self._output.fan]) > 0
        if self._restarts != self.controller.restarts:
            return False
        return self._acknowledged_on


@names_its_errors("gripper on the Marlin gantry")
class MarlinVacuumGripper:
    """A vacuum on an output, its switch on an input that `M119` lists.

    Args:
        output: what the vacuum's relay is on.
        switch: the name of the input of the vacuum switch.
    """

    def __init__(
        self,
        controller: MarlinController,
        *,
        output: Output | None = None,
        switch: str = "z_probe",
    ) -> None:
        self.controller = controller
        self._vacuum = _Switch(controller, output or fan_output(0))
        self._switch = switch

    def grip(self) -> None:
        """Switch the vacuum on; does not wait for a tile to be held.

        Raises:
            InstrumentRefused: the controller refuses.
        """
        self._vacuum.set(on=True)

    def release(self) -> None:
        """Switch the vacuum off.

        Raises:
            InstrumentRefused: the controller refuses.
        """
        self._vacuum.set(on=False)

    def holding(self) -> bool:
        """True when the vacuum switch says that something closes the nozzle.

        Raises:
            InstrumentRefused: the controller has no such input.
        """
        lines = self.controller.ask(protocol.ENDSTOPS, protocol.is_endstops)
        inputs = protocol.parse_endstops(
            lines, self.controller.firmware.dialect, port=self.controller.port
        )
        if self._switch not in inputs:
            raise InstrumentRefused(
                f"the controller lists no input {self._switch!r}, only {', '.join(inputs)}",
                port=self.controller.port,
                sent=protocol.ENDSTOPS,
                advice="Correct the name of the vacuum switch in the site profile.",
            )
        return inputs[self._switch]

    def vacuum_on(self) -> bool:
        """Whether the vacuum is on: as acknowledged, or because something is held."""
        return self._vacuum.is_on() or self.holding()


@names_its_errors("glue valve on the Marlin gantry")
class MarlinGlueValve(TimedValve):
    """A glue valve on an output. A restart of the controller shuts it.

    Args:
        output: what the valve's relay is on.
        longest_s: it never stays open for longer.
    """

    def __init__(
        self,
        controller: MarlinController,
        *,
        output: Output | None = None,
        longest_s: float = LONGEST_S,
    ) -> None:
        super().__init__(controller.clock, port=controller.port, longest_s=longest_s)
        self._valve = _Switch(controller, output or fan_output(1))

    def is_open(self) -> bool:
        """Whether it is open: as acknowledged; Duet reads it back."""
        return self._valve.is_on()

    def _open(self) -> None:
        self._valve.set(on=True)

    def _shut(self) -> None:
        self._valve.set(on=False)
