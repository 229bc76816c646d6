import threading

import pytest

from drivers.clock import RealClock
from drivers.errors import (
    BrokenReply,
    InstrumentError,
    InstrumentLost,
    InstrumentRefused,
    WrongInstrument,
)
from drivers.faults import FaultKind
from drivers.roles import HumiditySensor
from drivers.sc18im700.simulator import BridgeSimulator
from drivers.sensirion import Sensirion, SensirionSimulator, open_all
from drivers.transport import open_i2c
from tests.drivers.sensirion.conftest import Air


def test_it_is_a_humidity_sensor(sensor: Sensirion) -> None:
    role: HumiditySensor = sensor
    assert (role.identity.maker, role.identity.serial) == ("Sensirion", "0123ABCD")


@pytest.mark.parametrize(("temperature_c", "percent"), [(-40.0, 0.0), (21.5, 34.0), (60.0, 100.0)])
def test_temperature_and_humidity_come_through_the_bridge(
    sensor: Sensirion, air: Air, temperature_c: float, percent: float
) -> None:
    air.temperature_c, air.humidity_percent = temperature_c, percent
    reading = sensor.read()
    assert reading.temperature_c == pytest.approx(temperature_c, abs=0.002)
    assert reading.humidity_percent == pytest.approx(percent, abs=0.001)


def test_two_sensors_share_a_bus(
    air: Air, device: SensirionSimulator, bridge: BridgeSimulator
) -> None:
    bridge.devices[0x45] = SensirionSimulator(lambda: (5.0, 80.0), RealClock(), serial=7)
    bus = open_i2c(bridge.path)
    inside, outside = Sensirion(bus), Sensirion(bus, i2c_address=0x45)
    wrong: list[float] = []

    def look(sensor: Sensirion, expected_c: float) -> None:
        for _ in range(10):
            if abs((seen_c := sensor.read().temperature_c) - expected_c) > 0.01:
                wrong.append(seen_c)

    threads = [
        threading.Thread(target=look, args=args) for args in ((inside, 21.5), (outside, 5.0))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    bus.close()


def test_a_bus_closes_with_its_last_sensor(bridge: BridgeSimulator) -> None:
    bridge.devices[0x45] = SensirionSimulator(lambda: (5.0, 80.0), RealClock(), serial=7)
    inside, outside = open_all(bridge.path, [0x44, 0x45])
    inside.close()
    inside.close()
    assert outside.read().temperature_c == pytest.approx(5.0, abs=0.01)
    outside.close()
    with pytest.raises(InstrumentLost):
        outside.read()
    del bridge.devices[0x45]
    with pytest.raises(InstrumentRefused):
        open_all(bridge.path, [0x44, 0x45])
    again = Sensirion.open(bridge.path)
    again.close()


def test_a_wrong_checksum_never_gives_a_number(
    sensor: Sensirion, device: SensirionSimulator
) -> None:
    device.wrong_checksums = 1
    assert sensor.read().temperature_c == pytest.approx(21.5, abs=0.01)
    device.wrong_checksums = 2
    with pytest.raises(BrokenReply, match=r"checksum.*0x44"):
        sensor.read()


def test_an_unplugged_sensor_is_named_and_found_again(
    sensor: Sensirion, device: SensirionSimulator
) -> None:
    device.unplugged = True
    with pytest.raises(InstrumentRefused, match="0x44"):
        sensor.read()
    device.unplugged = False
    sensor.check_identity()
    assert sensor.read().humidity_percent == pytest.approx(34.0, abs=0.01)
    device.replace(serial=99)
    with pytest.raises(WrongInstrument, match="expected the sensor 0123ABCD, found 00000063"):
        sensor.check_identity()


def test_the_heater_is_switched_and_read_back(
    sensor: Sensirion, device: SensirionSimulator
) -> None:
    sensor.heat()
    assert device.heater_on
    with pytest.raises(InstrumentRefused, match="heater is on"):
        sensor.read()
    sensor.stop_heating()
    assert sensor.read().temperature_c == pytest.approx(21.5, abs=0.01)
    sensor.heat()
    sensor.reset()
    assert not device.heater_on
    assert not sensor.status().was_reset


def test_a_bus_without_a_sensor_is_refused(bridge: BridgeSimulator) -> None:
    with pytest.raises(InstrumentRefused, match="0x45"):
        Sensirion.open(bridge.path, i2c_address=0x45, deadline_s=1.0)


@pytest.mark.parametrize("kind", ["late", "lost", "garbled", "truncated", "duplicated", "misread"])
def test_a_spoilt_reply_gives_an_error_or_the_truth_and_never_a_wrong_number(
    sensor: Sensirion, bridge: BridgeSimulator, kind: FaultKind
) -> None:
    for where in (0.1, 0.9):
        sensor._deadline_s = 0.15
        bridge.faults.plan(kind, delay_s=0.2, where=where)
        try:
            reading = sensor.read()
        except InstrumentError:
            pass
        else:
            assert reading.temperature_c == pytest.approx(21.5, abs=0.01)
            assert reading.humidity_percent == pytest.approx(34.0, abs=0.01)
        sensor._deadline_s = 2.0
        bridge.faults.clear()
        for _ in range(3):
            try:
                reading = sensor.read()
            except InstrumentError:
                continue
            break
        assert reading.temperature_c == pytest.approx(21.5, abs=0.01)
