from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from analysis.estimate import Estimate, unknown
from analysis.sipm.gain import METHODS, DevicePrior, Evidence, Method, extract_gain
from analysis.sipm.readers import read_spectrum
from analysis.sipm.spectrum import Spectrum
from tests.analysis.sipm.pair_toys import Toy, spectrum
from tests.analysis.sipm.random_inputs import random_input

RESOLVED = Toy(noise=0.15, pedestal=100.0)
BLURRED = replace(RESOLVED, noise=1.5)


def pair(toy: Toy, mean_pe: float = 4.0, n_events: int = 6000, seed: int = 1) -> list[Spectrum]:
    rng = np.random.default_rng(seed)
    return [spectrum(rng, toy, level, n_events) for level in (mean_pe, 0.0)]


def prior_of(toy: Toy) -> DevicePrior:
    return DevicePrior(enf_divisor=toy.known_divisor(0.005), light_jitter=toy.known_jitter())


def near(estimate: Estimate, truth: float) -> bool:
    return estimate.value is not None and abs(estimate.value - truth) < 4 * (estimate.sigma or 0)


def test_resolved_peaks_give_the_gain_and_the_pair_agrees() -> None:
    on, off = pair(RESOLVED)
    answer = extract_gain(on, off)
    assert answer.verdict == "pass", answer.reasons
    assert near(answer.gain, RESOLVED.gain)
    assert answer.gain == answer.candidates["full_fit"]
    assert abs(answer.agreement["mean_dispersion"]) < 4
    assert answer.model is not None
    assert answer.model.sum() == pytest.approx(on.n_entries, rel=0.02)


def test_resolved_peaks_give_the_divisor_for_later() -> None:
    answer = extract_gain(*pair(RESOLVED, n_events=20_000))
    assert near(answer.quantities["enf_divisor"], RESOLVED.divisor)
    for name in ("pedestal", "noise", "gain_spread", "light_yield", "crosstalk"):
        assert answer.quantities[name].known


def test_without_peaks_mean_and_dispersion_takes_over_with_the_divisor_of_the_device() -> None:
    answer = extract_gain(*pair(BLURRED), prior=prior_of(BLURRED))
    assert answer.verdict == "pass", answer.reasons
    assert answer.gain.method == "mean and dispersion"
    assert near(answer.gain, BLURRED.gain)
    assert answer.model is None


def test_the_divisor_may_come_from_crosstalk_and_gain_spread() -> None:
    prior = DevicePrior(
        gain=Estimate(20.0, 0.05, "ADC/pe", "earlier"),
        crosstalk=Estimate(BLURRED.crosstalk, 0.005, "1", "earlier"),
        gain_spread=Estimate(20.0 * BLURRED.spread, 0.05, "ADC", "earlier"),
    )
    answer = extract_gain(*pair(BLURRED), prior=prior)
    assert answer.gain.method == "mean and dispersion"
    assert near(answer.gain, BLURRED.gain)


def test_a_divisor_from_crosstalk_without_afterpulses_has_their_error() -> None:
    known = {
        "gain": Estimate(20.0, 0.05, "ADC/pe", "earlier"),
        "crosstalk": Estimate(BLURRED.crosstalk, 0.002, "1", "earlier"),
        "gain_spread": Estimate(20.0 * BLURRED.spread, 0.05, "ADC", "earlier"),
    }
    runs = pair(BLURRED, n_events=50_000)
    measured = DevicePrior(**known, afterpulse=Estimate(0.0, 0.002, "1", "earlier"))
    without = extract_gain(*runs, prior=DevicePrior(**known)).gain
    with_them = extract_gain(*runs, prior=measured).gain
    assert with_them.sigma is not None
    assert without.sigma is not None
    assert without.sigma > 1.5 * with_them.sigma
    assert near(without, BLURRED.gain)
    assert near(with_them, BLURRED.gain)


def test_a_light_off_run_with_the_same_light_flags_the_gain() -> None:
    on, _ = pair(RESOLVED)
    again, _ = pair(RESOLVED, seed=7)
    for off in (on, again):
        answer = extract_gain(on, off)
        assert answer.verdict == "flag"
        assert any("no light" in reason for reason in answer.reasons)


