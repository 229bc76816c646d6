"""A station that has nothing but a bias supply: it ramps up and down until it is killed.

    python -m tests.station.safety.bias_station line.toml records

Prints "ready" once its watchdog watches and its bias is on. A word on standard input: "done" closes
it in order, "hang" lets its supervisor hang.
"""

import sys
import threading
import time
from pathlib import Path

from filelock import FileLock

from drivers.clock import RealClock
from station.instruments import open_bias
from station.profile_file import load_profile
from station.safety import Supervisor
from station.safety.watchdog_link import WatchdogLink
from station.safety.watchdog_report import lock_file
from tests.station.safety.fake_line import BiasLine

TOP_V = 45.0
SLOWLY_S = 1.0


def main() -> None:
    line_file, records = Path(sys.argv[1]), Path(sys.argv[2])
    profile = load_profile(line_file)
    FileLock(lock_file(line_file)).acquire(timeout=0)
    watchdog = WatchdogLink(line_file, records, after_s=profile.safety.watchdog_after_s)
    watchdog.start()
    line = BiasLine(profile, open_bias(profile, RealClock()))
    supervisor = Supervisor(
        line,
        profile.safety,
        on_state=lambda state: None,
        on_trip=lambda trip, unverified: print(trip.cause, flush=True),
        heart=watchdog,
    )
    watchdog.wait_until_ready()
    supervisor.start()
    line.bias.program_limits(max_voltage_v=50.0, compliance_a=2e-3)
    line.bias.switch_on()
    stop = threading.Event()
    ramping = threading.Thread(target=_ramp, args=(line, stop), daemon=True)
    ramping.start()
    print(f"ready {watchdog.pid}", flush=True)
    for word in sys.stdin:
        if word.strip() == "hang":
            supervisor._judging.acquire()
        if word.strip() == "done":
            break
    else:
        time.sleep(600)
    stop.set()
    watchdog.closing()
    supervisor.finish()
    time.sleep(SLOWLY_S)
    line.make_safe()
    ramping.join()
    line.bias.close()
    problem = watchdog.finish()
    print(problem or "closed", flush=True)


def _ramp(line: BiasLine, stop: threading.Event) -> None:
    while not stop.is_set():
        for target_v in (TOP_V, 0.0):
            try:
                line.bias.ramp_to(target_v, rate_v_per_s=20.0, checkpoint=line.interlock.guard)
            except Exception:
                if not stop.is_set():
                    raise
                return


if __name__ == "__main__":
    main()
