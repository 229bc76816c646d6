"""The safe state of a line: ordered, idempotent, every step tried and verified."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from drivers.errors import InstrumentError

if TYPE_CHECKING:
    from station.line import Line

SAFE_VOLTAGE_V = 0.5


def make_safe(line: "Line") -> tuple[str, ...]:
    """Light off, bias ramped down and read back, bias switch open. Idempotent, thread-safe.

    Every step is tried whatever happened before it. Returns what could not be verified: an
    empty tuple means that the line is safe. Vacuum stays as it is: a held tile must not fall.
    """
    problems: list[str] = []

    def attempt(what: str, step: Callable[[], object]) -> None:
        try:
            step()
        except InstrumentError as error:
            problems.append(f"{what}: {error}")
        except Exception as error:  # noqa: BLE001 - the steps behind it must be tried too
            problems.append(f"{what}: {type(error).__name__}: {error}")

    def bias_down() -> None:
        reading = line.bias_down()
        if reading.output_on or abs(reading.voltage_v) > SAFE_VOLTAGE_V:
            problems.append(
                f"bias still reads {reading.voltage_v:.2f} V, output "
                f"{'on' if reading.output_on else 'off'}"
            )

    with line.safe_lock:
        attempt("light", line.light.pulse_off)
        attempt("bias", bias_down)
        attempt("bias switch", line.switch.disconnect)
    return tuple(problems)


def halt(line: "Line") -> tuple[str, ...]:
    """Stop the motion at once, then the safe state."""
    problems: tuple[str, ...] = ()
    try:
        line.gantry.stop()
    except InstrumentError as error:
        problems = (f"gantry: {error}",)
    except Exception as error:  # noqa: BLE001 - the bias must come down all the same
        problems = (f"gantry: {type(error).__name__}: {error}",)
    return (*problems, *make_safe(line))