def test_without_peaks_and_divisor_the_gain_is_unknown_with_every_reason() -> None:
    answer = extract_gain(*pair(BLURRED))
    assert answer.verdict == "unknown"
    assert any(reason.startswith("full_fit") for reason in answer.reasons)
    assert any("divisor F" in reason for reason in answer.reasons)
    assert extract_gain(pair(BLURRED)[0]).verdict == "unknown"


def test_the_divisor_of_one_run_gives_the_gain_of_the_next_without_peaks() -> None:
    first = extract_gain(*pair(RESOLVED, n_events=20_000))
    prior = DevicePrior(enf_divisor=first.quantities["enf_divisor"], gain=first.gain)
    answer = extract_gain(*pair(BLURRED, seed=2), prior=prior)
    assert answer.verdict == "pass", answer.reasons
    assert near(answer.gain, BLURRED.gain)


def test_an_intensity_scan_is_used_and_its_jitter_corrects_the_pair() -> None:
    toy = replace(BLURRED, jitter=0.04)
    rng = np.random.default_rng(3)
    on, off = pair(toy, mean_pe=40.0)
    scan = [(spectrum(rng, toy, level, 6000), off) for level in (2.0, 5.0, 10.0, 20.0, 40.0, 80.0)]
    answer = extract_gain(
        on, off, light_scan=scan, prior=DevicePrior(enf_divisor=toy.known_divisor(0.005))
    )
    assert answer.verdict == "pass", answer.reasons
    assert near(answer.candidates["intensity_scan"], toy.gain)
    assert near(answer.candidates["mean_dispersion"], toy.gain)
    assert near(answer.quantities["light_jitter"], 0.04)


def test_a_gain_that_differs_from_the_earlier_one_is_flagged() -> None:
    on, off = pair(RESOLVED)
    earlier = DevicePrior(gain=Estimate(RESOLVED.gain * 1.1, 0.05, "ADC/pe", "earlier"))
    answer = extract_gain(on, off, prior=earlier)
    assert answer.verdict == "flag"
    assert near(answer.gain, RESOLVED.gain)
    assert answer.reasons[0].startswith("the gain was 22")


def test_a_divisor_that_differs_from_the_earlier_one_is_flagged() -> None:
    on, off = pair(RESOLVED, n_events=20_000)
    answer = extract_gain(on, off, prior=DevicePrior(enf_divisor=Estimate(1.6, 0.02, "1", "x")))
    assert answer.verdict == "flag"
    assert any("divisor F was 1.6" in reason for reason in answer.reasons)


def test_a_light_off_run_that_does_not_belong_flags_a_resolved_gain() -> None:
    on, off = pair(RESOLVED)
    moved = Spectrum(off.counts, off.edges + 15)
    for wrong in (moved, spectrum(np.random.default_rng(4), RESOLVED, 9.0, 6000)):
        answer = extract_gain(on, wrong)
        assert answer.verdict == "flag"
        assert near(answer.gain, RESOLVED.gain)
        assert any("baselines differ" in reason for reason in answer.reasons)


def constant(name: str, value: float, sigma: float) -> Method:
    return Method(name, lambda evidence: Estimate(value, sigma, "ADC/pe", name))


def test_a_method_that_contradicts_flags_or_refuses() -> None:
    on, off = pair(BLURRED)
    prior = prior_of(BLURRED)
    value = extract_gain(on, off, prior=prior).gain.value or 0
    sigma = 0.01 * value
    cases = {
        "pass": constant("learned", value + 2 * sigma, sigma),
        "flag": constant("learned", 0.953 * value, 0.002 * value),
        "unknown": constant("learned", 2 * value, sigma),
    }
    others = [replace_sigma(method, sigma) for method in METHODS]
    for verdict, method in cases.items():
        answer = extract_gain(on, off, prior=prior, methods=[*others, method])
        assert answer.verdict == verdict, (verdict, answer.reasons)
        assert answer.agreement


def replace_sigma(method: Method, sigma: float) -> Method:
    def estimate(evidence: Evidence) -> Estimate | None:
        found = method.estimate(evidence)
        if found is None or found.value is None:
            return found
        return replace(found, sigma=sigma)

    return replace(method, estimate=estimate)


