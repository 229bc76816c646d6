import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest

from drivers.clock import ScaledClock
from drivers.errors import (
    BrokenReply,
    InstrumentError,
    InstrumentLost,
    InstrumentRefused,
    InstrumentTimeout,
    SetpointRefused,
    WrongInstrument,
)
from drivers.tileboard_tester import protocol
from drivers.tileboard_tester.driver import TileboardTester
from drivers.tileboard_tester.protocol import BoardConstants
from drivers.tileboard_tester.simulator import TileboardTesterSimulator
from tests.drivers.tileboard_tester.conftest import OpenTester, World

free_way = contextlib.nullcontext


class AbortedError(Exception):
    """What a checkpoint raises in these tests."""


def take(tester: TileboardTester, n_events: int = 50) -> np.ndarray:
    return tester.take(n_events, checkpoint=free_way, deadline_s=20.0).adc


def test_charges_come_back_as_the_board_made_them(tester: TileboardTester) -> None:
    tester.configure()
    adc = take(tester, 100)
    expected = 50 + np.arange(72)[:, np.newaxis] + np.arange(100) % 7
    assert adc.dtype == np.int_
    assert np.array_equal(adc, expected)
    assert tester.n_channels == 72


def test_two_chips_give_144_channels(tmp_path: Path) -> None:
    clock = ScaledClock(1000.0)
    simulator = TileboardTesterSimulator(World(n_channels=144), clock, n_rocs=2)
    simulator.start()
    tester = TileboardTester(
        simulator.host,
        slow_port=simulator.slow_port,
        fast_port=simulator.fast_port,
        data_port=simulator.data_port,
        data_folder=tmp_path,
        board_constants=BoardConstants(n_rocs=2),
        clock=clock,
    )
    tester.configure(phase_ck=3)
    adc = take(tester, 10)
    tester.close()
    simulator.stop()
    assert adc[:, 0].tolist() == list(range(50, 194))


def test_light_adds_charge_only_with_bias_and_led_on(tester: TileboardTester) -> None:
    tester.configure()
    dark = take(tester).mean()
    tester.pulse_on()
    unbiased = take(tester).mean()
    tester.connect()
    lit = take(tester).mean()
    tester.pulse_off()
    assert unbiased == dark
    assert lit == dark + 100
    assert take(tester).mean() == dark


def test_the_world_sees_what_was_set(tester: TileboardTester, world: World) -> None:
    tester.configure(bx_l1a=42, phase_ck=9, prescale=3)
    tester.set_overvoltage(2.0)
    tester.choose_led_groups([False] + [True] * 7)
    tester.connect()
    tester.pulse_on()
    run = tester.take(20, checkpoint=free_way, deadline_s=20.0)
    n_events, led_on, settings = world.runs[-1]
    assert (n_events, led_on) == (20, True)
    assert settings.bias_connected == (True, True)
    assert settings.led_groups_on == (False,) + (True,) * 7
    assert settings.phase_ck == (9,)
    assert settings.run == protocol.LedRun(bx_l1a=42, phase_ck=9, prescale=3)
    assert (settings.dacs["A"], settings.dacs["B"]) == (100, 7)
    assert run.settings["bx_l1a"] == 42
    assert run.settings["led_on"] is True
    assert run.settings["bias_connected"] is True
    assert Path(run.settings["file"]).is_file()


