"""What fluence does to a SiPM: dark counts and current, breakdown voltage, PDE and gain.

Review: E. Garutti and Y. Musienko, arXiv:1809.06361. Dark counts grow in proportion to the fluence
of 1 MeV equivalent neutrons and to the sensitive area, and with the overvoltage; their temperature
dependence is that of `temperature`, and what anneals that of `annealing`.
"""

from dataclasses import dataclass, field, replace
from math import hypot, log

from analysis.estimate import Estimate
from analysis.sipm.irradiation.temperature import doubling_factor
from analysis.sipm.simulate import (
    ELECTRON_CHARGE_C,
    REFERENCE_OVERVOLTAGE_V,
    REFERENCE_TEMPERATURE_C,
    SiPMTruth,
)

METHOD = "damage in proportion to fluence"
OWN = "default of this project, to be replaced by a measurement"


def _default(value: float, sigma: float, unit: str, *reasons: str) -> Estimate:
    return Estimate(value, sigma, unit, METHOD, reasons=reasons)


@dataclass(frozen=True)
class Damage:
    """How one type of SiPM suffers, per 1 MeV neq/cm2.

    dark_rate: dark counts per area, volt of overvoltage and fluence at reference_c, Hz/(mm2 V
        neq/cm2). The default lies between two published numbers that differ by a factor of nine,
        and is the project's own: the offline simulation of the CMS SiPM-on-tile section
        (HGCalSiPMonTileConditionsByAlgo) gives 0.5 mA after 2e13 to a SiPM of 2 mm2 with gain
        2.35e5 at 2 V, that is 1.7e-4, at the -30 C of that detector (CMS-TDR-019); about 10 GHz
        at 2 to 4 V and -20 C after 5e13 (K. Neumann et al.,
        agenda.infn.it/event/47073/contributions/276246) are 2e-5 if that SiPM has 2 mm2.
    dark_doubling_k: temperature step that doubles dark counts after irradiation. Default:
        ln 2 / (0.0631/K), from the CMS HCAL barrel SiPMs (HcalSiPMRadiationDamage); generation in
        the bulk would give 8 K at 25 C.
    vbd_shift: shift of the breakdown voltage, V/(neq/cm2). The default is a mere order of
        magnitude.
    pde_loss, gain_loss: relative losses, 1/(neq/cm2). Defaults: 22 % (15 % in an earlier version)
        and 8 % after 2e14, in the test-beam analysis of the CMS barrel timing layer
        (Lab5015/Lab5015Analysis, macros/SiPM.py); losses by busy pixels are not part of them (see
        `occupancy`).
    reference_c: temperature of dark_rate.
    """

    dark_rate: Estimate = field(
        default_factory=lambda: _default(
            6e-5, 6e-5, "Hz/(mm2 V neq/cm2)", f"{OWN}; published: 2e-5 to 1.7e-4"
        )
    )
    dark_doubling_k: Estimate = field(
        default_factory=lambda: _default(
            10.98, 1.5, "K", "the error is the project's own, from the spread of published values"
        )
    )
    vbd_shift: Estimate = field(default_factory=lambda: _default(1e-14, 1e-14, "V/(neq/cm2)", OWN))
    pde_loss: Estimate = field(
        default_factory=lambda: _default(
            1.1e-15, 0.35e-15, "1/(neq/cm2)", "the error spans the two published values"
        )
    )
    gain_loss: Estimate = field(
        default_factory=lambda: _default(
            0.4e-15, 0.4e-15, "1/(neq/cm2)", "no error published: taken as large as the value"
        )
    )
    reference_c: float = -30.0

    def __post_init__(self) -> None:
        for name in ("dark_rate", "dark_doubling_k", "vbd_shift", "pde_loss", "gain_loss"):
            if not getattr(self, name).known:
                raise ValueError(f"{name} is unknown: a model of damage needs a value")


def induced_dark_rate(
    damage: Damage,
    fluence_neq_per_cm2: float,
    *,
    area_mm2: float,
    overvoltage_v: float,
    temperature_c: float,
    annealing: Estimate | float = 1.0,
) -> Estimate:
    """Dark counts that irradiation adds, Hz.

    constant x fluence x area x overvoltage x 2^((T - reference) / doubling) x annealing, the latter
    relative to the state in which the constant was measured. The sigma comes from the constant, the
    doubling temperature and the annealing. Raises ValueError on negative fluence, area or voltage.
    """
    if min(fluence_neq_per_cm2, area_mm2, overvoltage_v) < 0:
        raise ValueError("fluence, area and overvoltage must not be negative")
    constant, constant_sigma = _numbers(damage.dark_rate)
    doubling, doubling_sigma = _numbers(damage.dark_doubling_k)
    left, left_sigma = _numbers(annealing)
    warmer = temperature_c - damage.reference_c
    dose = fluence_neq_per_cm2 * area_mm2 * overvoltage_v
    dose *= float(doubling_factor(temperature_c, damage.reference_c, doubling))
    rate = constant * dose * left
    sigma = hypot(
        constant_sigma * dose * left,
        constant * dose * left_sigma,
        rate * log(2.0) * warmer / doubling**2 * doubling_sigma,
    )
    return Estimate(rate, sigma, "Hz", METHOD)


def breakdown_shift(damage: Damage, fluence_neq_per_cm2: float) -> Estimate:
    """Shift of the breakdown voltage, V, in proportion to the fluence."""
    return _scaled(damage.vbd_shift, fluence_neq_per_cm2, "V")


