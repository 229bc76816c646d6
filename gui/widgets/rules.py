"""The interlock's rules, and the story of the trips."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from PyQt6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from gui.look import Look
from gui.widgets.parts import Mark, fitted, set_property, text
from gui.widgets.scrolled import ScrolledPanel, paragraph

if TYPE_CHECKING:
    from station.setup_facts import RuleFacts, TripFacts


class RulesPanel(ScrolledPanel):
    """The newest trip on top while it is latched; then the rules, then older trips."""

    def __init__(self, look: Look) -> None:
        super().__init__(look, "Safety")
        self._shown: object = None

    def show_safety(
        self,
        rules: "Sequence[RuleFacts]",
        trips: "Sequence[TripFacts]",
        latched: str | None,
        operator: str,
    ) -> None:
        if self._shown == (rules, trips, latched, operator):
            return
        self._shown = (rules, trips, latched, operator)
        self.clear()
        self.aside.setText("tripped" if latched else "watching")
        set_property(self.aside, "tone", "fail" if latched else "")
        newest = trips[0] if trips and latched and not trips[0].reset else None
        if latched:
            self.put(self._latched(latched, newest, operator))
        for one in rules:
            self.put(self._rule(one, broken=newest is not None and _broke(one, newest)))
        older = [trip for trip in trips if trip is not newest]
        if older:
            self.put(text("strong", "Trips before"))
        for trip in older:
            self.put(self._trip(trip))

    def _latched(self, cause: str, trip: "TripFacts | None", operator: str) -> QWidget:
        row, words = self._marked("fail")
        words.addWidget(paragraph("strong", cause))
        if trip is not None:
            words.addWidget(text("caption", f"{trip.at.astimezone():%Y-%m-%d %H:%M:%S}"))
            for line in trip.story:
                words.addWidget(paragraph("caption", line))
        words.addWidget(
            paragraph("caption", f"The reset is recorded under {operator}." if operator else "")
        )
        return row

    def _rule(self, rule: "RuleFacts", *, broken: bool) -> QWidget:
        row = QWidget()
        row.setProperty("role", "clear")
        line = QHBoxLayout(row)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(self.look.tokens.spacing.tight)
        mark = Mark(self.look, self.look.tokens.type.body)
        mark.show_verdict("fail" if broken else "pass")
        words = QVBoxLayout()
        words.setSpacing(0)
        words.addWidget(text("body", rule.name))
        words.addWidget(text("caption", rule.text))
        state = fitted("caption", "broken" if broken else "trips" if rule.trips else "warns")
        set_property(state, "tone", "fail" if broken else "")
        line.addWidget(mark)
        line.addLayout(words, 1)
        line.addWidget(state)
        row.setAccessibleName(f"{rule.name}: {rule.text}, {state.text()}")
        row.setToolTip(row.accessibleName())
        return row

    def _trip(self, trip: "TripFacts") -> QWidget:
        row = QWidget()
        row.setProperty("role", "clear")
        words = QVBoxLayout(row)
        words.setContentsMargins(0, 0, 0, 0)
        words.setSpacing(0)
        words.addWidget(paragraph("body", trip.cause))
        at = f"{trip.at.astimezone():%Y-%m-%d %H:%M:%S}"
        for line in (at, *trip.story, trip.reset or "not reset"):
            words.addWidget(paragraph("caption", line))
        return row

    def _marked(self, verdict: str) -> tuple[QWidget, QVBoxLayout]:
        row = QWidget()
        row.setProperty("role", "clear")
        line = QHBoxLayout(row)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(self.look.tokens.spacing.tight)
        mark = Mark(self.look, self.look.tokens.size.mark)
        mark.show_verdict(verdict)
        words = QVBoxLayout()
        words.setSpacing(self.look.tokens.spacing.hair)
        line.addWidget(mark)
        line.addLayout(words, 1)
        return row, words


def _broke(rule: "RuleFacts", trip: "TripFacts") -> bool:
    """Whether it was this rule; several may have one name, of different quantities."""
    same = trip.cause.partition(":")[0] == rule.name
    return same and (not trip.quantity or fnmatchcase(trip.quantity, rule.watch))
