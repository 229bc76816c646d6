"""What a station needs besides its instruments: room on the disk, a clock, access to its ports."""

import getpass
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from station.doctor.finding import Finding
from station.profile import Profile
from station.session import DATABASE

LEAST_FREE_GB = 5.0
WORTH_A_WORD_GB = 20.0
EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)
"""No station can run before this software was written: a clock before it was never set."""
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
WATCHDOG = "station.safety.watchdog"
WATCHDOG_WITHIN_S = 60.0


def examine_surroundings(profile: Profile, data: Path) -> Iterator[Finding]:
    """Disk, clock, permissions of the ports, folders, and whether the watchdog can start."""
    yield disk(data)
    yield clock(datetime.now(UTC), data)
    for role, port in serial_ports(profile):
        finding = permission(role, port)
        if finding is not None:
            yield finding
    folder = Path(profile.tester.data_folder)
    if not folder.is_dir():
        yield _station(
            "tester data",
            str(folder),
            "there is no such folder",
            "Make it, mount it, or correct tester.data_folder in the site profile.",
        )
    yield watchdog(profile)


def disk(data: Path) -> Finding:
    """Room for the records: a full disk stops a run, a read-only one does not start it."""
    folder = next(place for place in (data, *data.resolve().parents) if place.exists())
    if not os.access(folder, os.W_OK):
        return _station(
            "disk",
            str(folder),
            f"{getpass.getuser()} may not write here",
            f"Give {getpass.getuser()} the folder, or choose another with --data.",
        )
    free_gb = shutil.disk_usage(folder).free / 1e9
    state = f"{free_gb:.0f} GB free"
    if free_gb < LEAST_FREE_GB:
        return _station(
            "disk", str(folder), state, f"Free at least {LEAST_FREE_GB:.0f} GB before a shift."
        )
    remedy = "Free some room soon." if free_gb < WORTH_A_WORD_GB else ""
    return Finding("disk", str(folder), "—", state, True, remedy, "station")


def clock(now: datetime, data: Path) -> Finding:
    """Whether the computer's time can be true: not before this software, not before the records."""
    at = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    remedy = "Set the computer's clock (timedatectl set-ntp true), then look again."
    if not EARLIEST <= now <= LATEST:
        return _station("clock", "computer", f"{at} can't be", remedy)
    newest = _newest_record(data)
    if newest is not None and newest > now:
        return _station(
            "clock",
            "computer",
            f"{at}, but the newest record is of {newest:%Y-%m-%d %H:%M:%S} UTC",
            remedy,
        )
    return Finding("clock", "computer", "—", at, True, "", "station")


def _newest_record(data: Path) -> datetime | None:
    """Time of the newest event in the records, which are only read; None without any."""
    records = data / DATABASE
    if not records.exists():
        return None
    try:
        with closing(sqlite3.connect(f"file:{records}?mode=ro", uri=True)) as connection:
            (newest,) = connection.execute("select max(at) from event").fetchone()
    except sqlite3.Error:
        return None
    return None if newest is None else datetime.fromisoformat(newest).replace(tzinfo=UTC)


def serial_ports(profile: Profile) -> Iterator[tuple[str, Path]]:
    """The device files that a profile names, by the role that is on them."""
    named = [
        ("bias", profile.bias.address),
        ("gantry", profile.gantry.port),
        ("camera", profile.camera.url),
        *((f"climate {sensor.name}", sensor.bus) for sensor in profile.climate),
    ]
    if profile.chiller is not None:
        named.append(("chiller", profile.chiller.port))
    if profile.scanner is not None and profile.scanner.port is not None:
        named.append(("scanner", profile.scanner.port))
    for role, address in named:
        if address.startswith("/dev/"):
            yield role, Path(address)


def permission(role: str, port: Path) -> Finding | None:
    """Why this user can't use a device file; None when nothing is wrong."""
    try:
        mode = port.stat()
    except OSError as error:
        return _station(
            role,
            str(port),
            f"there is no such device: {error.strerror}",
            "Check power and cable; 'tessera doctor --scan' lists what is there.",
        )
    if os.access(port, os.R_OK | os.W_OK):
        return None
    user, group = getpass.getuser(), _group_of(mode.st_gid)
    advice = f"Ask for access to {port}."
    if mode.st_mode & stat.S_IRGRP and group:
        advice = f"Run 'sudo usermod -aG {group} {user}', log out and in again."
    return _station(role, str(port), f"{user} may not use this device", advice)


def _group_of(number: int) -> str:
    if not sys.platform.startswith("linux"):
        return ""
    import grp

    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return ""


def watchdog(profile: Profile) -> Finding:
    """Whether the process that brings the bias down without the station can be started.

    It is started without a line: it loads what it needs, and ends.
    """
    command = [sys.executable, "-c", f"import {WATCHDOG}"]
    try:
        tried = subprocess.run(
            command, capture_output=True, text=True, timeout=WATCHDOG_WITHIN_S, check=False
        )
        complaint = (
            "" if tried.returncode == 0 else (tried.stderr.strip().splitlines() or ["?"])[-1]
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        complaint = str(error)
    if complaint:
        return _station(
            "watchdog",
            sys.executable or "no interpreter",
            f"can't be started: {complaint}",
            "Install the station again; without its watchdog it does not switch the bias on.",
        )
    return Finding(
        "watchdog",
        profile.bias.address,
        "—",
        f"can start; takes over after {profile.safety.watchdog_after_s:g} s of silence",
        True,
        "",
        "station",
    )


def _station(role: str, address: str, state: str, remedy: str) -> Finding:
    return Finding(role, address, "—", state, False, remedy, "station")
