"""What is answered about tasks."""

import datetime as dt

import msgspec

from tallystick.events.messages.replies import EdgeAmounts, Number, Reply


class Reason(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a task does not run: a code, the numbers of what is in the way (None where it has none), and a sentence."""

    code: str
    limit: int | str | None
    current: int | str | None
    message: str
    behind: str | None = None
    """The task that goes first, where one does."""


class TaskStatus(Reply):
    """Answers `SubmitTask` and `GetTask`.

    ``decision`` is what was decided of its start, None once it has ended. ``token_budget`` is the soft mark of a run
    and ``max_tokens`` its hard end: of the run at hand, or of the next; null where its type has no token budget.
    ``lease`` goes with every message about the run. ``expected_start_reason`` is a sentence that says why a waiting
    task has no expected start.
    """

    task: str
    state: str
    attempt: int
    decision: str | None
    reason: Reason | None
    lease: str | None
    model: str | None
    token_budget: int | None
    max_tokens: int | None
    expected_start: str | None
    lease_expires_at: str | None
    expected_start_reason: str | None = None
    revived: list[str] | None = None
    """The tasks that got a new life with it, by `RetryTask`."""


class Compared(msgspec.Struct):
    """An estimate beside what came of it; ``accuracy`` is good (within 10 %), over or under, None without estimate."""

    estimated: Number | None
    actual: Number
    accuracy: str | None


class TaskClosed(Reply):
    """Answers `CompleteTask` and `CancelTask`: what the last run used, and beside its estimates what it took."""

    task: str
    state: str
    attempt: int
    consumed: EdgeAmounts | None = None
    tokens: Compared | None = None
    minutes: Compared | None = None
    cancelled: list[str] | None = None
    """The tasks that ended with it because they depend on it."""
    repaired: bool = False
    """The id of the message was misspelled: it is recorded under what that shows."""


class TaskAlive(Reply):
    """Answers `Heartbeat` of a task. ``preempted``: its slot was taken away, and it has to stop."""

    task: str
    state: str
    action: str
    throttle_rate: float
    wait_seconds: Number
    decided_by: str
    lease_expires_at: str | None
    preempted: bool = False


class Terms(msgspec.Struct):
    """The three terms of a score, to 6 places."""

    priority: float
    wait: float
    blocking: float


class QueuedTask(msgspec.Struct):
    """A waiting task as `GetQueue` shows it.

    Where it ranks by the priority of a task that waits for it, both are named: that priority, and that task.
    """

    task: str
    product: str
    agent_type: str
    priority: str
    queued_at: str
    estimated_tokens: int
    waiting_minutes: float
    score: float
    terms: Terms
    aged: bool
    reason: Reason | None
    expected_start: str | None
    expected_start_reason: str | None = None
    effective_priority: str | msgspec.UnsetType = msgspec.UNSET
    inherited_from: str | msgspec.UnsetType = msgspec.UNSET


class RunningTask(msgspec.Struct):
    """A running task as `GetQueue` shows it; ``stopping``: it was preempted, and its owner does not know."""

    task: str
    agent_type: str
    product: str
    model: str | None
    started_at: str
    lease_expires_at: str
    stopping: bool


class QueueStatus(Reply):
    """Answers `GetQueue`: what waits, best first, and what runs, in the order of starting."""

    tasks: list[QueuedTask]
    running: list[RunningTask]


def shown_time(at: dt.datetime | None) -> str | None:
    """A time as every edge shows it: RFC 3339, UTC."""
    return None if at is None else at.isoformat().replace("+00:00", "Z")
