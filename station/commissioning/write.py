"""Writing a settings file: whole or not at all, and the one that was there is kept."""

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path


class WriteRefusedError(Exception):
    """A file that can't be written; what was there is still there."""


def write_with_backup(path: Path, text: str) -> Path | None:
    """Write `text` to `path` at once, and keep what was there beside it.

    Returns the copy that was kept (`name.YYYYMMDD-HHMMSS.bak`), or None when there was no file.
    Whatever happens meanwhile, `path` holds either the old text or the new one.

    Raises WriteRefusedError.
    """
    try:
        kept = _keep(path)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            temporary = Path(file.name)
            try:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
        temporary.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise WriteRefusedError(f"{path} can't be written: {error.strerror or error}") from error
    return kept


def _keep(path: Path) -> Path | None:
    if not path.exists():
        return None
    stamp = f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    number = 0
    while True:
        name = f"{path.name}.{stamp}{f'-{number}' if number else ''}.bak"
        kept = path.with_name(name)
        try:
            file = kept.open("xb")
        except FileExistsError:
            number += 1
            continue
        try:
            with file:
                file.write(path.read_bytes())
                os.fsync(file.fileno())
        except OSError:
            kept.unlink(missing_ok=True)
            raise
        return kept


def _sync_folder(folder: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):
        return
    number = os.open(folder, os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
