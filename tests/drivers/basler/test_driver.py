import itertools
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from drivers.basler.driver import BaslerCamera
from drivers.basler.simulator import (
    EmulatedFaults,
    announce_emulated_cameras,
    replay_features,
    store_frames,
)
from drivers.errors import (
    BrokenReply,
    InstrumentLost,
    InstrumentTimeout,
    PictureRefused,
    SetpointRefused,
    WrongInstrument,
)
from drivers.picture_trouble import accept_any
from tests.drivers.basler.conftest import HEIGHT, N_FRAMES, WIDTH, OpenCamera
from vision.camera import CameraModel
from vision.render import BareTileItem, Pose, Scene, corners_tuple, render

Images = list[NDArray[np.uint8]]


def test_pictures_come_back_bit_by_bit_in_their_order(
    open_camera: OpenCamera, images: Images
) -> None:
    camera = open_camera()
    grabbed = [camera.grab(deadline_s=5.0) for _ in range(2 * N_FRAMES)]
    for frame, image in zip(grabbed, itertools.cycle(images), strict=False):
        assert frame.image.dtype == np.uint8
        assert np.array_equal(frame.image, image)
    assert [frame.sequence for frame in grabbed] == list(range(1, 2 * N_FRAMES + 1))


def test_rendered_pictures_go_through_the_camera_unchanged(
    open_camera: OpenCamera, tmp_path: Path
) -> None:
    lens = CameraModel(WIDTH, HEIGHT, 0.1)
    corners_mm = np.array([[-11.0, -12.0], [11.0, -11.0], [11.0, 11.0], [-11.0, 12.0]])
    scene = Scene(items=(BareTileItem(corners_tuple(corners_mm), Pose(), None),))
    rng = np.random.default_rng(3)
    rendered = [render(scene, lens, rng) for _ in range(3)]
    folder = tmp_path / "rendered"
    folder.mkdir()
    store_frames(folder, rendered)
    camera = open_camera(features=replay_features(folder))
    for image in rendered:
        assert np.array_equal(camera.grab(deadline_s=5.0).image, image)


def test_the_camera_says_who_it_is(open_camera: OpenCamera) -> None:
    identity = open_camera("0815-0001").identity
    assert identity.maker == "Basler"
    assert identity.model == "Emulation"
    assert identity.serial == "0815-0001"
    assert identity.firmware
    assert identity.port == "0815-0001"


def test_two_cameras_are_told_apart_by_their_serial_numbers(
    open_camera: OpenCamera, tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    other = [np.full((HEIGHT, WIDTH), value, np.uint8) for value in (90, 91)]
    store_frames(folder, other)
    first = open_camera("0815-0000")
    second = open_camera("0815-0001", features=replay_features(folder))
    assert second.grab(deadline_s=5.0).image.mean() == 90
    assert first.grab(deadline_s=5.0).image.std() > 10


@pytest.mark.parametrize("serial", ["1234", ""])
def test_a_camera_that_is_not_there_is_lost_and_those_that_are_get_named(
    open_camera: OpenCamera, serial: str
) -> None:
    with pytest.raises(InstrumentLost, match="0815-0000, 0815-0001"):
        open_camera(serial)


def test_exposure_and_gain_are_set_and_read_back(open_camera: OpenCamera) -> None:
    camera = open_camera(exposure_us=2000.0, gain_db=1.5)
    assert camera.exposure_us() == pytest.approx(2000.0)
    assert camera.gain_db() == pytest.approx(1.5, abs=0.1)
    camera.set_exposure(500.0)
    camera.set_gain(0.5)
    assert camera.exposure_us() == pytest.approx(500.0)
    assert camera.gain_db() == pytest.approx(0.5, abs=0.1)
    assert camera.grab(deadline_s=5.0).image.shape == (HEIGHT, WIDTH)


@pytest.mark.parametrize("exposure_us", [0.0, -1.0, 1e12, float("nan"), float("inf")])
def test_an_exposure_that_the_camera_has_not_is_refused_and_changes_nothing(
    open_camera: OpenCamera, exposure_us: float
) -> None:
    camera = open_camera()
    with pytest.raises(SetpointRefused, match="must be 1 to"):
        camera.set_exposure(exposure_us)
    with pytest.raises(SetpointRefused, match="must be"):
        camera.set_gain(1e3)
    assert camera.exposure_us() == pytest.approx(1000.0)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"width_px": 100_000}, "width must be"),
        ({"pixel_format": "sepia"}, "mono, bgr, bayer"),
        ({"features": {"Smell": 3}}, "no feature Smell"),
        ({"features": {"TriggerActivation": "Clap"}}, "Clap"),
    ],
)
def test_settings_that_the_camera_has_not_are_refused_at_opening(
    open_camera: OpenCamera, settings: dict[str, object], reason: str
) -> None:
    with pytest.raises(SetpointRefused, match=reason):
        open_camera(**settings)
    assert open_camera().grab(deadline_s=5.0).image.shape == (HEIGHT, WIDTH)


