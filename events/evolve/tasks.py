"""How the events of tasks change the state. Like all of `evolve`, they never fail and never decide."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from tallystick.events import catalog as e
from tallystick.events.state.accounts import Money
from tallystick.events.state.estimates import Estimates
from tallystick.events.state.rules import Rules
from tallystick.events.state.slot_time import SlotTimes
from tallystick.events.state.task_rules import lease_time
from tallystick.events.state.tasks import HowEnded, Task, Tasks


class ViewStore(Protocol):
    """Whoever keeps tasks: the ledger, and the allocator's picture of it, which changes by the same steps."""

    tasks: Tasks
    estimates: Estimates
    slot_times: SlotTimes
    rules: Rules

    def spent_by(self, agent: str) -> Money:
        """What the account of a run was charged with."""


def _submitted(ledger: ViewStore, event: e.TaskSubmitted) -> None:
    task = Task(
        event.task,
        ledger.tasks.submitted + 1,
        event.agent_type,
        event.product,
        event.at,
        event.estimated_tokens,
        event.estimated_ms,
    )
    task.named_priority, task.wanted_model = event.priority, event.model
    task.workflow, task.parent, task.blocks = event.workflow, event.parent, event.blocks
    task.depends_on = tuple(event.depends_on)
    ledger.tasks.add(task)


def _awaited(ledger: ViewStore, event: e.DependenciesAwaited) -> None:
    ledger.tasks.become(ledger.tasks.known[event.task], "waiting_on_dependencies")


def _queued(ledger: ViewStore, event: e.TaskQueued) -> None:
    task = ledger.tasks.known[event.task]
    task.expected_start = event.expected_start
    if task.state != "queued":
        task.queued_at = event.at
        ledger.tasks.become(task, "queued")


def _rejected(ledger: ViewStore, event: e.TaskRejected) -> None:
    task = ledger.tasks.known[event.task]
    task.code = event.code
    ledger.tasks.finish(task, "rejected", event.position)


def _started(ledger: ViewStore, event: e.TaskStarted) -> None:
    task = ledger.tasks.known[event.task]
    task.runs += 1
    task.started_at, task.model, task.aged = event.at, event.model, event.aged
    task.token_budget, task.max_tokens, task.budget_passed = event.token_budget, event.max_tokens, False
    ledger.tasks.become(task, "running")
    ledger.slot_times.started(task.product, event.at)
    ledger.tasks.lease_until(task, event.lease, event.expires_at)


def _extended(ledger: ViewStore, event: e.LeaseExtended) -> None:
    ledger.tasks.lease_until(ledger.tasks.known[event.task], event.lease, event.expires_at)


def _budget_passed(ledger: ViewStore, event: e.TokenBudgetPassed) -> None:
    ledger.tasks.known[event.task].budget_passed = True


def _run_over(ledger: ViewStore, event: Any, how: HowEnded = "over") -> Task:
    """A run has ended; its account is still open."""
    task = ledger.tasks.known[event.task]
    task.end_run(how, ledger.spent_by(task.id))
    task.expected_start = None
    ledger.slot_times.ended(task.product, event.at)
    return task


def _preempted(ledger: ViewStore, event: e.TaskPreempted) -> None:
    task = _run_over(ledger, event, "preempted")
    task.preempted_at = event.at
    ledger.tasks.become(task, "queued")


def _acknowledged(ledger: ViewStore, event: e.PreemptionAcknowledged) -> None:
    task = ledger.tasks.known[event.task]
    assert task.ended is not None
    task.ended[event.lease] = task.ended[event.lease]._replace(how="over")


def _lease_lost(ledger: ViewStore, event: e.LeaseLost) -> None:
    task = _run_over(ledger, event)
    if event.then == "queued":
        task.attempt += 1
        ledger.tasks.become(task, "queued")
    else:
        task.code = "attempts_exhausted"
        ledger.tasks.finish(task, "failed", event.position)


def _completed(ledger: ViewStore, event: e.TaskCompleted) -> None:
    ledger.tasks.finish(_run_over(ledger, event), event.outcome, event.position)
    ledger.estimates.completed(event)


def _cancelled(ledger: ViewStore, event: "e.TaskCancelled | e.TaskGivenUp") -> None:
    task = ledger.tasks.known[event.task]
    if task.state == "running":
        _run_over(ledger, event)
    if isinstance(event, e.TaskGivenUp):
        task.code = event.code
    ledger.tasks.finish(task, "cancelled", event.position)


def _overdue(ledger: ViewStore, event: e.TaskOverdue) -> None:
    ledger.tasks.known[event.task].overdue = True


def _starts_expected(ledger: ViewStore, event: e.StartsExpected) -> None:
    for expected in event.starts:
        ledger.tasks.known[expected.task].expected_start = expected.start


def _adjusted(ledger: ViewStore, event: e.EstimateAdjusted) -> None:
    ledger.estimates.adjusted(event)


def used_late(ledger: ViewStore, event: e.UsageReported) -> None:
    """A report of a run that was over."""
    task = None if event.lease is None else ledger.tasks.get(event.agent)
    if task is not None and event.lease is not None:
        task.used_late(event.lease, (event.tokens, event.time_ms, event.cost_nanos))


def resume_leases(ledger: ViewStore, event: e.Event) -> None:
    """Everything may go on: whoever was stopped has a whole lease's time to give a sign of life."""
    ledger.tasks.renew(event.at + lease_time(ledger.rules.config))


TASK_EVENTS: Mapping[type[e.Event], Callable[[Any, Any], None]] = {
    e.TaskSubmitted: _submitted,
    e.DependenciesAwaited: _awaited,
    e.TaskQueued: _queued,
    e.TaskRejected: _rejected,
    e.TaskStarted: _started,
    e.LeaseExtended: _extended,
    e.TokenBudgetPassed: _budget_passed,
    e.TaskPreempted: _preempted,
    e.PreemptionAcknowledged: _acknowledged,
    e.LeaseLost: _lease_lost,
    e.TaskCompleted: _completed,
    e.TaskCancelled: _cancelled,
    e.TaskGivenUp: _cancelled,
    e.TaskOverdue: _overdue,
    e.StartsExpected: _starts_expected,
    e.EstimateAdjusted: _adjusted,
}
