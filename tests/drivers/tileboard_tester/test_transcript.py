"""The exact messages between a program and the tester's three servers, from both ends."""

import contextlib
import threading
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import pytest
import zmq

from drivers.clock import ScaledClock
from drivers.errors import BrokenReply, InstrumentTimeout
from drivers.tileboard_tester import runs as runs_module
from drivers.tileboard_tester.driver import TileboardTester
from drivers.tileboard_tester.protocol import BoardConstants
from drivers.tileboard_tester.run_file import run_words, write_words
from drivers.tileboard_tester.simulator import TileboardTesterSimulator

Line = tuple[str, list[str], str]

PHASE_0 = "roc_s0:\n  sc:\n    Top:\n      all:\n        phase_ck: 0\n"
PHASE_7 = "roc_s0:\n  sc:\n    Top:\n      all:\n        phase_ck: 7\n"
CHIPS = "roc_s0:\n  sc:\n    Top:\n      all:\n        phase_ck: 0\n"


def menu(n_events: int, bx_l1a: int = 40) -> str:
    return (
        "daq:\n"
        "  active_menu: calibAndL1A\n"
        "  menus:\n"
        "    calibAndL1A:\n"
        f"      NEvents: {n_events}\n"
        "      bxCalib: 16\n"
        f"      bxL1A: {bx_l1a}\n"
        "      calibType: CALPULEXT\n"
        "      lengthCalib: 4\n"
        "      lengthL1A: 1\n"
        "      prescale: 15\n"
        "      repeatOffset: 0\n"
    )


def client(folder: Path, run_name: str) -> str:
    return (
        "client:\n"
        f"  outputDirectory: {folder}\n"
        f"  run_type: {run_name}\n"
        "  serverIP: 127.0.0.1\n"
        "  zmqPushPull_port: 8888\n"
    )


POWERED = str(0xC0001D)


def twice(command: str, answer: str) -> list[Line]:
    """A number that is measured is asked for until two answers agree."""
    return [("slow", [command], answer)] * 2


OPENING_OF_A_POWERED_BOARD: list[Line] = [
    *twice("read_gbtsca_gpio", POWERED),
    ("slow", ["set_gbtsca_gpio_direction 268435356"], "Done setting gpio directon to 268435356"),
    *twice("read_gbtsca_gpio", POWERED),
    ("fast", ["status"], "created"),
    ("data", ["status"], "created"),
    ("slow", ["initialize", PHASE_0], "ready"),
    ("slow", ["read", ""], CHIPS),
    ("fast", ["initialize", menu(1)], "ready"),
]

POWERING: list[Line] = [
    ("slow", ["set_gbtsca_gpio_vals 0 12582912"], "Done setting gpio values"),
    ("slow", ["read_gbtsca_gpio"], "0"),
    ("slow", ["set_gbtsca_gpio_vals 8388608 8388608"], "Done setting gpio values"),
    ("slow", ["read_gbtsca_gpio"], "8388608"),
    ("slow", ["set_gbtsca_gpio_vals 4194304 4194304"], "Done setting gpio values"),
    ("slow", ["read_gbtsca_gpio"], "12582912"),
    ("slow", ["set_gbtsca_gpio_vals 0 28"], "Done setting gpio values"),
    ("slow", ["read_gbtsca_gpio"], "12582912"),
    ("slow", ["set_gbtsca_gpio_vals 28 28"], "Done setting gpio values"),
    ("slow", ["read_gbtsca_gpio"], "12582940"),
]


def opening(folder: Path) -> list[Line]:
    return [
        *OPENING_OF_A_POWERED_BOARD,
        ("data", ["initialize", client(folder, "idle")], "ready"),
    ]


CLOSING: list[Line] = [
    ("fast", ["stop"], "configured"),
    ("fast", ["status"], "configured"),
    ("data", ["stop"], "configured"),
    ("data", ["status"], "configured"),
    ("slow", ["set_gbtsca_gpio_vals 0 128"], "Done setting gpio values"),
    ("slow", ["read_gbtsca_gpio"], POWERED),
    ("slow", ["set_gbtsca_gpio_vals 0 3145728"], "Done setting gpio values"),
    ("slow", ["read_gbtsca_gpio"], POWERED),
]


