"""What the set-up of a line is, as people are shown it."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from station.commissioning.result import Change
from station.events import LineState, Message
from station.safety import Trip
from station.safety.section import Rule
from station.session import Session, open_session
from station.setup_facts import STEP_WORDS, change_facts, rule_text
from station.twin.server import Twin
from tests.station.conftest import SPEED

assert SPEED > 1


class Trips:
    """Waits until the line says that it tripped, or that it no longer is."""

    def __init__(self) -> None:
        self.latched = threading.Event()

    def __call__(self, message: Message) -> None:
        if isinstance(message, LineState) and message.trip is not None:
            self.latched.set()


@pytest.fixture
def trips() -> Trips:
    return Trips()


@pytest.fixture
def session(twin: Twin, tmp_path: Path, trips: Trips) -> Iterator[Session]:
    opened = open_session(
        tmp_path / "data",
        line_file=tmp_path / "twin" / "line.toml",
        operator="A. Weber",
        listener=trips,
    )
    yield opened
    opened.close()


def test_the_setup_names_instruments_rules_and_steps(session: Session, tmp_path: Path) -> None:
    facts = session.setup()
    assert facts.line_file == tmp_path / "twin" / "line.toml"
    assert [one.role for one in facts.instruments] == ["bias", "readout", "gantry", "camera"]
    assert facts.instruments[0].serial == session.line.bias.identity.serial
    assert {"over-current", "over-temperature", "silent-instrument"} <= {
        rule.name for rule in facts.rules
    }
    assert [step.step for step in facts.steps] == list(STEP_WORDS)
    assert facts.next_step is not None
    assert facts.next_step.step == "focus"
    assert not facts.may_save
    assert facts.trips == ()


def test_a_trip_is_told_until_it_is_reset_and_then_by_whom(session: Session, trips: Trips) -> None:
    session.line.interlock.trip(
        Trip(datetime.now(UTC), "over-current", "bias.current_a is 0.0016, beyond ±0.0015")
    )
    assert trips.latched.wait(20)
    (latched,) = session.setup().trips
    assert latched.cause.startswith("over-current: bias.current_a is 0.0016")
    assert latched.reset == ""
    session.reset_trip("A. Weber", "the short is gone")
    (past,) = session.setup().trips
    assert "reset by A. Weber: the short is gone" in past.reset


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (Rule(name="a", watch="bias.current_a", magnitude_above=1e-3), "beyond ±0.001"),
        (Rule(name="a", watch="chiller.bath_c", below=-5, for_s=10), "below -5 for 10 s"),
        (Rule(name="a", watch="contact.lid.closed", equals=False), "is false"),
        (Rule(name="a", watch="gantry.state", equals="Alarm*"), "is Alarm*"),
        (Rule(name="a", watch="gantry.position", inside="post"), "inside post"),
    ],
)
def test_a_rule_is_told_in_words(rule: Rule, text: str) -> None:
    assert rule_text(rule) == f"{rule.watch} {text}"


def test_what_was_measured_stands_beside_what_was_there() -> None:
    field = ("camera", "offset_x_mm")
    moved = change_facts(Change("camera_offset_x", field, 85.0, 84.8, 0.01, "mm"))
    assert (moved.before, moved.now, moved.moved, moved.kept) == (
        "85",
        "84.800 ± 0.010",
        "-20 σ",
        True,
    )
    only_told = change_facts(Change("gantry_scale_x", None, None, 1.00002, 3e-5, "1"))
    assert (only_told.before, only_told.unit, only_told.moved, only_told.kept) == (
        "–",
        "",
        "",
        False,
    )
