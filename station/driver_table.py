"""Which class a `driver` key of a profile means: a table, and how its row is opened.

A driver is imported when its key is used. Adding an instrument: its folder in `drivers`, a row
here, its key in `station.profile`.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drivers.clock import Clock
from drivers.errors import InstrumentError


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
    several: str = ""
    """Function of the module that opens several on one bus, by their addresses there."""


BIAS_DRIVERS: Mapping[str, DriverClass] = {
    "keithley2450": DriverClass("drivers.keithley.driver", "Keithley2450", ("polarity",)),
    "keithley2400": DriverClass(
        "drivers.keithley2400", "Keithley2400", ("polarity", "baud", "terminals", "terminator")
    ),
    "keithley6517": DriverClass(
        "drivers.keithley6517", "Keithley6517", ("polarity", "baud", "terminator", "pause_s")
    ),
    "caen_a7585": DriverClass(
        "drivers.caen_a7585",
        "CaenA7585",
        ("polarity", "baud", "temperature_compensation:compensation", "max_temperature_c"),
    ),
    "caen_hv": DriverClass(
        "drivers.caen_hv", "CaenHv", ("channel", "board", "polarity", "baud", "trip_s")
    ),
    "iseg": DriverClass("drivers.iseg", "Iseg", ("channel", "polarity", "baud", "trip_step_a")),
}
CAMERA_DRIVERS: Mapping[str, DriverClass] = {
    "opencv": DriverClass(
        "drivers.opencv_camera.driver",
        "OpenCvCamera",
        (
            "width_px",
            "height_px",
            "exposure_s",
            "gain",
            "pixel_format",
            "frames_per_s",
            "latency_frames",
        ),
    ),
    "basler": DriverClass(
        "drivers.basler", "BaslerCamera", ("width_px", "height_px", "exposure_us", "gain_db")
    ),
}
CLIMATE_DRIVERS: Mapping[str, DriverClass] = {
    "sensirion": DriverClass(
        "drivers.sensirion", "Sensirion", ("address:i2c_address",), "open_all"
    ),
}
CHILLER_DRIVERS: Mapping[str, DriverClass] = {
    "julabo": DriverClass("drivers.julabo", "Julabo", ("baud", "lowest_c", "highest_c")),
    "huber": DriverClass("drivers.huber", "Huber", ("baud", "lowest_c", "highest_c")),
}
SCANNER_DRIVERS: Mapping[str, DriverClass] = {
    "serial": DriverClass("drivers.scanner", "SerialScanner", ("baud", "prefix", "suffix")),
}


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
    return load_driver(table, driver, port).open(port, clock=clock, **settings)


def open_section(
    table: Mapping[str, DriverClass],
    driver: str,
    address: str,
    section: object,
    *,
    clock: Clock | None,
) -> object:
    """The driver with the settings of its section; what is left out there is left to the driver."""
    load_driver(table, driver, address)
    names = [name.partition(":") for name in table[driver].settings]
    given = {keyword or field: getattr(section, field) for field, _, keyword in names}
    settings = {name: value for name, value in given.items() if value is not None}
    return open_driver(table, driver, address, clock=clock, **settings)


def open_several(
    table: Mapping[str, DriverClass],
    driver: str,
    bus: str,
    addresses: Sequence[int],
    *,
    clock: Clock | None,
) -> Any:
    """Those at these addresses of one bus, in this order; all of them or none."""
    load_driver(table, driver, bus)
    row = table[driver]
    opener = getattr(importlib.import_module(row.module), row.several)
    return opener(bus, addresses, clock=clock)


def load_driver(table: Mapping[str, DriverClass], driver: str, port: str) -> Any:
    row = table.get(driver)
    if row is None:
        raise DriverMissing(
            f"there is no driver {driver!r}; there are {', '.join(table)}", port=port
        )
    try:
        return getattr(importlib.import_module(row.module), row.name)
    except ModuleNotFoundError as error:
        raise missing(driver, port, str(error.name)) from error


def missing(driver: str, port: str, module: str) -> DriverMissing:
    if module.split(".", maxsplit=1)[0] == "drivers":
        return DriverMissing(f"this installation has no driver {driver!r}", port=port)
    return DriverMissing(
        f"the driver {driver!r} needs the Python package {module!r}, which is not installed",
        port=port,
        advice=f"Install {module!r} into the station's environment, then start again.",
    )
