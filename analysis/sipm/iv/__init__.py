"""Current-voltage curves of SiPMs: breakdown, dark current and quench resistance."""

from analysis.sipm.iv.curve import IVCurve, clean_curve
from analysis.sipm.iv.dark_current import dark_current_at
from analysis.sipm.iv.files import IVTable, read_iv
from analysis.sipm.iv.forward import ForwardFit, fit_forward, quench_resistance
from analysis.sipm.iv.reverse import ReverseIV, breakdown_from_iv, reverse_iv

__all__ = [
    "ForwardFit",
    "IVCurve",
    "IVTable",
    "ReverseIV",
    "breakdown_from_iv",
    "clean_curve",
    "dark_current_at",
    "fit_forward",
    "quench_resistance",
    "read_iv",
    "reverse_iv",
]
