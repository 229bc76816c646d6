"""A tileboard tester with a board on it: chips, pins, converters, triggers and the data client."""

import dataclasses
import functools
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import zmq
from numpy.typing import NDArray

from drivers.clock import Clock
from drivers.faults import LineFaults
from drivers.loopback import ZmqReplyEnd
from drivers.tileboard_tester import protocol, run_file
from drivers.tileboard_tester.protocol import Converter, Pin, ProtocolError

PortName = Literal["slow", "fast", "data"]
FileFault = Literal["truncated", "missing event", "missing word", "repeated word", "corrupt word"]


@dataclass(frozen=True)
class TesterSettings:
    """What the tester has set when a run starts, for the world to obey.

    ``run`` has the sampling phase of the first chip, ``phase_ck`` that of each chip;
    ``channels_off`` are rows of the charges.
    """

    bias_connected: tuple[bool, bool]
    led_groups_on: tuple[bool, ...]
    dacs: Mapping[str, int]
    run: protocol.LedRun
    phase_ck: tuple[int, ...]
    channels_off: frozenset[int]

    @property
    def any_bias_connected(self) -> bool:
        return any(self.bias_connected)


class TesterWorld(Protocol):
    """What the tester measures; called from the simulator's threads."""

    def charges(
        self, n_events: int, led_on: bool, settings: TesterSettings
    ) -> NDArray[np.number[Any]]:
        """ADC with pedestal, not yet rounded or clipped, shape (n_channels, n_events)."""
        ...

    def input_voltage_v(self) -> float:
        """Voltage at the bias input."""
        ...

    def input_current_a(self) -> float:
        """Current that the connected SiPMs draw."""
        ...

    def temperatures_c(self) -> Sequence[float]:
        """Temperatures at the PT1000 sensors 0, 1, ...; those left out are open."""
        ...


@dataclass
class TesterFaults:
    """What goes wrong, until it is set back.

    Counts go down with each request they spoil: ``silent`` requests are carried out but not
    answered, ``garbled`` ones are answered with noise.
    """

    silent: dict[PortName, int] = field(default_factory=dict)
    garbled: dict[PortName, int] = field(default_factory=dict)
    never_runs: bool = False
    never_ends: bool = False
    stuck_pins: int = 0
    file: FileFault | None = None


class _RefusedError(Exception):
    """A request that is answered with an error."""


@dataclass
class _Run:
    """A run of triggers from its start to its file."""

    n_events: int
    ends_at_s: float
    target: Path | None
    thread: threading.Thread | None = None
    written: Path | None = None
    ready: threading.Event = field(default_factory=threading.Event)
    failed: bool = False
    abandoned: bool = False


