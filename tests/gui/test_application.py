"""Starting the desktop from the command line."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gui.application import arguments, close_on_signals, why_no_desktop
from tests.gui.conftest import NO_QT


def test_arguments_are_read(tmp_path: Path) -> None:
    chosen = arguments(["--data", str(tmp_path), "--seed", "7", "--boards", "2", "--theme", "dark"])
    assert (chosen.data, chosen.seed, chosen.boards, chosen.theme) == (tmp_path, 7, 2, "dark")


@pytest.mark.parametrize("wrong", [["--boards", "0"], ["--theme", "pink"]])
def test_wrong_arguments_are_refused(
    tmp_path: Path, wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        arguments(["--data", str(tmp_path), *wrong])
    assert ended.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_without_a_display_the_terminal_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("PyQt6.QtWidgets", reason=NO_QT, exc_type=ImportError)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert "tessera run --headless" in why_no_desktop()


def test_without_qt_s_libraries_the_packages_are_named(tmp_path: Path) -> None:
    (tmp_path / "PyQt6").mkdir()
    (tmp_path / "PyQt6" / "__init__.py").write_text("raise ImportError('libEGL.so.1: missing')")
    ended = subprocess.run(
        [sys.executable, "-m", "gui", "--data", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 3
    assert "apt-get install" in ended.stderr
    assert "libEGL.so.1" in ended.stderr


def test_the_window_code_does_not_load_the_instruments() -> None:
    """They are loaded on the opening thread, after the window is shown."""
    pytest.importorskip("PyQt6.QtWidgets", reason=NO_QT, exc_type=ImportError)
    code = "import gui.window, sys; print([m for m in sys.modules if m.startswith('drivers')])"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_to_end_closes_the_line(name: str) -> None:
    if not hasattr(signal, name):
        pytest.skip(f"this system has no {name}")
    names = [n for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]
    before = {n: signal.getsignal(getattr(signal, n)) for n in names}
    closed: list[str] = []
    try:
        close_on_signals(lambda: closed.append(name))
        signal.raise_signal(getattr(signal, name))
    finally:
        for n, handler in before.items():
            signal.signal(getattr(signal, n), handler)
    assert closed == [name]
