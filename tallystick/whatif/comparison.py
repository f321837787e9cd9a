"""The first decision that differs between two histories. What differs by its numbers only is the same decision."""

import datetime as dt
from collections.abc import Iterable
from itertools import zip_longest
from typing import NamedTuple

import msgspec

from tallystick.actors.runtime.messages import ALLOCATOR
from tallystick.actors.runtime.team import specialists
from tallystick.events import catalog as e
from tallystick.events.decide.turn import CLOCK
from tallystick.events.messages.replies import Enforcement, Refusal, Reply
from tallystick.whatif.steps import Step

SAME_MOMENT = dt.timedelta(seconds=1)
"""Specialists act when their thread gets its turn: moments that differ by less do not differ."""


class Instruction(msgspec.Struct, frozen=True):
    """What a reply instructs an agent to do."""

    agent: str = ""
    action: str = ""
    throttle_rate: float = 1.0
    wait_seconds: float = 0
    decided_by: str = ""
    model: str | None = None

    def is_like(self, other: "Instruction") -> bool:
        """Both instruct to do the same, whatever the numbers are that follow from amounts."""
        return (self.action, self.throttle_rate, self.model) == (other.action, other.throttle_rate, other.model)


class _Reply(msgspec.Struct):
    ok: Instruction | None = None


_read = msgspec.json.Decoder(_Reply).decode


def recorded_instruction(reply: bytes) -> Instruction | None:
    """What a recorded reply instructs an agent to do; None where it is no such reply."""
    instruction = _read(reply).ok
    return instruction if instruction is not None and instruction.action else None


def new_instruction(answer: Reply | Refusal | None) -> Instruction | None:
    """The same of a reply that was just made."""
    if not isinstance(answer, Enforcement):
        return None
    return Instruction(
        answer.agent, answer.action, answer.throttle_rate, answer.wait_seconds, answer.decided_by, answer.model
    )


class Answered(NamedTuple):
    """A message of the log, and what its agent was instructed to do in the log and in the other history."""

    request: str
    recorded: Instruction | None = None
    other: Instruction | None = None


class Difference(NamedTuple):
    """The first decision that differs: at which message of the log, and what was decided in the log and in the other
    history.

    ``recorded`` and ``other`` are the first events without a counterpart, None where there is none. Where no event
    differs, the instructions in ``answered`` do. Its request is empty where there was no message: a specialist
    proposed it (``by``), or its time had come. ``position`` is the log's by then.
    """

    position: int
    at: dt.datetime
    by: str
    recorded: e.Event | None
    other: e.Event | None
    answered: Answered = Answered("")


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
    e.LimitWindowsBegan: (),
    e.BreakerTripped: ("condition",),
}
"""What was decided in these events; the rest are numbers that follow from amounts. Of other events all fields count."""
_CONSEQUENCES = (
    *(e.AlertRaised, e.AlertDeliveryFailed, e.LimitLine, e.TotalBudgetSet, e.Rebalanced),
    *(e.ForecastMade, e.ForecastScored, e.RunLearned, e.AnomalyFound, e.StartsExpected, e.EstimateAdjusted),
)
"""Alerts follow from other decisions, the total is part of the question, and a plan is its moves. What was forecast and
learnt grants and refuses nothing."""
_PAYING = (e.Covered, e.CoverRepaid)
"""Who pays follows from amounts: it is named only where nothing else differs."""
_IN_THEIR_OWN_TIME = frozenset({ALLOCATOR, *(specialist.name for specialist in specialists()), CLOCK})
"""Those that act when a thread gets its turn, and not when a message comes."""
_HEAD = frozenset(e.Event.__struct_fields__)
_FIELDS = {kind: tuple(name for name in kind.__struct_fields__ if name not in _HEAD) for kind in e.CATALOG}


