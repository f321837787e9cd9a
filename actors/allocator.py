"""The allocator: what runs next. Order of the queue, fairness, preemption, expected starts.

It is consulted in the manager's turn, and has each start decided at once: the core checks every proposal against the
true state, and refuses what does not fit. What was refused is not proposed again before something has happened that
may have removed the reason. Its judgement is in `policies/scheduling/`; all that it knows is read from the ledger, so
another allocator can take its place at any time.
"""

import datetime as dt
import itertools
from collections.abc import Iterable, Sequence
from typing import Protocol

from tallystick.actors.policies.scheduling.dispatch import pick
from tallystick.actors.policies.scheduling.index import SchedulerIndex
from tallystick.actors.policies.scheduling.placement import place
from tallystick.actors.policies.scheduling.preemption import next_victim_at, preempt
from tallystick.actors.policies.scheduling.queue import Ranked
from tallystick.actors.policies.scheduling.queue_view import queue_answer
from tallystick.actors.runtime.deadlines import Deadlines
from tallystick.actors.runtime.messages import ALLOCATOR, Answered, Post, Proposal, Question
from tallystick.actors.runtime.pending import refused
from tallystick.actors.runtime.waits import Waits
from tallystick.config.amounts import InvalidAmount
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.catalog.tasks import Expected
from tallystick.events.decide.amounts import wait_ms
from tallystick.events.decide.task_answers import has_passed
from tallystick.events.evolve.table import TASK_EVENTS
from tallystick.events.messages import proposals as p
from tallystick.events.state.calendar import later
from tallystick.events.state.ledger import Ledger

TRY_AGAIN = dt.timedelta(seconds=10)
"""Runs that cost less than was committed to them free room in the day, little by little: how often that is tried."""

_FLEET: frozenset[type[e.Event]] = frozenset({e.ConfigLoaded, e.FleetPaused, e.FleetResumed, e.PriorityOverridden})
_DAY: frozenset[type[e.Event]] = frozenset(
    {e.DayBegan, e.LimitApproved, e.BreakerClosed, e.LimitWindowsBegan, e.LimitRaised}
)
"""After these there is more of the day's limits, or the breaker is closed."""
_MONEY: frozenset[type[e.Event]] = frozenset(
    {
        e.TotalBudgetSet,
        e.PeriodRenewed,
        e.BudgetReleased,
        e.BudgetReturned,
        e.BudgetMoved,
        e.BudgetDrawn,
        e.UnusedReturned,
        e.CoverRepaid,
        e.HoldEnded,
        e.HoldSettled,
        e.HoldSpent,
        e.UsageCorrected,
        e.ReserveReleased,
        e.FleetResponseChanged,
        e.LevelChanged,
        e.AgentResumed,
        e.OverdraftRepaid,
    }
)
"""What may bring the money back that a task needs, or end a stop that is in its way."""
_ENDS: frozenset[type[e.Event]] = frozenset(
    {e.TaskStarted, e.TaskPreempted, e.LeaseLost, e.TaskCompleted, e.TaskCancelled, e.TaskGivenUp}
)
"""After these there is another slot, or there are fewer: what was refused may be possible now."""
_FREES = _MONEY | _FLEET | _DAY | _ENDS
_CHANGES = _ENDS | {e.TaskQueued}
"""What answers the questions that wait for a task to change."""


class Core(Protocol):
    """Who decides what the allocator proposes: the manager."""

    def take_proposal(self, proposal: Proposal, now: dt.datetime) -> bool:
        """Decide at once; whether it was accepted."""

    def take_answer(self, answered: Answered) -> None: ...


