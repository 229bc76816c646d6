"""One channel of a simulated NHQ: its ramp, its switches, its trips in time."""

import math
from typing import Literal

from drivers.clock import Clock
from drivers.iseg import protocol
from drivers.output_stage import Load, Slope, held_by_limit

Series = Literal["precision", "standard"]
TRIP_STEP_A = 1e-9
SWITCH_V_PER_S = 500.0


class ChannelMachine:
    """A channel whose terminals see ``load``.

    ``D`` stores a set-point and ``G`` goes there at the ramp; a current above the trip, or above
    its switch with KILL enabled, shuts the output off until the status was read; autostart brings
    it back by itself. Without KILL the current switch folds the voltage back.
    """

    def __init__(
        self,
        load: Load,
        clock: Clock,
        max_v: float,
        max_a: float,
        series: Series,
        positive: bool,
    ) -> None:
        self._load = load
        self._max_v, self._max_a = max_v, max_a
        self._series = series
        self.positive = positive
        self.voltage_percent = 50
        self.current_percent = 100
        self.kill_enabled = False
        self.switched_on = True
        self._manual = False
        self._inhibited = False
        self._trip_count = 0
        self._autostart = 0
        self._setpoint_v = 0.0
        self._ramp = protocol.SLOWEST_V_PER_S
        self._shut_off: str = ""
        self._exceeded = False
        self._slope = Slope(clock)

    def power_up(self) -> None:
        """As after the mains switch: only what was saved is there."""
        self._slope.jump_to(0.0)
        self._shut_off, self._exceeded = "", False
        if not self._autostart & 2:
            self._setpoint_v = 0.0
        if not self._autostart & 4:
            self._trip_count = 0
        if self._autostart & protocol.AUTOSTART_BIT:
            self._go()

    def turn_switch(self, *, on: bool) -> None:
        """HV ON at the front panel."""
        self._advance()
        self.switched_on = on
        if not on:
            self._slope.go_to(0.0, SWITCH_V_PER_S)
        elif self._autostart & protocol.AUTOSTART_BIT:
            self._go()

    def take_control(self, knob_v: float | None) -> None:
        """Turn the control switch to the knob at a voltage, or with None back to DAC."""
        self._advance()
        self._manual = knob_v is not None
        if knob_v is not None:
            self._slope.go_to(min(knob_v, self._limit_v()), SWITCH_V_PER_S)

    def inhibit(self, active: bool) -> None:
        """The inhibit input; while it is active the output is off."""
        self._advance()
        self._inhibited = active
        if active:
            self._shut("INH")

    def store_by_hand(self, voltage_v: float) -> None:
        """Change the set-point as another program could."""
        self._setpoint_v = voltage_v

    def save_autostart(self, value: int) -> None:
        self._autostart = value

    def output_is_on(self) -> bool:
        """Whether the output is sent to a voltage; there is no other switch."""
        self._advance()
        return self._slope.target_v != 0

    def true_voltage_v(self) -> float:
        self._advance()
        return self._terminals()[0] * (1 if self.positive else -1) + 0.0

    @property
    def setpoint_v(self) -> float:
        return self._setpoint_v

    @property
    def trip_a(self) -> float:
        return self._trip_count * TRIP_STEP_A

    @property
    def ramp_v_per_s(self) -> int:
        return self._ramp

    def ask(self, letter: str) -> str:
        """The answer to a question, or an error."""
        self._advance()
        match letter:
            case protocol.VOLTAGE:
                return self._voltage(self._terminals()[0])
            case protocol.SETPOINT:
                return self._voltage(self._setpoint_v)
            case protocol.CURRENT:
                return f"{round(abs(self._load(self._terminals()[0])) * 1e9):05d}-09"
            case protocol.STATUS:
                return self._read_status()
            case protocol.GO:
                self._go()
                return self._word()
        wholes = {
            protocol.VOLTAGE_SWITCH: f"{self.voltage_percent:03d}",
            protocol.CURRENT_SWITCH: f"{self.current_percent:03d}",
            protocol.RAMP: f"{self._ramp:03d}",
            protocol.MODULE: f"{self._module():03d}",
            protocol.AUTOSTART: f"{self._autostart:03d}",
            protocol.TRIP: f"{self._trip_count:05d}"
            + ("-09" if self._series == "precision" else ""),
        }
        return wholes.get(letter, "????")

    def order(self, letter: str, words: str) -> str:
        """The empty answer to an order that was taken, or an error."""
        self._advance()
        if letter == protocol.SETPOINT:
            return self._store(words)
        highest = {protocol.RAMP: 255, protocol.TRIP: 10**7, protocol.AUTOSTART: 15}
        if letter not in highest or not words.isdigit() or int(words) > highest[letter]:
            return "????"
        if letter == protocol.RAMP and int(words) < protocol.SLOWEST_V_PER_S:
            return "????"
        if letter == protocol.RAMP:
            self._ramp = int(words)
        elif letter == protocol.TRIP:
            self._trip_count = int(words)
        else:
            self._autostart = int(words)
        return ""

    def _store(self, words: str) -> str:
        try:
            voltage_v = float(words)
        except ValueError:
            return "????"
        if (self._series == "standard" and "." in words) or not 0 <= voltage_v < math.inf:
            return "????"
        above = voltage_v > self._limit_v()
        self._setpoint_v = min(voltage_v, self._limit_v())
        if self._autostart & protocol.AUTOSTART_BIT:
            self._go()
        return f"? UMAX={self._limit_v():04.0f}" if above else ""

    def _limit_v(self) -> float:
        return self._max_v * self.voltage_percent / 100

    def _go(self) -> None:
        if self.switched_on and not self._manual and not self._inhibited and not self._shut_off:
            self._slope.go_to(self._setpoint_v, self._ramp)

    def _shut(self, word: str) -> None:
        self._slope.jump_to(0.0)
        self._shut_off = word

    def _advance(self) -> None:
        """What has happened by itself since the last look."""
        voltage_v, held = self._terminals()
        current_a = abs(self._load(voltage_v))
        if held:
            self._exceeded = True
            if self.kill_enabled:
                self._shut("ERR")
        if self._trip_count and current_a > self.trip_a:
            self._shut("TRP")

    def _terminals(self) -> tuple[float, bool]:
        limit_a = self._max_a * self.current_percent / 100
        return held_by_limit(self._slope.now_v(), self._load, limit_a)

    def _word(self) -> str:
        held = self._terminals()[1]
        direction = {0: "ON", 1: "L2H", -1: "H2L"}[self._slope.direction()]
        for shown, word in (
            (not self.switched_on, "OFF"),
            (self._manual, "MAN"),
            (bool(self._shut_off), self._shut_off),
            (held or self._exceeded, "ERR"),
        ):
            if shown:
                return word
        return direction

    def _read_status(self) -> str:
        word = self._word()
        self._exceeded = False
        if self._shut_off and not self._inhibited:
            self._shut_off = ""
            if self._autostart & protocol.AUTOSTART_BIT:
                self._go()
        return word

    def _module(self) -> int:
        flags = {
            "ERR": self._exceeded or self._terminals()[1] or self._shut_off == "ERR",
            "INH": self._inhibited or self._shut_off == "INH",
            "KILL": self.kill_enabled,
            "OFF": not self.switched_on,
            "POSITIVE": self.positive,
            "MAN": self._manual,
        }
        return sum(bit for bit, name in protocol.MODULE_BITS.items() if flags.get(name))

    def _voltage(self, voltage_v: float) -> str:
        sign = "+" if self.positive else "-"
        if self._series == "precision":
            return f"{sign}{round(voltage_v * 10):05d}-01"
        return f"{sign}{round(voltage_v):04d}"
