"""Sessions of a fleet with limits, beside a model that keeps every use with its time."""

import datetime as dt
from decimal import Decimal
from random import Random
from typing import Any

from tallystick.events import messages as c
from tallystick.events.log import snapshot
from tallystick.events.messages.replies import Refusal
from tests.support.core import Core, allocate, fleet
from tests.support.limit_model import Model

AGENTS = {
    "team": {"product": "shop"},
    "ann": {"label:user": "ann", "product": "shop"},
    "ann-sub": {"label:user": "ann", "product": "shop"},
    "ann-sub-sub": {"label:user": "dan", "product": "shop"},
    "ben": {"label:user": "ben", "product": "shop"},
    "cat": {"product": "web"},
}
TREE: dict[str, tuple[str | None, int]] = {
    "team": (None, 16_000),
    "ann": ("team", 7_000),
    "ann-sub": ("ann", 4_000),
    "ann-sub-sub": ("ann-sub", 1_500),
    "ben": ("team", 5_000),
    "cat": (None, 1_000_000),
}
"""Below whom each agent is, and how many tokens are carved out for it."""
BUCKET = 1 / 60
START_LINE = {"warn_at": 0.97, "throttle_at": 0.98, "degrade_at": 0.99, "stop_at": 1}
"""So late that budgets refuse nearly nothing but what they have no room for."""


def made_up(random: Random, *, rolling: bool) -> list[dict[str, Any]]:
    """Limits of any scope, window and measures."""
    windows: list[Any] = [{"seconds": 60}, {"seconds": 7}, {"seconds": 3600}]
    if not rolling:
        windows += ["total", "hour", "day", "week", "month", {"seconds": 90, "from": "first_use"}]
        windows += [{"seconds": 4000, "from": "first_use"}]
    matches: list[dict[str, Any]] = [
        {}, {}, {"product": "shop"}, {"label:user": ["ann", "ben"]}, {"product": ["shop", "web"], "label:user": "ann"},
        {"model": "m"},
    ]  # fmt: skip
    most = {"tokens": 3_000, "input_tokens": 2_000, "output_tokens": 2_000, "requests": 12, "concurrent": 4}
    limits = []
    for n in range(random.randint(3, 5)):
        named = random.sample(sorted(most), random.randint(1, 3))
        limits.append(
            {
                "name": f"limit-{n}",
                "per": random.choice(["fleet", "account", "product", "model", "label:user"]),
                "match": random.choice(matches),
                "window": random.choice(windows),
                "max": {measure: random.randint(1, most[measure]) for measure in named},
            }
        )
    return limits


def shorthands(day: dict[str, Any], products: dict[str, Any]) -> list[dict[str, Any]]:
    """The limits that a configuration is short for."""
    limits: list[dict[str, Any]] = []
    if day:
        limits.append({"name": "daily", "window": "day", "max": {"tokens": day["max_tokens_total"]}})
    for name, product in products.items():
        most = {"tokens": product["token_budget_daily"]}
        match = {"product": name}
        limits.append({"name": f"product-daily:{name}", "per": "product", "match": match, "window": "day", "max": most})
    return limits


class Session:
    """A fleet and the model of its limits, which are told the same."""

    def __init__(self, seed: int, *, rolling: bool) -> None:
        self.random = Random(seed)
        zone = self.random.choice(["UTC", "Europe/Zurich", "Australia/Lord_Howe", "America/St_Johns"])
        limits = made_up(self.random, rolling=rolling)
        day = {} if rolling else self.random.choice([{}, {"max_tokens_total": self.random.randint(1, 6_000)}])
        products = {} if rolling else self.random.choice([{}, {"shop": {"token_budget_daily": 3_000}}])
        self.model = Model(
            [*shorthands(day, products), *limits], zone, {name: most for name, (_, most) in TREE.items()}
        )
        for parent, most in TREE.values():
            self.model.spend(parent, most)
        self.core = Core(compares=False)
        self.core.now = self.random.choice(
            [
                dt.datetime(2026, 3, 29, 0, 50, tzinfo=dt.UTC),
                dt.datetime(2026, 10, 24, 23, 30, tzinfo=dt.UTC),
                dt.datetime(2026, 10, 31, 22, 0, tzinfo=dt.UTC),
                dt.datetime(2026, 4, 4, 14, 40, tzinfo=dt.UTC),
            ]
        )
        daily = {"max_tokens_total": None, "max_cost_usd": None, **day}
        rest = {"daily_limits": daily, "products": products, "enforcement": START_LINE}
        self.core.given(fleet(100_000_000, timezone=zone, limits=limits, **rest))
        for agent, (parent, most) in TREE.items():
            user = AGENTS[agent].get("label:user")
            labels = {} if user is None else {"user": user}
            self.core.given(allocate(agent, most, parent=parent, product=AGENTS[agent]["product"], labels=labels))
        self.count = 0

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
        if not isinstance(answer, Refusal):
            assert not refusing, f"granted beyond {refusing}"
            assert sent + got <= model.free[agent], "granted beyond what was carved out"
            model.hold(id, says, sent + got, sent, core.now)
        elif answer.code in ("limit_reached", "daily_limit_reached"):
            named = answer.numbers["decided_by"].removeprefix("limit:")
            assert named in model.refuses(says, asked, core.now, slack=BUCKET), f"{answer}"
        else:
            assert answer.code in ("budget_exhausted", "throttled")
            line = 0 if answer.code == "budget_exhausted" else TREE[agent][1] // 25
            assert sent + got > model.free[agent] - line, f"{answer}: {model.free[agent]} is free"

    def end_one(self, *, more: bool) -> None:
        random, model = self.random, self.model
        if not model.held:
            return
        id = random.choice(sorted(model.held))
        if random.random() < 0.3:
            self.core.given(c.CancelHold(hold=id))
            model.end(id)
            return
        _, held = model.held[id]
        granted = next(use.amounts["input_tokens"] for use in model.uses if use.hold == id)
        sent, got = random.randint(0, granted), random.randint(0, held["output_tokens"])
        beyond = random.randint(0, 500)
        if more and random.random() < 0.3 and beyond <= model.free[model.agent(id)]:
            sent = sent + beyond
        self.core.given(c.Settle(hold=id, input_tokens=sent, output_tokens=got))
        model.settle(id, sent, got, self.core.now)

    def report(self) -> None:
        agent = self.random.choice(sorted(AGENTS))
        sent, got = self.random.randint(0, 300), self.random.randint(0, 300)
        if sent + got > self.model.free[agent]:
            return
        self.core.given(c.ReportUsage(agent=agent, model="m", input_tokens=sent, output_tokens=got))
        self.model.report(self.says(agent), sent, got, self.core.now)

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
