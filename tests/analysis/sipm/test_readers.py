import gzip
from pathlib import Path

import numpy as np
import pytest
import uproot

from analysis.sipm.readers import SpectrumFileError, read_spectrum
from analysis.sipm.spectrum import Spectrum

COUNTS = np.array([0, 2, 5, 9, 4, 1, 0, 1], dtype=float)


def write(folder: Path, text: str, name: str = "spectrum.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def table(separator: str, header: str = "") -> str:
    return header + "".join(f"{i}{separator}{count:g}\n" for i, count in enumerate(COUNTS))


def assert_counts(spectrum: Spectrum) -> None:
    assert spectrum.counts.tolist() == COUNTS.tolist()
    np.testing.assert_allclose(spectrum.centers, np.arange(len(COUNTS)))


@pytest.mark.parametrize("separator", [",", ";", "\t", " ", "   ", ", ", " ; "])
@pytest.mark.parametrize(
    "header",
    ["", "Energy,Count\n", "# adc counts\n", "Run 7 of Monday\n\nADC;entries\n", "% made by DAQ\n"],
)
def test_two_columns_are_read_with_any_separator_and_header(
    tmp_path: Path, separator: str, header: str
) -> None:
    assert_counts(read_spectrum(write(tmp_path, table(separator, header))))


def test_decimal_commas_are_understood(tmp_path: Path) -> None:
    spectrum = read_spectrum(write(tmp_path, "x;n\n0,5;3\n1,0;4\n1,5;5\n2,0;1\n"))
    assert spectrum.centers.tolist() == [0.5, 1.0, 1.5, 2.0]
    assert spectrum.counts.tolist() == [3, 4, 5, 1]


def test_low_edges_are_taken_as_such_when_the_header_says_so(tmp_path: Path) -> None:
    spectrum = read_spectrum(write(tmp_path, table(",", "bin_low_edge,count\n")))
    np.testing.assert_allclose(spectrum.edges, np.arange(len(COUNTS) + 1))


def test_bins_left_out_because_empty_are_put_back(tmp_path: Path) -> None:
    spectrum = read_spectrum(write(tmp_path, "10,3\n11,4\n14,5\n15,1\n"))
    assert spectrum.counts.tolist() == [3, 4, 0, 0, 5, 1]


def test_falling_positions_are_turned_round(tmp_path: Path) -> None:
    spectrum = read_spectrum(write(tmp_path, "3,1\n2,5\n1,7\n"))
    assert spectrum.counts.tolist() == [7, 5, 1]


def test_swapped_columns_are_told_by_their_names(tmp_path: Path) -> None:
    text = "count,adc\n" + "".join(f"{c:g},{i}\n" for i, c in enumerate(COUNTS))
    assert_counts(read_spectrum(write(tmp_path, text)))


def test_named_columns_are_found_among_others(tmp_path: Path) -> None:
    text = "adc,error,counts\n" + "".join(f"{i},0.1,{c:g}\n" for i, c in enumerate(COUNTS))
    assert_counts(read_spectrum(write(tmp_path, text)))


def test_a_list_of_charges_is_histogrammed(tmp_path: Path) -> None:
    charges = np.repeat(np.arange(len(COUNTS)), COUNTS.astype(int))
    text = "charge\n" + "\n".join(map(str, np.random.default_rng(1).permutation(charges)))
    spectrum = read_spectrum(write(tmp_path, text, "charges.txt"))
    assert spectrum.n_entries == COUNTS.sum()
    assert spectrum.mean == pytest.approx(charges.mean())


def test_events_with_charges_are_histogrammed(tmp_path: Path) -> None:
    spectrum = read_spectrum(write(tmp_path, "event,adc\n0,100\n1,128\n2,100\n3,101\n"))
    assert spectrum.n_entries == 4
    assert spectrum.counts[0] == 2


def test_the_data_section_of_a_multichannel_analyser_is_counts(tmp_path: Path) -> None:
    body = "\n".join(f"{c:g}" for c in COUNTS)
    text = f"<<PMCA SPECTRUM>>\nLIVE_TIME - 30.0\n<<DATA>>\n{body}\n<<END>>\n<<DPP>>\nx\n"
    assert_counts(read_spectrum(write(tmp_path, text, "run.mca")))
    text = f"$SPEC_ID:\nlab\n$MEAS_TIM:\n300 300\n$DATA:\n0 7\n{body}\n$ROI:\n0\n"
    assert_counts(read_spectrum(write(tmp_path, text, "run.Spe")))


def test_one_column_that_follows_itself_is_counts(tmp_path: Path) -> None:
    counts = np.random.default_rng(1).poisson(
        1000 * np.exp(-0.5 * ((np.arange(200) - 90) / 30) ** 2)
    )
    spectrum = read_spectrum(write(tmp_path, "\n".join(map(str, counts)), "mca.txt"))
    assert spectrum.counts.tolist() == counts.tolist()


def test_compressed_text_is_read(tmp_path: Path) -> None:
    path = tmp_path / "spectrum.csv.gz"
    path.write_bytes(gzip.compress(table(",").encode()))
    assert_counts(read_spectrum(path))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_other_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "spectrum.csv"
    path.write_bytes(table(",", "Höhe,Zahl\n").encode(encoding))
    assert_counts(read_spectrum(path))


def test_npz_is_read_as_edges_centers_or_charges(tmp_path: Path) -> None:
    path = tmp_path / "spectrum.npz"
    np.savez(path, counts=COUNTS, edges=np.arange(len(COUNTS) + 1) - 0.5)
    assert_counts(read_spectrum(path))
    np.savez(path, counts=COUNTS, centers=np.arange(len(COUNTS)))
    assert_counts(read_spectrum(path))
    np.savez(path, charges=np.repeat(np.arange(len(COUNTS)), COUNTS.astype(int)))
    assert read_spectrum(path).n_entries == COUNTS.sum()


def root_file(folder: Path) -> Path:
    path = folder / "run.root"
    with uproot.recreate(path) as root:
        root["ch0"] = (COUNTS, np.arange(len(COUNTS) + 1) - 0.5)
        root["board/ch1"] = (COUNTS * 2, np.arange(len(COUNTS) + 1) - 0.5)
        root["events"] = {"adc": np.array([5, 5, 6, 9])}
    return path


def test_root_histograms_and_branches_are_read_by_name(tmp_path: Path) -> None:
    path = root_file(tmp_path)
    assert_counts(read_spectrum(f"{path}:ch0"))
    assert read_spectrum(f"{path}:board/ch1").counts.tolist() == (COUNTS * 2).tolist()
    assert read_spectrum(f"{path}:events/adc").n_entries == 4


def test_the_only_histogram_of_a_root_file_needs_no_name(tmp_path: Path) -> None:
    path = tmp_path / "one.root"
    with uproot.recreate(path) as root:
        root["h"] = (COUNTS, np.arange(len(COUNTS) + 1) - 0.5)
    assert_counts(read_spectrum(path))


def test_several_root_histograms_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(SpectrumFileError, match=r"ch0, board/ch1"):
        read_spectrum(root_file(tmp_path))


def test_a_missing_root_histogram_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpectrumFileError) as error:
        read_spectrum(f"{root_file(tmp_path)}:nothing")
    assert error.value.field == "nothing"


