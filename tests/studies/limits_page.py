"""The page `docs/sipm-limits.md` with its table and pictures, written from the outcomes."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from math import isnan
from pathlib import Path

from tests.studies.limits_figures import Grades, axis_figure, map_figure, pulls_figure, save
from tests.studies.limits_grade import Grade, by_point, grade
from tests.studies.limits_map import (
    AREAS_MM2,
    OVERVOLTAGE_V,
    TEMPERATURES_C,
    Limits,
    fluence_at,
    limits,
    reach,
)
from tests.studies.limits_points import BRIGHT_PE, GATE_NS, REFERENCE_DEVICE, Axis, axes
from tests.studies.limits_run import FULL
from tests.studies.limits_trial import (
    BASELINE_ERROR_PE,
    DIVISOR_ERROR,
    JITTER_ERROR,
    METHODS,
    NOISE_ERROR,
    SCAN_LEVELS,
    Outcome,
)

PAGE = "sipm-limits.md"
GRADES = "sipm-limits.csv"
SINGLE = [name for name in METHODS if name != "chooser_all"]
SHORT = {
    "full_fit": "full fit",
    "peak_spacing": "peak spacing",
    "mean_dispersion": "mean and dispersion",
    "ratio": "ratio, F known",
    "ratio_free": "ratio, F unknown",
    "intensity_scan": "intensity scan",
    "dark_only": "dark counts alone",
    "chooser": "**extract_gain**",
    "chooser_all": "**extract_gain**, scan and dark run too",
}


def write_page(outcomes: Sequence[Outcome], docs: Path) -> None:
    """Write the page, the table of all grades and the pictures into a folder of documentation."""
    grades = by_point(outcomes)
    pictures = docs / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    found = limits(grades)
    save(map_figure(found), pictures / "sipm-limits-map.png")
    save(pulls_figure(outcomes), pictures / "sipm-limits-pulls.png")
    for axis in axes():
        save(axis_figure(axis, grades), pictures / f"sipm-limits-{axis.name}.png")
    parts = [
        _head(grades),
        _limits_table(grades),
        _map_part(found),
        _rules(outcomes),
        _ensembles(outcomes),
        *(_axis_part(axis, grades) for axis in axes()),
    ]
    (docs / PAGE).write_text("\n".join(parts))
    _write_grades(grades, docs / GRADES)


def _head(grades: Grades) -> str:
    truth = REFERENCE_DEVICE
    trials = [g.n for (axis, method, _), g in grades.items() if method == "chooser" and g.n > 1]
    levels = ", ".join(f"{level:g}" for level in SCAN_LEVELS)
    dark = {point.x: point for axis in axes() if axis.name == "dcr" for point in axis.points}
    lost = {x: 1 - dark[x].effective_gain / dark[x].gain for x in (1e9, 1e10)}
    return f"""# Where each way to the gain may be used

Written by `make study` (`tests/studies`); the numbers of every point are in
[sipm-limits.csv](sipm-limits.csv). What the methods are: [physics note](sipm-physics.md).

**How.** Simulated devices with known truth are measured by every method. The reference device has
{truth.n_pixels} pixels (4 mm² at 15 µm), 27.9 ADC/pe at 3 V overvoltage and 25 °C, gain spread
{_percent(truth.gain_spread)}, prompt crosstalk 0.06, afterpulses {_percent(truth.afterpulse)},
recovery {truth.recovery_ns:g} ns, pulses of {truth.pulse_tau_ns:g} ns in a gate of
{GATE_NS:g} ns, 1 MHz of dark counts, noise 0.1 p.e., light of 3 p.e. with
{_percent(truth.light_jitter)} jitter; one property is changed at a time.

The simulator knows more than the models: two afterpulse times, recovery of trigger probability and
of charge, finite pixels, pulses cut by the gate. What the methods are told was drawn about the
truth with the error that it claims: F to {_percent(DIVISOR_ERROR)}, light jitter to
{_percent(JITTER_ERROR)} (absolute), number of pixels exactly; the dark-only method pedestal to
{BASELINE_ERROR_PE:g} p.e. and noise to {_percent(NOISE_ERROR)}. The intensity scan has
{len(SCAN_LEVELS) + 1} levels (1, {levels} times the light) with one light-off run.

Every point was measured {min(trials)} to {max(trials)} times ({FULL.per_point} in a full run):
a coverage of one point is known to {50 / max(trials) ** 0.5:.0f} % at best, which is
why the verdicts below allow for it.

**Graded against** the gain G of the light in the gate; where pixels do not recover between
avalanches, against the *effective gain* G &lt;s²&gt;/&lt;s&gt;, s being the charge of an avalanche
relative to that of a recovered pixel (`irradiation.pixel_state`, with crosstalk among the
candidates). For the reference device it is {_percent(lost[1e9])} below G at 1 GHz and
{_percent(lost[1e10])} at 10 GHz. The gate cuts 1.3 % off the pulses of the light, which
is part of their G, but nothing off most dark counts: dark counts alone are graded against that
larger charge.

