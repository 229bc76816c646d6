"""Reading what laboratories keep of dark measurements: gates, staircases, delays, waveforms."""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from analysis.sipm.readers import decoded_text, read_spectrum
from analysis.sipm.spectrum import Spectrum
from analysis.sipm.text_columns import Columns, SpectrumFileError, read_columns

THRESHOLD_NAMES = re.compile(r"thr|discr|dac|vth")
RATE_NAMES = re.compile(r"rate|freq|hz|cps|count")
SIGMA_NAMES = re.compile(r"sigma|err|std|unc")
DELAY_NAMES = re.compile(r"delay|delta|^dt|interval|inter|gap")
TIME_NAMES = re.compile(r"^t$|time|stamp|timetag|^tag")
TO_NS = {"ps": 1e-3, "ns": 1.0, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9}
TO_HZ = {"hz": 1.0, "khz": 1e3, "mhz": 1e6, "cps": 1.0, "kcps": 1e3}
VOLTS = {"mv": "mV", "v": "V", "uv": "uV", "adc": "ADC", "dac": "DAC"}
UNIT = re.compile(r"[\[(_/ ](ps|ns|us|µs|ms|s|hz|khz|mhz|cps|kcps)[\])]?$", re.IGNORECASE)
LEAST_SAMPLES = 16
ARRAYS = {
    "waveforms": ("waveforms", "waveform", "waves", "traces", "samples"),
    "delays": ("delays_ns", "delays", "delay", "dt"),
    "times": ("times_ns", "times", "time", "timetags", "timestamps"),
    "staircase": ("threshold", "thresholds", "thr"),
}

Array = NDArray[np.float64]
Kind = Literal["gates", "staircase", "delays", "times", "waveforms"]


@dataclass(frozen=True)
class StaircaseTable:
    """Points of a staircase curve: rate in Hz with its error, where the file has one."""

    threshold: Array
    rate_hz: Array
    sigma_hz: Array | None
    unit: str


@dataclass(frozen=True)
class WaveformTable:
    """Waveforms (n_records, n_samples), and their time step where the file has it."""

    waveforms: Array
    dt_ns: float | None


@dataclass(frozen=True)
class DelayTable:
    """Delays (n,) in ns, each from a pulse to the next one."""

    delay_ns: Array


@dataclass(frozen=True)
class TimeTable:
    """Times (n,) in ns of the pulses of one uninterrupted run."""

    time_ns: Array


DarkData = Spectrum | StaircaseTable | DelayTable | TimeTable | WaveformTable
KINDS: dict[type[DarkData], Kind] = {
    Spectrum: "gates",
    StaircaseTable: "staircase",
    DelayTable: "delays",
    TimeTable: "times",
    WaveformTable: "waveforms",
}


def read_dark(path: Path | str, *, kind: Kind | None = None) -> DarkData:
    """Read one file of a dark measurement; the type says what it holds, `KINDS` its name.

    kind: what it holds; recognised when absent. NPZ and NPY: a two-dimensional array is waveforms
    (with `dt_ns` where there is one); arrays named `threshold` with `rate`, `delays` or `times`
    speak for themselves. Text: a column whose name speaks of a threshold beside one of rates is a
    staircase, one of delays or times is that; rows of 16 and more numbers are waveforms; all else
    is a spectrum of gates. Units in column names (ns, us, s, Hz, kHz) are understood; without them
    delays and times are in ns, rates in Hz.

    Raises SpectrumFileError naming the file, also when it does not hold that kind.
    """
    file = Path(str(path).split(".root:")[0] + ".root") if ".root:" in str(path) else Path(path)
    if not file.is_file():
        raise SpectrumFileError(file, "there is no such file")
    with file.open("rb") as stream:
        head = stream.read(8)
    if head.startswith(b"root"):
        found: DarkData | None = None
    elif head.startswith((b"PK\x03\x04", b"\x93NUMPY")):
        found = _from_numpy(file, kind)
    else:
        found = _from_text(file, kind)
    if found is None:
        found = read_spectrum(path)
    if kind is not None and KINDS[type(found)] != kind:
        raise SpectrumFileError(file, f"holds {KINDS[type(found)]}, not {kind}")
    return found


