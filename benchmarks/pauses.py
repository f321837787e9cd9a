"""How long the writer of a large fleet keeps a caller waiting at most, beside snapshots, plans and collections."""

import time
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

from benchmarks.load import Load, running_load
from benchmarks.result import Result, percentile
from benchmarks.throughput import paced
from tallystick.actors.manager import SNAPSHOT_EVERY
from tallystick.config.amounts import Budget
from tallystick.events import messages as c
from tallystick.events.catalog import Event

AGENTS: Final = 100_000
IN_NEED, ENDED = 1_000, 400
"""So many agents are short of budget, which takes a survey most time, and so many runs of their kind have ended."""
SNAPSHOTS: Final = 2
BEFORE: Final = 3_000
"""Events before a snapshot is due: about a second."""
SECONDS: Final = 15.0
"""Beside each snapshot: it is made, taken over and kept meanwhile, and a plan is made."""
FEW: Final = 50
"""Events of a small commit: two milliseconds' work."""
LONGEST_SECONDS: Final = 0.02
_PAGE: Final = 500


class Turns:
    """The processor time of the manager's thread between two small commits: it is no longer where the machine is busy.

    A large commit is of messages that had to wait, and takes long by itself.
    """

    def __init__(self) -> None:
        self._before: float | None = None
        self.longest = 0.0

    def begin(self) -> None:
        """Look from the next commit on."""
        self._before, self.longest = None, 0.0

    def note(self, events: Sequence[Event]) -> None:
        """A batch was recorded: in the manager's thread."""
        now = time.thread_time()
        if self._before is not None and len(events) <= FEW:
            self.longest = max(self.longest, now - self._before)
        self._before = now


def results() -> Iterator[Result]:
    """One caller that waits for each answer, beside 1,000 reports a second."""
    turns, seen, processor = Turns(), list[float](), 0.0
    with running_load(AGENTS, followers=[turns.note]) as (load, _):
        begin_runs(load)
        for _ in range(SNAPSHOTS):
            report_until_due(load)
            load.fleet.quiesce(60.0)
            turns.begin()
            with paced(load):
                seen += load.asked(load.report, SECONDS)
            processor = max(processor, turns.longest)
    for name, seconds, unit in (
        ("", max(seen), "ms longest"),
        (".p999", percentile(seen, 0.999), "ms p99.9"),
        (".processor", processor, "ms of the manager between small commits, longest"),
    ):
        goal = LONGEST_SECONDS
        yield Result(f"pause.100k_agents{name}", seconds * 1e3, unit, "20 ms", seconds / goal, ("<=", 1.0))


def begin_runs(load: Load) -> None:
    """Runs that have ended, and runs that are short of budget."""
    budget = Budget(tokens=10_000, cost_usd=Decimal(1))
    for start in range(0, ENDED + IN_NEED, _PAGE):
        names = [f"short-{number:06d}" for number in range(start, min(start + _PAGE, ENDED + IN_NEED))]
        load.fleet.ask([c.AllocateBudget(agent=name, budget=budget) for name in names])
        for _ in range(4):
            load.fleet.ask(
                [
                    c.ReportUsage(agent=name, usage=Budget(tokens=2_100 + number % 50), model="claude-sonnet-5-5")
                    for number, name in enumerate(names)
                ]
            )
    load.fleet.ask([c.ReleaseBudget(agent=f"short-{number:06d}") for number in range(ENDED)])


def report_until_due(load: Load) -> None:
    """Let the log grow until a snapshot is about to be due."""
    upto = (load.fleet.position // SNAPSHOT_EVERY + 1) * SNAPSHOT_EVERY - BEFORE
    while (left := upto - load.fleet.position) > 0:
        load.fleet.ask([load.report() for _ in range(min(_PAGE, left))])
