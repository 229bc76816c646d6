"""Fixtures that every room's tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")


def _qt_loads() -> bool:
    try:
        import PyQt6.QtWidgets  # noqa: F401
    except ImportError:
        return False
    return True


# pytest-qt ends the whole run where Qt's system libraries are missing: it is loaded only with them.
pytest_plugins = ("pytestqt.plugin",) if _qt_loads() else ()

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real measurements kept beside the checkout; absent in a user's fresh clone."""
    folder = Path(os.environ.get("TESSERA_SHARED_DATA", SHARED_DATA))
    if not folder.is_dir():
        pytest.skip(f"real measurements are not here: {folder}")
    return folder
