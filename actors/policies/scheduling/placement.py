"""Judging a submitted task: which task goes before it, whose slot it gets, and when it may start."""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager

from tallystick.actors.policies.scheduling.dispatch import Kept, pick
from tallystick.actors.policies.scheduling.expected_starts import FOREMOST, Expectation
from tallystick.actors.policies.scheduling.index import SchedulerIndex
from tallystick.actors.policies.scheduling.newcomer import Newcomer
from tallystick.actors.policies.scheduling.preemption import preempt
from tallystick.actors.policies.scheduling.queue import Queue
from tallystick.actors.policies.scheduling.slots import Left
from tallystick.actors.policies.scheduling.tasks import Kind, Waiting
from tallystick.events import messages as c
from tallystick.events.messages import proposals as p
from tallystick.events.state.task_rules import priority_of


def place(index: SchedulerIndex, wanted: c.SubmitTask, now: dt.datetime) -> p.PlaceTask:
    """Judge a submission. Whether there is room for it in the budgets and limits, the core finds by itself."""
    waiting = _waiting(index, wanted, now)
    if waiting is None:
        return p.PlaceTask(submitted=wanted)
    index.newcomer = Newcomer(index.ledger, wanted)
    try:
        return _judged(index, wanted, waiting, now)
    finally:
        index.newcomer = None


def _judged(index: SchedulerIndex, wanted: c.SubmitTask, waiting: Waiting, now: dt.datetime) -> p.PlaceTask:
    # A task of a priority that must not wait is aged at once.
    command = p.PlaceTask(submitted=wanted, aged=index.queue.ranking.is_aged_at_once(waiting.kind.priority))
    if not index.may_start(waiting):
        command.unknown = "held_up"
    elif not index.slots.full and _is_room(index.slots.left(waiting.kind)):
        command.behind, command.kept_for = _who_goes_first(index, waiting, now)
        if command.behind is not None or command.kept_for is not None:
            command.unknown = "behind_others"
    else:
        command.victim = _victim(index, waiting, now)
        if command.victim is None:
            expected = _expected(index, waiting, command.aged, now)
            if isinstance(expected, dt.datetime):
                command.expected_start = expected
            else:
                command.unknown = expected
    return command


def _waiting(index: SchedulerIndex, wanted: c.SubmitTask, now: dt.datetime) -> Waiting | None:
    """The submission as a waiting task; None where it will not wait for a slot."""
    tasks = index.tasks
    if tasks.is_open(wanted.task) or (wanted.depends_on and any(map(tasks.is_open, wanted.depends_on))):
        return None
    if wanted.parent is not None and wanted.parent not in index.ledger.accounts:
        return None
    priority = priority_of(index.config, wanted.product, wanted.priority)
    kind = Kind(wanted.product, wanted.agent_type, priority, wanted.parent)
    return Waiting(wanted.task, kind, now, tasks.submitted + 1, wanted.blocks)


def _is_room(left: Left) -> bool:
    total, of_type, of_product = left
    return (total is None or total > 0) and (of_type is None or of_type > 0) and (of_product is None or of_product > 0)


def _who_goes_first(index: SchedulerIndex, newcomer: Waiting, now: dt.datetime) -> tuple[str | None, str | None]:
    """The task that gets the slot that a newcomer could have, or the aged one for which what it needs is kept."""
    queue = index.queue
    if not len(queue):
        return None, None
    with _among(queue, newcomer):
        kept = Kept()
        first = pick(queue, index.slots, index.moment(now, newcomers=1), index.may_start, index.claims, kept)
    if first is not None:
        return None if first.waiting.task == newcomer.task else first.waiting.task, None
    return None, kept.older_than(newcomer, index.claims)


def _victim(index: SchedulerIndex, newcomer: Waiting, now: dt.datetime) -> str | None:
    """The running task whose slot a newcomer gets at once, if its priority may take one and it goes first."""
    if not index.may_preempt(newcomer.kind):
        return None
    with _among(index.queue, newcomer):
        moment = index.moment(now, newcomers=1)
        found = preempt(index.queue, index.slots, index.running(), moment, index.may_start, index.config, index.claims)
    return found.victim.task if found is not None and found.ranked.waiting.task == newcomer.task else None


def _expected(index: SchedulerIndex, newcomer: Waiting, aged: bool, now: dt.datetime) -> Expectation:
    """When a newcomer may start, where it is near enough to the front to be forecast, or why that is not known."""
    if len(index.queue) >= FOREMOST and not aged:
        return "far_behind"
    with _among(index.queue, newcomer):
        return index.expected(index.moment(now, newcomers=1)).get(newcomer.task, "far_behind")


@contextmanager
def _among(queue: Queue, newcomer: Waiting) -> Iterator[None]:
    """As if a newcomer waited already."""
    queue.add(newcomer)
    try:
        yield
    finally:
        queue.remove(newcomer.task)
