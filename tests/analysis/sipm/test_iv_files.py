import gzip
from pathlib import Path

import numpy as np
import pytest

from analysis.sipm.iv import read_iv
from analysis.sipm.text_columns import SpectrumFileError

SMU = "+2.0E+01,+{i}E-09,+9.910000E+37,+1.0E+01,+4.0E+04\n"


def write(folder: Path, text: str) -> Path:
    file = folder / "curve.txt"
    file.write_text(text, encoding="utf-8")
    return file


TABLES = {
    "names with units": "Voltage (V),Current (nA)\n20,1\n21,2\n22,3\n",
    "brackets and tabs": "voltage[V]\tcurrent[nA]\n20\t1\n21\t2\n22\t3\n",
    "bare symbols": "V I_nA\n20 1\n21 2\n22 3\n",
    "decimal commas": "U / V;I / nA\n20,0;1,0\n21,0;2,0\n22,0;3,0\n",
    "unit row": "Bias,Leakage\nV,nA\n20,1\n21,2\n22,3\n",
    "comment header": "# run 5\n# V[V] I[nA]\n20 1\n21 2\n22 3\n",
    "millivolts": "bias (mV),idark (pA)\n20000,1000\n21000,2000\n22000,3000\n",
    "swapped": "I (A),V (V)\n1e-9,20\n2e-9,21\n3e-9,22\n",
    "no header": "20 1e-9\n21 2e-9\n22 3e-9\n",
    "no header, swapped": "1e-9 20\n2e-9 21\n3e-9 22\n",
    "times of day": (
        "Time,Voltage (V),Current (A)\n"
        "2024-05-01 12:00:01,20,1e-9\n2024-05-01 12:00:02,21,2e-9\n2024-05-01 12:00:03,22,3e-9\n"
    ),
    "units behind numbers": "Voltage,Current\n20V,1E-9A\n21V,2E-9A\n22V,3E-9A\n",
    "sweep of a bench instrument": (
        "Sweep,IV\nOperator,x\nIndex,SMU-1 Time (s),SMU-1 Voltage (V),SMU-1 Current (A)\n"
        "1,0.1,20,1e-9\n2,0.2,21,2e-9\n3,0.3,22,3e-9\n"
    ),
    "set and measured": (
        "V_set (V),V_meas (V),Current (nA),Temperature (C)\n19,20,1,25\n20,21,2,25\n21,22,3,25\n"
    ),
    "quoted": '"Voltage (V)","Current (nA)"\n"20","1"\n"21","2"\n"22","3"\n',
    "blanks in names": "Voltage (V)  Current (nA)\n20  1\n21  2\n22  3\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_usual_tables_are_read(name: str, tmp_path: Path) -> None:
    (table,) = read_iv(write(tmp_path, TABLES[name]))
    np.testing.assert_allclose(table.voltage_v, [20, 21, 22])
    np.testing.assert_allclose(table.current_a, [1e-9, 2e-9, 3e-9])
    assert table.sigma_a is None


def test_the_raw_buffer_of_a_sourcemeter_is_read(tmp_path: Path) -> None:
    text = "".join(SMU.format(i=i) for i in (1, 2, 3))
    (table,) = read_iv(write(tmp_path, text))
    np.testing.assert_allclose(table.voltage_v, 20)
    np.testing.assert_allclose(table.current_a, [1e-9, 2e-9, 3e-9])


def test_a_column_of_errors_is_read_with_its_unit(tmp_path: Path) -> None:
    (table,) = read_iv(write(tmp_path, "V (V),I (nA),sigma (pA)\n20,1,10\n21,2,20\n"))
    assert table.sigma_a is not None
    np.testing.assert_allclose(table.sigma_a, [1e-11, 2e-11])


def test_many_channels_of_one_voltage_are_many_curves(tmp_path: Path) -> None:
    tables = read_iv(write(tmp_path, "bias (V),i_0 (nA),i_1 (nA)\n20,1,4\n21,2,5\n"))
    assert [table.name for table in tables] == ["i_0 (na)", "i_1 (na)"]
    np.testing.assert_allclose(tables[1].current_a, [4e-9, 5e-9])


def test_columns_without_names_are_taken_as_told(tmp_path: Path) -> None:
    file = write(tmp_path, "3,5E+3\t2,0E1\t1,0E-9\t4E-12\n3,6E+3\t2,1E1\t2,0E-9\t5E-12\n")
    with pytest.raises(SpectrumFileError, match=r"line 1: 4 columns without names"):
        read_iv(file)
    (table,) = read_iv(file, voltage_column=2, current_column=3)
    np.testing.assert_allclose(table.voltage_v, [20, 21])
    np.testing.assert_allclose(table.current_a, [1e-9, 2e-9])


def test_compressed_files_are_read(tmp_path: Path) -> None:
    file = tmp_path / "curve.csv.gz"
    file.write_bytes(gzip.compress(TABLES["names with units"].encode()))
    assert len(read_iv(file)[0].voltage_v) == 3


BAD = {
    "text inside": ("V,I\n20,1e-9\n21,oops\n", r"line 3, i: 'oops' is not a number"),
    "short row": ("V,I\n20,1e-9\n21\n", r"line 3: 1 fields"),
    "one column": ("1\n2\n3\n", r"line 1: one column is no curve"),
    "empty": ("", "the file is empty"),
    "no numbers": ("hello\nworld\n", "no numbers"),
    "unit": ("Voltage (V),Current (Ohm)\n20,1\n21,2\n", r"line 1, current \(ohm\): the unit 'ohm'"),
    "no current of two columns": ("Voltage (V),Temperature\n20,1\n21,2\n", "like a current"),
    "no voltage of two columns": ("Time,Current (nA)\n20,1\n21,2\n", "like a voltage"),
    "neither of two columns": ("Time,Temperature\n20,1\n21,2\n", "like a voltage"),
    "no current": ("Voltage (V),Temperature,Humidity\n20,1,2\n", "like a current"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_named_with_the_line(name: str, tmp_path: Path) -> None:
    text, message = BAD[name]
    with pytest.raises(SpectrumFileError, match=message) as caught:
        read_iv(write(tmp_path, text))
    assert "curve.txt" in str(caught.value)


def test_a_missing_file_and_a_binary_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(SpectrumFileError, match=r"gone\.csv: cannot be read"):
        read_iv(tmp_path / "gone.csv")
    file = tmp_path / "picture.csv"
    file.write_bytes(b"\x89PNG\0\0\0")
    with pytest.raises(SpectrumFileError, match="not a text file"):
        read_iv(file)


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpectrumFileError, match="no column 3 of 2"):
        read_iv(write(tmp_path, TABLES["no header"]), current_column=3)
    with pytest.raises(SpectrumFileError, match="the same column"):
        read_iv(write(tmp_path, TABLES["no header"]), voltage_column=1, current_column=1)
