"""Speed of the SiPM fits, as the operator feels it: one channel, and a spectrum of millions."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from analysis.estimate import Estimate
from analysis.sipm.batch import run_batch
from analysis.sipm.dispersion import mean_dispersion, mean_dispersion_many
from analysis.sipm.gain import extract_gain
from analysis.sipm.iv import breakdown_from_iv
from analysis.sipm.peaks import fit_peaks
from analysis.sipm.readers import read_spectrum
from analysis.sipm.simulate import SiPMTruth, current_a, photon_detection, simulate_charges
from analysis.sipm.spectrum import Spectrum

TRUTH = SiPMTruth()
BIAS_V = 40.778


def charges(mean_pe: float, n_events: int, bias_v: float = BIAS_V, seed: int = 1) -> np.ndarray:
    return np.rint(
        simulate_charges(
            np.random.default_rng(seed),
            TRUTH,
            bias_v=bias_v,
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


def test_gain_of_one_channel_with_its_light_off_run(benchmark: BenchmarkFixture) -> None:
    on, off = (Spectrum.from_charges(charges(pe, 2500)) for pe in (2.0, 0.0))
    assert benchmark(extract_gain, on, off).gain.known


def test_mean_and_dispersion(benchmark: BenchmarkFixture) -> None:
    on, off = (Spectrum.from_charges(charges(pe, 2500)) for pe in (5.0, 0.0))
    divisor = Estimate(1.13, 0.01, "1", "given")
    assert benchmark(mean_dispersion, on, off, divisor).known


def test_mean_and_dispersion_of_100_000_channels(benchmark: BenchmarkFixture) -> None:
    edges = np.arange(0, 601) - 0.5
    rng = np.random.default_rng(2)
    shapes = [np.histogram(charges(pe, 50_000), edges)[0] / 50_000 for pe in (5.0, 0.0)]
    on, off = (rng.poisson(2500 * shape, (100_000, len(shape))) for shape in shapes)
    on, off = on.astype(np.uint16), off.astype(np.uint16)
    found = benchmark.pedantic(
        mean_dispersion_many, (on, off, edges, 1.13, 0.01), rounds=3, warmup_rounds=1
    )
    assert np.isfinite(found.gain).mean() > 0.99


@pytest.mark.parametrize("workers", [0, 2])
def test_batch_of_20_channels_at_7_biases(
    benchmark: BenchmarkFixture, tmp_path: Path, workers: int
) -> None:
    rows = [
        {"channel": channel, "bias_v": bias_v, "charges": charges(2.0, 2500, bias_v, channel)}
        for channel in range(20)
        for bias_v in 39.6 + 0.4 * np.arange(7)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "scan.parquet")
    folders = iter(range(100))

    def batch() -> int:
        folder = tmp_path / f"out{next(folders)}"
        found = run_batch([tmp_path / "scan.parquet"], folder, workers=workers)
        return int(found.spectra["value"].notna().sum())

    assert benchmark.pedantic(batch, rounds=1, warmup_rounds=0) > 130


def test_breakdown_from_a_curve_of_90_points(benchmark: BenchmarkFixture) -> None:
    voltage = np.arange(33.0, 42.0, 0.1)
    current = current_a(TRUTH, voltage, 25.0)
    assert benchmark(breakdown_from_iv, voltage, current).known
