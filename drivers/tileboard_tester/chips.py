"""The registers of the readout chips: names, copies, ranges, and trees of their settings.

A tree names chip, ``sc``, sub-block, copy and register:
``{"roc_s0": {"sc": {"ch": {3: {"trim_inv": 9}}}}}``. The copy ``all`` means every copy of a block.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drivers.tileboard_tester.protocol import CHANNELS_PER_ROC, ProtocolError, roc_name

Place = tuple[str, str, int | str, str]
"""Chip, sub-block, copy and name of one register."""
ALL = "all"


@dataclass(frozen=True)
class Register:
    """A chip setting: what it is after power-up and the largest value it has room for."""

    default: int
    largest: int


REGISTERS: Mapping[str, Mapping[str, Register]] = {
    "ReferenceVoltage": {
        "Toa_vref": Register(112, 1023),
        "Tot_vref": Register(432, 1023),
        "Inv_vref": Register(350, 1023),
        "Noinv_vref": Register(80, 1023),
        "Calib": Register(0, 4095),
    },
    "ch": {
        "trim_inv": Register(0, 63),
        "trim_toa": Register(0, 63),
        "LowRange": Register(0, 1),
        "HighRange": Register(0, 1),
        "Channel_off": Register(0, 1),
    },
    "Top": {"phase_ck": Register(0, 15)},
}
"""Settings of a chip by sub-block; defaults are those of the simulated chip."""
BLOCK_COPIES: Mapping[str, tuple[int | str, ...]] = {
    "ReferenceVoltage": (0, 1),
    "ch": tuple(range(CHANNELS_PER_ROC)),
    "Top": ("all",),
}
"""Copies of each sub-block: one for each half, one for each channel, one for the whole chip."""


def phase_document(phase_ck: int, n_rocs: int) -> dict[str, Any]:
    """Configuration tree of the slow control that sets the sampling phase of every chip."""
    return {
        roc_name(index): {"sc": {"Top": {"all": {"phase_ck": phase_ck}}}} for index in range(n_rocs)
    }


def flattened(tree: Mapping[str, Any], n_rocs: int) -> dict[Place, int]:
    """Every register that a tree sets, ``all`` spread over the copies of its block.

    Raises ProtocolError for a chip, block, copy or register that does not exist, for a value that
    it has no room for, and for a block with ``all`` beside a single copy, whose order nobody knows.
    """
    registers: dict[Place, int] = {}
    for chip, below in tree.items():
        if chip not in {roc_name(index) for index in range(n_rocs)}:
            raise ProtocolError(f"no chip {chip!r}")
        blocks = below.get("sc") if isinstance(below, Mapping) and set(below) == {"sc"} else None
        if not isinstance(blocks, Mapping):
            raise ProtocolError(f"{chip}: expected a mapping with 'sc' alone")
        for block, copies in blocks.items():
            if block not in REGISTERS or not isinstance(copies, Mapping):
                raise ProtocolError(f"{chip}: unknown sub-block {block!r}")
            if ALL in copies and len(copies) > 1:
                raise ProtocolError(f"{chip}: {block} has both 'all' and single copies")
            for copy, values in copies.items():
                for name, value in _checked(chip, block, copy, values).items():
                    for one in _copies(block, copy):
                        registers[chip, block, one, name] = value
    return registers


def _copies(block: str, copy: int | str) -> tuple[int | str, ...]:
    return BLOCK_COPIES[block] if copy == ALL else (copy,)


def _checked(chip: str, block: str, copy: int | str, values: object) -> Mapping[str, int]:
    if not isinstance(values, Mapping) or (copy != ALL and copy not in BLOCK_COPIES[block]):
        raise ProtocolError(f"{chip}: unknown {block} {copy!r}")
    for name, value in values.items():
        known = REGISTERS[block].get(name)
        if known is None:
            raise ProtocolError(f"{chip}: {block} has no register {name!r}")
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= known.largest:
            raise ProtocolError(
                f"{chip}: {block} {copy} {name} must be 0..{known.largest}, not {value!r}"
            )
    return values


def tree_of(registers: Mapping[Place, int]) -> dict[str, Any]:
    """The tree with these registers."""
    tree: dict[str, Any] = {}
    for (chip, block, copy, name), value in registers.items():
        blocks = tree.setdefault(chip, {"sc": {}})["sc"]
        blocks.setdefault(block, {}).setdefault(copy, {})[name] = value
    return tree


def looked_up(tree: Mapping[str, Any], place: Place) -> Any:
    """The value that a tree has at a place; None when it has none.

    Copies may be written as numbers or as their text.
    """
    chip, block, copy, name = place
    node: Any = tree
    for keys in ((chip,), ("sc",), (block,), (copy, str(copy)), (name,)):
        if not isinstance(node, Mapping):
            return None
        node = next((node[key] for key in keys if key in node), None)
    return node
