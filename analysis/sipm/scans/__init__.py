"""Gain against bias, temperature and light, with the errors that points have in common."""

from analysis.sipm.scans.bias import BiasScan, LocalFit, gain_against_bias
from analysis.sipm.scans.points import LeftOut, ScanPoint

__all__ = ["BiasScan", "LeftOut", "LocalFit", "ScanPoint", "gain_against_bias"]
