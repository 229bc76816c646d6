"""A session that plays a scripted shift: the messages of station.events, without a station."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import numpy as np

from station.catalogue import BoardShape, Catalogue
from station.doctor import Found
from station.events import (
    Answer,
    Ask,
    Curve,
    Event,
    Finding,
    Happened,
    InstrumentState,
    LineState,
    Listener,
    Message,
    ModuleDone,
    Note,
    Picture,
    Progress,
    Reading,
    RunEnded,
    RunStarted,
    ShiftStep,
    Verdict,
)
from station.setup_facts import (
    STEP_WORDS,
    ChangeFacts,
    InstrumentFacts,
    RuleFacts,
    SetupFacts,
    StepFacts,
    TripFacts,
)

MODULE = "320TMD8FC000471"
TILE = "320BC2400000042"
FAILING, FLAGGED, UNKNOWN, HARD = 43, 12, 20, 57
LIMITS: dict[str, tuple[float | None, float | None]] = {
    "gain": (26.0, 30.5),
    "pedestal": (60.0, 160.0),
    "noise": (0.5, 5.0),
    "light_yield": (0.8, 6.0),
    "crosstalk": (None, 0.25),
    "sipm_offset_x": (-0.25, 0.25),
    "sipm_offset_y": (-0.25, 0.25),
}
WAIT_S = 10.0


class StoppedError(Exception):
    """The scripted shift was stopped."""


def instruments(
    bias_v: float = 0.0, *, temperature_c: float = 21.4, healthy: bool = True
) -> tuple[InstrumentState, ...]:
    on = bias_v > 1
    return (
        InstrumentState(
            "bias",
            "Keithley 2450" if healthy else "MODEL 2450",
            "on" if on else "off",
            f"{bias_v:.3f} V   {2.31 if on else 0:.2f} µA",
            healthy=True,
            trend=bias_v,
        ),
        InstrumentState(
            "readout",
            "tileboard tester",
            "LED on" if on else "idle",
            f"board {temperature_c:.1f} °C",
            healthy=True,
            trend=temperature_c,
        ),
        InstrumentState(
            "gantry",
            "GRBL 1.1",
            "idle" if healthy else "silent",
            "X 120.0  Y 84.5  Z 40.0" if healthy else "no answer within 2 s",
            healthy=healthy,
            trend=120.0 if healthy else None,
        ),
    )


def line_state(bias_v: float = 0.0, *, trip: str | None = None, **seen: Any) -> LineState:
    return LineState(datetime.now(UTC), instruments(bias_v, **seen), trip)


def spectrum(
    rng: np.random.Generator, gain: float, *, pedestal: float = 100.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges, counts and model of resolved peaks."""
    edges = np.arange(pedestal - 20, pedestal + 9.5 * gain, 1.0)
    centres = (edges[:-1] + edges[1:]) / 2
    mean, model = 2.1, np.zeros(len(centres))
    weight = np.exp(-mean)
    for peak in range(14):
        width = np.hypot(2.6, 1.1 * np.sqrt(peak))
        at = pedestal + peak * gain
        model += weight * np.exp(-0.5 * ((centres - at) / width) ** 2) / width / np.sqrt(2 * np.pi)
        weight *= mean / (peak + 1)
    model *= 2500
    return edges, rng.poisson(model).astype(float), model


def tile_picture(rng: np.random.Generator) -> np.ndarray:
    """A grey picture of something like a tile."""
    y, x = np.mgrid[0:480, 0:640]
    inside = (np.abs(x - 320) < 190 + (240 - y) * 0.04) & (np.abs(y - 240) < 170)
    image = np.where(inside, 168.0, 46.0)
    image[(x - 320) ** 2 + (y - 240) ** 2 < 32**2] = 120.0
    return np.clip(image + rng.normal(0, 5, image.shape), 0, 255).astype(np.uint8)


def judged(run: UUID, label: str, reading: Reading, reasons: tuple[str, ...] = ()) -> Happened:
    low, high = LIMITS.get(reading.quantity, (None, None))
    verdict: Verdict = "pass"
    if reading.value is None:
        verdict, reasons = "unknown", reading.reasons
    elif (low is not None and reading.value < low) or (high is not None and reading.value > high):
        verdict = "fail"
    elif reading.sigma is not None and any(
        edge is not None and abs(reading.value - edge) < 2 * reading.sigma for edge in (low, high)
    ):
        verdict = "flag"
    return Happened(run, label, reading, uuid4(), verdict, low, high, reasons)


