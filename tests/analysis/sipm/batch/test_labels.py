"""What names say about channel, bias, temperature and light."""

import pytest

from analysis.sipm.batch.labels import Label, label_of, light_of


@pytest.mark.parametrize(
    ("name", "channel", "bias_v", "temperature_c", "light"),
    [
        ("ch07_40.8V_on.csv", 7, 40.8, None, "on"),
        ("boardA/ch07_40.8V_off.csv", 7, 40.8, None, "off"),
        ("run_-30C_channel_12_bias41p5_led_off.npz", 12, 41.5, -30.0, "off"),
        ("40.8V/25C/ch3/on.txt", 3, 40.8, 25.0, "on"),
        ("7.csv", 7, None, None, None),
        ("h_charge_ch012_40.8V", 12, 40.8, None, None),
        ("sipm_12_hv_55", 12, 55.0, None, None),
        ("S13360_1325_56V.csv.gz", None, 56.0, None, None),
        ("ch5_temp21.5_pedestal.csv", 5, None, 21.5, "off"),
        ("ch7_V40.8_T25C", 7, 40.8, 25.0, None),
    ],
)
def test_usual_names_are_understood(
    name: str,
    channel: int | None,
    bias_v: float | None,
    temperature_c: float | None,
    light: str | None,
) -> None:
    label = label_of(name)
    assert (label.channel, label.bias_v) == (channel, bias_v)
    assert (label.temperature_c, label.light) == (temperature_c, light)


@pytest.mark.parametrize(
    "name", ["spectrum_v2.csv", "M11_LED_12.5muA.csv", "charge_7pe.csv", "scan_3Vov.csv"]
)
def test_numbers_that_are_no_bias_are_not_taken_for_one(name: str) -> None:
    label = label_of(name)
    assert label.bias_v is None
    assert label.channel is None


def test_the_rest_is_the_same_for_both_lights_and_all_biases_but_not_for_other_runs() -> None:
    on, off = label_of("b/run3_ch1_40V_on.csv"), label_of("b/run3_ch1_41.5V_led_off.csv")
    assert on.rest == off.rest == "b/run3_ch1"
    assert label_of("b/run4_ch1_40V_on.csv").rest != on.rest
    assert on.folder == "b"


def test_a_pattern_says_what_is_what() -> None:
    label = label_of("x/dev3_c12_40p8_on_123.csv", "{device}_c{channel}_{bias_v}_{light}_{}")
    assert label == Label("dev3/12", "dev3", 12, 40.8, None, "on")


def test_a_name_that_does_not_fit_the_pattern_has_only_a_rest() -> None:
    label = label_of("other_40V.csv", "c{channel}_{bias_v}")
    assert label.channel is None
    assert label.bias_v is None
    assert label.rest == "other_40V"


@pytest.mark.parametrize("pattern", ["ch_V", "{channel}_{channel}", "{two words}"])
def test_a_pattern_without_sense_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        label_of("ch1", pattern)


def test_something_in_a_file_is_completed_by_the_name_of_the_file() -> None:
    inner = label_of("h_ch3").within(label_of("lab/run1_40.8V_25C_off.root"))
    assert (inner.channel, inner.bias_v, inner.temperature_c) == (3, 40.8, 25.0)
    assert inner.light == "off"
    assert inner.rest == "lab/run1/h_ch3"


@pytest.mark.parametrize(
    ("word", "light"),
    [("1", "on"), ("OFF", "off"), ("led_on", "on"), ("dark", "off"), ("false", "off"), ("x", None)],
)
def test_words_of_light(word: str, light: str | None) -> None:
    assert light_of(word) == light
