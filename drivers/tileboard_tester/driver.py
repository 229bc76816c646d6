"""The tileboard tester: charges, LEDs, bias switches, thermometers and board supplies."""

import contextlib
import dataclasses
import math
import sys
import threading
import time
import uuid
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from drivers.clock import Clock, RealClock
from drivers.errors import (
    BrokenReply,
    InstrumentError,
    InstrumentRefused,
    InstrumentTimeout,
    SetpointRefused,
    WrongInstrument,
)
from drivers.roles import ChargeRun, Checkpoint, Identity
from drivers.tileboard_tester import protocol
from drivers.tileboard_tester.protocol import (
    BoardConstants,
    Converter,
    LedRun,
    Pin,
    ProtocolError,
)
from drivers.tileboard_tester.run_file import RunFileError, read_run
from drivers.transport import PortStatistics, ZmqTransport

_POLL_S = 0.02
_FILE_QUIET_S = 1.0
_CLOSING_DEADLINE_S = 1.0


class TileboardTester:
    """A tileboard tester with its board.

    Fulfils the roles ``ChargeReadout``, ``LightPulser``, ``BiasSwitch`` and ``ClimateSensor``.

    Opening checks that a tester with ``board_constants.n_rocs`` chips answers, powers the board if
    it is not powered, stops an acquisition that someone left running and initialises the three
    servers. Bias switches and LEDs stay as they are found: bring the supply down before switching
    them. ``close`` switches both off.

    ``data_folder`` is where the data client writes and this program reads. ``data_host`` is the
    machine of the data client when it is not the tester.

    Raises:
        InstrumentTimeout: one of the three servers does not answer.
        WrongInstrument: something else answers, or the board has another number of chips.
    """

    def __init__(
        self,
        host: str,
        *,
        data_folder: Path,
        board_constants: BoardConstants,
        fast_port: int = protocol.FAST_PORT,
        slow_port: int = protocol.SLOW_PORT,
        data_port: int = protocol.DATA_PORT,
        push_port: int = protocol.PUSH_PORT,
        data_host: str | None = None,
        clock: Clock | None = None,
        reply_deadline_s: float = 3.0,
    ) -> None:
        self._host = host
        self._push_port = push_port
        self._folder = Path(data_folder).resolve()
        self._constants = board_constants
        self._clock = clock or RealClock()
        self._reply_deadline_s = reply_deadline_s
        self._run: LedRun | None = None
        self._pins_lock = threading.Lock()
        self._acquiring = threading.Lock()
        self._closed = False
        self._slow = ZmqTransport(f"tcp://{host}:{slow_port}")
        self._fast = ZmqTransport(f"tcp://{host}:{fast_port}")
        self._data = ZmqTransport(f"tcp://{data_host or host}:{data_port}")
        try:
            self._open()
        except BaseException:
            self._close_ports()
            raise
        self._identity = Identity(
            maker="HGCAL",
            model=f"tileboard tester, {board_constants.n_rocs} x HGCROC",
            serial="",
            firmware="",
            port=self._slow.port,
        )

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def statistics(self) -> PortStatistics:
        """How the transactions with the slow control went."""
        return self._slow.statistics

    @property
    def n_channels(self) -> int:
        return self._constants.n_channels

    # opening and closing

    def _open(self) -> None:
        if not self._folder.is_dir():
            raise SetpointRefused(
                f"the data folder {self._folder} does not exist",
                port=self._data.port,
                advice="Create the folder or correct it in the site profile.",
            )
        try:
            self._read_pins()
        except (BrokenReply, InstrumentRefused) as error:
            raise WrongInstrument(
                f"no tileboard tester answers: {error.what}", port=error.port, sent=error.sent
            ) from error
        self._done(protocol.set_gpio_direction(protocol.GPIO_DIRECTION))
        self._power_board()
        for transport in (self._fast, self._data):
            if protocol.RUNNING in self._ask(transport, "status"):
                self._expect(transport, "stop", protocol.CONFIGURED)
        self._send_tree(self._slow, "initialize", protocol.phase_document(0, n_rocs=1))
        self._check_chips()
        self._send_tree(self._fast, "initialize", protocol.daq_document(LedRun(), 1))
        self._send_tree(self._data, "initialize", self._client_tree("idle"))

    def _power_board(self) -> None:
        needed = protocol.LDO_MASK | protocol.SOFT_START_MASK | protocol.RESET_MASK
        if self._read_pins() & needed == needed:
            return
        self._set_pins(0, protocol.LDO_MASK | protocol.SOFT_START_MASK)
        self._set_pins(protocol.SOFT_START_MASK, protocol.SOFT_START_MASK)
        self._clock.sleep(protocol.SOFT_START_S)
        self._set_pins(protocol.LDO_MASK, protocol.LDO_MASK)
        self._set_pins(0, protocol.RESET_MASK)
        self._set_pins(protocol.RESET_MASK, protocol.RESET_MASK)

    def _check_chips(self) -> None:
        reply = self._request(self._slow, ["read", ""])
        try:
            tree = protocol.from_yaml(reply)
        except ProtocolError as error:
            raise BrokenReply(str(error), port=self._slow.port, sent="read") from error
        expected = {protocol.roc_name(index) for index in range(self._constants.n_rocs)}
        found = {name for name in tree if str(name).startswith("roc_s")}
        if found != expected:
            raise WrongInstrument(
                f"the board has the chips {', '.join(sorted(found)) or 'none'}, "
                f"expected {', '.join(sorted(expected))}",
                port=self._slow.port,
                sent="read",
                advice="Check that the scanned label belongs to the board on the tester.",
            )

    def close(self) -> None:
        """Stop an acquisition, switch LEDs and bias off, read that back, give the ports back.

        Raises the first InstrumentError met; the other steps are tried all the same.
        """
        if self._closed:
            return
        self._closed = True
        self._reply_deadline_s = min(self._reply_deadline_s, _CLOSING_DEADLINE_S)
        failed: list[InstrumentError] = []
        for step in (self._stop_all, self.pulse_off, self.disconnect):
            try:
                step()
            except InstrumentError as error:
                failed.append(error)
        self._close_ports()
        if failed:
            raise failed[0]

    def _close_ports(self) -> None:
        for transport in (self._slow, self._fast, self._data):
            transport.close()

    # charges

    def configure(self, **settings: Any) -> None:
        """Choose the settings of the next runs: fields of ``LedRun``, the others at their defaults.

        Sets the sampling phase in every chip and resets the time-to-digital converters.

        Raises:
            SetpointRefused: a setting is unknown or out of range; nothing was sent.
        """
        known = {field.name for field in dataclasses.fields(LedRun)}
        unknown = sorted(set(settings) - known)
        if unknown:
            self._refuse_setting(f"no setting {', '.join(unknown)}; there are {sorted(known)}")
        try:
            run = LedRun(**settings)
        except ProtocolError as error:
            self._refuse_setting(str(error))
        phases = protocol.phase_document(run.phase_ck, self._constants.n_rocs)
        self._run = None
        self._send_tree(self._slow, "configure", phases)
        self._request(self._slow, [protocol.RESET_TDC])
        self._run = run

    def take(self, n_events: int, *, checkpoint: Checkpoint, deadline_s: float) -> ChargeRun:
        """Charges of ``n_events`` triggers with the settings of ``configure``.

        ``ChargeRun.adc`` is int of shape (n_channels, n_events), ADC counts 0..1023 with pedestal;
        its settings hold the run's settings, the state of LEDs and bias, and the raw file. Waits
        inside ``checkpoint()``; triggers and data client are stopped on every way out.

        Raises:
            InstrumentRefused: not configured, or the tester refuses the run.
            InstrumentTimeout: the run did not start or end within ``deadline_s`` (real time).
            BrokenReply: the file is truncated, or its events and channels are not those asked for.
            InstrumentError: LEDs or bias were switched while the run was on.
        """
        if not (math.isfinite(deadline_s) and deadline_s > 0):
            raise ValueError(f"a deadline must be positive and finite, got {deadline_s}")
        ends_at_s = time.monotonic() + deadline_s
        run = self._run
        if run is None:
            raise InstrumentRefused("a run was asked for before its settings", port=self._fast.port)
        if not self._acquiring.acquire(blocking=False):
            raise InstrumentRefused("a run is on already", port=self._fast.port)
        try:
            return self._take(run, n_events, checkpoint, ends_at_s)
        finally:
            self._acquiring.release()

    def _take(
        self, run: LedRun, n_events: int, checkpoint: Checkpoint, ends_at_s: float
    ) -> ChargeRun:
        try:
            menu = protocol.daq_document(run, n_events)
        except ProtocolError as error:
            self._refuse_setting(str(error))
        run_name = _new_run_name()
        path = self._folder / protocol.run_file_name(run_name)
        pins = self._read_pins()
        self._send_tree(self._data, "configure", self._client_tree(run_name))
        self._send_tree(self._fast, "configure", menu)
        with self._stopped_afterwards():
            self._expect(self._data, "start", protocol.RUNNING)
            self._until(self._fast, "start", protocol.RUNNING, checkpoint, ends_at_s)
            self._until(self._fast, "status", protocol.CONFIGURED, checkpoint, ends_at_s)
        adc = self._collect(path, n_events, checkpoint, ends_at_s)
        switched = (pins ^ self._read_pins()) & (
            protocol.LED_MASK | protocol.LED_GROUPS_MASK | protocol.BIAS_MASK | protocol.LDO_MASK
        )
        if switched:
            raise InstrumentError(
                f"pins {_pin_names(switched)} changed while the run was on",
                port=self._slow.port,
                advice="Let nobody else use the tester, then repeat the run.",
            )
        settings = dataclasses.asdict(run) | {
            "n_events": n_events,
            "led_on": bool(pins & protocol.LED_MASK),
            "bias_connected": pins & protocol.BIAS_MASK == protocol.BIAS_MASK,
            "file": str(path),
        }
        return ChargeRun(adc=adc, settings=settings)

    @contextlib.contextmanager
    def _stopped_afterwards(self) -> Generator[None]:
        try:
            yield
        finally:
            interrupted = sys.exception()
            try:
                self._stop_all()
            except InstrumentError as error:
                if interrupted is None:
                    raise
                interrupted.add_note(f"Stopping the run failed as well: {error}")

    def _stop_all(self) -> None:
        failed: list[InstrumentError] = []
        for transport in (self._fast, self._data):
            try:
                with contextlib.suppress(InstrumentRefused):
                    self._ask(transport, "stop")
                state = self._ask(transport, "status")
                if protocol.RUNNING in state:
                    raise InstrumentError(
                        f"still {state[:80]!r} after a stop",
                        port=transport.port,
                        sent="stop",
                        advice="Restart the tester's servers.",
                    )
            except InstrumentError as error:
                failed.append(error)
        if failed:
            raise failed[0]

    def _until(
        self,
        transport: ZmqTransport,
        word: str,
        wanted: str,
        checkpoint: Checkpoint,
        ends_at_s: float,
    ) -> None:
        while True:
            with checkpoint():
                reply = self._ask(transport, word)
                if wanted in reply:
                    return
                if time.monotonic() >= ends_at_s:
                    raise InstrumentTimeout(
                        f"the run is not {wanted} in time: {reply[:80]!r}",
                        port=transport.port,
                        sent=word,
                        advice="Check the links to the board, restart the tester's servers.",
                    )
                self._clock.sleep(_POLL_S)

    def _collect(
        self, path: Path, n_events: int, checkpoint: Checkpoint, ends_at_s: float
    ) -> NDArray[np.int_]:
        size_bytes, quiet_since_s = -1, time.monotonic()
        while True:
            with checkpoint():
                try:
                    return read_run(path, n_rocs=self._constants.n_rocs, n_events=n_events)
                except RunFileError as error:
                    now_s = time.monotonic()
                    size_now_bytes = path.stat().st_size if path.is_file() else -1
                    if size_now_bytes != size_bytes:
                        size_bytes, quiet_since_s = size_now_bytes, now_s
                    if now_s >= ends_at_s or now_s - quiet_since_s >= _FILE_QUIET_S:
                        raise BrokenReply(
                            str(error),
                            port=self._data.port,
                            advice="Repeat the run; check disk space and links if it comes again.",
                        ) from error
                self._clock.sleep(_POLL_S)

    def _client_tree(self, run_name: str) -> dict[str, Any]:
        return protocol.client_document(self._host, self._push_port, str(self._folder), run_name)

    # light

    def pulse_on(self) -> None:
        """Let the LEDs flash with every calibration trigger."""
        self._set_pins(protocol.LED_MASK, protocol.LED_MASK)

    def pulse_off(self) -> None:
        """Keep the LEDs dark."""
        self._set_pins(0, protocol.LED_MASK)

    def pulsing(self) -> bool:
        return bool(self._read_pins() & protocol.LED_MASK)

    def choose_led_groups(self, groups_on: Sequence[bool]) -> None:
        """Choose which of the eight LED groups take part in the flashes.

        Raises:
            SetpointRefused: another number of groups.
        """
        try:
            word = protocol.led_groups_off_word(groups_on)
        except ProtocolError as error:
            self._refuse_setting(str(error))
        self._set_pins(word, protocol.LED_GROUPS_MASK)

    # bias

    def connect(self) -> None:
        """Connect bias 1 and bias 2 to their SiPMs; on a failure both are off."""
        try:
            self._set_pins(protocol.BIAS_MASK, protocol.BIAS_MASK)
        except InstrumentError:
            self.disconnect()
            raise

    def disconnect(self) -> None:
        """Disconnect both biases from the SiPMs."""
        self._set_pins(0, protocol.BIAS_MASK)

    def connected(self) -> bool:
        """Whether both biases reach their SiPMs; raises InstrumentError when only one does."""
        on = self._read_pins() & protocol.BIAS_MASK
        if on not in (0, protocol.BIAS_MASK):
            raise InstrumentError(
                f"only {_pin_names(on)} is connected",
                port=self._slow.port,
                sent=protocol.READ_GPIO,
                advice="Ramp the supply down and disconnect.",
            )
        return on == protocol.BIAS_MASK

    def input_voltage_v(self) -> float:
        """Voltage (V) that the bias supply gives to the board, whether connected or not."""
        return self._read(Converter.BIAS_INPUT, self._bias_v)

    def bias_voltages_v(self) -> tuple[float, float]:
        """Voltages (V) behind the switches of bias 1 and bias 2."""
        return (
            self._read(Converter.BIAS_1, self._bias_v),
            self._read(Converter.BIAS_2, self._bias_v),
        )

    def bias_currents_a(self) -> tuple[float, float]:
        """Currents (A) of bias 1 and bias 2; one step of the converter is 7 uA."""
        return (
            self._read(Converter.BIAS_1_CURRENT, self._current_a),
            self._read(Converter.BIAS_2_CURRENT, self._current_a),
        )

    def set_overvoltage(self, overvoltage_v: float) -> None:
        """Set the board's regulators to an overvoltage (V) of the board's table.

        Raises:
            SetpointRefused: the table has no such overvoltage; nothing was sent.
        """
        table = self._constants.overvoltage_dacs
        if overvoltage_v not in table:
            allowed = ", ".join(f"{value:g}" for value in sorted(table)) or "none"
            self._refuse_setting(
                f"no setting for {overvoltage_v} V overvoltage; this board's table has {allowed}"
            )
        for name, value in zip(("A", "B"), table[overvoltage_v], strict=True):
            self._set_dac(name, value)

    def overvoltage_v(self) -> float | None:
        """Overvoltage (V) of the table that both DACs stand at; None when at no entry."""
        dacs = tuple(self._number(protocol.read_dac(name), protocol.DAC_MAX) for name in ("A", "B"))
        return next(
            (
                overvoltage_v
                for overvoltage_v, setting in self._constants.overvoltage_dacs.items()
                if tuple(setting) == dacs
            ),
            None,
        )

    # climate and supplies

    def temperatures_c(self) -> dict[str, float]:
        """Temperatures (C) of the fitted PT1000 sensors; one step of the converter is 0.12 K.

        Raises:
            BrokenReply: a sensor is open, shorted or too warm to be read.
        """
        return {
            name: self._read(channel, protocol.pt1000_temperature_c, name)
            for name, channel in self._constants.pt1000_channels.items()
        }

    def supply_v(self) -> float:
        """Voltage (V) of the board's supply."""
        return self._read(Converter.SUPPLY, self._supply_v)

    def led_bias_v(self) -> float:
        """Voltage (V) that sets the brightness of the LEDs."""
        return self._read(Converter.LED_BIAS, self._supply_v)

    def _bias_v(self, counts: int) -> float:
        return protocol.divided_volts(counts, self._constants.bias_divider)

    def _supply_v(self, counts: int) -> float:
        return protocol.divided_volts(counts, self._constants.supply_divider)

    def _current_a(self, counts: int) -> float:
        return protocol.sensed_current_a(
            counts, self._constants.current_sense_ohm, self._constants.current_gain
        )

    def _read(self, channel: int, convert: Callable[[int], float], name: str = "") -> float:
        command = protocol.read_converter(channel)
        counts = self._number(command, protocol.CONVERTER_MAX)
        try:
            return convert(counts)
        except ProtocolError as error:
            raise BrokenReply(
                f"{name or Converter(channel).name.lower()}: {error}",
                port=self._slow.port,
                sent=command,
                advice="Check the board's plugs and its sensor.",
            ) from error

    # the wire

    def _set_dac(self, name: str, value: int) -> None:
        command = protocol.set_dac(name, value)
        self._done(command)
        read_back = self._number(protocol.read_dac(name), protocol.DAC_MAX)
        if read_back != value:
            raise InstrumentError(
                f"DAC {name} was set to {value} and reads back {read_back}",
                port=self._slow.port,
                sent=command,
                advice="Ramp the bias down; check the board and restart the tester.",
            )

    def _set_pins(self, values: int, mask: int) -> None:
        command = protocol.set_gpio(values, mask)
        with self._pins_lock:
            self._done(command)
            read_back = self._read_pins()
        wrong = (read_back ^ values) & mask
        if wrong:
            raise InstrumentError(
                f"pins do not read back as set: {_pin_names(wrong)} should be "
                f"{'on' if values & wrong == wrong else 'off' if not values & wrong else 'mixed'}",
                port=self._slow.port,
                sent=command,
                advice="Ramp the bias down; check the board and restart the tester.",
            )

    def _read_pins(self) -> int:
        return self._number(protocol.READ_GPIO, protocol.GPIO_WORD)

    def _number(self, command: str, largest: int) -> int:
        reply = self._request(self._slow, [command])
        try:
            return protocol.parse_integer(reply, 0, largest)
        except ProtocolError as error:
            raise BrokenReply(str(error), port=self._slow.port, sent=command) from error

    def _done(self, command: str) -> None:
        self._expect(self._slow, command, protocol.DONE)

    def _expect(self, transport: ZmqTransport, command: str, wanted: str) -> None:
        reply = self._ask(transport, command)
        if wanted not in reply:
            raise BrokenReply(
                f"expected {wanted!r}, got {reply[:80]!r}", port=transport.port, sent=command
            )

    def _send_tree(self, transport: ZmqTransport, word: str, tree: dict[str, Any]) -> None:
        wanted = protocol.READY if word == "initialize" else protocol.CONFIGURED
        reply = self._request(transport, [word, protocol.to_yaml(tree)]).lower()
        if wanted not in reply:
            raise BrokenReply(
                f"expected {wanted!r}, got {reply[:80]!r}", port=transport.port, sent=word
            )

    def _ask(self, transport: ZmqTransport, command: str) -> str:
        return self._request(transport, [command]).lower()

    def _request(self, transport: ZmqTransport, parts: Sequence[str]) -> str:
        reply = transport.request(parts, deadline_s=self._reply_deadline_s)
        try:
            text = b"".join(reply).decode("utf-8")
        except UnicodeDecodeError as error:
            raise BrokenReply(
                "the answer is no text", port=transport.port, sent=parts[0]
            ) from error
        if text.lower().startswith(protocol.ERROR):
            raise InstrumentRefused(
                f"the tester refused: {text[:200]}",
                port=transport.port,
                sent=parts[0],
                advice="Reconnect the tester; restart its servers if this repeats.",
            )
        return text

    def _refuse_setting(self, what: str) -> NoReturn:
        raise SetpointRefused(what, port=self._slow.port)


def _new_run_name() -> str:
    return f"charges_{uuid.uuid4().hex[:12]}_"


def _pin_names(word: int) -> str:
    known = {int(pin): pin.name.lower() for pin in Pin}
    return ", ".join(known.get(bit, f"pin {bit}") for bit in range(32) if word >> bit & 1)