@pytest.mark.parametrize(
    ("text", "line", "field"),
    [
        ("adc,count\n0,1\n1,nan\n2,3\n", 3, "count"),
        ("adc,count\n0,1\n1,-4\n2,3\n", 3, "count"),
        ("adc,count\n0,1\n1,two\n2,3\n", 3, "count"),
        ("0,1\n1,2\n2,x\n", 3, "column 2"),
        ("0,1\n1,2\n1,3\n", 3, "column 1"),
        ("0,1\n5,2\n3,3\n7,1\n", 3, "column 1"),
        ("0,1\n1,2,3\n", 2, None),
        ("0,1,2\n1,2,3\n", 1, None),
        ("charge\n3\nnan\n5\n", 3, "charge"),
        ("a story\nwithout numbers\n", 2, None),
    ],
)
def test_what_is_wrong_is_named_with_file_line_and_field(
    tmp_path: Path, text: str, line: int, field: str | None
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SpectrumFileError) as error:
        read_spectrum(path)
    assert (error.value.file, error.value.line, error.value.field) == (str(path), line, field)
    assert str(path) in str(error.value)
    assert f"line {line}" in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.csv", b""),
        ("image.csv", b"\x89PNG\r\n\x1a\n\0\0\0"),
        ("broken.npz", b"PK\x03\x04broken"),
        ("broken.npy", b"\x93NUMPYbroken"),
        ("broken.root", b"root\0\0broken"),
        ("broken.csv.gz", b"\x1f\x8bbroken"),
    ],
)
def test_unreadable_files_are_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SpectrumFileError, match=name):
        read_spectrum(path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SpectrumFileError, match=r"nowhere\.csv"):
        read_spectrum(tmp_path / "nowhere.csv")


def test_npz_without_a_spectrum_says_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    np.savez(path, voltage=np.arange(3))
    with pytest.raises(SpectrumFileError, match="voltage"):
        read_spectrum(path)
