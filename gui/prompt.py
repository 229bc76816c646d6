"""What is asked of the operator now: one sentence, perhaps a text field, and buttons."""

from collections import Counter
from dataclasses import dataclass

from gui.desk import Desk
from gui.places import LINE, SETUP
from gui.words import PROCEDURE_WORDS, VERDICT_WORDS
from station.events import Verdict

START = "start"
RESET = "reset"
UNDERSTOOD = "understood"
ENTER = "enter"
ANSWER = "answer:"
REPORT = "report"
STEP = "step:"
ASK_SAVE, SAVE, KEEP = "save", "write", "keep"
LABEL_ENTRY = "Label (empty: in the fixture)"
NOTHING_TO_DO = "Nothing to do for you now."


@dataclass(frozen=True)
class Action:
    """A button: `name` is handed back when it is pressed. The likely one is filled."""

    name: str
    words: str
    likely: bool = False
    enabled: bool = True


@dataclass(frozen=True)
class Prompt:
    """`entry` is the accessible name of the text field, empty when there is none."""

    sentence: str
    note: str = ""
    tone: str = ""
    entry: str = ""
    actions: tuple[Action, ...] = ()


def prompt_of(desk: Desk, place: str = LINE) -> Prompt:
    """The prompt that fits at a place, the most urgent first."""
    if desk.phase != "open":
        return _not_open(desk)
    if desk.state.trip is not None:
        return _trip(desk, desk.state.trip)
    if desk.stopping:
        return Prompt("Stopping: the run ends and the bias is being brought down.")
    if desk.pending is not None:
        return _question(desk)
    if desk.shift_on:
        return _working(desk)
    return _setup(desk) if place == SETUP else _idle(desk)


def _not_open(desk: Desk) -> Prompt:
    match desk.phase:
        case "opening":
            note = "STOP was pressed: it is done as soon as the line answers."
            return Prompt(
                "Opening the line: the instruments are being asked who they are.",
                note if desk.stop_wanted else "",
            )
        case "failed":
            return Prompt("The line could not be opened.", tone="fail")
        case _:
            return Prompt("Closing the line: the bias is being brought down.")


def _trip(desk: Desk, cause: str) -> Prompt:
    return Prompt(
        f"TRIP: {cause}",
        desk.reset_refusal
        or "Find the cause and remove it, then reset. Until then nothing moves and the bias "
        "stays down.",
        "trip",
        actions=(Action(RESET, "Reset the trip", likely=True, enabled=not desk.resetting),),
    )


def _question(desk: Desk) -> Prompt:
    assert desk.pending is not None
    ask = desk.pending.ask
    if not ask.choices:
        return Prompt(
            ask.question,
            desk.note,
            desk.note_tone,
            entry="Answer",
            actions=(Action(ENTER, "Enter", likely=True),),
        )
    others = [choice for choice in ask.choices if choice != ask.default]
    ordered = [*others, *([ask.default] if ask.default in ask.choices else [])]
    return Prompt(
        ask.question,
        desk.note,
        desk.note_tone,
        actions=tuple(
            Action(ANSWER + choice, choice, likely=choice == ask.default) for choice in ordered
        ),
    )


def _working(desk: Desk) -> Prompt:
    run = desk.state.run
    doing = "working" if run is None else PROCEDURE_WORDS.get(run.procedure, "working")
    so_far = _bad_channels(desk)
    sentence = " ".join(filter(None, (f"The station is {doing}.", so_far, NOTHING_TO_DO)))
    return Prompt(sentence, desk.note, desk.note_tone)


def _setup(desk: Desk) -> Prompt:
    """The one next step of the commissioning, or what to do with what it found."""
    setup = desk.setup.state
    facts = setup.facts
    if facts is None:
        return Prompt("Reading the set-up of the line.", setup.trouble, "fail")
    if setup.asks_to_save:
        count = sum(change.kept for change in facts.changes)
        return Prompt(
            f"Write {count} measured values into {facts.line_file.name}? Comments and order stay, "
            "and the file as it is now is kept beside it.",
            str(facts.line_file),
            actions=(Action(KEEP, "Not now"), Action(SAVE, "Write", likely=True)),
        )
    step = facts.next_step
    save = Action(ASK_SAVE, "Save", likely=step is None and setup.saved is None)
    actions = (save,) if facts.may_save and setup.saved is None else ()
    if setup.refused and step is not None:
        return Prompt(
            f"{step.title}: {_sentence(setup.refused)}",
            "Put it right, then try the step again. What the steps before it found stays.",
            "fail",
            actions=(*actions, Action(STEP + step.step, "Try again", likely=True)),
        )
    if step is not None:
        return Prompt(
            f"Next: {step.title}. {step.about}",
            desk.note or "The calibration target lies in its place, the nozzle is empty.",
            desk.note_tone,
            actions=(*actions, Action(STEP + step.step, "Start", likely=True)),
        )
    if setup.saved is not None:
        return Prompt("The commissioning is written into the profile.", desk.note, desk.note_tone)
    return Prompt(
        "All steps are done. Compare the old values with the new ones, then save.",
        desk.note,
        desk.note_tone,
        actions=actions,
    )


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else text + "."


_BAD: dict[Verdict, str] = {"fail": "failed", "unknown": "unknown", "flag": "flagged"}


def _bad_channels(desk: Desk) -> str:
    """`3 channels flagged, 1 failed.`, or empty when all are well."""
    count = Counter(measured.verdict for measured in desk.state.channels.values())
    words = [f"{count[verdict]} {word}" for verdict, word in _BAD.items() if count[verdict]]
    return f"Channels: {', '.join(words)}." if words else ""


def _idle(desk: Desk) -> Prompt:
    if desk.recovery:
        return Prompt(
            " ".join(story[:1].upper() + story[1:].rstrip(".") + "." for story in desk.recovery),
            "This was found when the station started.",
            actions=(Action(UNDERSTOOD, "Understood", likely=True),),
        )
    sentence = (
        "Scan or type the label of the tile module, then start the shift. "
        "Without a label it takes the module that is in the fixture."
    )
    note = desk.note
    actions: tuple[Action, ...] = (Action(START, "Start the shift", likely=True),)
    finished = desk.state.finished
    if finished is not None:
        word = VERDICT_WORDS[finished.verdict]
        sentence = f"{finished.module} is finished: {word}. Scan or type the next label."
        note = note or "; ".join(finished.reasons)
        actions = (Action(REPORT, "Report"), *actions)
    return Prompt(sentence, note, desk.note_tone, LABEL_ENTRY, actions)
