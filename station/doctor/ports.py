"""What is connected: ports found, and who answers on them. Nothing is moved, switched or set.

Opening a serial port raises its DTR line, and a gantry controller on an Arduino board may reset on
that: its outputs go off, a tile on the nozzle falls, and it has to be homed again. So a port that
the person names as not to be opened is left alone, and a port that answered is asked no more.
"""

import glob
import os
import re
import socket
import termios
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import serial
from serial.tools import list_ports

from drivers.errors import InstrumentError
from drivers.transport import LineTransport, SerialTransport, VisaTransport
from station.doctor import questions as ask
from station.doctor.questions import Framing, Question
from station.doctor.surroundings import permission

Say = Callable[[str], None]
CONNECT_S = 0.5


@dataclass(frozen=True)
class Found:
    """One port or device: what the computer says about it, and who answered.

    role, driver: for the site profile; empty when nobody answered who is known. address: as the
    profile wants it. framing: of the answer, on a serial port.
    """

    address: str
    about: str
    role: str = ""
    driver: str = ""
    identity: str = ""
    framing: Framing | None = None
    remedy: str = ""


@dataclass(frozen=True)
class Places:
    """Where to look. Left out: everything that the computer lists by itself."""

    ports: tuple[str, ...] | None = None
    hosts: tuple[str, ...] = ()
    i2c: tuple[str, ...] = ()
    """I2C buses that may be asked; a computer's own buses hold its memory and its fans."""
    leave_alone: frozenset[str] = field(default_factory=frozenset)


def scan(places: Places, say: Say = lambda text: None) -> list[Found]:
    """Look everywhere, tell `say` what is being asked, and return what was found."""
    found = list(_serial(places, say))
    if places.ports is None:
        found += _visa(say)
    for host in places.hosts:
        found += _network(host, say)
    found += _i2c(places, say)
    if places.ports is None:
        found += _video()
        found += _pylon(say)
    return found


def _serial(places: Places, say: Say) -> Iterator[Found]:
    listed = {port.device: port for port in list_ports.comports()}
    names = tuple(listed) if places.ports is None else places.ports
    left = {str(Path(name).resolve()) for name in places.leave_alone}
    for name in names:
        if str(Path(name).resolve()) in left:
            continue
        port = listed.get(name)
        stable = _by_id(name)
        about = "serial port" if port is None else port.description or "serial port"
        if port is not None and port.vid in ask.SCANNER_MAKERS:
            maker = ask.SCANNER_MAKERS[port.vid]
            yield Found(stable, about, "scanner", "serial", f"{maker} scanner {port.product or ''}")
            continue
        trouble = permission("port", Path(name)) if name.startswith("/dev/") else None
        if trouble is not None:
            yield Found(stable, f"{about}: {trouble.state}", remedy=trouble.remedy)
            continue
        say(f"asking {name}")
        yield ask_port(name, about, stable)


def _by_id(device: str) -> str:
    """The name that stays when the computer starts again or the cable moves."""
    for link in sorted(glob.glob("/dev/serial/by-id/*")):
        if Path(link).resolve() == Path(device).resolve():
            return link
    return device


def ask_port(
    device: str,
    about: str = "serial port",
    address: str = "",
    *,
    wait_s: float | None = None,
    asked: Sequence[Question] = ask.SERIAL_QUESTIONS,
) -> Found:
    """Ask one serial port who is there, framing after framing, until somebody known answers.

    wait_s: how long a board may speak by itself after the port was opened for the first time;
    `questions.BANNER_S` when None.
    Never raises: a port that can't be used is found with the reason and the remedy.
    """
    framings = list(dict.fromkeys(framing for one in asked for framing in one.framings))
    heard = ""
    wait_s = ask.BANNER_S if wait_s is None else wait_s
    for framing in framings:
        try:
            answer = _ask_framed(device, framing, asked, wait_s)
        except InstrumentError as error:
            if isinstance(error.__cause__, termios.error):
                # this port can't frame its bytes like that
                continue
            return Found(address or device, f"{about}: {error.what}", remedy=error.advice)
        wait_s = 0.0
        if isinstance(answer, str):
            heard = heard or answer
            continue
        question, identity = answer
        return Found(address or device, about, question.role, question.driver, identity, framing)
    if heard:
        return Found(address or device, f"{about}: something unknown says {heard!r}")
    return Found(address or device, f"{about}: nobody known answers")


def _ask_framed(
    device: str, framing: Framing, asked: Sequence[Question], wait_s: float
) -> tuple[Question, str] | str:
    """Who answered what; or what was heard when nobody known did."""
    heard = ""
    put: list[Question] = []
    # a pseudo-terminal has no framing, and refuses to be given one twice
    plain = os.path.realpath(device).startswith("/dev/pts/")
    port = SerialTransport(
        device,
        baud=framing.baud,
        bytesize=serial.EIGHTBITS if plain else framing.bytesize,
        parity=serial.PARITY_NONE if plain else framing.parity,
    )
    port.keep_stray_lines = True
    try:
        if wait_s:
            heard = _listen(port, None, wait_s)
        for question in asked:
            if framing not in question.framings:
                continue
            heard += _listen(port, question, ask.QUIET_S)
            put.append(question)
            for one in put:  # an answer may come late
                identity = one.identity(heard)
                if identity is not None:
                    return one, identity
        return _printable(heard)
    finally:
        port.close()


