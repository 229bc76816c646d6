"""Speed of the SiPM fits, as the operator feels it: one channel, and a spectrum of millions."""

from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from analysis.sipm.dispersion import mean_dispersion
from analysis.sipm.iv import breakdown_from_iv
from analysis.sipm.peaks import fit_peaks
from analysis.sipm.readers import read_spectrum
from analysis.sipm.simulate import SiPMTruth, current_a, photon_detection, simulate_charges
from analysis.sipm.spectrum import Spectrum

TRUTH = SiPMTruth()
BIAS_V = 40.778


def charges(mean_pe: float, n_events: int) -> np.ndarray:
    return np.rint(
        simulate_charges(
            np.random.default_rng(1),
            TRUTH,
            bias_v=BIAS_V,
            temperature_c=25.0,
            mean_photons=mean_pe / photon_detection(TRUTH, BIAS_V, 25.0),
            n_events=n_events,
            pedestal_adc=80.0,
            noise_adc=3.0,
        )
    )


@pytest.mark.parametrize("mean_pe", [0.3, 2.0, 5.0, 10.0])
def test_fit_of_one_channel_of_2500_events(benchmark: BenchmarkFixture, mean_pe: float) -> None:
    spectrum = Spectrum.from_charges(charges(mean_pe, 2500))
    assert benchmark(fit_peaks, spectrum).gain.known


def test_simulation_of_one_channel_of_2500_events(benchmark: BenchmarkFixture) -> None:
    assert len(benchmark(charges, 2.0, 2500)) == 2500


def test_fit_of_an_amplitude_spectrum(benchmark: BenchmarkFixture, shared_data: Path) -> None:
    folder = shared_data / "spectra" / "ketek3350_led_scan"
    spectrum = read_spectrum(folder / "M11_LED_dark.csv")
    assert benchmark(fit_peaks, spectrum).gain.known


def test_reading_of_a_list_of_100_000_charges(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    path = tmp_path / "charges.txt"
    np.savetxt(path, charges(2.0, 100_000), fmt="%d")
    assert benchmark(read_spectrum, path).n_entries == 100_000


def test_mean_and_dispersion(benchmark: BenchmarkFixture) -> None:
    on, off = (Spectrum.from_charges(charges(pe, 2500)) for pe in (5.0, 0.0))
    benchmark(mean_dispersion, on, off, None)


def test_breakdown_from_a_curve_of_90_points(benchmark: BenchmarkFixture) -> None:
    voltage = np.arange(33.0, 42.0, 0.1)
    current = current_a(TRUTH, voltage, 25.0)
    assert benchmark(breakdown_from_iv, voltage, current).known
