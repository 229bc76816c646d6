"""USB cameras, against a stand-in for OpenCV's capture: there is no real device here."""

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from drivers.errors import (
    BrokenReply,
    InstrumentLost,
    InstrumentTimeout,
    PictureRefused,
    SetpointRefused,
    WrongInstrument,
)
from drivers.opencv_camera.device import DeviceSettings, VideoDevice, device_index
from drivers.opencv_camera.driver import OpenCvCamera

WIDTH, HEIGHT = 64, 48


_noise = itertools.count()


def grey(number: int, shape: tuple[int, ...] = (HEIGHT, WIDTH)) -> NDArray[np.uint8]:
    """A noisy picture whose level is 50 + number."""
    rng = np.random.default_rng(next(_noise))
    return (50 + number + rng.integers(0, 2, shape)).astype(np.uint8)


@dataclass
class Socket:
    """A camera in a socket of the computer, and what is wrong with it."""

    plugged_in: bool = True
    sends: Callable[[int], Any] = field(default=grey)
    clamps: dict[int, float] = field(default_factory=dict)
    buffers: int = 1
    silent: threading.Event | None = None
    number: int = 0
    opened: list["FakeCapture"] = field(default_factory=list)

    def open(self, index: int) -> "FakeCapture":
        assert index == 2
        capture = FakeCapture(self)
        self.opened.append(capture)
        return capture


