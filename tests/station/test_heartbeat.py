"""While the station closes its heart beats on, but never for a close that hangs."""

import threading

from station.heartbeat import beating


class Heart:
    def __init__(self) -> None:
        self.beats = 0
        self.beaten = threading.Event()

    def beat(self) -> None:
        self.beats += 1
        self.beaten.set()

    def alive(self) -> bool:
        return True


def test_the_heart_beats_while_the_body_works_and_not_after() -> None:
    heart = Heart()
    with beating(heart, 60.0):
        assert heart.beaten.wait(10)
    after = heart.beats
    heart.beaten.clear()
    assert not heart.beaten.wait(0.5)
    assert heart.beats == after


def test_a_body_that_hangs_is_left_to_the_watchdog() -> None:
    heart = Heart()
    with beating(heart, 0.0):
        assert not heart.beaten.wait(0.5)
