"""Judging a submitted task: which task goes before it, whose slot it gets, and when it may start."""

import datetime as dt
import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from tallystick.actors.policies.scheduling.dispatch import pick
from tallystick.actors.policies.scheduling.expected_starts import FOREMOST, expected_starts
from tallystick.actors.policies.scheduling.index import SchedulerIndex
from tallystick.actors.policies.scheduling.preemption import preempt
from tallystick.actors.policies.scheduling.queue import Queue
from tallystick.actors.policies.scheduling.slots import Left
from tallystick.actors.policies.scheduling.tasks import Kind, Waiting
from tallystick.events import messages as c
from tallystick.events.messages import proposals as p
from tallystick.events.state.slot_time import micros
from tallystick.events.state.task_rules import priority_of


def place(index: SchedulerIndex, wanted: c.SubmitTask, now: dt.datetime) -> p.PlaceTask:
    """Judge a submission. Whether there is room for it in the budgets and limits, the core finds by itself."""
    waiting = _waiting(index, wanted, now)
    if waiting is None:
        return p.PlaceTask(submitted=wanted)
    command = _judged(index, wanted, waiting, now)
    if index.blocked:
        command.recently_blocked = _recently_blocked(index, waiting, now)
    return command


def _judged(index: SchedulerIndex, wanted: c.SubmitTask, waiting: Waiting, now: dt.datetime) -> p.PlaceTask:
    # A task of a priority that must not wait is aged at once.
    aged = index.queue.ranking.is_aged_at_once(waiting.kind.priority)
    if not index.may_start(waiting):
        return p.PlaceTask(submitted=wanted, aged=aged)
    if _is_room(index.slots.left(waiting.kind)):
        return p.PlaceTask(submitted=wanted, aged=aged, behind=_first_to_start(index, waiting, now))
    victim = _victim(index, waiting, now)
    expected = _expected(index, waiting, aged, now) if victim is None else None
    return p.PlaceTask(submitted=wanted, aged=aged, victim=victim, expected_start=expected)


def _recently_blocked(index: SchedulerIndex, newcomer: Waiting, now: dt.datetime) -> list[str]:
    """The tasks that rank higher and were refused: the reason may be gone, and they were not tried again since."""
    queue, moment = index.queue, index.moment(now, newcomers=1)
    own = queue.ranking.ordering(moment)(micros(now), newcomer)
    higher = itertools.takewhile(lambda head: head.order < own, queue.heads(moment))
    return [head.waiting.task for head in higher if head.waiting.kind in index.blocked]


def _waiting(index: SchedulerIndex, wanted: c.SubmitTask, now: dt.datetime) -> Waiting | None:
    """The submission as a waiting task; None where it will not wait for a slot."""
    tasks = index.tasks
    if tasks.is_open(wanted.task) or any(map(tasks.is_open, wanted.depends_on)):
        return None
    priority = priority_of(index.config, wanted.product, wanted.priority)
    kind = Kind(wanted.product, wanted.agent_type, priority, wanted.parent)
    return Waiting(wanted.task, kind, now, tasks.submitted + 1, wanted.blocks)


def _is_room(left: Left) -> bool:
    total, of_type, of_product = left
    return (total is None or total > 0) and (of_type is None or of_type > 0) and (of_product is None or of_product > 0)


def _first_to_start(index: SchedulerIndex, newcomer: Waiting, now: dt.datetime) -> str | None:
    """The task that gets the slot that a newcomer could have, if it is another: one that ranks higher, or keeps it."""
    queue = index.queue
    if not len(queue):
        return None
    with _among(queue, newcomer):
        moment = index.moment(now, newcomers=1)
        first = pick(queue, index.slots, moment, index.may_start)
    if first is not None:
        return None if first.waiting.task == newcomer.task else first.waiting.task
    keeps = (head.waiting for head in queue.heads(moment) if head.aged and _meet(head.waiting.kind, newcomer.kind))
    return next((waiting.task for waiting in keeps), None)


def _meet(one: Kind, other: Kind) -> bool:
    return one.agent_type == other.agent_type or one.product == other.product


def _victim(index: SchedulerIndex, newcomer: Waiting, now: dt.datetime) -> str | None:
    """The running task whose slot a newcomer gets at once, if its priority may take one and it goes first."""
    if not index.may_preempt(newcomer.kind):
        return None
    with _among(index.queue, newcomer):
        moment = index.moment(now, newcomers=1)
        found = preempt(index.queue, index.slots, index.running(), moment, index.may_start, index.config)
    return found.victim.task if found is not None and found.ranked.waiting.task == newcomer.task else None


def _expected(index: SchedulerIndex, newcomer: Waiting, aged: bool, now: dt.datetime) -> dt.datetime | None:
    """When a newcomer may start, where it is near enough to the front to be forecast."""
    if len(index.queue) >= FOREMOST and not aged:
        return None
    with _among(index.queue, newcomer):
        moment = index.moment(now, newcomers=1)
        starts = expected_starts(index.queue, index.slots, index.running(), moment, index.may_start, index.lasts)
    return starts.get(newcomer.task)


@contextmanager
def _among(queue: Queue, newcomer: Waiting) -> Iterator[None]:
    """As if a newcomer waited already."""
    queue.add(newcomer)
    try:
        yield
    finally:
        queue.remove(newcomer.task)
