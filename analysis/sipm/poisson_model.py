"""Charge spectrum of a SiPM under pulsed light: generalised Poisson times Gaussians.

Peak k has the weight P(k) = mu (mu + k lambda)^(k-1) exp(-mu - k lambda) / k! (S. Vinogradov,
arXiv:1109.2014), the position pedestal + k G and the variance s0^2 + k sigma_G^2. Afterpulses and
dark counts of which the gate sees only a part fill the valleys: the share
1 - (1 - d)(1 - a)^k of peak k is spread evenly between peak k and peak k + 1.
Everything is integrated over the bins, so bin width and ADC rounding enter exactly.

With H(z) = z Phi(z) + phi(z), an even spread over a valley with Gaussian ends is
[sigma_k H(z_k) - sigma_(k+1) H(z_(k+1))] / G as a cumulative distribution; the valleys therefore
add up to one ramp sigma_k H(z_k) per peak, with the difference of neighbouring shares as its
coefficient. Away from its peak a ramp is a straight line, so only bins within 7 sigma of a peak
need the error function.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, ndtr

NAMES = ("pedestal", "gain", "noise", "pe_variance", "mu", "crosstalk", "dark_fill", "pulse_fill")
REACH = 7.0
STRAY = 1e-4
ROOT_TWO_PI = float(np.sqrt(2 * np.pi))

Array = NDArray[np.float64]


def peak_weights(k: Array, mu: float | Array, crosstalk: float | Array) -> Array:
    """Generalised Poisson probabilities of k fired pixels; k, mu and crosstalk broadcast."""
    rate = mu + k * crosstalk
    return np.asarray(
        np.exp(np.log(mu) + (k - 1) * np.log(rate) - rate - gammaln(k + 1)), dtype=np.float64
    )


def bin_probabilities(edges: Array, values: Array, n_peaks: int) -> Array:
    """Probability of every bin, (n,), for edges (n + 1,) in ADC and values in the order of NAMES.

    Peaks 0 to n_peaks - 1 are summed. A share of 1e-4 of the events is spread over all bins, so
    that single stray events far from any peak do not steer a fit.
    """
    return _assemble(_shapes(edges, values, n_peaks), edges)


def negative_log_likelihood(counts: Array, edges: Array, values: Array, n_peaks: int) -> float:
    """Minus the log likelihood of a histogram.

    The expected number of events is profiled: its best value is the number of entries, so the
    extended likelihood becomes sum(counts) ln(sum p) - sum(counts ln p).
    """
    probability = bin_probabilities(edges, values, n_peaks)
    return float(counts.sum() * np.log(probability.sum()) - counts @ np.log(probability))


def likelihood_gradient(counts: Array, edges: Array, values: Array, n_peaks: int) -> Array:
    """Derivatives of `negative_log_likelihood` by the parameters, (8,)."""
    shapes = _shapes(edges, values, n_peaks)
    probability = _assemble(shapes, edges)
    pull = (counts.sum() / probability.sum() - counts / probability) * (1 - STRAY)
    return _contract(shapes, edges, values, pull)


@dataclass(frozen=True)
class _Shapes:
    """Per peak (K,) and per bin of its window (K, M): bin integrals and their derivatives."""

    k: Array
    center: Array
    sigma: Array
    index: NDArray[np.int64]
    peak: Array
    phi_step: Array
    z_phi_step: Array
    ramp: Array
    weight: Array
    kept: Array
    valley: Array


def _shapes(edges: Array, values: Array, n_peaks: int) -> _Shapes:
    pedestal, gain, noise, pe_variance, mu, crosstalk, dark_fill, pulse_fill = values
    n = len(edges) - 1
    k = np.arange(n_peaks, dtype=np.float64)
    center = pedestal + k * gain
    sigma = np.sqrt(noise**2 + k * pe_variance)
    low = np.searchsorted(edges, center - REACH * sigma)
    high = np.searchsorted(edges, center + REACH * sigma)
    index = np.maximum(low[:, None] - 1, 0) + np.arange(int((high - low).max()) + 2)
    at = edges[np.minimum(index, n)]
    index = np.minimum(index[:, :-1], n - 1)
    z = (at - center[:, None]) / sigma[:, None]
    below = ndtr(z)
    phi = np.exp(-0.5 * z * z) / ROOT_TWO_PI
    z_phi = z * phi
    bent = sigma[:, None] * (z * below + phi - np.maximum(z, 0.0))
    kept = (1 - dark_fill) * (1 - pulse_fill) ** k
    weight = peak_weights(k, mu, crosstalk)
    return _Shapes(
        k,
        center,
        sigma,
        index,
        below[:, 1:] - below[:, :-1],
        phi[:, 1:] - phi[:, :-1],
        z_phi[:, 1:] - z_phi[:, :-1],
        bent[:, 1:] - bent[:, :-1],
        weight,
        kept,
        _steps(weight * (1 - kept)) / gain,
    )


def _steps(share: Array) -> Array:
    """Coefficient of every peak's ramp from the shares of the valleys, (K,)."""
    return np.diff(share, prepend=0.0)


