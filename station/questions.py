"""What a shift asks the people at the line, outside of any run; the records say who answered."""

import db
from db import Store
from station.events import Answer, Ask, RefusedError, unattended
from station.module_records import interruption
from station.proposals import CONTINUE, DONE, SET_ASIDE, STOP
from station.run_record import Crew, remember
from station.set_aside import release, set_aside, set_aside_parts

RELEASE = "Release"
_WHO = {True: ("nobody", "Nobody was asked"), False: ("operator", "Answered")}


class Questions:
    """Asks the operator of a shift. Every method raises RefusedError when the shift must stop."""

    def __init__(self, store: Store, crew: Crew, answer: Answer) -> None:
        self._store = store
        self._crew = crew
        self._answer = answer

    def scan(self, task: str, question: str) -> str:
        """What the scanner reads; empty when there is nothing."""
        return self._answer(Ask(question, (), "", task=task)).strip()

    def have_done(self, question: str, *, task: str, done: str = DONE) -> None:
        """Have work done by hand."""
        if self._answer(Ask(question, (done, STOP), done, task=task)) != done:
            raise RefusedError(f"stopped by the operator at: {question}")

    def choose(self, question: str, choices: tuple[str, ...], default: str) -> str:
        """A choice that changes nothing by itself, and is not recorded."""
        answer = self._answer(Ask(question, choices, default))
        if answer not in choices:
            raise RefusedError(f"no answer to: {question}")
        return answer

    def decide(self, question: str, choices: tuple[str, ...], default: str, kind: str) -> str:
        """A choice about what was found; the records keep who made it."""
        answer = self.choose(question, choices, default)
        asked, said = _WHO[unattended(self._answer)]
        remember(
            self._store,
            self._crew,
            f"{question} {said}: {answer}",
            {"kind": kind, "answer": answer, "asked": asked},
        )
        return answer

    def go_on_with(self, part: db.Part) -> None:
        """A part whose last run was interrupted goes on where the records end, on a word."""
        cut = interruption(self._store, part.id)
        if cut is None:
            return
        run, end = cut
        question = (
            f"{part.label}: {run.procedure} was interrupted ({end.reasons[0]}). Continue: go on "
            f"where the records end. Set aside: do not use it."
        )
        answer = self.decide(question, (CONTINUE, SET_ASIDE, STOP), CONTINUE, "interrupted")
        if answer == SET_ASIDE:
            reason = f"{run.procedure} was interrupted"
            story = set_aside(self._store, self._crew, part, reason)
            raise RefusedError(f"{story}. Take it out of the fixture.")
        if answer != CONTINUE:
            raise RefusedError(f"stopped by the operator at: {question}")

    def usable(self, part: db.Part) -> db.Part:
        """The part itself, which may have been released now; refused when it stays set aside."""
        aside = set_aside_parts(self._store).get(part.id)
        if aside is None:
            return part
        question = (
            f"{part.label} was set aside on {aside.at:%Y-%m-%d %H:%M} UTC: {aside.reason}. "
            f"Release it and use it?"
        )
        if self.decide(question, (RELEASE, SET_ASIDE), SET_ASIDE, "set_aside") != RELEASE:
            raise RefusedError(
                f"{part.label} is set aside: {aside.reason}. Take it away, or release it"
            )
        with self._store.session() as session:
            operator = session.get(db.Operator, self._crew.operator_id)
        release(self._store, self._crew, part, operator.name if operator else "the operator")
        return part
