"""Bytes to and from a simulator, without any driver."""

import os
import select
import termios
import time
import tty
from collections.abc import Iterable

from .scripted import Dialogue


def hold_dialogue(path: str, dialogue: Dialogue, *, within_s: float = 5.0) -> None:
    """Send the first half of each line of the dialogue and demand exactly the second."""
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
    try:
        tty.setraw(fd, termios.TCSANOW)
        for sent, expected in dialogue:
            os.write(fd, sent)
            received = b""
            ends_at_s = time.monotonic() + within_s
            while len(received) < len(expected) and received == expected[: len(received)]:
                ready, _, _ = select.select([fd], [], [], max(0.0, ends_at_s - time.monotonic()))
                if not ready:
                    break
                received += os.read(fd, 4096)
            assert received == expected, f"after {sent!r}: {received!r} instead of {expected!r}"
    finally:
        os.close(fd)


def lines(*pairs: tuple[str, str], end: str = "\r\n") -> list[tuple[bytes, bytes]]:
    """A dialogue of lines, each half ended by ``end`` unless it is empty."""
    return [
        (f"{sent}{end}".encode(), f"{got}{end}".encode() if got else b"") for sent, got in pairs
    ]


def replaced(
    dialogue: Dialogue, sent: bytes, got: bytes, *, after: Iterable[int] = ()
) -> list[tuple[bytes, bytes]]:
    """The dialogue with another answer to each ``sent`` (or only the occurrences ``after``)."""
    wanted = set(after)
    out = []
    seen = 0
    for question, answer in dialogue:
        hit = question == sent
        out.append((question, got if hit and (not wanted or seen in wanted) else answer))
        seen += hit
    return out
