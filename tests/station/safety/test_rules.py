"""What the rules say of one look: what can't be read, or is no number, never passes as fine."""

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.safety.remedies import remedy_for
from station.safety.rules import Snapshot, Value, breaches, broken_rule, compare, spoken
from station.safety.section import LEAVES, Rule
from tests.station.safety.lines import profile

NOT_FINITE = [math.nan, math.inf, -math.inf]
LIMITS = profile().safety


def snapshot(values: dict[str, Value], **fields: Any) -> Snapshot:
    return Snapshot(datetime.now(UTC), 0.0, values, **fields)


def rule(watch: str, **fields: Any) -> Rule:
    return Rule.model_validate({"name": "a rule", "watch": watch, **fields})


@pytest.mark.parametrize(
    ("one", "value", "finding"),
    [
        (rule("bias.voltage_v", above=40.0), 40.0, "fine"),
        (rule("bias.voltage_v", above=40.0), 40.1, "broken"),
        (rule("bias.voltage_v", below=40.0), 40.0, "fine"),
        (rule("bias.voltage_v", below=40.0), 39.9, "broken"),
        (rule("bias.current_a", magnitude_above=1e-3), -1e-3, "fine"),
        (rule("bias.current_a", magnitude_above=1e-3), -1.1e-3, "broken"),
        (rule("contact.lid.closed", equals=False), True, "fine"),
        (rule("contact.lid.closed", equals=False), False, "broken"),
        (rule("gantry.state", equals="Alarm*"), "Idle", "fine"),
        (rule("gantry.state", equals="Alarm*"), "Alarm:9", "broken"),
        (rule("gantry.position", inside="fixture"), False, "fine"),
        (rule("gantry.position", inside="fixture"), True, "broken"),
    ],
)
def test_a_value_is_compared(one: Rule, value: Value, finding: str) -> None:
    assert compare(one, value) == finding


RULES = [
    rule("bias.voltage_v", above=40.0),
    rule("bias.voltage_v", below=-40.0),
    rule("bias.voltage_v", magnitude_above=40.0),
]


@given(
    one=st.sampled_from(RULES),
    value=st.one_of(st.sampled_from(NOT_FINITE), st.text(max_size=5), st.booleans(), st.none()),
    hysteresis=st.floats(0, 5),
)
def test_what_is_no_number_is_never_fine(one: Rule, value: Value | None, hysteresis: float) -> None:
    assert compare(one, value, hysteresis) == ("unknown" if value is None else "broken")


@given(st.one_of(st.floats(), st.text(max_size=8), st.none()), st.booleans())
def test_what_is_no_flag_is_never_fine(value: Value | None, wanted: bool) -> None:
    assert compare(rule("contact.lid.closed", equals=wanted), value) != "fine"
    assert compare(rule("gantry.position", inside="fixture"), value) != "fine"


@given(st.one_of(st.floats(), st.booleans(), st.none()))
def test_what_is_no_state_is_never_fine(value: Value | None) -> None:
    assert compare(rule("gantry.state", equals="Alarm*"), value) != "fine"


@given(
    st.dictionaries(
        st.sampled_from(
            ["bias.current_a", "bias.in_compliance", "readout.temperature_c.a", "gantry.state"]
        ),
        st.one_of(
            st.floats(allow_nan=True, allow_infinity=True),
            st.booleans(),
            st.sampled_from(["Idle", "Alarm", "Run"]),
        ),
    )
)
def test_a_line_is_fine_only_when_every_value_is_there_and_good(values: dict[str, Value]) -> None:
    seen = snapshot({"bias.silent_s": 0.0, **values})
    standing = [b for one in LIMITS.all_rules() for b in breaches(one, seen)]
    current = values.get("bias.current_a")
    temperature = values.get("readout.temperature_c.a")
    fine = (
        isinstance(current, float)
        and abs(current) <= LIMITS.max_current_a
        and values.get("bias.in_compliance") is False
        and isinstance(temperature, float)
        and -math.inf < temperature <= LIMITS.max_temperature_c
        and values.get("gantry.state") in ("Idle", "Run")
    )
    assert (not standing) == fine


@given(st.sampled_from(NOT_FINITE), st.sampled_from(["bias.current_a", "readout.temperature_c.a"]))
def test_a_value_that_is_no_number_breaks_its_rule_at_once(value: float, name: str) -> None:
    broken = broken_rule(snapshot({name: value}), LIMITS)
    assert broken is not None
    assert "no number" in broken[1]


def test_every_quantity_of_a_pattern_is_judged() -> None:
    values: dict[str, Value] = {
        "readout.temperature_c.a": 20.0,
        "readout.temperature_c.b": 41.0,
        "readout.temperature_c.c": math.nan,
    }
    hot = rule("readout.temperature_c.*", above=40.0)
    assert [b.quantity[-1] for b in breaches(hot, snapshot(values))] == ["b", "c"]


