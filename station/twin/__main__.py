"""Run the twin alone: `python -m station.twin FOLDER`. `tessera twin` is the same with help."""

import argparse
import json
import os
import signal
import threading
from pathlib import Path

from station.twin.process import LINE_FILE, SERIAL_FILE, TWIN_FILE, TwinError, running_in
from station.twin.server import start_twin

TRUTH_VARIABLE = "TESSERA_TWIN_TRUTH"
LINGER_S = 900.0
WATCH_S = 0.5


def serve(
    folder: Path,
    *,
    seed: int,
    shape: str,
    speed: float,
    first_serial: int,
    parent: int | None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; without its parent process only for `LINGER_S` longer.

    A twin outlives a station that crashes, as machines do: the next start finds it as it is. A new
    twin in a folder goes on with the serial numbers of the last one, so that its parts are never
    taken for those of another world. Raises TwinError when a twin runs in this folder already.
    """
    if running_in(folder) is not None:
        raise TwinError(f"a twin runs in {folder} already; stop it, or name another folder")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    twin = start_twin(
        folder,
        seed=seed,
        shape=shape,
        speed=speed,
        first_serial=max(first_serial, _last_serial(folder) + 1),
        on_serial=lambda serial: (folder / SERIAL_FILE).write_text(str(serial)),
        tells_truth=os.environ.get(TRUTH_VARIABLE) == "1",
    )
    twin.hands.station_pid = parent
    card = {"pid": os.getpid(), "hands": twin.hands.endpoint, "line": str(folder / LINE_FILE)}
    draft = folder / (TWIN_FILE + ".new")
    draft.write_text(json.dumps(card))
    draft.rename(folder / TWIN_FILE)
    print(json.dumps(card), flush=True)
    alone_s = 0.0
    while not stop.wait(WATCH_S) and alone_s < LINGER_S:
        station = twin.hands.station_pid
        alone_s = 0.0 if station is None or _alive(station) else alone_s + WATCH_S
    twin.close()
    (folder / LINE_FILE).unlink(missing_ok=True)
    (folder / TWIN_FILE).unlink(missing_ok=True)


def _last_serial(folder: Path) -> int:
    try:
        return int((folder / SERIAL_FILE).read_text())
    except (OSError, ValueError):
        return 0


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m station.twin", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--shape", default="D8F")
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--first-serial", type=int, default=1)
    parser.add_argument("--parent", type=int, default=None)
    options = parser.parse_args()
    serve(
        options.folder,
        seed=int.from_bytes(os.urandom(4)) if options.seed is None else options.seed,
        shape=options.shape,
        speed=options.speed,
        first_serial=options.first_serial,
        parent=options.parent,
    )


if __name__ == "__main__":
    main()
