"""Results are told apart by the software that made them."""

from pathlib import Path

import analysis
from analysis.sipm.batch.software import software, used_files


def test_what_the_analysis_imports_counts_and_nothing_else() -> None:
    root = Path(analysis.__path__[0])
    used = {file.relative_to(root).as_posix() for file in used_files(root)}
    assert {"estimate.py", "sipm/gain.py", "sipm/peaks.py", "sipm/batch/work.py"} <= used
    assert {"sipm/dispersion.py", "sipm/readers.py", "sipm/batch/parts.py"} <= used
    assert not {"sipm/batch/page.py", "sipm/figures_gain.py"} & used
    assert software() == software()


def test_a_module_that_is_imported_in_a_function_counts(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "one.py").write_text("def f():\n    from analysis.inner import two, three\n")
    (tmp_path / "inner" / "__init__.py").write_text("")
    (tmp_path / "inner" / "two.py").write_text("import analysis.one\n")
    (tmp_path / "inner" / "model.onnx").write_text("")
    (tmp_path / "other.py").write_text("")
    used = {file.relative_to(tmp_path).as_posix() for file in used_files(tmp_path, "analysis.one")}
    assert used == {"one.py", "inner/__init__.py", "inner/two.py", "inner/model.onnx"}
