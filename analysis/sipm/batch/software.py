"""Which software a result comes from."""

import hashlib
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import analysis

START = "analysis.sipm.batch.work"
IMPORTED = re.compile(
    r"^\s*(?:from\s+(analysis[\w.]*)\s+import\s+(\([^)]*\)|[^\n]*)|import\s+(analysis[\w.]*))", re.M
)


@cache
def software() -> str:
    """Version of the analysis of a spectrum: changes whenever its result may change.

    The number of the release, and a digest of the modules that the analysis imports and of the
    data files beside them.
    """
    try:
        number = version("tessera-qc")
    except PackageNotFoundError:
        number = "unknown"
    digest = hashlib.sha256()
    for file in sorted(used_files(Path(analysis.__path__[0]))):
        digest.update(file.read_bytes())
    return f"{number}+{digest.hexdigest()[:12]}"


def used_files(root: Path, start: str = START) -> set[Path]:
    """Every module of the package at `root` that `start` imports, directly or not, with models."""
    found: set[Path] = set()
    waiting = [start]
    while waiting:
        file = _file(root, waiting.pop())
        if file is None or file in found:
            continue
        found.add(file)
        found |= set(file.parent.glob("*.onnx"))
        for package, names, module in IMPORTED.findall(file.read_text()):
            waiting.append(package or module)
            waiting += [f"{package}.{name}" for name in re.findall(r"\w+", names)]
    return found


def _file(root: Path, module: str) -> Path | None:
    path = root.joinpath(*module.split(".")[1:])
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None
