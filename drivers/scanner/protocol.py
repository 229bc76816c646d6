"""What scanners send: a label between a prefix and a suffix, both programmed by the site.

Usual are STX before, and ETX or CR after. A scanner says nothing else and answers no question, so
that nobody can ask who it is.
"""

STX, ETX, CR, LF = "\x02", "\x03", "\r", "\n"

BAUD = 9600
PREFIX = ""
SUFFIX = CR

SILENCE_S = 0.5
"""A label that stops for this long was cut off: a scanner sends without a break."""
LINE_END_S = 0.06
"""A typed label ends this long after a CR when no further line follows."""
TYPED_GAP_S = 0.05
"""Longest time between two characters of a scanner that types; people are slower."""
TYPED_LEAST = 6
"""Fewest characters of a label without a prefix that is typed."""
LONGEST = 4096
"""Characters; a DataMatrix holds fewer."""


def is_label(text: str) -> bool:
    """Whether a label consists of printable ASCII characters, perhaps in lines."""
    return 0 < len(text) <= LONGEST and all(" " <= c <= "~" or c == LF for c in text)
