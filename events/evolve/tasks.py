"""How the events of tasks change the state. Like all of `evolve`, they never fail and never decide."""

from typing import Any

from tallystick.events import catalog as e
from tallystick.events.evolve import charged
from tallystick.events.messages.command import PRIORITIES
from tallystick.events.state import inheritance
from tallystick.events.state.agent_leases import hear
from tallystick.events.state.calendar import later
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.slot_time import micros
from tallystick.events.state.task_rules import lease_time, priority_of
from tallystick.events.state.tasks import HowEnded, Task


def submit(ledger: Ledger, event: e.TaskSubmitted) -> None:
    """A task is known; what it depends on knows that it waits."""
    if event.parent is not None:
        hear(ledger.accounts[event.parent], event.at)
    ledger.tasks.add(task_of(ledger, event, ledger.tasks.submitted + 1))


def task_of(ledger: Ledger, event: e.TaskSubmitted, number: int) -> Task:
    """A task as it was submitted."""
    own = PRIORITIES.index(priority_of(ledger.rules.config, event.product, event.priority))
    # By place: with more than 15 names, a call makes a dictionary of them first.
    return Task(
        event.task,
        number,
        event.agent_type,
        event.product,
        event.priority,
        event.workflow,
        event.model,
        event.parent,
        event.blocks,
        event.estimated_tokens,
        event.estimated_ms,
        event.assumed,
        "queued",
        event.at,
        tuple(event.depends_on),
        parent_life=0 if event.parent is None else ledger.accounts[event.parent].life,
        labels=event.labels,
        own_level=own,
        level=own,
    )


def relevel(ledger: Ledger) -> None:
    """The priorities in force have changed: so may those that tasks have by themselves, and those that they inherit."""
    config = ledger.rules.config
    inheritance.relevel(ledger.tasks, lambda task: priority_of(config, task.product, task.named_priority))


def await_dependencies(ledger: Ledger, event: e.DependenciesAwaited) -> None:
    """A task waits for other tasks."""
    ledger.tasks.become(ledger.tasks.known[event.task], "waiting_on_dependencies")


def queue(ledger: Ledger, event: e.TaskQueued) -> None:
    """A task waits for a slot. Early logs also queue one that had ended with the account that was to pay it."""
    task = ledger.tasks.get(event.task)
    if task is None or not task.is_open:
        return
    task.expected_start = event.expected_start
    if task.state != "queued":
        task.queued_at = event.at
        ledger.tasks.become(task, "queued")


def reject(ledger: Ledger, event: e.TaskRejected) -> None:
    """A task was refused for good."""
    task = ledger.tasks.known[event.task]
    task.code = event.code
    ledger.tasks.finish(task, "rejected", event.position)


def start(ledger: Ledger, event: e.TaskStarted) -> None:
    """A task runs: it has a slot, a model, its token limits and a lease."""
    task = ledger.tasks.known[event.task]
    task.runs += 1
    task.started_at, task.model, task.aged = event.at, event.model, event.aged
    task.token_budget, task.max_tokens, task.budget_passed = event.token_budget, event.max_tokens, False
    ledger.tasks.become(task, "running")
    ledger.slot_times.started(task.product, event.at)
    charged.begin(ledger, task, event)
    ledger.tasks.lease_until(task, event.lease, event.expires_at)


def extend_lease(ledger: Ledger, event: e.LeaseExtended) -> None:
    """A lease ends later; so do those of the agents that the run is below."""
    account = ledger.accounts.get(event.task)
    if account is not None:
        hear(account, event.at)
    ledger.tasks.lease_until(ledger.tasks.known[event.task], event.lease, event.expires_at)


def pass_token_budget(ledger: Ledger, event: e.TokenBudgetPassed) -> None:
    """A run has used more than its token budget."""
    ledger.tasks.known[event.task].budget_passed = True


def _end_run(ledger: Ledger, event: Any, how: HowEnded = "over") -> Task:
    """A run has ended; its account is still open."""
    task = ledger.tasks.known[event.task]
    task.end_run(how, ledger.spent_by(task.id))
    task.expected_start = None
    ledger.slot_times.ended(task.product, event.at)
    ledger.charged.ended(task.id, micros(event.at))
    return task


def preempt(ledger: Ledger, event: e.TaskPreempted) -> None:
    """A run has lost its slot to another task, and waits again; its owner does not know yet."""
    task = _end_run(ledger, event, "preempted")
    task.preempted_at = event.at
    ledger.tasks.become(task, "queued")


def acknowledge_preemption(ledger: Ledger, event: e.PreemptionAcknowledged) -> None:
    """The owner of a run knows that the slot was taken away; the task may have been forgotten meanwhile."""
    task = ledger.tasks.get(event.task)
    if task is not None:
        task.acknowledge(event.lease)


def lose_lease(ledger: Ledger, event: e.LeaseLost) -> None:
    """A lease has expired: the task waits for another attempt, or has failed."""
    task = _end_run(ledger, event)
    if event.then == "queued":
        task.attempt += 1
        ledger.tasks.become(task, "queued")
    else:
        task.code = "attempts_exhausted"
        ledger.tasks.finish(task, "failed", event.position)


def complete(ledger: Ledger, event: e.TaskCompleted) -> None:
    """A run has ended by its owner's message: its slot is free, and estimates learn from it."""
    ledger.tasks.finish(_end_run(ledger, event), event.outcome, event.position)
    ledger.estimates.completed(event)


def cancel(ledger: Ledger, event: "e.TaskCancelled | e.TaskGivenUp") -> None:
    """A task was cancelled, or given up for what it depends on; in early logs also one that had ended (see `queue`)."""
    task = ledger.tasks.get(event.task)
    if task is None or not task.is_open:
        return
    if task.state == "running":
        _end_run(ledger, event)
    if isinstance(event, e.TaskGivenUp):
        task.code = event.code
        ledger.tasks.fell_with(task, event.because)
    ledger.tasks.finish(task, "cancelled", event.position)


def retry(ledger: Ledger, event: e.TaskRetried) -> None:
    """A task that had ended begins anew; it waits again for those that it depends on."""
    task = ledger.tasks.known[event.task]
    ledger.tasks.revive(task, event.at)
    task.parent_life = 0 if task.parent is None else ledger.accounts[task.parent].life


def mark_overdue(ledger: Ledger, event: e.TaskOverdue) -> None:
    """A task has waited longer than its priority allows."""
    task = ledger.tasks.get(event.task)
    if task is not None:
        task.overdue = True


def expect_starts(ledger: Ledger, event: e.StartsExpected) -> None:
    """An answer said when waiting tasks are expected to start."""
    for expected in event.starts:
        task = ledger.tasks.get(expected.task)
        if task is not None:
            task.expected_start = expected.start


def adjust_estimate(ledger: Ledger, event: e.EstimateAdjusted) -> None:
    """The estimate for a kind of tasks was adjusted."""
    ledger.estimates.adjusted(event)


def used_late(ledger: Ledger, event: e.UsageReported) -> None:
    """A report of a run that was over."""
    task = None if event.lease is None else ledger.tasks.get(event.agent)
    if task is not None and event.lease is not None:
        task.used_late(event.lease, (event.tokens, event.time_ms, event.cost_nanos))


def resume_leases(ledger: Ledger, event: e.Event) -> None:
    """Everything may go on: each run has a whole lease's time to give a sign of life."""
    ledger.tasks.renew(later(event.at, lease_time(ledger.rules.config)))