class Allocator:
    """Starts tasks in the order of the queue, and answers the questions that need that order."""

    follows: frozenset[type[e.Event]] = frozenset({*TASK_EVENTS, *_MONEY, *_FLEET, *_DAY, e.BreakerTripped})
    """The classes of events that `follow` and `wake` must be given."""
    index_class = SchedulerIndex

    def __init__(self, ledger: Ledger, core: Core) -> None:
        self._core = core
        self._index = self.index_class(ledger)
        self._retry_at: dt.datetime | None = None
        """When to try a blocked kind again although nothing has happened, as long as something runs."""
        self._overdue: Deadlines[str] = Deadlines()
        self._waits = Waits()
        self._unannounced = set(ledger.tasks.running)
        """Runs that began by themselves, of which no `GetTask` has learnt yet."""
        self._answer_numbers = itertools.count(1)
        self.refused: list[str] = []
        """Tasks whose start was refused, which `follow` has not taken back yet."""
        self._look_at = ledger.now if len(self._index.queue) else None
        """When to look for a start again although nothing happens."""
        self._note(self._index.queue)

    # --- what the manager calls ---------------------------------------------------------------------------------------

    def due_at(self) -> dt.datetime | None:
        """When `wake` is to be called next."""
        # Windows of limits roll on also where nothing runs.
        waits = self._index.tasks.running or self._index.ledger.limits.states
        retry = self._retry_at if waits else None
        moments = (self._overdue.first(), self._waits.first(), self._look_at, retry)
        return min((at for at in moments if at is not None), default=None)

    def wake(self, events: Sequence[e.Event], now: dt.datetime) -> None:
        """Do what is due; ``events`` have just happened because their own time had come (`follow` is called next)."""
        if events:
            self._index.follow(events)
        for name in self._overdue.pop_due(now):
            number = self._index.tasks.known[name].number
            self._propose(p.RecordOverdue(task=name, id=c.internal_id(f"overdue-{name}-{number}")), now)
        for question in self._waits.expired(now):
            self._show_task(question, now)
        if any(at is not None and at <= now for at in (self._retry_at, self._look_at)):
            self._index.blocked.clear()
            self._dispatch(now)

    def resume(self, asked: Sequence[Post], now: dt.datetime) -> None:
        """Take the place of one that failed while something changed: start what can start, answer what it was asked."""
        if self._look_at is not None:
            self._dispatch(now)
        for post in asked:
            self.answer(post.message, now)

    def follow(self, events: Sequence[e.Event], now: dt.datetime) -> None:
        """Take in what was decided and what was ``refused``: start what can start now, and answer who waited for it."""
        index = self._index
        taken_back, self.refused = self.refused, []
        named = index.follow(events) if events else {}
        # What ranks higher than before, for what waits for it, may take a slot or what is kept for others.
        fleet, look = False, index.raised
        for event in events:
            kind = type(event)
            if kind in _FREES:
                look = True
                index.blocked.clear()
                fleet = fleet or kind in _FLEET
            elif isinstance(event, e.TaskQueued):
                look = look or self._may_overtake(event)
                if event.code in ("daily_cost", "limit_reached") and self._retry_at is None:
                    self._retry_at = later(now, TRY_AGAIN)
        if fleet:
            self._note(index.queue)
        self._note(named)
        if look:
            self._dispatch(now)
        if look or self._waits:
            self._announce(events, now)
        for task in taken_back:
            refused_kind = index.withdraw(task)
            if refused_kind is not None:
                index.blocked[refused_kind] = None
                self._note([task])
                self._dispatch(now)

    def answer(self, question: Question, now: dt.datetime) -> None:
        """Answer a question by a proposal, now or when its task has changed."""
        match question.command:
            case c.SubmitTask():
                self._place(question, question.command, now)
            case c.GetTask():
                self._show_or_wait(question, question.command, now)
            case c.GetQueue():
                answer = queue_answer(self._index, question.command.limit, now)
                answer.id = self._answer_id(now)
                self._propose(answer, now, question)
            case _:
                raise TypeError(f"the allocator is not asked about {type(question.command).__name__}")

    def keep_money(self, plan: p.ApplyMoves, now: dt.datetime) -> None:
        """Say in a plan of moves for which tasks money is kept."""
        plan.kept = self._index.kept_money(self._index.moment(now)) if plan.moves and len(self._index.queue) else []

    def _place(self, question: Question, submitted: c.SubmitTask, now: dt.datetime) -> None:
        """Place a task; one that was placed before, and that its sender waits for, is only shown."""
        waits = submitted.wait_seconds
        if (waits and submitted.id in self._index.ledger.ids) or (
            self._propose(place(self._index, submitted, now), now, question) and waits
        ):
            self._show_or_wait(question, submitted, now)

    def _propose(self, command: c.Command, now: dt.datetime, question: Question | None = None) -> bool:
        return self._core.take_proposal(Proposal(command, ALLOCATOR, question), now)

    # --- who starts ---------------------------------------------------------------------------------------------------

    def _may_overtake(self, event: e.TaskQueued) -> bool:
        """Whether a task that has just begun to wait is a reason to look: it frees no slot, but may take one."""
        index = self._index
        if event.code in (None, "outranked"):
            return True
        return bool(index.preempting) and event.task in index.queue and index.may_preempt(index.queue[event.task].kind)

    def _note(self, tasks: Iterable[str]) -> None:
        """Note until when these tasks may wait."""
        known, allowed = self._index.tasks.known, self._index.allowed
        for name in tasks:
            task = known.get(name)
            if task is not None and task.state == "queued" and not task.overdue:
                self._overdue.set(name, later(task.queued_at, allowed[task.own_level]))
            else:
                self._overdue.drop(name)
            if task is None or task.state != "running":
                self._unannounced.discard(name)

    def _dispatch(self, now: dt.datetime) -> None:
        """Look at the queue once: start what can start in free slots, then what may take the slots of others.

        What is refused keeps its slot to the end of this look. Each start leads to another look (see `follow`).
        """
        index = self._index
        self._look_at = self._retry_at = None
        # How much each product used needs a look only where a slot is free.
        while len(index.queue) and not index.slots.full:
            first = pick(index.queue, index.slots, index.moment(now), index.may_start, index.claims)
            if first is None:
                waits = index.blocked or index.waits_for_cost() or index.ledger.limits.states
                self._retry_at = later(now, TRY_AGAIN) if waits else None
                break
            self._start(first, None, now)
        while index.has_preempting():
            running = index.running()
            moment, config = index.moment(now), index.config
            found = preempt(index.queue, index.slots, running, moment, index.may_start, config, index.claims)
            if found is None:
                self._look_at = next_victim_at(running, now, config)
                break
            self._start(found.ranked, found.victim.task, now)

    def _start(self, ranked: Ranked, victim: str | None, now: dt.datetime) -> None:
        """Have one start decided."""
        task = self._index.tasks.known[ranked.waiting.task]
        run = f"{task.id}-{task.number}-{task.runs + 1}"
        command: c.Command
        if victim is None:
            command = p.StartTask(task=task.id, aged=ranked.aged, id=c.internal_id(f"start-{run}"))
        else:
            command = p.PreemptTask(
                task=victim, beneficiary=task.id, aged=ranked.aged, id=c.internal_id(f"preempt-{run}")
            )
        if not self._propose(command, now):
            self.refused.append(task.id)
        self._index.started(task.id, victim, now)

    # --- questions about tasks ----------------------------------------------------------------------------------------

    def _announce(self, events: Sequence[e.Event], now: dt.datetime) -> None:
        """Answer those who wait for a task that has changed; of a run that began by itself the next question learns."""
        waits, tasks = self._waits, self._index.tasks
        for event in events:
            if type(event) is e.TaskStarted and event.id.startswith(c.INTERNAL_ID) and event.task in tasks.running:
                self._unannounced.add(event.task)
            if waits and type(event) in _CHANGES:
                name = event.task  # type: ignore[attr-defined]  # all of these have one
                for question in waits.changed(name, keeps_submitters=tasks.is_waiting(name)):
                    self._show_task(question, now)

    def _show_or_wait(self, question: Question, asked: c.GetTask | c.SubmitTask, now: dt.datetime) -> None:
        try:
            waits_ms = wait_ms(asked.wait_seconds)
        except InvalidAmount as error:
            answer = refused("invalid_amount", str(error), field=error.field)
            self._core.take_answer(Answered(question, answer))
            return
        waits = waits_ms > 0 and self._may_change(asked)
        if not waits or self._waits.full:
            self._show_task(question, now)
        else:
            self._waits.add(asked.task, question, later(now, dt.timedelta(milliseconds=waits_ms)))

    def _may_change(self, asked: c.GetTask | c.SubmitTask) -> bool:
        """Whether there is something to wait for: who has submitted a task waits until it runs."""
        tasks = self._index.tasks
        if isinstance(asked, c.SubmitTask):
            return tasks.is_waiting(asked.task)
        return tasks.is_open(asked.task) and asked.task not in self._unannounced

    def _show_task(self, question: Question, now: dt.datetime) -> None:
        assert isinstance(question.command, c.GetTask | c.SubmitTask)
        name = question.command.task
        self._unannounced.discard(name)
        told = p.TellTask(task=name, id=self._answer_id(now))
        index = self._index
        if name in index.queue:
            moment = index.moment(now)
            told.kept_for = index.kept_for(index.queue[name], index.kept(moment))
            start = "behind_others" if told.kept_for else index.expected(moment).get(name, "far_behind")
            if isinstance(start, dt.datetime):
                told.expected_start = start
            else:
                told.unknown = start
            if has_passed(index.ledger, Expected(name, told.expected_start, told.unknown), now):
                told.not_before = now
        self._propose(told, now, question)

    def _answer_id(self, now: dt.datetime) -> str:
        return c.internal_id(f"told-{now.isoformat()}-{next(self._answer_numbers)}")
