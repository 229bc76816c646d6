import http.client
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from drivers.errors import InstrumentLost, InstrumentTimeout, WrongInstrument
from drivers.opencv_camera.driver import OpenCvCamera
from drivers.opencv_camera.protocol import BOUNDARY, STREAM_TYPE, is_whole_jpeg
from drivers.opencv_camera.simulator import CameraStreamSimulator
from drivers.picture_trouble import accept_any

WIDTH, HEIGHT, BLOCK = 320, 240, 20


@dataclass
class World:
    """A scene that shows a number as a row of black and white blocks."""

    number: int = 0
    drawn: int = 0
    drawn_event: threading.Event = field(default_factory=threading.Event)

    def picture(self) -> NDArray[np.uint8]:
        self.drawn += 1
        image = np.full((HEIGHT, WIDTH), 128, np.uint8)
        for bit in range(WIDTH // BLOCK):
            is_set = self.number >> bit & 1
            image[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 235 if is_set else 20
        self.drawn_event.set()
        return image


def read_number(image: NDArray[np.uint8]) -> int:
    blocks = image[BLOCK // 2, BLOCK // 2 :: BLOCK] > 128
    return sum(int(is_set) << bit for bit, is_set in enumerate(blocks))


def open_camera(address: str, **settings: Any) -> OpenCvCamera:
    """A camera whose pictures may be all the same, as those of the noiseless scene are."""
    return OpenCvCamera(address, **({"trouble": accept_any} | settings))


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def simulator(world: World) -> Generator[CameraStreamSimulator]:
    simulator = CameraStreamSimulator(world.picture, fps=100.0)
    simulator.start()
    yield simulator
    simulator.stop()


@pytest.fixture
def camera(simulator: CameraStreamSimulator) -> Generator[OpenCvCamera]:
    camera = open_camera(simulator.address, width_px=WIDTH, height_px=HEIGHT)
    yield camera
    camera.close()


def test_a_picture_is_gray_8_bit_of_the_stream_size(camera: OpenCvCamera) -> None:
    frame = camera.grab(deadline_s=5.0)
    assert frame.image.dtype == np.uint8
    assert frame.image.shape == (HEIGHT, WIDTH)
    assert frame.at.tzinfo is not None
    assert frame.image[HEIGHT // 2, WIDTH // 2] == 128


def test_a_picture_never_shows_what_was_before_the_call(camera: OpenCvCamera, world: World) -> None:
    seen = []
    for number in range(1, 201):
        world.number = number
        seen.append(read_number(camera.grab(deadline_s=5.0).image))
    assert seen == list(range(1, 201))


def test_a_camera_that_works_ahead_needs_its_queue_depth_as_latency(world: World) -> None:
    world.number = 7
    queue = [world.picture(), world.picture()]

    def picture_of_two_exposures_ago() -> NDArray[np.uint8]:
        queue.append(world.picture())
        return queue.pop(0)

    simulator = CameraStreamSimulator(picture_of_two_exposures_ago, fps=100.0)
    simulator.start()
    hasty = open_camera(simulator.address, latency_frames=0)
    patient = open_camera(simulator.address, latency_frames=3)
    stale, fresh = 0, 0
    for number in range(20):
        world.number = number
        stale += read_number(hasty.grab(deadline_s=5.0).image) != number
        assert simulator.wait_until_unwatched(5.0)
        world.number = number + 100
        fresh += read_number(patient.grab(deadline_s=5.0).image) == number + 100
        assert simulator.wait_until_unwatched(5.0)
    simulator.stop()
    assert stale == 20
    assert fresh == 20


def test_nothing_is_drawn_while_nobody_watches(
    simulator: CameraStreamSimulator, camera: OpenCvCamera, world: World
) -> None:
    camera.grab(deadline_s=5.0)
    assert simulator.wait_until_unwatched(5.0)
    world.drawn_event.clear()
    assert not world.drawn_event.wait(0.1)


def test_two_threads_share_a_camera_without_stale_or_mixed_pictures(
    camera: OpenCvCamera, world: World
) -> None:
    world.number = 1
    old: list[int] = []

    def look() -> None:
        for _ in range(20):
            before = world.number
            seen = read_number(camera.grab(deadline_s=5.0).image)
            if seen < before:
                old.append(seen)
            world.number = max(world.number, before + 1)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert old == []


def test_several_clients_are_served_at_once(simulator: CameraStreamSimulator) -> None:
    first, second = (http_stream(simulator.address) for _ in range(2))
    assert first.read(2) == b"--"
    assert second.read(2) == b"--"
    first.close()
    second.close()


def test_sequence_numbers_rise(camera: OpenCvCamera) -> None:
    numbers = [camera.grab(deadline_s=5.0).sequence for _ in range(3)]
    assert numbers == sorted(set(numbers))


def test_a_stream_that_stands_still_times_out_and_recovers(
    simulator: CameraStreamSimulator, camera: OpenCvCamera
) -> None:
    simulator.freeze()
    with pytest.raises(InstrumentTimeout, match="no picture came in time"):
        camera.grab(deadline_s=0.2)
    simulator.thaw()
    assert camera.grab(deadline_s=5.0).image.shape == (HEIGHT, WIDTH)


def test_a_stream_that_stops_between_two_pictures_times_out(world: World) -> None:
    drawn_after_call: list[int] = []
    called = threading.Event()

    def picture() -> NDArray[np.uint8]:
        if called.is_set():
            drawn_after_call.append(world.drawn)
            if len(drawn_after_call) == 2:
                simulator.freeze()
        return world.picture()

    simulator = CameraStreamSimulator(picture, fps=100.0)
    simulator.start()
    camera = open_camera(simulator.address, latency_frames=4)
    assert simulator.wait_until_unwatched(5.0)
    called.set()
    with pytest.raises(InstrumentTimeout, match="2 came"):
        camera.grab(deadline_s=0.3)
    simulator.stop()


def test_a_camera_that_hangs_up_is_lost_and_the_next_call_finds_it_again(world: World) -> None:
    hangs_up = threading.Event()

    def picture() -> NDArray[np.uint8]:
        if hangs_up.is_set() and world.drawn % 2:
            simulator.drop_clients()
        return world.picture()

    simulator = CameraStreamSimulator(picture, fps=100.0)
    simulator.start()
    camera = open_camera(simulator.address, latency_frames=4)
    hangs_up.set()
    with pytest.raises(InstrumentLost) as caught:
        camera.grab(deadline_s=5.0)
    assert simulator.address in str(caught.value)
    hangs_up.clear()
    assert camera.grab(deadline_s=5.0).image.shape == (HEIGHT, WIDTH)
    simulator.stop()


def test_a_camera_without_power_is_lost_and_comes_back_on_the_same_address(
    simulator: CameraStreamSimulator, camera: OpenCvCamera, world: World
) -> None:
    address = simulator.address
    simulator.stop()
    with pytest.raises(InstrumentLost, match="can't connect"):
        camera.grab(deadline_s=2.0)
    simulator.start()
    assert simulator.address == address
    world.number = 5
    assert read_number(camera.grab(deadline_s=5.0).image) == 5


def test_broken_pictures_are_passed_over(
    simulator: CameraStreamSimulator, camera: OpenCvCamera, world: World
) -> None:
    world.number = 99
    simulator.break_pictures(3)
    assert read_number(camera.grab(deadline_s=5.0).image) == 99


def test_a_stream_of_broken_pictures_alone_gives_none(
    simulator: CameraStreamSimulator, camera: OpenCvCamera
) -> None:
    simulator.break_pictures(10_000)
    with pytest.raises((InstrumentTimeout, InstrumentLost)):
        camera.grab(deadline_s=0.3)


@pytest.mark.parametrize("size", [{"width_px": WIDTH + 1}, {"height_px": 1024}])
def test_another_size_is_refused_at_opening(
    simulator: CameraStreamSimulator, size: dict[str, int]
) -> None:
    with pytest.raises(WrongInstrument, match=f"{WIDTH}x{HEIGHT}"):
        open_camera(simulator.address, **size)


def test_a_size_that_changes_later_is_refused() -> None:
    images = [np.full((HEIGHT, WIDTH), 90, np.uint8)]
    simulator = CameraStreamSimulator(lambda: images[0], fps=100.0)
    simulator.start()
    camera = open_camera(simulator.address)
    images[0] = np.full((HEIGHT * 2, WIDTH), 90, np.uint8)
    with pytest.raises(WrongInstrument, match=f"{WIDTH}x{HEIGHT * 2}"):
        camera.grab(deadline_s=5.0)
    simulator.stop()


def test_an_address_without_a_stream_is_refused(simulator: CameraStreamSimulator) -> None:
    with pytest.raises(InstrumentLost, match="no picture stream"):
        open_camera(simulator.address.replace("stream.mjpg", "elsewhere"))


@pytest.mark.parametrize("url", ["", "/dev/video", "-1", "rtsp://camera/stream", "http:///stream"])
def test_an_address_that_is_no_http_stream_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="HTTP stream"):
        open_camera(url)


def test_a_closed_camera_says_so(camera: OpenCvCamera) -> None:
    camera.close()
    with pytest.raises(InstrumentLost, match="closed"):
        camera.grab(deadline_s=1.0)


def test_a_password_in_the_address_stays_out_of_identity_and_errors(
    simulator: CameraStreamSimulator,
) -> None:
    address = simulator.address.replace("http://", "http://operator:secret@")
    camera = open_camera(address)
    assert "secret" not in repr(camera.identity)
    simulator.stop()
    with pytest.raises(InstrumentLost) as caught:
        camera.grab(deadline_s=1.0)
    assert "secret" not in str(caught.value)


def http_stream(address: str) -> http.client.HTTPResponse:
    pieces = urlsplit(address)
    connection = http.client.HTTPConnection(pieces.hostname or "", pieces.port, timeout=5.0)
    connection.request("GET", pieces.path)
    return connection.getresponse()


def test_the_wire_is_multipart_with_a_length_and_one_jpeg_in_each_part(
    simulator: CameraStreamSimulator,
) -> None:
    response = http_stream(simulator.address)
    assert response.status == 200
    assert response.headers["Content-Type"] == STREAM_TYPE
    for _ in range(3):
        assert response.readline() == f"--{BOUNDARY}\r\n".encode()
        assert response.readline() == b"Content-Type: image/jpeg\r\n"
        name, _, length = response.readline().partition(b": ")
        assert name == b"Content-Length"
        assert response.readline() == b"\r\n"
        jpeg = response.read(int(length))
        assert is_whole_jpeg(jpeg)
        decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_UNCHANGED)
        assert decoded is not None
        assert decoded.shape == (HEIGHT, WIDTH)
        assert response.readline() == b"\r\n"
    response.close()


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"\xff\xd8 picture \xff\xd9", True),
        (b"\xff\xd8 picture \xff\xd9\r\n", True),
        (b"\xff\xd8 picture", False),
        (b" picture \xff\xd9", False),
        (b"", False),
    ],
)
def test_a_whole_jpeg_has_both_ends(data: bytes, whole: bool) -> None:
    assert is_whole_jpeg(data) is whole


def test_a_frame_of_another_kind_ends_the_stream_of_its_client(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def colour() -> NDArray[np.uint8]:
        return np.zeros((HEIGHT, WIDTH, 3), np.uint8)

    simulator = CameraStreamSimulator(colour, fps=100.0)
    simulator.start()
    with pytest.raises(InstrumentLost):
        open_camera(simulator.address)
    simulator.stop()
    assert "uint8 (h, w)" in capsys.readouterr().err


def test_stopping_twice_is_harmless(simulator: CameraStreamSimulator) -> None:
    simulator.stop()
    simulator.stop()
