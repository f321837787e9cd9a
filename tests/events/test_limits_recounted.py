"""What limits have counted is what a naive recount of the log finds: reports of now and of earlier, under sources, of
released accounts and of such as opened again; holds, their parts, ends and late settlements; and corrections of each.

`TALLYSTICK_LIMIT_SEEDS` says how many sessions are played.
"""

import datetime as dt
import os
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from tallystick.config.amounts import Usage
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log import snapshot
from tallystick.events.state.limit_rules import MEASURES
from tallystick.events.state.slot_time import micros
from tests.support.core import Core, allocate, budget, complete, fleet, start, submit
from tests.support.corrections import asked, given, records
from tests.support.limit_recount import Recount

SEEDS = int(os.environ.get("TALLYSTICK_LIMIT_SEEDS", "96"))
BATCHES = 6
AGENTS: dict[str, dict[str, Any]] = {
    "team": {"product": "shop"},
    "ann": {"parent": "team", "labels": {"user": "ann"}},
    "sub": {"parent": "ann"},
    "ben": {"parent": "team", "labels": {"user": "ben"}, "agent_type": "writer"},
    "cat": {"product": "web", "workflow": "night"},
}
STARTS = (
    dt.datetime(2026, 3, 29, 0, 50, tzinfo=dt.UTC),
    dt.datetime(2026, 10, 24, 23, 30, tzinfo=dt.UTC),
    dt.datetime(2026, 10, 31, 22, 0, tzinfo=dt.UTC),
)


