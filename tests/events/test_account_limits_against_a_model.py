"""Limits of accounts against the model that keeps every use: nested accounts, of which some carve nothing out."""

import datetime as dt
import os
from random import Random
from typing import Any

import pytest

from tallystick.config.amounts import Budget
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tests.support.core import Core, fleet
from tests.support.limit_model import Model
from tests.support.limit_sessions import AGENTS, BUCKET, TREE, Session, made_up

SEEDS = int(os.environ.get("TALLYSTICK_LIMIT_SEEDS", "96"))
BATCHES = 6
PLENTY = 10_000_000
BELOW: dict[str, list[str]] = {agent: [agent] for agent in TREE}
"""Each account with those at or below it."""
for _agent, (_parent, _) in TREE.items():
    while _parent is not None:
        BELOW[_parent].append(_agent)
        _parent = TREE[_parent][0]
WINDOWS: list[Any] = [{"seconds": 60}, {"seconds": 7}, {"seconds": 3600}]
MOST = {"tokens": 3_000, "input_tokens": 2_000, "output_tokens": 2_000, "requests": 12, "concurrent": 4}
USING = (e.HoldPlaced, e.HoldSettled, e.HoldEnded, e.UsageReported)


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
        for agent in TREE
    }


class Nested(Session):
    """A fleet in which accounts have limits of their own beside those of the configuration, and its model."""

    def __init__(self, seed: int, *, rolling: bool) -> None:
        self.random = random = Random(seed)
        zone = random.choice(["UTC", "Europe/Zurich", "Australia/Lord_Howe"])
        limits, own = made_up(random, rolling=rolling), own_limits(random, rolling=rolling)
        of_accounts = [
            {"name": f"{agent}/{n}", "match": {"account": BELOW[agent]}, **limit}
            for agent, its in own.items()
            for n, limit in enumerate(its, start=1)
        ]
        self.model = Model([*limits, *of_accounts], zone, dict.fromkeys(TREE, PLENTY))
        self.core = Core(compares=False)
        self.core.now = random.choice(
            [dt.datetime(2026, 3, 29, 0, 50, tzinfo=dt.UTC), dt.datetime(2026, 10, 31, 22, 0, tzinfo=dt.UTC)]
        )
        at_once = dict.fromkeys(("warn_at", "throttle_at", "degrade_at", "stop_at"), "1")
        none = {"daily_limits": {"max_tokens_total": None, "max_cost_usd": None}}
        self.core.given(fleet(1_000_000_000, timezone=zone, limits=limits, enforcement=at_once, **none))
        for depth, (agent, (parent, _)) in enumerate(TREE.items(), start=1):
            has_budget = not own[agent] or random.random() < 0.4
            user = AGENTS[agent].get("label:user")
            self.core.given(
                c.AllocateBudget(
                    agent=agent,
                    budget=Budget(100 * PLENTY // 2**depth) if has_budget else None,
                    limits=own[agent],
                    parent=parent,
                    product=AGENTS[agent]["product"],
                    labels=None if user is None else {"user": user},
                )
            )
        self.count = 0

    def levels_follow(self) -> None:
        """Accounts without a carve-out at or above the one that has just used something are black where the model says
        that a limit of theirs is used up, and green elsewhere: an event has said so.
        """
        users = {event.agent for event in self.core.own if isinstance(event, USING)}
        for name, below in BELOW.items():
            account = self.core.account(name)
            if account.carves_nothing and users & set(below):
                limits = [limit for limit in self.model.limits if limit["name"].startswith(f"{name}/")]
                surely, perhaps = (any(self.is_full(one, slack) for one in limits) for slack in (0.0, BUCKET))
                assert account.level in ({4} if surely else {0, 4} if perhaps else {0}), f"{name} at {account.level}"

    def is_full(self, limit: dict[str, Any], slack: float) -> bool:
        counted = ((m, most) for m, most in limit["max"].items() if m != "concurrent")
        return any(self.model.taken(limit, "fleet", m, self.core.now, slack)[0] >= most for m, most in counted)


@pytest.mark.parametrize("rolling", [False, True])
@pytest.mark.parametrize("batch", range(BATCHES))
def test_grants_and_levels_of_nested_accounts_are_those_of_the_model(batch: int, *, rolling: bool) -> None:
    for seed in range(batch, SEEDS // 10, BATCHES):
        session = Nested(2_000_000 + seed, rolling=rolling)
        for _ in range(40):
            step = session.random.random()
            if step < 0.3:
                session.wait()
                continue
            if step < 0.75:
                session.reserve(exact=not rolling)
            elif step < 0.9 or rolling:
                session.end_one(more=not rolling)
            else:
                session.report()
            session.levels_follow()
            if rolling:
                for limit in session.model.limits:
                    for value in {session.model.value(limit, session.says(agent)) for agent in AGENTS}:
                        for measure, most in limit["max"].items():
                            assert sum(session.model.taken(limit, value, measure, session.core.now)) <= most
        session.compare()
