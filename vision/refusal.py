"""Why something can't be measured; never leaves this package."""


class Refusal(Exception):  # noqa: N818
    """Nothing trustworthy can be measured, for these reasons."""

    def __init__(self, *reasons: str) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons
