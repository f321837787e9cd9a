"""The allocator's judgement of a submitted task: who goes before it, whose slot it gets, when it may start."""

import datetime as dt
from collections.abc import Iterable
from typing import NamedTuple

from tallystick.actors.policies.dispatch import MayStart, pick
from tallystick.actors.policies.preemption import preempt
from tallystick.actors.policies.queue import Ranked
from tallystick.actors.policies.ranking import Order, is_aged
from tallystick.actors.policies.slots import Left
from tallystick.actors.policies.tasks import Kind, Waiting
from tallystick.actors.policies.waiting import FOREMOST, expected_starts
from tallystick.actors.roster import Roster
from tallystick.events import commands as c
from tallystick.events.amounts import InvalidAmount
from tallystick.events.slot_time import micros
from tallystick.events.task_rules import exact_minutes, priority_of

_MILLISECOND = dt.timedelta(milliseconds=1)


class Newcomer(NamedTuple):
    """A task that was submitted and is not on record yet, where it stands."""

    order: Order
    waiting: Waiting


class Placement(NamedTuple):
    """What the allocator thinks of a newcomer; see `PlaceTask`."""

    newcomer: Newcomer | None = None
    behind: str | None = None
    victim: str | None = None
    expected_start: dt.datetime | None = None


class Scene:
    """The queue at one moment: what newcomers that come together are judged by."""

    def __init__(self, roster: Roster, now: dt.datetime) -> None:
        self.roster = roster
        self.now = now
        self.moment = roster.moment(now, newcomers=1)
        self._heads: list[Ranked] | None = None

    @property
    def heads(self) -> list[Ranked]:
        """The first of each group, best first."""
        if self._heads is None:
            self._heads = list(self.roster.queue.heads(self.moment))
        return self._heads


def place(scene: Scene, wanted: c.SubmitTask, before: list[Newcomer], may_start: MayStart) -> Placement:
    """Judge a submission. ``before`` are the newcomers that were judged and are not on record yet, best first."""
    roster, moment = scene.roster, scene.moment
    waiting = _waiting(roster, wanted, len(before), scene.now)
    if waiting is None:
        return Placement()
    stamp = micros(scene.now)
    newcomer = Newcomer(roster.queue.ranking.ordering(moment)(stamp, waiting), waiting)
    if not may_start(waiting):
        return Placement(newcomer)
    left = roster.slots.left(waiting.kind)
    if _is_room(left):
        return Placement(newcomer, _first_to_start(scene, newcomer, may_start))
    behind = _first_before(scene, newcomer, before, may_start, left)
    victim = _victim(scene, newcomer, may_start)
    expected = None if victim is not None else _expected(scene, newcomer, may_start)
    return Placement(newcomer, behind, victim, expected)


def _waiting(roster: Roster, wanted: c.SubmitTask, before: int, now: dt.datetime) -> Waiting | None:
    """The submission as a waiting task; None where it does not come to that."""
    known = roster.tasks.known
    if wanted.task in known or any(name in known for name in wanted.depends_on):
        return None
    try:
        estimated_ms = exact_minutes(wanted.estimated_minutes, "estimated_minutes")
    except InvalidAmount:
        return None  # the law refuses it in its words
    if estimated_ms is None:
        memory = roster.estimates
        estimated_ms = memory.estimate(wanted.agent_type, wanted.product, wanted.model).elapsed_ms
        if estimated_ms is None:
            estimated_ms = memory.usual_ms(wanted.agent_type, wanted.product, wanted.model)
    level = priority_of(roster.config, wanted.product, wanted.priority)
    return Waiting(
        wanted.task,
        Kind(wanted.product, wanted.agent_type, level, wanted.parent),
        now,
        roster.tasks.submitted + before + 1,
        wanted.blocks,
        None if estimated_ms is None else estimated_ms * _MILLISECOND,
    )


def _is_room(left: Left) -> bool:
    return all(slots is None or slots > 0 for slots in left)


def _first_to_start(scene: Scene, newcomer: Newcomer, may_start: MayStart) -> str | None:
    """Who gets the slot that a newcomer could have, if it is another: one that ranks higher, or keeps it."""
    queue = scene.roster.queue
    if not len(queue):
        return None
    queue.add(newcomer.waiting)
    try:
        first = pick(queue, scene.roster.slots, scene.moment, may_start)
    finally:
        queue.remove(newcomer.waiting.task)
    if first is not None:
        return None if first.waiting.task == newcomer.waiting.task else first.waiting.task
    kind = newcomer.waiting.kind
    keeps = (head for head in scene.heads if head.aged and _meet(head.waiting.kind, kind))
    return next((head.waiting.task for head in keeps), None)


def _meet(one: Kind, other: Kind) -> bool:
    return one.agent_type == other.agent_type or one.product == other.product


def _first_before(
    scene: Scene, newcomer: Newcomer, before: Iterable[Newcomer], may_start: MayStart, left: Left
) -> str | None:
    """Who would get the next slot that a newcomer could have: the first that ranks higher and lacks the same one."""
    for order, waiting in before:
        if order >= newcomer.order:
            break
        if _lacks_the_same(waiting.kind, newcomer.waiting.kind, left):
            return waiting.task
    for head in scene.heads:
        if head.order >= newcomer.order:
            break
        if _lacks_the_same(head.waiting.kind, newcomer.waiting.kind, left) and may_start(head.waiting):
            return head.waiting.task
    return None


def _lacks_the_same(one: Kind, other: Kind, left: Left) -> bool:
    """Whether two kinds share a limit that is reached; ``left`` is what is left for ``other``."""
    return (
        (left.total is not None and left.total <= 0)
        or (left.agent_type is not None and left.agent_type <= 0 and one.agent_type == other.agent_type)
        or (left.product is not None and left.product <= 0 and one.product == other.product)
    )


def _victim(scene: Scene, newcomer: Newcomer, may_start: MayStart) -> str | None:
    """The running task whose slot a newcomer gets at once, if its level may take one and it is the first to do so."""
    roster, task = scene.roster, newcomer.waiting.task
    if not roster.config.priority_levels.of(newcomer.waiting.kind.priority).preempt_lower:
        return None
    roster.queue.add(newcomer.waiting)
    try:
        found = preempt(roster.queue, roster.slots, roster.running(), scene.moment, may_start, roster.config)
    finally:
        roster.queue.remove(task)
    return found.victim.task if found is not None and found.ranked.waiting.task == task else None


def _expected(scene: Scene, newcomer: Newcomer, may_start: MayStart) -> dt.datetime | None:
    """When a newcomer may start, where it is near enough to the front for anybody to tell."""
    roster, task = scene.roster, newcomer.waiting.task
    if len(roster.queue) >= FOREMOST and newcomer.order > scene.heads[0].order:
        return None
    roster.queue.add(newcomer.waiting)
    try:
        return expected_starts(roster.queue, roster.slots, roster.running(), scene.moment, may_start).get(task)
    finally:
        roster.queue.remove(task)


def is_aged_newcomer(placement: Placement) -> bool:
    """Whether a newcomer goes before all that are not aged: a level that must not wait is aged at once."""
    return placement.newcomer is not None and is_aged(placement.newcomer.order)
