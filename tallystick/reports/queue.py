"""The queue as the fleet would answer: the allocator's own order and the core's own answer, on a state that is read.

What is in a task's way, and which goes first, depends on more than any view holds: slot-time by product, what running
tasks may still use today, balances. So the core's state is built from the log, as an opening fleet does, and asked.
Nothing of it is recorded.
"""

import datetime as dt
from typing import Any

import msgspec

from tallystick.actors.policies.scheduling.index import SchedulerIndex
from tallystick.actors.policies.scheduling.queue_view import queue_answer
from tallystick.events.decide.task_answers import answer_queue
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.task_replies import QueuedTask, QueueStatus
from tallystick.events.state.ledger import Ledger


class QueuedRecord(msgspec.Struct, frozen=True):
    """Seed 000's record of a queued task; ``reason_queued`` is None where it can start with the next commit."""

    task_id: str
    product: str
    agent: str
    priority: str
    queued_at: str
    estimated_tokens: int
    reason_queued: str | None
    expected_start: str | None


def queue_of(ledger: Ledger, now: dt.datetime, limit: int) -> QueueStatus:
    """What `GetQueue` answers in this state at ``now``, by what is on record: a lease whose end is not recorded yet
    still counts. The expected starts are written into the state too, which is of no use for anything else then.
    """
    turn = Turn(ledger, now, "", "")
    return answer_queue(turn, queue_answer(SchedulerIndex(ledger), limit, turn.now))


def record_of(task: QueuedTask) -> QueuedRecord:
    """A waiting task as the seed writes it down."""
    return QueuedRecord(
        task_id=task.task,
        product=task.product,
        agent=task.agent_type,
        priority=task.priority,
        queued_at=task.queued_at,
        estimated_tokens=task.estimated_tokens,
        reason_queued=None if task.reason is None else task.reason.message,
        expected_start=task.expected_start,
    )


def queue_json(queue: QueueStatus) -> dict[str, Any]:
    """`GetQueue`'s reply, each waiting task also with the keys of the seed's record."""
    waiting = [{**msgspec.to_builtins(record_of(task)), **msgspec.to_builtins(task)} for task in queue.tasks]
    return {"tasks": waiting, "running": msgspec.to_builtins(queue.running)}
