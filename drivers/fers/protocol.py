"""The text files around a CAEN DT5202 / A5202 (FERS-5200, Citiroc-1A, 64 channels).

The boards are driven by the vendor's program Janus, which reads one text configuration and writes
list files. The formats here are those of its releases 3 and 4 (list file format 3.3 and 3.4), as
its own writer lays them out; a file as Janus writes it is the transcript in the tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

N_CHANNELS = 64
MAX_BOARDS = 16
ADC_MAX = 8191
TOA_LSB_NS = 0.5

LIST_FORMATS = ("3.3", "3.4")
"""Versions of the list file whose columns are known; 3.1 and older put the time first."""

BOARD, CHANNEL, LOW_GAIN, HIGH_GAIN = "brd", "ch", "lg", "hg"
TOA, TOT = ("toa_ns", "toa_lsb"), ("tot_ns", "tot_lsb")
TIME, SECOND_TIME, TRIGGER = "tstamp_us", "tstamp2_us", "trgid"
COUNTS = ("nhits", "nchs")
NO_VALUE = b"-"
RULER = "//" + "*" * 48

SPECTROSCOPY = "Spectroscopy"
SPECT_TIMING = "Spect_Timing"

Scope = Literal["global", "board", "channel"]


class FersFileError(ValueError):
    """A file is absent, broken or not what was asked for; the message names file and line."""


@dataclass(frozen=True)
class Number:
    """A number between two bounds (both allowed), written in one of some units.

    Attributes:
        units: pairs of name and factor to the base unit; the empty name is a bare number.
        whole: whether only whole numbers of the base unit make sense.
    """

    low: float
    high: float
    units: tuple[tuple[str, float], ...] = (("", 1.0),)
    whole: bool = False

    def factor(self, unit: str) -> float | None:
        """Base units in one ``unit``; None when the unit is not known."""
        return dict(self.units).get(unit)


@dataclass(frozen=True)
class Choice:
    """One of some words; a blank and a missing blank before a unit are the same word."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class Mask:
    """32 bits as hexadecimal digits after ``0x``."""


@dataclass(frozen=True)
class Text:
    """Anything that fits on a line and holds no ``#``."""


Kind = Number | Choice | Mask | Text


@dataclass(frozen=True)
class Key:
    """One setting: what it may hold and how finely it may be given."""

    kind: Kind
    scope: Scope = "global"