class ScriptedTester:
    """Three servers that follow one script and stop answering at the first difference."""

    def __init__(self, script: list[Line]) -> None:
        self.differences: list[str] = []
        self._script: Iterator[Line] = iter(script)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._sockets = {name: self._context.socket(zmq.REP) for name in ("slow", "fast", "data")}
        self.ports = {
            f"{name}_port": server.bind_to_random_port("tcp://127.0.0.1")
            for name, server in self._sockets.items()
        }
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        poller = zmq.Poller()
        names = {}
        for name, server in self._sockets.items():
            poller.register(server, zmq.POLLIN)
            names[server] = name
        while not self._stopping.is_set():
            for server, _ in poller.poll(10):
                heard = (names[server], [part.decode() for part in server.recv_multipart()])
                name, parts, reply = next(self._script, ("nobody", ["the end"], ""))
                if heard != (name, parts):
                    self.differences.append(f"expected {(name, parts)}, heard {heard}")
                    return
                server.send_string(reply)

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._context.destroy(linger=0)

    def check(self) -> None:
        assert self.differences == []
        assert list(self._script) == []


@contextlib.contextmanager
def scripted(script: list[Line], folder: Path) -> Generator[TileboardTester]:
    server = ScriptedTester(script)
    try:
        tester = TileboardTester(
            "127.0.0.1",
            data_folder=folder,
            board_constants=BoardConstants(n_rocs=1, overvoltage_dacs={2.0: (100, 7)}),
            clock=ScaledClock(1e6),
            reply_deadline_s=1.0,
            **server.ports,
        )
        yield tester
        tester.close()
    except InstrumentTimeout:
        server.check()
        raise
    finally:
        server.stop()
    server.check()


def test_opening_and_closing_a_powered_board(tmp_path: Path) -> None:
    with scripted([*opening(tmp_path), *CLOSING], tmp_path):
        pass


def test_opening_powers_a_board_that_is_off(tmp_path: Path) -> None:
    off: list[Line] = [
        *twice("read_gbtsca_gpio", "0"),
        ("slow", ["set_gbtsca_gpio_direction 268435356"], "Done setting gpio directon"),
        *twice("read_gbtsca_gpio", "0"),
    ]
    script = [*off, *POWERING, *opening(tmp_path)[5:], *CLOSING]
    with scripted(script, tmp_path):
        pass


def test_opening_stops_a_run_that_was_left_alone(tmp_path: Path) -> None:
    script = opening(tmp_path)
    script[5:7] = [
        ("fast", ["status"], "running"),
        ("fast", ["stop"], "configured"),
        ("data", ["status"], "running"),
        ("data", ["stop"], "configured"),
    ]
    with scripted([*script, *CLOSING], tmp_path):
        pass


def test_light_bias_and_dacs(tmp_path: Path) -> None:
    steps: list[Line] = [
        ("slow", ["set_gbtsca_gpio_vals 128 128"], "Done setting gpio values"),
        ("slow", ["read_gbtsca_gpio"], "128"),
        ("slow", ["set_gbtsca_gpio_vals 512 65280"], "Done setting gpio values"),
        ("slow", ["read_gbtsca_gpio"], "512"),
        ("slow", ["set_gbtsca_gpio_vals 3145728 3145728"], "Done setting gpio values"),
        ("slow", ["read_gbtsca_gpio"], "3145728"),
        *twice("read_gbtsca_gpio", "0x300000"),
        ("slow", ["set_gbtsca_dac A 100"], "Done setting gbtsca dac A to 100"),
        ("slow", ["read_gbtsca_dac A"], "100"),
        ("slow", ["set_gbtsca_dac B 7"], "Done setting gbtsca dac B to 7"),
        ("slow", ["read_gbtsca_dac B"], "7"),
        ("slow", ["read_gbtsca_adc 18"], "3301"),
        ("slow", ["read_gbtsca_adc 18"], "3300"),
        *twice("read_gbtsca_adc 29", "276"),
        *twice("read_gbtsca_adc 30", "0"),
    ]
    with scripted([*opening(tmp_path), *steps, *CLOSING], tmp_path) as tester:
        tester.pulse_on()
        tester.choose_led_groups([True, False, True, True, True, True, True, True])
        tester.connect()
        assert tester.connected()
        tester.set_overvoltage(2.0)
        assert tester.input_voltage_v() == pytest.approx(41.0385, abs=1e-3)
        assert tester.bias_currents_a() == (pytest.approx(276 / 4095 / 27e3 * 800), 0.0)


