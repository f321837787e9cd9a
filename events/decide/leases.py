"""Leases: reports and signs of life of a run, and what happens to those that come too late, or never; also of agents.

A run is over when its lease has ended. Whatever still comes from it changes nothing but the record of what it used,
which is charged to the account that paid for the run: never to a later run, and never twice.
"""

import datetime as dt
from typing import Literal

from tallystick.events import catalog as e
from tallystick.events.decide.alerts import alert
from tallystick.events.decide.answers import enforcement
from tallystick.events.decide.dependents import cancel_dependents
from tallystick.events.decide.fleet_response import respond
from tallystick.events.decide.levels import STOP
from tallystick.events.decide.refusals import unknown_task
from tallystick.events.decide.release import close_account, close_below, settle_above
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.replies import Refusal
from tallystick.events.messages.task_replies import TaskAlive, shown_time
from tallystick.events.state.accounts import Account
from tallystick.events.state.calendar import NEVER, later
from tallystick.events.state.task_rules import lease_time
from tallystick.events.state.tasks import Task

WhichRun = Literal["current", "preempted", "over", "idle"]


def which_run(task: Task, lease: str | None) -> WhichRun:
    """Which run a message is from: the one that goes on, one that was preempted and does not know, or an ended one.

    Without a lease the run at hand is meant; "idle" where there is none.
    """
    if task.state == "running" and lease in (None, task.lease):
        return "current"
    run = task.ended_run(lease)
    if run is not None and run.how == "preempted":
        return "preempted"
    return "idle" if lease is None else "over"


def last_lease(task: Task) -> str | None:
    """The lease of the last run that is over."""
    return task.ended[-1].lease if task.ended else None


def was_lost(task: Task) -> bool:
    """Whether a run that is over did not end by its own word."""
    return task.is_open or task.code is not None or task.state == "cancelled"


# --- signs of life ----------------------------------------------------------------------------------------------------


def extend_lease(turn: Turn, name: str, lease: str | None) -> TaskAlive | Refusal:
    """A sign of life of a run: its lease ends later, or its owner learns that the slot was taken away."""
    task = turn.ledger.tasks.get(name)
    if task is None:
        return unknown_task(name)
    run = which_run(task, lease)
    if run == "current":
        return _extend(turn, task)
    if run != "preempted":
        return too_late(task, run)
    # Nothing can fail after this line.
    turn.record(e.PreemptionAcknowledged(task=task.id, lease=lease or last_lease(task) or ""))
    return TaskAlive(task.id, task.state, e.ACTIONS[STOP], 0.0, 0, "preemption", None, preempted=True)


def _extend(turn: Turn, task: Task) -> TaskAlive:
    assert task.lease is not None
    assert task.lease_expires_at is not None
    expires_at = max(task.lease_expires_at, later(turn.now, lease_time(turn.ledger.rules.config)))
    turn.record(e.LeaseExtended(task=task.id, lease=task.lease, expires_at=expires_at))
    account = turn.ledger.accounts[task.id]
    measure = enforcement(turn, task.id, account, account.ratio(), None)
    return TaskAlive(
        task.id,
        task.state,
        measure.action,
        measure.throttle_rate,
        measure.wait_seconds,
        measure.decided_by,
        shown_time(expires_at),
    )


def too_late(task: Task, run: WhichRun) -> Refusal:
    """Why a message about a run changes nothing any more."""
    numbers = {"task": task.id, "state": task.state}
    if run == "idle" and task.is_open:
        return Refusal("not_running", f"{task.id} is not running: it is {task.state}", numbers)
    if was_lost(task):
        return Refusal("lease_lost", f"the lease has ended, and {task.id} is {task.state}: stop working on it", numbers)
    return Refusal("already_finished", f"{task.id} is {task.state}", numbers)


# --- the end of a lease -----------------------------------------------------------------------------------------------


def lose_leases(turn: Turn, until: dt.datetime) -> None:
    """End the runs of which no sign of life came by ``until``, as far as no hold expires before; each in its order.

    The slots and the unspent budgets are free, and the tasks are tried again, or have failed. What all of them give
    back goes up the tree once.
    """
    ledger = turn.ledger
    closed: list[Account] = []
    failed: list[tuple[Task, int]] = []
    while (due := ledger.tasks.due_at()) <= until and due != NEVER:
        if ledger.expiries and ledger.expiries[0][0] <= due:
            break
        task = ledger.tasks.running[ledger.tasks.leases[0][1]]
        account, attempt = ledger.accounts[task.id], task.attempt
        assert task.lease is not None
        fails = attempt >= ledger.rules.config.leases.max_attempts
        then: e.AfterLease = "failed" if fails else "queued"
        turn.record(e.LeaseLost(task=task.id, lease=task.lease, attempt=attempt, then=then))
        close_below(turn, account, fell_silent=True)
        closed.append(account)
        if fails:
            failed.append((task, attempt))
    settle_above(turn, closed)
    respond(turn)
    for task, attempts in failed:
        cancel_dependents(turn, task)
        alert(turn, "attempts_exhausted", f"{task.id} has failed: its lease was lost {attempts} times", task.id)


def end_agent_lease(turn: Turn, account: Account) -> None:
    """No message came by an account, or from below it, in the time of its lease: it is released with all below it."""
    heard_at = turn.ledger.leases.heard_at(account)
    turn.record(e.AgentLeaseEnded(agent=account.id, lease_ms=account.terms.lease_ms, heard_at=heard_at))
    close_account(turn, account, fell_silent=True)
