import pytest

from drivers.errors import (
    InstrumentError,
    InstrumentRefused,
    InstrumentTimeout,
    MachineAlarm,
    OrdersLost,
    SetpointRefused,
    WrongInstrument,
)
from drivers.faults import FaultKind
from drivers.huber import Huber, HuberSimulator
from drivers.roles import Chiller
from tests.drivers.hand_clock import HandClock


def test_it_is_a_chiller(chiller: Huber) -> None:
    role: Chiller = chiller
    assert (role.identity.maker, role.identity.model) == ("Huber", "UNISTAT405W")


def test_the_bath_follows_the_set_point_with_inertia(
    chiller: Huber, simulator: HuberSimulator, clock: HandClock
) -> None:
    chiller.set_temperature(-15.0)
    chiller.start()
    assert chiller.running()
    clock.sleep(100)
    assert -15.0 < chiller.bath_c() < 22.0
    clock.sleep(6000)
    assert chiller.bath_c() == pytest.approx(-15.0, abs=0.1)
    chiller.stop()
    assert not chiller.running()
    clock.sleep(5000)
    assert simulator.bath_c > 0


@pytest.mark.parametrize("temperature_c", [-30.1, 30.1, float("nan")])
def test_a_set_point_beyond_the_site_s_limits_is_never_sent(
    chiller: Huber, temperature_c: float
) -> None:
    with pytest.raises(SetpointRefused, match="-30 to 30"):
        chiller.set_temperature(temperature_c)
    assert chiller.setpoint_c() == 20.0


def test_a_set_point_that_the_circulator_does_not_take_is_refused(
    simulator: HuberSimulator,
) -> None:
    chiller = Huber.open(simulator.path, lowest_c=-80.0, highest_c=90.0)
    with pytest.raises(SetpointRefused, match="keeps its set-point of 20 C"):
        chiller.set_temperature(-60.0)
    chiller.close()


def test_after_a_power_loss_it_says_that_its_orders_are_lost_and_takes_them_again(
    chiller: Huber, simulator: HuberSimulator
) -> None:
    chiller.set_temperature(3.0)
    chiller.start()
    simulator.lose_power()
    chiller._deadline_s = 0.1
    with pytest.raises(InstrumentTimeout):
        chiller.bath_c()
    chiller._deadline_s = 1.0
    simulator.return_power()
    with pytest.raises(OrdersLost, match="was started and now is off"):
        chiller.running()
    with pytest.raises(OrdersLost, match="is 20 C, ordered were 3 C"):
        chiller.setpoint_c()
    chiller.resend()
    assert chiller.running()
    assert chiller.setpoint_c() == 3.0


def test_an_alarm_has_a_remedy(chiller: Huber, simulator: HuberSimulator) -> None:
    chiller.start()
    simulator.drain()
    for act in (chiller.running, chiller.start):
        with pytest.raises(MachineAlarm, match="level"):
            act()
    simulator.drain(is_low=False)
    chiller.resend()
    assert simulator.circulating
    simulator.bath.temperature_c = 120.0
    with pytest.raises(MachineAlarm):
        chiller.running()


def test_the_external_sensor_is_read_or_missed(chiller: Huber, simulator: HuberSimulator) -> None:
    with pytest.raises(InstrumentRefused, match="no external sensor"):
        chiller.external_c()
    simulator.external_c = 18.25
    assert chiller.external_c() == 18.25


def recovered_bath_c(chiller: Huber) -> float:
    """The temperature after a fault, whose last bytes may still spoil one question."""
    try:
        return chiller.bath_c()
    except InstrumentError:
        return chiller.bath_c()


@pytest.mark.parametrize("kind", ["late", "lost", "garbled", "truncated", "duplicated", "misread"])
def test_a_spoilt_reply_gives_an_error_or_the_truth_and_never_a_wrong_number(
    chiller: Huber, simulator: HuberSimulator, kind: FaultKind
) -> None:
    for where in (0.05, 0.5, 0.95):
        chiller._deadline_s = 0.1
        simulator.faults.plan(kind, delay_s=0.12, where=where)
        try:
            value_c = chiller.bath_c()
        except InstrumentError:
            pass
        else:
            assert value_c == 22.0
        chiller._deadline_s = 1.0
        simulator.faults.clear()
        assert recovered_bath_c(chiller) == 22.0


def test_another_circulator_on_the_port_is_refused(
    chiller: Huber, simulator: HuberSimulator
) -> None:
    simulator.faults.plan("lost")
    chiller._deadline_s = 0.1
    with pytest.raises(InstrumentTimeout):
        chiller.bath_c()
    chiller._deadline_s = 1.0
    simulator.faults.plan("wrong_identity")
    with pytest.raises(WrongInstrument, match="UNISTAT516W"):
        chiller.bath_c()
    assert chiller.bath_c() == 22.0


def test_the_port_that_goes_away_and_comes_back_is_found_again(
    chiller: Huber, simulator: HuberSimulator
) -> None:
    simulator.faults.plan("disconnect", delay_s=0.05)
    with pytest.raises(InstrumentError):
        chiller.bath_c()
    assert chiller.bath_c() == 22.0
