"""A simulated supply in its own process that notes when what was on its wire.

    python -m tests.bench.supply_on_wire

Prints its address. "overload" on standard input lets the load draw too much from then on, "healthy"
undoes that; "times" prints when (system-wide monotonic clock, s) the overload began, the first
reading of it was sent, and the first command came that lowers the voltage.
"""

import json
import os
import re
import sys
import time
from collections.abc import Callable

from drivers.keithley import protocol
from drivers.keithley.simulator import Keithley2450Simulator

LEAK_A = 1e-7
OVERLOAD_A = 1.5e-3
SET = re.compile(
    rb"^:?SOUR(?:CE)?(?:1)?:VOLT(?:AGE)?(?::LEV\w*)?\s+([-+.\dEe]+)\s*$", re.IGNORECASE
)
OFF = re.compile(rb"^:?OUTP(?:UT)?(?:1)?(?::STAT\w*)?\s+(OFF|0)\s*$", re.IGNORECASE)


class TimedSupply(Keithley2450Simulator):
    """Notes three instants of one overload."""

    def __init__(self, load: Callable[[float], float]) -> None:
        super().__init__(load)
        self.times: dict[str, float] = {}
        self.overloaded = False
        self.set_v = 0.0

    def answer(self, line: bytes) -> bytes | None:
        now_s = time.monotonic()
        found = SET.match(line.strip())
        lowered = OFF.match(line.strip()) is not None
        if found is not None:
            volts = float(found[1])
            lowered = abs(volts) < abs(self.set_v)
            self.set_v = volts
        if lowered and "read" in self.times:
            self.times.setdefault("lowered", now_s)
        reply = super().answer(line)
        if self.overloaded and protocol.MEASURE.encode() in line:
            self.times.setdefault("read", time.monotonic())
        return reply


def main() -> None:
    supply = TimedSupply(lambda volts: OVERLOAD_A if supply.overloaded and volts > 1 else LEAK_A)
    supply.start()
    print(json.dumps(supply.address), flush=True)
    for word in sys.stdin:
        if word.strip() == "overload":
            supply.times = {"overload": time.monotonic()}
            supply.overloaded = True
        elif word.strip() == "healthy":
            supply.overloaded = False
        print(json.dumps(supply.times), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