def _assemble(shapes: _Shapes, edges: Array) -> Array:
    n = len(edges) - 1
    near = (shapes.weight * shapes.kept)[:, None] * shapes.peak
    near += shapes.valley[:, None] * shapes.ramp
    total = np.bincount(shapes.index.ravel(), weights=near.ravel(), minlength=n)
    plateau = np.cumsum(shapes.valley)[:-1] * np.diff(shapes.center)
    below = np.interp(edges, shapes.center, np.append(0.0, np.cumsum(plateau)))
    total += below[1:] - below[:-1]
    probability = (1 - STRAY) * total + STRAY / n
    return np.asarray(np.maximum(probability, 0.01 * STRAY / n), dtype=np.float64)


def _contract(shapes: _Shapes, edges: Array, values: Array, pull: Array) -> Array:
    """Sum over bins of pull times the derivatives of the bin probabilities, (8,)."""
    _, gain, noise, _, mu, crosstalk, dark_fill, pulse_fill = values
    k, sigma, weight, kept = shapes.k, shapes.sigma, shapes.weight, shapes.kept
    here = pull[shapes.index]
    peak = np.einsum("ij,ij->i", shapes.peak, here)
    phi = np.einsum("ij,ij->i", shapes.phi_step, here)
    z_phi = np.einsum("ij,ij->i", shapes.z_phi_step, here)
    area = np.append(0.0, np.cumsum(pull * np.diff(edges)))
    beyond = area[-1] - np.interp(shapes.center, edges, area)
    ramp = np.einsum("ij,ij->i", shapes.ramp, here) + beyond

    by_position = -weight * kept * phi / sigma - shapes.valley * peak
    by_sigma = -weight * kept * z_phi / sigma + shapes.valley * phi
    # Moving the share s_k from peak k to its valley gains (ramp_k - ramp_(k+1)) / G - peak_k.
    even = (ramp - np.append(ramp[1:], 0.0)) / gain
    by_weight = kept * peak + (1 - kept) * even
    by_fill = weight * (even - peak)
    rate = mu + k * crosstalk
    return np.array(
        [
            by_position.sum(),
            k @ by_position - shapes.valley @ ramp / gain,
            noise * (by_sigma / sigma).sum(),
            0.5 * (k / sigma) @ by_sigma,
            by_weight @ (weight * (1 / mu + (k - 1) / rate - 1)),
            by_weight @ (weight * (k * (k - 1) / rate - k)),
            by_fill @ ((1 - pulse_fill) ** k),
            by_fill @ ((1 - dark_fill) * k * (1 - pulse_fill) ** np.maximum(k - 1, 0.0)),
        ]
    )
