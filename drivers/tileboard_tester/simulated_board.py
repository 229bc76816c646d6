"""The slow control of the simulated tester: pins, converters, DACs and chip registers."""

from collections.abc import Callable, Mapping
from typing import Any

from drivers.clock import Clock
from drivers.tileboard_tester import chips, converters, protocol
from drivers.tileboard_tester.protocol import Converter, Pin, ProtocolError
from drivers.tileboard_tester.simulated_requests import dac_name, document_of, only_argument
from drivers.tileboard_tester.world import RefusedError, TesterFaults, TesterWorld


class SimulatedBoard:
    """A board with its chips, and the GBT-SCA that serves it."""

    def __init__(
        self,
        board: TesterWorld,
        clock: Clock,
        faults: TesterFaults,
        *,
        n_rocs: int,
        supply_v: float,
        led_bias_v: float,
    ) -> None:
        self._board = board
        self._clock = clock
        self._faults = faults
        self._n_rocs = n_rocs
        self._supply_v = supply_v
        self._led_bias_v = led_bias_v
        self._direction = 0
        self._pins = 0
        self._soft_start_at_s: float | None = None
        self._soft_started = False
        self._dacs = dict.fromkeys(protocol.DAC_NAMES, 0)
        self.chips: dict[str, Any] = {}

    @property
    def bias_connected(self) -> tuple[bool, bool]:
        """Whether bias 1 and bias 2 reach their SiPMs."""
        pins = self.driven_pins()
        return bool(pins >> Pin.BIAS_1 & 1), bool(pins >> Pin.BIAS_2 & 1)

    @property
    def led_on(self) -> bool:
        return bool(self.driven_pins() & protocol.LED_MASK)

    @property
    def dacs(self) -> Mapping[str, int]:
        return dict(self._dacs)

    def answer(self, word: str, arguments: list[str], documents: list[str]) -> str:
        if word in ("initialize", "configure", "read"):
            return self._chip_command(word, document_of(word, documents))
        if word == protocol.RESET_TDC:
            self._require_chips()
            return protocol.to_yaml({protocol.roc_name(i): "done" for i in range(self._n_rocs)})
        commands: Mapping[str, Callable[[list[str]], str]] = {
            protocol.READ_POWER: lambda _: protocol.to_yaml(self._power()),
            "read_gbtsca_gpio": lambda _: str(self._read_pins()),
            "set_gbtsca_gpio_direction": self._set_direction,
            "set_gbtsca_gpio_vals": self._set_pins,
            "set_gbtsca_dac": self._set_dac,
            "read_gbtsca_dac": lambda given: str(self._dacs[dac_name(given)]),
            "read_gbtsca_adc": lambda given: str(
                self._convert(protocol.parse_integer(only_argument(given), 0, Converter.LAST))
            ),
        }
        if word not in commands:
            raise RefusedError(f"unknown command {word!r}")
        return commands[word](arguments)

    def _chip_command(self, word: str, document: dict[str, Any]) -> str:
        if word == "initialize":
            if not self._chips_answer():
                raise RefusedError("no answer from the chips over I2C")
            self.chips = {protocol.roc_name(i): _chip_after_reset() for i in range(self._n_rocs)}
        self._require_chips()
        if word == "read":
            return protocol.to_yaml(_selected(self.chips, document) if document else self.chips)
        try:
            registers = chips.flattened(document, self._n_rocs)
        except ProtocolError as error:
            raise RefusedError(str(error)) from error
        for (chip, block, copy, name), value in registers.items():
            self.chips[chip]["sc"][block][copy][name] = value
        return protocol.READY if word == "initialize" else protocol.CONFIGURED

    def _chips_answer(self) -> bool:
        pins = self.driven_pins()
        is_powered = self._soft_started and bool(pins & protocol.LDO_MASK)
        return is_powered and pins & protocol.RESET_MASK == protocol.RESET_MASK

    def _require_chips(self) -> None:
        if not self.chips:
            raise RefusedError("board was not initialized")

    def driven_pins(self) -> int:
        return self._pins & self._direction

    def _read_pins(self) -> int:
        locked = 0b1 if self.chips else 0
        return self.driven_pins() | locked

    def _set_direction(self, arguments: list[str]) -> str:
        self._direction = protocol.parse_integer(only_argument(arguments), 0, protocol.GPIO_WORD)
        self._pins_changed()
        return f"Done setting gpio directon to {self._direction}"

    def _set_pins(self, arguments: list[str]) -> str:
        if len(arguments) != 2:
            raise RefusedError("expected values and mask")
        values, mask = (protocol.parse_integer(text, 0, protocol.GPIO_WORD) for text in arguments)
        writable = mask & ~self._faults.stuck_pins
        self._pins = (self._pins & ~writable) | (values & writable)
        self._pins_changed()
        return f"Done setting gpio values to {values} with mask {mask}"

    def _pins_changed(self) -> None:
        pins, now_s = self.driven_pins(), self._clock.now_s()
        if not pins & protocol.SOFT_START_MASK:
            self._soft_start_at_s = None
        elif self._soft_start_at_s is None:
            self._soft_start_at_s = now_s
        if not pins & protocol.LDO_MASK:
            self._soft_started = False
        elif not self._soft_started:
            ramped_s = now_s - self._soft_start_at_s if self._soft_start_at_s is not None else 0.0
            self._soft_started = ramped_s >= protocol.SOFT_START_S
        if not self._chips_answer():
            self.chips = {}

    def _set_dac(self, arguments: list[str]) -> str:
        name = dac_name(arguments[:1])
        self._dacs[name] = protocol.parse_integer(only_argument(arguments[1:]), 0, protocol.DAC_MAX)
        return f"Done setting gbtsca dac {name} to {self._dacs[name]}"

    def _convert(self, channel: int) -> int:
        if channel <= Converter.PT1000_LAST:
            temperatures_c = self._board.temperatures_c()
            if channel >= len(temperatures_c):
                return protocol.CONVERTER_MAX
            return converters.pt1000_counts(temperatures_c[channel])
        connected = self.bias_connected
        if channel in (Converter.BIAS_1, Converter.BIAS_2):
            volts = self._board.input_voltage_v() if connected[channel - Converter.BIAS_1] else 0.0
            return converters.converter_counts(volts / protocol.BIAS_DIVIDER)
        if channel in (Converter.BIAS_1_CURRENT, Converter.BIAS_2_CURRENT):
            if not connected[channel - Converter.BIAS_1_CURRENT]:
                return 0
            amps = self._board.input_current_a() / sum(connected)
            return converters.converter_counts(
                amps / protocol.CURRENT_GAIN * protocol.CURRENT_SENSE_OHM
            )
        inputs_v = {
            Converter.BIAS_INPUT: lambda: self._board.input_voltage_v() / protocol.BIAS_DIVIDER,
            Converter.SUPPLY: lambda: self._supply_v / protocol.SUPPLY_DIVIDER,
            Converter.LED_BIAS: lambda: self._led_bias_v / protocol.SUPPLY_DIVIDER,
        }
        return (
            converters.converter_counts(inputs_v[Converter(channel)]())
            if channel in inputs_v
            else 0
        )

    def _power(self) -> dict[str, float]:
        connected = any(self.bias_connected)
        return {
            "supply_v": self._supply_v,
            "bias_v": self._board.input_voltage_v() if connected else 0.0,
        }


def _chip_after_reset() -> dict[str, Any]:
    return {
        "sc": {
            block: {
                copy: {name: register.default for name, register in registers.items()}
                for copy in chips.BLOCK_COPIES[block]
            }
            for block, registers in chips.REGISTERS.items()
        }
    }


def _selected(tree: Any, wanted: Any) -> Any:
    if not isinstance(tree, dict) or not isinstance(wanted, dict):
        return tree
    unknown = [key for key in wanted if key not in tree]
    if unknown:
        raise RefusedError(f"nothing is called {unknown[0]!r}")
    return {key: _selected(tree[key], wanted[key]) for key in wanted}
