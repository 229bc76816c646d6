"""One channel of a simulated CAEN supply: ramps, limits and trips in time."""

import math
from collections.abc import Callable

from drivers.caen_hv import protocol
from drivers.caen_hv.protocol import Family
from drivers.clock import Clock
from drivers.output_stage import Load, Slope, held_by_limit

MAX_V = 500.0
MAX_UA = 3000.0
KILL_V_PER_S = 5000.0
TOLERANCE_V = 2.5
OVER_TEMPERATURE_C = {"N1470": 105.0}
WARNING_C, OTHER_OVER_TEMPERATURE_C = 80.0, 125.0

DECIMALS = {
    protocol.SETPOINT: 1,
    protocol.VOLTAGE: 1,
    protocol.CURRENT_LIMIT: 2,
    protocol.CURRENT: 3,
    protocol.VOLTAGE_LIMIT: 0,
    protocol.RAMP_UP: 0,
    protocol.RAMP_DOWN: 0,
    protocol.TRIP_TIME: 1,
}
BOUNDS = {
    protocol.SETPOINT: (0.0, MAX_V),
    protocol.CURRENT_LIMIT: (0.0, MAX_UA),
    protocol.VOLTAGE_LIMIT: (0.0, MAX_V + 10),
    protocol.RAMP_UP: (1.0, 500.0),
    protocol.RAMP_DOWN: (1.0, 500.0),
    protocol.TRIP_TIME: (0.0, protocol.NEVER_TRIPS_S),
}
NEW = {
    protocol.SETPOINT: 0.0,
    protocol.CURRENT_LIMIT: 300.0,
    protocol.VOLTAGE_LIMIT: MAX_V,
    protocol.RAMP_UP: 50.0,
    protocol.RAMP_DOWN: 50.0,
    protocol.TRIP_TIME: 10.0,
}


