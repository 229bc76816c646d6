from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import InstrumentError, SetpointRefused
from drivers.tileboard_tester import chips
from drivers.tileboard_tester.driver import TileboardTester
from drivers.tileboard_tester.protocol import ProtocolError
from drivers.tileboard_tester.simulator import TileboardTesterSimulator


def tree(block: str, copies: Any, chip: str = "roc_s0") -> dict[str, Any]:
    return {chip: {"sc": {block: copies}}}


@st.composite
def places(draw: st.DrawFn) -> tuple[chips.Place, int]:
    block = draw(st.sampled_from(sorted(chips.REGISTERS)))
    name = draw(st.sampled_from(sorted(chips.REGISTERS[block])))
    copy = draw(st.sampled_from(chips.BLOCK_COPIES[block]))
    value = draw(st.integers(0, chips.REGISTERS[block][name].largest))
    return (draw(st.sampled_from(["roc_s0", "roc_s1"])), block, copy, name), value


@given(st.lists(places(), max_size=20).map(dict))
def test_registers_survive_their_tree(registers: dict[chips.Place, int]) -> None:
    made = chips.tree_of(registers)
    assert chips.flattened(made, 2) == registers
    assert all(chips.looked_up(made, place) == value for place, value in registers.items())


def test_all_means_every_copy() -> None:
    flat = chips.flattened(tree("ReferenceVoltage", {"all": {"Calib": 7}}), 1)
    assert flat == {("roc_s0", "ReferenceVoltage", half, "Calib"): 7 for half in (0, 1)}
    assert len(chips.flattened(tree("ch", {"all": {"trim_toa": 1}}), 1)) == 72


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (tree("ch", {0: {"trim_inv": 1}}, "roc_s1"), "no chip 'roc_s1'"),
        ({"roc_s0": {"tdc": {}}}, "'sc' alone"),
        ({"roc_s0": 5}, "'sc' alone"),
        (tree("Bottom", {"all": {"x": 1}}), "unknown sub-block 'Bottom'"),
        (tree("ch", {72: {"trim_inv": 1}}), "unknown ch 72"),
        (tree("ch", {0: {"trim": 1}}), "no register 'trim'"),
        (tree("ch", {0: {"trim_inv": 64}}), r"0\.\.63, not 64"),
        (tree("ch", {0: {"trim_inv": -1}}), r"0\.\.63, not -1"),
        (tree("ch", {0: {"LowRange": True}}), "not True"),
        (tree("ch", {0: {"trim_inv": 1.5}}), r"not 1\.5"),
        (tree("ch", {0: 5}), "unknown ch 0"),
        (tree("ch", {"all": {"trim_inv": 1}, 3: {"trim_inv": 2}}), "both 'all' and single"),
        (tree("ReferenceVoltage", {2: {"Calib": 1}}), "unknown ReferenceVoltage 2"),
        (tree("ReferenceVoltage", {0: {"Calib": 4096}}), r"0\.\.4095"),
    ],
)
def test_what_the_chips_have_not_is_refused_and_nothing_is_sent(
    tester: TileboardTester, wrong: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ProtocolError, match=reason):
        chips.flattened(wrong, 1)
    before = tester.registers()
    with pytest.raises(SetpointRefused, match=reason):
        tester.set_registers(wrong)
    assert tester.registers() == before


def test_registers_are_written_and_read_back(tester: TileboardTester) -> None:
    tester.set_registers(
        {
            "roc_s0": {
                "sc": {
                    "ReferenceVoltage": {0: {"Toa_vref": 120, "Tot_vref": 500}},
                    "ch": {"all": {"trim_inv": 31}},
                    "Top": {"all": {"phase_ck": 11}},
                }
            }
        }
    )
    found = tester.registers()["roc_s0"]["sc"]
    assert found["ReferenceVoltage"][0]["Toa_vref"] == 120
    assert found["ReferenceVoltage"][1]["Toa_vref"] == 112
    assert {channel["trim_inv"] for channel in found["ch"].values()} == {31}
    assert found["Top"]["all"]["phase_ck"] == 11


def test_a_register_that_does_not_read_back_is_an_error(
    tester: TileboardTester,
    simulator: TileboardTesterSimulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(simulator._tester.chips["roc_s0"]["sc"]["ch"], 5, _Stuck(trim_inv=0))
    with pytest.raises(InstrumentError, match=r"roc_s0 ch 5 trim_inv is 0 instead of 9"):
        tester.set_registers(tree("ch", {4: {"trim_inv": 9}, 5: {"trim_inv": 9}}))


class _Stuck(dict[str, int]):
    """Registers that keep what they have."""

    def __setitem__(self, name: str, value: int) -> None:
        pass

    def __reduce__(self) -> tuple[object, ...]:
        return dict, (dict(self),)
