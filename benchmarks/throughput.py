"""The live fleet beside the ceiling, round by round: reports and holds, from programs that send in all usual ways."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks.load import InTurn, Load, Make, Stored, ceiling_p50, ceiling_rate, running_load
from benchmarks.result import Result, alternating, percentile
from benchmarks.views import rebuilding
from tallystick.config.amounts import Budget
from tallystick.events import messages as c
from tallystick.events.log.store import Store

ROUNDS = 5
CEILING = "ceiling"
PACED_PER_SECOND = 1_000
PACED_SECONDS = 5.0
"""Long enough for thousands of answers: one in a thousand is what is looked at."""
_TICK_SECONDS = 0.01


def results() -> Iterator[Result]:
    with running_load() as (load, store):
        yield from _rates(load, store)
        yield from _waits(load, store)


def _rates(load: Load, store: Store) -> Iterator[Result]:
    """Commands per second of each mode."""
    report, hold = stored_report(load, store), stored_hold(load, store)
    modes: list[tuple[str, Callable[[], float], str, Stored | InTurn, float | None]] = [
        ("report.pipelined_1000", load.pipelined, "pipelined_1000", report, 0.45),
        ("report.pipelined_1000.mappings", partial(load.pipelined, load.mapping), "pipelined_1000", report, None),
        ("report.batches_of_100", load.batches, "batches_of_100", report, 0.45),
        ("report.threads_64", load.threads_64, "threads_64", report, None),
        ("report.threads_64.mappings", partial(load.threads_64, load.mapping), "threads_64", report, None),
        ("report.asyncio_64", load.asyncio_64, "asyncio_64", report, 0.35),
        ("report.asyncio_64.mappings", partial(load.asyncio_64, load.mapping), "asyncio_64", report, None),
        ("reserve_settle.pipelined_1000", load.reserve_settle, "pipelined_1000", hold, 0.45),
        ("reserve_settle.threads_64", load.reserve_settle_64, "threads_64", hold, None),
    ]
    for name, ours, mode, stored, goal in modes:
        value, _, ratio = alternating(ours, partial(ceiling_rate, mode, stored), ROUNDS)
        yield Result(name, value, "commands/s", f"{CEILING} {mode}", ratio, None if goal is None else (">=", goal))
    value, _, ratio = alternating(load.with_busy_thread, load.pipelined, 3)
    yield Result("report.with_busy_thread", value, "commands/s", "the same without it", ratio, (">=", 0.25))


def _waits(load: Load, store: Store) -> Iterator[Result]:
    """How long a caller waits."""
    report = stored_report(load, store)
    callers: list[tuple[str, Make, float | None]] = [
        ("report.one_caller", load.report, 2.0),
        ("report.one_caller.mappings", load.mapping, None),
    ]
    for name, make, goal in callers:
        value, _, ratio = alternating(partial(load.one_caller, make), lambda: ceiling_p50("one_caller", report), ROUNDS)
        wanted = None if goal is None else ("<=", goal)
        yield Result(name, value * 1e3, "ms p50", f"{CEILING} one_caller p50", ratio, wanted)
    seconds = load.crossing_p99()
    yield Result("responsiveness", seconds * 1e3, "ms p99", "50 ms", seconds / 0.05, ("<=", 1.0))
    with paced(load):
        seconds = percentile(load.asked(load.report, PACED_SECONDS), 0.999)
        yield Result("report.beside_1000", seconds * 1e3, "ms p99.9", "10 ms", seconds / 0.01, ("<=", 1.0))
    with rebuilding(store.url):
        seconds = percentile(load.asked(load.report, PACED_SECONDS), 0.999)
        yield Result("report.beside_a_rebuild", seconds * 1e3, "ms p99.9", "20 ms", seconds / 0.02, ("<=", 1.0))


def stored_report(load: Load, store: Store) -> Stored:
    """What the log keeps of a report."""
    load.fleet.ask([load.report() for _ in range(1_000)])
    return Stored(store.last())


def stored_hold(load: Load, store: Store) -> InTurn:
    """What the log keeps of a hold, and of its settlement."""
    hold = load.reserve()
    load.fleet.ask(hold)
    held = store.last()
    load.fleet.ask(c.Settle(id=f"s-{hold.id}", hold=hold.id or "", usage=Budget(tokens=480)))
    return InTurn([Stored(held), Stored(store.last())])


@contextmanager
def paced(load: Load) -> Iterator[None]:
    """Another thread sends 1,000 reports a second, evenly."""
    stop = threading.Event()

    def send() -> None:
        due = time.perf_counter()
        while not stop.wait(max(0.0, due - time.perf_counter())):
            due += _TICK_SECONDS
            for _ in range(int(PACED_PER_SECOND * _TICK_SECONDS)):
                load.fleet.send(load.report())

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
