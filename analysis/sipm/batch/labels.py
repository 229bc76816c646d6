"""What the name of a file, a histogram or a column says: channel, bias, temperature, light.

Without a pattern the usual ways to write these are recognised: ch07, channel_7, sipm7; 40.8V,
bias40.8, hv_40p8; 25C, -30degC, T25.5; on and off, led, light_off, dark, pedestal, ped. With a
pattern such as "{channel}_{bias_v}V_{light}" only the named places count; any other name in braces
stands for text that tells devices apart, and {} for text that means nothing.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

Channel = int | str
Light = Literal["on", "off"]

NUMBER = r"(\d+(?:[.p]\d+)?)"
CHANNEL = re.compile(r"(?<![a-z])(?:channel|chan|chn|ch|sipm)[ _\-=#.]?(\d+)", re.I)
BIASES = tuple(
    re.compile(text, re.I)
    for text in (
        rf"(?<![a-z])(?:vbias|v_bias|bias|hv|vop)(?:_v)?[_=\-]?{NUMBER} ?v?(?![a-z0-9])",
        rf"(?<![a-z0-9.]){NUMBER} ?v(?![a-z0-9])",
        r"(?<![a-z])v[_=]?(\d+[.p]\d+)(?![a-z0-9])",
    )
)
TEMPERATURES = tuple(
    re.compile(text, re.I)
    for text in (
        rf"(?<![a-z])temp(?:erature)?(?:_c)?[_=]?((?:-|minus)?{NUMBER}) ?(?:deg)?c?(?![a-z0-9])",
        rf"(?<![a-z])t[_=]?((?:-|minus)?{NUMBER}) ?(?:deg)?c(?![a-z0-9])",
        rf"(?<![a-z0-9.])((?:(?<![a-z0-9])-|minus|m)?{NUMBER}) ?(?:deg)?_?c(?![a-z0-9])",
    )
)
SOURCE_OF_LIGHT = r"(?:led|light|laser|pulser)"
OFF = re.compile(
    rf"(?<![a-z])(?:{SOURCE_OF_LIGHT}[_\- ]?off|no[_\- ]?{SOURCE_OF_LIGHT}|off|dark|"
    r"ped(?:estals?)?)(?![a-z])",
    re.I,
)
ON = re.compile(
    rf"(?<![a-z])(?:{SOURCE_OF_LIGHT}[_\- ]?on|on|lit|pulsed|{SOURCE_OF_LIGHT})(?![a-z])", re.I
)
SUFFIXES = re.compile(r"(\.(csv|txt|dat|tsv|asc|mca|spe|npz|npy|root|parquet|pq|gz))+$", re.I)
WORDS_OF_LIGHT = {"1": "on", "true": "on", "yes": "on", "0": "off", "false": "off", "no": "off"}


@dataclass(frozen=True)
class Label:
    """Where a spectrum belongs.

    rest: what remains of the name when bias, temperature and light are taken out: two spectra with
        the same rest are of the same channel. folder: the same of the folders above alone.
    light: "on", "off", or None where the name does not say.
    """

    rest: str = ""
    folder: str = ""
    channel: Channel | None = None
    bias_v: float | None = None
    temperature_c: float | None = None
    light: Light | None = None

    def within(self, outer: "Label") -> "Label":
        """This label of something inside a file, completed by the label of the file."""
        return Label(
            "/".join(part for part in (outer.rest, self.rest) if part),
            outer.folder or outer.rest,
            self.channel if self.channel is not None else outer.channel,
            self.bias_v if self.bias_v is not None else outer.bias_v,
            self.temperature_c if self.temperature_c is not None else outer.temperature_c,
            self.light or outer.light,
        )


def label_of(name: str, pattern: str | None = None) -> Label:
    """The label that a name or a path with "/" carries; the last part of a path counts most.

    Raises ValueError for a pattern that can't be understood. A name that does not fit the pattern
    has only a rest.
    """
    name = SUFFIXES.sub("", PurePath(name).as_posix())
    if pattern is not None:
        return _by_pattern(name, pattern)
    *folders, last = name.split("/")
    label = Label()
    kept = []
    for part in (last, *reversed(folders)):
        channel, _ = _take((CHANNEL,), part)
        if channel is None and part is last and part.isdigit():
            channel = part
        bias, rest = _take(BIASES, part)
        temperature, rest = _take(TEMPERATURES, rest)
        light: Light | None = "off" if OFF.search(rest) else "on" if ON.search(rest) else None
        kept.append(_tidy(ON.sub("", OFF.sub("", rest))))
        label = Label(
            channel=label.channel if channel is None or label.channel is not None else int(channel),
            bias_v=label.bias_v if bias is None or label.bias_v is not None else _number(bias),
            temperature_c=label.temperature_c
            if temperature is None or label.temperature_c is not None
            else _number(temperature),
            light=label.light or light,
        )
    return Label(
        "/".join(reversed([part for part in kept if part])),
        "/".join(reversed([part for part in kept[1:] if part])),
        label.channel,
        label.bias_v,
        label.temperature_c,
        label.light,
    )


def light_of(word: str) -> Light | None:
    """Whether a word in a column of the light means on or off; numbers count from 0 = off."""
    word = word.strip().lower()
    if word in WORDS_OF_LIGHT:
        return "on" if WORDS_OF_LIGHT[word] == "on" else "off"
    if OFF.search(word):
        return "off"
    return "on" if ON.search(word) else None


def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern with names in braces as a regular expression; raises ValueError."""
    parts = re.split(r"\{([^{}]*)\}", pattern)
    text, seen = "", set()
    for index, part in enumerate(parts):
        if index % 2 == 0:
            text += ".*?".join(re.escape(piece) for piece in part.split("*"))
        elif not part:
            text += ".*?"
        elif not part.isidentifier() or part in seen:
            raise ValueError(f"{{{part}}} in the pattern {pattern!r} is no new name")
        else:
            seen.add(part)
            text += f"(?P<{part}>{_PLACES.get(part, '[^/]+?')})"
    if not seen:
        raise ValueError(f"the pattern {pattern!r} has no name in braces, such as {{channel}}")
    return re.compile(rf"(?:.*/)?{text}$", re.I)


