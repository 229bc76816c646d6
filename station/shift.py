"""A shift: modules one after the other from scanned label to report.

What is left to do is read from the records and from what the scanner sees, never remembered: a
shift that was cut off at any instant goes on where the facts end.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import db
from db import Store
from db.queries import assembly_of
from drivers.errors import InstrumentError
from station.bias_ceiling import breakdown_from_records
from station.catalogue import (
    BoardShape,
    Catalogue,
    Label,
    LabelError,
    TileFormat,
    TilePosition,
    parse_label,
)
from station.events import (
    Answer,
    Listener,
    ModuleDone,
    Procedure,
    RefusedError,
    RunEnded,
    ShiftStep,
)
from station.limits import Limit
from station.line import Line, RunAbortedError
from station.module_records import (
    dimple_seen,
    last_done,
    notes,
    placing_at,
    unplaced,
)
from station.procedures import (
    BareTile,
    BoardInPlace,
    BoardUnderTest,
    PlaceTask,
    SeenPoint,
    TileInSlot,
    inspect_tile,
    inspection_limits,
    place_tiles,
    test_board,
    wrap_tiles,
)
from station.questions import Questions
from station.recipes import ModuleRule, Recipe, Recipes
from station.report import collect, write_report
from station.run_record import Crew
from station.runner import Order, Runner
from station.safety import InterlockTrippedError
from station.set_aside import set_aside_parts
from station.tray import TrayMapError, parse_tray_map

REPLACED = "Replaced"
KEEP, RETEST = "Keep", "Test again"
TILE_ACCEPTED = ("pass", "flag")
SPARES_PER_SLOT = 3


class ShiftStoppedError(Exception):
    """The shift can't go on; the reason says why and the line is safe."""


@dataclass(frozen=True)
class Module:
    """The module being built: its part, its board's part, its shape."""

    part: db.Part
    board: db.Part
    label: Label
    shape: BoardShape


