"""Runs of triggers: settings, start, wait, stop, and the file that they leave."""

import contextlib
import dataclasses
import functools
import math
import sys
import threading
import time
import uuid
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.clock import Clock
from drivers.errors import BrokenReply, InstrumentError, InstrumentRefused, InstrumentTimeout
from drivers.roles import ChargeRun, Checkpoint
from drivers.tileboard_tester import chips, protocol
from drivers.tileboard_tester.board import ResetKind, TesterBoard, pin_names
from drivers.tileboard_tester.protocol import BoardConstants, LedRun, ProtocolError
from drivers.tileboard_tester.run_file import RunFileError, read_run
from drivers.transport import ZmqTransport

_POLL_S = 0.02
_FILE_QUIET_S = 1.0


class TesterRuns(TesterBoard):
    """What fast control and data client do together."""

    def __init__(
        self,
        slow: str,
        fast: str,
        data: str,
        *,
        server_host: str,
        push_port: int,
        data_folder: Path,
        board_constants: BoardConstants,
        clock: Clock,
        reply_deadline_s: float,
    ) -> None:
        super().__init__(
            slow,
            fast,
            data,
            board_constants=board_constants,
            clock=clock,
            reply_deadline_s=reply_deadline_s,
        )
        self._server_host = server_host
        self._push_port = push_port
        self._folder = Path(data_folder).resolve()
        self._run: LedRun | None = None
        self._acquiring = threading.Lock()

    def reset_chips(self, kind: ResetKind) -> None:
        self._run = None
        super().reset_chips(kind)

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
        self._run = None
        self.set_registers(chips.phase_document(run.phase_ck, self._constants.n_rocs))
        self.reset_tdc()
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
                f"pins {pin_names(switched)} changed while the run was on",
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
        self._first_failure(
            [functools.partial(self._stop, transport) for transport in (self._fast, self._data)]
        )

    def _stop(self, transport: ZmqTransport) -> None:
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
        return protocol.client_document(
            self._server_host, self._push_port, str(self._folder), run_name
        )


def _new_run_name() -> str:
    return f"charges_{uuid.uuid4().hex[:12]}_"
