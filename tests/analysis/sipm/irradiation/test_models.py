from dataclasses import replace

import numpy as np
import pytest

from analysis.estimate import Estimate, unknown
from analysis.sipm.irradiation import (
    STANDARD,
    AnnealingTerm,
    Damage,
    Stay,
    annealing_factor,
    arrhenius_factor,
    breakdown_shift,
    bulk_current_factor,
    damage_rate,
    dark_current,
    dark_rate_of_current,
    doubling_factor,
    doubling_of_energy,
    gain_factor,
    induced_dark_rate,
    irradiated,
    pde_factor,
    remaining,
)
from analysis.sipm.simulate import SiPMTruth, dark_rate_hz, gain, photon_detection, vbd


def known(value: float, sigma: float, unit: str = "1") -> Estimate:
    return Estimate(value, sigma, unit, "given")


EXACT = Damage(
    dark_rate=known(1e-4, 0.0),
    dark_doubling_k=known(10.0, 0.0),
    vbd_shift=known(1e-14, 0.0),
    pde_loss=known(1e-15, 0.0),
    gain_loss=known(0.5e-15, 0.0),
)


def test_temperature_factors_are_one_at_the_reference_and_double_where_they_should() -> None:
    assert doubling_factor([25.0, 34.0, 16.0], 25.0, 9.0) == pytest.approx([1.0, 2.0, 0.5])
    assert arrhenius_factor(25.0, 25.0, 0.6) == 1.0
    step = doubling_of_energy(0.6, 25.0)
    assert step == pytest.approx(8.85, abs=0.01)
    assert arrhenius_factor([25.05, 24.95], 25.0, 0.6) == pytest.approx(
        doubling_factor([25.05, 24.95], 25.0, step), rel=1e-4
    )
    assert bulk_current_factor(33.1, 25.0) == pytest.approx(1.967, abs=0.001)


def test_temperatures_below_the_absolute_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="absolute zero"):
        arrhenius_factor(-300.0, 25.0, 0.6)


def test_the_damage_rate_of_80_minutes_at_60_c_is_the_known_4e_17() -> None:
    rate = damage_rate(STANDARD)
    assert rate.value == pytest.approx(4.0e-17, rel=0.03)
    assert annealing_factor(STANDARD).value == 1.0


def test_the_first_term_anneals_in_ten_days_at_room_temperature() -> None:
    boltzmann, energy, prefactor = 8.617333262e-5, 1.11, 1.2e13
    hours = np.exp(energy / (boltzmann * 293.15)) / prefactor / 3600
    assert 200 < hours < 300
    early, late = damage_rate([Stay(1e-6, 20.0)]), damage_rate([Stay(1e-6 + hours, 20.0)])
    assert early.value == pytest.approx(1.23e-17 + 7.07e-17)
    log_part = 3.29e-18 * np.log(60 * (1e-6 + hours))
    assert late.value == pytest.approx(1.23e-17 / np.e + 7.07e-17 - log_part, rel=1e-6)


def test_annealing_adds_up_over_stays_and_is_faster_when_warm() -> None:
    whole, parts = [Stay(48.0, 30.0)], [Stay(20.0, 30.0), Stay(28.0, 30.0)]
    assert damage_rate(whole).value == pytest.approx(damage_rate(parts).value)  # type: ignore[arg-type]
    left = [annealing_factor([Stay(100.0, t)]).value for t in (-30.0, 0.0, 20.0, 40.0, 60.0)]
    assert np.all(np.diff(left) < 0)  # type: ignore[arg-type]
    assert left[0] == pytest.approx(2.03, abs=0.05)


def test_beyond_its_range_the_damage_rate_says_so() -> None:
    gone = damage_rate([Stay(1e5, 150.0)])
    assert gone.value == 0.0
    assert "beyond the range" in gone.reasons[0]
    with pytest.raises(ValueError, match="nothing is left"):
        annealing_factor(STANDARD, [Stay(1e5, 150.0)])


def test_the_error_of_the_damage_rate_is_that_of_its_terms() -> None:
    rate = damage_rate([Stay(1.0 / 60, 20.0)])
    assert rate.sigma == pytest.approx(0.06e-17, rel=0.01)
    late = damage_rate([Stay(1e4, 20.0)])
    assert late.sigma == pytest.approx(0.18e-18 * np.log(6e5), rel=0.01)


def test_exponential_terms_anneal_to_what_never_goes() -> None:
    terms = [AnnealingTerm(0.5, 10.0), AnnealingTerm(0.3, 100.0, energy_ev=0.0)]
    assert remaining(terms, []) == 1.0
    assert remaining(terms, [Stay(10.0, 20.0)]) == pytest.approx(
        0.2 + 0.5 * np.exp(-1) + 0.3 * np.exp(-0.1)
    )
    hot = remaining([AnnealingTerm(0.5, 10.0, 20.0, 1.0)], [Stay(1.0, 60.0)])
    faster = float(arrhenius_factor(60.0, 20.0, 1.0))
    assert hot == pytest.approx(0.5 + 0.5 * np.exp(-0.1 * faster))
    assert remaining(terms, [Stay(1e6, 60.0)]) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="parts of one damage"):
        remaining([AnnealingTerm(0.8, 1.0), AnnealingTerm(0.4, 2.0)], [])
    with pytest.raises(ValueError, match="a stay"):
        Stay(-1.0, 20.0)


