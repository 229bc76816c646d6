"""How quantities are called and in which order reports show them."""

from collections.abc import Iterable

_TITLES = {
    "gain": "Gain",
    "pedestal": "Pedestal",
    "noise": "Noise",
    "light_yield": "Light yield",
    "crosstalk": "Crosstalk",
    "gain_spread": "Gain spread",
    "afterpulse": "Afterpulsing",
    "dcr": "Dark count rate",
    "enf_divisor": "ENF divisor",
    "vbd_gain": "Breakdown voltage vbd_gain",
    "vbd_iv": "Breakdown voltage vbd_iv",
    "dark_current": "Dark current",
    "quench_resistance": "Quench resistance",
    "mip": "MIP",
    "fiducial_residual": "Fiducials, residual of the fit",
    "inner_width": "Inner width",
    "outer_width": "Outer width",
    "height": "Height",
    "tile_rotation": "Rotation in the tray",
    "dimple_x": "Dimple x",
    "dimple_y": "Dimple y",
    "sipm_offset_x": "Offset x",
    "sipm_offset_y": "Offset y",
    "placed_rotation": "Rotation",
}
_ORDER = {quantity: place for place, quantity in enumerate(_TITLES)}


def title_of(quantity: str) -> str:
    """The quantity as people call it; one that is not known here keeps its own name."""
    return _TITLES.get(quantity, quantity.replace("_", " ").capitalize())


def in_order(quantities: Iterable[str]) -> list[str]:
    """Each quantity once: known ones in the order of reports, then the others by name."""
    return sorted(
        set(quantities), key=lambda quantity: (_ORDER.get(quantity, len(_ORDER)), quantity)
    )
