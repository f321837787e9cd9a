"""The allocator's own picture of the tasks: folded from the recorded events, and ahead of them by what it has proposed.

A proposed start counts as done from the moment it is proposed, so that no slot is promised twice; the record confirms
it, or the manager says that it was refused, and it is taken back. Begun from the state, the picture is the same as one
that followed every event.
"""

import datetime as dt
from collections.abc import Iterable
from typing import Any

from tallystick.actors.policies.fairness import Fairness
from tallystick.actors.policies.queue import Queue
from tallystick.actors.policies.ranking import Moment, Ranking
from tallystick.actors.policies.slots import Limits, Slots
from tallystick.actors.policies.tasks import Kind, Running, Waiting
from tallystick.config.kinds import Priority
from tallystick.config.loader import restore
from tallystick.config.settings import Config
from tallystick.events import catalog as e
from tallystick.events.evolve.table import TASK_EVENTS
from tallystick.events.evolve.tasks import resume_leases
from tallystick.events.log.task_snapshot import pack, unpack
from tallystick.events.messages.command import PRIORITIES
from tallystick.events.state.accounts import ZERO, Money
from tallystick.events.state.estimates import Estimates
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.slot_time import SlotTimes
from tallystick.events.state.task_rules import max_wait, priority_of
from tallystick.events.state.tasks import Task

_MILLISECOND = dt.timedelta(milliseconds=1)