@pytest.mark.parametrize("pixel_format", ["bgr", "bayer"])
def test_colour_comes_as_blue_green_red(
    open_camera: OpenCamera, tmp_path: Path, pixel_format: str
) -> None:
    folder = tmp_path / "colour"
    folder.mkdir()
    image = np.full((HEIGHT, WIDTH, 3), (40, 90, 200), np.uint8)
    store_frames(folder, [image])
    camera = open_camera(
        pixel_format=pixel_format, features=replay_features(folder), trouble=accept_any
    )
    seen = camera.grab(deadline_s=5.0).image
    assert seen.shape == (HEIGHT, WIDTH, 3)
    middle = seen[HEIGHT // 2, WIDTH // 2].astype(int)
    assert np.abs(middle - (40, 90, 200)).max() <= 1


def test_a_picture_is_exposed_after_the_call(open_camera: OpenCamera, images: Images) -> None:
    camera = open_camera()
    camera.grab(deadline_s=5.0)
    called_at = datetime.now(UTC)
    frame = camera.grab(deadline_s=5.0)
    assert called_at <= frame.at <= datetime.now(UTC)
    assert np.array_equal(frame.image, images[1])


def test_a_picture_that_came_too_late_is_thrown_away_before_the_next_one(
    open_camera: OpenCamera, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = open_camera(trouble=accept_any)
    device = camera._device
    assert device is not None
    done: list[str] = []
    for name in ("stop", "start", "trigger", "receive"):
        act = getattr(device, name)

        def noted(*args: Any, _name: str = name, _act: Any = act, **named: Any) -> Any:
            done.append(_name)
            return _act(*args, **named)

        monkeypatch.setattr(device, name, noted)
    camera.grab(deadline_s=5.0)
    assert done == ["trigger", "receive"]
    with monkeypatch.context() as late:
        late.setattr(device, "receive", lambda _: None)
        with pytest.raises(InstrumentTimeout, match="0815-0000"):
            camera.grab(deadline_s=5.0)
    done.clear()
    camera.grab(deadline_s=5.0)
    assert done == ["stop", "start", "trigger", "receive"]


def test_waiting_in_vain_ends_in_time_whoever_handles_the_signal_of_the_vendor_s_timers(
    open_camera: OpenCamera,
) -> None:
    camera = open_camera()
    alarms: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: alarms.append(number))
    try:
        with pytest.raises(InstrumentTimeout):
            camera.grab(deadline_s=0.002)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert alarms == []


def test_broken_buffers_are_passed_over(open_camera: OpenCamera) -> None:
    camera = open_camera()
    EmulatedFaults(camera).break_pictures(3)
    assert camera.grab(deadline_s=5.0).image.shape == (HEIGHT, WIDTH)


def test_nothing_but_broken_buffers_is_an_error_that_says_so(open_camera: OpenCamera) -> None:
    camera = open_camera()
    EmulatedFaults(camera).break_pictures(1000)
    with pytest.raises(BrokenReply, match=r"\d+ pictures arrived broken.*incompletely") as caught:
        camera.grab(deadline_s=0.2)
    assert "cable" in str(caught.value)


def test_an_unplugged_camera_is_lost_and_found_again_with_its_settings(
    open_camera: OpenCamera,
) -> None:
    camera = open_camera(exposure_us=3000.0)
    camera.grab(deadline_s=5.0)
    EmulatedFaults(camera).unplug()
    with pytest.raises(InstrumentLost, match="unplugged"):
        camera.grab(deadline_s=5.0)
    assert camera.grab(deadline_s=5.0).image.shape == (HEIGHT, WIDTH)
    assert camera.exposure_us() == pytest.approx(3000.0)


def test_another_camera_in_the_place_of_the_lost_one_is_refused(open_camera: OpenCamera) -> None:
    camera = open_camera()
    EmulatedFaults(camera).unplug()
    with pytest.raises(InstrumentLost):
        camera.grab(deadline_s=5.0)
    camera._identity = type(camera.identity)(
        maker="Basler", model="acA", serial="0815-0000", firmware="7", port="0815-0000"
    )
    with pytest.raises(WrongInstrument, match="expected acA"):
        camera.grab(deadline_s=5.0)


def test_a_frozen_camera_gives_no_picture(open_camera: OpenCamera, tmp_path: Path) -> None:
    folder = tmp_path / "frozen"
    folder.mkdir()
    store_frames(folder, [np.full((HEIGHT, WIDTH), 120, np.uint8)])
    camera = open_camera(features=replay_features(folder))
    camera.grab(deadline_s=5.0)
    for _ in range(2):
        with pytest.raises(PictureRefused, match="frozen"):
            camera.grab(deadline_s=5.0)


def test_a_dark_camera_gives_no_picture(open_camera: OpenCamera, tmp_path: Path) -> None:
    folder = tmp_path / "dark"
    folder.mkdir()
    rng = np.random.default_rng(1)
    store_frames(folder, [rng.integers(0, 4, (HEIGHT, WIDTH), np.uint8) for _ in range(2)])
    camera = open_camera(features=replay_features(folder))
    with pytest.raises(PictureRefused, match="dark"):
        camera.grab(deadline_s=5.0)


def test_two_threads_share_a_camera(open_camera: OpenCamera) -> None:
    camera = open_camera()
    seen: list[int] = []

    def look() -> None:
        seen.extend(camera.grab(deadline_s=10.0).sequence for _ in range(10))

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == list(range(1, 21))


def test_a_closed_camera_says_so(open_camera: OpenCamera) -> None:
    camera = open_camera()
    camera.close()
    camera.close()
    with pytest.raises(InstrumentLost, match="closed"):
        camera.grab(deadline_s=1.0)


@pytest.mark.parametrize("deadline_s", [0.0, -1.0, float("nan"), float("inf")])
def test_a_deadline_is_a_length_of_time(open_camera: OpenCamera, deadline_s: float) -> None:
    with pytest.raises(ValueError, match="deadline"):
        open_camera().grab(deadline_s=deadline_s)


def test_emulated_cameras_are_announced_before_the_library_is_loaded() -> None:
    import pypylon.pylon  # noqa: F401

    assert announce_emulated_cameras(2) == ["0815-0000", "0815-0001"]
    with pytest.raises(RuntimeError, match="loaded already"):
        announce_emulated_cameras(3)


WITHOUT = """
import sys
sys.modules["pypylon"] = None
from drivers.basler import BaslerCamera
from drivers.errors import InstrumentLost
try:
    BaslerCamera.open("1")
except InstrumentLost as error:
    print(error)
"""


def test_without_the_library_the_message_names_the_extra() -> None:
    said = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[3],
    ).stdout
    assert "tessera-qc[cameras]" in said
    assert "port 1" in said


def test_the_class_is_a_camera() -> None:
    from drivers.roles import Camera

    camera: type[Camera] = BaslerCamera
    assert camera is BaslerCamera
