"""Whether a GRBL controller is set up to move: its settings, its state and its work coordinates."""

from drivers.errors import InstrumentRefused, NotHomed
from drivers.grbl import protocol
from drivers.grbl.controller import HELD, GrblController
from drivers.grbl.protocol import Status, Triple

OFFSET_TOLERANCE_MM = 0.0015
UNANSWERING = (*HELD, "Sleep")
"""States in which the controller answers status requests only."""
HOMED = "T77"
"""The tool that marks a homed machine: GRBL forgets its number with its position at every reset."""


def check_settings(controller: GrblController) -> None:
    """Refuse a controller that nothing would keep within its travel.

    Raises:
        InstrumentRefused: homing or soft limits are disabled in the settings.
    """
    for number, meaning in (
        (protocol.HOMING, "homing"),
        (protocol.SOFT_LIMITS, "soft limits"),
    ):
        if not controller.settings.get(number):
            raise InstrumentRefused(
                f"{meaning} are not enabled" if meaning.endswith("s") else "homing is off",
                port=controller.port,
                sent=protocol.SETTINGS,
                advice=f"Set ${number}=1 on the controller, then reconnect.",
            )


def check_answering(controller: GrblController) -> Status:
    """The status of a controller that answers lines.

    Raises:
        InstrumentRefused: it is held, asleep, or its door is open.
    """
    status = controller.status()
    if status.mode in UNANSWERING:
        raise InstrumentRefused(
            f"the controller is in {status.state}",
            port=controller.port,
            sent="?",
            advice="Close the door or release the hold at the controller, then go on.",
        )
    return status


def check_coordinates(controller: GrblController) -> None:
    """Refuse a machine that does not know where it is.

    Raises:
        NotHomed: the machine was not homed, or counts in other coordinates than those set then.
    """
    modes = controller.modes()
    if HOMED not in modes:
        raise NotHomed("the gantry is not homed", port=controller.port)
    if "G54" not in modes:
        raise NotHomed(
            "somebody changed the coordinate system of the controller",
            port=controller.port,
            sent=protocol.MODES,
        )


def set_coordinates(controller: GrblController, travel_mm: Triple) -> None:
    """Make the work coordinates of a homed machine run from 0 to the travel; read that back.

    Raises:
        InstrumentRefused: the offset reads back otherwise.
    """
    x, y, z = (-length for length in travel_mm)
    wanted = (x, y, z)
    controller.command("G21G90G94G54")
    offsets = controller.offsets()
    if not _close(offsets["G92"], (0.0, 0.0, 0.0)):
        controller.command("G92.1")
    if not _close(offsets["G54"], wanted):
        controller.command(f"G10L2P1X{x:.3f}Y{y:.3f}Z{z:.3f}")
    offsets = controller.offsets()
    total = tuple(
        sum(parts) for parts in zip(offsets["G54"], offsets["G92"], offsets["TLO"], strict=True)
    )
    if not _close(total, wanted):
        raise InstrumentRefused(
            f"the work offset reads back {total} instead of {wanted}",
            port=controller.port,
            sent=protocol.OFFSETS,
            advice="Retry the homing; if it fails again, check the controller's memory.",
        )


def _close(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(abs(a - b) <= OFFSET_TOLERANCE_MM for a, b in zip(one, other, strict=True))
