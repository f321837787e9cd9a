"""Tasks through the live fleet, beside the ceiling: submission, admission, and how soon the next task starts."""

import queue
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks import ceiling
from benchmarks.load import SECONDS, Stored, ceiling_p50, ceiling_rate, default_switching
from benchmarks.result import Result, alternating, percentile
from tallystick.actors.runtime.fleet import Fleet
from tallystick.config.loader import from_mapping
from tallystick.events import messages as c
from tallystick.events.catalog import Event, TaskStarted
from tallystick.events.log.codec import exchange_of
from tallystick.events.log.store import Store, open_store

ROUNDS = 5
_EVENTS_MAX = 10
"""No command of these benchmarks causes more events."""
CEILING = "ceiling"
RICH = {
    "total_budget": {"tokens": 10**15},
    "daily_limits": {"max_tokens_total": None, "max_cost_usd": None},
    "reallocation": {"enabled": False},
    "leases": {"seconds": 100_000},
}


class Work:
    """Tasks with names that were never used, in a fleet that tells of every start."""

    def __init__(self, fleet: Fleet, started: "queue.SimpleQueue[tuple[str, float]]") -> None:
        self.fleet = fleet
        self.started = started
        self._next = 0

    def submit(self) -> c.SubmitTask:
        i = self._next
        self._next += 1
        kind = ("writer", "reviewer", "tester", "coder")[i % 4]
        return c.SubmitTask(id=f"s-{i:08d}", task=f"t-{i:08d}", agent_type=kind, product=f"product-{i % 5}")

    def complete(self, task: str) -> c.CompleteTask:
        return c.CompleteTask(id=f"c-{task}", task=task, outcome="completed")

    def pipelined(self) -> float:
        """Submissions per second of one thread that keeps 1,000 under way; there are slots for few of them."""
        done, began = 0, time.perf_counter()
        while time.perf_counter() < began + SECONDS:
            for pending in [self.fleet.send(self.submit()) for _ in range(1_000)]:
                assert "ok" in pending.result()
            done += 1_000
        return done / (time.perf_counter() - began)

    def one_caller(self) -> float:
        """Seconds from a submission to the answer that admits it, the median; each task is completed at once."""
        seen, deadline = [], time.perf_counter() + SECONDS
        while (start := time.perf_counter()) < deadline:
            submitted = self.submit()
            answer = self.fleet.ask(submitted)
            seen.append(time.perf_counter() - start)
            assert answer["ok"]["decision"] == "admitted"
            self.fleet.ask(self.complete(submitted.task))
        return percentile(seen, 0.5)

    def handovers(self, share: float) -> float:
        """Seconds from `CompleteTask` to the durable start of the next task, at a percentile.

        As many wait each time: another is submitted, and its submission answered, before the clock starts.
        """
        while not self.started.empty():
            self.started.get()
        running = self.fleet.ask(c.GetQueue(limit=0))["ok"]["running"][0]["task"]
        seen, deadline = [], time.perf_counter() + SECONDS
        while time.perf_counter() < deadline:
            self.fleet.ask(self.submit())
            start = time.perf_counter()
            self.fleet.send(self.complete(running))
            running, at = self.started.get(timeout=10)
            seen.append(at - start)
        return percentile(seen, share)


class Transaction:
    """All that the newest command committed, for the ceiling to store as one event: the same bytes."""

    def __init__(self, store: Store) -> None:
        last = store.last()
        assert last is not None
        records = list(store.read(last.position - _EVENTS_MAX))
        # The first event of a command has what was asked.
        first = max(i for i, record in enumerate(records) if exchange_of(record.data).command)
        self._parts = [Stored(record) for record in records[first:]]

    def make(self, i: int) -> list[Event]:
        return [part.make(i) for part in self._parts]

    def encode(self, events: list[Event]) -> bytes:
        return b"".join(part.encode(event) for part, event in zip(self._parts, events, strict=True))


@contextmanager
def at_work(total: int | None) -> Iterator[tuple[Work, Store]]:
    """A live fleet on a fresh SQLite file with so many slots."""
    started: queue.SimpleQueue[tuple[str, float]] = queue.SimpleQueue()

    def tell(events: Sequence[Event]) -> None:
        for event in events:
            if type(event) is TaskStarted:
                started.put((event.task, time.perf_counter()))

    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'fleet.db'}"
        config = from_mapping({**RICH, "max_concurrent": {"total": total, "per_type": {}}})
        with Fleet.open(url, config, followers=[tell]) as fleet:
            yield Work(fleet, started), open_store(url)


def ceiling_percentile(stored: Transaction, share: float) -> float:
    """Seconds from question to answer of the ceiling's one caller, at a percentile."""
    with default_switching():
        return percentile(ceiling.measure("one_caller", stored.make, stored.encode, SECONDS)[1], share)


def results() -> Iterator[Result]:
    with at_work(5) as (work, store):
        for _ in range(6):
            work.fleet.ask(work.submit())
        stored = Transaction(store)
        value, _, ratio = alternating(work.pipelined, lambda: ceiling_rate("pipelined_1000", stored), ROUNDS)
        yield Result("submit.pipelined_1000", value, "commands/s", f"{CEILING} pipelined_1000", ratio, (">=", 0.25))
    with at_work(5) as (work, store):
        work.fleet.ask(work.submit())
        stored = Transaction(store)
        value, _, ratio = alternating(work.one_caller, lambda: ceiling_p50("one_caller", stored), ROUNDS)
        yield Result("admission.one_caller", value * 1e3, "ms p50", f"{CEILING} one_caller p50", ratio, ("<=", 3.0))
    with at_work(1) as (work, store):
        for _ in range(100):
            work.fleet.ask(work.submit())
        stored = Transaction(store)
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            value, _, ratio = alternating(
                partial(work.handovers, share),
                partial(ceiling_percentile, stored, share),
                ROUNDS,
            )
            against = f"{CEILING} one_caller {name}"
            yield Result(f"handover.{name}", value * 1e3, f"ms {name}", against, ratio, ("<=", 4.0))
