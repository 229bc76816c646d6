"""What the operator can do about a broken rule, by what the rule watches."""

from fnmatch import fnmatchcase

UNREADABLE = "Check the instrument, its power and its cable; see that the rule names what is there."
_SHORT = "Look for a short or a damaged channel on the board before the bias goes on again."
_PANEL = "Look at the front panel of the bias supply; keep hands off the board until it reads 0 V."
REMEDIES = (
    ("*.silent_s", "Check power and cable of the instrument, then reset."),
    ("*.look_s", "The instrument answers slowly: check its cable and what else uses its port."),
    ("bias.current_a", _SHORT),
    ("bias.in_compliance", _SHORT),
    ("bias.*", _PANEL),
    (
        "readout.temperature_c.*",
        "See that the cooling runs and nothing covers the board; reset when it has cooled down.",
    ),
    ("readout.*", "Look at the LED of the board and at its tester, then reset."),
    ("gantry.state", "Clear the machine by eye, hands out; a reset acknowledges and homes it."),
    ("gantry.*", "Clear the machine by eye, hands out; bring the gantry back to where it may be."),
    ("gripper.*", "Look at nozzle, hose and pump; see whether a tile hangs on the nozzle."),
    ("camera.inside.*", "Hands out; bring the camera back to where it may be."),
    ("camera.*", "Restart the camera; look at its lamp and its lens cap."),
    ("chiller.*", "Look at the chiller: its panel, level, pump and hoses."),
    ("*.dew_margin_k", "Water may condense: let dry air in or warm the board; reset when dry."),
    ("climate.*", "See that the box is closed and the dry air flows."),
    ("contact.*", "Take hands out of the machine, close it, then reset."),
    ("glue_valve.*", "Shut the glue valve by hand and look at the needle."),
    ("watchdog.*", "It starts again by itself; if it does not, close the station and start it."),
)
"""What is watched, and what to do; the first that fits counts."""


def remedy_for(quantity: str) -> str:
    """One sentence for a quantity such as `bias.current_a`."""
    return next(
        (text for pattern, text in REMEDIES if fnmatchcase(quantity, pattern)), "Look at the line."
    )
