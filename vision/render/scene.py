"""What a camera looks at: tiles, boards, SiPMs and light, in mm relative to its optical axis."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Corners = tuple[tuple[float, float], ...]


def corners_tuple(corners_mm: ArrayLike) -> Corners:
    """The outline as nested tuples, so that a scene can be hashed and compared.

    Raises:
        ValueError: unless four corners are given counter-clockwise.
    """
    points = np.asarray(corners_mm, dtype=np.float64)
    if points.shape != (4, 2) or not np.isfinite(points).all():
        raise ValueError(f"an outline has four corners of finite (x, y), got shape {points.shape}")
    ahead = np.roll(points, -1, axis=0)
    if np.sum(points[:, 0] * ahead[:, 1] - ahead[:, 0] * points[:, 1]) <= 0:
        raise ValueError("corners must run counter-clockwise")
    return tuple((float(x), float(y)) for x, y in points)


@dataclass(frozen=True)
class Pose:
    """Where an item's own frame lies: position relative to the optical axis and rotation."""

    x_mm: float = 0.0
    y_mm: float = 0.0
    rotation_rad: float = 0.0

    def to_scene(self, points_mm: ArrayLike) -> NDArray[np.float64]:
        """Points (n, 2) of the item's frame in the frame of the scene."""
        points = np.asarray(points_mm, dtype=np.float64).reshape(-1, 2)
        cos, sin = np.cos(self.rotation_rad), np.sin(self.rotation_rad)
        rotation = np.array([[cos, -sin], [sin, cos]])
        return np.asarray(points @ rotation.T + (self.x_mm, self.y_mm))

    def shifted(self, dx_mm: float, dy_mm: float) -> "Pose":
        """The same pose moved by (dx, dy)."""
        return replace(self, x_mm=self.x_mm + dx_mm, y_mm=self.y_mm + dy_mm)


@dataclass(frozen=True)
class EdgeChip:
    """Material missing from an edge: the segment of a circle.

    ``edge`` counts 0 inner, 1 right, 2 outer, 3 left; ``along`` runs from 0 to 1
    counter-clockwise along that edge.
    """

    edge: int
    along: float
    width_mm: float
    depth_mm: float

    @property
    def radius_mm(self) -> float:
        """Radius of the circle that bites into the edge."""
        return (self.width_mm**2 / 4.0 + self.depth_mm**2) / (2.0 * self.depth_mm)

    @property
    def area_mm2(self) -> float:
        """Missing area: the circular segment."""
        radius = self.radius_mm
        rest = radius - self.depth_mm
        half = self.width_mm / 2.0
        return float(radius**2 * np.arctan2(half, rest) - half * rest)


@dataclass(frozen=True)
class CornerChip:
    """A corner broken off along a straight line, ``leg_mm`` away from it on both edges."""

    corner: int
    leg_mm: float


Chip = EdgeChip | CornerChip


@dataclass(frozen=True)
class BareTileItem:
    """A clear scintillator tile: polished bright edges and the ring of its dimple.

    Attributes:
        corners_mm: true outline in the tile frame, counter-clockwise from inner-left.
        pose: where the tile frame lies.
        dimple_mm: true middle of the dimple in the tile frame; None leaves it out.
        dimple_diameter_mm: diameter of the dimple's rim.
        chips: material missing from the outline.
        brightness: factor on what the tile reflects.
        seed: picks the irregularities of rims and surface.
    """

    corners_mm: Corners
    pose: Pose = Pose()
    dimple_mm: tuple[float, float] | None = (0.0, 0.0)
    dimple_diameter_mm: float = 6.0
    chips: tuple[Chip, ...] = ()
    brightness: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class WrappedTileItem:
    """A tile in reflector foil: bright, with fold lines and soft streaks.

    ``corners_mm`` is the true outline of the wrapped tile. ``opening_mm`` draws the cut-out
    over the dimple for a tile that lies with its opening up.
    """

    corners_mm: Corners
    pose: Pose = Pose()
    opening_mm: tuple[float, float] | None = None
    opening_diameter_mm: float = 6.0
    chips: tuple[Chip, ...] = ()
    brightness: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class SiPMItem:
    """A SiPM: a dark square of side ``size_mm`` in a bright package."""

    size_mm: float = 3.0
    pose: Pose = Pose()


