"""Whether two histories decided the same at one step. What differs by its numbers only is the same decision."""

import datetime as dt
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import NamedTuple

import msgspec

from tallystick.actors.whatif.onlookers import Parting
from tallystick.events import catalog as e
from tallystick.events.replies import Enforcement, Refusal, Reply


class Told(msgspec.Struct, frozen=True):
    """What an agent was told with a reply."""

    agent: str = ""
    action: str = ""
    throttle_rate: float = 1.0
    wait_seconds: float = 0
    decided_by: str = ""
    model: str | None = None


class _Answer(msgspec.Struct):
    ok: Told | None = None


_read = msgspec.json.Decoder(_Answer).decode


def told_in(answered: bytes) -> Told | None:
    """What a recorded reply told an agent, where it told it what it may do."""
    told = _read(answered).ok
    return told if told is not None and told.action else None


def told_by(answer: Reply | Refusal | None) -> Told | None:
    """The same of a reply that was just made."""
    if not isinstance(answer, Enforcement):
        return None
    return Told(answer.agent, answer.action, answer.throttle_rate, answer.wait_seconds, answer.decided_by, answer.model)


class Difference(NamedTuple):
    """The first decision that differs: at which step of the log, and what was decided on either side.

    ``recorded`` and ``made`` are the first events that have no like on the other side, None where there is none. Where
    no event differs, ``told_in_log`` and ``told`` do. ``parting`` is there where the specialists parted at this step.
    """

    position: int
    at: dt.datetime
    by: str
    request: str
    recorded: e.Event | None
    made: e.Event | None
    told_in_log: Told | None = None
    told: Told | None = None
    parting: Parting | None = None


_DECIDING: dict[type[e.Event], tuple[str, ...]] = {
    e.LevelChanged: ("agent", "before", "level"),
    e.FleetResponseChanged: ("before", "response"),
    e.RequestRefused: ("request", "code", "agent"),
    e.Covered: ("source", "target"),
    e.CoverRepaid: ("source", "target"),
    e.UnusedReturned: ("agent",),
    e.UnusedRestored: ("agent",),
    e.ReserveDrawn: ("agent",),
    e.BudgetReleased: ("agent",),
    e.PoolExhausted: (),
    e.ExhaustionWarned: ("agent",),
    e.PeriodRenewed: ("began_at",),
}
"""Of these events, what was decided; the rest are numbers that follow from the amounts. Of others all fields count."""
_FOLLOWING = (e.AlertRaised, e.AlertDeliveryFailed, e.TotalBudgetSet)
"""An alert follows from another decision, and so does its end; the total is what is asked about."""
_PAYING = (e.Covered, e.CoverRepaid)
"""Who pays follows from amounts: it is named only where nothing else differs."""
_HEAD = frozenset(e.Event.__struct_fields__)
_FIELDS = {kind: tuple(name for name in kind.__struct_fields__ if name not in _HEAD) for kind in e.CATALOG}


def _decisions(events: Iterable[e.Event], but: tuple[type[e.Event], ...]) -> list[e.Event]:
    return [event for event in events if event.kind == "decision" and not isinstance(event, but)]


def _substance(event: e.Event) -> tuple[object, ...]:
    kind = type(event)
    return (kind, *(getattr(event, name) for name in _DECIDING.get(kind, _FIELDS[kind])))


def first_unlike(recorded: Sequence[e.Event], made: Sequence[e.Event]) -> tuple[e.Event | None, e.Event | None] | None:
    """The first decision on either side that has no like on the other, or None where all are alike."""
    for but in ((*_FOLLOWING, *_PAYING), _FOLLOWING):
        for theirs, ours in zip_longest(_decisions(recorded, but), _decisions(made, but)):
            if theirs is None or ours is None or _substance(theirs) != _substance(ours):
                return theirs, ours
    return None


def is_like(told_in_log: Told | None, told: Told | None) -> bool:
    """Whether an agent was told the same; where only one side answered, there is nothing to compare."""
    if told_in_log is None or told is None:
        return True
    return (told_in_log.action, told_in_log.throttle_rate, told_in_log.model) == (
        told.action,
        told.throttle_rate,
        told.model,
    )