**Words.** *Error seen*: half the central 68 % interval of found/true - 1. *Pull width*: rms of
(found - true)/σ. *Coverage*: answers within 1 σ; 68 % is right. *Catastrophic*: more than 5 σ and
5 % off. A method *works* where it answers in 90 % of the cases or more, without a catastrophic
answer, and its coverage is not below 60 % by more than 2.5 standard deviations, which chance
does to about one point in a thousand.
"""


def _limits_table(grades: Grades) -> str:
    columns = axes()
    lines = [
        "## The limits",
        "",
        "Where each method works, with everything else at the reference:",
        "",
        "| method | " + " | ".join(f"{_name(axis)}" for axis in columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for method in SINGLE:
        cells = [_reach_cell(grades, axis, method) for axis in columns]
        lines.append(f"| {SHORT[method]} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def _name(axis: Axis) -> str:
    bright = f", light of {BRIGHT_PE:g} p.e." if axis.name == "dcr_bright" else ""
    return (
        f"{axis.title.replace('prompt crosstalk (secondaries per avalanche)', 'crosstalk')}{bright}"
    )


def _reach_cell(grades: Grades, axis: Axis, method: str) -> str:
    low, high = reach(grades, axis.name, method)
    wrong = [
        x for x in axis.values
        if (axis.name, method, x) in grades and grades[axis.name, method, x].verdict == "wrong"
    ]  # fmt: skip
    mark = f"; not covered at {', '.join(_number(x) for x in wrong)}" if wrong else ""
    if isnan(low):
        return "nowhere" + mark
    reached = [x for x in axis.values if (axis.name, method, x) in grades]
    if low == reached[0] and high == reached[-1]:
        return f"all, {_number(low)} to {_number(high)}" + mark
    return f"{_number(low)} to {_number(high)}" + mark


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def _number(x: float) -> str:
    if x and (x >= 1e4 or x < 1e-2):
        mantissa, exponent = f"{x:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{x:g}"


def _map_part(found: Limits) -> str:
    lines = [
        "## In fluence and temperature",
        "",
        f"Peaks tell the gain up to {_number(found.peaks)} Hz in a gate of {GATE_NS:g} ns "
        f"({found.peaks * GATE_NS * 1e-9:.2g} dark counts per gate). Beyond it mean and dispersion "
        f"of a light-on and a light-off run takes over (the ratio of their characteristic "
        f"functions is studied beside it, `extract_gain` does not use it), with a divisor F "
        f"that was measured while peaks were seen: with {BRIGHT_PE:g} p.e. of "
        f"light and 20 000 gates to 3 % up to {_number(found.pair_good)} Hz and to 10 % up to "
        f"{_number(found.pair_poor)} Hz{_if_last(found)}. The error falls with the square root of "
        f"the gates. Dark counts alone tell the gain from {_number(found.dark_alone[0])} to "
        f"{_number(found.dark_alone[1])} Hz, if pedestal and noise are known absolutely, "
        "without AC coupling, and with pulses of one exponential.",
        "",
        f"As fluence (1 MeV neq/cm²) at {OVERVOLTAGE_V:g} V overvoltage, before annealing, with "
        "the default `irradiation.Damage` (6e-5 Hz per mm², V and neq/cm² at -30 °C, doubling "
        "every 11 K). **Published damage constants lie between a third and three times the "
        "default, and so do these fluences**; a group's own constant should replace it:",
        "",
        "| SiPM | temperature, °C | full fit up to | pair to 3 % up to | pair to 10 % up to |",
        "|---|---|---|---|---|",
    ]
    for area in AREAS_MM2:
        for temperature in TEMPERATURES_C:
            cells = [
                f"{fluence_at(bound, area, temperature):.1e}"
                for bound in (found.peaks, found.pair_good, found.pair_poor)
            ]
            lines.append(f"| {area:g} mm² | {temperature:+g} | " + " | ".join(cells) + " |")
    lines += ["", "![fluence and temperature](pictures/sipm-limits-map.png)", ""]
    return "\n".join(lines)


def _if_last(found: Limits) -> str:
    return ", the highest rate that was tried" if found.pair_poor >= found.tried else ""


def _rules(outcomes: Sequence[Outcome]) -> str:
    """What the study says about the order in which the chooser believes its methods."""

    def of(method: str, *kinds: str) -> Grade:
        return grade([o for o in outcomes if o.method == method and (not kinds or o.axis in kinds)])

    def says(g: Grade) -> str:
        return (
            f"seen {100 * g.seen:.2g} %, claimed {100 * g.claimed:.2g} %, pull width "
            f"{g.pull_width:.2f}, {g.coverage:.0%} within 1 σ, {g.catastrophic} of {g.known} "
            "catastrophic"
        )

    rows = (
        ("Peaks come first", "full fit, resolved", of("full_fit", "resolved")),
        (
            "and are believed alone at high dark rates",
            "full fit, anything",
            of("full_fit", "anything"),
        ),
        ("A pair with known F takes over", "mean and dispersion, all", of("mean_dispersion")),
        ("An intensity scan measures", "intensity scan, all", of("intensity_scan")),
        (
            "Dark counts alone only check",
            "pulses of one exponential (the axes)",
            of("dark_only", *(axis.name for axis in axes())),
        ),
        ("", "any pulse shape (random devices)", of("dark_only", "resolved", "anything")),
        ("The ratio, F known", "resolved", of("ratio", "resolved")),
        ("", "anything", of("ratio", "anything")),
        ("The ratio, F unknown", "anything", of("ratio_free", "anything")),
        ("extract_gain as a whole", "pair, everything", of("chooser")),
        ("", "scan and dark run too, random devices", of("chooser_all")),
    )
    lines = [
        "## What the chooser may rest on",
        "",
        "| rule | graded on | found |",
        "|---|---|---|",
        *(f"| {rule} | {where} | {says(g)} |" for rule, where, g in rows if g.known),
        "",
    ]
    return "\n".join(lines)


def _ensembles(outcomes: Sequence[Outcome]) -> str:
    lines = [
        "## Random devices",
        "",
        "*resolved*: noise of 3 to 30 % of a p.e., 0.03 to 3 MHz, light of 0.5 to 8 p.e. "
        "*anything*: noise of 0.05 to 6 p.e., 1e-3 to 30 dark counts per gate, light of 0.3 to "
        "30 p.e. Both: 1.5 to 5 V overvoltage, 1000 to 40 000 pixels, 3000 to 20 000 gates, and "
        "everything else as wide as `simulate.random_truth` makes it.",
        "",
        "| devices | method | answers | mean deviation | error seen | error claimed | pull width "
        "| coverage | catastrophic |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for ensemble in ("resolved", "anything"):
        for method in METHODS:
            mine = [o for o in outcomes if (o.axis, o.method) == (ensemble, method)]
            if not mine:
                continue
            lines.append(
                f"| {ensemble} | {SHORT[method]} | " + " | ".join(_cells(grade(mine))) + " |"
            )
    for method in ("chooser", "chooser_all"):
        taken = Counter(o.chosen for o in outcomes if o.axis == "anything" and o.method == method)
        whole = sum(taken.values())
        share = ", ".join(f"{name} {n / whole:.0%}" for name, n in taken.most_common())
        lines += ["", f"What {SHORT[method]} took of *anything*: {share}."]
    lines += ["", "![pulls](pictures/sipm-limits-pulls.png)", ""]
    return "\n".join(lines)


def _cells(g: Grade) -> list[str]:
    if not g.known:
        return [f"0 of {g.n}", *["-"] * 6, "0"]
    return [
        f"{g.known} of {g.n}",
        f"{100 * g.bias:+.2g} ± {100 * g.bias_error:.1g} %",
        f"{100 * g.seen:.2g} %",
        f"{100 * g.claimed:.2g} %",
        f"{g.pull_width:.2f}",
        f"{g.coverage:.0%}",
        f"{g.catastrophic}",
    ]


def _axis_part(axis: Axis, grades: Grades) -> str:
    title = _name(axis)
    lines = [
        f"## {title[0].upper()}{title[1:]}",
        "",
        f"{axis.others[0].upper()}{axis.others[1:]}. Error seen in % of the gain; in brackets "
        "where it answers in 10 to 90 % of the cases, - where hardly ever, **bold** where the "
        "errors do not cover or an answer was catastrophic.",
        "",
        "| method | " + " | ".join(_number(x) for x in axis.values) + " |",
        "|---|" + "---|" * len(axis.values),
    ]
    for method in SINGLE:
        cells = [
            _seen(grades[axis.name, method, x]) if (axis.name, method, x) in grades else ""
            for x in axis.values
        ]
        lines.append(f"| {SHORT[method]} | " + " | ".join(cells) + " |")
    lines += ["", f"![{title}](pictures/sipm-limits-{axis.name}.png)", ""]
    return "\n".join(lines)


def _seen(g: Grade) -> str:
    number = f"{100 * g.seen:.2g}"
    return {"works": number, "partly": f"({number})", "refuses": "-", "wrong": f"**{number}**"}[
        g.verdict
    ]


def _write_grades(grades: Grades, path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        names = list(asdict(next(iter(grades.values()))))
        writer.writerow(["axis", "method", "x", *names, "verdict"])
        for (axis, method, x), g in sorted(grades.items()):
            if axis not in ("resolved", "anything"):
                numbers = [f"{value:.4g}" for value in asdict(g).values()]
                writer.writerow([axis, method, _number(x), *numbers, g.verdict])
