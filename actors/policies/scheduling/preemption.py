"""Whose slot goes to a task that must not wait (spec 3, "Preemption").

A task whose priority has ``preempt_lower`` and that finds no slot takes one from a running task of lower priority: the
lowest first, of those the one that has run the shortest, and only where that frees all that is missing. Safe from it is
a task that was aged when it was admitted, or was preempted within ``preemption_cooldown_minutes``.

**No livelock.** Each preemption puts a task of higher priority in the place of one of lower priority. So a slot
changes hands at most once per priority that preempts before a task completes, whatever waits; and a task that was
preempted again and again is aged in the end, and then runs to its end.
"""

import datetime as dt
from collections.abc import Iterable
from typing import NamedTuple

from tallystick.actors.policies.scheduling.dispatch import Claims, Kept, MayStart, no_claims
from tallystick.actors.policies.scheduling.queue import Queue, Ranked
from tallystick.actors.policies.scheduling.ranking import Moment
from tallystick.actors.policies.scheduling.slots import Left, Slots
from tallystick.actors.policies.scheduling.tasks import LEVEL, Kind, Running
from tallystick.config.settings import Config
from tallystick.events.state.calendar import later
from tallystick.events.state.slot_time import micros


class Preemption(NamedTuple):
    """A waiting task, and the running one whose slot it gets."""

    ranked: Ranked
    victim: Running


def preempt(
    queue: Queue,
    slots: Slots,
    running: Iterable[Running],
    moment: Moment,
    may_start: MayStart,
    config: Config,
    claims: Claims = no_claims,
) -> Preemption | None:
    """The preemption to make now, or None. Asked when `pick` finds no task that can start."""
    preempting = {priority for priority in LEVEL if config.priority_levels.of(priority).preempt_lower}
    if preempting.isdisjoint(queue.priorities):
        return None
    victims = _victims(running, moment.now, _cooldown(config))
    if not victims:
        return None
    kept = Kept()
    for head in queue.heads(moment):
        waiting, kind = head.waiting, head.waiting.kind
        preempts = kind.priority in preempting
        if not (preempts or head.aged):
            continue
        left, starts = slots.left(kind), may_start(waiting)
        if preempts and starts and kept.pays(waiting, claims):
            victim = _victim(victims, kind, kept, left)
            if victim is not None:
                return Preemption(head, victim)
        if head.aged:
            kept.keep_for(waiting, left, claims, slots=starts)
    return None


def next_victim_at(running: Iterable[Running], now: dt.datetime, config: Config) -> dt.datetime | None:
    """When the next running task can be preempted that cannot be yet: a moment to look again, if a task waits."""
    cooldown = _cooldown(config)
    ends = (
        later(task.last_preempted_at, cooldown)
        for task in running
        if task.last_preempted_at is not None and not task.admitted_aged
    )
    return min((end for end in ends if end > now), default=None)


def _victims(running: Iterable[Running], now: dt.datetime, cooldown: dt.timedelta) -> list[Running]:
    """The tasks that may lose their slots, in that order: lowest priority first, then the shortest run."""
    victims = [
        task
        for task in running
        if not task.admitted_aged and (task.last_preempted_at is None or now - task.last_preempted_at >= cooldown)
    ]
    return sorted(victims, key=lambda task: (-LEVEL[task.kind.priority], -micros(task.started_at), task.task))


def _victim(victims: Iterable[Running], kind: Kind, kept: Kept, left: Left) -> Running | None:
    """The first of lower priority whose slot is all that a task of this kind lacks."""
    for victim in victims:
        if LEVEL[victim.kind.priority] <= LEVEL[kind.priority]:
            return None
        if kept.has_room_without(victim.kind, kind, left):
            return victim
    return None


def _cooldown(config: Config) -> dt.timedelta:
    return dt.timedelta(microseconds=int(config.preemption_cooldown_minutes * 60_000_000))