def test_a_quantity_that_was_there_before_is_unknown_when_it_is_gone() -> None:
    hot = rule("readout.temperature_c.*", above=40.0)
    seen = snapshot({"readout.temperature_c.a": 20.0})
    (gone,) = breaches(hot, seen, expected=["readout.temperature_c.b"])
    assert (gone.quantity, gone.finding) == ("readout.temperature_c.b", "unknown")


def test_a_rule_that_matches_nothing_is_unknown_and_not_fine() -> None:
    (gone,) = breaches(rule("contact.lid.closed", equals=False), snapshot({}))
    assert gone.finding == "unknown"
    assert "can't be read" in gone.cause


LID = rule("contact.lid.closed", equals=False, when=({"watch": "bias.output_on", "equals": True},))


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"bias.output_on": True}, ["broken"]),
        ({"bias.output_on": False}, []),
        ({}, ["broken"]),
    ],
)
def test_a_rule_counts_only_while_its_condition_may_hold(
    values: dict[str, Value], found: list[str]
) -> None:
    seen = snapshot({"contact.lid.closed": False, **values})
    assert [b.finding for b in breaches(LID, seen)] == found


@pytest.mark.parametrize(
    ("name", "value", "one", "cause"),
    [
        (
            "bias.current_a",
            1.5e-3,
            rule("bias.current_a", magnitude_above=1e-3),
            "bias current is 1500 µA, above 1000 µA",
        ),
        (
            "climate.box.dew_margin_k",
            1.25,
            rule("climate.*.dew_margin_k", below=3.0),
            "climate box dew margin is 1.25 K, below 3 K",
        ),
        (
            "contact.lid.closed",
            False,
            rule("contact.lid.closed", equals=False),
            "contact lid closed is false",
        ),
        (
            "gantry.state",
            "Alarm:1",
            rule("gantry.state", equals="Alarm*"),
            "the gantry is in Alarm:1",
        ),
        (
            "camera.inside.fixture",
            True,
            rule("camera.position", inside="fixture"),
            "the camera is inside the zone fixture",
        ),
    ],
)
def test_a_cause_is_a_sentence_with_units(name: str, value: Value, one: Rule, cause: str) -> None:
    (breach,) = breaches(one, snapshot({name: value}))
    assert breach.cause == cause


def test_a_silent_instrument_is_named_with_what_it_did() -> None:
    silent = rule("*.silent_s", above=5.0)
    seen = snapshot({"readout.silent_s": 6.0}, silent={"readout": "no answer in time (port x)"})
    (breach,) = breaches(silent, seen)
    assert breach.cause == "readout does not answer: no answer in time (port x)"


def test_a_quantity_is_said_without_its_unit() -> None:
    assert spoken("bias.current_a") == "bias current"
    assert spoken("readout.temperature_c.board_1") == "readout temperature board 1"


def test_what_was_seen_can_be_recorded_although_it_is_no_number() -> None:
    seen = snapshot({"bias.current_a": math.inf, "readout.temperature_c.a": math.nan})
    json.dumps(seen.as_data(), allow_nan=False)


@pytest.mark.parametrize("role", LEAVES)
def test_every_quantity_of_a_line_has_a_remedy(role: str) -> None:
    for leaf in (*LEAVES[role], "silent_s"):
        text = remedy_for(f"{role}.{leaf}")
        assert text.endswith(".")
        assert text != remedy_for("nothing.known")


def test_a_trip_is_told_with_what_to_do_about_it() -> None:
    too_much = rule("bias.current_a", magnitude_above=1e-3)
    (breach,) = breaches(too_much, snapshot({"bias.current_a": 2e-3}))
    assert breach.told.startswith("bias current is 2000 µA, above 1000 µA. Look for a short")
    own = rule("bias.current_a", magnitude_above=1e-3, remedy="Call Ms Weber.")
    (breach,) = breaches(own, snapshot({"bias.current_a": 2e-3}))
    assert breach.told == "bias current is 2000 µA, above 1000 µA. Call Ms Weber."
    (gone,) = breaches(rule("contact.lid.closed", equals=False), snapshot({}))
    assert "its cable" in gone.told


def test_the_advice_of_an_instrument_is_not_told_twice() -> None:
    silent = rule("*.silent_s", above=5.0)
    said = "no answer in time (port x). Check that the instrument is on."
    (breach,) = breaches(silent, snapshot({"readout.silent_s": 6.0}, silent={"readout": said}))
    assert breach.told == f"readout does not answer: {said}"
