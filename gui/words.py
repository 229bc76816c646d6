"""The words and numbers of the desktop: names, units, digits, and one sentence per bad number."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from station.events import Verdict

VERDICT_WORDS: dict[str, str] = {
    "pass": "PASS",
    "flag": "FLAG",
    "fail": "FAIL",
    "unknown": "UNKNOWN",
}
STEP_WORDS: dict[str, str] = {
    "load": "Load the tray",
    "inspect": "Inspect the tiles",
    "wrap": "Wrap the tiles",
    "place": "Place the tiles",
    "test": "Test the board",
    "report": "Write the report",
}
PROCEDURE_WORDS: dict[str, str] = {
    "inspect_tile": "inspecting the tiles",
    "wrap_tiles": "recording the wrapped tiles",
    "place_tiles": "placing the tiles",
    "test_board": "testing the board",
    "commission_focus": "looking for the focus",
    "commission_camera": "calibrating camera and axes",
    "commission_backlash": "measuring the play of the axes",
    "commission_repeatability": "measuring how well a place is found again",
    "commission_tool": "looking for the nozzle",
}
ENDING_WORDS: dict[str, str] = {
    "done": "done",
    "refused": "refused",
    "aborted": "stopped",
    "failed": "ended by an error",
    "tripped": "ended by a trip",
    "lost_instrument": "ended because an instrument was lost",
    "interrupted": "interrupted",
}
ROLE_WORDS: dict[str, str] = {
    "bias": "Bias",
    "switch": "Bias switch",
    "readout": "Readout",
    "light": "Light",
    "climate": "Climate",
    "gantry": "Gantry",
    "gripper": "Gripper",
    "camera": "Camera",
    "chiller": "Chiller",
    "scanner": "Scanner",
}
NO_VALUE = "–"


@dataclass(frozen=True)
class Quantity:
    """How a quantity is shown: `scale` turns the stored unit into the shown one."""

    name: str
    unit: str
    scale: float = 1.0
    when_low: str = ""
    when_high: str = ""


_ANEW = "Place this tile anew."
_QUANTITIES: dict[str, Quantity] = {
    "gain": Quantity(
        "Gain",
        "ADC/p.e.",
        when_low="Compare its breakdown voltage with its neighbours' and check its bias trim.",
        when_high="Compare its breakdown voltage with its neighbours' and check its bias trim.",
    ),
    "pedestal": Quantity(
        "Pedestal",
        "ADC",
        when_low="Check the pedestal trim of this channel.",
        when_high="Check the pedestal trim of this channel.",
    ),
    "noise": Quantity(
        "Noise", "ADC", when_high="Check that the lid is light-tight and the grounding."
    ),
    "light_yield": Quantity(
        "Light",
        "p.e.",
        when_low="Look for a lifted or missing tile, then check its LED.",
        when_high="Look for stray light and check its LED.",
    ),
    "crosstalk": Quantity("Crosstalk", "%", 100.0, when_high="Check the overvoltage."),
    "gain_spread": Quantity("Gain spread", "ADC"),
    "sipm_offset": Quantity("Offset", "mm"),
    "sipm_offset_x": Quantity("Offset x", "mm", 1.0, _ANEW, _ANEW),
    "sipm_offset_y": Quantity("Offset y", "mm", 1.0, _ANEW, _ANEW),
    "placed_rotation": Quantity("Rotation", "mrad", 1000.0, _ANEW, _ANEW),
    "vbd_iv": Quantity("Breakdown (IV)", "V"),
    "inner_width": Quantity("Inner width", "mm"),
    "outer_width": Quantity("Outer width", "mm"),
    "height": Quantity("Height", "mm"),
    "tile_rotation": Quantity("Rotation", "mrad", 1000.0),
    "dimple_x": Quantity("Dimple x", "mm"),
    "dimple_y": Quantity("Dimple y", "mm"),
    "wrapped_tiles": Quantity("Wrapped tiles", ""),
}


@dataclass(frozen=True)
class Value:
    """One judged reading."""

    quantity: str
    value: float | None
    sigma: float | None
    unit: str
    low: float | None
    high: float | None
    verdict: Verdict | None
    reasons: tuple[str, ...] = ()

    @property
    def shown(self) -> float | None:
        """The value in the unit in which it is shown."""
        return None if self.value is None else self.value * quantity(self).scale


def quantity(value: Value) -> Quantity:
    return quantity_named(value.quantity, value.unit)


def quantity_named(name: str, unit: str = "") -> Quantity:
    """How `name` is shown; a quantity that the desktop does not know keeps its name and unit."""
    shown_unit = "" if unit == "1" else unit
    return _QUANTITIES.get(name) or Quantity(name.replace("_", " ").capitalize(), shown_unit)


def number(value: float, decimals: int) -> str:
    """Fixed decimals, with a true minus sign; what rounds to zero has none."""
    return f"{value:z.{decimals}f}".replace("-", "−")


def decimals_of(sigma: float) -> int:
    """Decimals that an error deserves: two digits when it begins with 1, else one."""
    if not math.isfinite(sigma) or sigma <= 0:
        return 3
    exponent = math.floor(math.log10(sigma))
    leading = sigma / 10**exponent
    return min(6, max(0, -exponent + (1 if leading < 1.95 else 0)))


def value_text(value: Value) -> str:
    """`24.31 ± 0.05`, `18` for a count, or a dash when it could not be measured."""
    if value.value is None or value.sigma is None:
        return NO_VALUE
    if value.unit == "1" and value.sigma == 0 and value.value.is_integer():
        return number(value.value, 0)
    scale = quantity(value).scale
    decimals = decimals_of(value.sigma * scale)
    return f"{number(value.value * scale, decimals)} ± {number(value.sigma * scale, decimals)}"


def limits_text(value: Value) -> str:
    """`26.0 … 30.5`, `≤ 25`, `≥ 0.5`; empty without limits."""
    scale = quantity(value).scale
    low = None if value.low is None else _limit(value.low * scale)
    high = None if value.high is None else _limit(value.high * scale)
    if low is not None and high is not None:
        return f"{low} … {high}"
    if high is not None:
        return f"≤ {high}"
    return "" if low is None else f"≥ {low}"


def value_line(value: Value) -> str:
    """`Breakdown (IV) 38.34 ± 0.02 V, limit 37 … 39.5`."""
    shown = quantity(value)
    limits = limits_text(value)
    return f"{shown.name} {value_text(value)} {shown.unit}".rstrip() + (
        f", limit {limits}" if limits else ""
    )


def sentence(value: Value) -> str:
    """What is wrong with a number, by how much, and what to try. Empty for a pass."""
    shown = quantity(value)
    if value.verdict in (None, "pass"):
        return ""
    if value.value is None or value.sigma is None or value.verdict == "unknown":
        why = "; ".join(value.reasons) or "it could not be measured"
        return f"{shown.name} is unknown: {_ended(why)}"
    nearest = _nearest_limit(value)
    if nearest is None:
        return _ended("; ".join(value.reasons) or f"{shown.name} is a {value.verdict}")
    edge, side = nearest
    distance = (value.value - edge) * shown.scale
    by = f"{abs(distance):.2g} {shown.unit}"
    sigmas = f", {abs(value.value - edge) / value.sigma:.0f} σ" if value.sigma > 0 else ""
    limit = f"the {side} limit {_limit(edge * shown.scale)}"
    if value.verdict == "fail":
        what = f"{shown.name} is {by} {'below' if side == 'lower' else 'above'} {limit}{sigmas}."
    else:
        what = f"{shown.name} is only {by} inside {limit}{sigmas}: it may be outside."
    advice = shown.when_low if side == "lower" else shown.when_high
    return f"{what} {advice}".rstrip()


def duration(seconds: float) -> str:
    """`40 s`, `2 min 10 s`, `1 h 5 min`: coarse enough not to flicker."""
    if seconds < 60:
        return f"{max(5, 5 * round(seconds / 5))} s"
    if seconds < 3600:
        minutes, rest = divmod(10 * round(seconds / 10), 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 result`, `312 results`, thousands set apart by a narrow space."""
    text = f"{count:,}".replace(",", "\u202f")
    return f"{text} {one if count == 1 else many or one + 's'}"


