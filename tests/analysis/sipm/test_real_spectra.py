from pathlib import Path

import pytest

from analysis.sipm.peaks import fit_peaks
from analysis.sipm.readers import read_spectrum

SPACING = {
    "dark": (28.55, 28.73),
    "5nA": (28.55, 28.73),
    "10nA": (28.55, 28.73),
    "100nA": (28.55, 28.73),
    "1muA": (28.55, 28.73),
    "10muA": (28.55, 28.73),
    "12.5muA": (28.55, 28.73),
    "25muA": (28.47, 28.47),
    "37.5muA": (28.26, 28.26),
    "50muA": (28.07, 28.07),
}
OVERLAPPING = {"62.5muA": 27.29, "75muA": 27.06}


@pytest.fixture(scope="module")
def led_scan(shared_data: Path) -> Path:
    folder = shared_data / "spectra" / "ketek3350_led_scan"
    if not folder.is_dir():
        pytest.skip(f"no LED scan at {folder}")
    return folder


@pytest.mark.parametrize("current", SPACING)
def test_resolved_amplitude_spectra_give_the_spacing_of_their_peaks(
    led_scan: Path, current: str
) -> None:
    fit = fit_peaks(read_spectrum(led_scan / f"M11_LED_{current}.csv"))
    low, high = SPACING[current]
    assert fit.gain.value is not None, fit.reasons
    assert 0.995 * low < fit.gain.value < 1.005 * high
    assert 0.001 < (fit.gain.sigma or 0) / fit.gain.value < 0.01


@pytest.mark.parametrize("current", OVERLAPPING)
def test_overlapping_peaks_give_a_larger_error_and_say_so(led_scan: Path, current: str) -> None:
    fit = fit_peaks(read_spectrum(led_scan / f"M11_LED_{current}.csv"))
    if fit.gain.value is None:
        assert fit.gain.reasons
        return
    assert abs(fit.gain.value - OVERLAPPING[current]) < 2 * (fit.gain.sigma or 0)
    assert (fit.gain.sigma or 0) > 0.01 * fit.gain.value
    assert any("overlap" in reason for reason in fit.reasons)


@pytest.mark.parametrize("current", [*SPACING, *OVERLAPPING])
def test_amplitude_spectra_are_named_and_claim_no_pedestal(led_scan: Path, current: str) -> None:
    fit = fit_peaks(read_spectrum(led_scan / f"M11_LED_{current}.csv"))
    assert fit.kind == "amplitude"
    assert not fit.pedestal.known
    assert not fit.light_yield.known
    assert any("no pedestal" in reason for reason in fit.pedestal.reasons)
