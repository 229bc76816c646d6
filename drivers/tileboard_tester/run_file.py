"""The file of a run: one row per event, chip, half and word, as the tester's data client writes it.

A half of a chip sends 39 words per event: 36 channels, one calibration channel (36) and two
common-mode channels (37, 38). Channel c of half h of chip r is row ``72 r + 36 h + c`` here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import uproot
from numpy.typing import NDArray

from drivers.tileboard_tester.protocol import (
    ADC_MAX,
    CHANNELS_PER_HALF,
    CHANNELS_PER_ROC,
    COLUMNS_PER_HALF,
    HALVES_PER_ROC,
    TOA_MAX,
    TOT_MAX,
)

TREE = "unpacker_data/hgcroc"
KEYS = ("event", "chip", "half", "channel", "adc")
CORRUPTION = "corruption"
BRANCHES = {
    "event": np.int32,
    "chip": np.int16,
    "half": np.int16,
    "channel": np.int16,
    "adc": np.int16,
    "adcm": np.int16,
    "toa": np.int16,
    "tot": np.int16,
    "totflag": np.bool_,
    "trigtime": np.int32,
    "trigwidth": np.int16,
    CORRUPTION: np.int16,
}


class RunFileError(ValueError):
    """The file of a run is absent, broken or not what was asked for; the message names it."""


@dataclass(frozen=True)
class RunData:
    """All that a run holds for the channels; every array has the shape (72 n_rocs, n_events).

    Attributes:
        adc: charge in the linear range, 0 to 1023.
        tot: time over threshold, 0 to 4095; 0 where none was measured.
        toa: time of arrival, 0 to 1023; 0 where none was measured.
        is_tot: whether the chip says that the charge is in ``tot``.
        trigger_time: when the trigger came, in the counter of the fast control.
    """

    adc: NDArray[np.int_]
    tot: NDArray[np.int_]
    toa: NDArray[np.int_]
    is_tot: NDArray[np.bool_]
    trigger_time: NDArray[np.int_]


def read_run(path: Path, *, n_rocs: int, n_events: int) -> NDArray[np.int_]:
    """ADC of every channel and event, int of shape (72 n_rocs, n_events).

    Events are columns in the order of their numbers. Raises RunFileError when the file is absent or
    truncated, has no such tree, holds a word that the electronics can't send or marks as corrupt,
    another number of events than asked for, or a channel that is missing from an event or in it
    twice.
    """
    words = _words(path, KEYS)
    is_channel, cell = _cells(path, words, n_rocs, n_events)
    return _filled(path, words, "adc", ADC_MAX, is_channel, cell).reshape(-1, n_events)


def read_run_data(path: Path, *, n_rocs: int, n_events: int) -> RunData:
    """Charge, times and trigger times of every channel and event; raises as :func:`read_run`."""
    words = _words(path, (*KEYS, "tot", "toa", "totflag", "trigtime"))
    is_channel, cell = _cells(path, words, n_rocs, n_events)
    largest = {"adc": ADC_MAX, "tot": TOT_MAX, "toa": TOA_MAX, "trigtime": None, "totflag": 1}
    filled = {
        name: _filled(path, words, name, most, is_channel, cell).reshape(-1, n_events)
        for name, most in largest.items()
    }
    return RunData(
        adc=filled["adc"],
        tot=filled["tot"],
        toa=filled["toa"],
        is_tot=filled["totflag"].astype(np.bool_),
        trigger_time=filled["trigtime"],
    )


def _cells(
    path: Path, words: dict[str, NDArray[Any]], n_rocs: int, n_events: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which words are of channels, and their cells in an array of channels and events."""
    if CORRUPTION in words and words[CORRUPTION].any():
        n_corrupt = int(np.count_nonzero(words[CORRUPTION]))
        raise RunFileError(f"{path}: {n_corrupt} words came with a wrong checksum")
    for name, end in (("chip", n_rocs), ("half", HALVES_PER_ROC), ("channel", COLUMNS_PER_HALF)):
        _check_range(path, name, words[name], end - 1)
    is_channel = words["channel"] < CHANNELS_PER_HALF
    event, chip, half, channel = (words[name][is_channel].astype(np.int64) for name in KEYS[:4])
    column = _event_columns(path, event, n_events)
    row = chip * CHANNELS_PER_ROC + half * CHANNELS_PER_HALF + channel
    n_channels = n_rocs * CHANNELS_PER_ROC
    cell = row * n_events + column
    copies = np.bincount(cell, minlength=n_channels * n_events)
    if (copies != 1).any():
        worst = int(np.flatnonzero(copies != 1)[0])
        times = "missing from" if copies[worst] == 0 else f"{copies[worst]} times in"
        raise RunFileError(
            f"{path}: channel {worst // n_events} is {times} event number {worst % n_events} "
            f"({np.count_nonzero(copies == 0)} words missing, "
            f"{np.count_nonzero(copies > 1)} repeated)"
        )
    return is_channel, cell


