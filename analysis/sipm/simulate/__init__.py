"""Charges, waveforms and dark currents of a SiPM whose parameters are known."""

from analysis.sipm.simulate.avalanches import Avalanches, Origin, simulate_avalanches
from analysis.sipm.simulate.charges import gate_share, simulate_charges
from analysis.sipm.simulate.devices import random_readout, random_truth
from analysis.sipm.simulate.pulses import Pulse, pulse_of
from analysis.sipm.simulate.readout import Readout
from analysis.sipm.simulate.truth import (
    ELECTRON_CHARGE_C,
    REFERENCE_OVERVOLTAGE_V,
    REFERENCE_TEMPERATURE_C,
    SiPMTruth,
    afterpulsing,
    crosstalk,
    current_a,
    dark_rate_hz,
    delayed_crosstalk,
    gain,
    overvoltage,
    photon_detection,
    vbd,
)
from analysis.sipm.simulate.waveforms import simulate_waveforms

__all__ = [
    "ELECTRON_CHARGE_C",
    "REFERENCE_OVERVOLTAGE_V",
    "REFERENCE_TEMPERATURE_C",
    "Avalanches",
    "Origin",
    "Pulse",
    "Readout",
    "SiPMTruth",
    "afterpulsing",
    "crosstalk",
    "current_a",
    "dark_rate_hz",
    "delayed_crosstalk",
    "gain",
    "gate_share",
    "overvoltage",
    "photon_detection",
    "pulse_of",
    "random_readout",
    "random_truth",
    "simulate_avalanches",
    "simulate_charges",
    "simulate_waveforms",
    "vbd",
]
