"""Tasks: what waits, what runs, and what is remembered of those that ended.

All that a decision about tasks needs is kept beside them and changes with each: how many run in all, of a type and of a
product; whose lease ends next; which task waits for which. No cost here grows with the number of tasks.
"""

import datetime as dt
import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

import msgspec

from tallystick.config.kinds import Priority
from tallystick.events.messages.command import PRIORITIES
from tallystick.events.state.calendar import NEVER, later
from tallystick.events.state.money import ZERO, Money, plus

State = Literal["waiting_on_dependencies", "queued", "running", "completed", "failed", "cancelled", "rejected"]
OPEN: frozenset[State] = frozenset({"waiting_on_dependencies", "queued", "running"})
NORMAL = PRIORITIES.index("normal")
RUNS_KEPT = 8
"""Of each task, what so many last runs used: a late report is not charged twice."""

HowEnded = Literal["over", "preempted"]


class Run(NamedTuple):
    """A run that has ended. ``until`` is when its lease would have; ``how`` is "preempted" until its owner knows."""

    lease: str
    how: HowEnded
    spent: Money
    until: dt.datetime


class Task(msgspec.Struct, array_like=True, eq=False, gc=False):
    """One unit of work. Times are moments, estimates whole tokens and milliseconds.

    The fields before ``dependents`` are what a snapshot keeps, in its order. No object is in them that could lead back
    to the task, so collections need not look at it.
    """

    id: str
    number: int
    """The order of submission; no two have the same."""
    agent_type: str
    product: str
    named_priority: Priority | None
    workflow: str | None
    wanted_model: str | None
    parent: str | None
    blocks: int
    estimated_tokens: int
    estimated_ms: int | None
    assumed: bool
    """No tokens were estimated: the type's token budget counts in their place."""

    state: State
    queued_at: dt.datetime
    """When its dependencies were met; it stays when a slot is lost."""
    depends_on: tuple[str, ...]
    unmet: dict[str, None] = {}
    """The tasks that it still waits for."""
    attempt: int = 1
    runs: int = 0
    overdue: bool = False
    expected_start: dt.datetime | None = None
    """What was last answered."""

    lease: str | None = None
    lease_expires_at: dt.datetime | None = None
    started_at: dt.datetime | None = None
    model: str | None = None
    token_budget: int | None = 0
    max_tokens: int | None = 0
    aged: bool = False
    budget_passed: bool = False
    preempted_at: dt.datetime | None = None
    ended: tuple[Run, ...] = ()
    """Its last runs that are over, oldest first."""

    code: str | None = None
    """Why it ended, where no message asked for it."""
    position: int = 0
    """Where in the log it ended, 0 while it is open."""
    because: str | None = None
    """The task or account whose end it followed from."""
    parent_life: int = 0
    """The `Account.life` of the account that pays for it; 0 for the pool."""
    labels: dict[str, str] | None = None
    """What the account of each of its runs is labelled with."""

    dependents: dict[str, None] | None = None
    """The tasks that wait for it; None for none."""
    fallen: dict[str, None] | None = None
    """The tasks that were cancelled when it ended; None for none."""
    own_level: int = NORMAL
    level: int = NORMAL
    """The priority by which it is ranked: its own, or a higher one that it inherits (`inheritance`)."""
    waiting_levels: list[int] | None = None
    """Of the tasks that wait for it, how many are at each level; None for none."""

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    @property
    def estimated(self) -> int | None:
        """The tokens that it was estimated at, by its sender or by agent memory; None where there is no estimate."""
        return None if self.assumed else self.estimated_tokens

    @property
    def day_tokens(self) -> int:
        """What its run counts in the day before it has used anything: its token budget, or else its estimate."""
        return self.estimated_tokens if self.token_budget is None else self.token_budget

    @property
    def blocked(self) -> int:
        """How many tasks wait for this one: those that are known, or as many as was said."""
        return max(self.blocks, len(self.dependents or ()))

    def highest_level(self) -> int:
        """Its own level, or that of a task that waits for it."""
        levels = self.waiting_levels or ()
        return next((level for level in range(self.own_level) if levels and levels[level]), self.own_level)

    def count_waiting(self, level: int, more: int) -> None:
        """So many more tasks of a level wait for it, or fewer."""
        levels = [0] * len(PRIORITIES) if self.waiting_levels is None else self.waiting_levels
        levels[level] += more
        self.waiting_levels = levels if any(levels) else None

    def ended_run(self, lease: str | None) -> Run | None:
        """The run of a lease that is over; without a lease, the last one that is."""
        if lease is None:
            return self.ended[-1] if self.ended else None
        return next((run for run in self.ended if run.lease == lease), None)

    def stopping(self, now: dt.datetime) -> Run | None:
        """The last run, if its slot was taken away and its owner does not know it yet."""
        run = self.ended_run(None)
        return run if run is not None and run.how == "preempted" and now < run.until else None

    def end_run(self, how: HowEnded, spent: Money) -> None:
        """The run at hand is over."""
        assert self.lease is not None
        assert self.lease_expires_at is not None
        run = Run(self.lease, how, spent, self.lease_expires_at)
        self.ended = (*self.ended, run)[-RUNS_KEPT:]
        self.lease, self.lease_expires_at = None, None

    def acknowledge(self, lease: str) -> None:
        """The owner of a run knows that its slot was taken away."""
        self.ended = tuple(run._replace(how="over") if run.lease == lease else run for run in self.ended)

    def used_late(self, lease: str, amounts: Money) -> None:
        """A run that is over had used more than was known."""
        self.ended = tuple(
            run._replace(spent=plus(run.spent, amounts)) if run.lease == lease else run for run in self.ended
        )

    def spent_by(self, lease: str | None) -> Money:
        """What is on record for a run that is over."""
        run = None if lease is None else self.ended_run(lease)
        return ZERO if run is None else run.spent


