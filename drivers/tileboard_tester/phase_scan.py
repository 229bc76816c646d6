"""Where on the pulse to sample: LED runs over bunch crossing and sampling phase.

The chip samples once per bunch crossing. ``bx_l1a`` chooses the crossing that is read out, and
``phase_ck`` shifts the sampling by sixteenths of a crossing. The best place is where the light adds
most charge. A change of phase may lock the chips' time-to-digital converters up: ``configure``
resets them at every step.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from drivers.errors import InstrumentError
from drivers.roles import ChargeRun, Checkpoint, Identity
from drivers.tileboard_tester.protocol import PHASES

SIGNIFICANT = 5.0
"""Standard errors by which the light must stand out."""


class PhasedReadout(Protocol):
    """A charge readout with a sampling phase and a light of its own."""

    @property
    def identity(self) -> Identity: ...

    def configure(self, **settings: Any) -> None: ...

    def take(self, n_events: int, *, checkpoint: Checkpoint, deadline_s: float) -> ChargeRun: ...

    def pulse_on(self) -> None: ...

    def pulse_off(self) -> None: ...

    def pulsing(self) -> bool: ...


@dataclass(frozen=True)
class PhasePoint:
    """What the light adds at one place, mean over channels and events, and its standard error."""

    bx_l1a: int
    phase_ck: int
    signal_adc: float
    sigma_adc: float


@dataclass(frozen=True)
class PhaseScan:
    """All places in the order of the scan, and the best one.

    ``at_edge`` tells that the best one is at an end of the crossings: the pulse may rise beyond.
    """

    points: tuple[PhasePoint, ...]
    best: PhasePoint
    at_edge: bool


def scan_phase(
    readout: PhasedReadout,
    n_events: int,
    *,
    checkpoint: Checkpoint,
    deadline_s: float,
    bx_l1a: Sequence[int] = (38, 39, 40, 41, 42),
    phases: Sequence[int] = PHASES,
    settings: Mapping[str, Any] | None = None,
) -> PhaseScan:
    """Take one dark run and a lit run at every place; the light is left as it was found.

    Args:
        n_events: triggers of each run.
        deadline_s: real seconds for the whole scan.
        settings: the other settings of the runs.

    Raises:
        InstrumentError: no place has light that stands out by five standard errors; and whatever
            the runs raise.
        ValueError: nothing to scan.
    """
    if not bx_l1a or not phases:
        raise ValueError("a scan needs at least one crossing and one phase")
    ends_at_s = time.monotonic() + deadline_s
    was_pulsing = readout.pulsing()
    points: list[PhasePoint] = []
    try:
        readout.pulse_off()
        readout.configure(**(settings or {}), bx_l1a=bx_l1a[0], phase_ck=phases[0])
        dark = _mean(readout, n_events, checkpoint, ends_at_s)
        readout.pulse_on()
        for crossing in bx_l1a:
            for phase in phases:
                readout.configure(**(settings or {}), bx_l1a=crossing, phase_ck=phase)
                mean, sigma = _mean(readout, n_events, checkpoint, ends_at_s)
                points.append(
                    PhasePoint(crossing, phase, mean - dark[0], math.hypot(sigma, dark[1]))
                )
    finally:
        (readout.pulse_on if was_pulsing else readout.pulse_off)()
    best = max(points, key=lambda point: point.signal_adc)
    if best.signal_adc < SIGNIFICANT * best.sigma_adc:
        raise InstrumentError(
            f"no light at any of {len(points)} places: at most {best.signal_adc:.2f} +- "
            f"{best.sigma_adc:.2f} ADC",
            port=readout.identity.port,
            advice="Check that the bias is on and connected and the LEDs are bright enough.",
        )
    return PhaseScan(
        tuple(points), best, len(bx_l1a) > 1 and best.bx_l1a in (min(bx_l1a), max(bx_l1a))
    )


def _mean(
    readout: PhasedReadout, n_events: int, checkpoint: Checkpoint, ends_at_s: float
) -> tuple[float, float]:
    """Mean over channels and events, and its standard error from event to event."""
    left_s = max(0.001, ends_at_s - time.monotonic())
    adc = readout.take(n_events, checkpoint=checkpoint, deadline_s=left_s).adc
    per_event = np.mean(adc, axis=0)
    sigma = float(np.std(per_event, ddof=1)) / math.sqrt(per_event.size) if n_events > 1 else 0.0
    # a sample that never changes is still rounded
    return float(np.mean(per_event)), max(sigma, 1.0 / math.sqrt(12.0 * adc.size))
