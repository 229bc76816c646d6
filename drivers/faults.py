"""What goes wrong on the wires of simulated instruments, planned by hand or drawn from a seed."""

import math
import random
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

FaultKind = Literal[
    "late",
    "lost",
    "garbled",
    "misread",
    "truncated",
    "duplicated",
    "disconnect",
    "wrong_identity",
]
FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)

DEFAULT_RATES: Mapping[FaultKind, float] = dict.fromkeys(FAULT_KINDS, 0.002)
LATE_S = (0.01, 0.5)
COPY_S = (0.0, 0.02)
AWAY_S = (0.0, 0.3)

_DIGITS = b"0123456789"
_LINE_ENDS = b"\r\n"
_HIGHEST_TEXT_BYTE = 0x7E


@dataclass(frozen=True)
class WireFault:
    """One fault that hits one reply.

    ``late`` holds the reply, and everything behind it, back; ``lost`` drops it; ``garbled`` hits
    two bytes of its middle; ``truncated`` cuts it in half together with its terminator;
    ``duplicated`` sends it twice; ``disconnect`` breaks the connection instead;
    ``wrong_identity`` lets another instrument answer the next question for the identity.

    ``misread`` turns one digit into another one (of bytes that are no text: one bit), so that the
    reply keeps its form. Huber's checksum and Sensirion's CRC tell it. Nothing in the replies of
    Keithley, CAEN, iseg, Julabo, GRBL, Marlin or the tileboard tester does: there, what was set
    is read back and compared, and a measured value must be plausible or be measured twice.

    Attributes:
        kind: what happens.
        delay_s: real seconds; for ``late`` until the reply comes, for ``duplicated`` until its
            copy comes, for ``disconnect`` until the port is there again.
        after_replies: good replies between the fault before and this one.
        where: which digit is misread, and as what; from 0 up to 1.
    """

    kind: FaultKind
    delay_s: float = 0.0
    after_replies: int = 0
    where: float = 0.5


@dataclass(frozen=True)
class FaultPlan:
    """The faults of one wire, in order; the same seed gives the same plan everywhere.

    Attributes:
        seed: what the plan was drawn from.
        wire: the name of the wire; every wire of a line has its own faults.
        faults: what happens, in order.
    """

    seed: int
    wire: str
    faults: tuple[WireFault, ...]

    @classmethod
    def from_seed(
        cls,
        seed: int,
        *,
        wire: str = "",
        replies: int = 10_000,
        rates: Mapping[FaultKind, float] = DEFAULT_RATES,
        late_s: tuple[float, float] = LATE_S,
        copy_s: tuple[float, float] = COPY_S,
        away_s: tuple[float, float] = AWAY_S,
    ) -> "FaultPlan":
        """Draw the faults of the next replies.

        Args:
            seed: any number.
            wire: the name of the wire.
            replies: how many replies the plan covers; those behind them are all good.
            rates: the probability of each kind at a reply; together at most 1.
            late_s: shortest and longest delay of a late reply, real seconds.
            copy_s: the same for the second copy of a reply; every other copy follows at once.
            away_s: the same for a port that is gone.

        Raises:
            ValueError: rates that are no probabilities.
        """
        total = math.fsum(rates.values())
        if any(rate < 0 for rate in rates.values()) or not total <= 1:
            raise ValueError(f"the rates of faults must add up to at most 1, got {dict(rates)}")
        draw = random.Random(f"{seed}/{wire}")
        spans = {"late": late_s, "duplicated": copy_s, "disconnect": away_s}
        faults: list[WireFault] = []
        good = 0
        for _ in range(replies):
            if draw.random() >= total:
                good += 1
                continue
            (kind,) = draw.choices(list(rates), list(rates.values()))
            delay_s = draw.uniform(*spans.get(kind, (0.0, 0.0)))
            if kind == "duplicated" and draw.random() < 0.5:
                delay_s = 0.0
            faults.append(WireFault(kind, delay_s, good, draw.random()))
            good = 0
        return cls(seed, wire, tuple(faults))

    def line_faults(self) -> "LineFaults":
        """The plan from its beginning, for the simulator of the wire."""
        return LineFaults(deque(self.faults))


