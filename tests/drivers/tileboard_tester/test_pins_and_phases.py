import contextlib
import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from drivers.errors import (
    BrokenReply,
    InstrumentError,
    InstrumentInterrupted,
    InstrumentRefused,
    SetpointRefused,
)
from drivers.roles import ChargeReadout, ClimateSensor, LightPulser
from drivers.tileboard_tester import protocol
from drivers.tileboard_tester import world as settings_of
from drivers.tileboard_tester.driver import TileboardTester
from drivers.tileboard_tester.phase_scan import scan_phase
from drivers.tileboard_tester.run_file import RunFileError, read_run_data, run_words, write_words
from drivers.tileboard_tester.simulator import TileboardTesterSimulator
from tests.drivers.tileboard_tester.conftest import World

free_way = contextlib.nullcontext
PEAK_BX, PEAK_PHASE = 40, 6


def test_it_fulfils_its_roles(tester: TileboardTester) -> None:
    readout: ChargeReadout = tester
    light: LightPulser = tester
    climate: ClimateSensor = tester
    assert readout is light is climate


# pins


def test_pins_are_read_one_by_one_and_as_a_word(tester: TileboardTester) -> None:
    tester.pulse_on()
    word = tester.gpio_word()
    assert tester.gpio_bit(7)
    assert not tester.gpio_bit(20)
    assert [tester.gpio_bit(bit) for bit in range(32)] == [bool(word >> b & 1) for b in range(32)]
    for wrong in (-1, 32):
        with pytest.raises(ValueError, match=r"0\.\.31"):
            tester.gpio_bit(wrong)


def test_only_outputs_can_be_set(
    tester: TileboardTester, simulator: TileboardTesterSimulator
) -> None:
    tester.set_gpio(0x5 << 24, 0xF << 24)
    assert tester.ldo_trim() == 5
    before = simulator._tester.driven_pins()
    with pytest.raises(SetpointRefused, match=r"pin 0, pin 5 are no outputs"):
        tester.set_gpio(0, 0b100001)
    with pytest.raises(SetpointRefused, match="beyond the mask"):
        tester.set_gpio(0x3, 0x80)
    with pytest.raises(SetpointRefused, match="no outputs"):
        tester.set_gpio(0, 1 << 32)
    with pytest.raises(SetpointRefused, match=r"0\.\.15, not 16"):
        tester.set_ldo_trim(16)
    assert simulator._tester.driven_pins() == before


@pytest.mark.parametrize("kind", ["soft", "i2c", "hard"])
def test_a_reset_brings_the_chips_back_to_their_defaults(
    tester: TileboardTester, kind: Any
) -> None:
    tester.configure(phase_ck=9)
    tester.reset_chips(kind)
    assert tester.registers()["roc_s0"]["sc"]["Top"]["all"]["phase_ck"] == 0
    with pytest.raises(InstrumentRefused, match="before its settings"):
        tester.take(10, checkpoint=free_way, deadline_s=5.0)


def test_every_dac_is_set_and_read_back(
    tester: TileboardTester, simulator: TileboardTesterSimulator
) -> None:
    for value, name in enumerate("ABCD", start=17):
        tester.set_dac(name, value)
        assert tester.dac(name) == value
    assert simulator.dacs == {"A": 17, "B": 18, "C": 19, "D": 20}
    for name, value in (("E", 1), ("A", 256), ("A", -1)):
        with pytest.raises(SetpointRefused, match="DACs are A to D"):
            tester.set_dac(name, value)
    with pytest.raises(SetpointRefused):
        tester.dac("E")


def test_every_converter_channel_is_read(tester: TileboardTester) -> None:
    volts = [tester.converter_v(channel) for channel in range(32)]
    assert volts[18] * protocol.BIAS_DIVIDER == pytest.approx(41.0, abs=0.02)
    assert volts[31] == 0.0
    with pytest.raises(ValueError, match=r"0\.\.31"):
        tester.converter_v(32)


def test_the_power_report_is_handed_on(tester: TileboardTester) -> None:
    assert "supply_v: 10.0" in tester.power_report()


def test_a_request_can_be_broken_off(
    tester: TileboardTester, simulator: TileboardTesterSimulator
) -> None:
    simulator.faults.silent["slow"] = 1
    outcome: list[BaseException] = []

    def ask() -> None:
        try:
            tester.supply_v()
        except InstrumentInterrupted as error:
            outcome.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    while simulator.faults.silent["slow"]:
        threading.Event().wait(0.002)
    tester.interrupt()
    asking.join(5.0)
    assert len(outcome) == 1
    assert tester.supply_v() == pytest.approx(10.0, abs=0.02)


