"""The command `tessera scan`."""

from station.commands.answers import Exit, fail


def scan() -> None:
    """Not there yet."""
    fail("not there yet", Exit.STOPPED)