class Comparison:
    """Both histories, step by step, until a decision differs.

    What a message led to is compared at once. What a specialist proposed, or the clock brought, may come a moment later
    on one side, between other messages: it waits for its counterpart.
    """

    def __init__(self) -> None:
        self._recorded: list[tuple[int, e.Event]] = []
        self._other: list[tuple[int, e.Event]] = []

    def step(
        self, step: Step, answered: Answered | None, recorded: Iterable[e.Event], other: Iterable[e.Event]
    ) -> Difference | None:
        """Compare what a step led to, and what happened on the way to it. ``answered`` is None for a step without a
        message.
        """
        position = step.position
        in_log = _sorted_out(recorded, self._recorded, position)
        elsewhere = _sorted_out(other, self._other, position)
        unlike = _first_unlike(in_log, elsewhere)
        answered = answered or Answered("")
        # Where only one of the two answered, there is nothing to compare.
        is_like = answered.recorded is None or answered.other is None or answered.recorded.is_like(answered.other)
        if unlike is not None or not is_like:
            return Difference(position, step.at, step.by, *(unlike or (None, None)), answered)
        return self._late(step.at)

    def end(self) -> Difference | None:
        """The first event that still waits has no counterpart."""
        return self._late(None)

    def _late(self, now: dt.datetime | None) -> Difference | None:
        """An event whose counterpart did not come in time, or was another decision about the same."""
        if not self._recorded and not self._other:
            return None
        for ours in list(self._recorded):
            for theirs in list(self._other):
                if _is_same_moment(ours[1], theirs[1]) and _decision(ours[1]) == _decision(theirs[1]):
                    self._recorded.remove(ours)
                    self._other.remove(theirs)
                    break
        for ours in self._recorded:
            for theirs in self._other:
                if _is_same_moment(ours[1], theirs[1]) and _about(ours[1]) == _about(theirs[1]):
                    return _difference(ours, ours[1], theirs[1])
        waiting = [*self._recorded, *self._other]
        if not waiting:
            return None
        oldest = min(waiting, key=lambda entry: entry[1].at)
        if now is not None and now - oldest[1].at < SAME_MOMENT:
            return None
        is_recorded = bool(self._recorded) and oldest is self._recorded[0]
        return _difference(oldest, *((oldest[1], None) if is_recorded else (None, oldest[1])))


def _sorted_out(events: Iterable[e.Event], waiting: list[tuple[int, e.Event]], position: int) -> list[e.Event]:
    """The decisions that are compared at once; the others are put to those that wait."""
    at_once = []
    for event in filter(_is_decision, events):
        if event.by in _IN_THEIR_OWN_TIME:
            waiting.append((position, event))
        else:
            at_once.append(event)
    return at_once


def _is_decision(event: e.Event) -> bool:
    # The account of a run follows from its start.
    follows = isinstance(event, _CONSEQUENCES) or (isinstance(event, e.BudgetAllocated) and event.for_task)
    return event.kind == "decision" and not follows


def _decision(event: e.Event) -> tuple[object, ...]:
    """What was decided in an event."""
    kind = type(event)
    return (kind, *(getattr(event, name) for name in _DECIDING.get(kind, _FIELDS[kind])))


def _about(event: e.Event) -> tuple[object, ...]:
    """What an event decides about, whatever it decides."""
    names = (getattr(event, name, None) for name in ("agent", "source", "target", "hold", "task"))
    return (type(event), *names)


def _first_unlike(
    recorded: Iterable[e.Event], other: Iterable[e.Event]
) -> tuple[e.Event | None, e.Event | None] | None:
    """The first decision on either side without a counterpart on the other, or None where all are alike."""
    for left_out in (_PAYING, ()):
        ours = [event for event in recorded if not isinstance(event, left_out)]
        theirs = [event for event in other if not isinstance(event, left_out)]
        for one, two in zip_longest(ours, theirs):
            if one is None or two is None or _decision(one) != _decision(two):
                return one, two
    return None


def _is_same_moment(one: e.Event, other: e.Event) -> bool:
    return abs(one.at - other.at) < SAME_MOMENT


def _difference(entry: tuple[int, e.Event], recorded: e.Event | None, other: e.Event | None) -> Difference:
    position, event = entry
    return Difference(position if recorded is None else recorded.position, event.at, event.by, recorded, other)
