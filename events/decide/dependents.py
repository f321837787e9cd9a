"""What the end of a task means for those that wait for it: they may be queued, or will never run."""

import msgspec

from tallystick.events import catalog as e
from tallystick.events.decide.admission import obstacle
from tallystick.events.decide.turn import Turn
from tallystick.events.state.tasks import Task


def free_dependents(turn: Turn, dependents: list[Task]) -> None:
    """A task was completed: of those that waited for it, queue the ones that wait for no other."""
    for task in dependents:
        # One that would be paid from the account of the task has ended with it.
        if task.is_open and not task.unmet:
            reason = obstacle(turn.ledger, task)
            turn.record(
                e.TaskQueued(task=task.id)
                if reason is None
                else e.TaskQueued(task=task.id, **msgspec.structs.asdict(reason))
            )


def cancel_dependents(turn: Turn, ended: Task) -> list[str]:
    """A task has failed or was cancelled: so are all that depend on it, each by an event. Their names, in order."""
    cancelled: list[str] = []
    ends = [ended]
    while ends:
        end = ends.pop()
        for task in turn.ledger.tasks.waiting_for(end):
            turn.record(e.TaskGivenUp(task=task.id, code="dependency_failed", because=end.id))
            cancelled.append(task.id)
            ends.append(task)
    return cancelled


def give_up_under(turn: Turn, account: str) -> None:
    """An account is closed: the tasks that run or wait to be paid from it end with it, itself included."""
    tasks = turn.ledger.tasks
    own = tasks.running.get(account)
    for task in [*tasks.by_account.get(account, {}).values(), *([] if own is None else [own])]:
        # One may have depended on another, and have ended with it.
        if task.is_open:
            turn.record(e.TaskGivenUp(task=task.id, code="budget_released", because=account))
            cancel_dependents(turn, task)