class Session:
    """A fleet under limits that only watch, with the recount of its log."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        zone = random.choice(("UTC", "Europe/Zurich", "America/St_Johns"))
        limits = self._limits()
        self.recount, self.core, self._read, self._count = Recount(limits, zone), Core(compares=False), 0, 0
        self.core.now = random.choice(STARTS)
        none = {"daily_limits": {"max_tokens_total": None, "max_cost_usd": None}}
        self.core.given(fleet(100_000_000, "100000", timezone=zone, limits=limits, **none))
        self._holds: list[str] = []
        self._leases: list[tuple[str, str]] = []
        for name in AGENTS:
            self._open(name)

    def _limits(self) -> list[dict[str, Any]]:
        random = self.random
        windows: list[Any] = ["total", "hour", "day", "week", "month", {"seconds": 60}, {"seconds": 3600}]
        matches: list[dict[str, Any]] = [
            {}, {}, {"product": "shop"}, {"label:user": ["ann", "ben"]}, {"model": "m1"}, {"account": "ann"},
            {"model": ["m1", "m2"], "product": "shop"}, {"workflow": "night"}, {"agent_type": "writer"},
        ]  # fmt: skip
        return [
            {
                "name": f"limit-{n}",
                "per": random.choice(["fleet", "account", "product", "model", "label:user", "agent_type"]),
                "match": random.choice(matches),
                "window": random.choice(windows),
                "max": dict.fromkeys(
                    random.sample(["tokens", "input_tokens", "output_tokens", "requests"], random.randint(1, 3)), 10**9
                ),
                "then": "warn",
            }
            for n in range(random.randint(3, 6))
        ]

    def step(self) -> None:
        """Something happens, and is compared."""
        steps = (self._wait, self._report, self._reserve, self._end, self._correct, self._life, self._task)
        self.random.choices(steps, (5, 4, 3, 3, 4, 1, 3))[0]()
        for event in self.core.log[self._read :]:
            self.recount.read(event)
        self._read = len(self.core.log)
        assert self._counted() == self.recount.used(self.core.now)

    def _counted(self) -> dict[tuple[str, str, str], int]:
        limits, now = self.core.ledger.limits, micros(self.core.now)
        return {
            (name, value, MEASURES[measure]): units
            for name, state in limits.states.items()
            for value, counter in state.counters.items()
            for place, measure in enumerate(state.rule.measures)
            if (units := counter.used_at(state.rule, place, limits.began_at(state.rule), now))
        }

    def compare(self) -> None:
        """A replay, and a snapshot that is loaded again, are the state."""
        self.core.compare()
        dumped = snapshot.dump(self.core.ledger)
        again = snapshot.load(dumped)
        assert again is not None
        assert snapshot.dump(again) == dumped

    # --- steps -------------------------------------------------------------------------------------------------------

    def _ask(self, command: c.Command) -> None:
        self._count += 1
        sourced = isinstance(command, c.Sourced) and command.source_id is not None
        self.core.when(given(self.core, command) if sourced else command, id=f"n{self._count}")

    def _wait(self) -> None:
        core, random = self.core, self.random
        end = core.now + dt.timedelta(seconds=random.choice((0.3, 1, 5, 30, 59, 61, 600, 4_000, 40_000)))
        while core.ledger.due_at() <= end:
            core.pass_time(core.ledger.due_at())
        core.pass_time(end)

    def _said(self) -> dict[str, Any]:
        random = self.random
        said: dict[str, Any] = {}
        way = random.randint(0, 5)
        if way < 4:
            said["input_tokens"] = random.randint(0, 300)
        if way < 3:
            said["output_tokens"] = random.randint(0, 300)
        if way > 3:
            said["usage"] = Usage(tokens=random.choice((0, 1, 50, 400)), time_seconds=Decimal(1))
        also: tuple[tuple[float, str, Any], ...] = (
            (0.6, "model", random.choice(("m1", "m2"))),
            (0.15, "requests", random.choice((0, 2, 5))),
            (0.3, "labels", {"user": random.choice(("ann", "zoe"))}),
            (0.1, "operation", "edit"),
            (0.2, "source_id", f"s{random.randint(0, 5)}"),
            (0.2, "occurred_at", self.core.now - dt.timedelta(seconds=random.choice((0, 1, 30, 61, 3_700, 90_000)))),
        )
        return said | {name: value for chance, name, value in also if random.random() < chance}

    def _report(self) -> None:
        self._ask(c.ReportUsage(agent=self.random.choice((*AGENTS, *self._runs, "stray")), **self._said()))

    def _reserve(self) -> None:
        random, said = self.random, self._said()
        for name in ("source_id", "occurred_at", "usage"):
            said.pop(name, None)
        if not said.get("output_tokens"):
            said = {key: said[key] for key in said.keys() - {"input_tokens", "output_tokens"}}
            said["estimate"] = budget(random.randint(1, 500))
        ttl = Decimal(random.choice((20, 5_000, 10**6)))
        policy = random.choice(("release", "spend"))
        self._ask(c.Reserve(agent=random.choice((*AGENTS, *self._runs)), ttl_seconds=ttl, on_expiry=policy, **said))
        self._holds.append(f"n{self._count}")

    def _end(self) -> None:
        if self._holds:
            hold, final = self.random.choice(self._holds[-6:]), self.random.random() < 0.6
            cancel = self.random.random() < 0.25
            self._ask(c.CancelHold(hold=hold) if cancel else c.Settle(hold=hold, final=final, **self._said()))

    def _correct(self) -> None:
        random, found = self.random, records(self.core)
        # What a hold had named is forgotten a day after its end.
        known = {None, *self.core.ledger.holds, *self.core.ledger.ended_holds}
        found = [one for one in found[-8:] if one.hold in known]
        if not found:
            return
        named: dict[str, Any] = {"input_tokens": random.choice((0, 10, 500)), "output_tokens": random.choice((0, 500))}
        if random.random() < 0.5:
            named = {"usage": Usage(tokens=random.choice((0, 0, 7, 100, 900)))}
        if random.random() < 0.3:
            named["model"] = random.choice(("m1", "m2"))
        if random.random() < 0.2:
            named["requests"] = random.choice((0, 1, 4))
        self.core.when(asked(self.core, random.choice(found).position, **named))

    @property
    def _runs(self) -> list[str]:
        return list(self.core.ledger.tasks.running)

    def _task(self) -> None:
        """A task is submitted, runs again, reports as a run that may be over, or ends."""
        random, known = self.random, self.core.ledger.tasks
        queued = [name for name, task in known.known.items() if task.state == "queued"]
        way = random.randint(0, 4)
        if way < 2 or not self._leases:
            self._count += 1
            parent = random.choice((None, "ann", "cat"))
            labels = random.choice(({}, {"user": "zoe"}))
            task = submit(f"t{self._count}", model=random.choice(("m1", "m2")), parent=parent, labels=labels)
            self.core.when(task)
        elif way == 2 and queued:
            self.core.when(start(random.choice(queued)))
        elif way == 3:
            name, lease = random.choice(self._leases[-6:])
            self._ask(c.ReportUsage(task=name, lease=lease, **self._said()))
        elif self._runs:
            self.core.when(complete(random.choice(self._runs), used=random.choice((None, 700))))
        self._leases += [(event.task, event.lease) for event in self.core.every(e.TaskStarted)]

    def _life(self) -> None:
        name = self.random.choice((*AGENTS, "stray"))
        if name in self.core.ledger.accounts:
            self.core.when(c.ReleaseBudget(agent=name))
        else:
            self._open(name)

    def _open(self, name: str) -> None:
        given = AGENTS.get(name, {})
        most = 1_000_000 if "parent" in given else 10_000_000
        self.core.when(allocate(name, most, **given))


@pytest.mark.parametrize("batch", range(BATCHES))
def test_limits_count_what_the_log_says(batch: int) -> None:
    for seed in range(batch, SEEDS // 2, BATCHES):
        session = Session(seed)
        for _ in range(60):
            session.step()
        session.compare()
