"""Labels out of the bytes of a serial scanner."""

from dataclasses import dataclass

from drivers.scanner.protocol import CR, LF, LONGEST, SILENCE_S, is_label


@dataclass(frozen=True)
class Scan:
    """One label, or what came instead of one.

    Attributes:
        text: the label without prefix and suffix; of a broken one, what came of it.
        broken: why it is none; empty for a good label.
        ended_at_s: when its last byte came, in the clock of the caller.
    """

    text: str
    broken: str
    ended_at_s: float


class LabelFramer:
    """Cuts a stream of bytes into labels.

    With a prefix, what comes outside of prefix and suffix is no label, and a prefix inside a label
    begins it anew: the one before was cut off. Lines inside a label are joined by line feeds.

    Raises:
        ValueError: no suffix, or one that is in the prefix.
    """

    def __init__(self, prefix: str, suffix: str) -> None:
        if not suffix:
            raise ValueError("a scanner must end its labels with a suffix")
        if suffix in prefix or (prefix and prefix in suffix):
            raise ValueError(f"prefix {prefix!r} and suffix {suffix!r} must differ")
        self._prefix = prefix.encode("ascii")
        self._suffix = suffix.encode("ascii")
        self._unread = bytearray()
        self._at_s = 0.0

    @property
    def is_within_label(self) -> bool:
        """Whether a label has begun and not ended."""
        return bool(self._unread)

    def feed(self, data: bytes, at_s: float) -> list[Scan]:
        """Take bytes that came at ``at_s``; returns the scans that ended with them."""
        scans = self.settle(at_s)
        self._unread += data
        self._at_s = at_s
        while (end := self._unread.find(self._suffix)) >= 0:
            piece = bytes(self._unread[:end])
            del self._unread[: end + len(self._suffix)]
            scans += self._scans(piece, at_s)
        if len(self._unread) > LONGEST + len(self._prefix):
            scans.append(self._broken(bytes(self._unread), "it does not end", at_s))
            self._unread.clear()
        if self._suffix == CR.encode() and self._unread.startswith(LF.encode()):
            del self._unread[:1]
        return scans

    def settle(self, at_s: float) -> list[Scan]:
        """Give up a label that has been silent for too long."""
        if not self._unread or at_s - self._at_s < SILENCE_S:
            return []
        cut = bytes(self._unread)
        self._unread.clear()
        return [self._broken(cut, "it was cut off", self._at_s)]

    def _scans(self, piece: bytes, at_s: float) -> list[Scan]:
        piece = piece.strip(b"\r\n")
        if not self._prefix:
            return [self._scan(piece, at_s)] if piece else []
        before, *labels = piece.split(self._prefix)
        scans = []
        if before.strip(b"\r\n"):
            scans.append(self._broken(before, "it has no beginning", at_s))
        scans += [self._broken(cut, "it was cut off", at_s) for cut in labels[:-1]]
        return scans + [self._scan(label, at_s) for label in labels[-1:]]

    def _scan(self, label: bytes, at_s: float) -> Scan:
        text = label.decode("ascii", "replace").replace(CR + LF, LF).replace(CR, LF).strip(LF)
        if is_label(text):
            return Scan(text, "", at_s)
        why = "it is empty" if not text else "it has characters that no label has"
        return self._broken(label, why, at_s)

    def _broken(self, data: bytes, why: str, at_s: float) -> Scan:
        return Scan(data.decode("ascii", "replace")[:80], why, at_s)
