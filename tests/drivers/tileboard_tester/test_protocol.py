import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.tileboard_tester import chips, converters, protocol
from drivers.tileboard_tester.protocol import BoardConstants, LedRun, ProtocolError


def test_gpio_words_are_those_of_tester_version_3() -> None:
    assert protocol.GPIO_DIRECTION == 0x0FFFFF9C
    assert protocol.LED_MASK == 0x80
    assert protocol.LED_GROUPS_MASK == 0xFF00
    assert protocol.BIAS_MASK == 0x300000
    assert protocol.LDO_MASK == 0x400000
    assert protocol.SOFT_START_MASK == 0x800000
    assert protocol.RESET_MASK == 0b11100


def test_both_bias_pins_are_outputs_and_in_the_mask() -> None:
    for bit in (20, 21):
        assert protocol.BIAS_MASK >> bit & 1
        assert protocol.GPIO_DIRECTION >> bit & 1
    assert protocol.BIAS_MASK != 0x11 << 20


def test_commands_carry_decimal_integers() -> None:
    assert protocol.set_gpio_direction(0x0FFFFF9C) == "set_gbtsca_gpio_direction 268435356"
    assert protocol.set_gpio(0x80, 0x80) == "set_gbtsca_gpio_vals 128 128"
    assert protocol.set_dac("A", 17) == "set_gbtsca_dac A 17"
    assert protocol.read_dac("B") == "read_gbtsca_dac B"
    assert protocol.read_converter(18) == "read_gbtsca_adc 18"


@pytest.mark.parametrize(
    # R = 1800 / (2.5 * 4095 / counts - 1)
    ("counts", "resistance_ohm"),
    [(4095, 1200.0), (2048, 450.138), (3656, 999.893), (0, 0.0)],
)
def test_pt1000_resistance_follows_the_divider(counts: int, resistance_ohm: float) -> None:
    assert converters.pt1000_ohm(counts) == pytest.approx(resistance_ohm, abs=0.001)


@pytest.mark.parametrize(
    # IEC 60751 table for a platinum resistor of 1000 ohm
    ("temperature_c", "resistance_ohm"),
    [(-30.0, 882.22), (0.0, 1000.0), (25.0, 1097.35), (50.0, 1193.97)],
)
def test_pt1000_temperature_agrees_with_the_standard_table(
    temperature_c: float, resistance_ohm: float
) -> None:
    counts = converters.converter_counts(2.5 * resistance_ohm / (resistance_ohm + 1800.0))
    step_k = 0.13
    assert converters.pt1000_temperature_c(counts) == pytest.approx(temperature_c, abs=step_k / 2)


@given(st.floats(-50.0, 51.0))
def test_pt1000_temperature_survives_the_converter_within_half_a_step(temperature_c: float) -> None:
    counts = converters.pt1000_counts(temperature_c)
    assert converters.pt1000_temperature_c(counts) == pytest.approx(temperature_c, abs=0.07)


@pytest.mark.parametrize("counts", [0, 1, 2000, 4095])
def test_a_broken_pt1000_has_no_temperature(counts: int) -> None:
    with pytest.raises(ProtocolError, match="PT1000"):
        converters.pt1000_temperature_c(counts)


def test_bias_and_supply_dividers() -> None:
    assert converters.divided_volts(3300, protocol.BIAS_DIVIDER) == pytest.approx(
        3300 / 4095 * 330500 / 6490
    )
    assert converters.divided_volts(3300, protocol.SUPPLY_DIVIDER) == pytest.approx(
        3300 / 4095 * 60700 / 4700
    )


def test_bias_current_is_the_mirror_current_times_800() -> None:
    assert converters.sensed_current_a(276) == pytest.approx(276 / 4095 / 27e3 * 800)


def test_a_converter_at_its_end_gives_no_number() -> None:
    with pytest.raises(ProtocolError, match="at least 50"):
        converters.divided_volts(4095, protocol.BIAS_DIVIDER)
    with pytest.raises(ProtocolError):
        converters.sensed_current_a(4095)
    with pytest.raises(ProtocolError, match="outside"):
        converters.converter_volts(4096)
    with pytest.raises(ProtocolError, match="outside"):
        converters.converter_volts(-1)


@pytest.mark.parametrize(("reply", "number"), [("42", 42), (" 42\n", 42), ("0x2a", 42), ("0", 0)])
def test_integers_are_read_decimal_or_hexadecimal(reply: str, number: int) -> None:
    assert protocol.parse_integer(reply, 0, 4095) == number


@pytest.mark.parametrize("reply", ["", "4.5", "ready", "-1", "4096", "12 13", "nan"])
def test_anything_else_is_no_integer(reply: str) -> None:
    with pytest.raises(ProtocolError):
        protocol.parse_integer(reply, 0, 4095)


def test_the_led_run_is_the_field_s() -> None:
    tree = protocol.daq_document(LedRun(bx_l1a=41), 2500)
    assert tree == {
        "daq": {
            "active_menu": "calibAndL1A",
            "menus": {
                "calibAndL1A": {
                    "NEvents": 2500,
                    "bxCalib": 16,
                    "bxL1A": 41,
                    "calibType": "CALPULEXT",
                    "lengthCalib": 4,
                    "lengthL1A": 1,
                    "prescale": 15,
                    "repeatOffset": 0,
                }
            },
        }
    }


def test_the_led_run_takes_703_triggers_per_second() -> None:
    assert LedRun().trigger_rate_hz == pytest.approx(40.079e6 / 3564 / 16, rel=1e-4)


@pytest.mark.parametrize(
    "setting",
    [
        {"bx_l1a": -1},
        {"bx_l1a": 3564},
        {"phase_ck": 16},
        {"phase_ck": 1.5},
        {"phase_ck": True},
        {"length_calib": 0},
        {"prescale": -1},
        {"calib_type": "LED"},
    ],
)
def test_settings_without_room_are_refused(setting: dict[str, object]) -> None:
    with pytest.raises(ProtocolError):
        LedRun(**setting)  # type: ignore[arg-type]


@pytest.mark.parametrize("n_events", [0, -1, 10_000_001])
def test_impossible_event_numbers_are_refused(n_events: int) -> None:
    with pytest.raises(ProtocolError, match="n_events"):
        protocol.daq_document(LedRun(), n_events)


@pytest.mark.parametrize(
    "text", ["", "just words", "- a\n- b", "{a: [", "a: !!python/object:os.system x"]
)
def test_only_a_plain_yaml_mapping_is_a_document(text: str) -> None:
    with pytest.raises(ProtocolError):
        protocol.from_yaml(text)


def test_trees_survive_yaml() -> None:
    tree = chips.phase_document(7, 2)
    assert protocol.from_yaml(protocol.to_yaml(tree)) == tree


@pytest.mark.parametrize(
    "constants",
    [
        {"n_rocs": 0},
        {"n_rocs": 3},
        {"overvoltage_dacs": {2.0: (256, 0)}},
        {"overvoltage_dacs": {math.nan: (1, 0)}},
        {"pt1000_channels": {"tile": 8}},
        {"bias_divider": 0.0},
    ],
)
def test_impossible_board_constants_are_refused(constants: dict[str, object]) -> None:
    with pytest.raises(ProtocolError):
        BoardConstants(**constants)  # type: ignore[arg-type]


def test_led_groups_are_switched_off_by_set_bits() -> None:
    assert protocol.led_groups_off_word([True] * 8) == 0
    assert protocol.led_groups_off_word([True, False] + [True] * 6) == 1 << 9
    with pytest.raises(ProtocolError, match="8 LED groups"):
        protocol.led_groups_off_word([True])
