"""The command `tessera iv`."""

from station.commands.answers import Exit, fail


def iv() -> None:
    """Not there yet."""
    fail("not there yet", Exit.STOPPED)
