"""Load through the live fleet: the same modes as the ceiling's, on a real store, with specialists and a projector."""

import asyncio
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from benchmarks import ceiling
from benchmarks.result import percentile
from tallystick.actors.runtime.fleet import SWITCH_SECONDS, Fleet
from tallystick.config.amounts import Budget
from tallystick.config.loader import from_mapping
from tallystick.events import messages as c
from tallystick.events.catalog import Event
from tallystick.events.log.codec import Message, decode_event, record_body
from tallystick.events.log.store import Record, Store, open_store
from tallystick.events.log.store_segments import BETWEEN, PHRASES, RECORDS_MAX, packed, pieces_of

AGENTS = 100
SECONDS = 1.5
DEFAULT_SWITCH_SECONDS = 0.005
RICH = {
    "total_budget": {"tokens": 10**15, "cost_usd": "1000000000"},
    "daily_limits": {"max_tokens_total": None, "max_cost_usd": None},
    "reallocation": {"enabled": True},
}

Make = Callable[[], Message]
"""Makes a message with an id that was never used."""


class Load:
    """A fleet of ``agents`` with room to spend, and commands with ids that were never used."""

    def __init__(self, fleet: Fleet, agents: int) -> None:
        self.fleet = fleet
        self._agents = [f"agent-{i:06d}" for i in range(agents)]
        self._numbers = count()  # threads take from it, and none takes what another has
        budget = Budget(tokens=10**9, cost_usd=Decimal(10_000))
        for start in range(0, agents, 1_000):
            page = self._agents[start : start + 1_000]
            fleet.ask([c.AllocateBudget(agent=agent, budget=budget) for agent in page])

    def report(self) -> c.ReportUsage:
        """A report as a program would make it."""
        i = next(self._numbers)
        return c.ReportUsage(
            id=f"c-{i:010d}",
            agent=self._agents[i % len(self._agents)],
            usage=Budget(tokens=450 + i % 97, time_seconds=Decimal("2.3"), cost_usd=Decimal("0.011")),
            model="claude-sonnet-5-5",
        )

    def mapping(self) -> dict[str, Any]:
        """The same as a dictionary, with floats: as most programs send it."""
        i = next(self._numbers)
        return {
            "type": "ReportUsage",
            "id": f"c-{i:010d}",
            "agent": self._agents[i % len(self._agents)],
            "usage": {"tokens": 450 + i % 97, "time_seconds": 2.3, "cost_usd": 0.011},
            "model": "claude-sonnet-5-5",
        }

    def reserve(self) -> c.Reserve:
        i = next(self._numbers)
        return c.Reserve(id=f"h-{i:010d}", agent=self._agents[i % len(self._agents)], estimate=Budget(tokens=500))

    # --- the ceiling's modes ------------------------------------------------------------------------------------------

    def one_caller(self, make: Make | None = None) -> float:
        """Seconds from question to answer, the median; ``make`` makes what is sent, a report if it is left out."""
        return percentile(self.asked(make or self.report, SECONDS), 0.5)

    def asked(self, make: Make, seconds: float) -> list[float]:
        """Seconds from question to answer, of each message of one caller that waits."""
        seen, deadline = [], time.perf_counter() + seconds
        while (start := time.perf_counter()) < deadline:
            self.fleet.ask(make())
            seen.append(time.perf_counter() - start)
        return seen

    def crossing_p99(self) -> float:
        """Seconds from a report that crosses a line to the committed action that its reply carries: 99 of 100."""
        seen = []
        for _ in range(500):
            agent = f"crossing-{next(self._numbers)}"
            self.fleet.ask(c.AllocateBudget(agent=agent, budget=Budget(tokens=100)))
            start = time.perf_counter()
            reply = self.fleet.ask(c.ReportUsage(agent=agent, usage=Budget(tokens=80)))
            seen.append(time.perf_counter() - start)
            assert reply["ok"]["action"] == "throttle"
        return percentile(seen, 0.99)

    def pipelined(self, make: Make | None = None) -> float:
        """Reports per second of one thread that keeps 1,000 under way."""
        made = make or self.report
        return self._rounds(lambda: [self.fleet.send(made()) for _ in range(1_000)], 1_000)

    def reserve_settle(self) -> float:
        """Commands per second of one thread that reserves 500 times, then settles each."""

        def round_trip() -> list[Any]:
            holds = [self.reserve() for _ in range(500)]
            sent = [self.fleet.send(hold) for hold in holds]
            used = Budget(tokens=480)
            return sent + [
                self.fleet.send(c.Settle(id=f"s-{hold.id}", hold=hold.id or "", usage=used)) for hold in holds
            ]

        return self._rounds(round_trip, 1_000)

    @staticmethod
    def _rounds(send: Callable[[], list[Any]], commands: int) -> float:
        done, began = 0, time.perf_counter()
        while time.perf_counter() < began + SECONDS:
            for pending in send():
                assert "ok" in pending.result()
            done += commands
        return done / (time.perf_counter() - began)

    def batches(self) -> float:
        """Reports per second of eight threads that send messages of 100."""
        counts, lock, deadline = [0], threading.Lock(), time.perf_counter() + SECONDS

        def caller() -> None:
            while time.perf_counter() < deadline:
                self.fleet.ask([self.report() for _ in range(100)])
                with lock:
                    counts[0] += 100

        began = time.perf_counter()
        threads = [threading.Thread(target=caller) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return counts[0] / (time.perf_counter() - began)

    def threads_64(self, make: Make | None = None) -> float:
        """Reports per second of 64 threads, each waiting for its reply."""
        made = make or self.report
        return self._callers(lambda: [self.fleet.ask(made())])

    def reserve_settle_64(self) -> float:
        """Commands per second of 64 threads that each reserve, wait, settle and wait."""
        used = Budget(tokens=480)

        def cycle() -> list[Any]:
            hold = self.reserve()
            held = self.fleet.ask(hold)
            return [held, self.fleet.ask(c.Settle(id=f"s-{hold.id}", hold=hold.id or "", usage=used))]

        return self._callers(cycle)

    @staticmethod
    def _callers(ask: Callable[[], list[Any]]) -> float:
        """Answers per second of 64 threads that ask one time after the other."""
        done, counting, began = [0], threading.Lock(), time.perf_counter()

        def caller() -> None:
            answered = 0
            while time.perf_counter() < began + SECONDS:
                answers = ask()
                assert all("ok" in answer for answer in answers)
                answered += len(answers)
            with counting:
                done[0] += answered

        threads = [threading.Thread(target=caller) for _ in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return done[0] / (time.perf_counter() - began)

    def asyncio_64(self, make: Make | None = None) -> float:
        """Reports per second of 64 coroutines on one loop."""

        made = make or self.report

        async def callers() -> int:
            deadline, done = time.perf_counter() + SECONDS, 0

            async def caller() -> None:
                nonlocal done
                while time.perf_counter() < deadline:
                    await self.fleet.ask_async(made())
                    done += 1

            await asyncio.gather(*(caller() for _ in range(64)))
            return done

        began = time.perf_counter()
        return asyncio.run(callers()) / (time.perf_counter() - began)

    def with_busy_thread(self) -> float:
        """`pipelined`, while another thread of the process does nothing but compute."""
        stop = threading.Event()

        def compute() -> None:
            n = 0
            while not stop.is_set():
                n += 1

        thread = threading.Thread(target=compute)
        thread.start()
        try:
            return self.pipelined()
        finally:
            stop.set()
            thread.join()


@contextmanager
def running_load(agents: int = AGENTS, projector: bool = True) -> Iterator[tuple[Load, Store]]:
    """A live fleet on a fresh SQLite file, its specialists at work and a projector following in its own process."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'fleet.db'}"
        with Fleet.open(url, from_mapping(RICH)) as fleet:
            load = Load(fleet, agents)
            follower = subprocess.Popen([sys.executable, "-m", "tallystick.projections", url]) if projector else None
            try:
                yield load, open_store(url)
            finally:
                if follower is not None:
                    follower.terminate()
                    follower.wait()


class Stored:
    """An event as our path stores it, for the ceiling to store: the same bytes, of which it encodes the event anew.

    They are those of a record in the middle of a row: what stands once in a row is left out, in the ceiling's favour.
    """

    def __init__(self, record: Record | None) -> None:
        assert record is not None
        self.name = record.name
        self._event = decode_event(record.data, record.name)
        text = middle_of_a_row(record)
        known = record_body(self._event, None, None)
        # Most begin with a phrase that is stored as one byte.
        self._code, self._left_out = text[:1], len(PHRASES.get(text[:1], text[:1]))
        assert text.startswith(self._code + known[self._left_out :]), "the event comes first"
        self._rest = text[1 + len(known) - self._left_out :]

    def make(self, i: int) -> Event:
        event = self._event
        return type(event)(**{field: getattr(event, field) for field in event.__struct_fields__})

    def encode(self, event: Event) -> bytes:
        return self._code + record_body(event, None, None)[self._left_out :] + self._rest


def middle_of_a_row(record: Record) -> bytes:
    """The bytes that a record takes between others of its kind."""
    row = packed(pieces_of([record] * RECORDS_MAX))
    return row.split(BETWEEN)[RECORDS_MAX // 2]


class InTurn:
    """Several of them, one after the other."""

    def __init__(self, parts: Sequence[Stored]) -> None:
        self._parts = parts

    def make(self, i: int) -> tuple[Stored, Event]:
        part = self._parts[i % len(self._parts)]
        return part, part.make(i)

    def encode(self, event: tuple[Stored, Event]) -> bytes:
        part, made = event
        return part.encode(made)


class Storable(Protocol):
    """What the ceiling stores for a command: made anew each time, and its bytes."""

    def make(self, i: int) -> Any: ...

    def encode(self, event: Any) -> bytes: ...


def ceiling_rate(mode: str, stored: Storable) -> float:
    """Commands per second of the ceiling, under the interpreter's own switch interval."""
    with default_switching():
        return float(ceiling.measure(mode, stored.make, stored.encode, SECONDS)[0])


def ceiling_p50(mode: str, stored: Storable) -> float:
    """Seconds from question to answer of the ceiling, the median."""
    return ceiling_seconds(mode, stored, 0.5)


def ceiling_seconds(mode: str, stored: Storable, share: float) -> float:
    """Seconds from question to answer of the ceiling, for so many of the commands."""
    with default_switching():
        return percentile(ceiling.measure(mode, stored.make, stored.encode, SECONDS)[1], share)


@contextmanager
def default_switching() -> Iterator[None]:
    sys.setswitchinterval(DEFAULT_SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(SWITCH_SECONDS)