def offset_value(parts: Mapping[str, Value]) -> Value | None:
    """Distance of the tile from its SiPM from the offsets in x and y, hypot(x, y).

    sigma from error propagation; with both offsets within their errors it is the larger error.
    The limit shown is the smallest of the four of x and y.
    """
    x, y = parts.get("sipm_offset_x"), parts.get("sipm_offset_y")
    if x is None or y is None:
        return None
    verdict = worst_of((x.verdict, y.verdict))
    reasons = (*x.reasons, *y.reasons)
    if x.value is None or y.value is None or x.sigma is None or y.sigma is None:
        return Value("sipm_offset", None, None, x.unit, None, None, verdict, reasons)
    distance = math.hypot(x.value, y.value)
    sigma = max(x.sigma, y.sigma)
    if distance > sigma:
        sigma = math.hypot(x.value * x.sigma, y.value * y.sigma) / distance
    return Value("sipm_offset", distance, sigma, x.unit, None, None, verdict, reasons)


def worst_of(verdicts: Iterable[Verdict | None]) -> Verdict | None:
    """The most severe verdict: fail, then unknown, then flag, then pass; None without any."""
    given = set(verdicts)
    return next((verdict for verdict in _WORST_FIRST if verdict in given), None)


_WORST_FIRST: tuple[Verdict, ...] = ("fail", "unknown", "flag", "pass")


def _limit(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _ended(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else text + "."


def _nearest_limit(value: Value) -> tuple[float, str] | None:
    if value.value is None:
        return None
    edges = [(e, s) for e, s in ((value.low, "lower"), (value.high, "upper")) if e is not None]
    if not edges:
        return None
    at = value.value
    return min(edges, key=lambda edge: abs(at - edge[0]))
