"""Time that passes only when a test lets it."""


class HandClock:
    """A clock whose hands are moved by ``sleep`` alone."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def now_s(self) -> float:
        return self._now_s

    def sleep(self, duration_s: float) -> None:
        if duration_s > 0:
            self._now_s += duration_s
