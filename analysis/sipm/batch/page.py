from pathlib import Path
from typing import Any


def draw_population(spectra: Any, channels: Any) -> Any:
    return None


def save_page(figure: Any, folder: Path) -> list[Path]:
    return []