_Units = tuple[tuple[str, float], ...]
VOLTS: _Units = (("", 1.0), ("V", 1.0), ("mV", 1e-3), ("uV", 1e-6))
MILLIAMPS: _Units = (("", 1.0), ("mA", 1.0), ("uA", 1e-3), ("A", 1e3))
NANOSECONDS: _Units = (("", 1.0), ("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9))
SECONDS: _Units = (("", 1.0), ("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("m", 60.0), ("h", 3600.0))
BYTES: _Units = (("", 1.0), ("B", 1.0), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9))

_SWITCH = Number(0, 1, whole=True)
_COUNT = Number(0, 4294967295, whole=True)
_TIME_NS = Number(0, 1e12, NANOSECONDS)
_SHAPING = Choice(("87.5 ns", "75 ns", "62.5 ns", "50 ns", "37.5 ns", "25 ns", "12.5 ns"))
_BINS = ("DISABLED", "256", "512", "1K", "2K", "4K", "8K")

KEYS: Mapping[str, Key] = MappingProxyType(
    {
        "Open": Key(Text(), "board"),
        "HV_Vbias": Key(Number(20, 85, VOLTS), "board"),
        "HV_Imax": Key(Number(0, 10, MILLIAMPS), "board"),
        "HV_Adjust_Range": Key(Choice(("4.5", "2.5", "DISABLED"))),
        "HV_IndivAdj": Key(Number(0, 255, whole=True), "channel"),
        "TempSensType": Key(Text(), "board"),
        "TempFeedbackCoeff": Key(Number(-1000, 1000), "board"),
        "EnableTempFeedback": Key(_SWITCH, "board"),
        "StartRunMode": Key(Choice(("ASYNC", "CHAIN_T0", "CHAIN_T1", "TDL"))),
        "StopRunMode": Key(Choice(("MANUAL", "PRESET_TIME", "PRESET_COUNTS"))),
        "EventBuildingMode": Key(Choice(("DISABLED", "TRGTIME_SORTING", "TRGID_SORTING"))),
        "TstampCoincWindow": Key(_TIME_NS),
        "PresetTime": Key(Number(0, 1e9, SECONDS)),
        "PresetCounts": Key(_COUNT),
        "JobFirstRun": Key(_COUNT),
        "JobLastRun": Key(_COUNT),
        "RunSleep": Key(Number(0, 1e9, SECONDS)),
        "EnableJobs": Key(_SWITCH),
        "RunNumber_AutoIncr": Key(_SWITCH),
        "DataAnalysis": Key(Choice(("ALL", "CNT_ONLY", "DISABLED"))),
        "DataFilePath": Key(Text()),
        "OF_OutFileUnit": Key(Choice(("LSB", "ns"))),
        "OF_EnMaxSize": Key(_SWITCH),
        "OF_MaxSize": Key(Number(1e6, 1e15, BYTES)),
        "OF_RawData": Key(_SWITCH),
        "OF_ListBin": Key(_SWITCH),
        "OF_ListAscii": Key(_SWITCH),
        "OF_ListCSV": Key(_SWITCH),
        "OF_Sync": Key(_SWITCH),
        "OF_ServiceInfo": Key(_SWITCH),
        "OF_RunInfo": Key(_SWITCH),
        "AcquisitionMode": Key(
            Choice(
                (
                    "SPECTROSCOPY",
                    "SPECT_TIMING",
                    "TIMING_CSTART",
                    "TIMING_CSTOP",
                    "COUNTING",
                    "WAVEFORM",
                )
            )
        ),
        "EnableToT": Key(_SWITCH),
        "BunchTrgSource": Key(Choice(("T0-IN", "T1-IN", "Q-OR", "T-OR", "TLOGIC", "PTRG"))),
        "VetoSource": Key(Choice(("DISABLED", "SW_CMD", "T0-IN", "T1-IN"))),
        "ValidationSource": Key(Choice(("SW_CMD", "T0-IN", "T1-IN"))),
        "ValidationMode": Key(Choice(("DISABLED", "ACCEPT", "REJECT"))),
        "TriggerLogic": Key(
            Choice(("OR64", "AND2_OR32", "OR32_AND2", "MAJ64", "MAJ32_AND2", "OR_QUAD"))
        ),
        "MajorityLevel": Key(Number(1, 64, whole=True)),
        "PtrgPeriod": Key(_TIME_NS),
        "TrefWindow": Key(_TIME_NS),
        "TrefDelay": Key(Number(-1e12, 1e12, NANOSECONDS)),
        "ChEnableMask0": Key(Mask(), "board"),
        "ChEnableMask1": Key(Mask(), "board"),
        "FastShaperInput": Key(Choice(("HG-PA", "LG-PA"))),
        "TD_CoarseThreshold": Key(Number(0, 2047, whole=True), "board"),
        "TD_FineThreshold": Key(Number(0, 15, whole=True), "channel"),
        "Hit_HoldOff": Key(_TIME_NS),
        "Tlogic_Mask0": Key(Mask(), "board"),
        "Tlogic_Mask1": Key(Mask(), "board"),
        "QD_CoarseThreshold": Key(Number(0, 4095, whole=True), "board"),
        "QD_FineThreshold": Key(Number(0, 15, whole=True), "channel"),
        "Q_DiscrMask0": Key(Mask(), "board"),
        "Q_DiscrMask1": Key(Mask(), "board"),
        "GainSelect": Key(Choice(("HIGH", "LOW", "AUTO", "BOTH"))),
        "HG_Gain": Key(Number(1, 63, whole=True), "channel"),
        "LG_Gain": Key(Number(1, 63, whole=True), "channel"),
        "Pedestal": Key(Number(0, ADC_MAX, whole=True)),
        "ZS_Threshold_LG": Key(Number(0, ADC_MAX, whole=True), "channel"),
        "ZS_Threshold_HG": Key(Number(0, ADC_MAX, whole=True), "channel"),
        "HG_ShapingTime": Key(_SHAPING),
        "LG_ShapingTime": Key(_SHAPING),
        "HoldDelay": Key(_TIME_NS),
        "MuxClkPeriod": Key(_TIME_NS),
        "EHistoNbin": Key(Choice(_BINS)),
        "ToAHistoNbin": Key(Choice((*_BINS, "16K"))),
        "TestPulseSource": Key(Choice(("OFF", "EXT", "T0-IN", "T1-IN", "PTRG", "SW-CMD"))),
        "TestPulseAmplitude": Key(Number(0, 4095, whole=True)),
    }
)
"""Settings with known bounds; a key that is not here is kept as it stands and never written.

Unverified: the upper bounds of QD_CoarseThreshold, QD_FineThreshold and TestPulseAmplitude (from
the widths of the registers) and HV_Imax (the board can give 10 mA).
"""
