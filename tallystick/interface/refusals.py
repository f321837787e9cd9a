"""Refusals as exceptions: the code, the sentence, and the numbers that decided."""

from collections.abc import Mapping
from typing import Any, Final

_STOPS: Final = frozenset({"agent_stopped", "paused", "lease_lost", "preempted"})
_USED_UP: Final = frozenset({"level", "ancestor_stop", "fleet_response", "zero_budget"})
"""Whose budget is used up, where a refusal for lack of budget says so: then no call is granted, however small."""
_WAITS: Final = frozenset({"throttled", "wait_over", "too_many_waiting", "busy", "store_away"})


class Refused(Exception):
    """A request was refused: ``code`` is one of the codes of the reference, ``details`` the numbers that decided."""

    def __init__(self, code: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(code, message, details)
        self.code = code
        self.message = message
        self.details: Mapping[str, Any] = details or {}

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    @property
    def retry_after_seconds(self) -> float | None:
        """When the same request would be granted, if nothing else happens; None where waiting cannot help."""
        seconds = self.details.get("retry_after_seconds")
        return seconds if isinstance(seconds, int | float) else None

    @property
    def last_call(self) -> bool:
        """Whether what is left is kept for one last call (`Agent.last_call`), which was not made yet."""
        return self.details.get("last_call") is True


class Throttled(Refused):
    """Waiting can help: after ``retry_after_seconds``, where it is a number, the same request would be granted."""


class Stopped(Refused):
    """The agent or the run has to stop: by an order, a pause, the end of its budget, or because it lost its slot."""


def refusal(error: Mapping[str, Any]) -> Refused:
    """The exception for the ``error`` of a plain answer."""
    details = {name: value for name, value in error.items() if name not in ("code", "detail")}
    code, message = error["code"], error["detail"]
    if code in _WAITS or isinstance(details.get("retry_after_seconds"), int | float):
        return Throttled(code, message, details)
    if code in _STOPS or (code == "budget_exhausted" and details.get("decided_by") in _USED_UP):
        return Stopped(code, message, details)
    return Refused(code, message, details)
