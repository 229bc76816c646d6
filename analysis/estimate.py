"""The result of an analysis: a value with its uncertainty, or an honest "cannot tell"."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite


@dataclass(frozen=True)
class Estimate:
    """A measured quantity.

    `value` is None when the data do not determine the quantity; then `sigma` is None too and
    `reasons` says why. A known value always has a `sigma` (one standard deviation, same unit),
    and `reasons` holds the warnings that go with it.

    `goodness` holds figures of merit by name, such as chi2, ndf and p_value.

    Raises ValueError on a value without sigma, on numbers that are not finite, on a negative
    sigma, and on an unknown without a reason.
    """

    value: float | None
    sigma: float | None
    unit: str
    method: str
    goodness: Mapping[str, float] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.value is None:
            if self.sigma is not None:
                raise ValueError("an unknown value has no sigma")
            if not self.reasons:
                raise ValueError("an unknown value needs a reason")
            return
        if self.sigma is None:
            raise ValueError("a value needs its sigma")
        if not (isfinite(self.value) and isfinite(self.sigma)) or self.sigma < 0:
            raise ValueError(f"not a measurement: {self.value} with sigma {self.sigma}")

    @property
    def known(self) -> bool:
        """Whether there is a value."""
        return self.value is not None


def unknown(
    unit: str,
    method: str,
    *reasons: str,
    goodness: Mapping[str, float] | None = None,
) -> Estimate:
    """The Estimate that says "cannot tell", and why."""
    return Estimate(None, None, unit, method, goodness or {}, reasons)
