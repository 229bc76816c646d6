import pytest

from drivers.errors import (
    InstrumentRefused,
    MachineAlarm,
    SetpointRefused,
)
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


def test_a_set_point_that_the_circulator_does_not_take_is_refused(
    simulator: HuberSimulator,
) -> None:
    chiller = Huber.open(simulator.path, lowest_c=-80.0, highest_c=90.0)
    with pytest.raises(SetpointRefused, match="keeps its set-point of 20 C"):
        chiller.set_temperature(-60.0)
    chiller.close()


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
