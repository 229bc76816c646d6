"""Limits and verdicts: what a recipe allows, and how a value with an error is judged against it."""

from collections.abc import Iterable
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from station.events import Reading, Verdict

_SEVERITY: dict[Verdict, int] = {"pass": 0, "flag": 1, "unknown": 2, "fail": 3}


class Limit(BaseModel):
    """Allowed interval of one quantity, in the unit that its readings carry.

    A value outside [low, high] fails. A value inside, but nearer to a limit than `guard_sigmas` of
    its own error, is flagged: the measurement can't exclude that it is outside. `max_sigma` is the
    largest error with which a value counts as measured at all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    unit: str
    low: float | None = None
    high: float | None = None
    guard_sigmas: float = Field(default=2.0, ge=0)
    max_sigma: float | None = None

    @model_validator(mode="after")
    def _some_limit_in_order(self) -> Self:
        if self.low is None and self.high is None:
            raise ValueError("a limit needs 'low', 'high' or both")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"'low' {self.low} is not below 'high' {self.high}")
        return self


def judge(reading: Reading, limit: Limit | None) -> tuple[Verdict, tuple[str, ...]]:
    """Verdict of one reading, with the sentence that explains anything but a pass.

    Raises ValueError when the limit is in another unit than the reading.
    """
    if reading.value is None or reading.sigma is None:
        return "unknown", reading.reasons or (f"{reading.quantity} could not be measured",)
    if limit is None:
        return "pass", ()
    if limit.unit != reading.unit:
        raise ValueError(
            f"limit of {reading.quantity} is in {limit.unit!r}, the reading in {reading.unit!r}"
        )
    value, sigma = reading.value, reading.sigma
    shown = f"{reading.quantity} {value:.5g} ± {sigma:.2g} {reading.unit}"
    if limit.max_sigma is not None and sigma > limit.max_sigma:
        return "unknown", (f"{shown}: error above {limit.max_sigma:g} {limit.unit}",)
    margins = [
        (edge, side, inside_by)
        for edge, side, inside_by in (
            (limit.low, "lower", value - (limit.low or 0.0)),
            (limit.high, "upper", (limit.high or 0.0) - value),
        )
        if edge is not None
    ]
    for edge, side, inside_by in margins:
        if inside_by < 0:
            sigmas = f" ({-inside_by / sigma:.1f} sigma)" if sigma > 0 else ""
            return "fail", (f"{shown}: {-inside_by:.3g} beyond the {side} limit {edge:g}{sigmas}",)
    for edge, side, inside_by in margins:
        if inside_by < limit.guard_sigmas * sigma:
            return "flag", (
                f"{shown}: inside the {side} limit {edge:g} by less than "
                f"{limit.guard_sigmas:g} sigma",
            )
    return "pass", ()


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The most severe of some verdicts: fail, then unknown, then flag. None at all is unknown."""
    return max(verdicts, key=_SEVERITY.__getitem__, default="unknown")
