"""A small machine with slots that is driven by the policies alone: it shows what they do over time.

Every job arrives, waits (for those it depends on, then for a slot), runs for as long as it lasts, and is done. One that
loses its slot starts over. Times are in seconds from `START`. Nothing here decides: `pick` and `preempt` do.
"""

import datetime as dt
import heapq
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from tallystick.actors.policies.scheduling.dispatch import pick
from tallystick.actors.policies.scheduling.fairness import Fairness
from tallystick.actors.policies.scheduling.preemption import next_victim_at, preempt
from tallystick.actors.policies.scheduling.queue import Queue, Ranked
from tallystick.actors.policies.scheduling.ranking import Moment, Ranking
from tallystick.actors.policies.scheduling.slots import Limits, Slots
from tallystick.actors.policies.scheduling.tasks import Kind, Running, Waiting
from tallystick.config.kinds import Priority
from tallystick.config.loader import from_mapping
from tallystick.config.settings import Config
from tallystick.events.messages import PRIORITIES
from tests.support.blocking import Blocking
from tests.support.core import START


def config_of(
    total: int | None = None,
    per_type: dict[str, int] | None = None,
    per_product: dict[str, int] | None = None,
    **more: Any,
) -> Config:
    """The packaged configuration with these limits; ``products`` in ``more`` may say more of them."""
    products = {name: dict(settings) for name, settings in more.pop("products", {}).items()}
    for name, limit in (per_product or {}).items():
        products.setdefault(name, {})["max_concurrent_agents"] = limit
    return from_mapping({"max_concurrent": {"total": total, "per_type": per_type or {}}, "products": products, **more})


class Job(NamedTuple):
    """What is submitted: the order of the jobs is that of submission."""

    task: str
    product: str = "p"
    agent_type: str = "t"
    priority: Priority = "normal"
    arrives: float = 0.0
    lasts: float = 60.0
    depends_on: tuple[str, ...] = ()
    blocks: int = 0

    @property
    def kind(self) -> Kind:
        return Kind(self.product, self.agent_type, self.priority)


class Start(NamedTuple):
    """A job got a slot, for which it had waited ``since`` (its queueing, or the loss of its slot)."""

    task: str
    at: float
    since: float
    queued: float
    aged: bool


class Loss(NamedTuple):
    """A job lost its slot to another."""

    victim: str
    by: str
    at: float


Watch = Callable[["Machine", Moment, Ranked], None]
"""Sees each ordinary start just before it happens."""


