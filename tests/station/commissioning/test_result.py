"""What a commissioning found, and how it gets into the profile."""

import os
from pathlib import Path

import pytest

from station.commissioning.result import Change, changes, profile_values, rounded, save
from station.commissioning.write import WriteRefusedError, write_with_backup
from station.events import Reading
from station.profile_file import load_profile

EXAMPLE = Path(__file__).parents[3] / "docs" / "line-example.toml"


def reading(quantity: str, value: float | None, sigma: float | None, unit: str = "mm") -> Reading:
    return Reading(quantity, value, sigma, unit, "test", reasons=() if value else ("no",))


@pytest.fixture
def line_file(tmp_path: Path) -> Path:
    path = tmp_path / "line.toml"
    path.write_bytes(EXAMPLE.read_bytes())
    return path


FOUND = [
    reading("mm_per_px", 0.0601234567, 1.7e-6, "mm/px"),
    reading("camera_offset_x", 84.1234567, 0.0021),
    reading("backlash_x", 0.0512, 0.0012),
    reading("backlash_z", -0.0003, 0.0012),
    reading("gantry_scale_x", 1.00002, 3e-5, "1"),
    reading("camera_rotation", None, None, "rad"),
]


def test_old_and_new_stand_side_by_side_with_the_error() -> None:
    found = {c.quantity: c for c in changes(FOUND, load_profile(EXAMPLE))}
    assert set(found) == {r.quantity for r in FOUND} - {"camera_rotation"}
    scale = found["mm_per_px"]
    assert (scale.old, scale.new) == (0.06003, 0.0601234567)
    assert scale.moved == pytest.approx((0.0601234567 - 0.06003) / 1.7e-6)
    assert found["backlash_x"].old == 0.041
    assert found["gantry_scale_x"].field is None
    assert found["gantry_scale_x"].old is None


def test_the_newest_reading_of_a_quantity_counts() -> None:
    again = [*FOUND, reading("camera_offset_x", 84.2, 0.002)]
    found = {c.quantity: c for c in changes(again, load_profile(EXAMPLE))}
    assert found["camera_offset_x"].new == 84.2


def test_values_are_written_without_meaningless_digits_and_play_is_never_negative() -> None:
    profile = load_profile(EXAMPLE)
    values = profile_values(changes(FOUND, profile), profile)
    assert values == {
        ("camera", "mm_per_px"): 0.06012346,
        ("camera", "mm_per_px_sigma_rel"): pytest.approx(2.83e-5),
        ("camera", "offset_x_mm"): 84.12346,
        ("gantry", "backlash_mm"): (0.0512, 0.032, 0.0),
    }
    assert rounded(12345.678, 12.0) == 12345.7
    assert rounded(0.0, 0.0) == 0.0


def test_saving_keeps_the_comments_the_rest_and_the_file_that_was_there(line_file: Path) -> None:
    profile = load_profile(line_file)
    os.chmod(line_file, 0o640)
    kept = save(line_file, changes(FOUND, profile), profile)
    assert kept.read_bytes() == EXAMPLE.read_bytes()
    assert line_file.stat().st_mode & 0o777 == 0o640
    now = load_profile(line_file)
    assert now.camera.mm_per_px == 0.06012346
    assert now.gantry.backlash_mm == (0.0512, 0.032, 0.0)
    assert now.model_copy(update={"camera": profile.camera, "gantry": profile.gantry}) == profile
    old, new = EXAMPLE.read_text().splitlines(), line_file.read_text().splitlines()
    assert sum(a != b for a, b in zip(old, new, strict=True)) == 4
    assert not list(line_file.parent.glob(".*"))


def test_values_that_make_no_profile_are_refused_and_nothing_changes(line_file: Path) -> None:
    profile = load_profile(line_file)
    far = Change("camera_offset_x", ("camera", "offset_x_mm"), 85.0, 900.0, 0.01, "mm")
    with pytest.raises(WriteRefusedError, match="the camera can reach"):
        save(line_file, [far], profile)
    assert line_file.read_bytes() == EXAMPLE.read_bytes()
    assert [p.name for p in line_file.parent.iterdir()] == ["line.toml"]


def test_nothing_measured_is_nothing_saved(line_file: Path) -> None:
    profile = load_profile(line_file)
    with pytest.raises(WriteRefusedError, match="nothing was measured"):
        save(line_file, changes(FOUND[4:], profile), profile)


def test_a_full_disk_leaves_the_old_file(line_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteRefusedError, match="No space left"):
        write_with_backup(line_file, "version = 1\n")
    monkeypatch.undo()
    assert line_file.read_bytes() == EXAMPLE.read_bytes()
    assert [p.name for p in line_file.parent.iterdir()] == ["line.toml"]


def test_every_copy_is_kept_even_within_one_second(line_file: Path) -> None:
    kept = {write_with_backup(line_file, f"# {n}\n") for n in range(3)}
    assert len(kept) == 3
    assert write_with_backup(line_file.with_name("new.toml"), "# new\n") is None