def test_charges_are_clipped_to_the_converter(
    tester: TileboardTester, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tester.configure()
    monkeypatch.setattr(
        world, "charges", lambda n, *_: np.tile(np.linspace(-50.0, 2000.0, n), (72, 1))
    )
    adc = take(tester)
    assert (adc.min(), adc.max()) == (0, 1023)


def test_a_run_takes_the_time_of_its_triggers(world: World, tmp_path: Path) -> None:
    class SteppedClock:
        """Time that passes only by sleeping."""

        now = 0.0

        def now_s(self) -> float:
            return self.now

        def sleep(self, duration_s: float) -> None:
            self.now += duration_s

    clock = SteppedClock()
    simulator = TileboardTesterSimulator(world, clock)
    simulator.start()
    tester = TileboardTester(
        simulator.host,
        slow_port=simulator.slow_port,
        fast_port=simulator.fast_port,
        data_port=simulator.data_port,
        data_folder=tmp_path,
        board_constants=BoardConstants(),
        clock=clock,
    )
    assert clock.now == pytest.approx(1.0)
    tester.configure()
    before_s = clock.now
    take(tester, 2500)
    assert clock.now - before_s >= 2500 / protocol.trigger_rate_hz(15)
    tester.close()
    simulator.stop()


def test_bias_reaches_the_sipms_only_through_both_switches(
    tester: TileboardTester, simulator: TileboardTesterSimulator
) -> None:
    assert not tester.connected()
    assert tester.bias_voltages_v() == (0.0, 0.0)
    assert tester.bias_currents_a() == (0.0, 0.0)
    tester.connect()
    assert tester.connected()
    assert simulator.bias_connected == (True, True)
    assert tester.bias_voltages_v() == pytest.approx((41.0, 41.0), abs=0.02)
    assert sum(tester.bias_currents_a()) == pytest.approx(2e-3, abs=1e-5)
    tester.disconnect()
    assert not tester.connected()
    assert simulator.bias_connected == (False, False)


def test_the_input_voltage_is_seen_before_connecting(tester: TileboardTester, world: World) -> None:
    for voltage_v in (0.0, 37.5, 50.0):
        world.voltage_v = voltage_v
        assert tester.input_voltage_v() == pytest.approx(voltage_v, abs=0.0125)
    world.voltage_v = 55.0
    with pytest.raises(BrokenReply, match="bias_input"):
        tester.input_voltage_v()


def test_one_connected_bias_is_neither_connected_nor_not(
    tester: TileboardTester, simulator: TileboardTesterSimulator
) -> None:
    simulator.faults.stuck_pins = 1 << protocol.Pin.BIAS_2
    with pytest.raises(InstrumentError, match="bias_2"):
        tester.connect()
    assert simulator.bias_connected == (False, False)
    tester._done(protocol.set_gpio(1 << 20, 1 << 20))
    with pytest.raises(InstrumentError, match="only bias_1"):
        tester.connected()


def test_temperatures_have_the_site_s_names(open_tester: OpenTester, world: World) -> None:
    constants = BoardConstants(pt1000_channels={"board": 0, "tiles": 5})
    tester = open_tester(board_constants=constants)
    assert tester.temperatures_c() == pytest.approx({"board": 20.0, "tiles": 25.0}, abs=0.07)
    world.sensors_c = [20.0]
    with pytest.raises(BrokenReply, match=r"tiles: .*PT1000"):
        tester.temperatures_c()


def test_supplies_are_read(tester: TileboardTester) -> None:
    assert tester.supply_v() == pytest.approx(10.0, abs=0.01)
    assert tester.led_bias_v() == pytest.approx(6.0, abs=0.01)


def test_only_overvoltages_of_the_table_can_be_set(
    tester: TileboardTester, simulator: TileboardTesterSimulator
) -> None:
    assert tester.overvoltage_v() is None
    tester.set_overvoltage(4.0)
    assert tester.overvoltage_v() == 4.0
    before = simulator.dacs
    for wrong_v in (3.0, 6.0, float("nan"), -2.0):
        with pytest.raises(SetpointRefused, match="2, 4"):
            tester.set_overvoltage(wrong_v)
    assert simulator.dacs == before


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"phase_ck": 16}, "phase_ck"),
        ({"bx_l1a": -1}, "bx_l1a"),
        ({"brightness": 3}, "brightness"),
    ],
)
def test_impossible_settings_are_refused(
    tester: TileboardTester, settings: dict[str, int], reason: str
) -> None:
    with pytest.raises(SetpointRefused, match=reason):
        tester.configure(**settings)


