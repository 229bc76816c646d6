"""Current-voltage curves of SiPMs: breakdown, dark current and quench resistance."""

from analysis.sipm.iv.curve import IVCurve, clean_curve
from analysis.sipm.iv.reverse import ReverseIV, breakdown_from_iv, reverse_iv

__all__ = ["IVCurve", "ReverseIV", "breakdown_from_iv", "clean_curve", "reverse_iv"]