@pytest.mark.parametrize("where", [0.0, 0.3, 0.6, 0.95])
def test_a_misread_digit_never_becomes_a_voltage(
    tester: TileboardTester, simulator: TileboardTesterSimulator, where: float
) -> None:
    for after in (0, 1):
        simulator.wires["slow"].plan("misread", where=where, after_replies=after)
        # eight counts of the converter are 0.1 V; a number beyond its end is an error
        with contextlib.suppress(BrokenReply):
            assert tester.input_voltage_v() == pytest.approx(41.0, abs=0.12)
        simulator.wires["slow"].clear()


# phases


class PulsedWorld(World):
    """Light whose sample depends on when it is taken."""

    def charges(
        self, n_events: int, led_on: bool, settings: settings_of.TesterSettings
    ) -> NDArray[np.number[Any]]:
        at = (settings.run.bx_l1a - PEAK_BX) * 16 + settings.phase_ck[0] - PEAK_PHASE
        light = 80.0 * math.exp(-0.5 * (at / 9.0) ** 2) if led_on else 0.0
        noise = np.random.default_rng(n_events).normal(0, 2.0, (72, n_events))
        return np.full((72, n_events), 90.0) + light + noise


@pytest.fixture
def world() -> World:
    return PulsedWorld()


def test_the_best_phase_is_found_by_scanning(tester: TileboardTester) -> None:
    scan = scan_phase(
        tester, 20, bx_l1a=(39, 40, 41), phases=range(0, 16, 2), checkpoint=free_way, deadline_s=60
    )
    assert (scan.best.bx_l1a, scan.best.phase_ck) == (PEAK_BX, PEAK_PHASE)
    assert scan.best.signal_adc == pytest.approx(80.0, abs=1.0)
    assert not scan.at_edge
    assert len(scan.points) == 24
    assert not tester.pulsing()


def test_a_peak_at_the_end_of_the_scan_is_told(tester: TileboardTester) -> None:
    tester.pulse_on()
    scan = scan_phase(
        tester, 20, bx_l1a=(40, 41), phases=(0, 6), checkpoint=free_way, deadline_s=60
    )
    assert scan.at_edge
    assert tester.pulsing()


def test_a_scan_without_light_finds_nothing_and_says_so(tester: TileboardTester) -> None:
    with pytest.raises(InstrumentError, match=r"no light at any of 2 places.*bias is on"):
        scan_phase(tester, 20, bx_l1a=(10,), phases=(0, 8), checkpoint=free_way, deadline_s=60)
    assert not tester.pulsing()


# times


def test_charges_and_times_survive_the_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    adc = rng.integers(0, 1024, (72, 30))
    tot = np.where(rng.random((72, 30)) < 0.3, rng.integers(1, 4096, (72, 30)), 0)
    toa = rng.integers(0, 1024, (72, 30))
    path = tmp_path / "run0.root"
    write_words(path, run_words(adc, 1, tot=tot, toa=toa, trigger_step=57024))
    data = read_run_data(path, n_rocs=1, n_events=30)
    assert np.array_equal(data.adc, adc)
    assert np.array_equal(data.tot, tot)
    assert np.array_equal(data.toa, toa)
    assert np.array_equal(data.is_tot, tot > 0)
    assert np.array_equal(data.trigger_time[5], np.arange(30) * 57024)


@pytest.mark.parametrize(("name", "value"), [("tot", 4096), ("toa", 1024), ("toa", -1)])
def test_times_that_the_chip_can_not_send_are_refused(
    tmp_path: Path, name: str, value: int
) -> None:
    words = run_words(np.zeros((72, 5), np.int_), 1)
    words[name][3] = value
    path = tmp_path / "run0.root"
    write_words(path, words)
    with pytest.raises(RunFileError, match=f"{name} runs"):
        read_run_data(path, n_rocs=1, n_events=5)


def test_a_run_of_a_world_with_times_has_them_in_its_file(
    tester: TileboardTester, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def times(
        n_events: int, led_on: bool, settings: settings_of.TesterSettings
    ) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
        return np.full((72, n_events), 1234), np.full((72, n_events), 512)

    monkeypatch.setattr(world, "times", times, raising=False)
    tester.configure()
    run = tester.take(12, checkpoint=free_way, deadline_s=20.0)
    data = read_run_data(Path(run.settings["file"]), n_rocs=1, n_events=12)
    assert np.array_equal(data.adc, run.adc)
    assert (data.tot.min(), data.toa.max()) == (1234, 512)
    assert np.diff(data.trigger_time[0]).tolist() == [16 * 3564] * 11
