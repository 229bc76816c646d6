"""Fast control and data client of the simulated tester: runs of triggers and their files."""

import dataclasses
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.clock import Clock
from drivers.tileboard_tester import protocol, run_file
from drivers.tileboard_tester.protocol import Pin
from drivers.tileboard_tester.simulated_board import SimulatedBoard
from drivers.tileboard_tester.simulated_requests import document_of
from drivers.tileboard_tester.world import (
    FileFault,
    RefusedError,
    TesterFaults,
    TesterSettings,
    TesterWorld,
    TimedWorld,
)


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


class SimulatedRuns:
    """Triggers at the menu's rate, and a file when the last one came."""

    def __init__(
        self,
        world: TesterWorld,
        clock: Clock,
        faults: TesterFaults,
        tester: SimulatedBoard,
        *,
        n_rocs: int,
    ) -> None:
        self._board = world
        self._clock = clock
        self._faults = faults
        self._tester = tester
        self._n_rocs = n_rocs
        self._n_channels = n_rocs * protocol.CHANNELS_PER_ROC
        self._fast_state = "created"
        self._menu: tuple[protocol.LedRun, int] | None = None
        self._data_state = "created"
        self._target: tuple[Path, str] | None = None
        self._file_index = 0
        self._run: _Run | None = None

    @property
    def acquiring(self) -> bool:
        """Whether triggers are running."""
        return self._fast_state == protocol.RUNNING

    def wait_for_thread(self) -> None:
        """Until no run computes any more."""
        run = self._run
        if run is not None and run.thread is not None:
            run.thread.join()

    def answer_fast(self, word: str, _: list[str], documents: list[str]) -> str:
        if word in ("initialize", "configure"):
            document = document_of(word, documents)
            if self._fast_state == protocol.RUNNING:
                raise RefusedError(f"{word} while running")
            if word == "configure" and self._fast_state == "created":
                raise RefusedError("configure before initialize")
            self._menu = _menu(document)
            self._fast_state = protocol.READY if word == "initialize" else protocol.CONFIGURED
        elif word == "start":
            if self._fast_state != protocol.RUNNING:
                self._start_run()
        elif word == "stop":
            self._abandon_run()
        elif word != "status":
            raise RefusedError(f"{word!r} does not correspond to any entry in the action map")
        run = self._run
        if run is not None and run.ready.is_set() and run.failed:
            raise RefusedError("the run failed")
        return self._fast_state

    def _start_run(self) -> None:
        if self._fast_state != protocol.CONFIGURED or self._menu is None:
            raise RefusedError(f"start while {self._fast_state}")
        if self._faults.never_runs:
            return
        menu, n_events = self._menu
        run = _Run(
            n_events=n_events,
            ends_at_s=self._clock.now_s() + n_events / menu.trigger_rate_hz,
            target=self._next_file(),
        )
        settings = self._settings(menu)
        flashes = self._tester.led_on and menu.calib_type == "CALPULEXT"
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
        groups = self._tester.driven_pins() >> Pin.LED_GROUP_1_OFF
        chips = [self._tester.chips.get(protocol.roc_name(i)) for i in range(self._n_rocs)]
        phases = tuple(chip["sc"]["Top"]["all"]["phase_ck"] if chip else 0 for chip in chips)
        return TesterSettings(
            bias_connected=self._tester.bias_connected,
            led_groups_on=tuple(not groups >> i & 1 for i in range(protocol.N_LED_GROUPS)),
            dacs=self._tester.dacs,
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
            if charges.shape != (self._n_channels, run.n_events):
                raise ValueError(
                    f"the world gave charges of shape {charges.shape}, "
                    f"expected {(self._n_channels, run.n_events)}"
                )
            adc = np.clip(np.rint(charges), 0, protocol.ADC_MAX).astype(np.int_)
            if run.target is not None and not run.abandoned:
                run.written = run.target.with_suffix(".part")
                words = _spoilt(
                    run_file.run_words(
                        adc,
                        self._n_rocs,
                        **self._times(run.n_events, led_on, settings),
                        trigger_step=(settings.run.prescale + 1)
                        * protocol.BUNCH_CROSSINGS_PER_ORBIT,
                    ),
                    self._faults.file,
                )
                run_file.write_words(run.written, words)
                if self._faults.file == "truncated":
                    os.truncate(run.written, run.written.stat().st_size // 2)
            run.failed = False
        finally:
            run.ready.set()

    def _times(
        self, n_events: int, led_on: bool, settings: TesterSettings
    ) -> dict[str, NDArray[np.int_]]:
        if not isinstance(self._board, TimedWorld):
            return {}
        tot, toa = self._board.times(n_events, led_on, settings)
        return {
            "tot": np.clip(tot, 0, protocol.TOT_MAX),
            "toa": np.clip(toa, 0, protocol.TOA_MAX),
        }

    def finish(self) -> None:
        run = self._run
        if run is None or self._fast_state != protocol.RUNNING or not run.ready.is_set():
            return
        if self._faults.never_ends or self._clock.now_s() < run.ends_at_s:
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

    def answer_data(self, word: str, _: list[str], documents: list[str]) -> str:
        if word in ("initialize", "configure"):
            client = document_of(word, documents).get("client")
            if self._data_state == protocol.RUNNING:
                raise RefusedError(f"{word} while running")
            if word == "configure" and self._data_state == "created":
                raise RefusedError("configure before initialize")
            if not isinstance(client, dict):
                raise RefusedError("no 'client' in the configuration")
            if word == "configure":
                self._target = _target(client)
            self._data_state = protocol.READY if word == "initialize" else protocol.CONFIGURED
        elif word == "start":
            if self._data_state != protocol.CONFIGURED:
                raise RefusedError(f"start while {self._data_state}")
            self._data_state = protocol.RUNNING
            self._file_index = 0
        elif word == "stop":
            if self._data_state == protocol.RUNNING:
                self._data_state = protocol.CONFIGURED
        elif word != "status":
            raise RefusedError(f"{word!r} does not correspond to any entry in the action map")
        return self._data_state


def _menu(document: dict[str, Any]) -> tuple[protocol.LedRun, int]:
    daq = document.get("daq")
    menus = daq.get("menus") if isinstance(daq, dict) else None
    active = daq.get("active_menu") if isinstance(daq, dict) else None
    if active not in protocol.MENUS or not isinstance(menus, dict):
        raise RefusedError(f"no menu {active!r}")
    menu = menus.get(active)
    if active != protocol.CALIBRATION_MENU or not isinstance(menu, dict):
        raise RefusedError(f"the simulated tester serves {protocol.CALIBRATION_MENU} only")
    n_events = menu.get("NEvents")
    if not isinstance(n_events, int) or n_events < 1:
        raise RefusedError(f"NEvents must be a positive number, got {n_events!r}")
    names = protocol.MENU_SETTINGS
    known = {names[key]: value for key, value in menu.items() if key in names}
    return protocol.LedRun(**known), n_events


def _target(client: dict[str, Any]) -> tuple[Path, str]:
    folder, run_name = client.get("outputDirectory"), client.get("run_type")
    if not isinstance(folder, str) or not isinstance(run_name, str) or not run_name:
        raise RefusedError("outputDirectory and run_type must be given")
    if not Path(folder).is_dir():
        raise RefusedError(f"no folder {folder!r}")
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