def channel_messages(
    run: UUID, label: str, channel: int, rng: np.random.Generator
) -> Iterator[Message]:
    gain = {FAILING: 24.31, FLAGGED: 26.05}.get(channel, 28.0 + rng.normal(0, 0.7))
    edges, counts, model = spectrum(rng, gain)
    if channel == UNKNOWN:
        model = np.zeros_like(model)
    curve = Curve("charge_spectrum", edges, counts, "ADC", "events", channel, model)
    yield Happened(run, label, curve, uuid4())
    values: dict[str, tuple[float, float, str]] = {
        "gain": (gain, 0.05, "ADC/pe"),
        "pedestal": (100 + rng.normal(0, 1), 0.06, "ADC"),
        "noise": (2.6 + rng.normal(0, 0.1), 0.05, "ADC"),
        "light_yield": (2.1 + rng.normal(0, 0.2), 0.02, "pe"),
        "crosstalk": (0.048 + abs(rng.normal(0, 0.01)), 0.003, "1"),
        "gain_spread": (1.1 + rng.normal(0, 0.05), 0.08, "ADC"),
    }
    for quantity, (value, sigma, unit) in values.items():
        if channel == UNKNOWN and quantity in ("gain", "crosstalk", "gain_spread"):
            why = ("no peaks can be told apart in this spectrum",)
            reading = Reading(quantity, None, None, unit, "peaks", channel, reasons=why)
        else:
            reading = Reading(quantity, value, sigma, unit, "peaks", channel)
        yield judged(run, label, reading)


def placing_messages(
    run: UUID, label: str, channel: int, rng: np.random.Generator
) -> Iterator[Message]:
    for quantity in ("sipm_offset_x", "sipm_offset_y"):
        reading = Reading(quantity, rng.normal(0, 0.04), 0.012, "mm", "edges", channel)
        yield judged(run, label, reading)
    yield judged(
        run,
        label,
        Reading("placed_rotation", rng.normal(0, 0.002), 0.0004, "rad", "edges", channel),
    )


def inspection(rng: np.random.Generator, *, label: str = TILE, chipped: bool) -> Iterator[Message]:
    run = uuid4()
    yield RunStarted(run, "inspect_tile", uuid4(), label, datetime.now(UTC))
    picture = Picture("bare tile in tray", tile_picture(rng), 0.085, {})
    for event in (Progress(0, 2, "looking at slot 3"), picture):
        yield Happened(run, label, event)
    for quantity, value in (
        ("inner_width", 31.482),
        ("outer_width", 34.116),
        ("height", 32.541),
        ("dimple_x", 0.012),
        ("dimple_y", -0.021),
    ):
        low, high = round(value) - 1.0, round(value) + 1.0
        reading = Reading(quantity, value, 0.006, "mm", "edges")
        yield Happened(run, label, reading, uuid4(), "pass", low, high)
    yield Happened(
        run, label, Reading("tile_rotation", 0.0042, 0.0003, "rad", "edges"), uuid4(), "pass"
    )
    if chipped:
        chip = Finding("chip", "chip in the edge, 0.62 mm deep", 12.0, 3.0, 0.9, "fail")
        yield Happened(run, label, chip, uuid4(), "fail")
    verdict: Verdict = "fail" if chipped else "pass"
    yield RunEnded(run, "inspect_tile", label, "done", verdict, ())


