"""Stations born quickly: everything is imported once, every start is a fork of this process.

    python -m tests.station.nursery

One JSON line per command on standard input: {"start": [arguments of tessera], "out": file} answers
with the process id, {"wait": seconds} with the exit status, or null when the station still runs.
"""

import json
import os
import sys
import time
import traceback


def main() -> None:
    import station.cli
    import station.session
    import station.terminal  # noqa: F401

    print("ready", flush=True)
    child = 0
    for line in sys.stdin:
        command = json.loads(line)
        if "start" in command:
            child = os.fork()
            if child == 0:
                _live(command["start"], command["out"])
            print(child, flush=True)
        else:
            print(json.dumps(_status(child, command["wait"])), flush=True)


def _live(arguments: list[str], out: str) -> None:
    from station.cli import app

    code = 70
    try:
        for number in (0, 1, 2):
            os.close(number)
        os.open(os.devnull, os.O_RDONLY)
        os.open(out, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup(1)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        app(arguments, prog_name="tessera")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - this is the top of a process
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _status(child: int, within_s: float) -> int | None:
    deadline = time.monotonic() + within_s
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            return None
        time.sleep(0.01)


if __name__ == "__main__":
    main()