def test_a_run_needs_settings_and_events(tester: TileboardTester) -> None:
    with pytest.raises(InstrumentRefused, match="before its settings"):
        take(tester)
    tester.configure()
    with pytest.raises(SetpointRefused, match="n_events"):
        take(tester, 0)


def test_opening_refuses_a_board_with_other_chips(open_tester: OpenTester) -> None:
    with pytest.raises(WrongInstrument, match="roc_s0, expected roc_s0, roc_s1"):
        open_tester(board_constants=BoardConstants(n_rocs=2))


def test_opening_refuses_a_two_chip_board_when_one_is_expected(tmp_path: Path) -> None:
    clock = ScaledClock(1000.0)
    simulator = TileboardTesterSimulator(World(n_channels=144), clock, n_rocs=2)
    simulator.start()
    with pytest.raises(WrongInstrument, match="roc_s0, roc_s1, expected roc_s0"):
        TileboardTester(
            simulator.host,
            slow_port=simulator.slow_port,
            fast_port=simulator.fast_port,
            data_port=simulator.data_port,
            data_folder=tmp_path,
            board_constants=BoardConstants(n_rocs=1),
            clock=clock,
        )
    simulator.stop()


def test_opening_refuses_another_server(
    open_tester: OpenTester, simulator: TileboardTesterSimulator
) -> None:
    with pytest.raises(WrongInstrument):
        open_tester(slow_port=simulator.fast_port)


def test_opening_without_a_server_times_out_naming_the_port(
    open_tester: OpenTester, simulator: TileboardTesterSimulator
) -> None:
    simulator.stop()
    with pytest.raises(InstrumentTimeout, match=str(simulator.slow_port)):
        open_tester(reply_deadline_s=0.2)


def test_opening_leaves_bias_and_light_as_they_are(
    tester: TileboardTester, open_tester: OpenTester, simulator: TileboardTesterSimulator
) -> None:
    tester.connect()
    tester.pulse_on()
    again = open_tester()
    assert again.connected()
    assert again.pulsing()
    assert simulator.led_on


def test_opening_needs_the_data_folder(open_tester: OpenTester, tmp_path: Path) -> None:
    with pytest.raises(SetpointRefused, match="does not exist"):
        open_tester(data_folder=tmp_path / "none")


def test_closing_leaves_light_and_bias_off(
    tester: TileboardTester, simulator: TileboardTesterSimulator
) -> None:
    tester.connect()
    tester.pulse_on()
    tester.close()
    tester.close()
    assert simulator.bias_connected == (False, False)
    assert not simulator.led_on
    with pytest.raises(InstrumentLost, match="closed"):
        tester.pulsing()


def test_closing_says_so_when_the_bias_stays_on(
    tester: TileboardTester, simulator: TileboardTesterSimulator
) -> None:
    tester.connect()
    tester.pulse_on()
    simulator.faults.stuck_pins = protocol.BIAS_MASK
    with pytest.raises(InstrumentError, match="bias_1, bias_2 should be off"):
        tester.close()
    assert not simulator.led_on


def test_a_pin_that_does_not_read_back_is_an_error(
    tester: TileboardTester, simulator: TileboardTesterSimulator
) -> None:
    simulator.faults.stuck_pins = protocol.LED_MASK
    with pytest.raises(InstrumentError, match="led_on should be on") as caught:
        tester.pulse_on()
    assert "set_gbtsca_gpio_vals 128 128" in str(caught.value)


def test_an_unanswered_request_times_out_and_its_late_answer_is_not_the_next_one(
    open_tester: OpenTester, simulator: TileboardTesterSimulator
) -> None:
    tester = open_tester(reply_deadline_s=0.3)
    simulator.faults.silent["slow"] = 1
    with pytest.raises(InstrumentTimeout):
        tester.supply_v()
    assert tester.input_voltage_v() == pytest.approx(41.0, abs=0.02)


def test_a_garbled_answer_is_refused(
    tester: TileboardTester, simulator: TileboardTesterSimulator
) -> None:
    simulator.faults.garbled["slow"] = 1
    with pytest.raises(BrokenReply):
        tester.supply_v()
    simulator.faults.garbled["slow"] = 1
    with pytest.raises(BrokenReply):
        tester.configure()
    with pytest.raises(InstrumentRefused, match="before its settings"):
        take(tester)