def whole_shift(
    shape: BoardShape, *, channels: int | None = None, ask: Ask | None = None
) -> Iterator[Message | Ask]:
    """A shift of one module; `channels` of its test, or all of them and then the report."""
    rng = np.random.default_rng(7)

    def step(name: str, text: str) -> ShiftStep:
        return ShiftStep(MODULE, name, text, shape.name, 1, 1)

    yield line_state()
    yield step("load", f"{MODULE} is in the fixture")
    yield step("inspect", f"inspecting {shape.n_channels} tiles")
    yield from inspection(rng, chipped=True)
    if ask is not None:
        yield ask
    yield from inspection(rng, label="320BC2400000107", chipped=False)
    yield step("wrap", f"wrapping {shape.n_channels} tiles")
    placing = uuid4()
    yield step("place", f"placing {shape.n_channels} tiles")
    yield RunStarted(placing, "place_tiles", uuid4(), MODULE, datetime.now(UTC))
    for done in range(shape.n_channels):
        text = f"placing 320TC24{done:07d} at R1C{done}"
        yield Happened(placing, MODULE, Progress(done, shape.n_channels, text))
        yield from placing_messages(placing, MODULE, done, rng)
    yield RunEnded(placing, "place_tiles", MODULE, "done", "pass", ())
    yield step("test", f"testing {shape.n_channels} channels")
    test = uuid4()
    yield RunStarted(test, "test_board", uuid4(), MODULE, datetime.now(UTC))
    yield line_state(40.78)
    yield Happened(test, MODULE, Note("operating point", {}))
    yield judged(test, MODULE, Reading("vbd_iv", 38.34, 0.02, "V", "inverse derivative"))
    count = shape.n_channels if channels is None else channels
    for channel in range(count):
        yield from channel_messages(test, MODULE, channel, rng)
        text = f"LED run at 40.78 V, 3.0 V over breakdown, channel {channel}"
        yield Happened(test, MODULE, Progress(channel + 1, shape.n_channels, text))
    if channels is not None:
        return
    yield line_state()
    reasons = (f"channel {FAILING}: gain 24.31 ± 0.05 ADC/pe: 1.69 beyond the lower limit 26",)
    yield RunEnded(test, "test_board", MODULE, "done", "fail", reasons)
    yield step("report", f"writing the report of {MODULE}")
    yield ModuleDone(MODULE, "fail", reasons, "/tmp/report.html", "/tmp/report.pdf")


COMMISSIONED = (
    ChangeFacts("Working distance", "121.3", "120.005 ± 0.036", "mm", "-36 σ", True),
    ChangeFacts("Scale", "0.0606", "0.0600023 ± 0.0000017", "mm/px", "far", True),
    ChangeFacts("Distortion k1", "0", "(-2.0035 ± 0.0029)e-6", "1/mm²", "-691 σ", True),
    ChangeFacts("Camera rotation", "0", "0.0030011 ± 0.0000020", "rad", "far", True),
    ChangeFacts("Axis scale x", "–", "1.000020 ± 0.000029", "", "", False),
    ChangeFacts("Axis scale y", "–", "1.000030 ± 0.000029", "", "", False),
    ChangeFacts("Squareness", "–", "(-3.0 ± 4.0)e-6", "rad", "", False),
    ChangeFacts("Play x", "–", "0.03997 ± 0.00010", "mm", "", True),
    ChangeFacts("Play y", "0.032", "0.03000 ± 0.00010", "mm", "-20 σ", True),
    ChangeFacts("Play z", "0.01", "0.01002 ± 0.00010", "mm", "+0.2 σ", True),
    ChangeFacts("Repeatability x", "–", "(1.3 ± 1.0)e-5", "mm", "", False),
    ChangeFacts("Camera offset x", "84.1", "84.9993 ± 0.0010", "mm", "+899 σ", True),
    ChangeFacts("Camera offset y", "1.2", "-0.0001 ± 0.0010", "mm", "far", True),
)
OTHERS = [
    Found(
        "/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A10KJ3XY-if00-port0",
        "FT232R USB UART",
        "chiller",
        "julabo",
        "JULABO FP50-HE VER. 4.2",
    ),
    Found(
        "/dev/ttyUSB3",
        "CP2102: weber may not use this device",
        remedy="Run 'sudo usermod -aG dialout weber', log out and in again.",
    ),
]


def setup_facts(
    done: tuple[str, ...] = (),
    changes: tuple[ChangeFacts, ...] = (),
    trips: tuple[TripFacts, ...] = (),
) -> SetupFacts:
    rules = (
        ("over-current", "bias.current_a", "bias.current_a beyond ±0.0015", True),
        ("over-current", "bias.in_compliance", "bias.in_compliance is true", True),
        ("over-temperature", "readout.temperature_c.*", "readout.temperature_c.* above 40", True),
        ("gantry-alarm", "gantry.state", "gantry.state is Alarm*", True),
        ("silent-instrument", "*.silent_s", "*.silent_s above 5", True),
        ("dew", "climate.*.dew_margin_k", "climate.*.dew_margin_k below 3 for 10 s", False),
    )
    return SetupFacts(
        line_file=Path("/etc/tessera/line.toml"),
        instruments=(
            InstrumentFacts(
                "bias",
                "KEITHLEY INSTRUMENTS",
                "MODEL 2450",
                "04512345",
                "1.7.12b",
                "TCPIP::192.168.0.50::5025::SOCKET",
            ),
            InstrumentFacts("readout", "", "tileboard tester", "", "", "192.168.0.60"),
            InstrumentFacts(
                "gantry",
                "",
                "Grbl 1.1h",
                "",
                "1.1h.20190830",
                "/dev/serial/by-id/usb-1a86_USB_Serial-if00-port0",
            ),
            InstrumentFacts("camera", "Basler", "acA4096-30um", "24012345", "p=v1", "24012345"),
        ),
        rules=tuple(RuleFacts(*rule) for rule in rules),
        trips=trips,
        steps=tuple(
            StepFacts(step, title, about, step in done)
            for step, (title, about) in STEP_WORDS.items()
        ),
        changes=changes,
    )


