"""The allocator's judgement of a submitted task: who goes before it, whose slot it gets, when it may start."""

import datetime as dt
import itertools
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from tallystick.actors.policies.dispatch import MayStart, pick
from tallystick.actors.policies.preemption import preempt
from tallystick.actors.policies.queue import Queue
from tallystick.actors.policies.scheduler_index import SchedulerIndex
from tallystick.actors.policies.slots import Left
from tallystick.actors.policies.tasks import Kind, Waiting
from tallystick.actors.policies.waiting import FOREMOST, expected_starts
from tallystick.events import messages as c
from tallystick.events.state.slot_time import micros
from tallystick.events.state.task_rules import priority_of


class Placement(NamedTuple):
    """What the allocator thinks of a newcomer; see `PlaceTask`."""

    aged: bool = False
    behind: str | None = None
    recently_blocked: Sequence[str] = ()
    victim: str | None = None
    expected_start: dt.datetime | None = None


def place(
    roster: SchedulerIndex, wanted: c.SubmitTask, now: dt.datetime, may_start: MayStart, refused: Collection[Kind]
) -> Placement:
    """Judge a submission. The law finds by itself that there is no slot for it, and says so.

    ``refused`` are kinds of which one was refused lately, so that ``may_start`` says no.
    """
    waiting = _waiting(roster, wanted, now)
    if waiting is None:
        return Placement()
    placement = _judged(roster, waiting, now, may_start)
    return (
        placement._replace(recently_blocked=_recently_blocked(roster, waiting, now, refused)) if refused else placement
    )


def _judged(roster: SchedulerIndex, waiting: Waiting, now: dt.datetime, may_start: MayStart) -> Placement:
    # A level that must not wait is aged at once.
    aged = roster.queue.ranking.is_aged_at_once(waiting.kind.priority)
    if not may_start(waiting):
        return Placement(aged)
    if _is_room(roster.slots.left(waiting.kind)):
        return Placement(aged, _first_to_start(roster, waiting, now, may_start))
    victim = _victim(roster, waiting, now, may_start)
    expected = _expected(roster, waiting, aged, now, may_start) if victim is None else None
    return Placement(aged, victim=victim, expected_start=expected)


def _recently_blocked(
    roster: SchedulerIndex, newcomer: Waiting, now: dt.datetime, refused: Collection[Kind]
) -> list[str]:
    """Who ranks higher and was refused: what was in the way then may be so no more, and nobody has looked since."""
    queue, moment = roster.queue, roster.moment(now, newcomers=1)
    own = queue.ranking.ordering(moment)(micros(now), newcomer)
    higher = itertools.takewhile(lambda head: head.order < own, queue.heads(moment))
    return [head.waiting.task for head in higher if head.waiting.kind in refused]


def _waiting(roster: SchedulerIndex, wanted: c.SubmitTask, now: dt.datetime) -> Waiting | None:
    """The submission as a waiting task; None where it does not come to that."""
    known = roster.tasks.known
    if wanted.task in known or any(name in known for name in wanted.depends_on):
        return None
    level = priority_of(roster.config, wanted.product, wanted.priority)
    kind = Kind(wanted.product, wanted.agent_type, level, wanted.parent)
    return Waiting(wanted.task, kind, now, roster.tasks.submitted + 1, wanted.blocks)


def _is_room(left: Left) -> bool:
    total, of_type, of_product = left
    return (total is None or total > 0) and (of_type is None or of_type > 0) and (of_product is None or of_product > 0)


def _first_to_start(roster: SchedulerIndex, newcomer: Waiting, now: dt.datetime, may_start: MayStart) -> str | None:
    """Who gets the slot that a newcomer could have, if it is another: one that ranks higher, or keeps it."""
    queue = roster.queue
    if not len(queue):
        return None
    with _among(queue, newcomer):
        moment = roster.moment(now, newcomers=1)
        first = pick(queue, roster.slots, moment, may_start)
    if first is not None:
        return None if first.waiting.task == newcomer.task else first.waiting.task
    keeps = (head.waiting for head in queue.heads(moment) if head.aged and _meet(head.waiting.kind, newcomer.kind))
    return next((waiting.task for waiting in keeps), None)


def _meet(one: Kind, other: Kind) -> bool:
    return one.agent_type == other.agent_type or one.product == other.product


def _victim(roster: SchedulerIndex, newcomer: Waiting, now: dt.datetime, may_start: MayStart) -> str | None:
    """The running task whose slot a newcomer gets at once, if its level may take one and it is the first to do so."""
    if not roster.config.priority_levels.of(newcomer.kind.priority).preempt_lower:
        return None
    with _among(roster.queue, newcomer):
        moment = roster.moment(now, newcomers=1)
        found = preempt(roster.queue, roster.slots, roster.running(), moment, may_start, roster.config)
    return found.victim.task if found is not None and found.ranked.waiting.task == newcomer.task else None


def _expected(
    roster: SchedulerIndex, newcomer: Waiting, aged: bool, now: dt.datetime, may_start: MayStart
) -> dt.datetime | None:
    """When a newcomer may start, where it is near enough to the front for anybody to tell."""
    if len(roster.queue) >= FOREMOST and not aged:
        return None
    with _among(roster.queue, newcomer):
        moment = roster.moment(now, newcomers=1)
        starts = expected_starts(roster.queue, roster.slots, roster.running(), moment, may_start, roster.lasts)
    return starts.get(newcomer.task)


@contextmanager
def _among(queue: Queue, newcomer: Waiting) -> Iterator[None]:
    """As if a newcomer waited already."""
    queue.add(newcomer)
    try:
        yield
    finally:
        queue.remove(newcomer.task)
