"""From the sections of a profile to open drivers. Nobody else in the station makes a driver.

Which class a `driver` key means is a table; a driver is imported when its key is used. Every
instrument that opens is compared with its `expected_serial`: another one is let go as it is.

Adding an instrument: its folder in `drivers`, a row in a table here, its key in
`station.profile`.
"""

import importlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from drivers.clock import Clock, RealClock
from drivers.errors import InstrumentError, WrongInstrument
from drivers.roles import (
    BiasSupply,
    Camera,
    Chiller,
    Contact,
    Gantry,
    GlueValve,
    Gripper,
    HumiditySensor,
    Identity,
    Scanner,
)
from station.profile import GantrySection, Profile

if TYPE_CHECKING:
    from station.line import Line

_Instrument = TypeVar("_Instrument")


class DriverMissing(InstrumentError):  # noqa: N818 - as the other instrument errors are called
    """The driver that the profile names is not in this installation."""

    default_advice = "Correct the driver in the site profile, or install what is named."


@dataclass(frozen=True)
class DriverClass:
    """Where a driver is, and which fields of its section `open` takes as keyword arguments.

    A setting is the name of the field, or `field:keyword` where the driver calls it otherwise.
    """

    module: str
    name: str
    settings: tuple[str, ...] = ()


BIAS_DRIVERS: Mapping[str, DriverClass] = {
    "keithley2450": DriverClass("drivers.keithley.driver", "Keithley2450", ("polarity",)),
    "keithley2400": DriverClass("drivers.keithley2400", "Keithley2400", ("polarity", "baud")),
    "keithley6517": DriverClass("drivers.keithley6517", "Keithley6517", ("polarity",)),
    "caen_a7585": DriverClass("drivers.caen_a7585", "CaenA7585", ("polarity", "baud")),
    "caen_hv": DriverClass("drivers.caen_hv", "CaenHv", ("channel", "polarity", "baud")),
    "iseg": DriverClass("drivers.iseg", "Iseg", ("channel", "polarity", "baud")),
}
GANTRY_DRIVERS: Mapping[str, DriverClass] = {
    "grbl": DriverClass("drivers.grbl.driver", "GrblGantry"),
    "marlin": DriverClass("drivers.marlin", "MarlinGantry", ("baud",)),
}
CAMERA_DRIVERS: Mapping[str, DriverClass] = {
    "opencv": DriverClass(
        "drivers.opencv_camera.driver", "OpenCvCamera", ("width_px", "height_px")
    ),
    "basler": DriverClass("drivers.basler", "BaslerCamera", ("exposure_us",)),
}
CLIMATE_DRIVERS: Mapping[str, DriverClass] = {
    "sensirion": DriverClass("drivers.sensirion", "Sensirion", ("address:i2c_address",)),
}
CHILLER_DRIVERS: Mapping[str, DriverClass] = {
    "julabo": DriverClass("drivers.julabo", "Julabo", ("baud", "lowest_c", "highest_c")),
    "huber": DriverClass("drivers.huber", "Huber", ("baud", "lowest_c", "highest_c")),
}
SCANNER_DRIVERS: Mapping[str, DriverClass] = {
    "serial": DriverClass("drivers.scanner", "SerialScanner", ("baud", "prefix", "suffix")),
}


class _Identified(Protocol):
    @property
    def identity(self) -> Identity: ...

    def close(self) -> None: ...


_Known = TypeVar("_Known", bound=_Identified)


@dataclass(frozen=True)
class Motion:
    """What hangs on the gantry's controller. `close` gives its port back."""

    gantry: Gantry
    gripper: Gripper
    glue_valve: GlueValve | None
    close: Callable[[], None]


def open_bias(profile: Profile, clock: Clock | None = None) -> BiasSupply:
    """The bias supply, as it is: opening reads and changes nothing.

    Raises `drivers.errors.InstrumentError`; WrongInstrument for another serial number, and then
    the supply is left as it is.
    """
    section = profile.bias
    supply = cast(
        BiasSupply,
        _open(BIAS_DRIVERS, section.driver, section.address, section, clock=clock),
    )
    return _expected(supply, section.expected_serial, section.address, let_go=supply.leave)


