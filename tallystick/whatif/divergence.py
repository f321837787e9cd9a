"""Whether two histories decided the same at one step. What differs by its numbers only is the same decision."""

import datetime as dt
from collections.abc import Iterable
from itertools import zip_longest
from typing import NamedTuple

import msgspec

from tallystick.actors.runtime.fleet import specialists
from tallystick.actors.runtime.messages import ALLOCATOR
from tallystick.events import catalog as e
from tallystick.events.decide.turn import CLOCK
from tallystick.events.messages.replies import Enforcement, Refusal, Reply
from tallystick.whatif.steps import Step

SAME_MOMENT = dt.timedelta(seconds=1)
"""The people of a fleet act when their thread gets its turn: what differs by less does not differ."""


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
    """The first decision that differs: at which message of the log, and what was decided on either side.

    ``recorded`` and ``made`` are the first events that have no like on the other side, None where there is none. Where
    no event differs, ``told_in_log`` and ``told`` do. ``request`` is empty where nobody asked: a specialist proposed it
    (``by``), or its time had come. ``position`` is the log's by then.
    """

    position: int
    at: dt.datetime
    by: str
    request: str
    recorded: e.Event | None
    made: e.Event | None
    told_in_log: Told | None = None
    told: Told | None = None


class Answered(NamedTuple):
    """A message of the log, and what its agent was told on either side."""

    request: str
    told_in_log: Told | None = None
    told: Told | None = None


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
    e.BudgetMoved: ("source", "target", "amount", "strategy"),
    e.PeriodRenewed: ("began_at",),
    e.TaskQueued: ("task", "code"),
    e.TaskRejected: ("task", "code"),
    e.TaskStarted: ("task", "attempt", "model", "token_budget", "max_tokens", "aged"),
    e.LeaseExtended: ("task",),
    e.TokenBudgetPassed: ("task",),
    e.TaskPreempted: ("task", "beneficiary"),
    e.LeaseLost: ("task", "attempt", "then"),
    e.TaskOverdue: ("task",),
    e.DayBegan: ("date",),
    e.BreakerTripped: ("condition",),
}
"""Of these events, what was decided; the rest are numbers that follow from the amounts. Of others all fields count."""
_FOLLOWING = (
    *(e.AlertRaised, e.AlertDeliveryFailed, e.TotalBudgetSet, e.Rebalanced),
    *(e.ForecastMade, e.ForecastScored, e.RunLearned, e.AnomalyFound, e.StartsExpected, e.EstimateAdjusted),
)
"""An alert and its end follow from another decision, the total is what is asked about, and a plan is its moves. What was foretold
and learnt grants and refuses nothing."""
_PAYING = (e.Covered, e.CoverRepaid)
"""Who pays follows from amounts: it is named only where nothing else differs."""
_IN_THEIR_OWN_TIME = frozenset({ALLOCATOR, *(specialist.name for specialist in specialists()), CLOCK})
"""Who acts when a thread gets its turn, and not when a message comes."""
_HEAD = frozenset(e.Event.__struct_fields__)
_FIELDS = {kind: tuple(name for name in kind.__struct_fields__ if name not in _HEAD) for kind in e.CATALOG}


def _is_decision(event: e.Event) -> bool:
    # The account of a run follows from its start.
    follows = isinstance(event, _FOLLOWING) or (isinstance(event, e.BudgetAllocated) and event.for_task)
    return event.kind == "decision" and not follows


def _substance(event: e.Event) -> tuple[object, ...]:
    kind = type(event)
    return (kind, *(getattr(event, name) for name in _DECIDING.get(kind, _FIELDS[kind])))


Pair = tuple[e.Event | None, e.Event | None]


def _first_unlike(recorded: Iterable[e.Event], made: Iterable[e.Event]) -> Pair | None:
    """The first decision on either side that has no like on the other, or None where all are alike."""
    for but in (_PAYING, ()):
        theirs = [event for event in recorded if not isinstance(event, but)]
        ours = [event for event in made if not isinstance(event, but)]
        for one, other in zip_longest(theirs, ours):
            if one is None or other is None or _substance(one) != _substance(other):
                return one, other
    return None


class Comparison:
    """Both histories, step by step, until a decision differs.

    What a message led to is compared at once. What a specialist proposed, or the clock brought, may come a moment later
    on one side, between other messages: it waits for its like.
    """

    def __init__(self) -> None:
        self._recorded: list[tuple[int, e.Event]] = []
        self._made: list[tuple[int, e.Event]] = []

    def step(
        self, step: Step, asked: Answered | None, recorded: Iterable[e.Event], made: Iterable[e.Event]
    ) -> Difference | None:
        """Compare what a step led to, and what happened on the way to it; ``asked`` is None where it asked nothing."""
        position = step.records[0].position
        ours: list[e.Event] = []
        theirs: list[e.Event] = []
        for events, waiting, others in ((recorded, self._recorded, theirs), (made, self._made, ours)):
            for event in filter(_is_decision, events):
                if event.by in _IN_THEIR_OWN_TIME:
                    waiting.append((position, event))
                else:
                    others.append(event)
        unlike = _first_unlike(theirs, ours)
        request, told_in_log, told = asked or Answered("")
        if unlike is not None or not is_like(told_in_log, told):
            return Difference(position, step.at, step.by, request, *(unlike or (None, None)), told_in_log, told)
        return self._late(step.at)

    def end(self) -> Difference | None:
        """Whatever still waits has no like."""
        return self._late(None)

    def _late(self, now: dt.datetime | None) -> Difference | None:
        """What has waited for its like in vain, or has met something else about the same."""
        if not self._recorded and not self._made:
            return None
        for theirs in list(self._recorded):
            for ours in list(self._made):
                if _is_same_moment(theirs[1], ours[1]) and _substance(theirs[1]) == _substance(ours[1]):
                    self._recorded.remove(theirs)
                    self._made.remove(ours)
                    break
        for theirs in self._recorded:
            for ours in self._made:
                if _is_same_moment(theirs[1], ours[1]) and _about(theirs[1]) == _about(ours[1]):
                    return _late_difference(theirs, theirs[1], ours[1])
        waiting = [*self._recorded, *self._made]
        if not waiting:
            return None
        oldest = min(waiting, key=lambda entry: entry[1].at)
        if now is not None and now - oldest[1].at < SAME_MOMENT:
            return None
        is_theirs = bool(self._recorded) and oldest is self._recorded[0]
        return _late_difference(oldest, *((oldest[1], None) if is_theirs else (None, oldest[1])))


def _is_same_moment(one: e.Event, other: e.Event) -> bool:
    return abs(one.at - other.at) < SAME_MOMENT


def _about(event: e.Event) -> tuple[object, ...]:
    """What an event decides about, whatever it decides."""
    names = (getattr(event, name, None) for name in ("agent", "source", "target", "hold", "task"))
    return (type(event), *names)


def _late_difference(entry: tuple[int, e.Event], theirs: e.Event | None, ours: e.Event | None) -> Difference:
    position, event = entry
    return Difference(position if theirs is None else theirs.position, event.at, event.by, "", theirs, ours)


def is_like(told_in_log: Told | None, told: Told | None) -> bool:
    """Whether an agent was told the same; where only one side answered, there is nothing to compare."""
    if told_in_log is None or told is None:
        return True
    return (told_in_log.action, told_in_log.throttle_rate, told_in_log.model) == (
        told.action,
        told.throttle_rate,
        told.model,
    )
