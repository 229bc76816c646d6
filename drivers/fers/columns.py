"""Which columns a list file has, from the line that names them."""

from collections.abc import Mapping
from dataclasses import dataclass

from drivers.fers import protocol
from drivers.fers.protocol import FersFileError


@dataclass(frozen=True)
class Columns:
    """Where things stand in a row.

    Attributes:
        n_channel: tokens of a row that does not begin an event.
        lg, hg, toa, tot: places within them, None where there is none.
        second_time: whether a second time stamp follows the first.
        blank: place of a token that is always ``-`` and has no name, None where there is none:
            with the time over threshold switched off, the vendor's writer leaves its place.
        toa_unit_ns, tot_unit_ns: what one unit means.
    """

    n_channel: int
    lg: int
    hg: int
    toa: int | None
    tot: int | None
    second_time: bool
    blank: int | None
    toa_unit_ns: float
    tot_unit_ns: float

    @property
    def n_full(self) -> int:
        """Tokens of the row that begins an event."""
        return self.n_channel + 3 + self.second_time


def parse_columns(line: str, where: str, settings: Mapping[str, str]) -> Columns:
    """The columns that ``line`` names.

    Raises:
        FersFileError: the columns are those of no spectroscopy run.
    """
    names = [name.lower() for name in line.split()]
    per_channel = [name for name in names if name != protocol.SECOND_TIME]
    second_time = len(per_channel) != len(names)
    head, tail = per_channel[:-3], per_channel[-3:]
    if names[:2] == [protocol.BOARD, protocol.CHANNEL] and protocol.HIGH_GAIN not in names:
        raise FersFileError(f"{where}: the columns {line!r} hold no charges")
    expected = [protocol.BOARD, protocol.CHANNEL, protocol.LOW_GAIN, protocol.HIGH_GAIN]
    times = head[4:]
    ordered = (
        head[:4] == expected
        and tail[:2] == [protocol.TIME, protocol.TRIGGER]
        and tail[2:3] != []
        and tail[2] in protocol.COUNTS
        and (not second_time or names[names.index(protocol.TIME) + 1] == protocol.SECOND_TIME)
        and names.count(protocol.SECOND_TIME) <= 1
    )
    known_times = (
        times == []
        or (len(times) == 1 and times[0] in protocol.TOA)
        or (len(times) == 2 and times[0] in protocol.TOA and times[1] in protocol.TOT)
    )
    if not (ordered and known_times):
        raise FersFileError(f"{where}: the columns {line!r} are not those of a spectroscopy run")
    lsb_ns = _lsb_ns(settings, where) if times else 1.0
    blank = len(head) if len(times) == 1 else None
    return Columns(
        n_channel=len(head) + (blank is not None),
        lg=2,
        hg=3,
        toa=4 if times else None,
        tot=5 if len(times) == 2 else None,
        second_time=second_time,
        blank=blank,
        toa_unit_ns=1.0 if times[:1] == ["toa_ns"] else lsb_ns,
        tot_unit_ns=1.0 if times[1:2] == ["tot_ns"] else lsb_ns,
    )


def _lsb_ns(settings: Mapping[str, str], where: str) -> float:
    words = settings.get("ToA/ToT LSB", f"{protocol.TOA_LSB_NS} ns")
    value, _, unit = words.partition(" ")
    try:
        lsb_ns = float(value)
    except ValueError:
        lsb_ns = 0.0
    if unit != "ns" or not 0 < lsb_ns < 1000:
        raise FersFileError(f"{where}: {words!r} is no unit of the time of arrival")
    return lsb_ns