def open_gantry(profile: Profile, clock: Clock | None = None) -> Motion:
    """The gantry with its gripper and, when the profile has one, its glue valve; not homed.

    `auto` asks the controller which dialect it speaks.
    """
    section = profile.gantry
    driver = _dialect(section) if section.driver == "auto" else section.driver
    motion = _grbl(profile, clock) if driver == "grbl" else _marlin(profile, clock)
    _expected(motion.gantry, section.expected_serial, section.port, let_go=motion.close)
    return motion


def open_camera(profile: Profile, clock: Clock | None = None) -> Camera:
    section = profile.camera
    camera: Camera
    if section.driver == "opencv":
        opener = _load(CAMERA_DRIVERS, "opencv", section.url)
        camera = opener(section.url, width_px=section.width_px, height_px=section.height_px)
    else:
        camera = cast(
            Camera, _open(CAMERA_DRIVERS, section.driver, section.url, section, clock=clock)
        )
    return _expected(camera, section.expected_serial, section.url)


def open_readout(profile: Profile, clock: Clock | None = None) -> Any:
    """The tileboard tester: readout, light, bias switch and thermometers in one."""
    from drivers.tileboard_tester.driver import TileboardTester
    from drivers.tileboard_tester.protocol import BoardConstants

    section = profile.tester
    tester = TileboardTester(
        section.host,
        fast_port=section.fast_port,
        slow_port=section.slow_port,
        data_port=section.data_port,
        data_folder=Path(section.data_folder),
        board_constants=BoardConstants(n_rocs=section.n_rocs),
        clock=clock or RealClock(),
    )
    return _expected(tester, section.expected_serial, section.host)


def open_climate(profile: Profile, clock: Clock | None = None) -> dict[str, HumiditySensor]:
    """The humidity sensors by their names; those that opened are closed when one fails."""
    with ExitStack() as stack:
        sensors: dict[str, HumiditySensor] = {}
        for section in profile.climate:
            sensor = cast(
                HumiditySensor,
                _open(CLIMATE_DRIVERS, section.driver, section.bus, section, clock=clock),
            )
            stack.callback(sensor.close)
            where = f"{section.bus} address {section.address:#04x}"
            sensors[section.name] = _expected(sensor, section.expected_serial, where)
        stack.pop_all()
        return sensors


def open_chiller(profile: Profile, clock: Clock | None = None) -> Chiller | None:
    """The chiller of the profile, as it is; None when the line has none."""
    section = profile.chiller
    if section is None:
        return None
    chiller = cast(
        Chiller, _open(CHILLER_DRIVERS, section.driver, section.port, section, clock=clock)
    )
    return _expected(chiller, section.expected_serial, section.port)


def open_scanner(profile: Profile, clock: Clock | None = None) -> Scanner | None:
    """The scanner with a port; None when the line has none, or one that types as a keyboard."""
    section = profile.scanner
    if section is None or section.port is None:
        return None
    scanner = cast(
        Scanner, _open(SCANNER_DRIVERS, section.driver, section.port, section, clock=clock)
    )
    return _expected(scanner, section.expected_serial, section.port)


def open_contacts(
    profile: Profile, *, bias: Any = None, gantry: Any = None, tester: Any = None
) -> dict[str, Contact]:
    """The contacts by their names, each on the open instrument that reads it.

    Raises `InstrumentError` when that instrument can't read a contact.
    """
    owners = {
        "bias_interlock": ("bias", bias, profile.bias.address, "interlock_closed"),
        "gantry_door": ("gantry", gantry, profile.gantry.port, "door_closed"),
        "tester_gpio": ("tester", tester, profile.tester.host, "gpio_bit"),
    }
    contacts: dict[str, Contact] = {}
    for section in profile.contacts:
        role, owner, port, method = owners[section.driver]
        read = getattr(owner, method, None)
        if read is None:
            raise DriverMissing(
                f"the {role} of this line can't read the contact {section.name!r}",
                port=port,
                advice=f"Choose another driver than {section.driver!r} for it in the site profile.",
            )
        if section.bit is None:
            contacts[section.name] = _ReadContact(read)
        else:
            contacts[section.name] = _ReadContact(_of_bit(read, section.bit))
    return contacts


def connect_line(profile: Profile, clock: Clock, stack: ExitStack) -> "Line":
    """Open every instrument of a profile; `stack` closes them. The gantry is homed if it must be.

    Raises `drivers.errors.InstrumentError`.
    """
    bias = open_bias(profile, clock)
    stack.callback(bias.close)
    line = line_on(profile, bias, clock, stack)
    if not line.gantry.is_homed():
        line.gantry.home()
    return line


