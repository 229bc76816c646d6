"""Pictures of tiles and boards from known geometry."""

from vision.render.expose import expose, render
from vision.render.paint import render_clean
from vision.render.scene import (
    Background,
    BareTileItem,
    BoardItem,
    CornerChip,
    DustItem,
    EdgeChip,
    FiducialItem,
    Item,
    Light,
    Pose,
    Scene,
    Sensor,
    SiPMItem,
    WrappedTileItem,
    corners_tuple,
    scatter_dust,
    shifted_item,
    viewed_from,
)

__all__ = [
    "Background",
    "BareTileItem",
    "BoardItem",
    "CornerChip",
    "DustItem",
    "EdgeChip",
    "FiducialItem",
    "Item",
    "Light",
    "Pose",
    "Scene",
    "Sensor",
    "SiPMItem",
    "WrappedTileItem",
    "corners_tuple",
    "expose",
    "render",
    "render_clean",
    "scatter_dust",
    "shifted_item",
    "viewed_from",
]
