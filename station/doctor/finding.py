"""What the doctor says about one thing: what it is, how it is, what to do about it."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["instrument", "station"]


@dataclass(frozen=True)
class Finding:
    """One thing that was examined.

    role: of an instrument (bias, gantry, ...), or what of the station it is (disk, clock, ...).
    address: the port, or where it is. remedy: what to do; empty when nothing is to be done.
    """

    role: str
    address: str
    identity: str
    state: str
    healthy: bool
    remedy: str = ""
    kind: Kind = "instrument"

    def as_data(self) -> dict[str, Any]:
        return asdict(self)