_PLACES = {
    "channel": r"[A-Za-z]*?\d+|[^/_]+?",
    "bias_v": r"\d+(?:[.p]\d+)?",
    "temperature_c": r"(?:-|m|minus)?\d+(?:[.p]\d+)?",
    "light": r"[A-Za-z01]+?",
}


def _by_pattern(name: str, pattern: str) -> Label:
    found = compiled(pattern).match(name)
    if found is None:
        return Label(rest=name, folder=str(PurePath(name).parent))
    fields = found.groupdict()
    folder = "/".join(v for k, v in sorted(fields.items()) if k not in _PLACES)
    channel = fields.get("channel")
    return Label(
        rest="/".join(part for part in (folder, channel) if part),
        folder=folder,
        channel=int(channel) if channel is not None and channel.isdigit() else channel,
        bias_v=_read(fields, "bias_v", _number),
        temperature_c=_read(fields, "temperature_c", _number),
        light=None if "light" not in fields else light_of(fields["light"]),
    )


def _read(fields: dict[str, str], name: str, convert: Callable[[str], float]) -> float | None:
    return convert(fields[name]) if name in fields else None


def _take(patterns: tuple[re.Pattern[str], ...], text: str) -> tuple[str | None, str]:
    """The first thing that fits, and the text without it."""
    for pattern in patterns:
        found = pattern.search(text)
        if found:
            return found[1], text[: found.start()] + "_" + text[found.end() :]
    return None, text


def _number(text: str) -> float:
    text = text.lower()
    negative = text.startswith(("-", "m"))
    digits = text.lstrip("-minus").replace("p", ".")
    return -float(digits) if negative else float(digits)


def _tidy(text: str) -> str:
    return re.sub(r"[_\-. =]+", "_", text).strip("_")
