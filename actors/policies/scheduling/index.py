"""What the allocator judges by: the waiting tasks in their queue, and views of the ledger for all else.

The ledger owns the tasks, the slots in use, the slot-time of the products and the estimates. Only the order of the
queue is kept here; `SchedulerIndex.follow` brings it in line with the ledger after any events. A start that was
proposed counts as made until it is withdrawn, whether it is on record or not: one look at the queue gives each slot
away once.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tallystick.actors.policies.scheduling.dispatch import Kept, pick
from tallystick.actors.policies.scheduling.expected_starts import Expectation, expected_starts
from tallystick.actors.policies.scheduling.fairness import Fairness
from tallystick.actors.policies.scheduling.newcomer import Newcomer
from tallystick.actors.policies.scheduling.purse import Purse
from tallystick.actors.policies.scheduling.queue import Queue
from tallystick.actors.policies.scheduling.ranking import Moment, Ranking
from tallystick.actors.policies.scheduling.slots import Limits, Slots
from tallystick.actors.policies.scheduling.tasks import Kind, Running, Waiting
from tallystick.config.amounts import COST
from tallystick.config.kinds import Priority
from tallystick.config.settings import Config
from tallystick.events import catalog as e
from tallystick.events.decide.admission import ACCOUNT, Claim, claims, may_start, needs_only_a_slot
from tallystick.events.decide.facts import limit_of
from tallystick.events.evolve.table import TASK_EVENTS
from tallystick.events.messages.command import PRIORITIES
from tallystick.events.state.calendar import later
from tallystick.events.state.charged import Charged
from tallystick.events.state.inheritance import effective_priority
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.slot_time import SlotTimes
from tallystick.events.state.task_rules import is_higher, max_wait, priorities_of
from tallystick.events.state.tasks import Task

NAMED: frozenset[type[e.Event]] = TASK_EVENTS - {e.EstimateAdjusted, e.StartsExpected}
"""The events that happen to one task."""
_CONFIGURING = frozenset({e.ConfigLoaded, e.PriorityOverridden})
_MILLISECOND = dt.timedelta(milliseconds=1)
_WAITS = "waiting_on_dependencies"


class SchedulerIndex:
    """The queue, slots and fairness over the tasks of a ledger.

    ``blocked`` are kinds of which one was refused a start although the core would have allowed it when it was asked;
    nothing has happened since that may have removed the reason. The allocator keeps it.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.tasks = ledger.tasks
        self.blocked: dict[Kind, None] = {}
        self.newcomer: Newcomer | None = None
        config = self.config
        self.queue = Queue(Ranking(config))
        self.slots = Slots(Limits.of(config), ledger.tasks)
        self.fairness = Fairness(_weights(config), ledger.slot_times, self._charged)
        self.allowed = _waits(config)
        """By level of its own priority (0 is the highest), how long a task may wait before operators are alerted."""
        self.preempting = _preempting(config)
        """The priorities of which a task may take the slot of a lower one."""
        self._priorities = priorities_of(config)
        self._levels = self._levels_now()
        """The level of each task that waits for others, as it was last seen."""
        self.raised = False
        """Whether a waiting task ranks by a higher priority since the last `follow` began."""
        self._ahead: dict[str, tuple[str | None, dt.datetime]] = {}
        """Tasks that count as started and are not, each with the victim whose slot it is to get, and since when."""
        for task in self.tasks.known.values():
            if self._is_waiting(task):
                self.queue.add(self.waiting(task))

    @property
    def config(self) -> Config:
        return self.ledger.rules.config

    def _charged(self) -> Charged | None:
        """What products were charged, where fairness is measured by that."""
        charged = self.ledger.charged
        return None if charged.by == "slot_time" else charged

    # --- reading ------------------------------------------------------------------------------------------------------

    def kind(self, task: Task) -> Kind:
        """What limits and ranking tell apart; the priority is its own, or a higher one that it inherits."""
        return Kind(task.product, task.agent_type, effective_priority(task), task.parent)

    def waiting(self, task: Task) -> Waiting:
        """A task as the policies see it while it waits."""
        return Waiting(task.id, self.kind(task), task.queued_at, task.number, task.blocked)

    def running(self) -> list[Running]:
        """The running tasks, in the order in which they started, without those whose slot is to go to another."""
        victims = {victim for victim, _ in self._ahead.values()}
        return [self._running(task) for task in self.tasks.running.values() if task.id not in victims]

    def _running(self, task: Task) -> Running:
        assert task.started_at is not None
        lasts = self._lasts(task)
        return Running(
            task.id,
            self.kind(task),
            task.started_at,
            task.aged,
            task.preempted_at,
            None if lasts is None else later(task.started_at, lasts),
        )

    def lasts(self, name: str) -> dt.timedelta | None:
        """How long a task of that name is expected to run; None where it is not known."""
        task = self.tasks.get(name)
        return None if task is None or not task.is_open else self._lasts(task)

    def _lasts(self, task: Task) -> dt.timedelta | None:
        """How long a run is expected to take: as estimated, or else as its kind usually does."""
        elapsed_ms = task.estimated_ms
        if elapsed_ms is None:
            model = task.model or task.wanted_model
            elapsed_ms = self.ledger.estimates.usual_ms(task.agent_type, task.product, model)
        return None if elapsed_ms is None else elapsed_ms * _MILLISECOND

    def moment(self, now: dt.datetime, newcomers: int = 0) -> Moment:
        """What a ranking depends on now; ``newcomers`` are open tasks that are not on record yet."""
        above = self.fairness.above(self.queue.products, now)
        return Moment(now, max(1, self.tasks.open + newcomers), above)

    def may_start(self, waiting: Waiting) -> bool:
        """Whether a task waits for nothing but a slot: as the core will decide, where it is asked now."""
        kind, ledger = waiting.kind, self.ledger
        if kind in self.blocked:
            return False
        return needs_only_a_slot(ledger, waiting.task, kind.agent_type, kind.parent) or may_start(
            ledger, self._task(waiting)
        )

    def claims(self, waiting: Waiting) -> Sequence[Claim] | None:
        """What a task asks of money and of the day; None where something else is in its way."""
        return None if waiting.kind in self.blocked else claims(self.ledger, self._task(waiting))

    def waits_for_cost(self) -> bool:
        """Whether a task waits for room under the daily cost limit, which runs may free without an event."""
        if limit_of(self.ledger, COST) is None:
            return False
        claims = (claim for first in self.queue.firsts() for claim in self.claims(first) or ())
        return any(claim.source == "daily_cost" and not claim.enough for claim in claims)

    def _task(self, waiting: Waiting) -> Task:
        newcomer = self.newcomer
        return newcomer.task if newcomer is not None and newcomer.id == waiting.task else self.tasks.known[waiting.task]

    def kept(self, moment: Moment) -> Kept:
        """What aged tasks keep from the others at a moment, where none can start."""
        kept = Kept()
        pick(self.queue, self.slots, moment, self.may_start, self.claims, kept)
        return kept

    def kept_money(self, moment: Moment) -> list[str]:
        """The first aged task of each account whose money is kept for it, in their order: also where it lacks a slot
        still, or the day does. What demand moves give away may not come back.
        """
        first: dict[str, str] = {}
        for head in self.queue.heads(moment):
            if head.aged:
                for claim in claims(self.ledger, self._task(head.waiting)) or ():
                    if claim.source.startswith(ACCOUNT) and claim.fits:
                        first.setdefault(claim.source, head.waiting.task)
        return list(first.values())

    def kept_for(self, waiting: Waiting, kept: Kept) -> str | None:
        """The aged task that keeps a waiting one from starting; None where it lacks a slot, or something else."""
        has_slot = all(left is None or left > 0 for left in self.slots.left(waiting.kind))
        return kept.older_than(waiting, self.claims) if has_slot and self.may_start(waiting) else None

    def may_preempt(self, kind: Kind) -> bool:
        """Whether a task of this kind may take the slot of a lower one."""
        return kind.priority in self.preempting

    def has_preempting(self) -> bool:
        """Whether a task waits that may take the slot of a lower one."""
        return not self.preempting.isdisjoint(self.queue.priorities)

    def expected(self, moment: Moment) -> dict[str, Expectation]:
        """When each of the foremost waiting tasks is expected to start, or why that is not known."""
        pays = Purse(self.claims)
        return expected_starts(self.queue, self.slots, self.running(), moment, self.may_start, self.lasts, pays.pays)

    # --- following ----------------------------------------------------------------------------------------------------

    def follow(self, events: Iterable[e.Event]) -> Mapping[str, None]:
        """Bring the queue in line with the ledger, which has followed these events already. It may be called again.

        The tasks to which they happened.
        """
        named: dict[str, None] = {}
        self.raised = False
        for event in events:
            kind = type(event)
            if kind in NAMED:
                named[event.task] = None  # type: ignore[attr-defined]  # all of these have one
            elif kind in _CONFIGURING:
                self._configure()
        if self._ahead:
            tasks = self.tasks
            self._ahead = {name: one for name, one in self._ahead.items() if tasks.known[name].state == "queued"}
            self._count()
        for name in named:
            self._update(name)
        return named

    def _update(self, name: str) -> None:
        """Bring one task in line, and those that it depends on: fewer or more tasks may wait for them, and what they
        inherit may have changed, and so on along those that wait themselves.
        """
        tasks, levels = self.tasks, self._levels
        task = self._place(name)
        if task is not None and task.state == _WAITS:
            levels[name] = task.level
        elif levels:
            levels.pop(name, None)
        if task is None or not task.depends_on:
            return
        below = list(task.depends_on)
        while below:
            needed = tasks.get(below.pop())
            if needed is None:
                continue
            if needed.id in self.queue:
                self._place(needed.id)
            elif needed.state == _WAITS and levels.get(needed.id) != needed.level:
                levels[needed.id] = needed.level
                below += needed.unmet

    def started(self, task: str, victim: str | None, now: dt.datetime) -> None:
        """A start was proposed, in the slot of ``victim`` if that is not None: count it as made, if it is not."""
        if self.tasks.known[task].state == "queued":
            self._ahead[task] = (victim, now)
            if self.fairness.times is self.ledger.slot_times:
                self.fairness.times = SlotTimes.load(self.ledger.slot_times.dump())
            self._take_slot(task, victim, now)
        self._update(task)
        if victim is not None:
            self._update(victim)
            # With the account of its run ended those below it, and with them the tasks that they were to pay for.
            for name in self.queue.paid_by_none_of(self.ledger.accounts):
                self._update(name)

    def withdraw(self, task: str) -> Kind | None:
        """A start that counts as made was refused; the kind of the task, None where it does not wait any more."""
        if self._ahead.pop(task, None) is None:
            return None
        self._count()
        self._update(task)
        return self.kind(self.tasks.known[task])

    def _count(self) -> None:
        """Count slots and slot-time anew: those of the ledger, and those of the starts that count as made."""
        self.slots, times = Slots(self.slots.limits, self.tasks), self.ledger.slot_times
        self.fairness.times = SlotTimes.load(times.dump()) if self._ahead else times
        for task, (victim, at) in self._ahead.items():
            self._take_slot(task, victim, at)

    def _take_slot(self, task: str, victim: str | None, at: dt.datetime) -> None:
        running = self.tasks.running.get(victim) if victim is not None else None
        if running is not None:
            self.slots.give_back(self.kind(running))
            self.fairness.times.ended(running.product, at)
        kind = self.kind(self.tasks.known[task])
        self.slots.take(kind)
        self.fairness.times.started(kind.product, at)

    def _place(self, name: str) -> Task | None:
        """Bring one task in line in the queue; the task, if it is known."""
        task, queue = self.tasks.known.get(name), self.queue
        if task is None or not self._is_waiting(task):
            if name in queue:
                queue.remove(name)
            return task
        waiting = self.waiting(task)
        if name not in queue:
            queue.add(waiting)
        elif queue[name] != waiting:
            self.raised = self.raised or is_higher(waiting.kind.priority, queue[name].kind.priority)
            queue.replace(waiting)
        return task

    def _is_waiting(self, task: Task) -> bool:
        return task.state == "queued" and task.id not in self._ahead

    def _configure(self) -> None:
        config, priorities = self.config, priorities_of(self.config)
        self.allowed, self.preempting = _waits(config), _preempting(config)
        self.queue.ranking = Ranking(config)
        self.slots.limits = Limits.of(config)
        self.fairness.weigh(_weights(config))
        if priorities != self._priorities:
            self._priorities = priorities
            self._levels = self._levels_now()
            for name in list(self.queue):
                self._place(name)

    def _levels_now(self) -> dict[str, int]:
        return {task.id: task.level for task in self.tasks.known.values() if task.state == _WAITS}


def _weights(config: Config) -> dict[str, Any]:
    """The products whose weight is not 1."""
    return {name: product.weight for name, product in config.products.items() if product.weight != 1}


def _preempting(config: Config) -> frozenset[Priority]:
    return frozenset(priority for priority in PRIORITIES if config.priority_levels.of(priority).preempt_lower)


def _waits(config: Config) -> tuple[dt.timedelta, ...]:
    return tuple(max_wait(config, priority) for priority in PRIORITIES)
