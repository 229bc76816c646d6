"""Report files: written whole or not at all."""

import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import db
from station.catalogue import Catalogue
from station.report.content import collect
from station.report.model import ReportError


@dataclass(frozen=True)
class ReportFiles:
    html: Path
    pdf: Path


def write_report(store: db.Store, catalogue: Catalogue, label: str, folder: Path) -> ReportFiles:
    """Write `<label>.html` and `<label>.pdf` into the folder, which is made where needed.

    A reader never sees half a file: both are written beside their places first and then renamed.
    The same records give the same bytes.

    Raises:
        ReportError: when there is nothing to report about this label, or the files can't be
            written.
    """
    from station.report.page import html
    from station.report.paper import pdf

    report = collect(store, catalogue, label)
    contents = {
        folder / f"{report.label}.html": html(report).encode(),
        folder / f"{report.label}.pdf": pdf(report),
    }
    try:
        _write_all(contents)
    except OSError as error:
        raise ReportError(report.label, f"{folder} can't be written: {error}") from error
    page, paper = contents
    return ReportFiles(page, paper)


def _write_all(contents: Mapping[Path, bytes]) -> None:
    with ExitStack() as leftovers:
        written: list[tuple[Path, Path]] = []
        for path, data in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                dir=path.parent, prefix=f".{path.name}.", delete=False
            ) as file:
                temporary = Path(file.name)
                leftovers.callback(temporary.unlink, missing_ok=True)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            written.append((temporary, path))
        for temporary, path in written:
            temporary.replace(path)
