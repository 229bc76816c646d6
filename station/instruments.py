"""From the sections of a profile to open drivers. Nobody else in the station makes a driver.

Every instrument that opens is compared with its `expected_serial`: another one is let go as it is.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from drivers.clock import Clock, RealClock
from drivers.errors import InstrumentError, WrongInstrument, errors_of
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
from station.driver_table import (
    BIAS_DRIVERS,
    CAMERA_DRIVERS,
    CHILLER_DRIVERS,
    CLIMATE_DRIVERS,
    SCANNER_DRIVERS,
    DriverMissing,
    open_section,
    open_several,
)
from station.profile import ContactSection, GantrySection, Profile

if TYPE_CHECKING:
    from station.line import Line


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


@errors_of("bias supply")
def open_bias(profile: Profile, clock: Clock | None = None) -> BiasSupply:
    """The bias supply, as it is: opening reads and changes nothing.

    Raises `drivers.errors.InstrumentError`; WrongInstrument for another serial number, and then
    the supply is left as it is.
    """
    section = profile.bias
    supply = cast(
        BiasSupply,
        open_section(BIAS_DRIVERS, section.driver, section.address, section, clock=clock),
    )
    return _expected(supply, section.expected_serial, section.address, let_go=supply.leave)


@errors_of("gantry")
def open_gantry(profile: Profile, clock: Clock | None = None) -> Motion:
    """The gantry with its gripper and, when the profile has one, its glue valve; not homed.

    `auto` asks the controller which dialect it speaks.
    """
    section = profile.gantry
    driver = _dialect(section) if section.driver == "auto" else section.driver
    motion = _grbl(profile, clock) if driver == "grbl" else _marlin(profile, clock)
    _expected(motion.gantry, section.expected_serial, section.port, let_go=motion.close)
    return motion


@errors_of("camera")
def open_camera(profile: Profile, clock: Clock | None = None) -> Camera:
    section = profile.camera
    camera = cast(
        Camera, open_section(CAMERA_DRIVERS, section.driver, section.url, section, clock=clock)
    )
    return _expected(camera, section.expected_serial, section.url)


@errors_of("tileboard tester")
def open_readout(profile: Profile, clock: Clock | None = None) -> Any:
    """The tileboard tester: readout, light, bias switch and thermometers in one."""
    from drivers.tileboard_tester.driver import TileboardTester
    from drivers.tileboard_tester.protocol import BoardConstants

    section = profile.tester
    constants = {
        "n_rocs": section.n_rocs,
        "overvoltage_dacs": {
            entry.overvoltage_v: (entry.dac_a, entry.dac_b) for entry in section.overvoltages
        },
        "pt1000_channels": {one.name: one.channel for one in section.thermometers} or None,
        "bias_divider": section.bias_divider,
        "supply_divider": section.supply_divider,
        "current_sense_ohm": section.current_sense_ohm,
        "current_gain": section.current_gain,
    }
    given: dict[str, Any] = {name: value for name, value in constants.items() if value is not None}
    tester = TileboardTester(
        section.host,
        fast_port=section.fast_port,
        slow_port=section.slow_port,
        data_port=section.data_port,
        push_port=section.push_port,
        data_host=section.data_host,
        data_folder=Path(section.data_folder),
        board_constants=BoardConstants(**given),
        clock=clock or RealClock(),
    )
    return _expected(tester, section.expected_serial, section.host)


@errors_of("climate sensor")
def open_climate(profile: Profile, clock: Clock | None = None) -> dict[str, HumiditySensor]:
    """The humidity sensors by their names; those that opened are closed when one fails.

    The sensors of one bus share it.
    """
    with ExitStack() as stack:
        sensors: dict[str, HumiditySensor] = {}
        buses = dict.fromkeys((one.driver, os.path.realpath(one.bus)) for one in profile.climate)
        for driver, bus in buses:
            there = [
                one
                for one in profile.climate
                if one.driver == driver and os.path.realpath(one.bus) == bus
            ]
            opened: list[HumiditySensor] = open_several(
                CLIMATE_DRIVERS, driver, there[0].bus, [one.address for one in there], clock=clock
            )
            for sensor in opened:
                stack.callback(sensor.close)
            sensors |= {one.name: sensor for one, sensor in zip(there, opened, strict=True)}
        for one in profile.climate:
            where = f"{one.bus} address {one.address:#04x}"
            # closed with the others
            _expected(sensors[one.name], one.expected_serial, where, let_go=lambda: None)
        stack.pop_all()
        return {one.name: sensors[one.name] for one in profile.climate}


@errors_of("chiller")
def open_chiller(profile: Profile, clock: Clock | None = None) -> Chiller | None:
    """The chiller of the profile, as it is; None when the line has none."""
    section = profile.chiller
    if section is None:
        return None
    chiller = cast(
        Chiller, open_section(CHILLER_DRIVERS, section.driver, section.port, section, clock=clock)
    )
    return _expected(chiller, section.expected_serial, section.port)


@errors_of("scanner")
def open_scanner(profile: Profile, clock: Clock | None = None) -> Scanner | None:
    """The scanner with a port; None when the line has none, or one that types as a keyboard."""
    section = profile.scanner
    if section is None or section.port is None:
        return None
    scanner = cast(
        Scanner, open_section(SCANNER_DRIVERS, section.driver, section.port, section, clock=clock)
    )
    return _expected(scanner, section.expected_serial, section.port)


def open_contacts(
    profile: Profile, *, bias: Any = None, gantry: Any = None, tester: Any = None
) -> dict[str, Contact]:
    """The contacts by their names, each on the open instrument that reads it.

    Raises `InstrumentError` when that instrument can't read a contact.
    """
    contacts: dict[str, Contact] = {}
    for section in profile.contacts:
        read = _READS[section.driver](bias, gantry, tester, section)
        if read is None:
            raise DriverMissing(
                f"no instrument of this line can read the contact {section.name!r}",
                port=section.driver,
                advice=f"Choose another driver than {section.driver!r} for it in the site profile.",
            )
        contacts[section.name] = _ReadContact(read)
    return contacts


Read = Callable[[], bool]


def _interlock_of(bias: Any, gantry: Any, tester: Any, section: ContactSection) -> Read | None:
    return getattr(bias, "interlock_closed", None)


def _door_of(bias: Any, gantry: Any, tester: Any, section: ContactSection) -> Read | None:
    return getattr(gantry, "door_closed", None)


def _pin_of(bias: Any, gantry: Any, tester: Any, section: ContactSection) -> Read | None:
    """A pin of the tester's chip that a closed contact pulls to 0."""
    read = getattr(tester, "gpio_bit", None)
    return None if read is None else lambda: not read(section.bit)


