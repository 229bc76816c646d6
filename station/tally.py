"""Verdicts of a run, counted as they come."""

from collections import Counter
from collections.abc import Iterable

from station.events import Verdict
from station.limits import worst
from station.recipes import ModuleRule


class Tally:
    """Verdicts of a run's readings and findings as they come."""

    def __init__(self) -> None:
        self._whole: list[tuple[Verdict, tuple[str, ...]]] = []
        self._channels: dict[int, tuple[Verdict, tuple[str, ...]]] = {}
        self._seen: dict[str, set[int | None]] = {}

    def add(self, verdict: Verdict, reasons: tuple[str, ...], channel: int | None) -> None:
        if channel is None:
            self._whole.append((verdict, reasons))
            return
        before, said = self._channels.get(channel, ("pass", ()))
        self._channels[channel] = (
            worst((before, verdict)),
            tuple(dict.fromkeys(said + reasons)),
        )

    def saw(self, quantity: str, channel: int | None) -> None:
        self._seen.setdefault(quantity, set()).add(channel)

    def miss(self, limited: Iterable[str]) -> None:
        """Count as unknown what has a limit but no reading: at all, or of a channel that others
        were read of."""
        seen = {quantity: self._seen.get(quantity, set()) for quantity in limited}
        channels = {channel for of in seen.values() for channel in of if channel is not None}
        for quantity, of in seen.items():
            if not of:
                self.add("unknown", (f"{quantity} was never measured",), None)
            elif None not in of:
                for channel in channels - of:
                    self.add("unknown", (f"{quantity} was never measured",), channel)

    def verdict(self, rule: ModuleRule | None) -> tuple[Verdict, tuple[str, ...]]:
        """Verdict of the run with its reasons; `rule` says how many bad channels are too many."""
        reasons = [reason for verdict, said in self._whole if verdict != "pass" for reason in said]
        verdicts = [verdict for verdict, _ in self._whole]
        if rule is None:
            verdicts += [verdict for verdict, _ in self._channels.values()]
        elif self._channels:
            verdicts.append(self._channel_verdict(rule))
        reasons += [
            f"channel {channel}: {reason}"
            for channel, (verdict, said) in sorted(self._channels.items())
            if verdict != "pass"
            for reason in said
        ]
        if not verdicts:
            return "unknown", ("nothing was measured",)
        return worst(verdicts), tuple(reasons)

    def _channel_verdict(self, rule: ModuleRule) -> Verdict:
        count = Counter(verdict for verdict, _ in self._channels.values())
        if count["fail"] > rule.max_failed_channels:
            return "fail"
        if count["unknown"] > rule.max_unknown_channels:
            return "unknown"
        if count["flag"] > rule.max_flagged_channels or count["fail"] or count["unknown"]:
            return "flag"
        return "pass"
