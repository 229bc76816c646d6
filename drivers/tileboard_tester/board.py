"""A board on the tester: power, resets, pins, light, bias switches, converters."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from drivers.clock import Clock
from drivers.errors import BrokenReply, InstrumentError
from drivers.tileboard_tester import converters, protocol
from drivers.tileboard_tester.chip_control import TesterChips
from drivers.tileboard_tester.protocol import BoardConstants, Converter, Pin, ProtocolError

AGREE_COUNTS = 8
"""Two converter readings in a row may differ by this much: noise, and a voltage that ramps."""

ResetKind = Literal["soft", "i2c", "hard"]
_RESETS: Mapping[ResetKind, int] = {
    "soft": 1 << Pin.SOFT_RESET,
    "i2c": 1 << Pin.I2C_RESET,
    "hard": 1 << Pin.HARD_RESET,
}


class TesterBoard(TesterChips):
    """What the slow control does with a board."""

    def __init__(
        self,
        slow: str,
        fast: str,
        data: str,
        *,
        board_constants: BoardConstants,
        clock: Clock,
        reply_deadline_s: float,
    ) -> None:
        super().__init__(
            slow, fast, data, n_rocs=board_constants.n_rocs, reply_deadline_s=reply_deadline_s
        )
        self._constants = board_constants
        self._clock = clock
        self._pins_lock = threading.Lock()

    @property
    def n_channels(self) -> int:
        return self._constants.n_channels

    # power and resets

    def _power_board(self) -> None:
        needed = protocol.LDO_MASK | protocol.SOFT_START_MASK | protocol.RESET_MASK
        if self._read_pins() & needed == needed:
            return
        self._set_pins(0, protocol.LDO_MASK | protocol.SOFT_START_MASK)
        self._set_pins(protocol.SOFT_START_MASK, protocol.SOFT_START_MASK)
        self._clock.sleep(protocol.SOFT_START_S)
        self._set_pins(protocol.LDO_MASK, protocol.LDO_MASK)
        self._set_pins(0, protocol.RESET_MASK)
        self._set_pins(protocol.RESET_MASK, protocol.RESET_MASK)

    def reset_chips(self, kind: ResetKind) -> None:
        """Pulse a reset line of the chips and initialise them again.

        Registers have their power-up values afterwards, and runs need settings again.
        """
        self._set_pins(0, _RESETS[kind])
        self._set_pins(_RESETS[kind], _RESETS[kind])
        self._initialize_chips()

    def set_ldo_trim(self, trim: int) -> None:
        """Trim the board's regulator: 0 to 15, the pins LDO trim 1 (lowest bit) to 4.

        Raises:
            SetpointRefused: no such trim.
        """
        if not 0 <= trim <= protocol.LDO_TRIM_MAX:
            self._refuse_setting(f"the LDO trim is 0..{protocol.LDO_TRIM_MAX}, not {trim}")
        self._set_pins(trim << Pin.LDO_TRIM_1, protocol.LDO_TRIM_MASK)

    def ldo_trim(self) -> int:
        return (self._read_pins() & protocol.LDO_TRIM_MASK) >> Pin.LDO_TRIM_1

    def power_report(self) -> str:
        """What the tester says about its supplies, in its own words."""
        return self._request(self._slow, [protocol.READ_POWER]).strip()

    # pins

    def gpio_word(self) -> int:
        """All 32 pins."""
        return self._read_pins()

    def gpio_bit(self, bit: int) -> bool:
        """One pin, 0 to 31."""
        if not 0 <= bit <= 31:
            raise ValueError(f"pins are 0..31, not {bit}")
        return bool(self._read_pins() >> bit & 1)

    def set_gpio(self, values: int, mask: int) -> None:
        """Set the pins in ``mask`` as in ``values`` and read them back.

        Raises:
            SetpointRefused: a pin that is no output, or a value outside the mask.
        """
        inputs = mask & ~protocol.GPIO_DIRECTION
        if inputs or not 0 <= mask <= protocol.GPIO_WORD:
            self._refuse_setting(f"pins {pin_names(inputs) or hex(mask)} are no outputs")
        if values & ~mask:
            self._refuse_setting(f"values 0x{values:X} reach beyond the mask 0x{mask:X}")
        self._set_pins(values, mask)

    # light

    def pulse_on(self) -> None:
        """Let the LEDs flash with every calibration trigger."""
        self._set_pins(protocol.LED_MASK, protocol.LED_MASK)

    def pulse_off(self) -> None:
        """Keep the LEDs dark."""
        self._set_pins(0, protocol.LED_MASK)

    def pulsing(self) -> bool:
        return bool(self._read_pins() & protocol.LED_MASK)

    def choose_led_groups(self, groups_on: Sequence[bool]) -> None:
        """Choose which of the eight LED groups take part in the flashes.

        Raises:
            SetpointRefused: another number of groups.
        """
        try:
            word = protocol.led_groups_off_word(groups_on)
        except ProtocolError as error:
            self._refuse_setting(str(error))
        self._set_pins(word, protocol.LED_GROUPS_MASK)

    # bias

    def connect(self) -> None:
        """Connect bias 1 and bias 2 to their SiPMs; on a failure both are off."""
        try:
            self._set_pins(protocol.BIAS_MASK, protocol.BIAS_MASK)
        except InstrumentError:
            self.disconnect()
            raise

    def disconnect(self) -> None:
        """Disconnect both biases from the SiPMs."""
        self._set_pins(0, protocol.BIAS_MASK)

    def connected(self) -> bool:
        """Whether both biases reach their SiPMs; raises InstrumentError when only one does."""
        on = self._read_pins() & protocol.BIAS_MASK
        if on not in (0, protocol.BIAS_MASK):
            raise InstrumentError(
                f"only {pin_names(on)} is connected",
                port=self._slow.port,
                sent=protocol.READ_GPIO,
                advice="Ramp the supply down and disconnect.",
            )
        return on == protocol.BIAS_MASK

    def input_voltage_v(self) -> float:
        """Voltage (V) that the bias supply gives to the board, whether connected or not."""
        return self._read(Converter.BIAS_INPUT, self._bias_v)

    def bias_voltages_v(self) -> tuple[float, float]:
        """Voltages (V) behind the switches of bias 1 and bias 2."""
        return (
            self._read(Converter.BIAS_1, self._bias_v),
            self._read(Converter.BIAS_2, self._bias_v),
        )

    def bias_currents_a(self) -> tuple[float, float]:
        """Currents (A) of bias 1 and bias 2; one step of the converter is 7 uA."""
        return (
            self._read(Converter.BIAS_1_CURRENT, self._current_a),
            self._read(Converter.BIAS_2_CURRENT, self._current_a),
        )

    def set_overvoltage(self, overvoltage_v: float) -> None:
        """Set the board's regulators to an overvoltage (V) of the board's table.

        Raises:
            SetpointRefused: the table has no such overvoltage; nothing was sent.
        """
        table = self._constants.overvoltage_dacs
        if overvoltage_v not in table:
            allowed = ", ".join(f"{value:g}" for value in sorted(table)) or "none"
            self._refuse_setting(
                f"no setting for {overvoltage_v} V overvoltage; this board's table has {allowed}"
            )
        for name, value in zip(("A", "B"), table[overvoltage_v], strict=True):
            self.set_dac(name, value)

    def overvoltage_v(self) -> float | None:
        """Overvoltage (V) of the table that both DACs stand at; None when at no entry."""
        dacs = (self.dac("A"), self.dac("B"))
        return next(
            (
                overvoltage_v
                for overvoltage_v, setting in self._constants.overvoltage_dacs.items()
                if tuple(setting) == dacs
            ),
            None,
        )

    def set_dac(self, name: str, value: int) -> None:
        """Set a DAC (A to D, 0 to 255) and read it back; A and B set the overvoltage.

        Raises:
            SetpointRefused: no such DAC or value.
        """
        if name not in protocol.DAC_NAMES or not 0 <= value <= protocol.DAC_MAX:
            self._refuse_setting(f"DACs are A to D with 0..{protocol.DAC_MAX}, not {name} {value}")
        command = protocol.set_dac(name, value)
        self._done(command)
        read_back = self._number(protocol.read_dac(name), protocol.DAC_MAX)
        if read_back != value:
            raise InstrumentError(
                f"DAC {name} was set to {value} and reads back {read_back}",
                port=self._slow.port,
                sent=command,
                advice="Ramp the bias down; check the board and restart the tester.",
            )

    def dac(self, name: str) -> int:
        """The setting of a DAC, A to D."""
        if name not in protocol.DAC_NAMES:
            self._refuse_setting(f"DACs are A to D, not {name}")
        return self._measured(protocol.read_dac(name), protocol.DAC_MAX, 0)

    # converters

    def temperatures_c(self) -> dict[str, float]:
        """Temperatures (C) of the fitted PT1000 sensors; one step of the converter is 0.12 K.

        Raises:
            BrokenReply: a sensor is open, shorted or too warm to be read.
        """
        return {
            name: self._read(channel, converters.pt1000_temperature_c, name)
            for name, channel in self._constants.pt1000_channels.items()
        }

    def supply_v(self) -> float:
        """Voltage (V) of the board's supply."""
        return self._read(Converter.SUPPLY, self._supply_v)

    def led_bias_v(self) -> float:
        """Voltage (V) that sets the brightness of the LEDs."""
        return self._read(Converter.LED_BIAS, self._supply_v)

    def converter_v(self, channel: int) -> float:
        """Voltage (V) at the input of a converter channel, 0 to 31, before any divider."""
        if not 0 <= channel <= Converter.LAST:
            raise ValueError(f"converter channels are 0..{int(Converter.LAST)}, not {channel}")
        return self._read(channel, converters.converter_volts)

    def _bias_v(self, counts: int) -> float:
        return converters.divided_volts(counts, self._constants.bias_divider)

    def _supply_v(self, counts: int) -> float:
        return converters.divided_volts(counts, self._constants.supply_divider)

    def _current_a(self, counts: int) -> float:
        return converters.sensed_current_a(
            counts, self._constants.current_sense_ohm, self._constants.current_gain
        )

    def _read(self, channel: int, convert: Callable[[int], float], name: str = "") -> float:
        command = protocol.read_converter(channel)
        counts = self._measured(command, protocol.CONVERTER_MAX, AGREE_COUNTS)
        try:
            return convert(counts)
        except ProtocolError as error:
            raise BrokenReply(
                f"{name or Converter(channel).name.lower()}: {error}",
                port=self._slow.port,
                sent=command,
                advice="Check the board's plugs and its sensor.",
            ) from error

    # the pins' wire

    def _set_pins(self, values: int, mask: int) -> None:
        command = protocol.set_gpio(values, mask)
        with self._pins_lock:
            self._done(command)
            read_back = self._number(protocol.READ_GPIO, protocol.GPIO_WORD)
        wrong = (read_back ^ values) & mask
        if wrong:
            raise InstrumentError(
                f"pins do not read back as set: {pin_names(wrong)} should be "
                f"{'on' if values & wrong == wrong else 'off' if not values & wrong else 'mixed'}",
                port=self._slow.port,
                sent=command,
                advice="Ramp the bias down; check the board and restart the tester.",
            )

    def _read_pins(self) -> int:
        return self._measured(protocol.READ_GPIO, protocol.GPIO_WORD, 0)


def pin_names(word: int) -> str:
    """Names of the pins of a word, for a message."""
    known = {int(pin): pin.name.lower() for pin in Pin}
    return ", ".join(known.get(bit, f"pin {bit}") for bit in range(32) if word >> bit & 1)
