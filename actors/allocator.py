"""The allocator: what runs next. Order of the queue, fairness, preemption, expected starts; and the next period's budget.

It proposes and the law disposes: whatever it says is held against the true state before it happens. What was refused is
not proposed again before something has happened that may have changed it.
"""

import datetime as dt
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from tallystick.actors.policies.dispatch import pick
from tallystick.actors.policies.placement import place
from tallystick.actors.policies.preemption import next_victim_at, preempt
from tallystick.actors.policies.queue import Ranked
from tallystick.actors.policies.scheduler_index import SchedulerIndex
from tallystick.actors.policies.tasks import Kind, Waiting
from tallystick.actors.policies.waiting import expected_starts
from tallystick.actors.runtime.deadlines import Deadlines
from tallystick.actors.runtime.messages import (
    ALLOCATOR,
    MANAGER,
    Answered,
    Heard,
    Post,
    Proposal,
    Question,
    Recorded,
    Refused,
    Tick,
)
from tallystick.actors.runtime.pending import refused
from tallystick.actors.runtime.waits import Waits
from tallystick.config.amounts import TOKENS, InvalidAmount, exact_units
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.evolve.table import TASK_EVENTS
from tallystick.events.messages import proposals as p
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.task_rules import max_tokens
from tallystick.events.state.tasks import Task

WAIT_MAX_SECONDS = 600
"""How long `GetTask` may wait."""

TRY_AGAIN = dt.timedelta(seconds=10)
"""Runs that use less than was promised leave room in the day, little by little: how often one kind is tried meanwhile."""

_OF_THE_DAY = ("daily_tokens", "daily_cost", "product_daily_tokens")
"""Why a task waits that may start when runs have used less than was promised."""

_PERIODS = (e.TotalBudgetSet, e.PeriodRenewed)
_FLEET: frozenset[type[e.Event]] = frozenset({e.ConfigLoaded, e.FleetPaused, e.FleetResumed, e.PriorityOverridden})
_DAY: frozenset[type[e.Event]] = frozenset({e.DayBegan, e.LimitApproved, e.BreakerClosed})
"""After these there is more of the day's limits, or the breaker is closed."""
_MONEY: frozenset[type[e.Event]] = frozenset(
    {
        *_PERIODS,
        e.BudgetReleased,
        e.BudgetReturned,
        e.BudgetMoved,
        e.BudgetDrawn,
        e.UnusedReturned,
        e.CoverRepaid,
        e.HoldEnded,
        e.HoldSettled,
        e.ReserveReleased,
        e.FleetResponseChanged,
        e.LevelChanged,
        e.AgentResumed,
    }
)
"""What may bring the money back that a task needs, or end a stop that is in its way."""
_ENDS: frozenset[type[e.Event]] = frozenset(
    {e.TaskStarted, e.TaskPreempted, e.LeaseLost, e.TaskCompleted, e.TaskCancelled, e.TaskGivenUp}
)
"""After these there is another slot, or there are fewer: what was refused may be possible now."""
_FREES = _MONEY | _FLEET | _DAY | _ENDS
_NAMED = TASK_EVENTS.keys() - {e.EstimateAdjusted, e.StartsExpected}
"""What happens to one task."""
_CHANGES = _ENDS | {e.TaskQueued}
"""What those are told who wait for a task to change."""


