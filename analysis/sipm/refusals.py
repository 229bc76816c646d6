"""Why mean and dispersion refuses, in words with numbers."""

from math import hypot, inf

from analysis.estimate import Estimate
from analysis.sipm.assumptions import LEAST_DIVISOR, Broken, Evaluation
from analysis.sipm.moments import Flaw, Pair

NOTHING = Broken(0)


def pair_sentences(
    found: Evaluation,
    pair: Pair,
    *,
    divisor: Estimate | None = None,
    skip: Broken = NOTHING,
) -> tuple[str, ...]:
    """What the bits mean, with the numbers."""
    bits = Broken(int(found.broken[0])) & ~skip
    if not bits:
        return ()
    shift, shift_sigma = float(found.shift[0]), float(found.shift_sigma[0])
    reasons = [
        *flaw_sentences(Flaw(int(pair.on.flaws[0])), "light-on", float(pair.on.entries[0])),
        *flaw_sentences(Flaw(int(pair.off.flaws[0])), "light-off", float(pair.off.entries[0])),
    ]
    why_no_divisor = "; ".join(divisor.reasons) if divisor is not None else ""
    value = divisor.value if divisor is not None and divisor.value is not None else 0.0
    texts = {
        Broken.SWAPPED: (
            f"baselines differ by {shift:.3g} ADC and the variance falls: light on and off swapped?"
        ),
        Broken.DARKER: f"baselines differ: light lowers the mean by {-shift:.3g} ADC",
        Broken.NO_LIGHT: f"no light: the mean moves by {shift:.3g} +- {shift_sigma:.2g} ADC",
        Broken.NO_GROWTH: (
            "the variance does not rise with the mean: moving baseline, or light not seen"
        ),
        Broken.NO_DIVISOR: f"the divisor F is unknown: {why_no_divisor}",
        Broken.IMPOSSIBLE_DIVISOR: (
            f"the divisor F cannot be {value:.3g}, "
            + ("below 1" if value < LEAST_DIVISOR else "so far above 1")
        ),
        Broken.BEGINS_LOWER: (
            f"baselines differ: light on begins {found.step[0]:.3g} ADC below light off"
        ),
        Broken.BEGINS_HIGHER: (
            "baselines differ: light on has fewer low charges than pulses without light alone give"
        ),
        Broken.SHAPE: (
            f"the third moment grew {found.shape[0]:.3g} +- {found.shape_sigma[0]:.2g} times what "
            f"single avalanches give, {found.expected_shape[0]:.3g} expected: pedestal, noise or "
            "dark counts differ between the runs, or the ADC saturates"
        ),
        Broken.TAILS: "the tails of the light-on run are not those that light gives",
        Broken.TOO_BRIGHT: (
            f"too much light ({shift / found.raw_gain[0]:.3g} p.e.) for a light jitter and a "
            "saturation that nobody measured"
        ),
        Broken.TOO_UNCERTAIN: (
            f"the gain is uncertain by {_relative_error(found):.0%}: too few events or little light"
        ),
    }
    reasons += [text for bit, text in texts.items() if bit & bits]
    return tuple(reasons)


def _relative_error(found: Evaluation) -> float:
    """Relative error that the budget adds up to."""
    error, gain = hypot(*(float(part[0]) for part in found.budget.values())), found.raw_gain[0]
    return error / float(gain) if gain else inf


def flaw_sentences(flaws: Flaw, name: str, entries: float) -> list[str]:
    """What is wrong with one run, in words."""
    texts = {
        Flaw.NOT_FINITE: f"the {name} counts are not all finite",
        Flaw.NEGATIVE: f"the {name} counts are partly negative",
        Flaw.FEW_ENTRIES: f"{entries:.0f} entries in the {name} spectrum are too few",
        Flaw.NOT_WHOLE: f"the {name} counts are not whole numbers",
        Flaw.PILED_LOW: f"entries pile up in the first bin of the {name} spectrum: out of range",
        Flaw.PILED_HIGH: f"entries pile up in the last bin of the {name} spectrum: out of range",
        Flaw.CUT_LOW: f"the {name} spectrum is cut off at its low end",
        Flaw.CUT_HIGH: f"the {name} spectrum is cut off at its high end",
        Flaw.SPIKE: f"one bin of the {name} spectrum stands out alone: stuck code",
        Flaw.ONE_BIN: f"all {name} entries lie in one bin",
    }
    return [text for flaw, text in texts.items() if flaw & flaws]