_READS: Mapping[str, Callable[[Any, Any, Any, ContactSection], Read | None]] = {
    "bias_interlock": _interlock_of,
    "gantry_door": _door_of,
    "tester_gpio": _pin_of,
}


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
    read: Read

    def closed(self) -> bool:
        return self.read()


def _grbl(profile: Profile, clock: Clock | None) -> Motion:
    from drivers.grbl import GrblController, GrblGantry, GrblVacuumGripper

    controller = GrblController.open(profile.gantry.port, clock=clock)
    gantry = GrblGantry(controller)
    valve: GlueValve | None = None
    if profile.glue_valve is not None:
        from drivers.grbl import GrblGlueValve

        try:
            valve = GrblGlueValve(controller, longest_s=profile.glue_valve.longest_s)
        except InstrumentError:
            gantry.close()
            raise
    return Motion(gantry, GrblVacuumGripper(controller), valve, gantry.close)


def _marlin(profile: Profile, clock: Clock | None) -> Motion:
    from drivers.marlin import (
        MarlinGantry,
        MarlinGlueValve,
        MarlinVacuumGripper,
        fan_output,
        pin_output,
    )

    section, gripper = profile.gantry, profile.gripper
    if section.baud is None:
        gantry = MarlinGantry.open(section.port, clock=clock, travel_mm=section.travel_mm)
    else:
        gantry = MarlinGantry.open(
            section.port, baud=section.baud, clock=clock, travel_mm=section.travel_mm
        )
    vacuum = fan_output(0) if gripper.pin is None else pin_output(gripper.pin)
    valve: GlueValve | None = None
    if profile.glue_valve is not None:
        pin = profile.glue_valve.pin
        valve = MarlinGlueValve(
            gantry.controller,
            output=fan_output(1) if pin is None else pin_output(pin),
            longest_s=profile.glue_valve.longest_s,
        )
    return Motion(
        gantry,
        MarlinVacuumGripper(gantry.controller, output=vacuum, switch=gripper.switch),
        valve,
        gantry.close,
    )


def _dialect(section: GantrySection) -> str:
    from drivers.marlin import ask_family

    if section.baud is None:
        return ask_family(section.port)
    return ask_family(section.port, baud=section.baud)


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