class SchedulerIndex:
    """Who waits and who runs. ``tasks``, ``estimates`` and ``slot_times`` change by the law's own steps."""

    def __init__(self, ledger: Ledger) -> None:
        self.rules = ledger.rules
        self.paused = ledger.paused is not None
        self.tripped = ledger.day.tripped is not None
        """The breaker is open."""
        self.tasks = unpack(pack(ledger.tasks))
        self.estimates = Estimates.load(ledger.estimates.dump())
        self.slot_times = SlotTimes.load(ledger.slot_times.dump())
        self._starting: dict[str, str | None] = {}
        """Tasks whose start was proposed, each with the victim whose slot it is to get."""
        self._yielding: set[str] = set()
        """Running tasks whose slot was promised to another."""
        for name in [task.id for task in self.tasks.known.values() if not task.is_open]:
            del self.tasks.known[name]
        self.tasks.finished.clear()
        config = self.config
        self.allowed = _waits(config)
        """By level, how long a task may wait before operators are told."""
        self.queue = Queue(Ranking(config))
        self.slots = Slots(Limits.of(config))
        # What is proposed counts as use too: this copy is ahead of the law's own.
        self.fairness = Fairness(_weights(config), SlotTimes.load(ledger.slot_times.dump()))
        for task in self.tasks.known.values():
            if task.state == "queued":
                self.queue.add(self.waiting(task))
            elif task.state == "running":
                self.slots.take(self.kind(task))

    @property
    def config(self) -> Config:
        return self.rules.config

    @property
    def is_paused(self) -> bool:
        return self.paused or self.rules.paused

    def spent_by(self, agent: str) -> Money:
        """What a run used is not needed for any judgement."""
        return ZERO

    # --- looking ------------------------------------------------------------------------------------------------------

    def priority(self, task: Task) -> Priority:
        """A task's level now."""
        return priority_of(self.config, task.product, task.named_priority)

    def kind(self, task: Task) -> Kind:
        return Kind(task.product, task.agent_type, self.priority(task), task.parent)

    def waiting(self, task: Task) -> Waiting:
        """A task as the policies see it while it waits."""
        return Waiting(task.id, self.kind(task), task.queued_at, task.number, task.blocked)

    def running(self) -> list[Running]:
        """Those that run, without those whose slot was promised to another."""
        return [self._running(task) for task in self.tasks.running.values() if task.id not in self._yielding]

    def _running(self, task: Task) -> Running:
        assert task.started_at is not None
        lasts = self._lasts(task)
        return Running(
            task.id,
            self.kind(task),
            task.started_at,
            task.aged,
            task.preempted_at,
            None if lasts is None else task.started_at + lasts,
        )

    def lasts(self, name: str) -> dt.timedelta | None:
        """How long a task of that name is expected to run; None where nothing tells."""
        task = self.tasks.known.get(name)
        return None if task is None else self._lasts(task)

    def _lasts(self, task: Task) -> dt.timedelta | None:
        """How long a run is expected to take: as estimated, or else as its kind usually does."""
        elapsed_ms = task.estimated_ms
        if elapsed_ms is None:
            elapsed_ms = self.estimates.usual_ms(task.agent_type, task.product, task.model or task.wanted_model)
        return None if elapsed_ms is None else elapsed_ms * _MILLISECOND

    def moment(self, now: dt.datetime, newcomers: int = 0) -> Moment:
        """What a ranking now depends on; ``newcomers`` are open tasks that are not on record yet."""
        above = self.fairness.above(self.queue.products, now)
        return Moment(now, max(1, self.tasks.open + newcomers), above)

    # --- what is proposed ---------------------------------------------------------------------------------------------

    def promise(self, task: str, victim: str | None, now: dt.datetime) -> None:
        """Count a start as done that is about to be proposed."""
        kind = self.queue.remove(task).kind
        self._starting[task] = victim
        if victim is not None:
            self._yielding.add(victim)
            self._leave(self.tasks.running[victim], now)
        self.slots.take(kind)
        self.fairness.started(kind.product, now)

    def refused(self, task: str, now: dt.datetime) -> Kind | None:
        """Take a promise back; the kind of the task, or None where it was taken back or kept already."""
        if task not in self._starting:
            return None
        known = self.tasks.known[task]
        self._unpromise(known, now)
        self.queue.add(self.waiting(known))
        return self.kind(known)

    def _unpromise(self, task: Task, now: dt.datetime) -> None:
        """The slot that was promised to a task is free, or stays its holder's."""
        victim = self._starting.pop(task.id)
        self._leave(task, now)
        if victim in self._yielding:
            self._yielding.discard(victim)
            self._arrive(self.tasks.running[victim], now)

    def _leave(self, task: Task, at: dt.datetime) -> None:
        self.slots.give_back(self.kind(task))
        self.fairness.ended(task.product, at)

    # --- following ----------------------------------------------------------------------------------------------------

    def follow(self, events: Iterable[e.Event]) -> None:
        """Take in a recorded batch."""
        for event in events:
            kind = type(event)
            if kind is e.TaskSubmitted:
                self._submitted(event)
            elif kind is e.EstimateAdjusted or kind is e.StartsExpected:
                TASK_EVENTS[kind](self, event)
            elif kind in TASK_EVENTS:
                self._step(event)
            else:
                self._of_fleet(event)

    def _of_fleet(self, event: e.Event) -> None:
        match event:
            case e.ConfigLoaded():
                self._configure(event)
            case e.PriorityOverridden():
                self._override(event)
            case e.BreakerTripped() | e.BreakerClosed() | e.DayBegan():
                self.tripped = isinstance(event, e.BreakerTripped)
            case e.FleetPaused():
                self.paused = True
            case e.FleetResumed():
                was_paused, self.paused = self.is_paused, False
                if was_paused and not self.is_paused:
                    resume_leases(self, event)

    def _submitted(self, event: Any) -> None:
        """A task is known; whether it waits, the next event says."""
        TASK_EVENTS[e.TaskSubmitted](self, event)
        self._reblock(event.depends_on)

    def _reblock(self, names: Iterable[str]) -> None:
        """More or fewer tasks wait for these."""
        for name in names:
            if name in self.queue:
                self.queue.reblock(name, self.tasks.known[name].blocked)

    def _step(self, event: Any) -> None:
        tasks = self.tasks
        task = tasks.known.get(event.task)
        if task is None:
            return  # who worked on a task that has ended learnt that it was preempted
        was, unmet = task.state, task.unmet
        TASK_EVENTS[type(event)](self, event)
        state = task.state
        if was == "running" and state != "running":
            if task.id in self._yielding:
                self._yielding.discard(task.id)
            else:
                self._leave(task, event.at)
        elif was == "queued" and state != "queued":
            self._leave_queue(task, event.at)
        if type(event) is e.TaskQueued or (state == "queued" and was in ("running", "waiting_on_dependencies")):
            self.queue.add(self.waiting(task))
        self._reblock(unmet)
        if not task.is_open:
            del tasks.known[task.id]
            tasks.finished.clear()

    def _arrive(self, task: Task, at: dt.datetime) -> None:
        self.slots.take(self.kind(task))
        self.fairness.started(task.product, at)

    def _leave_queue(self, task: Task, at: dt.datetime) -> None:
        """A waiting task started, as was promised or not, or it waits no longer."""
        if task.id in self.queue:
            self.queue.remove(task.id)
        elif task.id in self._starting:
            if task.state == "running":
                del self._starting[task.id]
            else:
                self._unpromise(task, at)
            return
        if task.state == "running":
            self._arrive(task, at)

    def _configure(self, event: e.ConfigLoaded) -> None:
        before, was_paused = self.config, self.is_paused
        self.rules = self.rules.with_config(restore(event.config))
        config = self.config
        if was_paused and not self.is_paused:
            resume_leases(self, event)
        self.allowed = _waits(config)
        self.queue.ranking = Ranking(config)
        self.slots.limits = Limits.of(config)
        self.fairness.weigh(_weights(config))
        if _levels(before) != _levels(config):
            self._rerank(self.tasks.known.values())

    def _override(self, event: e.PriorityOverridden) -> None:
        self.rules = self.rules.with_priority(event.product, event.priority)
        self.queue.ranking = Ranking(self.config)
        self._rerank(task for task in self.tasks.known.values() if task.product == event.product)

    def _rerank(self, tasks: Iterable[Task]) -> None:
        """Tasks may be of another level than they were queued at."""
        for task in tasks:
            if task.id in self.queue:
                self.queue.replace(self.waiting(task))


def _weights(config: Config) -> dict[str, Any]:
    """The products whose weight is not 1."""
    return {name: product.weight for name, product in config.products.items() if product.weight != 1}


def _waits(config: Config) -> dict[Priority, dt.timedelta]:
    return {priority: max_wait(config, priority) for priority in PRIORITIES}


def _levels(config: Config) -> Any:
    """What decides of a task's level, besides what it names itself."""
    priorities = {name: product.priority for name, product in config.products.items()}
    return config.manual_override.priority_override, priorities