def test_another_method_is_one_more_candidate() -> None:
    on, off = pair(BLURRED)
    refusing = Method("learned", lambda evidence: unknown("ADC/pe", "learned", "out of range"))
    answer = extract_gain(on, off, prior=prior_of(BLURRED), methods=[*METHODS, refusing])
    assert not answer.candidates["learned"].known
    assert answer.gain.method == "mean and dispersion"
    sharper = constant("learned", 20.0, 0.001)
    answer = extract_gain(on, off, prior=prior_of(BLURRED), methods=[*METHODS, sharper])
    assert answer.gain.method == "learned"


def test_dark_counts_alone_are_one_candidate() -> None:
    toy = Toy(noise=0.8, dark=12.0)
    on, off = pair(toy, n_events=10_000)
    prior = replace(
        prior_of(toy),
        pedestal=Estimate(toy.pedestal, 0.01, "ADC", "below breakdown"),
        noise=Estimate(toy.noise * toy.gain, 0.01, "ADC", "below breakdown"),
    )
    answer = extract_gain(on, off, prior=prior, gate_ns=60.0, pulse_tau_ns=9.0)
    assert near(answer.candidates["dark_only"], toy.gain)
    assert "dark" not in answer.gain.method
    with pytest.raises(ValueError, match="positive"):
        extract_gain(on, off, prior=prior, gate_ns=0.0, pulse_tau_ns=9.0)
    with pytest.raises(ValueError, match="positive"):
        extract_gain(on, gate_ns=-5.0, pulse_tau_ns=9.0)
    with pytest.raises(ValueError, match="together"):
        extract_gain(on, off, prior=prior, gate_ns=60.0)


def wrong_answers(n_inputs: int, seed: int, most_events: float) -> tuple[list[str], Counter[str]]:
    """Answers more than 5 sigma and 5 % off, or to inputs that have no gain; and all verdicts."""
    rng = np.random.default_rng(seed)
    wrong, verdicts = [], Counter[str]()
    for i in range(n_inputs):
        given = random_input(rng, most_events)
        if isinstance(given, str):
            verdicts["not a spectrum"] += 1
            continue
        answer = extract_gain(given.on, given.off, prior=given.prior)
        verdicts[answer.verdict] += 1
        assert answer.gain.known == (answer.verdict != "unknown")
        assert answer.gain.known or answer.reasons
        if answer.gain.value is None or answer.gain.sigma is None:
            continue
        found = f"{i} {given.kind}: {answer.gain.value:.4g} +- {answer.gain.sigma:.2g}"
        if given.gain is None:
            wrong.append(found)
            continue
        apart = abs(answer.gain.value - given.gain)
        if apart > 5 * answer.gain.sigma and apart > 0.05 * given.gain:
            wrong.append(f"{found}, true {given.gain:.4g}")
    return wrong, verdicts


def test_random_inputs_never_give_a_wrong_gain() -> None:
    wrong, verdicts = wrong_answers(300, seed=5, most_events=4000)
    assert not wrong
    assert verdicts["pass"] > 60


@pytest.mark.study
def test_ten_thousand_random_inputs_never_give_a_wrong_gain() -> None:
    wrong, verdicts = wrong_answers(10_000, seed=6, most_events=30_000)
    print(dict(verdicts), *wrong, sep="\n")
    assert not wrong


CURRENTS = {"dark": 28.64, "12.5muA": 28.64, "50muA": 28.07, "75muA": 27.06}


@pytest.mark.parametrize("current", CURRENTS)
def test_amplitude_spectra_whose_peaks_are_blurred_away_become_unknown(
    current: str, shared_data: object
) -> None:
    folder = shared_data / "spectra" / "ketek3350_led_scan"  # type: ignore[operator]
    if not folder.is_dir():
        pytest.skip(f"no LED scan at {folder}")
    source = read_spectrum(folder / f"M11_LED_{current}.csv")
    rng = np.random.default_rng(7)
    truth = CURRENTS[current]
    for noise_pe in (0.1, 0.2, 0.25, 0.3, 0.4, 0.6, 1.0, 2.0):
        sigma = noise_pe * truth
        reach = int(6 * sigma) + 2
        kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
        blurred = np.convolve(source.counts, kernel / kernel.sum())
        edges = np.arange(len(blurred) + 1) + source.edges[0] - reach
        counts = rng.multinomial(200_000, blurred / blurred.sum())
        gain = extract_gain(Spectrum(counts.astype(float), edges)).gain
        if gain.value is None:
            continue
        assert noise_pe < 0.35
        assert abs(gain.value - truth) < max(4 * (gain.sigma or 0), 0.01 * truth)
