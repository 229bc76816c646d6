"""The tray map: which tile lies in which slot."""

from collections.abc import Mapping


class TrayMapError(ValueError):
    """A tray map that can't be used; the message names the line."""


def parse_tray_map(text: str) -> dict[int, str]:
    """Slot -> label from lines of `slot label`, as a scanner or a file delivers them.

    Raises TrayMapError naming the line that is not of that form or repeats a slot or a label.
    """
    tray: dict[int, str] = {}
    for number, line in enumerate(text.strip().splitlines(), start=1):
        words = line.split()
        if len(words) != 2 or not words[0].isdecimal():
            raise TrayMapError(f"tray map, line {number}: {line!r} is not 'slot label'")
        slot, label = int(words[0]), words[1]
        if slot in tray:
            raise TrayMapError(f"tray map, line {number}: slot {slot} appears twice")
        if label in tray.values():
            raise TrayMapError(f"tray map, line {number}: {label} appears twice")
        tray[slot] = label
    return tray


def format_tray_map(tray: Mapping[int, str]) -> str:
    """The text that `parse_tray_map` reads."""
    return "\n".join(f"{slot} {label}" for slot, label in sorted(tray.items()))
