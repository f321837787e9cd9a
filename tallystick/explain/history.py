"""Where the newest event of each class is, by the agent or task that it is about: causes of what comes later."""

from tallystick.events import catalog as e

_SLOT_EVENTS = frozenset((e.TaskStarted, e.TaskPreempted, e.LeaseLost, e.TaskCompleted, e.TaskCancelled, e.TaskGivenUp))
"""After these there is one free slot more or less."""


class History:
    """Positions by class of event and by agent or task; events of the whole fleet are kept without a name."""

    def __init__(self) -> None:
        self._newest: dict[tuple[type[e.Event], str], int] = {}
        self.slot_changed_at: int | None = None
        """The position at which a slot was last taken or freed."""

    def fold(self, event: e.Event) -> None:
        self._newest[type(event), named_by(event)] = event.position
        if type(event) in _SLOT_EVENTS:
            self.slot_changed_at = event.position

    def newest(self, kind: type[e.Event], name: str = "") -> int | None:
        """The position of the newest event of a class: about this agent or task, or about the fleet."""
        is_about_one = "agent" in kind.__struct_fields__ or "task" in kind.__struct_fields__
        return self._newest.get((kind, name if is_about_one else ""))

    def since(self, kind: type[e.Event]) -> str:
        """The position of the newest event of a class, as the end of a sentence."""
        position = self.newest(kind)
        return "" if position is None else f", in force since position {position}"


def named_by(event: e.Event) -> str:
    """The agent or task that an event is about; "" where it is about the whole fleet."""
    return getattr(event, "agent", None) or getattr(event, "task", None) or ""