def _from_numpy(file: Path, kind: Kind | None) -> DarkData | None:
    try:
        loaded = np.load(file, allow_pickle=False)
        arrays = {"arr_0": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise SpectrumFileError(file, f"cannot be read as NPZ: {error}") from error
    for name in (*ARRAYS["waveforms"], "arr_0"):
        if name in arrays and arrays[name].ndim == 2 and arrays[name].shape[1] >= LEAST_SAMPLES:
            step = arrays.get("dt_ns")
            dt_ns = float(step) if step is not None and step.size == 1 else None
            return WaveformTable(_floats(file, arrays[name], name), dt_ns)
    for name in ARRAYS["staircase"]:
        rate = next((n for n in ("rate_hz", "rates_hz", "rate", "rates") if n in arrays), None)
        if name in arrays and rate is not None:
            sigma = arrays.get("sigma_hz")
            return _staircase(
                file,
                _floats(file, arrays[name], name),
                _floats(file, arrays[rate], rate),
                None if sigma is None else _floats(file, sigma, "sigma_hz"),
                "ADC",
            )
    named: tuple[Kind, ...] = ("delays", "times")
    for wanted in named:
        for name in (*ARRAYS[wanted], *(("arr_0",) if kind == wanted else ())):
            if name in arrays:
                values = _floats(file, arrays[name], name).ravel()
                return DelayTable(values) if wanted == "delays" else TimeTable(values)
    return None


def _floats(file: Path, values: NDArray[Any], name: str) -> Array:
    try:
        return np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise SpectrumFileError(file, "not numbers", field=name) from error


def _from_text(file: Path, kind: Kind | None) -> DarkData | None:
    columns = read_columns(file, decoded_text(file))
    width = columns.values.shape[1]
    if width >= LEAST_SAMPLES:
        return WaveformTable(columns.values, None)
    names = columns.names or tuple("" for _ in range(width))
    threshold = _first(names, THRESHOLD_NAMES)
    rate = _first(names, RATE_NAMES, SIGMA_NAMES)
    if threshold is None and kind == "staircase" and width >= 2:
        threshold, rate = 0, 1
    if threshold is not None and rate is not None and threshold != rate:
        scale = _scale(names[rate], TO_HZ)
        error = _first(names, SIGMA_NAMES)
        unit = re.search(r"[\[(](.+)[\])]", names[threshold])
        return _staircase(
            file,
            columns.values[:, threshold],
            scale * columns.values[:, rate],
            None if error is None else scale * columns.values[:, error],
            VOLTS.get(unit[1], unit[1]) if unit else "ADC",
        )
    return _series(columns, names, kind)


def _series(columns: Columns, names: tuple[str, ...], kind: Kind | None) -> DarkData | None:
    series: tuple[tuple[Kind, re.Pattern[str]], ...] = (
        ("delays", DELAY_NAMES),
        ("times", TIME_NAMES),
    )
    for wanted, pattern in series:
        at = _first(names, pattern)
        alone = columns.values.shape[1] == 1
        if kind == wanted or (kind is None and at is not None and alone):
            column = at or 0
            values = _scale(names[column], TO_NS) * columns.values[:, column]
            return DelayTable(values) if wanted == "delays" else TimeTable(values)
    return None


def _first(
    names: tuple[str, ...], pattern: re.Pattern[str], unlike: re.Pattern[str] | None = None
) -> int | None:
    for at, name in enumerate(names):
        if pattern.search(name) and not (unlike is not None and unlike.search(name)):
            return at
    return None


def _scale(name: str, units: dict[str, float]) -> float:
    found = UNIT.search(name.strip())
    return units.get(found[1].lower(), 1.0) if found else 1.0


def _staircase(
    file: Path, threshold: Array, rate: Array, sigma: Array | None, unit: str
) -> StaircaseTable:
    if threshold.shape != rate.shape or (sigma is not None and sigma.shape != rate.shape):
        raise SpectrumFileError(file, f"{threshold.size} thresholds for {rate.size} rates")
    if np.any(np.isfinite(threshold)) and np.nanmedian(threshold) < 0:
        threshold = -threshold
    return StaircaseTable(threshold.ravel(), rate.ravel(), sigma, unit)
