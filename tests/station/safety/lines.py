"""A profile of a line that has nothing but a bias supply, and that supply in its own process.

    python -m tests.station.safety.lines

The supply prints its address, then for every line on standard input the times (system-wide
monotonic clock, s) and voltages it has seen since the last one; it ends with its standard input.
"""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from drivers.keithley.simulator import Keithley2450Simulator
from station.profile import Profile
from station.toml_text import toml_text

EVERY_S = 0.01
LEAK_A_PER_V = 1e-8


def profile(address: str = "nowhere", **safety: Any) -> Profile:
    return Profile.model_validate(
        {
            "version": 1,
            "site": {"code": "TEST", "name": "A bench"},
            "station": {"name": "bias alone"},
            "bias": {
                "driver": "keithley2450",
                "address": address,
                "max_voltage_v": 50.0,
                "compliance_a": 2e-3,
                "ramp_v_per_s": 20.0,
            },
            "tester": {"driver": "tileboard_tester", "host": "127.0.0.1", "data_folder": "/tmp"},
            "gantry": {
                "driver": "grbl",
                "port": "/dev/null",
                "travel_mm": (100.0, 100.0, 50.0),
                "feed_mm_per_min": 1000.0,
                "safe_z_mm": 40.0,
            },
            "gripper": {"driver": "grbl_vacuum"},
            "camera": {
                "driver": "opencv",
                "url": "http://127.0.0.1:1/none",
                "width_px": 640,
                "height_px": 480,
                "mm_per_px": 0.1,
                "mm_per_px_sigma_rel": 1e-3,
                "offset_x_mm": 10.0,
                "offset_y_mm": 0.0,
                "working_distance_mm": 30.0,
            },
            "tray": {
                "origin_x_mm": 10.0,
                "origin_y_mm": 10.0,
                "pitch_mm": 20.0,
                "columns": 2,
                "surface_z_mm": 1.0,
            },
            "board": {"origin_x_mm": 60.0, "origin_y_mm": 60.0, "surface_z_mm": 1.0},
            "safety": {
                "max_current_a": 1e-3,
                "max_temperature_c": 40.0,
                "silent_after_s": 5.0,
                **safety,
            },
        }
    )


def write_line(folder: Path, written: Profile) -> Path:
    line_file = folder / "line.toml"
    line_file.write_text(toml_text(written, comment="a bench"))
    return line_file


class SupplyProcess:
    """The simulated supply in a process of its own: it outlives the station that is killed."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.station.safety.lines"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        self.address = str(json.loads(self._from.readline()))

    def seen(self) -> list[tuple[float, float, bool]]:
        """(time, voltage, output) every 10 ms since the last call."""
        self._to.write("\n")
        self._to.flush()
        return [tuple(one) for one in json.loads(self._from.readline())]

    def close(self) -> None:
        self._to.close()
        self._process.wait(20)
        self._from.close()


def main() -> None:
    supply = Keithley2450Simulator(lambda volts: volts * LEAK_A_PER_V)
    supply.start()
    print(json.dumps(supply.address), flush=True)
    seen: list[tuple[float, float, bool]] = []
    lock = threading.Lock()

    def watch() -> None:
        while True:
            with lock:
                seen.append((time.monotonic(), supply.true_voltage_v(), supply.output_is_on()))
            time.sleep(EVERY_S)

    threading.Thread(target=watch, daemon=True).start()
    for _ in sys.stdin:
        with lock:
            told, seen[:] = list(seen), []
        print(json.dumps(told), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
