"""A task that failed or was cancelled begins anew, under its id."""

import msgspec

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.admission import impossible, obstacle
from tallystick.events.decide.refusals import unknown_task
from tallystick.events.decide.task_answers import status
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.replies import Refusal
from tallystick.events.messages.task_replies import TaskStatus
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.tasks import Task


def retry_task(turn: Turn, command: c.RetryTask) -> TaskStatus | Refusal:
    """Give a task a new life, and with ``revive_dependents`` those that fell with it: each by an event, in order."""
    ledger = turn.ledger
    task = ledger.tasks.get(command.task)
    if task is None:
        return unknown_task(command.task)
    refusal = _why_not(ledger, task)
    if refusal is not None:
        return refusal
    # Nothing can fail after this line.
    fallen = _fallen_with(ledger, task) if command.revive_dependents else []
    _revive(turn, task, command.reason, None)
    revived = []
    for other in fallen:
        # One that depends on something else that failed, or whose account is gone, stays as it is.
        if _why_not(ledger, other) is None:
            _revive(turn, other, command.reason, other.because)
            revived.append(other.id)
    answer = status(turn, task)
    answer.revived = revived or None
    return answer


def _why_not(ledger: Ledger, task: Task) -> Refusal | None:
    """Why a task cannot begin anew: its state, what it depends on, what it is paid from, what it needs."""
    if task.state not in ("failed", "cancelled"):
        text = f"{task.id} is {task.state}: allowed is a task that has failed or was cancelled"
        return Refusal("not_retryable", text, {"task": task.id, "state": task.state})
    if task.id in ledger.accounts:
        return Refusal("already_allocated", f"{task.id} has an open account already", {"agent": task.id})
    if task.parent is not None and task.parent not in ledger.accounts:
        return Refusal("unknown_parent", f"no account is open for {task.parent}", {"parent": task.parent})
    for name in task.depends_on:
        needed = ledger.tasks.get(name)
        if needed is not None and not needed.is_open and needed.state != "completed":
            text = f"{name}, which it depends on, was {needed.state}: retry that one first, with revive_dependents"
            return Refusal("dependency_failed", text, {"dependency": name, "state": needed.state})
    reason = impossible(ledger, task)
    if reason is not None:
        return Refusal(reason.code, reason.message, {"limit": reason.limit, "current": reason.current})
    return None


def _fallen_with(ledger: Ledger, task: Task) -> list[Task]:
    """The tasks that were cancelled when this one ended, and those that were with them; in order of submission."""
    found: dict[str, Task] = {}
    ends = [task]
    while ends:
        for name in ends.pop().fallen or ():
            fallen = ledger.tasks.get(name)
            if fallen is not None and name not in found and fallen.code == "dependency_failed":
                found[name] = fallen
                ends.append(fallen)
    return sorted(found.values(), key=lambda one: one.number)


def _revive(turn: Turn, task: Task, reason: str, because: str | None) -> None:
    turn.record(e.TaskRetried(task=task.id, reason=reason, because=because))
    if task.unmet:
        turn.record(e.DependenciesAwaited(task=task.id, unfinished=list(task.unmet)))
        return
    why = obstacle(turn.ledger, task)
    turn.record(e.TaskQueued(task=task.id, **({} if why is None else msgspec.structs.asdict(why))))
