"""Fixtures that every room's tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real measurements kept beside the checkout; absent in a user's fresh clone."""
    folder = Path(os.environ.get("TESSERA_SHARED_DATA", SHARED_DATA))
    if not folder.is_dir():
        pytest.skip(f"real measurements are not here: {folder}")
    return folder