def test_garbage_instead_of_yaml_is_refused_at_opening(
    open_tester: OpenTester, simulator: TileboardTesterSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "from_yaml", _garbled_yaml(protocol.from_yaml))
    with pytest.raises(BrokenReply, match="not YAML"):
        open_tester()


def _garbled_yaml(parse):  # type: ignore[no-untyped-def]
    def parse_garbled(text: str) -> dict[str, object]:
        return parse("{]" + text if text.startswith("roc_s0") and "trim_inv" in text else text)

    return parse_garbled


def test_triggers_that_never_start_time_out(
    tester: TileboardTester, simulator: TileboardTesterSimulator
) -> None:
    tester.configure()
    simulator.faults.never_runs = True
    with pytest.raises(InstrumentTimeout, match="not running in time"):
        tester.take(50, checkpoint=free_way, deadline_s=0.2)
    simulator.faults.never_runs = False
    assert take(tester).shape == (72, 50)


def test_triggers_that_never_end_time_out_and_are_stopped(
    tester: TileboardTester, simulator: TileboardTesterSimulator
) -> None:
    tester.configure()
    simulator.faults.never_ends = True
    with pytest.raises(InstrumentTimeout, match="not configured in time"):
        tester.take(50, checkpoint=free_way, deadline_s=0.2)
    assert not simulator.acquiring
    simulator.faults.never_ends = False
    assert take(tester).shape == (72, 50)


def test_an_abort_at_a_checkpoint_stops_the_run(
    tester: TileboardTester, simulator: TileboardTesterSimulator, world: World
) -> None:
    tester.configure()
    simulator.faults.never_ends = True
    was_acquiring = []

    @contextlib.contextmanager
    def checkpoint() -> Generator[None]:
        if world.run_seen.is_set():
            was_acquiring.append(simulator.acquiring)
            raise AbortedError
        yield

    with pytest.raises(AbortedError):
        tester.take(50, checkpoint=checkpoint, deadline_s=20.0)
    assert was_acquiring == [True]
    assert not simulator.acquiring
    simulator.faults.never_ends = False
    assert take(tester).shape == (72, 50)


def test_an_abort_keeps_its_reason_when_the_stop_fails_too(
    open_tester: OpenTester, simulator: TileboardTesterSimulator, world: World
) -> None:
    tester = open_tester(reply_deadline_s=0.3)
    tester.configure()
    simulator.faults.never_ends = True

    @contextlib.contextmanager
    def checkpoint() -> Generator[None]:
        if world.run_seen.is_set():
            simulator.faults.silent["fast"] = 5
            raise AbortedError
        yield

    with pytest.raises(AbortedError) as caught:
        tester.take(50, checkpoint=checkpoint, deadline_s=20.0)
    assert "Stopping the run failed as well" in caught.value.__notes__[0]


def test_a_second_run_at_the_same_time_is_refused(
    tester: TileboardTester, simulator: TileboardTesterSimulator, world: World
) -> None:
    tester.configure()
    simulator.faults.never_ends = True
    first = threading.Thread(target=take, args=(tester,))
    first.start()
    assert world.run_seen.wait(10.0)
    with pytest.raises(InstrumentRefused, match="a run is on already"):
        take(tester)
    simulator.faults.never_ends = False
    first.join()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("truncated", "broken or truncated"),
        ("missing event", "49 events, asked for 50"),
        ("missing word", "missing from event"),
        ("repeated word", "2 times in event"),
        ("corrupt word", "wrong checksum"),
    ],
)
def test_a_spoilt_file_is_refused_by_name(
    tester: TileboardTester,
    simulator: TileboardTesterSimulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    reason: str,
) -> None:
    monkeypatch.setattr("drivers.tileboard_tester.runs._FILE_QUIET_S", 0.1)
    tester.configure()
    simulator.faults.file = fault  # type: ignore[assignment]
    with pytest.raises(BrokenReply, match=reason) as caught:
        take(tester)
    assert str(tmp_path) in str(caught.value)
    simulator.faults.file = None
    assert take(tester).shape == (72, 50)