def _listen(port: LineTransport, question: Question | None, quiet_s: float) -> str:
    with port.transaction(deadline_s=ask.ANSWER_S + 2 * quiet_s) as exchange:
        if question is not None:
            port.write_terminator = question.terminator
            exchange.send(question.send)
        lines = exchange.drain(quiet_s)
    return "".join(line.decode("ascii", "replace") + "\n" for line in lines)


def _printable(text: str) -> str:
    kept = "".join(c for c in text if c.isprintable() and c.isascii()).strip()
    return kept[:60]


def _visa(say: Say) -> Iterator[Found]:
    """Instruments on USB and GPIB; serial ports were asked already."""
    import pyvisa

    say("asking for VISA resources")
    try:
        manager = pyvisa.ResourceManager("@py")
        names = manager.list_resources("?*::INSTR")
    except (pyvisa.Error, OSError, ValueError) as error:
        yield Found("VISA", f"the resources can't be listed: {error}")
        return
    for name in names:
        if name.startswith("ASRL"):
            continue
        say(f"asking {name}")
        try:
            visa = VisaTransport(name)
            try:
                identity = visa.query("*IDN?", deadline_s=ask.ANSWER_S)
            finally:
                visa.close()
        except InstrumentError as error:
            yield Found(name, f"VISA resource: {error.what}", remedy=error.advice)
            continue
        driver = next((d for p, d in ask.VISA_DRIVERS.items() if re.search(p, identity)), "")
        yield Found(name, "VISA resource", "bias" if driver else "", driver, identity)


def _network(host: str, say: Say) -> Iterator[Found]:
    """Ports of one host (or `host:port` alone): sockets are asked, a tester's are only greeted."""
    given = re.fullmatch(r"(.+):(\d+)", host)
    answered = False
    if given:
        name = given[1]
        asked = {int(given[2]): [question for _, question in ask.NETWORK_QUESTIONS]}
    else:
        name = host
        asked = {port: [question] for port, question in ask.NETWORK_QUESTIONS}
    for port, questions in asked.items():
        say(f"asking {name} port {port}")
        found = _ask_socket(f"TCPIP::{name}::{port}::SOCKET", questions)
        if found is not None:
            answered = True
            yield found
    if not given and all(_greets_as_zmq(name, port) for port in ask.ZMQ_PORTS):
        answered = True
        ports = ", ".join(str(port) for port in ask.ZMQ_PORTS)
        yield Found(
            name, f"ZMQ servers on {ports}", "tester", "tileboard_tester", "tileboard tester"
        )
    if not answered:
        yield Found(
            host,
            "network: nobody answers",
            remedy="Check the host's name, its power and its network cable.",
        )


def _ask_socket(address: str, questions: Sequence[Question]) -> Found | None:
    """Who answers at a socket; None when nobody listens there."""
    heard = ""
    for question in questions:
        try:
            visa = VisaTransport(address, connect_deadline_s=CONNECT_S)
        except InstrumentError:
            return None
        visa.keep_stray_lines = True
        try:
            text = _listen(visa, question, ask.QUIET_S)
        except InstrumentError as error:
            return Found(address, f"network: {error.what}", remedy=error.advice)
        finally:
            visa.close()
        identity = question.identity(text)
        if identity is not None:
            return Found(address, "network", question.role, question.driver, identity)
        heard = heard or _printable(text)
    said = f"something unknown says {heard!r}" if heard else "somebody unknown listens"
    return Found(address, f"network: {said}")


def _greets_as_zmq(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), CONNECT_S) as connection:
            connection.settimeout(CONNECT_S)
            return connection.recv(1) == ask.ZMQ_GREETING
    except OSError:
        return False


def _i2c(places: Places, say: Say) -> Iterator[Found]:
    for bus in places.i2c:
        trouble = permission("bus", Path(bus))
        if trouble is not None:
            yield Found(bus, f"I2C bus: {trouble.state}", remedy=trouble.remedy)
            continue
        from station.driver_table import CLIMATE_DRIVERS, DriverMissing, open_driver

        for address in ask.HUMIDITY_ADDRESSES:
            say(f"asking {bus} address {address:#04x}")
            try:
                sensor = open_driver(CLIMATE_DRIVERS, "sensirion", bus, i2c_address=address)
            except DriverMissing as error:
                yield Found(bus, f"I2C bus: {error.what}", remedy=error.advice)
                return
            except InstrumentError:
                continue
            identity = sensor.identity
            sensor.close()
            yield Found(
                f"{bus} {address:#04x}",
                "I2C bus",
                "climate",
                "sensirion",
                f"{identity.maker} {identity.model} {identity.serial}",
            )
    if places.ports is None:
        others = [bus for bus in sorted(glob.glob("/dev/i2c-*")) if bus not in places.i2c]
        for bus in others:
            yield Found(
                bus,
                "I2C bus, not asked",
                remedy=f"If a humidity sensor is on it: tessera doctor --scan --i2c {bus}",
            )


def _video() -> Iterator[Found]:
    """Video devices by the names that the system gives them; none is opened."""
    for device in sorted(glob.glob("/dev/video*")):
        name = Path("/sys/class/video4linux", Path(device).name, "name")
        about = name.read_text().strip() if name.exists() else "video device"
        yield Found(device, about, "camera", "opencv", about)


def _pylon(say: Say) -> Iterator[Found]:
    try:
        from pypylon import pylon
    except ImportError:
        return
    say("asking for Basler cameras")
    for device in pylon.TlFactory.GetInstance().EnumerateDevices():
        serial = device.GetSerialNumber()
        model = device.GetModelName()
        yield Found(serial, device.GetDeviceClass(), "camera", "basler", f"{model} {serial}")