class Allocator:
    """Follows the tasks and proposes who starts; answers what needs the order of the queue."""

    name = ALLOCATOR
    follows: frozenset[type[e.Event]] = frozenset({*TASK_EVENTS, *_MONEY, *_FLEET, *_DAY, e.BreakerTripped})

    def begin(self, ledger: Ledger) -> None:
        self._period_ends = ledger.period_ends
        self._roster = SchedulerIndex(ledger)
        self._pool_tokens = ledger.pool[TOKENS]
        """What the pool has free, None where nothing limits it: at most what was free at the last word of it."""
        self._blocked: dict[Kind, None] = {}
        """Kinds, in the order of their refusal, of which one was refused, and nothing has happened since that may have changed it."""
        self._retry_at: dt.datetime | None = None
        """When to propose one of them again although nothing has, as long as something runs."""
        self._leases, self._overdue = Deadlines(), Deadlines()
        self._waits = Waits()
        self._untold = set(self._roster.tasks.running)
        """Runs that began by themselves, and that nobody was told of who asked for the task."""
        self._told = itertools.count(1)
        self._look_at = ledger.now if len(self._roster.queue) else None
        """When to look for a start again although nothing happens."""
        self._note(self._roster.tasks.known.values())

    # --- messages -----------------------------------------------------------------------------------------------------

    def handle(self, message: Any, now: dt.datetime) -> Sequence[Post]:
        match message:
            case Question():
                return self._answer(message, now)
            case Heard():
                self._pool_tokens = message.pool[TOKENS]
                return self._follow(message.events, now)
            case Recorded():
                self._pool_tokens = message.figures.pool[TOKENS]
                return self._follow(message.events, now)
            case Refused():
                return self._take_back(message, now)
            case Tick():
                return self._tick(now)
        raise TypeError(f"the allocator does not know {type(message).__name__}")

    def due_at(self) -> dt.datetime | None:
        first = None if self._roster.is_paused else self._leases.first()
        retry = self._retry_at if self._roster.tasks.running else None
        for at in (self._period_ends, self._overdue.first(), self._waits.first(), self._look_at, retry):
            if at is not None and (first is None or at < first):
                first = at
        return first

    def _tick(self, now: dt.datetime) -> list[Post]:
        posts: list[Post] = []
        if self._period_ends is not None and self._period_ends <= now:
            self._period_ends = None
            posts.append(_propose(p.RenewPeriod(id=f"{c.INTERNAL_ID}renew-{now.isoformat()}")))
        if not self._roster.is_paused and self._leases.pop_due(now):
            posts.append(_propose(p.ExpireLease(id=f"{c.INTERNAL_ID}lease-{now.isoformat()}")))
        for name in self._overdue.pop_due(now):
            number = self._roster.tasks.known[name].number
            posts.append(_propose(p.RecordOverdue(task=name, id=f"{c.INTERNAL_ID}overdue-{name}-{number}")))
        posts += [self._tell(question, now) for question in self._waits.over(now)]
        is_retry = self._retry_at is not None and self._retry_at <= now
        if is_retry:
            self._unblock_one(now)
        if is_retry or (self._look_at is not None and self._look_at <= now):
            posts += self._dispatch(now)
        return posts

    def _unblock(self) -> None:
        """What was refused may be possible now."""
        self._blocked.clear()
        self._retry_at = None

    def _block(self, kind: Kind, now: dt.datetime) -> None:
        """One of this kind was refused."""
        self._blocked[kind] = None
        if self._retry_at is None:
            self._retry_at = now + TRY_AGAIN

    def _unblock_one(self, now: dt.datetime) -> None:
        """Try the kind that was refused the longest ago: where it starts, the others may too."""
        del self._blocked[next(iter(self._blocked))]
        self._retry_at = now + TRY_AGAIN if self._blocked else None

    def _follow(self, events: Sequence[e.Event], now: dt.datetime) -> list[Post]:
        self._roster.follow(events)
        named: dict[str, None] = {}
        fleet = look = False
        for event in events:
            kind = type(event)
            if kind in _NAMED:
                named[event.task] = None  # type: ignore[attr-defined]  # all of these have one
            if kind in _FREES:
                look = True
                self._unblock()
                fleet = fleet or kind in _FLEET
                if isinstance(event, _PERIODS):
                    self._period_ends = event.period_ends_at
            elif isinstance(event, e.TaskQueued):
                if event.code == "outranked":
                    self._unblock()  # the law has found one that can start
                look = look or self._may_overtake(event)
                if event.code in _OF_THE_DAY and event.task in self._roster.tasks.known:
                    self._block(self._roster.kind(self._roster.tasks.known[event.task]), now)
        known = self._roster.tasks.known
        self._note(known.values() if fleet else [known[name] for name in named if name in known])
        for name in named:
            if name not in known:
                self._leases.drop(name)
                self._overdue.drop(name)
                self._untold.discard(name)
        posts = self._dispatch(now) if look else []
        return posts + self._news(events, now)

    def _news(self, events: Sequence[e.Event], now: dt.datetime) -> list[Post]:
        """Tell those who wait for a task that it has changed; of a run that began by itself, the next who asks."""
        posts: list[Post] = []
        for event in events:
            if type(event) not in _CHANGES:
                continue
            name = event.task  # type: ignore[attr-defined]  # all of these have one
            if (
                type(event) is e.TaskStarted
                and event.id.startswith(c.INTERNAL_ID)
                and name in self._roster.tasks.running
            ):
                self._untold.add(name)
            posts += [self._tell(question, now) for question in self._waits.changed(name)]
        return posts

    def _may_overtake(self, event: e.TaskQueued) -> bool:
        """Whether one that has just begun to wait is a reason to look for a start: it frees no slot, but may take one."""
        if event.code == "outranked":
            return True
        queue = self._roster.queue
        return event.task in queue and self._may_preempt(queue[event.task].kind)

    def _may_preempt(self, kind: Kind) -> bool:
        return self._roster.config.priority_levels.of(kind.priority).preempt_lower

    def _take_back(self, message: Refused, now: dt.datetime) -> list[Post]:
        command = message.command
        name = command.beneficiary if isinstance(command, p.PreemptTask) else getattr(command, "task", "")
        kind = self._roster.refused(name, now)
        if kind is None:
            return []
        self._block(kind, now)
        self._note([self._roster.tasks.known[name]])
        return self._dispatch(now)

    # --- what is due --------------------------------------------------------------------------------------------------

    def _note(self, tasks: Iterable[Task]) -> None:
        """Note until when these tasks have a lease, or may wait."""
        for task in tasks:
            if task.state == "running":
                assert task.lease_expires_at is not None
                self._leases.set(task.id, task.lease_expires_at)
                self._overdue.drop(task.id)
                continue
            self._leases.drop(task.id)
            self._untold.discard(task.id)
            if task.state == "queued" and not task.overdue:
                self._overdue.set(task.id, task.queued_at + self._roster.allowed[self._roster.priority(task)])

    # --- who starts ---------------------------------------------------------------------------------------------------

    def _dispatch(self, now: dt.datetime) -> list[Post]:
        """Propose all starts that are possible now: first to free slots, then to those that others must give up."""
        roster, posts = self._roster, []
        if not len(roster.queue):
            self._look_at = None
            return []
        # Who uses how much is worth a look only where a slot is free.
        while not roster.slots.full:
            first = pick(roster.queue, roster.slots, roster.moment(now), self._may_start)
            if first is None:
                break
            posts.append(self._promise(first, None, now))
        self._look_at = None
        while any(map(self._may_preempt, roster.queue.kinds)):
            running = roster.running()
            found = preempt(roster.queue, roster.slots, running, roster.moment(now), self._may_start, roster.config)
            if found is None:
                self._look_at = next_victim_at(running, now, roster.config)
                break
            posts.append(self._promise(found.ranked, found.victim.task, now))
        return posts

    def _promise(self, ranked: Ranked, victim: str | None, now: dt.datetime) -> Post:
        task = self._roster.tasks.known[ranked.waiting.task]
        self._roster.promise(task.id, victim, now)
        run = f"{task.id}-{task.number}-{task.runs + 1}"
        if victim is None:
            return _propose(
                p.StartTask(task=task.id, aged=ranked.aged, id=f"{c.INTERNAL_ID}start-{run}"), needs_refusal_notice=True
            )
        command = p.PreemptTask(task=victim, beneficiary=task.id, aged=ranked.aged, id=f"{c.INTERNAL_ID}preempt-{run}")
        return _propose(command, needs_refusal_notice=True)

    def _may_start(self, waiting: Waiting) -> bool:
        """Whether nothing but slots is in a task's way, as far as that can be seen from here."""
        roster, kind = self._roster, waiting.kind
        if roster.is_paused or roster.tripped or kind.product in roster.rules.paused_products or kind in self._blocked:
            return False
        # A parent's balance is not known here, nor is what critical tasks may draw from the reserve.
        if kind.parent is not None or kind.priority == "critical" or self._pool_tokens is None:
            return True
        return max_tokens(roster.config, kind.agent_type) <= self._pool_tokens

    # --- questions ----------------------------------------------------------------------------------------------------

    def _answer(self, question: Question, now: dt.datetime) -> list[Post]:
        match question.command:
            case c.SubmitTask():
                return [self._place(question, question.command, now)]
            case c.GetTask():
                return self._show_task(question, question.command, now)
            case c.GetQueue():
                return [self._show_queue(question, question.command, now)]
        raise TypeError(f"the allocator is not asked about {type(question.command).__name__}")

    def _place(self, question: Question, wanted: c.SubmitTask, now: dt.datetime) -> Post:
        placement = place(self._roster, wanted, now, self._may_start, self._blocked)
        command = p.PlaceTask(
            submitted=wanted,
            aged=placement.aged,
            behind=placement.behind,
            recently_blocked=list(placement.recently_blocked),
            victim=placement.victim,
            expected_start=placement.expected_start,
        )
        return _propose(command, question)

    def _show_task(self, question: Question, asked: c.GetTask, now: dt.datetime) -> list[Post]:
        try:
            wait_ms = _wait_ms(asked)
        except InvalidAmount as error:
            answer = refused("invalid_amount", str(error), field=error.field)
            return [Post(MANAGER, Answered(question, answer))]
        waits = wait_ms > 0 and asked.task in self._roster.tasks.known and asked.task not in self._untold
        if not waits or self._waits.full:
            return [self._tell(question, now)]
        self._waits.add(asked.task, question, now + dt.timedelta(milliseconds=wait_ms))
        return []

    def _tell(self, question: Question, now: dt.datetime) -> Post:
        assert isinstance(question.command, c.GetTask)
        name = question.command.task
        self._untold.discard(name)
        expected = self._expected(now).get(name) if name in self._roster.queue else None
        return _propose(p.TellTask(task=name, expected_start=expected, id=self._told_id(now)), question)

    def _show_queue(self, question: Question, asked: c.GetQueue, now: dt.datetime) -> Post:
        roster, moment = self._roster, self._roster.moment(now)
        expected = self._expected(now) if asked.limit else {}
        standpoints = []
        for ranked in itertools.islice(roster.queue.ranked(moment), asked.limit):
            terms, task = roster.queue.ranking.terms(ranked.waiting, moment), ranked.waiting.task
            standpoints.append(
                p.QueueView(
                    task=task,
                    score=round(float(terms.score), 6),
                    priority=round(float(terms.priority), 6),
                    wait=round(float(terms.wait), 6),
                    blocking=round(float(terms.blocking), 6),
                    aged=ranked.aged,
                    expected_start=expected.get(task),
                )
            )
        return _propose(p.TellQueue(waiting=standpoints, id=self._told_id(now)), question)

    def _expected(self, now: dt.datetime) -> dict[str, dt.datetime]:
        roster = self._roster
        moment, running = roster.moment(now), roster.running()
        return expected_starts(roster.queue, roster.slots, running, moment, self._may_start, roster.lasts)

    def _told_id(self, now: dt.datetime) -> str:
        return f"{c.INTERNAL_ID}told-{now.isoformat()}-{next(self._told)}"


def _wait_ms(asked: c.GetTask) -> int:
    """How long a question may wait for its task to change.

    Raises:
        InvalidAmount: not a number of seconds from 0 to `WAIT_MAX_SECONDS`.
    """
    if asked.wait_seconds is None:
        return 0
    wait_ms = exact_units(asked.wait_seconds, 1, "wait_seconds")
    if wait_ms > WAIT_MAX_SECONDS * 1_000:
        raise InvalidAmount("wait_seconds", asked.wait_seconds, f"from 0 to {WAIT_MAX_SECONDS} seconds")
    return wait_ms


def _propose(command: c.Command, question: Question | None = None, needs_refusal_notice: bool = False) -> Post:
    return Post(MANAGER, Proposal(command, ALLOCATOR, question, needs_refusal_notice))
