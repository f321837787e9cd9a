"""The end of a task by a message: slot, usage, estimates and dependent tasks, all in one transaction."""

import datetime as dt
from decimal import Decimal

from tallystick.config.amounts import MS_PER_SECOND, NANOS_PER_DOLLAR, TOKENS, Amounts, Budget, Triple, shown_minutes
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide import pricing
from tallystick.events.decide.answers import used
from tallystick.events.decide.dependents import cancel_dependents, free_dependents
from tallystick.events.decide.leases import too_late, which_run
from tallystick.events.decide.refusals import unknown_task
from tallystick.events.decide.release import close_account, close_children
from tallystick.events.decide.spelling import is_renamed
from tallystick.events.decide.turn import Turn
from tallystick.events.decide.usage import book
from tallystick.events.messages.replies import Number, Refusal, shown
from tallystick.events.messages.task_replies import Compared, TaskClosed
from tallystick.events.state.accounts import Account
from tallystick.events.state.estimates import accuracy
from tallystick.events.state.money import Money, less, money
from tallystick.events.state.tasks import Task

_MILLISECOND = dt.timedelta(milliseconds=1)
OPERATION = "completion"
"""What a report is called that books the rest of a total."""


def complete_task(turn: Turn, command: c.CompleteTask) -> TaskClosed | Refusal:
    """End a task as its owner says. Of ``usage``, the total of the run, only what was not reported yet is booked.

    Raises:
        InvalidAmount: a malformed amount; nothing was recorded.
    """
    total: Triple = (None, None, None) if command.usage is None else command.usage.rounded_up("usage")
    task = turn.ledger.tasks.get(command.task)
    if task is None:
        return unknown_task(command.task)
    run, repaired = which_run(task, command.lease), is_renamed(turn.id, command)
    if run != "current":
        _book_late(turn, task, command.lease, total, repaired=repaired)
        if run == "preempted":
            turn.record(e.PreemptionAcknowledged(task=task.id, lease=command.lease or task.ended[-1].lease))
        return too_late(task, run)
    account = turn.ledger.accounts[task.id]
    rest = _rest(total, account.spent)
    if rest is not None:
        pricing.price(turn.ledger.rules, _report(task, rest), total=True)
    # Nothing can fail after this line.
    close_children(turn, account)
    if rest is not None:
        book(turn, _report(task, rest), task.id, total=True, repaired=repaired)
    answer = _complete(turn, task, account, command.outcome)
    answer.repaired = repaired
    return answer


def _complete(turn: Turn, task: Task, account: Account, outcome: c.TaskOutcome) -> TaskClosed:
    ledger = turn.ledger
    assert task.lease is not None
    assert task.model is not None
    assert task.started_at is not None
    consumed = used(account)
    elapsed_ms = max(0, (turn.now - task.started_at) // _MILLISECOND)
    dependents = ledger.tasks.waiting_for(task)
    turn.record(
        e.TaskCompleted(
            task=task.id,
            outcome=outcome,
            lease=task.lease,
            attempt=task.attempt,
            agent_type=task.agent_type,
            product=task.product,
            model=task.model,
            estimated_tokens=task.estimated_tokens,
            estimated_ms=task.estimated_ms,
            assumed=task.assumed,
            estimated_cost_nanos=ledger.estimates.cost_nanos(
                task.agent_type, task.product, task.model, task.estimated_tokens
            ),
            consumed=Amounts(*consumed),
            elapsed_ms=elapsed_ms,
        )
    )
    close_account(turn, account)
    cancelled: list[str] = []
    if outcome == "completed":
        settings = ledger.rules.config.estimates
        for adjusted in list(ledger.estimates.adjustments(task.agent_type, task.product, task.model, settings)):
            turn.record(adjusted)
        free_dependents(turn, dependents)
    else:
        cancelled = cancel_dependents(turn, task)
    return _closed(task, consumed, elapsed_ms, cancelled)


def _closed(task: Task, consumed: Triple, elapsed_ms: int, cancelled: list[str]) -> TaskClosed:
    """An estimate is called "good" within 10 %."""
    tokens = money(consumed)[TOKENS]
    estimated_ms = task.estimated_ms
    estimated: Number | None = None if estimated_ms is None else shown_minutes(estimated_ms)
    return TaskClosed(
        task.id,
        task.state,
        task.attempt,
        shown(consumed),
        Compared(task.estimated, tokens, None if task.estimated is None else accuracy(task.estimated, tokens)),
        Compared(
            estimated,
            shown_minutes(elapsed_ms),
            None if estimated_ms is None else accuracy(estimated_ms, elapsed_ms),
        ),
        cancelled or None,
    )


def _rest(total: Triple, booked: Money) -> Triple | None:
    """What of a total is not on record yet; None where all of it is. A cost that is not named is not known."""
    rest = less(money(total), booked)
    if not any(rest):
        return None
    return (rest[0], rest[1], None if total[2] is None else rest[2])


def _report(task: Task, rest: Triple) -> c.ReportUsage:
    """The report that books the rest of a total; tokens without a cost are priced as what the task ran on."""
    tokens, time_ms, cost_nanos = rest
    usage = Budget(
        tokens,
        None if time_ms is None else Decimal(time_ms) / MS_PER_SECOND,
        None if cost_nanos is None else Decimal(cost_nanos) / NANOS_PER_DOLLAR,
    )
    return c.ReportUsage(task=task.id, usage=usage, model=task.model, operation=OPERATION)


def _book_late(turn: Turn, task: Task, lease: str | None, total: Triple, *, repaired: bool) -> None:
    """A run that is over says what it used in all: what was not known of it is still a fact."""
    if lease is None and task.ended:
        lease = task.ended[-1].lease
    rest = _rest(total, task.spent_by(lease))
    if rest is not None:
        payer = turn.ledger.payer_of_run(task)
        book(turn, _report(task, rest), task.id, lease, payer, total=True, repaired=repaired)


def cancel_task(turn: Turn, command: c.CancelTask) -> TaskClosed | Refusal:
    """Give a task up, whether it waits or runs."""
    ledger = turn.ledger
    task = ledger.tasks.get(command.task)
    if task is None:
        return unknown_task(command.task)
    if not task.is_open:
        numbers = {"task": task.id, "state": task.state}
        return Refusal("already_finished", f"{task.id} is {task.state}", numbers)
    # Nothing can fail after this line.
    account = ledger.accounts.get(task.id)
    turn.record(e.TaskCancelled(task=task.id))
    consumed = None
    if account is not None:
        close_children(turn, account)
        consumed = shown(used(account))
        close_account(turn, account)
    return TaskClosed(task.id, task.state, task.attempt, consumed, cancelled=cancel_dependents(turn, task) or None)
