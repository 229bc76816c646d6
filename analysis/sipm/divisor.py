"""The divisor F of mean and dispersion from what resolved peaks tell."""

from math import hypot

from analysis.estimate import Estimate, unknown
from analysis.sipm.peaks import PeakFit

METHOD = "crosstalk, afterpulses and gain spread of resolved peaks"
AFTERPULSE_CHARGE, AFTERPULSE_CHARGE_SIGMA = 0.5, 0.17
AFTERPULSE_SQUARE, AFTERPULSE_SQUARE_SIGMA = 0.35, 0.18


def generalised_divisor(
    crosstalk: float, relative_spread: float, pulse_charge: float = 1.0, pulse_variance: float = 0.0
) -> float:
    """Divisor F = w / (1 - lambda)^2 + (v + (sigma_G / G)^2) / w.

    crosstalk: mean prompt secondaries lambda per avalanche. relative_spread: sigma_G / G.
    pulse_charge, pulse_variance: mean w and variance v of the charge of one pixel with its
    afterpulses inside the gate, in units of G; 1 and 0 without afterpulses. The factor
    1 / (1 - lambda)^2 is variance over mean of the generalised Poisson law (S. Vinogradov,
    arXiv:1109.2014); it is not the excess noise factor 1 / (1 - lambda).
    """
    return (
        pulse_charge / (1 - crosstalk) ** 2 + (pulse_variance + relative_spread**2) / pulse_charge
    )


def enf_divisor(fit: PeakFit) -> Estimate:
    """Divisor F of `generalised_divisor` from a fit with resolved peaks."""
    return divisor_of(fit.crosstalk, fit.gain_spread, fit.gain, fit.afterpulse, fit.reasons)


def divisor_of(
    crosstalk: Estimate,
    gain_spread: Estimate,
    gain: Estimate,
    afterpulse: Estimate | None = None,
    reasons: tuple[str, ...] = (),
) -> Estimate:
    """The divisor from crosstalk lambda, gain spread (ADC) and gain (ADC/pe) of the same bias.

    afterpulse: mean number of afterpulses per avalanche that the gate sees. Their mean charge is
    taken as 0.5 +- 0.17 G and their mean square as 0.35 +- 0.18 G^2, what recovery times of half to
    twice the delay give (J. Rolph et al., arXiv:2301.11833).
    """
    numbers = [_known(part) for part in (crosstalk, gain_spread, gain)]
    if not all(numbers):
        return unknown("1", METHOD, *(reasons or ("the peaks are not resolved",)))
    (lam, lam_sigma), (spread, spread_sigma), (g, _) = filter(None, numbers)
    if not 0 <= lam < 1 or g <= 0:
        return unknown("1", METHOD, f"crosstalk of {lam:.3g} is impossible")
    a, a_sigma = (afterpulse and _known(afterpulse)) or (0.0, 0.0)
    relative = spread / g
    charge, square = 1 + AFTERPULSE_CHARGE * a, AFTERPULSE_SQUARE * a
    value = generalised_divisor(lam, relative, charge, square)
    per_afterpulse = AFTERPULSE_CHARGE / (1 - lam) ** 2 + AFTERPULSE_SQUARE
    sigma = hypot(
        2 * charge / (1 - lam) ** 3 * lam_sigma,
        2 * relative * spread_sigma / g,
        per_afterpulse * a_sigma,
        (AFTERPULSE_CHARGE_SIGMA / (1 - lam) ** 2 + AFTERPULSE_SQUARE_SIGMA) * a,
    )
    return Estimate(value, sigma, "1", METHOD)


def _known(estimate: Estimate) -> tuple[float, float] | None:
    if estimate.value is None or estimate.sigma is None:
        return None
    return estimate.value, estimate.sigma