@dataclass(frozen=True)
class FiducialItem:
    """A bare copper disc in a ring free of traces."""

    diameter_mm: float = 1.5
    x_mm: float = 0.0
    y_mm: float = 0.0


@dataclass(frozen=True)
class BoardItem:
    """A printed board with traces and silk-screen, seen inside its outline (n, 2) in its frame."""

    outline_mm: tuple[tuple[float, float], ...]
    pose: Pose = Pose()
    seed: int = 0


@dataclass(frozen=True)
class DustItem:
    """A speck or fibre on top of whatever lies there; no defect."""

    x_mm: float
    y_mm: float
    length_mm: float = 0.15
    width_mm: float = 0.08
    rotation_rad: float = 0.0
    grey: float = 140.0


Item = BareTileItem | WrappedTileItem | SiPMItem | FiducialItem | BoardItem | DustItem


@dataclass(frozen=True)
class Light:
    """Lamp level (1 is normal), relative slope per 100 mm along x and y, and fall-off.

    ``vignetting`` is the relative loss at 50 mm from the optical axis.
    """

    level: float = 1.0
    gradient: tuple[float, float] = (0.08, -0.05)
    vignetting: float = 0.06


@dataclass(frozen=True)
class Sensor:
    """An 8-bit sensor: electrons behind one grey value, and read noise in grey values."""

    electrons_per_dn: float = 40.0
    read_noise_dn: float = 0.9
    black_dn: float = 3.0


@dataclass(frozen=True)
class Background:
    """The surface below everything: a textured tray or the dark base plate of the machine.

    ``origin_mm`` is where the texture's own origin lies, so that it moves with the scene.
    """

    kind: Literal["tray", "plate"] = "tray"
    origin_mm: tuple[float, float] = (0.0, 0.0)
    seed: int = 0


@dataclass(frozen=True)
class Scene:
    """All that one picture shows.

    Items of one kind are drawn in order; boards lie below SiPMs and fiducials, these below
    tiles, and dust on top. ``psf_sigma_px`` is the blur of lens and pixel together.
    """

    background: Background = Background()
    items: tuple[Item, ...] = ()
    light: Light = Light()
    psf_sigma_px: float = 1.0
    sensor: Sensor = field(default_factory=Sensor)


def shifted_item(item: Item, dx_mm: float, dy_mm: float) -> Item:
    """The item moved by (dx, dy)."""
    if isinstance(item, FiducialItem | DustItem):
        return replace(item, x_mm=item.x_mm + dx_mm, y_mm=item.y_mm + dy_mm)
    return replace(item, pose=item.pose.shifted(dx_mm, dy_mm))


def viewed_from(scene: Scene, x_mm: float, y_mm: float) -> Scene:
    """A scene in the gantry's frame as a camera at (x, y) sees it."""
    origin = scene.background.origin_mm
    return replace(
        scene,
        background=replace(scene.background, origin_mm=(origin[0] - x_mm, origin[1] - y_mm)),
        items=tuple(shifted_item(item, -x_mm, -y_mm) for item in scene.items),
    )


def scatter_dust(
    rng: np.random.Generator, count: int, *, within_mm: Sequence[float]
) -> tuple[DustItem, ...]:
    """``count`` random specks and fibres within (x_low, y_low, x_high, y_high)."""
    x_low, y_low, x_high, y_high = within_mm
    specks = []
    for _ in range(count):
        fibre = rng.random() < 0.25
        length = rng.uniform(0.4, 1.2) if fibre else rng.uniform(0.06, 0.2)
        specks.append(
            DustItem(
                x_mm=float(rng.uniform(x_low, x_high)),
                y_mm=float(rng.uniform(y_low, y_high)),
                length_mm=float(length),
                width_mm=float(0.04 if fibre else length * rng.uniform(0.5, 1.0)),
                rotation_rad=float(rng.uniform(0, np.pi)),
                grey=float(rng.choice([35.0, 120.0, 170.0])),
            )
        )
    return tuple(specks)
