"""Tasks as a snapshot keeps them."""

import datetime as dt
import heapq

import msgspec

from tallystick.config.kinds import Priority
from tallystick.events.state.accounts import Money
from tallystick.events.state.tasks import HowEnded, Run, State, Task, Tasks

_Ended = tuple[str, HowEnded, Money, dt.datetime]


class PackedTask(msgspec.Struct, array_like=True, gc=False):
    """One task. What others say of it (who waits for it, what it is counted under) is found again."""

    id: str
    number: int
    agent_type: str
    product: str
    named_priority: Priority | None
    workflow: str | None
    wanted_model: str | None
    parent: str | None
    blocks: int
    estimated_tokens: int
    estimated_ms: int | None
    state: State
    queued_at: dt.datetime
    depends_on: list[str]
    unmet: list[str]
    attempt: int
    runs: int
    overdue: bool
    expected_start: dt.datetime | None
    lease: str | None
    lease_expires_at: dt.datetime | None
    started_at: dt.datetime | None
    model: str | None
    token_budget: int
    max_tokens: int
    aged: bool
    budget_passed: bool
    preempted_at: dt.datetime | None
    ended: list[_Ended]
    code: str | None
    position: int


class PackedTasks(msgspec.Struct, array_like=True, gc=False):
    """All tasks, in the order in which they are known; those that run, in the order in which they started."""

    known: list[PackedTask]
    running: list[str]
    submitted: int
    finished: list[tuple[int, str]]


def pack(tasks: Tasks) -> PackedTasks:
    """The tasks as plain values, equal for equal states."""
    return PackedTasks(
        [_packed(task) for task in tasks.known.values()],
        list(tasks.running),
        tasks.submitted,
        list(tasks.finished),
    )


def _packed(task: Task) -> PackedTask:
    return PackedTask(
        task.id,
        task.number,
        task.agent_type,
        task.product,
        task.named_priority,
        task.workflow,
        task.wanted_model,
        task.parent,
        task.blocks,
        task.estimated_tokens,
        task.estimated_ms,
        task.state,
        task.queued_at,
        list(task.depends_on),
        list(task.unmet or ()),
        task.attempt,
        task.runs,
        task.overdue,
        task.expected_start,
        task.lease,
        None if task.lease is None else task.lease_expires_at,
        task.started_at,
        task.model,
        task.token_budget,
        task.max_tokens,
        task.aged,
        task.budget_passed,
        task.preempted_at,
        [(lease, run.how, run.spent, run.until) for lease, run in (task.ended or {}).items()],
        task.code,
        task.position,
    )


def unpack(packed: PackedTasks) -> Tasks:
    """The tasks that `pack` was given."""
    tasks = Tasks()
    tasks.submitted = packed.submitted
    for one in packed.known:
        tasks.known[one.id] = _unpacked(one)
    for task in sorted(tasks.known.values(), key=lambda task: task.number):
        if not task.is_open:
            continue
        tasks.open += 1
        tasks.queued += task.state == "queued"
        if task.parent is not None:
            tasks.under.setdefault(task.parent, {})[task.id] = task
        for name in task.unmet or ():
            needed = tasks.known[name]
            needed.dependents = {} if needed.dependents is None else needed.dependents
            needed.dependents[task.id] = None
    for name in packed.running:
        task = tasks.running[name] = tasks.known[name]
        tasks.by_type[task.agent_type] += 1
        tasks.by_product[task.product] += 1
        heapq.heappush(tasks.leases, (task.lease_expires_at, name))
    tasks.finished.extend(packed.finished)
    return tasks


def _unpacked(packed: PackedTask) -> Task:
    task = Task(
        packed.id,
        packed.number,
        packed.agent_type,
        packed.product,
        packed.queued_at,
        packed.estimated_tokens,
        packed.estimated_ms,
    )
    task.named_priority, task.workflow = packed.named_priority, packed.workflow
    task.wanted_model, task.parent, task.blocks = packed.wanted_model, packed.parent, packed.blocks
    task.state, task.depends_on = packed.state, tuple(packed.depends_on)
    task.unmet = dict.fromkeys(packed.unmet) or None
    task.attempt, task.runs, task.overdue = packed.attempt, packed.runs, packed.overdue
    task.expected_start, task.lease = packed.expected_start, packed.lease
    if packed.lease_expires_at is not None:
        task.lease_expires_at = packed.lease_expires_at
    task.started_at, task.model, task.aged = packed.started_at, packed.model, packed.aged
    task.token_budget, task.max_tokens = packed.token_budget, packed.max_tokens
    task.budget_passed, task.preempted_at = packed.budget_passed, packed.preempted_at
    task.ended = {lease: Run(how, spent, until) for lease, how, spent, until in packed.ended} or None
    task.code, task.position = packed.code, packed.position
    return task