class FakeCapture:
    """What `cv2.VideoCapture` is to the driver; every grab takes the oldest buffer."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._properties: dict[int, float] = {
            cv2.CAP_PROP_FRAME_WIDTH: WIDTH,
            cv2.CAP_PROP_FRAME_HEIGHT: HEIGHT,
            cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*"GREY"),
            cv2.CAP_PROP_BUFFERSIZE: socket.buffers,
        }
        self.released = False
        self._taken: Any = None
        self._held = [socket.number] * socket.buffers

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return self._socket.plugged_in

    def set(self, code: int, value: float) -> bool:
        if code != cv2.CAP_PROP_BUFFERSIZE:
            self._properties[code] = min(value, self._socket.clamps.get(code, value))
        return True

    def get(self, code: int) -> float:
        return self._properties.get(code, 0.0)

    def grab(self) -> bool:
        assert not self.released
        if self._socket.silent is not None:
            self._socket.silent.wait(10.0)
        if not self._socket.plugged_in:
            return False
        self._taken = self._socket.sends(self._held.pop(0))
        self._held.append(self._socket.number)
        return True

    def retrieve(self) -> tuple[bool, Any]:
        return True, self._taken

    def release(self) -> None:
        self.released = True


def level(image: NDArray[np.uint8]) -> int:
    return round(float(image.mean()) - 0.5) - 50


def sysfs(folder: Path, name: str = "HD camera", serial: str = "A17") -> Path:
    device = folder / "video2"
    (device / "device" / "interface").mkdir(parents=True, exist_ok=True)
    (device / "name").write_text(f"{name}\n")
    (device / "serial").write_text(f"{serial}\n")
    return folder


def camera(socket: Socket, folder: Path, **settings: Any) -> OpenCvCamera:
    size = settings.pop("size_px", (WIDTH, HEIGHT))
    device = VideoDevice(
        2,
        size_px=size,
        settings=DeviceSettings(**settings),
        open_capture=socket.open,
        sysfs=sysfs(folder),
    )
    return OpenCvCamera("2", source=device)


def test_no_picture_shows_what_was_before_the_call(tmp_path: Path) -> None:
    for buffers in (1, 4):
        socket = Socket(buffers=buffers)
        eye = camera(socket, tmp_path)
        for number in range(1, 20):
            socket.number = number
            assert level(eye.grab(deadline_s=5.0).image) == number


def test_the_name_and_serial_number_are_the_computer_s(tmp_path: Path) -> None:
    identity = camera(Socket(), tmp_path).identity
    assert (identity.model, identity.serial, identity.port) == ("HD camera", "A17", "/dev/video2")


def test_exposure_gain_and_rate_are_set_in_the_device_s_units(tmp_path: Path) -> None:
    socket = Socket()
    camera(socket, tmp_path, exposure_s=0.0123, gain=7, frames_per_s=15, pixel_format="YUYV")
    capture = socket.opened[-1]
    assert capture.get(cv2.CAP_PROP_AUTO_EXPOSURE) == 1
    assert capture.get(cv2.CAP_PROP_EXPOSURE) == 123
    assert capture.get(cv2.CAP_PROP_GAIN) == 7
    assert capture.get(cv2.CAP_PROP_FPS) == 15
    assert capture.get(cv2.CAP_PROP_FOURCC) == cv2.VideoWriter.fourcc(*"YUYV")
    assert capture.get(cv2.CAP_PROP_CONVERT_RGB) == 0


@pytest.mark.parametrize(
    ("code", "settings", "reason"),
    [
        (cv2.CAP_PROP_EXPOSURE, {"exposure_s": 0.05}, "exposure .* was set to 500 .* 100"),
        (cv2.CAP_PROP_GAIN, {"gain": 900.0}, "gain was set to 900 .* 100"),
        (cv2.CAP_PROP_FOURCC, {"pixel_format": "MJPG"}, "not MJPG"),
    ],
)
def test_a_setting_that_does_not_read_back_is_refused_and_the_device_given_back(
    tmp_path: Path, code: int, settings: dict[str, Any], reason: str
) -> None:
    socket = Socket(clamps={code: 100.0})
    with pytest.raises(SetpointRefused, match=reason):
        camera(socket, tmp_path, **settings)
    assert socket.opened[-1].released


def test_another_size_is_refused(tmp_path: Path) -> None:
    socket = Socket(clamps={cv2.CAP_PROP_FRAME_WIDTH: 640.0})
    with pytest.raises(WrongInstrument, match="640x48"):
        camera(socket, tmp_path, size_px=(1280, None))


def test_every_way_a_device_sends_its_pictures_gives_grey(tmp_path: Path) -> None:
    def jpeg(number: int) -> NDArray[np.uint8]:
        return cv2.imencode(".jpg", grey(number))[1].reshape(1, -1)  # type: ignore[return-value]

    def yuyv(number: int) -> NDArray[np.uint8]:
        return np.dstack([grey(number), np.full((HEIGHT, WIDTH), 128, np.uint8)])

    def bgr(number: int) -> NDArray[np.uint8]:
        return np.repeat(grey(number)[:, :, np.newaxis], 3, axis=2)

    for sends in (grey, jpeg, yuyv, bgr):
        socket = Socket(sends=sends, number=9)
        image = camera(socket, tmp_path).grab(deadline_s=5.0).image
        assert image.shape == (HEIGHT, WIDTH)
        assert image.dtype == np.uint8
        assert abs(level(image) - 9) <= 1


def test_broken_jpegs_are_passed_over(tmp_path: Path) -> None:
    sent = itertools.count()

    def jpeg(number: int) -> NDArray[np.uint8]:
        whole = cv2.imencode(".jpg", grey(number))[1].reshape(1, -1)
        return whole[:, : whole.size // 2] if next(sent) < 5 else whole  # type: ignore[return-value]

    image = camera(Socket(sends=jpeg, number=4), tmp_path).grab(deadline_s=5.0).image
    assert abs(level(image) - 4) <= 1


def test_a_picture_of_another_size_is_broken(tmp_path: Path) -> None:
    socket = Socket(sends=lambda number: grey(number, (HEIGHT, WIDTH // 2)))
    with pytest.raises(BrokenReply, match=f"{WIDTH // 2}x{HEIGHT}"):
        camera(socket, tmp_path).grab(deadline_s=5.0)


def test_a_camera_that_stops_sending_is_given_up_in_time_and_opened_anew(tmp_path: Path) -> None:
    socket = Socket()
    eye = camera(socket, tmp_path)
    socket.silent = threading.Event()
    with pytest.raises(InstrumentTimeout, match="/dev/video2"):
        eye.grab(deadline_s=0.05)
    stuck, hung = socket.silent, socket.opened[-1]
    socket.silent = None
    socket.number = 3
    assert level(eye.grab(deadline_s=5.0).image) == 3
    assert socket.opened[-1] is not hung
    stuck.set()
    deadline = threading.Event()
    while not hung.released and not deadline.wait(0.01):
        pass
    assert hung.released


def test_an_unplugged_camera_is_lost_and_found_again(tmp_path: Path) -> None:
    socket = Socket()
    eye = camera(socket, tmp_path)
    socket.plugged_in = False
    with pytest.raises(InstrumentLost, match="stopped sending"):
        eye.grab(deadline_s=5.0)
    with pytest.raises(InstrumentLost, match="can't open"):
        eye.grab(deadline_s=5.0)
    socket.plugged_in = True
    assert eye.grab(deadline_s=5.0).sequence == 1


def test_another_camera_in_the_socket_is_refused(tmp_path: Path) -> None:
    socket = Socket()
    eye = camera(socket, tmp_path)
    socket.plugged_in = False
    with pytest.raises(InstrumentLost):
        eye.grab(deadline_s=5.0)
    socket.plugged_in = True
    sysfs(tmp_path, serial="B99")
    with pytest.raises(WrongInstrument, match="A17, found HD camera B99"):
        eye.grab(deadline_s=5.0)


def test_a_frozen_or_dark_camera_gives_no_picture(tmp_path: Path) -> None:
    image = grey(0)
    eye = camera(Socket(sends=lambda _: image), tmp_path)
    eye.grab(deadline_s=5.0)
    with pytest.raises(PictureRefused, match="frozen"):
        eye.grab(deadline_s=5.0)
    black = camera(Socket(sends=lambda _: np.zeros((HEIGHT, WIDTH), np.uint8)), tmp_path)
    with pytest.raises(PictureRefused, match="dark"):
        black.grab(deadline_s=5.0)


def test_closing_gives_the_device_back(tmp_path: Path) -> None:
    socket = Socket()
    eye = camera(socket, tmp_path)
    eye.close()
    assert socket.opened[-1].released
    with pytest.raises(InstrumentLost, match="closed"):
        eye.grab(deadline_s=1.0)


@pytest.mark.parametrize(
    ("address", "index"),
    [("/dev/video0", 0), ("/dev/video12", 12), ("3", 3), ("http://a/b", None), ("video1", None)],
)
def test_a_device_is_named_by_its_path_or_number(address: str, index: int | None) -> None:
    assert device_index(address) == index


@pytest.mark.parametrize(
    "settings",
    [{"latency_frames": -1}, {"pixel_format": "JPG"}, {"exposure_s": 0.0}, {"frames_per_s": -1.0}],
)
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings)).split("_")[0]):
        DeviceSettings(**settings)


def test_settings_of_a_usb_camera_are_refused_for_a_network_camera() -> None:
    with pytest.raises(ValueError, match="set in the camera itself"):
        OpenCvCamera("http://camera/stream", gain=3.0)


def test_a_device_that_is_not_there_is_lost() -> None:
    with pytest.raises(InstrumentLost, match="/dev/video199"):
        OpenCvCamera.open("/dev/video199")
