import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from station.report import ReportError, collect, write_report
from station.report.page import html
from station.report.paper import pdf
from tests.station.report.recorded import Bench, Module, record_module

TO_TEXT = shutil.which("pdftotext")


class Page(HTMLParser):
    """The visible text of a page, its tables as rows of cells, and what it refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self.references: list[str] = []
        self.tags: list[str] = []
        self._skip = False
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())
        self.rows = [[" ".join(cell.split()) for cell in row] for row in self.rows]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._skip = tag == "style"
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self.references += [v for k, v in attrs if k in ("src", "href") and v]

    def handle_endtag(self, tag: str) -> None:
        self._skip = False

    def handle_data(self, data: str) -> None:
        if self._skip:
            return
        self.words.append(data)
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def markup(shown: tuple[Bench, Module]) -> str:
    bench, module = shown
    return html(collect(bench.store, bench.catalogue, module.label))


@pytest.fixture(scope="module")
def page(markup: str) -> Page:
    return Page(markup)


def page_of(bench: Bench, module: Module) -> Page:
    return Page(html(collect(bench.store, bench.catalogue, module.label)))


def paper_text(data: bytes, folder: Path) -> str:
    path = folder / "report.pdf"
    path.write_bytes(data)
    if TO_TEXT is None:
        pytest.skip("pdftotext (poppler-utils) is not installed")
    done = subprocess.run(
        [TO_TEXT, "-layout", str(path), "-"], capture_output=True, check=True, text=True
    )
    return done.stdout


def n_pages(data: bytes) -> int:
    return len(re.findall(rb"/Type /Page\b", data))


def test_the_page_says_verdict_identity_and_versions(
    shown: tuple[Bench, Module], page: Page
) -> None:
    for words in (
        f"{shown[1].label} · FAIL", "D8, full, cast tiles, 64 channels", str(shown[1].board.label),
        "61 pass", "A. Weber", "test_board 1 (", "0.1.0", "04096331",
    ):  # fmt: skip
        assert words in page.text, words


def test_the_page_lists_every_channel_with_error_and_marks_what_did_not_pass(page: Page) -> None:
    head = next(k for k, row in enumerate(page.rows) if row[:4] == ["Ch", "Place", "Verdict",
                                                                   "Gain ADC/p.e."])  # fmt: skip
    rows = {row[0]: row for row in page.rows[head + 1 : head + 65]}
    assert sorted(rows, key=int) == [str(c) for c in range(64)]
    assert rows["7"][3] == "× 24.31 ± 0.05"
    assert rows["12"][3] == "? unknown"
    assert rows["3"][3] == "! 26.05 ± 0.05"
    assert re.fullmatch(r"\d\d\.\d\d ± 0\.05", rows["20"][3])


def test_the_page_states_the_limits_used_with_their_units(page: Page) -> None:
    rows = page.rows
    assert ["Gain", "", "26 … 30.5", "ADC/p.e.", "64"] in rows
    assert ["Crosstalk", "", "≤ 25", "%", "64"] in rows
    assert ["Dimple x", "formats 12, 14, 16, 18", "−0.1 … 0.1", "mm", "64"] in rows


def test_the_page_needs_nothing_beside_it(markup: str, page: Page) -> None:
    assert page.references
    assert all(reference.startswith("data:image/jpeg;base64,") for reference in page.references)
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert "http" not in markup
    assert "url(" not in markup


def test_the_drawings_of_the_page_are_well_formed(markup: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", markup, re.S)
    titles = {ElementTree.fromstring(drawing).attrib["aria-label"] for drawing in drawings}
    assert {
        "Verdict of every channel", "Map of Gain", "Map of Pedestal", "Map of Noise",
        "Map of Light yield", "Offset of tiles from their SiPMs", "Spectrum of channel 7",
        "Current against bias voltage", "chip on the tile",
    } <= titles  # fmt: skip
    assert "Spectrum of channel 8" not in titles


def test_an_unfinished_module_shows_no_verdict(bench: Bench) -> None:
    module = record_module(bench, "G3L", skip=("test_board",))
    page = page_of(bench, module)
    assert "NOT FINISHED" in page.text
    assert "electrical test: not done yet" in page.text
    assert not {"PASS", "FLAG", "FAIL", "UNKNOWN"} & set(page.text.split())


def test_words_from_the_records_cannot_become_markup(bench: Bench) -> None:
    nasty = '<img src=x onerror="alert(1)"> & <b>bold'
    module = record_module(bench, "G3L", bad={2: "fail"}, reason=nasty)
    report = collect(bench.store, bench.catalogue, module.label)
    page = Page(html(report))
    assert nasty in page.text
    assert "img" not in page.tags
    assert n_pages(pdf(report)) in (3, 4, 5)


def test_paper_repeats_label_verdict_and_page_number_on_each_page(
    shown: tuple[Bench, Module], tmp_path: Path
) -> None:
    bench, module = shown
    data = pdf(collect(bench.store, bench.catalogue, module.label))
    pages = paper_text(data, tmp_path).split("\f")[:-1]
    assert len(pages) == n_pages(data)
    for number, page in enumerate(pages, start=1):
        assert page.split()[0] == module.label
        assert "FAIL" in page
        assert f"page {number} of {len(pages)}" in page
    text = "".join(pages)
    for words in ("× 24.31 ± 0.05", "26 … 30.5", "µA", "Signature", "Released by", "04096331",
                  "−12 … 12", "formats 12, 14, 16, 18"):  # fmt: skip
        assert words in text, words


def test_paper_of_an_unfinished_module_shows_no_verdict(bench: Bench, tmp_path: Path) -> None:
    module = record_module(bench, "G3L", bad={1: "fail"}, test_ending="interrupted")
    text = paper_text(pdf(collect(bench.store, bench.catalogue, module.label)), tmp_path)
    assert "NOT FINISHED" in text
    assert not {"PASS", "FLAG", "FAIL", "UNKNOWN"} & set(text.split())


def test_paper_holds_144_channels_without_cutting_a_number(bench: Bench, tmp_path: Path) -> None:
    module = record_module(bench, "K12F", skip=("inspect_tile", "place_tiles"))
    text = paper_text(pdf(collect(bench.store, bench.catalogue, module.label)), tmp_path)
    rows = re.findall(r"^ +(\d+) +R\d+C\d+ +pass +(\d\d\.\d\d ± 0\.05) ", text, re.M)
    assert [int(channel) for channel, _ in rows] == list(range(144))


def test_paper_holds_a_reason_longer_than_a_page(bench: Bench, tmp_path: Path) -> None:
    words = [f"word{k}" for k in range(1800)]
    module = record_module(bench, "G3L", bad={9: "fail"}, reason=" ".join(words))
    text = paper_text(pdf(collect(bench.store, bench.catalogue, module.label)), tmp_path)
    assert set(words) <= set(text.split())


def test_a_picture_that_is_none_is_left_out(bench: Bench) -> None:
    from station.report.pictures import smaller

    assert smaller(b"not a picture") is None
    assert smaller(b"") is None


def test_files_are_written_under_the_label_and_say_the_same_every_time(
    bench: Bench, tmp_path: Path
) -> None:
    module = record_module(bench, "G3L", bad={2: "flag", 5: "unknown"}, chipped=1)
    first = write_report(bench.store, bench.catalogue, module.label, tmp_path / "a" / "b")
    second = write_report(bench.store, bench.catalogue, module.label, tmp_path / "c")
    assert first.html == tmp_path / "a" / "b" / f"{module.label}.html"
    assert first.pdf.name == f"{module.label}.pdf"
    assert first.html.read_bytes() == second.html.read_bytes()
    assert first.pdf.read_bytes() == second.pdf.read_bytes()
    assert first.pdf.read_bytes().startswith(b"%PDF-")


def test_writing_again_replaces_the_files_and_leaves_nothing_else(
    bench: Bench, tmp_path: Path
) -> None:
    module = record_module(bench, "G3L", skip=("test_board",))
    folder = tmp_path / "reports"
    for _ in range(2):
        files = write_report(bench.store, bench.catalogue, module.label, folder)
    assert sorted(folder.iterdir()) == sorted([files.html, files.pdf])


def test_a_failed_write_leaves_the_old_report_whole(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = record_module(bench, "G3L", skip=("test_board",))
    folder = tmp_path / "reports"
    files = write_report(bench.store, bench.catalogue, module.label, folder)
    before = files.html.read_bytes(), files.pdf.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ReportError, match="No space left"):
        write_report(bench.store, bench.catalogue, module.label, folder)
    assert (files.html.read_bytes(), files.pdf.read_bytes()) == before
    assert sorted(folder.iterdir()) == sorted([files.html, files.pdf])


def test_an_unknown_label_writes_nothing(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="320TMD8FC000009"):
        write_report(bench.store, bench.catalogue, "320TMD8FC000009", tmp_path / "reports")
    assert not (tmp_path / "reports").exists()