class SetRefused(Exception):  # noqa: N818 - it is an answer, not a failure
    """What is answered instead; ``kind`` is ``CMD``, ``CH``, ``PAR``, ``VAL`` or ``LOC``."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class ChannelMachine:
    """A channel whose terminals see ``load``.

    It ramps at its own rates, is held by its voltage limit, gives constant current at its current
    limit and trips after the trip time, and falls at once when its power-down mode is KILL.
    """

    def __init__(
        self,
        family: Family,
        load: Load,
        clock: Clock,
        polarity: str,
        temperature_c: Callable[[], float],
    ) -> None:
        self._family = family
        self._load = load
        self._clock = clock
        self._polarity = polarity
        self._temperature_c = temperature_c
        self.reset()

    def reset(self) -> None:
        """As a supply that was just switched on."""
        self._settings = dict(NEW)
        self._power_down = protocol.RAMP
        self._range = "HIGH"
        self._on = False
        self._shown: set[str] = set()
        self._held_off: set[str] = set()
        self._limited_since_s = math.inf
        self._slope = Slope(self._clock)

    def set_by_hand(self, parameter: str, value: float) -> None:
        """Turn the wheel at the front panel."""
        self._advance()
        self._settings[parameter] = value
        self._aim()

    def hold_off(self, reason: str, *, hold: bool) -> None:
        """``DIS`` (the switch at the front panel) or ``ILK`` keeps the channel off."""
        if hold:
            self._held_off.add(reason)
            self.switch_off(reason)
        else:
            self._held_off.discard(reason)

    def switch_off(self, shown: str = "") -> None:
        """Off by itself; ``shown`` is the flag that tells why."""
        self._advance()
        self._turn_off(shown)

    def clear(self) -> None:
        self._shown.clear()

    def output_is_on(self) -> bool:
        self._advance()
        return self._on

    def setting(self, parameter: str) -> float:
        """What the channel is set to, for tests."""
        return self._settings[parameter]

    @property
    def power_down(self) -> str:
        return self._power_down

    def true_voltage_v(self) -> float:
        """At the terminals, with the sign of the polarity."""
        self._advance()
        return self._terminals()[0] * (1 if self._polarity == "+" else -1)

    def monitor(self, parameter: str) -> str:
        """The value of a parameter, as it is written."""
        self._advance()
        words = {
            self._family.polarity: self._polarity,
            self._family.decimals: str(DECIMALS[protocol.SETPOINT]),
            protocol.CURRENT_LIMIT_DECIMALS: str(DECIMALS[protocol.CURRENT_LIMIT]),
            protocol.VOLTAGE_LIMIT_DECIMALS: str(DECIMALS[protocol.VOLTAGE_LIMIT]),
            protocol.POWER_DOWN: self._power_down,
            protocol.CURRENT_RANGE: self._range,
            protocol.STATUS: f"{self._status():05d}",
            protocol.VOLTAGE: _written(protocol.VOLTAGE, self._terminals()[0]),
            protocol.CURRENT: _written(protocol.CURRENT, self._current_a() * 1e6),
        }
        if parameter in self._settings:
            return _written(parameter, self._settings[parameter])
        if parameter not in words:
            raise SetRefused("PAR")
        return words[parameter]

    def order(self, parameter: str, words: str) -> None:
        """Set a parameter, or switch."""
        self._advance()
        match parameter:
            case protocol.ON:
                if not self._held_off:
                    self._on = True
                    self._shown.clear()
            case protocol.OFF:
                self._turn_off("")
            case protocol.POWER_DOWN:
                if words.upper() not in (protocol.KILL, protocol.RAMP):
                    raise SetRefused("VAL")
                self._power_down = words.upper()
            case protocol.CURRENT_RANGE:
                if words.upper() not in ("HIGH", "LOW"):
                    raise SetRefused("VAL")
                self._range = words.upper()
            case _ if parameter in BOUNDS:
                self._settings[parameter] = _in_bounds(parameter, words)
            case _:
                raise SetRefused("PAR")
        self._aim()

    def flags(self) -> set[str]:
        """Everything that the channel shows."""
        self._advance()
        return self._shown | self._held_off | self._running_flags()

    def _running_flags(self) -> set[str]:
        flags = set()
        voltage_v, limited = self._terminals()
        direction = self._slope.direction()
        if self._on:
            flags.add("ON")
            if voltage_v > self._settings[protocol.SETPOINT] + TOLERANCE_V:
                flags.add("OVV")
            if voltage_v < self._settings[protocol.SETPOINT] - TOLERANCE_V:
                flags.add("UNV")
            if self._settings[protocol.SETPOINT] > self._settings[protocol.VOLTAGE_LIMIT]:
                flags.add("MAXV")
        if direction > 0:
            flags.add("RUP")
        if direction < 0:
            flags.add("RDW")
        if limited:
            flags.add("OVC")
        if self._temperature_c() > WARNING_C:
            flags.add("TWARN")
        return flags

    def _status(self) -> int:
        flags = self.flags()
        return sum(bit for bit, name in self._family.status.items() if name in flags)

    def _advance(self) -> None:
        """What has happened by itself since the last look."""
        over_c = OVER_TEMPERATURE_C.get(self._family.name, OTHER_OVER_TEMPERATURE_C)
        if self._on and self._temperature_c() > over_c:
            self._turn_off("OVT")
        now_s = self._clock.now_s()
        if self._terminals()[1]:
            self._limited_since_s = min(self._limited_since_s, now_s)
        else:
            self._limited_since_s = math.inf
        trip_s = self._settings[protocol.TRIP_TIME]
        if trip_s < protocol.NEVER_TRIPS_S and now_s - self._limited_since_s >= trip_s:
            self._turn_off("TRIP")

    def _turn_off(self, shown: str) -> None:
        self._on = False
        self._limited_since_s = math.inf
        if shown:
            self._shown.add(shown)
        self._aim()

    def _aim(self) -> None:
        """Where the output goes from now on, and how fast."""
        wanted_v = 0.0
        if self._on:
            wanted_v = min(
                self._settings[protocol.SETPOINT], self._settings[protocol.VOLTAGE_LIMIT]
            )
        rising = wanted_v > self._slope.now_v()
        rate = self._settings[protocol.RAMP_UP if rising else protocol.RAMP_DOWN]
        if not self._on and self._power_down == protocol.KILL:
            rate = KILL_V_PER_S
        self._slope.go_to(wanted_v, rate)

    def _terminals(self) -> tuple[float, bool]:
        limit_a = self._settings[protocol.CURRENT_LIMIT] * 1e-6
        voltage_v, held = held_by_limit(self._slope.now_v(), self._load, limit_a)
        return voltage_v, held and self._on

    def _current_a(self) -> float:
        return abs(self._load(self._terminals()[0]))


def _written(parameter: str, value: float) -> str:
    return f"{value:.{DECIMALS[parameter]}f}"


def _in_bounds(parameter: str, words: str) -> float:
    try:
        value = float(words)
    except ValueError:
        raise SetRefused("VAL") from None
    low, high = BOUNDS[parameter]
    if not (low <= value <= high and value == round(value, DECIMALS[parameter])):
        raise SetRefused("VAL")
    return value