@dataclass
class FakeSession:
    """Plays `script` in `run_shift`; with `holds` it then waits to be stopped or released."""

    listener: Listener
    catalogue: Catalogue
    script: list[Message | Ask]
    operator_name: str = "A. Weber"
    recovery: tuple[str, ...] = ()
    holds: bool = False
    reset_refusal: str = ""
    unverified: tuple[str, ...] = ()
    calls: list[tuple[str, str]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    may_close: threading.Event = field(default_factory=threading.Event)
    steps_done: tuple[str, ...] = ()
    measured: tuple[ChangeFacts, ...] = ()
    trips: tuple[TripFacts, ...] = ()
    step_refusal: str = ""
    save_refusal: str = ""

    def __post_init__(self) -> None:
        self.profile = SimpleNamespace(
            site=SimpleNamespace(name="DESY"), station=SimpleNamespace(name="line 2")
        )
        self.may_close.set()
        self._stopped = threading.Event()

    def run_shift(
        self, *, boards: int, answer: Answer, label: str | None = None
    ) -> list[ModuleDone]:
        self.calls.append(("run_shift", label or ""))
        self._stopped.clear()
        done: list[ModuleDone] = []
        for message in self.script:
            if self._stopped.is_set():
                raise StoppedError("aborted: stopped")
            if isinstance(message, Ask):
                self.answers.append(answer(message))
                continue
            self.listener(message)
            if isinstance(message, ModuleDone):
                done.append(message)
        if self.holds:
            self.release.wait(WAIT_S)
        if self._stopped.is_set():
            raise StoppedError("aborted: stopped")
        return done

    def setup(self) -> SetupFacts:
        return setup_facts(self.steps_done, self.measured, self.trips)

    def commission(self, step: str, answer: Answer) -> RunEnded:
        """Two events of a step; with `holds` it then waits, with `step_refusal` it is refused."""
        self.calls.append(("commission", step))
        run, label = uuid4(), "Calibration target DESY line 2"
        self.listener(RunStarted(run, f"commission_{step}", uuid4(), label, datetime.now(UTC)))
        self.listener(Happened(run, label, Progress(4, 13, "focus: -3.0 mm")))
        if step == "tool":
            self.answers.append(
                answer(Ask("Put a clean pad beside the target.", ("Continue", "Stop"), "Continue"))
            )
        if self.holds:
            self.release.wait(WAIT_S)
        reasons = (self.step_refusal,) if self.step_refusal else ()
        ended = RunEnded(
            run, f"commission_{step}", label, "refused" if reasons else "done", "unknown", reasons
        )
        self.listener(ended)
        if not reasons:
            self.steps_done = (*self.steps_done, step)
            self.measured = COMMISSIONED
        return ended

    def save_commissioning(self) -> Path:
        self.calls.append(("save_commissioning", ""))
        if self.save_refusal:
            raise RuntimeError(self.save_refusal)
        return Path("/etc/tessera/line.toml.20261122-061500.bak")

    def look_around(self) -> list[Found]:
        self.calls.append(("look_around", ""))
        return OTHERS

    def stop(self, reason: str) -> None:
        self.calls.append(("stop", reason))
        self._stopped.set()
        self.release.set()

    def reset_trip(self, who: str) -> None:
        self.calls.append(("reset_trip", who))
        if self.reset_refusal:
            raise RuntimeError(self.reset_refusal)
        self.listener(line_state())

    def close(self) -> tuple[str, ...]:
        self.calls.append(("close", ""))
        self.may_close.wait(WAIT_S)
        return self.unverified


def progress_events(run: UUID, count: int) -> list[Event]:
    return [Progress(done, count, f"step {done}") for done in range(count)]