def line_on(profile: Profile, bias: BiasSupply, clock: Clock, stack: ExitStack) -> "Line":
    """As `connect_line`, on a supply that is open already; nothing moves."""
    # the watchdog opens the supply without all that a line needs (pictures, fits)
    from station.line import Line

    tester = open_readout(profile, clock)
    stack.callback(tester.close)
    motion = open_gantry(profile, clock)
    stack.callback(motion.close)
    camera = open_camera(profile, clock)
    stack.callback(camera.close)
    climate = open_climate(profile, clock)
    for sensor in climate.values():
        stack.callback(sensor.close)
    chiller = open_chiller(profile, clock)
    if chiller is not None:
        stack.callback(chiller.close)
    scanner = open_scanner(profile, clock)
    if scanner is not None:
        stack.callback(scanner.close)
    return Line(
        profile=profile,
        bias=bias,
        switch=tester,
        readout=tester,
        light=tester,
        climate=tester,
        gantry=motion.gantry,
        gripper=motion.gripper,
        camera=camera,
        clock=clock,
        humidity=climate,
        chiller=chiller,
        scanner=scanner,
        glue_valve=motion.glue_valve,
        contacts=open_contacts(profile, bias=bias, gantry=motion.gantry, tester=tester),
    )


@dataclass(frozen=True)
class _ReadContact:
    read: Callable[[], bool]

    def closed(self) -> bool:
        return self.read()


def _of_bit(read: Callable[[int], bool], bit: int) -> Callable[[], bool]:
    return lambda: read(bit)


def _grbl(profile: Profile, clock: Clock | None) -> Motion:
    from drivers.grbl.controller import GrblController
    from drivers.grbl.driver import GrblGantry, GrblVacuumGripper

    controller = GrblController.open(profile.gantry.port, clock=clock)
    gantry = GrblGantry(controller)
    return Motion(gantry, GrblVacuumGripper(controller), None, gantry.close)


def _marlin(profile: Profile, clock: Clock | None) -> Motion:
    raise _missing("marlin", profile.gantry.port, "drivers.marlin")


def _dialect(section: GantrySection) -> str:
    raise _missing("auto", section.port, "drivers.marlin")


def open_driver(
    table: Mapping[str, DriverClass],
    driver: str,
    port: str,
    /,
    *,
    clock: Clock | None = None,
    **settings: object,
) -> Any:
    """`Class.open(port, clock=..., settings...)` of a driver in one of the tables.

    Raises DriverMissing, and whatever the driver raises when it opens.
    """
    return _load(table, driver, port).open(port, clock=clock, **settings)


def _open(
    table: Mapping[str, DriverClass],
    driver: str,
    address: str,
    section: object,
    *,
    clock: Clock | None,
) -> object:
    """The driver with the settings of its section; what is left out there is left to the driver."""
    _load(table, driver, address)
    names = [name.partition(":") for name in table[driver].settings]
    given = {keyword or field: getattr(section, field) for field, _, keyword in names}
    settings = {name: value for name, value in given.items() if value is not None}
    return open_driver(table, driver, address, clock=clock, **settings)


def _load(table: Mapping[str, DriverClass], driver: str, port: str) -> Any:
    row = table.get(driver)
    if row is None:
        raise DriverMissing(
            f"there is no driver {driver!r}; there are {', '.join(table)}", port=port
        )
    try:
        return getattr(importlib.import_module(row.module), row.name)
    except ModuleNotFoundError as error:
        raise _missing(driver, port, str(error.name)) from error


def _missing(driver: str, port: str, module: str) -> DriverMissing:
    if module.split(".", maxsplit=1)[0] == "drivers":
        return DriverMissing(f"this installation has no driver {driver!r}", port=port)
    return DriverMissing(
        f"the driver {driver!r} needs the Python package {module!r}, which is not installed",
        port=port,
        advice=f"Install {module!r} into the station's environment, then start again.",
    )


def _expected(
    instrument: _Known,
    serial: str | None,
    port: str,
    *,
    let_go: Callable[[], None] | None = None,
) -> _Known:
    """The instrument itself; another one than the profile expects is let go and refused."""
    found = instrument.identity.serial
    if serial is None or found == serial:
        return instrument
    (let_go or instrument.close)()
    raise WrongInstrument(
        f"{instrument.identity.maker} {instrument.identity.model} with serial {found} answers, "
        f"not {serial}",
        port=port,
    )