def test_dark_counts_grow_with_fluence_area_voltage_and_warmth() -> None:
    setting = {"area_mm2": 2.0, "overvoltage_v": 3.0, "temperature_c": -30.0}
    rate = induced_dark_rate(EXACT, 1e13, **setting)
    assert rate.value == pytest.approx(6e9)
    assert rate.unit == "Hz"
    for change, factor in (
        ({"area_mm2": 4.0}, 2.0),
        ({"overvoltage_v": 1.5}, 0.5),
        ({"temperature_c": -20.0}, 2.0),
        ({"annealing": 0.25}, 0.25),
    ):
        changed = induced_dark_rate(EXACT, 1e13, **{**setting, **change})
        assert changed.value == pytest.approx(6e9 * factor)
    assert induced_dark_rate(EXACT, 0.0, **setting).value == 0.0


def test_the_error_of_the_dark_counts_is_the_scatter_of_its_inputs() -> None:
    rng = np.random.default_rng(1)
    damage = Damage(dark_rate=known(1e-4, 1e-5), dark_doubling_k=known(10.0, 0.3))
    setting = {"area_mm2": 2.0, "overvoltage_v": 3.0, "temperature_c": 0.0}
    rate = induced_dark_rate(damage, 1e13, **setting, annealing=known(0.5, 0.05))
    constants, doublings = rng.normal(1e-4, 1e-5, 4000), rng.normal(10, 0.3, 4000)
    tries = constants * 6e13 * 2 ** (30 / doublings) * rng.normal(0.5, 0.05, 4000)
    assert rate.sigma == pytest.approx(tries.std(), rel=0.08)


def test_current_and_dark_rate_are_each_others_inverse() -> None:
    rate, size, more = known(1e9, 5e7, "Hz"), known(2.5e5, 1e4), known(0.2, 0.02)
    current = dark_current(rate, size, more)
    assert current.value == pytest.approx(1.602176634e-19 * 1e9 * 2.5e5 * 1.2)
    assert current.sigma / current.value == pytest.approx(  # type: ignore[operator]
        np.sqrt(0.05**2 + 0.04**2 + (0.02 / 1.2) ** 2), rel=1e-6
    )
    back = dark_rate_of_current(current, 2.5e5, 0.2)
    assert back.value == pytest.approx(1e9)
    with pytest.raises(ValueError, match="positive"):
        dark_rate_of_current(1e-6, 0.0)
    with pytest.raises(ValueError, match="unknown"):
        dark_current(unknown("Hz", "gates", "too few"), 1e5)


def test_breakdown_rises_and_response_falls_with_fluence() -> None:
    assert breakdown_shift(EXACT, 2e13).value == pytest.approx(0.2)
    assert pde_factor(EXACT, 2e14).value == pytest.approx(0.8)
    assert gain_factor(EXACT, 2e14).value == pytest.approx(0.9)
    assert pde_factor(EXACT, 1e18).value == 0.0
    for model in (breakdown_shift, pde_factor, gain_factor):
        with pytest.raises(ValueError, match="negative fluence"):
            model(EXACT, -1.0)


def test_an_irradiated_device_shows_all_of_it() -> None:
    truth = SiPMTruth()
    after = irradiated(truth, 2e13, area_mm2=2.0, damage=EXACT)
    assert vbd(after, 25.0) == pytest.approx(vbd(truth, 25.0) + 0.2)
    added = induced_dark_rate(EXACT, 2e13, area_mm2=2.0, overvoltage_v=3.0, temperature_c=25.0)
    bias_v = vbd(after, 25.0) + 3.0
    assert dark_rate_hz(after, bias_v, 25.0) == pytest.approx(truth.dcr_hz + added.value)  # type: ignore[operator]
    assert gain(after, bias_v, 25.0) == pytest.approx(0.99 * 3.0 * truth.gain_per_v)
    assert photon_detection(after, bias_v, 25.0) == pytest.approx(
        0.98 * photon_detection(truth, vbd(truth, 25.0) + 3.0, 25.0)
    )
    assert after.dcr_doubling_k == pytest.approx(10.0, abs=0.01)
    assert irradiated(truth, 0.0, area_mm2=2.0) == replace(
        truth, dcr_doubling_k=pytest.approx(truth.dcr_doubling_k)
    )


def test_defaults_that_are_the_projects_own_say_so() -> None:
    damage = Damage()
    for estimate in (damage.dark_rate, damage.vbd_shift):
        assert any("to be replaced" in reason for reason in estimate.reasons)
    assert all(
        e.sigma and e.sigma > 0 for e in (damage.dark_doubling_k, damage.pde_loss, damage.gain_loss)
    )
    with pytest.raises(ValueError, match="unknown"):
        Damage(pde_loss=unknown("1/(neq/cm2)", "none", "never measured"))
