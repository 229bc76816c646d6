"""The rules over time: persistence, hysteresis, silence."""

from datetime import UTC, datetime
from typing import Any

from station.safety.judge import Judge, Verdict
from station.safety.rules import Snapshot, Value
from tests.station.safety.lines import profile

FINE: dict[str, Value] = {
    "bias.current_a": 1e-6,
    "bias.in_compliance": False,
    "bias.silent_s": 0.0,
    "readout.temperature_c.a": 20.0,
    "readout.silent_s": 0.0,
    "gantry.state": "Idle",
}


class Looks:
    """One snapshot after the other for a judge with the rules of a profile."""

    def __init__(self, *rules: dict[str, Any]) -> None:
        self.judge = Judge(profile(rules=rules).safety)

    def at(self, s: float, gone: tuple[str, ...] = (), **changed: Value) -> Verdict:
        values = {**FINE, **{name.replace("__", "."): v for name, v in changed.items()}}
        for name in gone:
            values.pop(name)
        return self.judge.judge(Snapshot(datetime.now(UTC), s, values))


def due(verdict: Verdict) -> list[str]:
    return [breach.rule.name for breach in verdict.due]


def test_a_line_that_is_fine_has_nothing_standing() -> None:
    assert Looks().at(0.0) == Verdict((), ())


def test_a_rule_with_patience_trips_only_after_its_time() -> None:
    hot = {"name": "hot", "watch": "readout.temperature_c.*", "above": 30.0, "for_s": 2.0}
    looks = Looks(hot)
    for s in (0.0, 1.0, 1.9):
        verdict = looks.at(s, readout__temperature_c__a=35.0)
        assert due(verdict) == []
        assert [b.rule.name for b in verdict.standing] == ["hot"]
    assert due(looks.at(2.0, readout__temperature_c__a=35.0)) == ["hot"]


def test_a_fine_look_in_between_starts_the_time_anew() -> None:
    hot = {"name": "hot", "watch": "readout.temperature_c.*", "above": 30.0, "for_s": 2.0}
    looks = Looks(hot)
    looks.at(0.0, readout__temperature_c__a=35.0)
    looks.at(1.0)
    assert due(looks.at(2.0, readout__temperature_c__a=35.0)) == []


def test_a_look_that_brings_nothing_does_not_start_the_time_anew() -> None:
    hot = {"name": "hot", "watch": "readout.temperature_c.*", "above": 30.0, "for_s": 2.0}
    looks = Looks(hot)
    looks.at(0.0, readout__temperature_c__a=35.0)
    looks.at(1.0, gone=("readout.temperature_c.a",))
    assert due(looks.at(2.0, readout__temperature_c__a=35.0)) == ["hot"]


def test_a_number_is_fine_again_only_behind_its_hysteresis() -> None:
    hot = {"name": "hot", "watch": "readout.temperature_c.*", "above": 30.0, "hysteresis": 3.0}
    looks = Looks(hot)
    assert due(looks.at(0.0, readout__temperature_c__a=29.0)) == []
    assert due(looks.at(1.0, readout__temperature_c__a=31.0)) == ["hot"]
    assert due(looks.at(2.0, readout__temperature_c__a=28.0)) == ["hot"]
    assert due(looks.at(3.0, readout__temperature_c__a=27.0)) == []
    assert due(looks.at(4.0, readout__temperature_c__a=29.0)) == []


def test_a_quantity_that_stays_away_trips_like_a_silent_instrument() -> None:
    looks = Looks()
    looks.at(0.0)
    assert due(looks.at(1.0, gone=("readout.temperature_c.a",))) == []
    assert due(looks.at(5.9, gone=("readout.temperature_c.a",))) == []
    assert due(looks.at(6.0, gone=("readout.temperature_c.a",))) == ["over-temperature"]


def test_a_silent_instrument_trips_after_its_time() -> None:
    looks = Looks()
    assert due(looks.at(0.0, readout__silent_s=5.0)) == []
    assert due(looks.at(0.1, readout__silent_s=5.1)) == ["silent-instrument"]


def test_what_is_broken_is_the_cause_before_what_is_unknown() -> None:
    looks = Looks()
    looks.at(0.0)
    looks.at(1.0, gone=("bias.current_a",))
    verdict = looks.at(9.0, gone=("bias.current_a",), readout__temperature_c__a=99.0)
    assert verdict.trip is not None
    assert verdict.trip.rule.name == "over-temperature"


def test_a_warning_is_no_trip() -> None:
    warm = {"name": "warm", "watch": "readout.temperature_c.*", "above": 25.0, "severity": "warn"}
    verdict = Looks(warm).at(0.0, readout__temperature_c__a=26.0)
    assert verdict.trip is None
    assert [breach.rule.name for breach in verdict.warnings] == ["warm"]


def test_a_role_whose_driver_has_a_bug_trips_at_once() -> None:
    verdict = Looks().judge.judge(
        Snapshot(datetime.now(UTC), 0.0, FINE, faults={"gantry": "ZeroDivisionError: x"})
    )
    assert verdict.trip is not None
    assert verdict.trip.rule.name == "interlock-fault"
