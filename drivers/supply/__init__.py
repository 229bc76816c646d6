"""The bias discipline, once for every supply.

1. Limits live in the hardware: written with the output off, read back, and read back again before
   the output goes on and before every rising step, since a power cut takes them away unannounced.
2. The output goes on only at the lowest voltage that the supply has, and that is read back first.
3. A ramp goes in small steps, so that a station that dies stops it; a hardware ramp is a further
   limit, never a replacement. Each rising step happens inside the caller's checkpoint.
4. After each step the supply is measured: output on, set-point as written, terminals following, no
   current limit, no alarm. A suspicious reading is read again before it is judged.
5. What the supply says counts, not what was sent: people press buttons.
6. The way down starts from what the supply says, tries lost replies again, takes the port from
   whoever holds it, and ends with the output off, read back, and the terminals discharged.
7. Who goes down wins: every ramp that was under way ends without another write.
8. Closing goes down; leaving changes nothing.

Voltages carry the sign of the polarity, limits are magnitudes. What a board may get (breakdown
voltage, overvoltage) is known to the station and checked there.
"""

from drivers.supply.primitives import Limits
from drivers.supply.ramp import insist
from drivers.supply.stepped import SteppedSupply
from drivers.supply.sweep import IVCurve, SweepingSupply, Trace

__all__ = ["IVCurve", "Limits", "SteppedSupply", "SweepingSupply", "Trace", "insist"]