class Machine:
    """Runs jobs to the end of the last one, or until a time; what happened can be read off afterwards."""

    def __init__(self, config: Config, jobs: Iterable[Job], watch: Watch | None = None) -> None:
        self.config = config
        self.jobs = {job.task: job for job in jobs}
        self.queue = Queue(Ranking(config))
        self.slots = Slots(Limits.of(config))
        self.blocking = Blocking()
        self.fairness = Fairness({name: product.weight for name, product in config.products.items()})
        self.running: dict[str, Running] = {}
        self.starts: list[Start] = []
        self.losses: list[Loss] = []
        self.done: dict[str, float] = {}
        self.queued: dict[str, float] = {}
        self._slot_seconds: dict[str, float] = {}
        self._watch = watch
        levels = config.priority_levels
        self._preempting = {priority for priority in PRIORITIES if levels.of(priority).preempt_lower}
        self._since: dict[str, float] = {}
        self._preempted: dict[str, dt.datetime] = {}
        self._waits_for: dict[str, set[str]] = {}
        self.numbers = {task: number for number, task in enumerate(self.jobs)}
        # (time, rank among what happens at one time, task, attempt)
        self._agenda: list[tuple[float, int, str, int]] = [(job.arrives, 1, job.task, 0) for job in self.jobs.values()]
        heapq.heapify(self._agenda)
        self._attempts = dict.fromkeys(self.jobs, 0)
        self.now = 0.0

    def run(self, until: float = float("inf")) -> "Machine":
        while self._agenda and self._agenda[0][0] <= until:
            self.now = self._agenda[0][0]
            while self._agenda and self._agenda[0][0] == self.now:
                _, what, task, attempt = heapq.heappop(self._agenda)
                if what == 0 and attempt == self._attempts[task] and task in self.running:
                    self._complete(task)
                elif what == 1:
                    self._arrive(task)
            self._dispatch()
        return self

    @property
    def moment(self) -> Moment:
        at = self.at(self.now)
        return Moment(at, len(self.blocking), self.fairness.above(self.queue.products, at))

    def at(self, seconds: float) -> dt.datetime:
        return START + dt.timedelta(seconds=seconds)

    def slot_time(self) -> dict[str, float]:
        """Seconds of slots that each product has held so far."""
        held = dict(self._slot_seconds)
        for running in self.running.values():
            product = running.kind.product
            held[product] = held.get(product, 0.0) + self.now - (running.started_at - START).total_seconds()
        return held

    def first_start(self, task: str) -> float:
        return next(start.at for start in self.starts if start.task == task)

    # --- what happens -------------------------------------------------------------------------------------------------

    def _arrive(self, task: str) -> None:
        job = self.jobs[task]
        self._reblock(self.blocking.open(task, job.depends_on, job.blocks))
        missing = {name for name in job.depends_on if name not in self.done}
        if missing:
            self._waits_for[task] = missing
        else:
            self._enqueue(task)

    def _enqueue(self, task: str) -> None:
        self.queued[task] = self._since[task] = self.now
        self._wait(task)

    def _wait(self, task: str) -> None:
        job = self.jobs[task]
        queued_at = self.at(self.queued[task])
        self.queue.add(Waiting(task, job.kind, queued_at, self.numbers[task], self.blocking.blocked(task)))

    def _complete(self, task: str) -> None:
        self._leave(task)
        self.done[task] = self.now
        self._reblock(self.blocking.close(task))
        for name, missing in list(self._waits_for.items()):
            missing.discard(task)
            if not missing:
                del self._waits_for[name]
                self._enqueue(name)

    def _reblock(self, tasks: Iterable[str]) -> None:
        for task in tasks:
            if task in self.queue:
                waiting = msgspec.structs.replace(self.queue[task], blocked=self.blocking.blocked(task))
                self.queue.replace(waiting)

    # --- what is decided ----------------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        while len(self.queue):
            if self.slots.full and self._preempting.isdisjoint(self.queue.priorities):
                break
            moment = self.moment
            best = pick(self.queue, self.slots, moment, may_start)
            if best is not None:
                if self._watch is not None:
                    self._watch(self, moment, best)
                self._start(best)
                continue
            preemption = preempt(self.queue, self.slots, self.running.values(), moment, may_start, self.config)
            if preemption is None:
                break
            self._lose(preemption.victim.task, preemption.ranked.waiting.task)
            self._start(preemption.ranked)
        if len(self.queue):
            again = next_victim_at(self.running.values(), self.at(self.now), self.config)
            if again is not None:
                heapq.heappush(self._agenda, ((again - START).total_seconds(), 2, "", 0))

    def _start(self, ranked: Ranked) -> None:
        task = ranked.waiting.task
        job = self.jobs[task]
        self.queue.remove(task)
        self.slots.take(job.kind)
        self.fairness.times.started(job.product, self.at(self.now))
        self._attempts[task] += 1
        ends = self.now + job.lasts
        self.running[task] = Running(
            task, job.kind, self.at(self.now), ranked.aged, self._preempted.get(task), self.at(ends)
        )
        self.starts.append(Start(task, self.now, self._since[task], self.queued[task], ranked.aged))
        heapq.heappush(self._agenda, (ends, 0, task, self._attempts[task]))

    def _lose(self, victim: str, by: str) -> None:
        self._leave(victim)
        self.losses.append(Loss(victim, by, self.now))
        self._preempted[victim] = self.at(self.now)
        self._since[victim] = self.now
        self._wait(victim)

    def _leave(self, task: str) -> None:
        running = self.running.pop(task)
        product = running.kind.product
        self.slots.give_back(running.kind)
        self.fairness.times.ended(product, self.at(self.now))
        held = self.now - (running.started_at - START).total_seconds()
        self._slot_seconds[product] = self._slot_seconds.get(product, 0.0) + held


def may_start(waiting: Waiting) -> bool:
    """Nothing but slots is in anybody's way here."""
    return True
