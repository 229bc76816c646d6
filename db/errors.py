"""What the records refuse, and where."""


class StoreError(Exception):
    """A record could not be written, read or opened.

    `what` says what was refused and why, `where` names the database or file it concerns.
    """

    def __init__(self, what: str, where: object) -> None:
        super().__init__(f"{what} ({where})")
        self.what = what
        self.where = str(where)
