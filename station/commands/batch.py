"""The command `tessera batch`."""

from station.commands.answers import Exit, fail


def batch() -> None:
    """Not there yet."""
    fail("not there yet", Exit.STOPPED)
