import numpy as np
import pytest
from scipy.integrate import quad

from analysis.sipm.occupancy import idle_share, pixel_state


def test_an_idle_pixel_is_always_ready() -> None:
    state = pixel_state(0.0, 1.0)
    assert (state.trigger, state.charge, state.size, state.size_squared) == (1, 1, 1, 1)
    assert idle_share(0.0, 15.0) == 1


def test_a_pixel_that_fires_at_a_constant_rate_has_regained_what_the_formula_says() -> None:
    rng = np.random.default_rng(1)
    since = rng.exponential(1 / 2e7, 400_000)
    regained = 1 - np.exp(-since / 15e-9)
    assert idle_share(2e7, 15.0) == pytest.approx(regained.mean(), abs=4 * 0.3 / 400_000**0.5)


@pytest.mark.parametrize(("rate", "steepness"), [(0.3, 1.0), (3.0, 0.2), (30.0, 4.0)])
def test_the_state_is_that_of_the_renewal_process(rate: float, steepness: float) -> None:
    def size(t: float) -> float:
        return 1 - np.exp(-t)

    def trigger(t: float) -> float:
        return np.expm1(-steepness * size(t)) / np.expm1(-steepness)

    def alive(t: float) -> float:
        return np.exp(-rate * quad(trigger, 0, t)[0])

    norm = quad(alive, 0, 80, limit=200)[0]
    state = pixel_state(rate, steepness)
    assert state.trigger == pytest.approx(1 / (rate * norm), rel=1e-5)
    charge = quad(lambda t: alive(t) * trigger(t) * size(t), 0, 80, limit=200)[0] / norm
    assert state.charge == pytest.approx(charge, rel=1e-5)
    assert state.size == pytest.approx(state.charge / state.trigger)


def test_busier_pixels_answer_less() -> None:
    states = [pixel_state(rate, 1.0) for rate in (0.0, 0.1, 1.0, 10.0, 1e3)]
    assert np.all(np.diff([s.charge for s in states]) < 0)
    assert all(s.size_squared >= s.size**2 for s in states)


@pytest.mark.parametrize("wrong", [(-1.0, 1.0), (1.0, 0.0), (np.nan, 1.0)])
def test_impossible_pixels_are_refused(wrong: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="positive"):
        pixel_state(*wrong)
