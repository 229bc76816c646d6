"""The interlock: rules that are watched on a thread of their own, trips that latch.

Safety does not live in procedures. The supervisor reads the line's instruments by itself; when a
rule is broken, or an instrument stays silent, it latches a trip, brings the line to its safe state
and keeps it there until a person resets it. Nothing that fails around it - a listener, the records,
a bug in a driver - ends the watch.
"""

from station.safety.heart import Watched
from station.safety.interlock import Interlock, InterlockTrippedError, Trip
from station.safety.rules import Snapshot, broken_rule
from station.safety.supervisor import Supervisor

__all__ = [
    "Interlock",
    "InterlockTrippedError",
    "Snapshot",
    "Supervisor",
    "Trip",
    "Watched",
    "broken_rule",
]
