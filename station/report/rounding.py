"""Numbers as people read them: value and error rounded alike, in a scale that suits them."""

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

_MINUS = "\u2212"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_PREFIXES = {-12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
_PREFIXED_UNITS = frozenset({"A", "Hz", "rad", "ohm", "s", "C"})
_UNIT_WORDS = {"ADC/pe": "ADC/p.e.", "pe": "p.e.", "ohm": "Ω"}
_FRACTIONS = frozenset({"crosstalk", "afterpulse"})


@dataclass(frozen=True)
class Scale:
    """How a quantity is shown: the number times `factor`, followed by `unit`."""

    factor: float
    unit: str


def scale_of(quantity: str, unit: str, magnitude: float) -> Scale:
    """Scale in which values of about `magnitude` (in `unit`) are easy to read.

    Probabilities are shown in percent; currents, rates, angles, times and resistances with an SI
    prefix; everything else as it is.
    """
    if quantity in _FRACTIONS and unit == "1":
        return Scale(100.0, "%")
    word = _UNIT_WORDS.get(unit, "" if unit == "1" else unit)
    if unit not in _PREFIXED_UNITS or magnitude == 0 or not math.isfinite(magnitude):
        return Scale(1.0, word)
    exponent = 3 * math.floor(math.log10(abs(magnitude)) / 3)
    exponent = min(max(exponent, min(_PREFIXES)), max(_PREFIXES))
    return Scale(10.0**-exponent, _PREFIXES[exponent] + word)


@dataclass(frozen=True)
class Rounded:
    """Digits of a value and of its error, both times ten to the `power`."""

    value: str
    sigma: str
    power: int = 0

    def __str__(self) -> str:
        pair = f"{self.value} ± {self.sigma}"
        return f"({pair}) × {_ten_to(self.power)}" if self.power else pair


def round_pair(value: float, sigma: float) -> Rounded:
    """A value and its standard error with matching digits.

    The error keeps two digits when its three leading digits are 100 to 354 and one digit when they
    are 355 to 949; above, it is rounded up to 1000 and keeps two. The value is rounded at the same
    place (rounding rule of the Review of Particle Physics, introduction, section 5.3). A value
    with error 0 is exact and shown with up to six digits. Pairs whose last digit stands above 10^3
    or below 10^-6 get a common power of ten.

    Raises:
        ValueError: for a value or error that is not finite, or an error below zero.
    """
    if not (math.isfinite(value) and math.isfinite(sigma)) or sigma < 0:
        raise ValueError(f"cannot show {value} ± {sigma}: not a finite value with an error")
    if sigma == 0:
        return Rounded(plain(value), "0")
    exact, error = Decimal(repr(float(value))), Decimal(repr(float(sigma)))
    last = _last_place(error)
    power = 0
    if last > 3 or last < -6:
        power = max(exact.adjusted() if exact else error.adjusted(), error.adjusted())
    return Rounded(
        _quantized(exact.scaleb(-power), last - power),
        _quantized(error.scaleb(-power), last - power),
        power,
    )


def common_scale(quantity: str, unit: str, values: Iterable[float]) -> Scale:
    """The scale that suits the median size of several values of a quantity in `unit`."""
    sizes = [abs(value) for value in values]
    return scale_of(quantity, unit, statistics.median(sizes) if sizes else 0.0)


def plain(value: float, digits: int = 6) -> str:
    """A number without an error, such as a limit, with up to `digits` significant digits."""
    text = f"{value:.{digits}g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        text = f"{mantissa} × {_ten_to(int(exponent))}"
    return text.replace("-", _MINUS)


def measured(value: float, sigma: float, scale: Scale) -> str:
    """`value ± sigma` in the given scale, without the unit."""
    return str(round_pair(value * scale.factor, sigma * scale.factor))


def limits(low: float | None, high: float | None, scale: Scale) -> str:
    """An allowed interval in the given scale, without the unit; empty when nothing is asked."""
    if low is not None and high is not None:
        return f"{plain(low * scale.factor)} … {plain(high * scale.factor)}"
    if low is not None:
        return f"≥ {plain(low * scale.factor)}"
    if high is not None:
        return f"≤ {plain(high * scale.factor)}"
    return ""


def _ten_to(power: int) -> str:
    return f"10{str(power).translate(_SUPERSCRIPT)}"


def _last_place(error: Decimal) -> int:
    """Power of ten of the last digit that the error keeps."""
    leading = error.scaleb(2 - error.adjusted())
    return error.adjusted() - 1 if leading < Decimal("354.5") else error.adjusted()


def _quantized(number: Decimal, place: int) -> str:
    rounded = number.quantize(Decimal(1).scaleb(place), ROUND_HALF_EVEN)
    if rounded == 0:
        rounded = abs(rounded)
    return f"{rounded:f}".replace("-", _MINUS)
