"""A folder of files that are named by the SHA-256 of their content, each stored once."""

import hashlib
import os
import re
import secrets
from pathlib import Path

from db.errors import StoreError


def sha256_of(data: bytes) -> str:
    """The SHA-256 of the bytes as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def path_of(folder: Path, sha256: str) -> Path:
    """Where the file of this hash lies: `ab/cd/abcd...` below the folder.

    Raises StoreError when the text is not a SHA-256.
    """
    if re.fullmatch(r"[0-9a-f]{64}", sha256) is None:
        raise StoreError(f"not a SHA-256: {sha256[:80]!r}", folder)
    return folder / sha256[:2] / sha256[2:4] / sha256


def keep(folder: Path, data: bytes) -> str:
    """Store the bytes and return their SHA-256, once they are safely on the disk.

    The file appears under its name complete or not at all. A file that is there already is kept,
    unless its content does not match its name: then it is replaced.
    Raises StoreError when the disk refuses, for example because it is full.
    """
    sha256 = sha256_of(data)
    path = path_of(folder, sha256)
    try:
        _make_folder(path.parent)
        if _holds(path, data):
            _flush(path)
        else:
            _write(path, data)
        _flush(path.parent)
    except OSError as error:
        raise StoreError(f"cannot store an attachment: {error.strerror or error}", path) from error
    return sha256


def read(folder: Path, sha256: str) -> bytes:
    """The bytes stored under this hash. Raises StoreError when they are missing or changed."""
    path = path_of(folder, sha256)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StoreError(f"cannot read an attachment: {error.strerror or error}", path) from error
    if sha256_of(data) != sha256:
        raise StoreError("the attachment's content does not match its name: it was changed", path)
    return data


def _make_folder(path: Path) -> None:
    if path.is_dir():
        return
    _make_folder(path.parent)
    path.mkdir(exist_ok=True)
    _flush(path.parent)


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except FileNotFoundError:
        return False


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _flush(path: Path) -> None:
    if os.name == "nt":  # neither folders nor files opened for reading can be flushed there
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
