"""How long the writer of a large fleet keeps a caller waiting at most, beside snapshots, plans and collections."""

import datetime as dt
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Final
from unittest import mock

from benchmarks.load import Load, running_load
from benchmarks.result import Result, percentile
from benchmarks.throughput import paced
from tallystick.actors.manager import SNAPSHOT_EVERY
from tallystick.actors.runtime import fleet as fleet_module
from tallystick.actors.runtime.fleet import Fleet
from tallystick.actors.runtime.team import Ref
from tallystick.config.amounts import Budget
from tallystick.events import messages as c

AGENTS: Final = 100_000
IN_NEED, ENDED = 1_000, 400
"""So many agents are short of budget beside each snapshot, which takes a survey most time; so many others ended."""
SNAPSHOTS: Final = 2
BEFORE: Final = 3_000
"""Events before a snapshot is due: about a second."""
SECONDS: Final = 15.0
"""Beside each snapshot: it is made, taken over and kept meanwhile, and a plan is made."""
FEW: Final = 250
"""Events of a turn that is looked at: what a plan does at once, and reports that came meanwhile."""
LONGEST_SECONDS: Final = 0.02
STEPS: Final = 4
FURTHER: Final = 3
"""So many times as far as an agent in need has come went those that ended."""
_PAGE: Final = 500


class Turns:
    """The processor time of the manager's turns: it is no longer where the machine is busy.

    A turn is a commit and what the specialists do behind it. One of many events is of messages that had to wait, and
    takes long by itself.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet, self._attend = fleet, fleet_module.attend
        self.longest = 0.0
        self._before: tuple[float, int] | None = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look at the turns meanwhile."""
        self._before = None
        with mock.patch.object(fleet_module, "attend", self._note):
            yield

    def _note(self, refs: dict[str, Ref], share: dt.timedelta) -> None:
        """The specialists' part, with which a turn ends: in the manager's thread."""
        self._attend(refs, share)
        now, position = time.thread_time(), self._fleet.position
        if self._before is not None and position - self._before[1] <= FEW:
            self.longest = max(self.longest, now - self._before[0])
        self._before = now, position


def results() -> Iterator[Result]:
    """One caller that waits for each answer, beside 1,000 reports a second."""
    seen = list[float]()
    with running_load(AGENTS) as (load, _):
        begin_runs(load, "ended", ENDED, steps=STEPS * FURTHER)
        load.fleet.ask([c.ReleaseBudget(agent=f"ended-{number:06d}") for number in range(ENDED)])
        turns = Turns(load.fleet)
        for number in range(SNAPSHOTS):
            report_until_due(load)
            load.fleet.quiesce(60.0)
            begin_runs(load, f"short-{number}", IN_NEED, steps=STEPS)
            with turns.watched(), paced(load):
                seen += load.asked(load.report, SECONDS)
    for name, seconds, unit in (
        ("", max(seen), "ms longest"),
        (".p999", percentile(seen, 0.999), "ms p99.9"),
        (".turn", turns.longest, "ms of processor time, longest"),
    ):
        yield Result(f"pause.100k_agents{name}", seconds * 1e3, unit, "20 ms", seconds / LONGEST_SECONDS, ("<=", 1.0))


def begin_runs(load: Load, names: str, count: int, steps: int) -> None:
    """Let agents report so often. After `STEPS` they are short of budget, if others of their kind went on."""
    budget = Budget(tokens=2_500 * steps, cost_usd=Decimal(1))
    for start in range(0, count, _PAGE):
        agents = [f"{names}-{number:06d}" for number in range(start, min(start + _PAGE, count))]
        load.fleet.ask([c.AllocateBudget(agent=agent, budget=budget, agent_type="short") for agent in agents])
        for _ in range(steps):
            load.fleet.ask(
                [
                    c.ReportUsage(agent=agent, usage=Budget(tokens=2_100 + number % 50), model="claude-sonnet-5-5")
                    for number, agent in enumerate(agents)
                ]
            )


def report_until_due(load: Load) -> None:
    """Let the log grow until a snapshot is about to be due."""
    upto = (load.fleet.position // SNAPSHOT_EVERY + 1) * SNAPSHOT_EVERY - BEFORE
    while (left := upto - load.fleet.position) > 0:
        load.fleet.ask([load.report() for _ in range(min(_PAGE, left))])
