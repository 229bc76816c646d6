"""Bias, temperature and light from the names that people give their files."""

import re
from dataclasses import dataclass
from pathlib import PurePath

NUMBER = r"\d+(?:[.,p]\d+)?"
TWO_DIGITS = r"\d\d+(?:[.,p]\d+)?"
GROUPS = ("bias", "overvoltage", "temperature", "light")
AMPERE = {"pa": 1e-12, "na": 1e-9, "ua": 1e-6, "µa": 1e-6, "μa": 1e-6, "mua": 1e-6, "ma": 1e-3}
FLAGS = re.IGNORECASE

LED_VOLTAGE = re.compile(rf"led[_=-]?({NUMBER})(m?)v(?![a-z])", FLAGS)
LED_CURRENT = re.compile(rf"(?<![a-z\d.,])(?:led[_=-]?)?({NUMBER})(mua|[pnuµμm]a)(?![a-z])", FLAGS)
PHOTONS = re.compile(
    rf"(?<![\d.,])({NUMBER})[_-]?(?:pe|photons?|photo-?electrons?)(?![a-z])", FLAGS
)
NO_LIGHT = re.compile(r"(?<![a-z])(?:dark|led_?off|light_?off|no_?light)(?![a-z])", FLAGS)
OVERVOLTAGE = re.compile(
    rf"(?<![a-z])(?:ov|vov|dv|overvoltage)[_=-]?({NUMBER})(?![\d.,])|"
    rf"(?<![\d.,])({NUMBER})[_-]?(?:v?ov|vover)(?![a-z])",
    FLAGS,
)
BIAS = re.compile(
    rf"(?<![a-z])(?:v?_?bias|hv|vb|vop|v)[_=-]?({TWO_DIGITS})(?![\d.,])|"
    rf"(?<![\d.,])({TWO_DIGITS})_?v(?![a-z])",
    FLAGS,
)
TEMPERATURE = re.compile(
    rf"(?<![a-z])(?:t|temp|temperature)[_=]?(?P<named>[-+mn]?{NUMBER})_?(?:deg_?|°)?c(?![a-z\d])|"
    rf"(?<![a-z])(?:temp|temperature|t(?==))[_=]?(?P<word>[-+]?{NUMBER})(?![a-z\d.,])|"
    rf"(?<![a-z])t_?(?P<signed>[-+]{NUMBER})(?![a-z\d.,])|"
    rf"(?<![\d.,a-z])(?P<plain>[-+mn]?{NUMBER})_?(?:deg_?|°)?c(?![a-z])",
    FLAGS,
)


@dataclass(frozen=True)
class Conditions:
    """What a name tells; None for what it does not.

    light: A for lamp currents, V for lamp voltages, otherwise pe. notes: what could not be told.
    """

    bias_v: float | None = None
    overvoltage_v: float | None = None
    temperature_c: float | None = None
    light: float | None = None
    notes: tuple[str, ...] = ()


def compiled(pattern: str) -> re.Pattern[str]:
    """A user's pattern; ValueError says what is wrong with it."""
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
    if not regex.groups:
        raise ValueError(f"{pattern!r} has no group: put the number in brackets, (...)")
    strange = set(regex.groupindex) - set(GROUPS)
    if strange:
        raise ValueError(f"{pattern!r}: groups can be named {', '.join(GROUPS)}")
    return regex


def conditions_by(pattern: re.Pattern[str], source: str) -> Conditions:
    """Conditions by the named groups of a pattern, or the bias by its first group.

    Raises ValueError when the pattern does not match or a group is no number.
    """
    found = pattern.search(source)
    if found is None:
        raise ValueError(f"the pattern {pattern.pattern!r} does not match")
    texts = found.groupdict() if pattern.groupindex else {"bias": found.group(1)}
    values = {name: _value(text) for name, text in texts.items() if text is not None}
    return Conditions(
        values.get("bias"),
        values.get("overvoltage"),
        values.get("temperature"),
        values.get("light"),
    )