@dataclass
class LineFaults:
    """Faults planned for coming replies; each hits one reply, in the order planned.

    A ``misread`` waits for a reply that has a digit, a ``wrong_identity`` for the question.

    Attributes:
        planned: what is still to come.
        hits: what has happened, in order.
    """

    planned: deque[WireFault] = field(default_factory=deque)
    hits: list[WireFault] = field(default_factory=list)
    _others: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def plan(
        self,
        kind: FaultKind,
        *,
        delay_s: float = 0.0,
        after_replies: int = 0,
        where: float = 0.5,
    ) -> None:
        """Let a reply fail after ``after_replies`` good ones, counted from the fault before."""
        self.plan_all([WireFault(kind, delay_s, after_replies, where)])

    def plan_all(self, faults: Iterable[WireFault]) -> None:
        with self._lock:
            self.planned.extend(faults)

    def clear(self) -> None:
        with self._lock:
            self.planned.clear()
            self._others = 0

    def next_fault(self, reply: bytes = b"") -> WireFault | None:
        """What happens to the reply about to be sent."""
        with self._lock:
            self._take_identities()
            if not self.planned:
                return None
            fault = self.planned[0]
            if fault.after_replies > 0:
                self.planned[0] = replace(fault, after_replies=fault.after_replies - 1)
                return None
            if fault.kind == "misread" and misread(reply, fault.where) == reply:
                return None
            self.planned.popleft()
            self.hits.append(fault)
            return fault

    def identity(self, own: str) -> str:
        """What a simulator answers when it is asked who it is: ``own``, or somebody else's."""
        with self._lock:
            self._take_identities()
            if not self._others:
                return own
            self._others -= 1
            return other_identity(own)

    def _take_identities(self) -> None:
        while self.planned and self.planned[0].kind == "wrong_identity":
            if self.planned[0].after_replies > 0:
                return
            self.hits.append(self.planned.popleft())
            self._others += 1


def spoilt(reply: bytes, fault: WireFault | None) -> list[tuple[float, bytes]]:
    """What is sent instead of a reply: seconds to hold it back, and bytes; empty for nothing."""
    sent = [(0.0, reply)]
    if fault is None:
        return sent
    match fault.kind:
        case "late":
            sent = [(fault.delay_s, reply)]
        case "lost" | "disconnect":
            sent = []
        case "garbled":
            sent = [(0.0, garbled(reply))]
        case "misread":
            sent = [(0.0, misread(reply, fault.where))]
        case "truncated":
            sent = [(0.0, reply[: len(reply) // 2])]
        case "duplicated":
            sent = [(0.0, reply), (fault.delay_s, reply)]
        case "wrong_identity":
            pass
    return sent


def garbled(reply: bytes) -> bytes:
    """The reply with two bytes of its middle hit; the terminator stays."""
    middle = max(0, (len(reply) - 1) // 2)
    hit = bytes((byte ^ 0x55) & 0x7F | 0x20 for byte in reply[middle : middle + 2].rstrip(b"\r\n"))
    return reply[:middle] + hit + reply[middle + len(hit) :]


def misread(reply: bytes, where: float) -> bytes:
    """The reply with one of its digits turned into another; of bytes that are no text, one bit.

    A text without digits stays as it is.
    """
    if all(byte <= _HIGHEST_TEXT_BYTE and (byte >= 0x20 or byte in _LINE_ENDS) for byte in reply):
        places = [k for k, byte in enumerate(reply) if byte in _DIGITS]
        if not places:
            return reply
        chosen, fraction = divmod(where * len(places), 1)
        k = places[min(int(chosen), len(places) - 1)]
        hit = _DIGITS[(reply[k] - _DIGITS[0] + 1 + min(int(fraction * 9), 8)) % 10]
    else:
        chosen, fraction = divmod(where * len(reply), 1)
        k = min(int(chosen), len(reply) - 1)
        hit = reply[k] ^ 1 << min(int(fraction * 8), 7)
    return reply[:k] + bytes((hit,)) + reply[k + 1 :]


def other_identity(own: str) -> str:
    """An identity of the same form with other numbers in it."""
    changed = own.translate(str.maketrans("0123456789", "1234567890"))
    return changed if changed != own else own + "2"
