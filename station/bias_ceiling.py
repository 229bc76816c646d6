"""The highest bias that a part may get, and who says so."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from sqlmodel import col, select

import db
from db import Store
from station.events import RefusedError

MAX_OVERVOLTAGE_V = 6.0
BREAKDOWNS = ("vbd_gain", "vbd_iv")
TRUSTED = ("pass", "flag")


class BiasNotAllowedError(RefusedError):
    """A set-point is above what the part, the recipe or the line allows; nothing was sent."""


@dataclass(frozen=True)
class KnownBreakdown:
    """The lowest breakdown voltage of a part that the records vouch for.

    `temperature_c` is that at which it holds, None where nobody wrote it down.
    """

    vbd_v: float
    temperature_c: float | None
    source: str


@dataclass(frozen=True)
class BiasCeiling:
    """The highest magnitude of the bias for one part (V); `source` says where it comes from."""

    voltage_v: float
    part: str
    source: str

    def check(self, voltage_v: float) -> None:
        """Raises BiasNotAllowedError for a set-point above the ceiling."""
        if not abs(voltage_v) <= self.voltage_v:
            raise BiasNotAllowedError(
                f"{voltage_v:.2f} V is not allowed for {self.part}: at most "
                f"{self.voltage_v:.2f} V ({self.source})"
            )


def ceiling_over(
    known: KnownBreakdown, part: str, *, temperature_c: float, slope_v_per_k: float
) -> BiasCeiling:
    """`MAX_OVERVOLTAGE_V` above the known breakdown: Vbd(T) = Vbd(T0) + slope (T - T0)."""
    vbd_v = known.vbd_v
    if known.temperature_c is not None:
        vbd_v += slope_v_per_k * (temperature_c - known.temperature_c)
    return BiasCeiling(
        vbd_v + MAX_OVERVOLTAGE_V,
        part,
        f"{MAX_OVERVOLTAGE_V:g} V above its breakdown at {vbd_v:.2f} V and {temperature_c:.1f} °C; "
        f"{known.source}",
    )


def breakdown_from_records(store: Store, parts: Collection[UUID]) -> KnownBreakdown | None:
    """The lowest breakdown voltage of `parts` and of the SiPMs built into them.

    Of every part, channel and definition the newest reading counts, and only those that passed
    their limits. None when the records hold none.
    """
    with store.session() as session:
        built_in = session.exec(
            select(db.Assembly.child_id)
            .join(db.Part, col(db.Part.id) == col(db.Assembly.child_id))
            .where(col(db.Assembly.parent_id).in_(parts), db.Part.kind == "sipm")
        ).all()
        replaced = select(db.Reading.supersedes).where(col(db.Reading.supersedes).is_not(None))
        readings = session.exec(
            select(db.Reading)
            .where(
                col(db.Reading.part_id).in_([*parts, *built_in]),
                col(db.Reading.quantity).in_(BREAKDOWNS),
                col(db.Reading.verdict).in_(TRUSTED),
                col(db.Reading.id).not_in(replaced),
            )
            .order_by(col(db.Reading.at), col(db.Reading.id))
        ).all()
    newest = {(r.part_id, r.channel, r.quantity): r for r in readings if r.value is not None}
    if not newest:
        return None
    lowest = min(newest.values(), key=lambda r: r.value or 0.0)
    temperature = lowest.conditions.get("temperature_c")
    assert lowest.value is not None
    return KnownBreakdown(
        lowest.value,
        None if temperature is None else float(temperature),
        f"{lowest.quantity} of the records, measured {lowest.at:%Y-%m-%d %H:%M} UTC",
    )