def conditions_of(source: str) -> Conditions:
    """Conditions in common forms: 53.5V, 53p5V, bias_53.5, OV_3, -20C, T=25, LED_10uA, 3pe, dark.

    source: path, with the object's name after a colon for ROOT files. What the file's name does
    not tell is looked for in the names of its folders, the nearest first. Two different
    voltages in one name, and a minus that may be a dash, count as not told and leave a note.
    Nothing below 10 V is taken for a bias.
    """
    told = Conditions()
    parts = [part for part in re.split(r"[/\\:]", source) if part]
    if parts:
        parts[-1] = _without_ending(parts[-1])
    for part in reversed(parts[-4:]):
        here = _of_name(part)
        told = Conditions(
            here.bias_v if _lacks_voltage(told) else told.bias_v,
            here.overvoltage_v if _lacks_voltage(told) else told.overvoltage_v,
            here.temperature_c if told.temperature_c is None else told.temperature_c,
            here.light if told.light is None else told.light,
            (*told.notes, *here.notes),
        )
    return told


def _lacks_voltage(told: Conditions) -> bool:
    return told.bias_v is None and told.overvoltage_v is None


def _of_name(name: str) -> Conditions:
    light, rest = _light(name)
    notes: list[str] = []
    overvoltage = _only(OVERVOLTAGE, rest, "overvoltages", notes)
    rest = OVERVOLTAGE.sub("_", rest)
    bias = _only(BIAS, rest, "voltages", notes)
    rest = BIAS.sub("|", rest)
    temperature = _temperature(rest, name, notes)
    return Conditions(bias, overvoltage, temperature, light, tuple(notes))


def _light(name: str) -> tuple[float | None, str]:
    for pattern in (LED_VOLTAGE, LED_CURRENT, PHOTONS):
        found = pattern.search(name)
        if found is None:
            continue
        value = _value(found.group(1))
        if pattern is LED_CURRENT:
            value *= AMPERE[found.group(2).lower()]
        elif pattern is LED_VOLTAGE and found.group(2):
            value *= 1e-3
        return value, pattern.sub("_", name)
    if NO_LIGHT.search(name):
        return 0.0, NO_LIGHT.sub("_", name)
    return None, name


def _only(pattern: re.Pattern[str], name: str, what: str, notes: list[str]) -> float | None:
    texts = [next(g for g in found.groups() if g) for found in pattern.finditer(name)]
    values = sorted({_value(text) for text in texts})
    if len(values) > 1:
        notes.append(f"{name}: two {what}, {values[0]:g} and {values[1]:g}")
        return None
    return values[0] if values else None


def _temperature(rest: str, name: str, notes: list[str]) -> float | None:
    values = set()
    for found in TEMPERATURE.finditer(rest):
        text = next(group for group in found.groups() if group)
        before = rest[: found.start(found.lastgroup or 0)]
        dashed = bool(re.search(r"[a-zA-Z]-\d", name[: name.find(text)] if text in name else ""))
        if text.startswith("-") and (before.endswith("|") or dashed):
            notes.append(f"{name}: {text} C may be a temperature below zero or follow a dash")
            return None
        values.add(_value(text))
    if len(values) > 1:
        notes.append(f"{name}: more than one temperature")
        return None
    return values.pop() if values else None


def _value(text: str) -> float:
    sign = -1.0 if text[:1] in "-mnMN" else 1.0
    digits = re.sub("[,pP]", ".", text.lstrip("-+mnMN"))
    try:
        return sign * float(digits)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a number") from error


def _without_ending(name: str) -> str:
    while True:
        ending = PurePath(name).suffix
        if not re.fullmatch(r"\.[a-zA-Z][a-zA-Z0-9]{1,4}", ending):
            return name
        name = name.removesuffix(ending)