def test_an_led_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs_module, "_new_run_name", lambda: "charges_000000000000_")
    adc = np.random.default_rng(2).integers(0, 1024, (72, 25))
    write_words(tmp_path / "charges_000000000000_0.root", run_words(adc, 1))
    lit = str(int(POWERED) | 0x80)
    steps: list[Line] = [
        ("slow", ["configure", PHASE_7], "configured"),
        ("slow", ["read", PHASE_7], PHASE_7),
        ("slow", ["resettdc"], "roc_s0: done\n"),
        *twice("read_gbtsca_gpio", lit),
        ("data", ["configure", client(tmp_path, "charges_000000000000_")], "configured"),
        ("fast", ["configure", menu(25, bx_l1a=42)], "configured"),
        ("data", ["start"], "running"),
        ("fast", ["start"], "configured"),
        ("fast", ["start"], "running"),
        ("fast", ["status"], "running"),
        ("fast", ["status"], "configured"),
        ("fast", ["stop"], "configured"),
        ("fast", ["status"], "configured"),
        ("data", ["stop"], "configured"),
        ("data", ["status"], "configured"),
        *twice("read_gbtsca_gpio", lit),
    ]
    with scripted([*opening(tmp_path), *steps, *CLOSING], tmp_path) as tester:
        tester.configure(bx_l1a=42, phase_ck=7)
        run = tester.take(25, checkpoint=contextlib.nullcontext, deadline_s=10.0)
    assert np.array_equal(run.adc, adc)
    assert run.settings["led_on"] is True
    assert run.settings["bias_connected"] is False


REGISTERS = (
    "roc_s0:\n  sc:\n"
    "    ReferenceVoltage:\n      0:\n        Inv_vref: 401\n      1:\n        Inv_vref: 401\n"
    "    ch:\n      3:\n        HighRange: 1\n        trim_inv: 9\n"
)


def test_registers_pins_dacs_and_power(tmp_path: Path) -> None:
    steps: list[Line] = [
        ("slow", ["configure", REGISTERS], "configured"),
        ("slow", ["read", REGISTERS], REGISTERS),
        ("slow", ["set_gbtsca_gpio_vals 83886080 251658240"], "Done setting gpio values"),
        ("slow", ["read_gbtsca_gpio"], "83886080"),
        *twice("read_gbtsca_gpio", "83886080"),
        ("slow", ["set_gbtsca_dac C 200"], "Done setting gbtsca dac C to 200"),
        ("slow", ["read_gbtsca_dac C"], "200"),
        *twice("read_gbtsca_dac C", "200"),
        *twice("read_gbtsca_adc 31", "2048"),
        ("slow", ["read_pwr"], "bias_v: 41.0\n"),
        ("slow", ["set_gbtsca_gpio_vals 0 16"], "Done setting gpio values"),
        ("slow", ["read_gbtsca_gpio"], "0"),
        ("slow", ["set_gbtsca_gpio_vals 16 16"], "Done setting gpio values"),
        ("slow", ["read_gbtsca_gpio"], "16"),
        ("slow", ["initialize", PHASE_0], "ready"),
        ("slow", ["read", ""], CHIPS),
    ]
    with scripted([*opening(tmp_path), *steps, *CLOSING], tmp_path) as tester:
        tester.set_registers(
            {
                "roc_s0": {
                    "sc": {
                        "ReferenceVoltage": {"all": {"Inv_vref": 401}},
                        "ch": {3: {"trim_inv": 9, "HighRange": 1}},
                    }
                }
            }
        )
        tester.set_ldo_trim(5)
        assert tester.ldo_trim() == 5
        tester.set_dac("C", 200)
        assert tester.dac("C") == 200
        assert tester.converter_v(31) == pytest.approx(2048 / 4095)
        assert tester.power_report() == "bias_v: 41.0"
        tester.reset_chips("hard")


def test_a_number_about_which_no_two_answers_agree_is_refused(tmp_path: Path) -> None:
    steps: list[Line] = [
        ("slow", ["read_gbtsca_adc 11"], "2048"),
        ("slow", ["read_gbtsca_adc 11"], "5"),
        ("slow", ["read_gbtsca_adc 11"], "2050"),
        ("slow", ["read_gbtsca_adc 11"], "2048"),
        ("slow", ["read_gbtsca_adc 11"], "3048"),
        ("slow", ["read_gbtsca_adc 11"], "1048"),
    ]
    with scripted([*opening(tmp_path), *steps, *CLOSING], tmp_path) as tester:
        assert tester.supply_v() == pytest.approx(2050 / 4095 * 60700 / 4700)
        with pytest.raises(BrokenReply, match="no two answers agree: 2048, 3048, 1048"):
            tester.supply_v()


def ask(simulator: TileboardTesterSimulator, name: str, parts: list[str]) -> str:
    with zmq.Context() as context, context.socket(zmq.REQ) as requester:
        requester.setsockopt(zmq.LINGER, 0)
        requester.setsockopt(zmq.RCVTIMEO, 5000)
        requester.connect(f"tcp://{simulator.host}:{getattr(simulator, f'{name}_port')}")
        requester.send_multipart([part.encode() for part in parts])
        (reply,) = requester.recv_multipart()
        return reply.decode()


