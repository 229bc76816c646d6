"""Work coordinates of the simulated controller: stored offsets, shifts and targets."""

from collections.abc import Mapping

from drivers.grbl import protocol
from drivers.grbl.gcode import GcodeError, Line, ModalState
from drivers.grbl.protocol import Triple

INCH_MM = 25.4
SYSTEMS = (*range(54, 60), 28, 30)


def millimetres_per(units: str) -> float:
    """Length of a unit of G20 (inch) or G21 (mm)."""
    return INCH_MM if units == "G20" else 1.0


class Coordinates:
    """Offsets that survive a power cut, and the targets that lines mean with them.

    A work position is a machine position less the offset of the coordinate system in use and the
    shift of G92.
    """

    def __init__(self, settings: Mapping[int, float]) -> None:
        self._settings = settings
        self.stored: dict[str, Triple] = {f"G{number}": (0.0, 0.0, 0.0) for number in SYSTEMS}

    def offset(self, modal: ModalState) -> Triple:
        base, shift = self.stored[modal.coordinates], modal.g92
        return (base[0] + shift[0], base[1] + shift[1], base[2] + shift[2])

    def store(self, line: Line, units: str, modal: ModalState, here: Triple) -> None:
        """G10 L2 and L20.

        Raises:
            GcodeError: an unknown coordinate system or kind.
        """
        number, kind = line.values["P"], line.values["L"]
        if not (number.is_integer() and 0 <= number <= 6):
            raise GcodeError(29)
        if kind not in (2, 20):
            raise GcodeError(20)
        name = f"G{53 + int(number)}" if number else modal.coordinates
        offset = list(self.stored[name])
        for axis, value in _axis_values(line, units):
            offset[axis] = value if kind == 2 else here[axis] - value
        self.stored[name] = (offset[0], offset[1], offset[2])

    def shift(self, line: Line, units: str, modal: ModalState, here: Triple) -> None:
        """G92: let the present place have these work coordinates."""
        shift = list(modal.g92)
        base = self.stored[modal.coordinates]
        for axis, value in _axis_values(line, units):
            shift[axis] = here[axis] - base[axis] - value
        modal.g92 = (shift[0], shift[1], shift[2])

    def target(
        self, line: Line, units: str, distance: str, modal: ModalState, start: Triple
    ) -> Triple:
        """Where a line leads from ``start``, machine coordinates, on whole steps."""
        target = list(start)
        offset = self.offset(modal)
        for axis, value in _axis_values(line, units):
            if "G53" in line.codes:
                target[axis] = value
            elif distance == "G91":
                target[axis] += value
            else:
                target[axis] = value + offset[axis]
        return self.on_steps((target[0], target[1], target[2]))

    def on_steps(self, machine: Triple) -> Triple:
        """The nearest place on whole motor steps."""
        x, y, z = (
            round(value * self._settings[number]) / self._settings[number]
            for value, number in zip(machine, protocol.STEPS_PER_MM, strict=True)
        )
        return x, y, z

    def reaches(self, target: Triple) -> bool:
        """Whether the soft limits allow a target."""
        return all(
            -self._settings[number] - 1e-9 <= value <= 1e-9
            for value, number in zip(target, protocol.TRAVEL, strict=True)
        )


def _axis_values(line: Line, units: str) -> list[tuple[int, float]]:
    """Axis numbers and values, mm, of the axis words in a line."""
    return [
        (axis, line.values[letter] * millimetres_per(units))
        for axis, letter in enumerate("XYZ")
        if letter in line.values
    ]
