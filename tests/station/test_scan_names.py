import pytest

from station.scan_names import Conditions, compiled, conditions_by, conditions_of


@pytest.mark.parametrize(
    ("name", "bias"),
    [
        ("53.5V.csv", 53.5),
        ("ch7_53p5V.txt", 53.5),
        ("ch7_53,5V.txt", 53.5),
        ("bias_53.5.csv", 53.5),
        ("Vbias=54.3V.csv", 54.3),
        ("V53.5.csv", 53.5),
        ("HV54.2.npz", 54.2),
        ("spec_v2_53V.csv.gz", 53.0),
        ("led_3.2V_53V.csv", 53.0),
        ("53V/channel_07.csv", 53.0),
        ("scan.root:ch3_53.5V", 53.5),
        ("run_53V_500mV.csv", 53.0),
    ],
)
def test_the_bias_is_read_from_common_forms(name: str, bias: float) -> None:
    assert conditions_of(name).bias_v == pytest.approx(bias)


@pytest.mark.parametrize("name", ["OV_3.csv", "run_OV3.0_ch1.txt", "3.0OV.csv", "3Vov.npz", "dV3"])
def test_an_overvoltage_is_no_bias(name: str) -> None:
    told = conditions_of(name)
    assert told.overvoltage_v == 3.0
    assert told.bias_v is None


@pytest.mark.parametrize(
    ("name", "temperature"),
    [
        ("53V_-20C.csv", -20.0),
        ("53V_T-20C.csv", -20.0),
        ("53V_T=-20.csv", -20.0),
        ("m20C_53V.csv", -20.0),
        ("53V_25degC.csv", 25.0),
        ("-20C/53V/ch1.csv", -20.0),
        ("temp20_53V", 20.0),
        ("T1_53V.csv", None),
        ("channel_07.csv", None),
        ("53V-20C.csv", None),
        ("bias-53.5_T-25.csv", None),
    ],
)
def test_the_temperature_is_read_where_its_sign_is_clear(
    name: str, temperature: float | None
) -> None:
    told = conditions_of(name)
    assert told.temperature_c == temperature
    assert bool(told.notes) == (name in {"53V-20C.csv", "bias-53.5_T-25.csv"})


@pytest.mark.parametrize(
    ("name", "light"),
    [
        ("M11_LED_12.5muA.csv", 12.5e-6),
        ("M11_LED_100nA.csv", 1e-7),
        ("53V_10uA.csv", 1e-5),
        ("led_3.2V_53V.csv", 3.2),
        ("53V_5pe.csv", 5.0),
        ("M11_LED_dark.csv", 0.0),
    ],
)
def test_the_light_is_read(name: str, light: float) -> None:
    assert conditions_of(name).light == pytest.approx(light)


def test_nothing_below_ten_volts_is_taken_for_a_bias() -> None:
    assert conditions_of("bias0/tile5V.csv").bias_v is None
    assert conditions_of("led5V_53V.csv").bias_v == 53.0


def test_two_voltages_are_not_guessed_between() -> None:
    told = conditions_of("25.0V_and_26V.csv")
    assert told.bias_v is None
    assert "two voltages, 25 and 26" in told.notes[0]


def test_a_pattern_of_the_user_is_obeyed() -> None:
    assert conditions_by(compiled(r"b(\d+)"), "b53_t4") == Conditions(bias_v=53.0)
    both = compiled(r"b(?P<bias>\d+)_t(?P<temperature>-?\d+)")
    assert conditions_by(both, "b53_t-4") == Conditions(bias_v=53.0, temperature_c=-4.0)
    with pytest.raises(ValueError, match="does not match"):
        conditions_by(both, "x")
    with pytest.raises(ValueError, match="is not a number"):
        conditions_by(compiled("(b)53"), "b53")


@pytest.mark.parametrize(
    ("pattern", "why"), [("(", "regular"), (r"\d+", "no group"), (r"(?P<volt>\d)", "named")]
)
def test_a_pattern_that_cannot_be_used_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        compiled(pattern)
