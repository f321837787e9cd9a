"""Limits against a model that keeps every use with its time: the same decisions, and never more than allowed.

`TALLYSTICK_LIMIT_SEEDS` says how many sessions are played; each has three to five limits that overlap.
"""

import datetime as dt
import os
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from tallystick.config.amounts import Budget
from tallystick.events import messages as c
from tallystick.events.log import snapshot
from tallystick.events.messages.replies import Refusal
from tests.support.core import Core, allocate, fleet
from tests.support.limit_model import Model

SEEDS = int(os.environ.get("TALLYSTICK_LIMIT_SEEDS", "36"))
BATCHES = 6
AGENTS = {
    "ann": {"label:user": "ann", "product": "shop"},
    "ann-sub": {"label:user": "ann", "product": "shop"},
    "ben": {"label:user": "ben", "product": "shop"},
    "cat": {"product": "web"},
}
BUCKET = 1 / 60
BELOW = {"team": ["team", "ann", "ann-sub"], "ann": ["ann", "ann-sub"], "ann-sub": ["ann-sub"], "ben": ["ben"]}
"""The accounts that may have limits of their own, each with those at or below it."""
WINDOWS: list[Any] = [{"seconds": 60}, {"seconds": 7}, {"seconds": 3600}]
MOST = {"tokens": 3_000, "input_tokens": 2_000, "output_tokens": 2_000, "requests": 12, "concurrent": 4}


def own_limits(random: Random, *, rolling: bool) -> dict[str, list[dict[str, Any]]]:
    """Limits of accounts; some have none."""
    windows = WINDOWS if rolling else [*WINDOWS, "total", "hour", "day", "month", {"seconds": 90, "from": "first_use"}]
    return {
        agent: [
            {
                "window": random.choice(windows),
                "max": {m: random.randint(1, MOST[m]) for m in random.sample(sorted(MOST), random.randint(1, 2))},
            }
            for _ in range(random.randint(0, 2))
        ]
        for agent in BELOW
    }


def made_up(random: Random, *, rolling: bool) -> list[dict[str, Any]]:
    """Limits of any scope, window and measures."""
    windows = [*WINDOWS]
    if not rolling:
        windows += ["total", "hour", "day", "week", "month", {"seconds": 90, "from": "first_use"}]
        windows += [{"seconds": 4000, "from": "first_use"}]
    matches: list[dict[str, Any]] = [
        {}, {}, {"product": "shop"}, {"label:user": ["ann", "ben"]}, {"product": ["shop", "web"], "label:user": "ann"},
        {"model": "m"},
    ]  # fmt: skip
    limits = []
    for n in range(random.randint(3, 5)):
        named = random.sample(sorted(MOST), random.randint(1, 3))
        limits.append(
            {
                "name": f"limit-{n}",
                "per": random.choice(["fleet", "account", "product", "model", "label:user"]),
                "match": random.choice(matches),
                "window": random.choice(windows),
                "max": {measure: random.randint(1, MOST[measure]) for measure in named},
            }
        )
    return limits