def pde_factor(damage: Damage, fluence_neq_per_cm2: float) -> Estimate:
    """PDE relative to that before irradiation, not below 0; without the loss by busy pixels."""
    return _what_is_left(damage.pde_loss, fluence_neq_per_cm2)


def gain_factor(damage: Damage, fluence_neq_per_cm2: float) -> Estimate:
    """Gain at the same overvoltage relative to that before irradiation, not below 0."""
    return _what_is_left(damage.gain_loss, fluence_neq_per_cm2)


def dark_current(
    dark_rate_hz: Estimate | float,
    gain_electrons: Estimate | float,
    correlated: Estimate | float = 0.0,
) -> Estimate:
    """Current of dark counts, A: I = q DCR G (1 + correlated).

    correlated: mean charge that crosstalk and afterpulses add to one dark count, in pe;
    lambda / (1 - lambda) for prompt crosstalk alone. Valid while pixels recover in time.
    """
    rate, rate_sigma = _numbers(dark_rate_hz)
    gain, gain_sigma = _numbers(gain_electrons)
    more, more_sigma = _numbers(correlated)
    current = ELECTRON_CHARGE_C * rate * gain * (1 + more)
    sigma = ELECTRON_CHARGE_C * hypot(
        rate_sigma * gain * (1 + more), rate * gain_sigma * (1 + more), rate * gain * more_sigma
    )
    return Estimate(current, sigma, "A", "I = q DCR G (1 + correlated)")


def dark_rate_of_current(
    current_a: Estimate | float,
    gain_electrons: Estimate | float,
    correlated: Estimate | float = 0.0,
) -> Estimate:
    """Dark counts of a multiplied current, Hz: DCR = I / (q G (1 + correlated)).

    Raises ValueError if the gain or 1 + correlated is not positive.
    """
    current, current_sigma = _numbers(current_a)
    gain, gain_sigma = _numbers(gain_electrons)
    more, more_sigma = _numbers(correlated)
    if gain <= 0 or more <= -1:
        raise ValueError("the gain and 1 + correlated must be positive")
    rate = current / (ELECTRON_CHARGE_C * gain * (1 + more))
    sigma = hypot(
        current_sigma / (ELECTRON_CHARGE_C * gain * (1 + more)),
        rate * gain_sigma / gain,
        rate * more_sigma / (1 + more),
    )
    return Estimate(rate, sigma, "Hz", "DCR = I / (q G (1 + correlated))")


def irradiated(
    truth: SiPMTruth,
    fluence_neq_per_cm2: float,
    *,
    area_mm2: float,
    damage: Damage | None = None,
    annealing: float = 1.0,
) -> SiPMTruth:
    """The device after irradiation, for the simulator: the central values of all models.

    Dark counts are added as at 25 C and 3 V, where the device's rate is defined; their doubling
    temperature becomes that of the sum at 25 C. Afterpulsing, crosstalk and the unmultiplied
    leakage stay as they are: what happens to them is not known here.
    """
    model = damage or Damage()
    added, _ = _numbers(
        induced_dark_rate(
            model,
            fluence_neq_per_cm2,
            area_mm2=area_mm2,
            overvoltage_v=REFERENCE_OVERVOLTAGE_V,
            temperature_c=REFERENCE_TEMPERATURE_C,
            annealing=annealing,
        )
    )
    doubling, _ = _numbers(model.dark_doubling_k)
    total = truth.dcr_hz + added
    steepness = (
        (truth.dcr_hz / truth.dcr_doubling_k + added / doubling) / total
        if total > 0
        else 1.0 / truth.dcr_doubling_k
    )
    gain_left, _ = _numbers(gain_factor(model, fluence_neq_per_cm2))
    return replace(
        truth,
        dcr_hz=total,
        dcr_doubling_k=1.0 / steepness,
        vbd_v=truth.vbd_v + _numbers(breakdown_shift(model, fluence_neq_per_cm2))[0],
        pde_max=truth.pde_max * _numbers(pde_factor(model, fluence_neq_per_cm2))[0],
        gain_per_v=truth.gain_per_v * gain_left,
        electrons_per_v=truth.electrons_per_v * gain_left,
    )


def _numbers(quantity: Estimate | float) -> tuple[float, float]:
    if not isinstance(quantity, Estimate):
        return quantity, 0.0
    if quantity.value is None or quantity.sigma is None:
        raise ValueError(f"an unknown {quantity.method} can't be used: {quantity.reasons}")
    return quantity.value, quantity.sigma


def _scaled(per_fluence: Estimate, fluence_neq_per_cm2: float, unit: str) -> Estimate:
    if fluence_neq_per_cm2 < 0:
        raise ValueError(f"a negative fluence: {fluence_neq_per_cm2}")
    value, sigma = _numbers(per_fluence)
    return Estimate(
        value * fluence_neq_per_cm2,
        sigma * fluence_neq_per_cm2,
        unit,
        METHOD,
        reasons=per_fluence.reasons,
    )


def _what_is_left(loss: Estimate, fluence_neq_per_cm2: float) -> Estimate:
    lost = _scaled(loss, fluence_neq_per_cm2, "1")
    return Estimate(
        max(0.0, 1.0 - _numbers(lost)[0]), _numbers(lost)[1], "1", METHOD, reasons=lost.reasons
    )
