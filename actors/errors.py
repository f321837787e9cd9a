"""What a fleet raises. It imports nothing, so that a program can name these without loading the fleet."""

NOT_NOW = frozenset({"busy", "store_away"})
"""Codes with which a fleet refuses what it did not decide, or not yet, and may decide soon: the same is sent again."""


class Halted(Exception):
    """The fleet stopped: nothing can be decided on a state that the store may not have. The text says why."""


class RefusedConfig(ValueError):
    """The configuration cannot be put in force on this fleet; the text says why."""


class Unanswered(TimeoutError):
    """No answer came in time. The command may still be carried out: send it again with the same id."""

    retry_after_seconds: float = 0.0
    """Not before; a server that is busy, or is restarted, may say so."""