def of_accounts(own: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Limits of accounts in the form of the configuration."""
    return [
        {"name": f"{agent}/{n}", "match": {"account": BELOW[agent]}, **limit}
        for agent, limits in own.items()
        for n, limit in enumerate(limits, start=1)
    ]


def is_full(model: Model, limit: dict[str, Any], now: dt.datetime, slack: float) -> bool:
    counted = ((m, most) for m, most in limit["max"].items() if m != "concurrent")
    return any(model.taken(limit, "fleet", m, now, slack)[0] >= most for m, most in counted)


class Session:
    """A fleet and the model of its limits, which are told the same."""

    def __init__(self, seed: int, *, rolling: bool) -> None:
        self.random = Random(seed)
        zone = self.random.choice(["UTC", "Europe/Zurich", "Australia/Lord_Howe", "America/St_Johns"])
        limits = made_up(self.random, rolling=rolling)
        own = own_limits(self.random, rolling=rolling)
        self.model = Model(limits + of_accounts(own), zone)
        self.core = Core(compares=False)
        self.core.now = self.random.choice(
            [
                dt.datetime(2026, 3, 29, 0, 50, tzinfo=dt.UTC),
                dt.datetime(2026, 10, 24, 23, 30, tzinfo=dt.UTC),
                dt.datetime(2026, 10, 31, 22, 0, tzinfo=dt.UTC),
                dt.datetime(2026, 4, 4, 14, 40, tzinfo=dt.UTC),
            ]
        )
        none = {"daily_limits": {"max_tokens_total": None, "max_cost_usd": None}}
        at_once = dict.fromkeys(("warn_at", "throttle_at", "degrade_at", "stop_at"), "1")
        self.core.given(fleet(100_000_000, timezone=zone, limits=limits, enforcement=at_once, **none))
        self.open("team", own, product="shop")
        self.open("ann", own, parent="team", product="shop", labels={"user": "ann"})
        self.open("ann-sub", own, parent="ann")
        self.open("ben", own, product="shop", labels={"user": "ben"})
        self.core.given(allocate("cat", 10_000_000, product="web"))
        self.count = 0

    def open(self, agent: str, own: dict[str, list[dict[str, Any]]], **rest: Any) -> None:
        """With its limits, and a budget where it has none, or where chance says so."""
        has_budget = not own[agent] or self.random.random() < 0.4
        tokens = {"team": 30_000_000, "ann-sub": 1_000_000}.get(agent, 10_000_000)
        granted = Budget(tokens) if has_budget else None
        self.core.given(c.AllocateBudget(agent=agent, budget=granted, limits=own[agent], **rest))

    def levels_follow(self, agent: str) -> None:
        """Accounts without a carve-out at or above the one that has done something are black where the model says that
        a limit of theirs is used up, and green elsewhere; an event has said so.
        """
        now, model = self.core.now, self.model
        for name, below in BELOW.items():
            account = self.core.account(name)
            if agent not in below or not account.carves_nothing:
                continue
            limits = [limit for limit in model.limits if limit["name"].startswith(f"{name}/")]
            surely, perhaps = (any(is_full(model, one, now, slack) for one in limits) for slack in (0.0, BUCKET))
            assert account.level in ({4} if surely else {0, 4} if perhaps else {0}), f"{name} at {account.level}"

    def says(self, agent: str) -> dict[str, str]:
        return {**AGENTS[agent], "account": agent, "model": "m"}

    def wait(self) -> None:
        self.core.wait(self.random.choice([0, 0, 0.3, 1, 5, 30, 59, 61, 600, 4_000]))
        self.core.pass_time()

    def reserve(self, *, exact: bool) -> None:
        random, core, model = self.random, self.core, self.model
        agent, self.count = random.choice(sorted(AGENTS)), self.count + 1
        sent, got, id = random.randint(0, 400), random.randint(1, 400), f"h{self.count}"
        asked = {"tokens": sent + got, "input_tokens": sent, "output_tokens": got, "requests": 1, "concurrent": 1}
        says = self.says(agent)
        command = c.Reserve(
            agent=agent, id=id, model="m", input_tokens=sent, output_tokens=got, ttl_seconds=Decimal(600_000)
        )
        answer = core.when(command)
        refusing = model.refuses(says, asked, core.now)
        if isinstance(answer, Refusal):
            assert answer.code == "limit_reached"
            assert refusing or model.refuses(says, asked, core.now, slack=BUCKET), f"{answer} of {model}"
            return
        assert not refusing, f"granted beyond {refusing}"
        model.hold(id, says, sent + got, sent, core.now)
        self.levels_follow(agent)

    def end_one(self, *, more: bool) -> None:
        random, model = self.random, self.model
        if not model.held:
            return
        id = random.choice(sorted(model.held))
        if random.random() < 0.3:
            says, _ = model.held[id]
            self.core.given(c.CancelHold(hold=id))
            model.end(id)
            self.levels_follow(says["account"])
            return
        says, held = model.held[id]
        granted = next(use.amounts["input_tokens"] for use in model.uses if use.hold == id)
        sent, got = random.randint(0, granted), random.randint(0, held["output_tokens"])
        if more and random.random() < 0.3:
            sent, got = sent + random.randint(0, 500), got + random.randint(0, 500)
        self.core.given(c.Settle(hold=id, input_tokens=sent, output_tokens=got))
        model.settle(id, sent, got, self.core.now)
        self.levels_follow(says["account"])

    def report(self) -> None:
        agent = self.random.choice(sorted(AGENTS))
        sent, got = self.random.randint(0, 300), self.random.randint(0, 300)
        self.core.given(c.ReportUsage(agent=agent, model="m", input_tokens=sent, output_tokens=got))
        self.model.report(self.says(agent), sent, got, self.core.now)
        self.levels_follow(agent)

    def compare(self) -> None:
        """The replica, and a state that was put down and taken up, are the same."""
        self.core.compare()
        dumped = snapshot.dump(self.core.ledger)
        again = snapshot.load(dumped)
        assert again is not None
        assert snapshot.dump(again) == dumped
        for name, state in self.core.ledger.limits.states.items():
            for value, counter in state.counters.items():
                assert again.limits.states[name].counters[value].held == counter.held


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_hold_is_granted_exactly_where_the_model_has_room(batch: int) -> None:
    for seed in range(batch, SEEDS, BATCHES):
        session = Session(seed, rolling=False)
        for _ in range(50):
            step = session.random.random()
            if step < 0.3:
                session.wait()
            elif step < 0.75:
                session.reserve(exact=True)
            elif step < 0.9:
                session.end_one(more=True)
            else:
                session.report()
        session.compare()


@pytest.mark.parametrize("batch", range(BATCHES))
def test_in_every_span_of_a_rolling_windows_length_grants_use_and_hold_at_most_the_maximum(batch: int) -> None:
    for seed in range(batch, SEEDS, BATCHES):
        session = Session(1_000_000 + seed, rolling=True)
        model = session.model
        for _ in range(60):
            step = session.random.random()
            if step < 0.3:
                session.wait()
            elif step < 0.75:
                session.reserve(exact=False)
            else:
                session.end_one(more=False)
            now = session.core.now
            for limit in model.limits:
                for value in {model.value(limit, session.says(agent)) for agent in AGENTS}:
                    for measure, most in limit["max"].items():
                        assert sum(model.taken(limit, value, measure, now)) <= most
        session.compare()
