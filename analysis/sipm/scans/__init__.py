"""Gain against bias, temperature and light, with the errors that points have in common."""

from analysis.sipm.scans.bias import BiasScan, LocalFit, gain_against_bias
from analysis.sipm.scans.extrapolation import CURVATURE_PER_V
from analysis.sipm.scans.joint import joint_fit
from analysis.sipm.scans.joint_model import JointFit
from analysis.sipm.scans.light import LightScan, gain_against_light
from analysis.sipm.scans.lines import LineTests
from analysis.sipm.scans.points import LeftOut, ScanPoint
from analysis.sipm.scans.reference import By, Corrected, all_at_reference, at_reference
from analysis.sipm.scans.temperature import (
    REFERENCE_TEMPERATURE_C,
    TemperatureScan,
    VbdTemperature,
    gain_against_temperature,
    vbd_against_temperature,
)

__all__ = [
    "CURVATURE_PER_V",
    "REFERENCE_TEMPERATURE_C",
    "BiasScan",
    "By",
    "Corrected",
    "JointFit",
    "LeftOut",
    "LightScan",
    "LineTests",
    "LocalFit",
    "ScanPoint",
    "TemperatureScan",
    "VbdTemperature",
    "all_at_reference",
    "at_reference",
    "gain_against_bias",
    "gain_against_light",
    "gain_against_temperature",
    "joint_fit",
    "vbd_against_temperature",
]
