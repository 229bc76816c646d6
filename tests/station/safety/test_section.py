"""Rules as data: what a profile may say, and how it is told what is wrong."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from station.profile_file import load_profile
from station.safety.section import SAFE_STEPS, Condition, Rule, SafetySection
from station.settings import SettingsError
from tests.station.safety.lines import profile, write_line


def rule(**fields: Any) -> Rule:
    return Rule.model_validate({"name": "a rule", "watch": "bias.current_a", **fields})


@pytest.mark.parametrize(
    "watch",
    [
        "bias.current_a",
        "readout.temperature_c.*",
        "readout.temperature_c.board 1",
        "climate.box.dew_margin_k",
        "climate.*.humidity_percent",
        "chiller.bath_c",
        "gantry.x_mm",
        "*.silent_s",
        "climate.box.silent_s",
        "camera.silent_s",
    ],
)
def test_a_rule_may_watch_what_a_line_shows(watch: str) -> None:
    assert rule(watch=watch, above=1.0).quantity == watch


@pytest.mark.parametrize(
    ("watch", "says"),
    [
        ("bias.curent_a", "bias.current_a"),
        ("bais.current_a", "one of bias"),
        ("current", "a quantity such as"),
        ("climate.box.wetness", "humidity_percent"),
        ("*.current_a", "one of bias"),
    ],
)
def test_a_rule_about_what_no_line_shows_is_refused_with_what_there_is(
    watch: str, says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        rule(watch=watch, above=1.0)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "none is given"),
        ({"above": 1.0, "below": 0.0}, "not above and below"),
        ({"inside": "fixture"}, "gantry.position"),
        ({"watch": "gantry.position", "above": 1.0}, "'inside' together"),
        ({"watch": "contact.lid.closed", "equals": False, "hysteresis": 1.0}, "no 'hysteresis'"),
        ({"above": 1.0, "action": ("light_off",)}, "'bias_down' among the steps"),
        ({"above": float("nan")}, "finite"),
        ({"above": 1.0, "for_s": -1.0}, "greater than or equal"),
        ({"above": 1.0, "severity": "maybe"}, "'trip' or 'warn'"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        rule(**fields)


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        (("light_off",), "no safe state leaves the bias on"),
        (("bias_down", "bias_down"), "each step once"),
        (("bias_switch_open", "bias_down"), "after 'bias_down'"),
    ],
)
def test_a_safe_state_that_is_not_safe_is_refused(steps: tuple[str, ...], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        profile(safe_state=steps)


def test_the_safe_state_is_complete_unless_the_profile_says_otherwise() -> None:
    assert profile().safety.safe_state == SAFE_STEPS


def test_two_rules_of_one_name_are_refused() -> None:
    twice = [{"name": "lid", "watch": "contact.lid.closed", "equals": False}] * 2
    with pytest.raises(ValidationError, match="'lid' is there twice"):
        profile(rules=twice)


def test_the_short_forms_are_rules_before_the_rules_of_the_file() -> None:
    section = SafetySection(
        max_current_a=1e-3,
        max_temperature_c=40.0,
        silent_after_s=5.0,
        rules=(Rule(name="lid", watch="contact.lid.closed", equals=False),),
    )
    names = [one.name for one in section.all_rules()]
    assert names[0] == "silent-instrument"
    assert {"over-current", "over-temperature", "gantry-alarm"} < set(names)
    assert names[-1] == "lid"


def test_a_zone_is_watched_by_a_flag_of_its_own() -> None:
    inside = Condition(watch="camera.position", inside="fixture")
    assert inside.quantity == "camera.inside.fixture"


def test_a_rule_in_a_profile_file_is_read_back_and_its_mistakes_have_a_line(
    tmp_path: Path,
) -> None:
    with_rules = profile(
        rules=[
            {
                "name": "dew",
                "watch": "climate.box.dew_margin_k",
                "below": 3.0,
                "hysteresis": 1.0,
                "for_s": 10.0,
                "when": [{"watch": "bias.output_on", "equals": True}],
                "severity": "warn",
            }
        ]
    ).model_copy(update={"climate": ()})
    file = write_line(tmp_path, with_rules)
    text = file.read_text()
    file.write_text(text.replace("below = 3.0", "belw = 3.0"))
    with pytest.raises(SettingsError, match=r"line.toml:\d+: safety.rules\[0\].belw"):
        load_profile(file)


@pytest.mark.parametrize(
    ("watch", "says"),
    [
        ("contact.lid.closed", r"rules\[0\]\.watch.*contacts"),
        ("climate.box.silent_s", r"rules\[0\]\.watch.*climate"),
        ("chiller.bath_c", r"rules\[0\]\.watch.*\[chiller\]"),
    ],
)
def test_a_rule_about_what_this_line_has_not_is_refused(
    tmp_path: Path, watch: str, says: str
) -> None:
    comparison = {"equals": False} if watch.endswith("closed") else {"above": 5.0}
    file = write_line(tmp_path, profile(rules=[{"name": "one", "watch": watch, **comparison}]))
    with pytest.raises(SettingsError, match=says):
        load_profile(file)


def test_a_cold_surface_that_no_line_shows_is_refused() -> None:
    with pytest.raises(ValidationError, match="a quantity of one of"):
        profile(dew_surfaces=("readout.temperature_c.*", "chiler.bath_c"))
    with pytest.raises(ValidationError, match=r"chiller\.bath_c"):
        profile(dew_surfaces=("chiller.bath",))
