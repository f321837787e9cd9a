"""Tasks: each with its waits and its use, and sums by day, agent type and product.

Open tasks and the day at hand are live. What a task waited counts on the day it starts, what it used on the day
on which it is completed, and the time that it holds a slot is cut at midnight.
"""

import datetime as dt
from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec

from tallystick.config.price import Tokens
from tallystick.config.prices import from_mapping as prices_from_mapping
from tallystick.events import catalog as e
from tallystick.events.catalog.usage import tokens_of
from tallystick.events.state.accounts import Balances
from tallystick.events.state.money import money, plus
from tallystick.projections.views import task_corrections
from tallystick.projections.views.summed_use import SummedUse, nothing
from tallystick.projections.views.task_rows import (
    AT_ONCE_MS,
    AnyRow,
    DayRow,
    LotRow,
    ModelRow,
    SlotLimits,
    TaskRow,
    decode,
    id_of,
    midnight,
    submitted,
)
from tallystick.projections.views.view import Changes, Look, Row, Steps, encode, moved

_MILLISECOND = dt.timedelta(milliseconds=1)


class TasksView:
    """Folds the open tasks and the day at hand, which are in memory."""

    name = "tasks"
    version = 6

    def __init__(self, balances: Balances, look: Look) -> None:
        self._balances = balances
        self._look = look
        self._tasks: dict[str, TaskRow] = {}
        """Those that are open."""
        self._day: DayRow | None = None
        self._lots: dict[tuple[str, str], LotRow] = {}
        self._models: dict[str, ModelRow] = {}
        self._touched: dict[int, AnyRow] = {}
        self._ended: dict[str, TaskRow] = {}
        """Tasks that have ended since the changes were last asked: late reports of them may still come."""
        self._rows: dict[str, Row | None] = {}
        """Rows of days that are over."""

    def changes(self, last: e.Event) -> Changes:
        rows, self._rows = self._rows, {}
        rows |= {id_of(row): Row(encode(row), live=True) for row in self._touched.values()}
        rows |= {id_of(row): Row(encode(row), live=False) for row in self._ended.values()}
        self._touched.clear()
        self._ended.clear()
        return rows

    def restore(self, rows: Iterable[bytes]) -> None:
        for data in rows:
            match decode(data):
                case TaskRow() as task:
                    self._tasks[task.task] = task
                case DayRow() as day:
                    self._day = day
                case LotRow() as lot:
                    self._lots[lot.agent_type, lot.product] = lot
                case ModelRow() as model:
                    self._models[model.model] = model

    def _touch(self, row: AnyRow) -> None:
        self._touched[id(row)] = row

    # --- days ---------------------------------------------------------------------------------------------------------

    def _today(self, at: dt.datetime) -> DayRow:
        """The day at hand; in a log that names none it has no end."""
        if self._day is None:
            self._day = DayRow(date=at.date().isoformat(), began_at=at)
            self._touch(self._day)
        return self._day

    def _configured(self, event: e.ConfigLoaded) -> None:
        if event.date is not None and event.day_ends_at is not None:
            self._enter(event.date, event.day_ends_at, event.at)
        day = self._today(event.at)
        slots = event.config.get("max_concurrent", {})
        own = {name: limit for name, limit in slots.get("per_type", {}).items() if limit is not None}
        limits = SlotLimits(event.at, slots.get("total"), own)
        if not day.limits or (day.limits[-1].total, day.limits[-1].per_type) != (limits.total, limits.per_type):
            day.limits = [*day.limits, limits]
        models = event.config.get("models", {}).items()
        day.catalogue = {alias: (one["id"], one.get("provider")) for alias, one in models if one is not None}
        self._touch(day)

    def _priced(self, event: e.PricesLoaded) -> None:
        prices = prices_from_mapping(event.prices, event.published)
        day = self._today(event.at)
        found = {alias: prices.find(*model) for alias, model in day.catalogue.items()}
        day.models = {alias: one.price for alias, one in found.items() if one is not None}
        self._touch(day)

    def _began(self, event: e.DayBegan) -> None:
        self._enter(event.date, event.ends_at, event.at)

    def _enter(self, date: str, ends_at: dt.datetime, at: dt.datetime) -> None:
        """It is this day now: the rows of the one before are finished."""
        before = self._day
        if before is not None and before.date == date:
            before.ends_at = ends_at
            self._touch(before)
            return
        if before is None:
            self._day = DayRow(date=date, began_at=at, ends_at=ends_at)
            self._touch(self._day)
            return
        began_at = midnight(before, ends_at, at)
        running = [task for task in self._tasks.values() if task.state == "running"]
        for task in running:
            self._hold(task, began_at)
        over: list[AnyRow] = [before, *self._lots.values(), *self._models.values()]
        for row in over:
            self._touched.pop(id(row), None)
            self._rows[id_of(row)] = Row(encode(row), live=False)
        self._lots, self._models = {}, {}
        newest = before.limits[-1:]
        limits = [SlotLimits(began_at, one.total, one.per_type) for one in newest]
        self._day = msgspec.structs.replace(before, date=date, began_at=began_at, ends_at=ends_at, limits=limits)
        self._touch(self._day)
        for task in running:
            self._runs_on(task)

    # --- sums of the day ----------------------------------------------------------------------------------------------

    def _lot(self, task: TaskRow, at: dt.datetime) -> LotRow:
        """The sums that a task counts in, to be changed."""
        lot = self._lots.get((task.agent_type, task.product))
        if lot is None:
            date = self._today(at).date
            lot = LotRow(date=date, agent_type=task.agent_type, product=task.product)
            self._lots[task.agent_type, task.product] = lot
        self._touch(lot)
        return lot

    def _runs_on(self, task: TaskRow) -> None:
        """A task runs on its model today; it counts once, however often it starts."""
        assert task.model is not None
        row = self._model_row(task.model)
        if task.counted != id_of(row):
            task.counted = id_of(row)
            row.tasks += 1
            row.critical += task.critical

    def _model_row(self, model: str) -> ModelRow:
        row = self._models.get(model)
        if row is None:
            assert self._day is not None
            row = self._models[model] = ModelRow(date=self._day.date, model=model)
        self._touch(row)
        return row

    # --- the life of a task -------------------------------------------------------------------------------------------

    def _submitted(self, event: e.TaskSubmitted) -> None:
        task = submitted(event)
        self._tasks[task.task] = task
        self._ended.pop(task.task, None)
        self._touch(task)

    def _retried(self, event: e.TaskRetried) -> None:
        """A task that has ended is open again; what it had used and waited stays counted."""
        task = self._ended.pop(event.task, None)
        if task is None:
            found = self._kept(f"task/{event.task}")
            task = found if isinstance(found, TaskRow) else None
        if task is None:
            return
        task.state, task.since, task.queued_at, task.ended_at = "queued", event.at, event.at, None
        task.attempt, task.code, task.message, task.expected_start, task.unknown = 1, None, None, None, None
        self._tasks[task.task] = task
        self._touch(task)

    def _known(self, event: Any) -> TaskRow:
        task = self._tasks[event.task]
        self._touch(task)
        return task

    def _awaited(self, event: e.DependenciesAwaited) -> None:
        task = self._known(event)
        task.state, task.queued_at = "waiting_on_dependencies", None

    def _queued(self, event: e.TaskQueued) -> None:
        if event.task not in self._tasks:
            return  # early logs queue one again that had ended with the account that was to pay it
        task = self._known(event)
        if task.state != "queued":
            task.state, task.queued_at, task.since = "queued", event.at, event.at
        task.code, task.message = event.code, event.message
        if event.code is not None:
            obstacles = self._lot(task, event.at).obstacles
            obstacles[event.code] = obstacles.get(event.code, 0) + 1
        task.expect(event.expected_start, event.unknown)

    def _starts_expected(self, event: e.StartsExpected) -> None:
        for expected in event.starts:
            task = self._tasks.get(expected.task)
            if task is not None:
                task.expect(expected.start, expected.unknown)
                self._touch(task)

    def _started(self, event: e.TaskStarted) -> None:
        task = self._known(event)
        account = self._balances.accounts.get(task.task)
        waited_ms = (event.at - task.since) // _MILLISECOND
        lot = self._lot(task, event.at)
        lot.starts += 1
        if waited_ms >= AT_ONCE_MS:
            task.waits, lot.waits = task.waits + 1, lot.waits + 1
            task.waited_ms, lot.waited_ms = task.waited_ms + waited_ms, lot.waited_ms + waited_ms
            task.wait_max_ms, lot.wait_max_ms = max(task.wait_max_ms, waited_ms), max(lot.wait_max_ms, waited_ms)
        task.state, task.since, task.started_at = "running", event.at, event.at
        task.runs, task.attempt = task.runs + 1, event.attempt
        task.code = task.message = task.unknown = None
        if event.expected_start is not None:
            task.late_ms = (event.at - event.expected_start) // _MILLISECOND
        task.model, task.token_budget, task.max_tokens = event.model, event.token_budget, event.max_tokens
        task.critical = account is not None and account.priority == "critical"
        self._runs_on(task)

    def _hold(self, task: TaskRow, until: dt.datetime) -> None:
        """A run held its slot up to a moment; what it holds it from then on counts later."""
        day = self._today(until)
        held_ms = max(0, (until - max(task.since, day.began_at)) // _MILLISECOND)
        task.busy_ms += held_ms
        self._lot(task, until).busy_ms += held_ms
        task.since = max(task.since, until)
        self._touch(task)

    def _waits_again(self, task: TaskRow, at: dt.datetime, code: str) -> None:
        self._hold(task, at)
        task.state, task.since, task.expected_start = "queued", at, None
        task.code = code
        obstacles = self._lot(task, at).obstacles
        obstacles[code] = obstacles.get(code, 0) + 1

    def _preempted(self, event: e.TaskPreempted) -> None:
        self._waits_again(self._known(event), event.at, "preempted")

    def _lease_lost(self, event: e.LeaseLost) -> None:
        task = self._known(event)
        if event.then == "queued":
            self._waits_again(task, event.at, "lease_lost")
            task.attempt += 1
        else:
            self._end(task, event.at, "failed", "attempts_exhausted")

    def _completed(self, event: e.TaskCompleted) -> None:
        task = self._known(event)
        if event.outcome == "completed":
            tokens, _, cost_nanos = money(task.used.triple)
            lot = self._lot(task, event.at)
            lot.add_completed(task, tokens, cost_nanos)
            if not event.assumed:
                lot.estimated, lot.estimated_tokens = lot.estimated + 1, lot.estimated_tokens + event.estimated_tokens
        self._end(task, event.at, event.outcome)

    def _cancelled(self, event: e.TaskCancelled) -> None:
        if event.task in self._tasks:
            self._end(self._known(event), event.at, "cancelled")

    def _given_up(self, event: e.TaskGivenUp) -> None:
        if event.task in self._tasks:
            self._end(self._known(event), event.at, "cancelled", event.code)

    def _rejected(self, event: e.TaskRejected) -> None:
        task = self._known(event)
        self._end(task, event.at, "rejected", event.code)
        task.message = event.message

    def _end(self, task: TaskRow, at: dt.datetime, state: str, code: str | None = None) -> None:
        if task.state == "running":
            self._hold(task, at)
        lot = self._lot(task, at)
        lot.completed += state == "completed"
        lot.failed += state == "failed"
        lot.cancelled += state == "cancelled"
        task.state, task.since, task.ended_at = state, at, at
        task.code, task.message, task.unknown = code, None, None
        del self._tasks[task.task]
        self._touched.pop(id(task), None)
        self._ended[task.task] = task

    def _overdue(self, event: e.TaskOverdue) -> None:
        if event.task in self._tasks:
            self._lot(self._known(event), event.at).overdue += 1

    # --- usage --------------------------------------------------------------------------------------------------------

    def _used(self, event: "e.UsageReported | e.HoldSettled") -> None:
        task = self._task_of(event.agent, event.account)
        if task is not None and not event.history:
            self._use(task, event)

    def is_alone(self, event: e.UsageReported) -> bool:
        """Whether a report is of a task, though the account of its agent is of no run, and so not to be summed."""
        return event.agent in self._tasks

    def _use(self, task: TaskRow, event: "e.UsageReported | e.HoldSettled") -> None:
        used = (event.tokens, event.time_ms, event.cost_nanos)
        task.used = moved(plus(money(task.used.triple), used))
        if task.is_open:
            self._touch(task)
        if task.state in ("running", "completed") and event.tokens:
            self._compare(task, tokens_of(event), base=event.base_tier or (event.requests or 1) > 1)
        # What comes after the completion counts in the sums of its day, while that is the day at hand.
        if task.state == "completed" and task.ended_at and task.ended_at >= self._today(event.at).began_at:
            self._lot(task, event.at).add_completed(task, event.tokens, event.cost_nanos)

    def _corrected(self, event: e.UsageCorrected) -> None:
        if event.record.history:
            return
        name, day = event.run or event.agent, self._today(event.at)
        task = self._tasks.get(name) or (None if event.is_own and event.run is None else self._task_of(name, None))
        rows: list[AnyRow] = [day, *self._lots.values(), *self._models.values()]
        live = {id_of(row): row for row in rows}
        for row in () if task is None else task_corrections.correct(task, event, day, live, self._kept):
            if row is task or id_of(row) in live:
                self._touch(row)
            else:
                self._rows[id_of(row)] = Row(encode(row), live=False)

    def _kept(self, id: str) -> AnyRow | None:
        """A row that is finished."""
        pending = self._rows.get(id)
        data = self._look(self.name, id) if pending is None else pending.data
        return None if data is None else decode(data)

    def _compare(self, task: TaskRow, used: Tokens, *, base: bool) -> None:
        """Lay what was used beside what it costs on each model of the catalogue, request by request."""
        prices = {} if self._day is None else self._day.models
        assert task.model is not None
        counts = task.state == "running" and not task.critical
        rows = [task.would_cost, self._model_row(task.model).would_cost] if counts else [task.would_cost]
        for alias, price in prices.items():
            cost_nanos = price.cost(*used, base=base)
            for would_cost in rows:
                would_cost[alias] = would_cost.get(alias, 0) + cost_nanos

    def _task_of(self, agent: str, charged: str | None) -> TaskRow | None:
        """The open task that an agent is, or works for as a sub-agent; an ended one where it is its own late report.

        ``charged`` is the id whose open account pays for it itself, if there is one.
        """
        task = self._tasks.get(agent)
        if task is not None:
            return task
        account = None if charged is None else self._balances.accounts.get(charged)
        if account is not None:
            return None if account.run is None else self._tasks.get(account.run)
        task = self._ended.get(agent)
        if task is not None:
            return task
        found = self._kept(f"task/{agent}")
        if isinstance(found, TaskRow):
            self._ended[agent] = found
            return found
        return None

    steps: ClassVar[Steps] = {
        e.ConfigLoaded: _configured,
        e.PricesLoaded: _priced,
        e.DayBegan: _began,
        e.TaskSubmitted: _submitted,
        e.DependenciesAwaited: _awaited,
        e.TaskQueued: _queued,
        e.TaskRejected: _rejected,
        e.StartsExpected: _starts_expected,
        e.TaskStarted: _started,
        e.TaskPreempted: _preempted,
        e.LeaseLost: _lease_lost,
        e.TaskCompleted: _completed,
        e.TaskCancelled: _cancelled,
        e.TaskGivenUp: _given_up,
        e.TaskRetried: _retried,
        e.TaskOverdue: _overdue,
        e.UsageReported: _used,
        SummedUse: nothing,
        e.HoldSettled: _used,
        e.HoldSpent: _used,
        e.UsageCorrected: _corrected,
    }
