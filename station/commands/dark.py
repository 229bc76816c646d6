"""The command `tessera dark`."""

from station.commands.answers import Exit, fail


def dark() -> None:
    """Not there yet."""
    fail("not there yet", Exit.STOPPED)
