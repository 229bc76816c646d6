"""`tessera doctor`: which instruments answer, what is wrong, and the draft of a profile."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from station.commands.answers import DEFAULT_DATA, Exit, JsonOption, err, fail, out

if TYPE_CHECKING:
    from station.doctor import Finding, Found

RESET_WARNING = (
    "Opening a serial port may reset a gantry's controller: its outputs go off and a tile on the "
    "nozzle falls. Bring the bias down and take the tile off first."
)


def doctor(
    line: Annotated[
        Path, typer.Option("--line", help="Site profile of the line (TOML).")
    ] = DEFAULT_DATA / "twin" / "line.toml",
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="TESSERA_DATA", help="Folder of the records to look after."),
    ] = None,
    scan: Annotated[
        bool, typer.Option("--scan", help="Without a profile: find ports and ask who is there.")
    ] = False,
    port: Annotated[
        list[str] | None, typer.Option(help="With --scan: only this serial port; may be repeated.")
    ] = None,
    leave: Annotated[
        list[str] | None, typer.Option(help="With --scan: leave this port alone; may be repeated.")
    ] = None,
    host: Annotated[
        list[str] | None,
        typer.Option(help="With --scan: ask this host (or host:port) too; may be repeated."),
    ] = None,
    i2c: Annotated[
        list[str] | None,
        typer.Option(help="With --scan: ask for humidity sensors on this bus; may be repeated."),
    ] = None,
    write_profile: Annotated[
        Path | None,
        typer.Option("--write-profile", help="With --scan: write the draft of a profile here."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask nothing: open the ports, overwrite the file.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Which instruments answer, which are what they should be, and what to do. Changes nothing.

    Exit code 1 when an instrument is silent, another one answers, or the station lacks something;
    2 for a profile that can't be used.

    Example: tessera doctor --line line.toml

    Example: tessera doctor --scan --host 192.168.0.50 --write-profile line.toml
    """
    if scan:
        _scan(
            ports=port,
            leave=leave or [],
            hosts=host or [],
            i2c=i2c or [],
            write_profile=write_profile,
            yes=yes,
            as_json=as_json,
        )
        return
    wrong = {"--port": port, "--leave": leave, "--host": host, "--i2c": i2c}
    for option, value in (*wrong.items(), ("--write-profile", write_profile)):
        if value:
            fail(f"{option} goes with --scan", Exit.WRONG_INPUT)
    _examine(line, data, as_json=as_json)


def _examine(line: Path, data: Path | None, *, as_json: bool) -> None:
    from station.doctor import examine
    from station.session import SessionError
    from station.settings import SettingsError

    try:
        findings = examine(line, data=data)
    except (SettingsError, SessionError) as error:
        fail(str(error), Exit.WRONG_INPUT)
    if as_json:
        print(json.dumps([finding.as_data() for finding in findings], indent=2))
    else:
        _show(findings)
    if not all(finding.healthy for finding in findings):
        raise typer.Exit(Exit.STOPPED)


def _show(findings: "list[Finding]") -> None:
    table = Table(box=None)
    for heading in ("", "address", "instrument", "state"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        mark = "[green]✓[/]" if finding.healthy else "[red]✗[/]"
        table.add_row(finding.role, finding.address, finding.identity, f"{mark} {finding.state}")
    out.print(table)
    for finding in findings:
        if finding.remedy:
            out.print(
                f"{finding.role} ({finding.address}): {finding.remedy}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )


def _scan(
    *,
    ports: list[str] | None,
    leave: list[str],
    hosts: list[str],
    i2c: list[str],
    write_profile: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    from station.doctor import Places, draft, scan

    asks = sys.stdin.isatty() and not yes
    if write_profile is not None and write_profile.exists() and not yes:
        if not asks:
            fail(
                f"{write_profile} is there already; --yes overwrites it, another name keeps it",
                Exit.WRONG_INPUT,
            )
        if not typer.confirm(f"{write_profile} is there already. Overwrite it?", err=True):
            fail("nothing was asked, nothing was written", Exit.STOPPED)
    err.print(RESET_WARNING, style="yellow", highlight=False)
    if asks and not typer.confirm("Go on?", err=True):
        fail("nothing was asked", Exit.STOPPED)
    found = scan(
        Places(
            ports=None if ports is None else tuple(ports),
            hosts=tuple(hosts),
            i2c=tuple(i2c),
            leave_alone=frozenset(leave),
        ),
        lambda text: err.print(text, style="dim", highlight=False),
    )
    if as_json:
        print(json.dumps([_as_data(one) for one in found], indent=2))
    else:
        _show_found(found)
    if write_profile is not None:
        from station.commissioning.write import WriteRefusedError, write_with_backup

        try:
            kept = write_with_backup(write_profile, draft(found))
        except WriteRefusedError as error:
            fail(str(error), Exit.STOPPED)
        err.print(f"The draft is {write_profile}. Complete every line marked FILL IN.")
        if kept is not None:
            err.print(f"The file that was there is {kept}.")
    if not any(one.driver for one in found):
        raise typer.Exit(Exit.STOPPED)


def _as_data(found: "Found") -> dict[str, str]:
    return {
        "address": found.address,
        "about": found.about,
        "role": found.role,
        "driver": found.driver,
        "identity": found.identity,
        "framing": "" if found.framing is None else str(found.framing),
        "remedy": found.remedy,
    }


def _show_found(found: "list[Found]") -> None:
    table = Table(box=None)
    for heading in ("role", "driver", "address", "who", "how"):
        table.add_column(heading, overflow="fold")
    for one in found:
        how = one.about if one.framing is None else f"{one.about}, {one.framing}"
        table.add_row(one.role or "–", one.driver or "–", one.address, one.identity or "–", how)
    out.print(table)
    for one in found:
        if one.remedy:
            out.print(f"{one.address}: {one.remedy}", markup=False, highlight=False, soft_wrap=True)