def test_a_light_switched_during_a_run_spoils_it(
    tester: TileboardTester, simulator: TileboardTesterSimulator, world: World
) -> None:
    tester.configure()

    simulator.faults.never_ends = True

    @contextlib.contextmanager
    def checkpoint() -> Generator[None]:
        if world.run_seen.is_set():
            tester.pulse_on()
            simulator.faults.never_ends = False
        yield

    with pytest.raises(InstrumentError, match="led_on changed while the run was on"):
        tester.take(50, checkpoint=checkpoint, deadline_s=20.0)


def test_a_run_of_a_board_that_fails_is_refused(
    tester: TileboardTester, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tester.configure()
    monkeypatch.setattr(world, "charges", lambda n, *_: np.zeros((71, n)))
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    with pytest.raises(InstrumentRefused, match="the run failed"):
        take(tester)
    monkeypatch.undo()
    assert take(tester).shape == (72, 50)


def test_two_threads_get_their_own_answers(tester: TileboardTester, world: World) -> None:
    world.sensors_c = [20.0] * 8
    wrong: list[float] = []

    def read_voltage() -> None:
        for _ in range(300):
            voltage_v = tester.input_voltage_v()
            if abs(voltage_v - 41.0) > 0.02:
                wrong.append(voltage_v)

    def read_supply() -> None:
        for _ in range(300):
            voltage_v = tester.supply_v()
            if abs(voltage_v - 10.0) > 0.02:
                wrong.append(voltage_v)

    threads = [threading.Thread(target=read) for read in (read_voltage, read_supply)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


CLIENT = """
import contextlib, sys
from pathlib import Path
from drivers.tileboard_tester.driver import TileboardTester
from drivers.tileboard_tester.protocol import BoardConstants
slow, fast, data = (int(port) for port in sys.argv[1:4])
tester = TileboardTester("127.0.0.1", slow_port=slow, fast_port=fast, data_port=data,
                         data_folder=Path(sys.argv[4]), board_constants=BoardConstants())
tester.connect()
tester.pulse_on()
tester.configure()
tester.take(50, checkpoint=contextlib.nullcontext, deadline_s=60.0)
"""


def test_a_killed_client_leaves_a_tester_that_the_next_one_can_use(
    simulator: TileboardTesterSimulator, open_tester: OpenTester, world: World, tmp_path: Path
) -> None:
    simulator.faults.never_ends = True
    ports = [str(port) for port in (simulator.slow_port, simulator.fast_port, simulator.data_port)]
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, *ports, str(tmp_path)],
        cwd=Path(__file__).resolve().parents[3],
    )
    assert world.run_seen.wait(60.0)
    simulator.faults.silent["fast"] = 1
    os.kill(client.pid, signal.SIGKILL)
    client.wait()
    simulator.faults.silent["fast"] = 0
    simulator.faults.never_ends = False
    tester = open_tester()
    assert not simulator.acquiring
    assert tester.connected()
    assert tester.pulsing()
    tester.configure()
    assert take(tester).mean() > 150
    tester.close()
    assert simulator.bias_connected == (False, False)


def test_the_state_outlives_a_restart_of_the_servers(
    tester: TileboardTester, simulator: TileboardTesterSimulator
) -> None:
    tester.connect()
    simulator.stop()
    simulator.start()
    assert tester.connected()


def test_an_unfinished_run_leaves_no_file(
    tester: TileboardTester, simulator: TileboardTesterSimulator, tmp_path: Path
) -> None:
    tester.configure()
    simulator.faults.never_ends = True
    with pytest.raises(InstrumentTimeout):
        tester.take(50, checkpoint=free_way, deadline_s=0.2)
    simulator.stop()
    assert list(tmp_path.glob("*.root")) == []