class Tasks:
    """All tasks of a fleet that are open, and the finished ones for as long as ids are remembered."""

    def __init__(self) -> None:
        self.known: dict[str, Task] = {}
        self.running: dict[str, Task] = {}
        """In the order in which they started."""
        self.by_type: Counter[str] = Counter()
        self.by_product: Counter[str] = Counter()
        """Of each, how many run."""
        self.queued = 0
        self.open = 0
        self.submitted = 0
        """All that ever were: the number of the last one."""
        self.by_account: dict[str, dict[str, Task]] = {}
        """By account, the open tasks that it pays for, in the order of submission; the pool's are not listed."""
        self.leases: list[tuple[dt.datetime, str]] = []
        """A heap; an entry whose lease is over or was extended is stale, and never the first."""
        self.finished: deque[tuple[int, str]] = deque()

    # --- looking ------------------------------------------------------------------------------------------------------

    def get(self, task: str) -> Task | None:
        return self.known.get(task)

    def is_open(self, task: str) -> bool:
        found = self.known.get(task)
        return found is not None and found.is_open

    def is_waiting(self, task: str) -> bool:
        """Whether it may still run, and does not."""
        return self.is_open(task) and task not in self.running

    def waiting_for(self, task: Task) -> list[Task]:
        """Its dependents, in the order in which they were submitted."""
        return sorted((self.known[name] for name in task.dependents or ()), key=lambda dependent: dependent.number)

    def due_at(self) -> dt.datetime:
        """When the next lease ends."""
        return self.leases[0][0] if self.leases else NEVER

    # --- changing -----------------------------------------------------------------------------------------------------

    def add(self, task: Task) -> None:
        """A task was submitted."""
        self.submitted = task.number
        self.open += 1
        self.known[task.id] = task
        if task.parent is not None:
            self.by_account.setdefault(task.parent, {})[task.id] = task
        self.queued += 1
        self._await_unmet(task)

    def _await_unmet(self, task: Task) -> None:
        """A task waits for those of its dependencies that are open, and they know of it."""
        if not task.depends_on:
            return
        task.unmet = {}
        for name in task.depends_on:
            needed = self.known.get(name)
            if needed is not None and needed.is_open:
                task.unmet[name] = None
                needed.dependents = {} if needed.dependents is None else needed.dependents
                needed.dependents[task.id] = None
                needed.count_waiting(task.level, 1)
                self.pass_on(needed)

    def pass_on(self, task: Task) -> None:
        """The tasks that wait for this one have changed: so may its level, and those of what it waits for itself.

        It goes on only as long as levels change, so no task is passed more than three times.
        """
        changed = [task]
        while changed:
            at = changed.pop()
            before, now = at.level, at.highest_level()
            if now == before:
                continue
            at.level = now
            for name in at.unmet:
                needed = self.known[name]
                needed.count_waiting(before, -1)
                needed.count_waiting(now, 1)
                changed.append(needed)

    def become(self, task: Task, state: State) -> None:
        """Move a task that is open from where it is counted to where it is now."""
        if task.state == "queued":
            self.queued -= 1
        elif task.state == "running":
            del self.running[task.id]
            _less(self.by_type, task.agent_type)
            _less(self.by_product, task.product)
        task.state = state
        if state == "queued":
            self.queued += 1
        elif state == "running":
            self.running[task.id] = task
            self.by_type[task.agent_type] += 1
            self.by_product[task.product] += 1
        self._drop_stale()

    def lease_until(self, task: Task, lease: str, expires_at: dt.datetime) -> None:
        """A lease begins, or its end moves on."""
        task.lease, task.lease_expires_at = lease, expires_at
        heapq.heappush(self.leases, (expires_at, task.id))
        self._drop_stale()

    def renew(self, least: dt.datetime) -> None:
        """No lease ends before ``least``: slots are kept while everything is stopped."""
        self._move_leases(lambda ends: max(ends, least))

    def move_leases(self, by: dt.timedelta) -> None:
        """Every lease ends so much later: it keeps the time that it had left."""
        self._move_leases(lambda ends: later(ends, by))

    def _move_leases(self, moved: Callable[[dt.datetime], dt.datetime]) -> None:
        self.leases = []
        for task in self.running.values():
            assert task.lease_expires_at is not None
            task.lease_expires_at = moved(task.lease_expires_at)
            self.leases.append((task.lease_expires_at, task.id))
        heapq.heapify(self.leases)

    def finish(self, task: Task, state: State, position: int) -> None:
        """A task is open no more. The tasks that waited for it wait for one less."""
        self.become(task, state)
        self.open -= 1
        task.position = position
        self.finished.append((position, task.id))
        if task.parent is not None:
            below = self.by_account[task.parent]
            del below[task.id]
            if not below:
                del self.by_account[task.parent]
        for name in task.unmet:
            needed = self.known[name]
            if needed.dependents is not None:
                needed.dependents.pop(task.id, None)
                needed.dependents = needed.dependents or None
                needed.count_waiting(task.level, -1)
                self.pass_on(needed)
        task.unmet = {}
        if state == "completed":
            for dependent in self.waiting_for(task):
                dependent.unmet.pop(task.id, None)
            task.dependents = task.waiting_levels = None
            task.level = task.own_level

    def fell_with(self, task: Task, because: str) -> None:
        """A task ends because of the end of another, or of an account."""
        task.because = because
        other = self.known.get(because)
        if other is not None and task.code == "dependency_failed":
            other.fallen = {} if other.fallen is None else other.fallen
            other.fallen[task.id] = None

    def revive(self, task: Task, at: dt.datetime) -> None:
        """A task that has ended is open again, as if it had been submitted now; what its runs used stays known."""
        self.submitted += 1
        task.number, task.queued_at, task.position = self.submitted, at, 0
        task.attempt, task.overdue, task.aged, task.budget_passed = 1, False, False, False
        task.code = task.because = task.fallen = task.expected_start = task.preempted_at = None
        task.state = "queued"
        self.open += 1
        self.queued += 1
        if task.parent is not None:
            self.by_account.setdefault(task.parent, {})[task.id] = task
        self._await_unmet(task)

    def forget(self, floor: int) -> None:
        """Forget the tasks that ended before position ``floor``."""
        while self.finished and self.finished[0][0] < floor:
            position, name = self.finished.popleft()
            task = self.known.get(name)
            # The id of one that was rejected may have been submitted again.
            if task is not None and task.position == position:
                del self.known[name]

    def _drop_stale(self) -> None:
        leases = self.leases
        while leases and self._is_stale(leases[0]):
            heapq.heappop(leases)

    def _is_stale(self, entry: tuple[dt.datetime, str]) -> bool:
        task = self.running.get(entry[1])
        return task is None or task.lease_expires_at != entry[0]

    # --- the proof
    # -----------------------------------------------------------------------------------------------------

    def wrong(self, accounts: Iterable[str]) -> Iterator[str]:
        """What of the counts is not as the tasks say; ``accounts`` are the open ones."""
        running = [task for task in self.known.values() if task.state == "running"]
        if {task.id for task in running} != set(self.running):
            yield f"{len(running)} tasks run, and {len(self.running)} are listed"
        if Counter(task.agent_type for task in running) != self.by_type:
            yield f"by type, {dict(self.by_type)} are said to run"
        if Counter(task.product for task in running) != self.by_product:
            yield f"by product, {dict(self.by_product)} are said to run"
        if sum(task.state == "queued" for task in self.known.values()) != self.queued:
            yield f"{self.queued} are said to wait for a slot"
        if sum(task.is_open for task in self.known.values()) != self.open:
            yield f"{self.open} are said to be open"
        known_accounts = set(accounts)
        if missing := [task.id for task in running if task.id not in known_accounts]:
            yield f"{missing} run without an account"
        leases = min((task.lease_expires_at or NEVER for task in running), default=NEVER)
        if leases != self.due_at():
            yield f"a lease ends at {leases}, and {self.due_at()} is waited for"


def _less(counter: Counter[str], name: str) -> None:
    counter[name] -= 1
    if not counter[name]:
        del counter[name]
