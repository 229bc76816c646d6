"""Labels out of the keys of a scanner that types, without any toolkit.

Scanners type their prefix and suffix as control characters: STX as Ctrl+B, ETX as Ctrl+C. A label
is what comes between STX and ETX, or between STX and a CR after which no further line follows; the
lines of a label are joined by line feeds. Keys that come without STX are a label as well when they
are typed faster than people do, are at least six, and end in CR.
"""

from dataclasses import dataclass

from drivers.scanner.protocol import (
    CR,
    ETX,
    LF,
    LINE_END_S,
    LONGEST,
    SILENCE_S,
    STX,
    TYPED_GAP_S,
    TYPED_LEAST,
)


@dataclass(frozen=True)
class Heard:
    """What a key, or the silence after it, led to.

    Attributes:
        taken: the key belongs to a scanner; nobody else may get it.
        label: the label that ended now.
        cut: the part of a label that was cut off.
    """

    taken: bool = False
    label: str | None = None
    cut: str | None = None


class KeyBurst:
    """Tells a scanner's keys from a person's.

    Whoever owns the keyboard passes every key to :meth:`press` (or to :meth:`press_in_field` while
    a text field has the focus, where unframed keys are left to the field), and calls
    :meth:`settle` when :meth:`settles_in_s` has passed without a key. A late call changes nothing:
    times decide, and the next key settles what is due first.
    """

    def __init__(self) -> None:
        self._text: str | None = None
        self._line_ended = False
        self._at_s = 0.0
        self._loose = ""
        self._loose_at_s = -1.0

    @property
    def is_framed(self) -> bool:
        """Whether a label with STX is under way: shortcuts must stay asleep."""
        return self._text is not None

    def settles_in_s(self) -> float | None:
        """Seconds of silence after the last key until a label ends or is given up."""
        if self._text is None:
            return None
        return LINE_END_S if self._line_ended else SILENCE_S

    def settle(self, at_s: float) -> Heard:
        """What the silence until ``at_s`` means."""
        due_s = self.settles_in_s()
        if self._text is None or due_s is None or at_s - self._at_s < due_s:
            return Heard()
        text, self._text = self._text, None
        if self._line_ended:
            self._line_ended = False
            return Heard(label=text)
        return Heard(cut=text)

    def press(self, character: str, at_s: float) -> Heard:
        """Take the character of a key pressed at ``at_s``, empty for a key without one."""
        due = self.settle(at_s)
        if self._text is None and character != STX:
            return self._joined(due, self._unframed(character, at_s))
        return self._joined(due, self._framed(character, at_s))

    def press_in_field(self, character: str, at_s: float) -> Heard:
        """The same while a text field has the focus: only framed keys are a scanner's."""
        due = self.settle(at_s)
        self._loose = ""
        if self._text is None and character != STX:
            return due
        return self._joined(due, self._framed(character, at_s))

    def _framed(self, character: str, at_s: float) -> Heard:
        self._at_s = at_s
        self._loose = ""
        if character == STX or self._text is None:
            cut, self._text, self._line_ended = self._text, "", False
            return Heard(taken=True, cut=cut or None)
        if character == ETX:
            text, self._text, self._line_ended = self._text, None, False
            return Heard(taken=True, label=text)
        if character in (CR, LF):
            self._line_ended = True
        elif character:
            self._text += (LF if self._line_ended and self._text else "") + character
            self._line_ended = False
        if len(self._text) > LONGEST:
            text, self._text = self._text, None
            return Heard(taken=True, cut=text[:80])
        return Heard(taken=True)

    def _unframed(self, character: str, at_s: float) -> Heard:
        is_fast = at_s - self._loose_at_s <= TYPED_GAP_S
        self._loose_at_s = at_s
        if character in (CR, LF) and is_fast and len(self._loose) >= TYPED_LEAST:
            text, self._loose = self._loose, ""
            return Heard(taken=True, label=text)
        if len(character) == 1 and character.isprintable() and character != " ":
            self._loose = self._loose + character if is_fast else character
        else:
            self._loose = ""
        return Heard()

    def _joined(self, due: Heard, heard: Heard) -> Heard:
        return Heard(
            taken=heard.taken,
            label=heard.label if heard.label is not None else due.label,
            cut=heard.cut if heard.cut is not None else due.cut,
        )
