"""The specialists that were given up, and what is answered in their place: at once, and with the reason."""

from collections.abc import Mapping, Sequence

from tallystick.actors.runtime.messages import REALLOCATOR, TRACKER
from tallystick.actors.runtime.pending import refused

_ASKS: Mapping[str, Sequence[str]] = {REALLOCATOR: (TRACKER,)}
"""Whom a specialist asks before it can answer."""

AWAY_SECONDS = 1
"""When to ask again while the store is away."""


class Missing:
    """Those that failed too often to be replaced, each with its last error."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._reasons

    def add(self, name: str, reason: str) -> None:
        """A specialist is there no more."""
        self._reasons[name] = reason

    def answer_for(self, judge: str) -> bytes | None:
        """What is answered in the place of ``judge``, where it or whom it asks was given up; None where it can."""
        if not self._reasons:
            return None
        name = next((one for one in (judge, *_ASKS.get(judge, ())) if one in self._reasons), None)
        if name is None:
            return None
        text = f"the {name} has failed too often and does not answer any more: start the fleet again"
        return refused("specialist_given_up", f"{text} ({self._reasons[name]})", specialist=name)


def halted_answer(reason: str) -> bytes:
    """What a halted fleet answers. After a restart the same message with the same id shows whether it was done."""
    detail = f"the fleet has stopped and must be started again: {reason}"
    return refused("halted", detail)


def away_answer(reason: str) -> bytes:
    """What a fleet answers whose store is away. The same message with the same id shows whether it was done."""
    detail = f"the fleet cannot reach its store, and answers when it can: {reason}"
    return refused("store_away", detail, retry_after_seconds=AWAY_SECONDS)
