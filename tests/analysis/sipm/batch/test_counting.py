"""Histograms from a stream of events."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.sipm.batch import counting
from analysis.sipm.batch.counting import Counting
from analysis.sipm.batch.parts import Counted, Refused, spectrum_of
from analysis.sipm.spectrum import Spectrum


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 3), st.integers(-50, 4000)), min_size=1, max_size=60),
        min_size=1,
        max_size=6,
    )
)
def test_pieces_of_a_stream_add_up_to_the_histograms_of_the_whole(
    pieces: list[list[tuple[int, int]]],
) -> None:
    stream = Counting()
    for piece in pieces:
        numbers = np.array([stream.number(key) for key, _ in piece])
        stream.add(numbers, np.array([charge for _, charge in piece], dtype=float))
    together = [pair for piece in pieces for pair in piece]
    for key, data in stream.take_all():
        whole = Spectrum.from_charges([charge for k, charge in together if k == key])
        found = spectrum_of(data)
        np.testing.assert_array_equal(found.counts, whole.counts)
        np.testing.assert_array_equal(found.edges, whole.edges)
    assert {key for key, _ in stream.take_all()} == {key for key, _ in together}


def test_memory_stays_with_the_bins_not_with_the_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "PAIRS_BEFORE_MERGE", 500)
    stream = Counting()
    number = stream.number("ch1")
    rng = np.random.default_rng(1)
    for _ in range(50):
        stream.add(number, rng.integers(0, 100, 1000).astype(float))
        assert sum(len(codes) for codes, _ in stream._new) <= 600
    ((_, data),) = stream.take_all()
    assert isinstance(data, Counted)
    assert data.counts.sum() == 50_000


def test_charges_that_are_no_numbers_refuse_their_channel_alone() -> None:
    stream = Counting()
    numbers = np.array([stream.number("good"), stream.number("bad"), stream.number("bad")])
    stream.add(numbers, np.array([1.0, 2.0, np.nan]))
    found = dict(stream.take_all())
    assert isinstance(found["good"], Counted)
    assert isinstance(found["bad"], Refused)
    assert found["bad"].reason == "1 of 2 charges are not finite numbers in range"


def test_fractions_are_binned_like_those_of_a_list() -> None:
    charges = np.random.default_rng(2).normal(5, 2, 500)
    stream = Counting(bin_width=0.25)
    stream.add(stream.number(None), charges)
    ((_, data),) = stream.take_all()
    whole = Spectrum.from_charges(charges, bin_width=0.25)
    np.testing.assert_array_equal(spectrum_of(data).counts, whole.counts)
    np.testing.assert_allclose(spectrum_of(data).edges, whole.edges)


def test_whole_charges_refuse_bins_that_would_print_a_comb() -> None:
    with pytest.raises(ValueError, match="whole number of ADC steps"):
        Counting(bin_width=1.5).add(0, np.array([1.0, 2.0]))


def test_a_far_outlier_does_not_fill_the_memory() -> None:
    stream = Counting()
    stream.add(stream.number(None), np.array([1.0, 2.0, 1e9]))
    ((_, data),) = stream.take_all()
    with pytest.raises(ValueError, match="too many"):
        spectrum_of(data)
