"""What a reader of a log raises where it is broken. It imports nothing, as `actors/errors.py`."""


class BrokenChain(ValueError):
    """A stored record is not what was written: names the first bad position and what is wrong with it."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"position {position}: {reason}")
        self.position = position
        self.reason = reason


class NewerLog(BrokenChain):
    """A record says what only a newer version of tallystick knows: it is not damaged. The text says what to do."""
