import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from analysis.sipm.spectrum import Spectrum


def test_integer_charges_fall_on_bin_centers() -> None:
    spectrum = Spectrum.from_charges([3, 3, 5])
    assert spectrum.centers.tolist() == [3, 4, 5]
    assert spectrum.counts.tolist() == [2, 0, 1]


def test_mean_and_variance_are_those_of_the_charges() -> None:
    charges = np.random.default_rng(1).integers(50, 90, 1000)
    spectrum = Spectrum.from_charges(charges)
    assert spectrum.mean == pytest.approx(charges.mean())
    assert spectrum.variance == pytest.approx(charges.var(ddof=1))


@given(arrays(np.float64, st.integers(1, 200), elements=st.floats(-1e4, 1e4)))
def test_no_charge_is_lost(charges: np.ndarray) -> None:
    spectrum = Spectrum.from_charges(charges, bin_width=3.0)
    assert spectrum.n_entries == len(charges)


@given(st.integers(1, 7), arrays(np.float64, 20, elements=st.integers(0, 100).map(float)))
def test_joining_bins_keeps_entries_and_range(factor: int, counts: np.ndarray) -> None:
    spectrum = Spectrum(counts, np.arange(21.0))
    joined = spectrum.rebinned(factor)
    assert joined.n_entries == spectrum.n_entries
    assert (joined.edges[0], joined.edges[-1]) == (0.0, 20.0)


@pytest.mark.parametrize(
    ("counts", "edges"),
    [
        ([1.0, -1.0], [0, 1, 2]),
        ([1.0, np.nan], [0, 1, 2]),
        ([1.0, 1.0], [0, 1]),
        ([1.0, 1.0], [0, 1, 1]),
        ([], [0]),
    ],
)
def test_what_is_no_histogram_is_refused(counts: list[float], edges: list[float]) -> None:
    with pytest.raises(ValueError, match=r"counts|edges"):
        Spectrum(np.array(counts), np.array(edges, dtype=float))


def test_bins_that_would_print_a_comb_are_refused() -> None:
    with pytest.raises(ValueError, match="whole number of ADC steps"):
        Spectrum.from_charges([1, 2, 3], bin_width=0.3)


def test_a_spectrum_cannot_be_changed() -> None:
    spectrum = Spectrum.from_charges([1, 2, 3])
    with pytest.raises(ValueError, match="read-only"):
        spectrum.counts[0] = 7
