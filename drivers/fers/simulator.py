"""List files as the boards' software writes them, with the truth beside them.

The layout, blanks and tabs included, is that of the vendor's writer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drivers.fers import protocol
from drivers.fers.list_file import FersRun

PERIOD_US = 100.0


@dataclass(frozen=True)
class Light:
    """What the channels of a simulated board see: Poisson light on a pedestal.

    Attributes:
        mean_pe: photoelectrons per flash.
        pedestal: high-gain ADC value without light.
        gain: high-gain ADC counts per photoelectron.
        noise: RMS of the high-gain pedestal in ADC counts.
        low_gain: low gain over high gain.
    """

    mean_pe: float = 2.0
    pedestal: float = 60.0
    gain: float = 40.0
    noise: float = 5.0
    low_gain: float = 0.1


def simulate_run(
    n_events: int,
    *,
    seed: int = 0,
    board: int = 0,
    channels: Sequence[int] = range(protocol.N_CHANNELS),
    light: Light = Light(),
    timing: bool = False,
) -> FersRun:
    """A run with known charges; with ``timing`` also times of arrival and over threshold."""
    rng = np.random.default_rng(seed)
    shape = (len(channels), n_events)
    pe = rng.poisson(light.mean_pe, shape)
    charge = pe * light.gain + rng.normal(0, light.noise, shape)
    hg = np.clip(np.rint(light.pedestal + charge), 0, protocol.ADC_MAX).astype(np.int32)
    lg = np.clip(np.rint(light.pedestal + light.low_gain * charge), 0, protocol.ADC_MAX)
    fired = pe > 0
    toa = np.where(fired, rng.integers(1, 200, shape) * protocol.TOA_LSB_NS, np.nan)
    tot = np.where(fired, rng.integers(1, 60, shape) * protocol.TOA_LSB_NS, np.nan)
    time_us = np.round(PERIOD_US * np.arange(1, n_events + 1) + rng.integers(0, 1000) / 1000, 3)
    return FersRun(
        board=board,
        channels=np.asarray(channels, np.int_),
        lg=lg.astype(np.int32),
        hg=hg,
        time_us=time_us,
        trigger_id=np.arange(n_events, dtype=np.int64),
        toa_ns=toa if timing else None,
        tot_ns=tot if timing else None,
        settings=head(timing=timing),
    )


def head(
    *, timing: bool = False, started: str = "Sun Nov 22 05:00:00 2026", release: str = "4.0.0"
) -> dict[str, str]:
    """What the ``//`` lines of a file say."""
    settings = {
        "Board": "5202",
        "File Format Version": "3.4",
        "Janus Release": release,
        "Acquisition Mode": protocol.SPECT_TIMING if timing else protocol.SPECTROSCOPY,
        "Energy Histogram Channels": "4096",
    }
    if timing:
        settings["ToA/ToT LSB"] = f"{protocol.TOA_LSB_NS:.1f} ns"
    settings["Run start time"] = f"{started} UTC"
    return settings


def list_text(runs: Sequence[FersRun]) -> str:
    """A list file with the events of some boards, in the order of their times.

    All runs have the same columns; the ``//`` lines are those of the first.
    """
    example = runs[0]
    lines = [protocol.RULER]
    for name, value in example.settings.items():
        colon = "" if name in ("File Format Version", "Janus Release") else ":"
        lines.append(f"// {name}{colon} {value}")
    lines.append(protocol.RULER)
    timing = example.toa_ns is not None
    names = "Brd  Ch       LG       HG"
    if timing:
        names += "  ToA_ns " + ("  ToT_ns " if example.tot_ns is not None else "")
    names += "        Tstamp_us"
    if example.second_time_us is not None:
        names += "       Tstamp2_us"
    wide = timing or example.second_time_us is not None
    lines.append(names + "        TrgID" + "\t" * (3 if wide else 2) + "NHits")
    events = [
        (float(run.time_us[event]), run, event) for run in runs for event in range(run.time_us.size)
    ]
    events.sort(key=lambda entry: entry[0])
    for _, run, event in events:
        lines.extend(_block(run, event))
    return "\n".join(lines) + "\n"


def write_list(path: Path, runs: Sequence[FersRun]) -> None:
    """Write :func:`list_text` to a file."""
    path.write_text(list_text(runs), encoding="ascii", newline="\n")


def _block(run: FersRun, event: int) -> list[str]:
    rows = []
    tail = f"{run.time_us[event]:16.3f} "
    if run.second_time_us is not None:
        tail += f"{run.second_time_us[event]:16.3f} "
    tail += f"{run.trigger_id[event]:12d}\t\t{run.channels.size}"
    for row, channel in enumerate(run.channels):
        text = f"{run.board:3d}  {channel:02d} "
        for charges in (run.lg, run.hg):
            text += _dash() if charges is None else f"{charges[row, event]:8d} "
        if run.toa_ns is not None:
            text += _time(run.toa_ns[row, event])
            text += _dash() if run.tot_ns is None else _time(run.tot_ns[row, event])
        rows.append(text + (tail if row == 0 else ""))
    return rows


def _time(value: float | NDArray[np.float64]) -> str:
    return _dash() if np.isnan(value) else f"{value:8.1f} "


def _dash() -> str:
    return "       - "