class TileboardTesterSimulator:
    """Serves slow control, fast control and data client on three ZMQ sockets.

    The state outlives every client, and a client that dies between question and answer blocks
    nobody. Triggers come at the menu's rate on ``clock``; the file appears when the last one came
    and the data client was started. ``bias_connected``, ``led_on`` and ``dacs`` may be read at any
    time from any thread.

    Args:
        wires: what goes wrong with the replies of each port, beside ``faults``.
    """

    def __init__(
        self,
        board: TesterWorld,
        clock: Clock,
        *,
        n_rocs: int = 1,
        host: str = "127.0.0.1",
        slow_port: int = 0,
        fast_port: int = 0,
        data_port: int = 0,
        supply_v: float = 10.0,
        led_bias_v: float = 6.0,
        wires: Mapping[PortName, LineFaults] | None = None,
    ) -> None:
        if not 1 <= n_rocs <= protocol.MAX_ROCS:
            raise ValueError(f"n_rocs must be 1..{protocol.MAX_ROCS}, got {n_rocs}")
        self.faults = TesterFaults()
        self.n_rocs = n_rocs
        self._board = board
        self._clock = clock
        ports: Mapping[PortName, int] = {"slow": slow_port, "fast": fast_port, "data": data_port}
        self.wires: dict[PortName, LineFaults] = {
            name: (wires or {}).get(name) or LineFaults() for name in ports
        }
        self._ends = {
            name: ZmqReplyEnd(
                functools.partial(self._answer, name),
                name=f"tester {name}",
                host=host,
                port=port,
                faults=self.wires[name],
            )
            for name, port in ports.items()
        }
        self._lock = threading.Lock()
        self._supply_v = supply_v
        self._led_bias_v = led_bias_v
        self._direction = 0
        self._pins = 0
        self._soft_start_at_s: float | None = None
        self._soft_started = False
        self._dacs = dict.fromkeys(protocol.DAC_NAMES, 0)
        self._chips: dict[str, Any] = {}
        self._fast_state = "created"
        self._menu: tuple[protocol.LedRun, int] | None = None
        self._data_state = "created"
        self._target: tuple[Path, str] | None = None
        self._file_index = 0
        self._run: _Run | None = None

    @property
    def host(self) -> str:
        return self._ends["slow"].host

    @property
    def slow_port(self) -> int:
        return self._ends["slow"].port

    @property
    def fast_port(self) -> int:
        return self._ends["fast"].port

    @property
    def data_port(self) -> int:
        return self._ends["data"].port

    @property
    def n_channels(self) -> int:
        return self.n_rocs * protocol.CHANNELS_PER_ROC

    @property
    def bias_connected(self) -> tuple[bool, bool]:
        """Whether bias 1 and bias 2 reach their SiPMs."""
        pins = self._driven_pins()
        return bool(pins >> Pin.BIAS_1 & 1), bool(pins >> Pin.BIAS_2 & 1)

    @property
    def led_on(self) -> bool:
        return bool(self._driven_pins() & protocol.LED_MASK)

    @property
    def dacs(self) -> Mapping[str, int]:
        return dict(self._dacs)

    @property
    def acquiring(self) -> bool:
        """Whether triggers are running."""
        return self._fast_state == protocol.RUNNING

    def start(self) -> None:
        """Bind the sockets and serve; a second start after a stop uses the same ports.

        Raises:
            zmq.ZMQError: a port is taken.
        """
        started: list[ZmqReplyEnd] = []
        try:
            for end in self._ends.values():
                end.start()
                started.append(end)
        except zmq.ZMQError:
            for end in started:
                end.stop()
            raise

    def stop(self) -> None:
        """Stop serving; the state stays. Does nothing when it is not running."""
        for end in self._ends.values():
            end.stop()
        run = self._run
        if run is not None and run.thread is not None:
            run.thread.join()

    def _answer(self, name: PortName, parts: list[bytes]) -> list[bytes] | None:
        with self._lock:
            reply = self._reply(name, [part.decode("utf-8", "replace") for part in parts]).encode()
            if _take_one(self.faults.silent, name):
                return None
            if _take_one(self.faults.garbled, name):
                reply = b"{\x7f]: " + reply[::-1]
            return [reply]

    def _reply(self, name: PortName, parts: list[str]) -> str:
        self._finish_run()
        word, *arguments = parts[0].strip().lower().split()[:4] or [""]
        handlers: Mapping[PortName, Callable[[str, list[str], list[str]], str]] = {
            "slow": self._slow,
            "fast": self._fast,
            "data": self._data,
        }
        try:
            return handlers[name](word, arguments, parts[1:])
        except (_RefusedError, ProtocolError) as refusal:
            return f"{protocol.ERROR}: {refusal}"

    # slow control

    def _slow(self, word: str, arguments: list[str], documents: list[str]) -> str:
        if word in ("initialize", "configure", "read"):
            return self._chip_command(word, _document(word, documents))
        if word == protocol.RESET_TDC:
            self._require_chips()
            return protocol.to_yaml({protocol.roc_name(i): "done" for i in range(self.n_rocs)})
        commands: Mapping[str, Callable[[list[str]], str]] = {
            "read_gbtsca_gpio": lambda _: str(self._read_pins()),
            "set_gbtsca_gpio_direction": self._set_direction,
            "set_gbtsca_gpio_vals": self._set_pins,
            "set_gbtsca_dac": self._set_dac,
            "read_gbtsca_dac": lambda given: str(self._dacs[_dac(given)]),
            "read_gbtsca_adc": lambda given: str(
                self._convert(protocol.parse_integer(_only(given), 0, Converter.LAST))
            ),
        }
        if word not in commands:
            raise _RefusedError(f"unknown command {word!r}")
        return commands[word](arguments)

    def _chip_command(self, word: str, document: dict[str, Any]) -> str:
        if word == "initialize":
            if not self._chips_answer():
                raise _RefusedError("no answer from the chips over I2C")
            self._chips = {protocol.roc_name(i): _chip_after_reset() for i in range(self.n_rocs)}
        self._require_chips()
        if word == "read":
            return protocol.to_yaml(_selected(self._chips, document) if document else self._chips)
        for name, tree in document.items():
            if name not in self._chips:
                raise _RefusedError(f"no chip {name!r}")
            _write_registers(name, self._chips[name], tree)
        return protocol.READY if word == "initialize" else protocol.CONFIGURED

    def _chips_answer(self) -> bool:
        pins = self._driven_pins()
        is_powered = self._soft_started and bool(pins & protocol.LDO_MASK)
        return is_powered and pins & protocol.RESET_MASK == protocol.RESET_MASK

    def _require_chips(self) -> None:
        if not self._chips:
            raise _RefusedError("board was not initialized")

    def _driven_pins(self) -> int:
        return self._pins & self._direction

    def _read_pins(self) -> int:
        locked = 0b1 if self._chips else 0
        return self._driven_pins() | locked

    def _set_direction(self, arguments: list[str]) -> str:
        self._direction = protocol.parse_integer(_only(arguments), 0, protocol.GPIO_WORD)
        self._pins_changed()
        return f"Done setting gpio directon to {self._direction}"

    def _set_pins(self, arguments: list[str]) -> str:
        if len(arguments) != 2:
            raise _RefusedError("expected values and mask")
        values, mask = (protocol.parse_integer(text, 0, protocol.GPIO_WORD) for text in arguments)
        writable = mask & ~self.faults.stuck_pins
        self._pins = (self._pins & ~writable) | (values & writable)
        self._pins_changed()
        return f"Done setting gpio values to {values} with mask {mask}"

    def _pins_changed(self) -> None:
        pins, now_s = self._driven_pins(), self._clock.now_s()
        if not pins & protocol.SOFT_START_MASK:
            self._soft_start_at_s = None
        elif self._soft_start_at_s is None:
            self._soft_start_at_s = now_s
        if not pins & protocol.LDO_MASK:
            self._soft_started = False
        elif not self._soft_started:
            ramped_s = now_s - self._soft_start_at_s if self._soft_start_at_s is not None else 0.0
            self._soft_started = ramped_s >= protocol.SOFT_START_S
        if not self._chips_answer():
            self._chips = {}

    def _set_dac(self, arguments: list[str]) -> str:
        name = _dac(arguments[:1])
        self._dacs[name] = protocol.parse_integer(_only(arguments[1:]), 0, protocol.DAC_MAX)
        return f"Done setting gbtsca dac {name} to {self._dacs[name]}"

    def _convert(self, channel: int) -> int:
        if channel <= Converter.PT1000_LAST:
            temperatures_c = self._board.temperatures_c()
            if channel >= len(temperatures_c):
                return protocol.CONVERTER_MAX
            return protocol.pt1000_counts(temperatures_c[channel])
        connected = self.bias_connected
        if channel in (Converter.BIAS_1, Converter.BIAS_2):
            volts = self._board.input_voltage_v() if connected[channel - Converter.BIAS_1] else 0.0
            return protocol.converter_counts(volts / protocol.BIAS_DIVIDER)
        if channel in (Converter.BIAS_1_CURRENT, Converter.BIAS_2_CURRENT):
            if not connected[channel - Converter.BIAS_1_CURRENT]:
                return 0
            amps = self._board.input_current_a() / sum(connected)
            return protocol.converter_counts(
                amps / protocol.CURRENT_GAIN * protocol.CURRENT_SENSE_OHM
            )
        inputs_v = {
            Converter.BIAS_INPUT: lambda: self._board.input_voltage_v() / protocol.BIAS_DIVIDER,
            Converter.SUPPLY: lambda: self._supply_v / protocol.SUPPLY_DIVIDER,
            Converter.LED_BIAS: lambda: self._led_bias_v / protocol.SUPPLY_DIVIDER,
        }
        return (
            protocol.converter_counts(inputs_v[Converter(channel)]()) if channel in inputs_v else 0
        )

    # fast control

    def _fast(self, word: str, _: list[str], documents: list[str]) -> str:
        if word in ("initialize", "configure"):
            document = _document(word, documents)
            if self._fast_state == protocol.RUNNING:
                raise _RefusedError(f"{word} while running")
            if word == "configure" and self._fast_state == "created":
                raise _RefusedError("configure before initialize")
            self._menu = _menu(document)
            self._fast_state = protocol.READY if word == "initialize" else protocol.CONFIGURED
        elif word == "start":
            if self._fast_state != protocol.RUNNING:
                self._start_run()
        elif word == "stop":
            self._abandon_run()
        elif word != "status":
            raise _RefusedError(f"{word!r} does not correspond to any entry in the action map")
        run = self._run
        if run is not None and run.ready.is_set() and run.failed:
            raise _RefusedError("the run failed")
        return self._fast_state

    def _start_run(self) -> None:
        if self._fast_state != protocol.CONFIGURED or self._menu is None:
            raise _RefusedError(f"start while {self._fast_state}")
        if self.faults.never_runs:
            return
        menu, n_events = self._menu
        run = _Run(
            n_events=n_events,
            ends_at_s=self._clock.now_s() + n_events / menu.trigger_rate_hz,
            target=self._next_file(),
        )
        settings = self._settings(menu)
        flashes = self.led_on and menu.calib_type == "CALPULEXT"
        run.thread = threading.Thread(
            target=self._acquire, args=(run, flashes, settings), name="tester run", daemon=True
        )
        self._run = run
        self._fast_state = protocol.RUNNING
        run.thread.start()

    def _next_file(self) -> Path | None:
        if self._target is None or self._data_state != protocol.RUNNING:
            return None
        folder, run_name = self._target
        return folder / protocol.run_file_name(run_name, self._file_index)

    def _settings(self, menu: protocol.LedRun) -> TesterSettings:
        groups = self._driven_pins() >> Pin.LED_GROUP_1_OFF
        chips = [self._chips.get(protocol.roc_name(i)) for i in range(self.n_rocs)]
        phases = tuple(chip["sc"]["Top"]["all"]["phase_ck"] if chip else 0 for chip in chips)
        return TesterSettings(
            bias_connected=self.bias_connected,
            led_groups_on=tuple(not groups >> i & 1 for i in range(protocol.N_LED_GROUPS)),
            dacs=self.dacs,
            run=dataclasses.replace(menu, phase_ck=phases[0]),
            phase_ck=phases,
            channels_off=frozenset(
                index * protocol.CHANNELS_PER_ROC + channel
                for index, chip in enumerate(chips)
                if chip
                for channel, registers in chip["sc"]["ch"].items()
                if registers["Channel_off"]
            ),
        )

    def _acquire(self, run: _Run, led_on: bool, settings: TesterSettings) -> None:
        run.failed = True
        try:
            charges = np.asarray(self._board.charges(run.n_events, led_on, settings))
            if charges.shape != (self.n_channels, run.n_events):
                raise ValueError(
                    f"the world gave charges of shape {charges.shape}, "
                    f"expected {(self.n_channels, run.n_events)}"
                )
            adc = np.clip(np.rint(charges), 0, protocol.ADC_MAX).astype(np.int_)
            if run.target is not None and not run.abandoned:
                run.written = run.target.with_suffix(".part")
                words = _spoilt(run_file.run_words(adc, self.n_rocs), self.faults.file)
                run_file.write_words(run.written, words)
                if self.faults.file == "truncated":
                    os.truncate(run.written, run.written.stat().st_size // 2)
            run.failed = False
        finally:
            run.ready.set()

    def _finish_run(self) -> None:
        run = self._run
        if run is None or self._fast_state != protocol.RUNNING or not run.ready.is_set():
            return
        if self.faults.never_ends or self._clock.now_s() < run.ends_at_s:
            return
        self._fast_state = protocol.CONFIGURED
        if run.written is not None and run.target is not None:
            run.written.replace(run.target)
            run.written = None
            self._file_index += 1

    def _abandon_run(self) -> None:
        run, self._run = self._run, None
        if self._fast_state != protocol.RUNNING or run is None or run.thread is None:
            return
        run.abandoned = True
        self._fast_state = protocol.CONFIGURED
        threading.Thread(target=_remove_leftover, args=(run,), daemon=True).start()

    # data client

    def _data(self, word: str, _: list[str], documents: list[str]) -> str:
        if word in ("initialize", "configure"):
            client = _document(word, documents).get("client")
            if self._data_state == protocol.RUNNING:
                raise _RefusedError(f"{word} while running")
            if word == "configure" and self._data_state == "created":
                raise _RefusedError("configure before initialize")
            if not isinstance(client, dict):
                raise _RefusedError("no 'client' in the configuration")
            if word == "configure":
                self._target = _target(client)
            self._data_state = protocol.READY if word == "initialize" else protocol.CONFIGURED
        elif word == "start":
            if self._data_state != protocol.CONFIGURED:
                raise _RefusedError(f"start while {self._data_state}")
            self._data_state = protocol.RUNNING
            self._file_index = 0
        elif word == "stop":
            if self._data_state == protocol.RUNNING:
                self._data_state = protocol.CONFIGURED
        elif word != "status":
            raise _RefusedError(f"{word!r} does not correspond to any entry in the action map")
        return self._data_state


def _take_one(counts: dict[PortName, int], name: PortName) -> bool:
    left = counts.get(name, 0)
    if left <= 0:
        return False
    counts[name] = left - 1
    return True


def _document(word: str, documents: list[str]) -> dict[str, Any]:
    if len(documents) != 1:
        raise _RefusedError(f"{word} needs one YAML document, got {len(documents)}")
    if word == "read" and not documents[0].strip():
        return {}
    return protocol.from_yaml(documents[0])


def _only(arguments: list[str]) -> str:
    if len(arguments) != 1:
        raise _RefusedError(f"expected one argument, got {len(arguments)}")
    return arguments[0]


def _dac(arguments: list[str]) -> str:
    name = _only(arguments).upper()
    if name not in protocol.DAC_NAMES:
        raise _RefusedError(f"no DAC {name!r}")
    return name


def _chip_after_reset() -> dict[str, Any]:
    return {
        "sc": {
            block: {
                copy: {name: register.default for name, register in registers.items()}
                for copy in protocol.BLOCK_COPIES[block]
            }
            for block, registers in protocol.REGISTERS.items()
        }
    }


def _write_registers(name: str, chip: dict[str, Any], tree: object) -> None:
    blocks = tree.get("sc", {}) if isinstance(tree, dict) else None
    if not isinstance(blocks, dict):
        raise _RefusedError(f"{name}: expected a mapping with 'sc'")
    for block, copies in blocks.items():
        if block not in protocol.REGISTERS or not isinstance(copies, dict):
            raise _RefusedError(f"{name}: unknown sub-block {block!r}")
        for copy, values in copies.items():
            targets = chip["sc"][block]
            chosen = list(targets) if copy == "all" else [copy]
            if not isinstance(values, dict) or any(key not in targets for key in chosen):
                raise _RefusedError(f"{name}: unknown {block} {copy!r}")
            for register, value in values.items():
                known = protocol.REGISTERS[block].get(register)
                if known is None or not isinstance(value, int) or not 0 <= value <= known.largest:
                    raise _RefusedError(f"{name}: {block} {copy} can't set {register} to {value!r}")
                for key in chosen:
                    targets[key][register] = value


def _selected(tree: Any, wanted: Any) -> Any:
    if not isinstance(tree, dict) or not isinstance(wanted, dict):
        return tree
    unknown = [key for key in wanted if key not in tree]
    if unknown:
        raise _RefusedError(f"nothing is called {unknown[0]!r}")
    return {key: _selected(tree[key], wanted[key]) for key in wanted}


def _menu(document: dict[str, Any]) -> tuple[protocol.LedRun, int]:
    daq = document.get("daq")
    menus = daq.get("menus") if isinstance(daq, dict) else None
    active = daq.get("active_menu") if isinstance(daq, dict) else None
    if active not in protocol.MENUS or not isinstance(menus, dict):
        raise _RefusedError(f"no menu {active!r}")
    menu = menus.get(active)
    if active != protocol.CALIBRATION_MENU or not isinstance(menu, dict):
        raise _RefusedError(f"the simulated tester serves {protocol.CALIBRATION_MENU} only")
    n_events = menu.get("NEvents")
    if not isinstance(n_events, int) or n_events < 1:
        raise _RefusedError(f"NEvents must be a positive number, got {n_events!r}")
    names = protocol.MENU_SETTINGS
    known = {names[key]: value for key, value in menu.items() if key in names}
    return protocol.LedRun(**known), n_events


def _target(client: dict[str, Any]) -> tuple[Path, str]:
    folder, run_name = client.get("outputDirectory"), client.get("run_type")
    if not isinstance(folder, str) or not isinstance(run_name, str) or not run_name:
        raise _RefusedError("outputDirectory and run_type must be given")
    if not Path(folder).is_dir():
        raise _RefusedError(f"no folder {folder!r}")
    return Path(folder), run_name


def _spoilt(words: dict[str, NDArray[Any]], fault: FileFault | None) -> dict[str, NDArray[Any]]:
    rows = np.arange(words["event"].size)
    middle = rows.size // 2 // protocol.COLUMNS_PER_HALF * protocol.COLUMNS_PER_HALF
    if fault == "missing event":
        rows = rows[words["event"] != words["event"][-1]]
    elif fault == "missing word":
        rows = np.delete(rows, middle)
    elif fault == "repeated word":
        rows[middle + 1] = middle
    elif fault == "corrupt word":
        words[run_file.CORRUPTION][middle] = 1
    return {name: values[rows] for name, values in words.items()}


def _remove_leftover(run: _Run) -> None:
    run.ready.wait()
    if run.written is not None:
        run.written.unlink(missing_ok=True)