def _filled(
    path: Path,
    words: dict[str, NDArray[Any]],
    name: str,
    largest: int | None,
    is_channel: NDArray[np.bool_],
    cell: NDArray[np.int64],
) -> NDArray[np.int_]:
    values = words[name][is_channel].astype(np.int64)
    if largest is not None:
        _check_range(path, name, values, largest)
    filled = np.empty(cell.size, np.int_)
    filled[cell] = values
    return filled


def _words(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise RunFileError(f"{path}: no such file")
    try:
        with uproot.open(path) as file:
            tree = file[TREE]
            wanted = [*names, CORRUPTION] if CORRUPTION in tree else list(names)
            words = tree.arrays(wanted, library="np")
    except uproot.KeyInFileError as error:
        raise RunFileError(f"{path}: no branch or tree {error.args[0]!r}") from error
    # what uproot raises on damaged bytes depends on where the damage is
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RunFileError(f"{path}: broken or truncated ({reason})") from error
    return dict(words)


def _check_range(path: Path, name: str, values: NDArray[Any], largest: int) -> None:
    if values.size == 0:
        raise RunFileError(f"{path}: no events")
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > largest:
        raise RunFileError(f"{path}: {name} runs from {low} to {high}, expected 0..{largest}")


def _event_columns(path: Path, event: NDArray[np.int64], n_events: int) -> NDArray[np.int64]:
    first, last = int(event.min()), int(event.max())
    columns = event - first
    n_found = last - first + 1
    if n_found != n_events:
        numbers, columns = np.unique(event, return_inverse=True)
        n_found = numbers.size
    if n_found != n_events:
        raise RunFileError(f"{path}: {n_found} events, asked for {n_events}")
    return columns


def run_words(
    adc: NDArray[np.int_],
    n_rocs: int,
    *,
    tot: NDArray[np.int_] | None = None,
    toa: NDArray[np.int_] | None = None,
    trigger_step: int = 0,
) -> dict[str, NDArray[Any]]:
    """Rows of a run file for values of shape (72 n_rocs, n_events), events numbered from 0.

    ``trigger_step`` is how far the trigger time goes on from event to event.
    """
    n_events = adc.shape[1]
    shape = (n_events, n_rocs * HALVES_PER_ROC, COLUMNS_PER_HALF)
    event, chip_half, channel = np.indices(shape, np.int32)
    columns: dict[str, NDArray[Any]] = {
        "event": event,
        "chip": chip_half // HALVES_PER_ROC,
        "half": chip_half % HALVES_PER_ROC,
        "channel": channel,
        "adc": _channel_words(adc, shape),
        "trigtime": event.astype(np.int64) * trigger_step % 2**31,
    }
    if tot is not None:
        columns["tot"] = _channel_words(tot, shape)
        columns["totflag"] = columns["tot"] > 0
    if toa is not None:
        columns["toa"] = _channel_words(toa, shape)
    return {
        name: columns.get(name, np.zeros(shape, kind)).ravel().astype(kind, copy=False)
        for name, kind in BRANCHES.items()
    }


def _channel_words(values: NDArray[np.int_], shape: tuple[int, int, int]) -> NDArray[np.int16]:
    words = np.zeros(shape, np.int16)
    words[:, :, :CHANNELS_PER_HALF] = values.T.reshape(shape[0], shape[1], CHANNELS_PER_HALF)
    return words


def write_words(path: Path, words: dict[str, NDArray[Any]]) -> None:
    """Write rows as a ROOT tree."""
    with uproot.recreate(path, compression=uproot.LZ4(1)) as file:
        tree = file.mktree(TREE, {name: np.dtype(kind) for name, kind in BRANCHES.items()})
        tree.extend(words)