def test_the_simulator_speaks_the_same_words(
    simulator: TileboardTesterSimulator, tmp_path: Path
) -> None:
    script: list[Line] = [
        ("slow", ["read_gbtsca_gpio"], "0"),
        ("slow", ["configure", PHASE_0], "error: board was not initialized"),
        ("slow", ["initialize", PHASE_0], "error: no answer from the chips over I2C"),
        ("slow", ["set_gbtsca_gpio_vals 128 128"], "Done setting gpio values to 128 with mask 128"),
        ("slow", ["read_gbtsca_gpio"], "0"),
        (
            "slow",
            ["set_gbtsca_gpio_direction 268435356"],
            "Done setting gpio directon to 268435356",
        ),
        ("slow", ["read_gbtsca_gpio"], "128"),
        ("slow", ["set_gbtsca_dac C 300"], "error: expected a number in 0..255, got 300"),
        ("slow", ["set_gbtsca_dac E 3"], "error: no DAC 'E'"),
        ("slow", ["set_gbtsca_dac D 3"], "Done setting gbtsca dac D to 3"),
        ("slow", ["read_gbtsca_dac D"], "3"),
        ("slow", ["read_gbtsca_adc 18"], "3297"),
        ("slow", ["read_gbtsca_adc 9"], "0"),
        ("slow", ["read_gbtsca_adc 32"], "error: expected a number in 0..31, got 32"),
        ("slow", ["make coffee"], "error: unknown command 'make'"),
        ("fast", ["status"], "created"),
        ("fast", ["start"], "error: start while created"),
        ("fast", ["configure", menu(10)], "error: configure before initialize"),
        ("fast", ["initialize", menu(10)], "ready"),
        ("fast", ["start"], "error: start while ready"),
        ("fast", ["configure", "daq: {active_menu: none}"], "error: no menu 'none'"),
        ("fast", ["configure", menu(0)], "error: NEvents must be a positive number, got 0"),
        ("fast", ["configure", menu(10)], "configured"),
        ("fast", ["stop"], "configured"),
        ("data", ["start"], "error: start while created"),
        ("data", ["initialize", client(tmp_path, "a")], "ready"),
        (
            "data",
            ["configure", client(tmp_path / "none", "a")],
            f"error: no folder '{tmp_path}/none'",
        ),
        ("data", ["configure", client(tmp_path, "a")], "configured"),
        ("data", ["start"], "running"),
        ("data", ["configure", client(tmp_path, "a")], "error: configure while running"),
        ("data", ["stop"], "configured"),
        ("data", ["dance"], "error: 'dance' does not correspond to any entry in the action map"),
    ]
    for name, parts, reply in script:
        assert (name, parts, ask(simulator, name, parts)) == (name, parts, reply)


def test_the_simulator_keeps_every_chip_setting(simulator: TileboardTesterSimulator) -> None:
    for command in (
        "set_gbtsca_gpio_direction 268435356",
        "set_gbtsca_gpio_vals 8388608 8388608",
    ):
        assert "Done" in ask(simulator, "slow", [command])
    simulator._tester._clock.sleep(1.0)
    assert "Done" in ask(simulator, "slow", ["set_gbtsca_gpio_vals 4194332 4194332"])
    assert ask(simulator, "slow", ["initialize", PHASE_0]) == "ready"
    tree = "roc_s0: {sc: {ch: {3: {trim_inv: 9}}, ReferenceVoltage: {all: {Inv_vref: 400}}}}"
    assert ask(simulator, "slow", ["configure", tree]) == "configured"
    question = (
        "roc_s0: {sc: {ch: {3: {trim_inv: 0}, 4: {trim_inv: 0}},"
        " ReferenceVoltage: {1: {Inv_vref: 0}}}}"
    )
    assert ask(simulator, "slow", ["read", question]) == (
        "roc_s0:\n  sc:\n"
        "    ReferenceVoltage:\n      1:\n        Inv_vref: 400\n"
        "    ch:\n      3:\n        trim_inv: 9\n      4:\n        trim_inv: 0\n"
    )
    for wrong in (
        "roc_s1: {sc: {}}",
        "roc_s0: {sc: {Bottom: {all: {x: 1}}}}",
        "roc_s0: {sc: {ch: {72: {trim_inv: 1}}}}",
        "roc_s0: {sc: {ch: {3: {trim_inv: 64}}}}",
        "roc_s0: {sc: {ch: {3: {trim: 1}}}}",
    ):
        assert ask(simulator, "slow", ["configure", wrong]).startswith("error: ")


def test_the_chips_do_not_start_without_the_soft_start_second(
    simulator: TileboardTesterSimulator,
) -> None:
    ask(simulator, "slow", ["set_gbtsca_gpio_direction 268435356"])
    ask(simulator, "slow", ["set_gbtsca_gpio_vals 12582940 12582940"])
    assert "no answer from the chips" in ask(simulator, "slow", ["initialize", PHASE_0])
