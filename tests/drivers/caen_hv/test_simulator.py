import pytest

from drivers.caen_hv import protocol
from drivers.caen_hv.channel_machine import ChannelMachine, SetRefused

from ..hand_clock import HandClock


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def channel(clock, world):
    channel = ChannelMachine(
        protocol.FAMILIES[0], world.current_a, clock, "+", lambda: world.temperature_c
    )
    channel.order("RUP", "10")
    channel.order("RDW", "5")
    channel.order("VSET", "40")
    return channel


def flags(channel):
    return protocol.parse_status(
        channel.monitor("STAT"), protocol.FAMILIES[0].status, port="", sent=""
    )


def test_it_ramps_up_and_down_at_its_own_rates(channel, clock):
    channel.order("ON", "")
    clock.sleep(2)
    assert channel.monitor("VMON") == "20.0"
    assert flags(channel) == {"ON", "RUP", "UNV"}
    clock.sleep(10)
    assert channel.monitor("VMON") == "40.0"
    assert flags(channel) == {"ON"}
    channel.order("VSET", "30")
    clock.sleep(1)
    assert channel.monitor("VMON") == "35.0"
    assert flags(channel) == {"ON", "RDW", "OVV"}


@pytest.mark.parametrize(("mode", "after_one_second_v"), [("RAMP", 35), ("KILL", 0)])
def test_switching_off_ramps_or_falls_as_it_is_told(channel, clock, mode, after_one_second_v):
    channel.order("PDWN", mode)
    channel.order("ON", "")
    clock.sleep(10)
    channel.order("OFF", "")
    clock.sleep(1)
    assert channel.true_voltage_v() == pytest.approx(after_one_second_v)
    assert not channel.output_is_on()


def test_the_voltage_limit_holds_it(channel, clock):
    channel.order("MAXV", "33")
    channel.order("ON", "")
    clock.sleep(10)
    assert channel.monitor("VMON") == "33.0"
    assert "MAXV" in flags(channel)


@pytest.mark.parametrize(("trip", "on"), [("5.0", False), ("1000.0", True)])
def test_over_current_folds_back_and_trips_after_its_time(channel, clock, world, trip, on):
    world.load = lambda v: 1e-5 * v
    channel.order("ISET", "200.00")
    channel.order("TRIP", trip)
    channel.order("ON", "")
    clock.sleep(10)
    assert channel.monitor("VMON") == "20.0"
    assert {"ON", "OVC"} <= flags(channel)
    clock.sleep(6)
    assert channel.output_is_on() == on
    assert ("TRIP" in flags(channel)) == (not on)


def test_a_new_start_forgets_why_it_went_off(channel, clock):
    channel.order("ON", "")
    channel.switch_off("TRIP")
    assert flags(channel) == {"TRIP"}
    channel.order("ON", "")
    assert "TRIP" not in flags(channel)


def test_a_channel_that_is_held_off_does_not_switch_on(channel):
    channel.hold_off("ILK", hold=True)
    channel.order("ON", "")
    assert not channel.output_is_on()
    channel.hold_off("ILK", hold=False)
    channel.order("ON", "")
    assert channel.output_is_on()


def test_heat_switches_it_off(channel, world):
    channel.order("ON", "")
    world.temperature_c = 110
    assert not channel.output_is_on()
    assert "OVT" in flags(channel)


@pytest.mark.parametrize(
    ("parameter", "value", "kind"),
    [("VSET", "501", "VAL"), ("VSET", "x", "VAL"), ("RUP", "0", "VAL"), ("XYZ", "1", "PAR")],
)
def test_what_it_can_not_be_set_to_is_refused(channel, parameter, value, kind):
    with pytest.raises(SetRefused, match=kind):
        channel.order(parameter, value)