class Shift:
    """Builds, tests and reports modules. One at a time, in the calling thread."""

    def __init__(
        self,
        line: Line,
        catalogue: Catalogue,
        store: Store,
        crew: Crew,
        recipes: Recipes,
        *,
        reports: Path,
        listener: Listener,
        answer: Answer,
    ) -> None:
        self._line = line
        self._catalogue = catalogue
        self._store = store
        self._crew = crew
        self._recipes = recipes
        self._reports = reports
        self._tell = listener
        self._questions = Questions(store, crew, answer)
        self._runner = Runner(line, store, crew, listener=listener, answer=answer)
        self._step: Callable[[str, str], None] = lambda step, text: None
        self._tray: dict[int, Label] = {}

    def run(self, *, boards: int, label: str | None = None) -> list[ModuleDone]:
        """Build `boards` modules; `label` is the module that was scanned by hand, if one was.

        Raises ShiftStoppedError when the shift can't go on, `db.StoreError` when records can't be
        kept.
        """
        done: list[ModuleDone] = []
        try:
            for number in range(1, boards + 1):
                module = self._load(number, boards, label if number == 1 else None)
                if any(finished.module == module.label.text for finished in done):
                    raise RefusedError(f"{module.label.text} is done and is still in the fixture")
                done.append(self._build(module))
                if number < boards:
                    self._questions.have_done(
                        f"Take {module.label.text} out of the fixture.", task="unload"
                    )
        except (
            RefusedError,
            LabelError,
            TrayMapError,
            InstrumentError,
            InterlockTrippedError,
            RunAbortedError,
        ) as error:
            raise ShiftStoppedError(str(error)) from error
        return done

    # -- the stations of one module ----------------------------------------------------------

    def _load(self, number: int, boards: int, expected: str | None) -> Module:
        board_text = self._questions.scan("scan_board", "Scan the tileboard.")
        if not board_text:
            self._questions.have_done(
                "Put the next tileboard and its tray of bare tiles in place.", task="load"
            )
            board_text = self._questions.scan("scan_board", "Scan the tileboard.")
        board_label = _label_of(board_text, "tileboard")
        label = _label_of(
            self._questions.scan("scan_module", "Scan the label of the tile module."), "tile_module"
        )
        if expected is not None and parse_label(expected).text != label.text:
            raise RefusedError(f"{expected} was scanned, but {label.text} is in the fixture")
        shape = self._catalogue.shape_of(label)
        if self._catalogue.shape_of(board_label) != shape:
            raise RefusedError(
                f"board {board_label.text} is a {board_label.shape_name}, module {label.text} "
                f"wants a {shape.name}"
            )

        module = Module(self._part(label), self._part(board_label), label, shape)
        self._check_board(module)
        self._questions.usable(module.part)
        self._questions.usable(module.board)

        def tell(step: str, text: str) -> None:
            self._tell(ShiftStep(label.text, step, text, shape.name, number, boards))

        self._step = tell
        tell("load", f"{label.text} is in the fixture")
        return module

    def _check_board(self, module: Module) -> None:
        """Refuse a board of another module, and a module with another board."""
        built_in = self._store.current_assembly(module.board.id)
        if built_in is not None and built_in.parent_id != module.part.id:
            raise RefusedError(
                f"board {module.board.label} is already in "
                f"{self._store.part(built_in.parent_id).label}, not in {module.label.text}"
            )
        parts = assembly_of(self._store, module.label.text)
        for other in parts[parts["position"] == "board"]["child_label"]:
            if other != module.board.label:
                raise RefusedError(
                    f"module {module.label.text} can't have board {module.board.label}: "
                    f"{other} is in it"
                )

    def _build(self, module: Module) -> ModuleDone:
        self._questions.go_on_with(module.part)
        if not self._is_tested(module):
            if self._unplaced(module):
                bare = self._inspect(module)
                self._wrap(module, bare)
                self._place(module)
            self._test(module)
        elif self._wants_retest(module):
            self._test(module)
        self._step("report", f"writing the report of {module.label.text}")
        files = write_report(self._store, self._catalogue, module.label.text, self._reports)
        report = collect(self._store, self._catalogue, module.label.text)
        done = ModuleDone(
            module.label.text,
            report.verdict or "unknown",
            (*report.missing, *report.reasons),
            str(files.html),
            str(files.pdf),
        )
        self._tell(done)
        return done

    def _wants_retest(self, module: Module) -> bool:
        verdict = collect(self._store, self._catalogue, module.label.text).verdict or "unknown"
        question = f"{module.label.text} is finished: {verdict.upper()}. Test it again?"
        return self._questions.choose(question, (KEEP, RETEST), KEEP) == RETEST

    def _inspect(self, module: Module) -> dict[int, BareTile]:
        """Inspect every bare tile of the tray; slot -> tile that may be used."""
        accepted: dict[int, BareTile] = {}
        tray = self._scan_tray()
        n_bare = sum(label.kind == "tile" for label in tray.values())
        self._step("inspect", f"{n_bare} bare tiles in the tray")
        for position in module.shape.positions:
            slot = position.index
            for _ in range(SPARES_PER_SLOT):
                if slot not in tray or tray[slot].kind != "tile":
                    break
                label = tray[slot]
                tile_format = self._format_for(position, label)
                part = self._part(label)
                verdict, reasons = self._tile_verdict(part, tile_format, position)
                if verdict in TILE_ACCEPTED:
                    accepted[slot] = BareTile(part.id, label)
                    break
                self._questions.have_done(
                    f"Tile {label.text} in slot {slot}: {verdict}, {reasons[0]}. Set it aside and "
                    f"put another one of size {tile_format.code} in slot {slot}.",
                    done=REPLACED,
                    task=f"replace:{slot}",
                )
                tray = self._scan_tray()
            else:
                raise RefusedError(f"no good tile for slot {slot} in {SPARES_PER_SLOT} tries")
        return accepted

    def _tile_verdict(
        self, part: db.Part, tile_format: TileFormat, position: TilePosition
    ) -> tuple[str, Sequence[str]]:
        if (aside := set_aside_parts(self._store).get(part.id)) is not None:
            return "set aside", (aside.reason,)
        known = last_done(self._store, part.id, "inspect_tile")
        if known is not None and known.verdict != "unknown":
            return known.verdict, known.reasons
        recipe = self._recipes.inspect_tile
        ended = self._run(
            "inspect_tile",
            inspect_tile(
                self._line,
                TileInSlot(position.index, tile_format, position.rotation_rad),
                recipe,
            ),
            part,
            recipe,
            limits=inspection_limits(tile_format, recipe),
        )
        return ended.verdict, ended.reasons

    def _wrap(self, module: Module, bare: Mapping[int, BareTile]) -> None:
        tray = self._scan_tray()
        known = dict(bare)
        if any(label.kind == "wrapped_tile" for label in tray.values()):
            wrapping = notes(self._store, module.part.id, "wrapping")
            for slot, text in wrapping[0]["slots"].items() if wrapping else ():
                if int(slot) in tray and tray[int(slot)].kind == "wrapped_tile":
                    known[int(slot)] = BareTile(self._part(parse_label(text)).id, parse_label(text))
        missing = {
            slot: tile
            for slot, tile in known.items()
            if self._store.current_assembly(tile.part_id) is None
        }
        if not missing:
            return
        self._step("wrap", f"wrapping {len(missing)} tiles")
        self._run("wrap_tiles", wrap_tiles(missing), module.part, self._recipes.wrap_tiles)

    def _place(self, module: Module) -> None:
        self._scan_tray()
        tasks = [self._place_task(module, position) for position in self._unplaced(module)]
        self._step("place", f"placing {len(tasks)} tiles")
        recipe = self._recipes.place_tiles
        board = self._store.current_assembly(module.board.id)
        self._run(
            "place_tiles",
            place_tiles(
                self._line,
                BoardInPlace(module.shape, module.board.id if board is None else None),
                tasks,
                recipe,
            ),
            module.part,
            recipe,
            limits=recipe.limits,
        )

    def _test(self, module: Module) -> None:
        self._step("test", f"testing {module.shape.n_channels} channels")
        recipe = self._recipes.test_board
        self._run(
            "test_board",
            test_board(
                self._line,
                BoardUnderTest(
                    module.shape,
                    module.label.text,
                    breakdown_from_records(self._store, [module.part.id, module.board.id]),
                ),
                recipe,
            ),
            module.part,
            recipe,
            limits=recipe.limits,
            rule=recipe.module,
        )

    # -- what the records say ----------------------------------------------------------------

    def _is_tested(self, module: Module) -> bool:
        last = last_done(self._store, module.part.id, "test_board")
        return last is not None and last.ending == "done" and not self._unplaced(module)

    def _unplaced(self, module: Module) -> list[TilePosition]:
        return unplaced(self._store, module.label.text, module.shape.positions)

    def _place_task(self, module: Module, position: TilePosition) -> PlaceTask:
        tray = self._tray
        noted = placing_at(self._store, module.part.id, position.name)
        if position.index in tray:
            label = tray[position.index]
        elif noted is not None:
            label = parse_label(str(noted["label"]))
        else:
            raise RefusedError(f"slot {position.index} is empty and {position.name} is not placed")
        tile_format = self._format_for(position, label)
        part = self._questions.usable(self._part(label))
        elsewhere = self._store.current_assembly(part.id)
        if elsewhere is not None:
            raise RefusedError(
                f"{label.text} is already at {elsewhere.position} of "
                f"{self._store.part(elsewhere.parent_id).label}; {position.name} needs another one"
            )
        dimple, sigma = dimple_seen(self._store, part)
        seen = None
        if noted is not None and noted["label"] == label.text:
            seen = SeenPoint(**noted["sipm"])
        return PlaceTask(
            position,
            position.index,
            part.id,
            label.text,
            tile_format,
            dimple,
            sigma,
            seen,
            in_tray=position.index in tray,
        )

    # -- people and parts --------------------------------------------------------------------

    def _part(self, label: Label) -> db.Part:
        return self._store.ensure_part(
            db.Part(
                kind=label.kind,
                label=label.text,
                subtype=label.subtype,
                site_id=self._crew.site_id,
            )
        )

    def _format_for(self, position: TilePosition, label: Label) -> TileFormat:
        tile_format = self._catalogue.format_of(label)
        if tile_format.code != position.format_code:
            raise RefusedError(
                f"slot {position.index} holds {label.text} of size {tile_format.code}; "
                f"{position.name} needs size {position.format_code}"
            )
        return tile_format

    def _scan_tray(self) -> dict[int, Label]:
        text = self._questions.scan("scan_tray", "Scan the tray.")
        self._tray = {slot: parse_label(label) for slot, label in parse_tray_map(text).items()}
        return self._tray

    def _run(
        self,
        procedure: str,
        steps: Procedure,
        part: db.Part,
        recipe: Recipe,
        *,
        limits: Mapping[str, Limit] | None = None,
        rule: ModuleRule | None = None,
    ) -> RunEnded:
        kept = self._store.ensure_recipe(
            db.Recipe(
                name=procedure,
                version=recipe.version,
                sha256=recipe.content_sha256(),
                content=recipe.model_dump(mode="json"),
            )
        )
        ended = self._runner.run(Order(procedure, steps, part, kept.id, limits or {}, rule))
        if ended.ending != "done":
            raise ShiftStoppedError("; ".join(ended.reasons))
        if (trip := self._line.interlock.tripped) is not None:
            raise ShiftStoppedError(trip.cause)
        return ended


def _label_of(text: str, kind: str) -> Label:
    """The label, which must be one of this kind of part. Raises LabelError, RefusedError."""
    label = parse_label(text)
    if label.kind != kind:
        raise RefusedError(
            f"{label.text} is a {label.kind.replace('_', ' ')}; the label of the "
            f"{kind.replace('_', ' ')} is needed here"
        )
    return label
