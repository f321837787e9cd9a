"""Sessions of the messages that may be plain cases, in fleets with limits of all kinds: some near, some far."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from tallystick.config.amounts import Budget, Usage
from tallystick.events import messages as c
from tallystick.events.messages import proposals as p
from tests.support.core import fleet, submit
from tests.support.plain_sessions import Dice, otherwise, use
from tests.support.strategies import Step

PRICES = {
    "writer-1": {"input": 3, "output": 15},
    "reader-1": {"input": 1, "output": "0.3"},
    "claude-opus-5-5": {"input": 5, "output": 25},
}
MODELS = ("writer-1", "reader-1", "opus", "claude-opus-5-5")
_SCOPES = ("fleet", "fleet", "account", "agent_type", "product", "workflow", "model", "provider", "label:user")
_MATCHES: Sequence[dict[str, Any]] = (
    {},
    {},
    {"product": "shop"},
    {"model": ["opus", "writer-1"]},
    {"provider": "anthropic"},
    {"agent_type": "writer", "product": ["shop", "site"]},
    {"label:user": ["u-1", "u-2"]},
    {"account": ["ann", "cyd"]},
)
_WINDOWS: Sequence[Any] = (
    *("total", "hour", "day", "week", "month"),
    *({"seconds": 20}, {"seconds": 120}, {"hours": 5}),
    *({"seconds": 45, "from": "first_use"}, {"minutes": 30, "from": "first_use"}),
)
_MOST: dict[str, tuple[Any, ...]] = {
    "tokens": (60, 400, 3_000),
    "input_tokens": (60, 400, 3_000),
    "output_tokens": (60, 400, 3_000),
    "time_seconds": (3, 20, 90),
    "cost_usd": ("0.05", "0.5", "3"),
    "requests": (3, 12, 40),
    "concurrent": (1, 3, 10),
}
"""Some are come to soon, some late; beside them there are those that nothing comes to."""


def limited_session(seed: int) -> list[Step]:
    """Use of a fleet with limits, and what now and then is no plain case."""
    dice = Dice(seed, MODELS)
    steps: list[Step] = [(_configured(dice), 0.0), (p.LoadPrices(prices=PRICES), 0.0)]
    steps += [(_opened(dice, name, parent), 1.0) for name, parent in (("ann", None), ("ann/1", "ann"), ("bob", None))]
    steps.append((_opened(dice, "cyd", None), 1.0))
    if dice.randrange(2):
        # What a run may still use is committed in the limits that it counts in.
        steps.append((submit("T", estimated_tokens=20, model=dice.choice(MODELS)), 1.0))
    return [*steps, *use(dice, _otherwise)]


def _limit(dice: Dice, of: Sequence[str] = ("stop", "refuse", "wait", "warn")) -> dict[str, Any]:
    limit: dict[str, Any] = {
        "window": dice.choice(_WINDOWS),
        "max": {name: _most(dice, name) for name in dice.sample([*_MOST], dice.choice((1, 1, 2, 3)))},
        "then": dice.choice(of),
        "match": dice.choice(_MATCHES),
    }
    if dice.randrange(2):
        limit["alert_at_percent"] = dice.choice(([], [50], [0.1, 70], [100]))
    return limit


def _most(dice: Dice, name: str) -> Any:
    return dice.choice(_MOST[name]) if dice.randrange(2) else "1000000" if name == "cost_usd" else 10**6


def some_limits(dice: Dice) -> list[dict[str, Any]]:
    """Limits of any scope, match and window, or none."""
    number = dice.choice((0, 1, 2, 4))
    return [{"name": f"limit-{n}", "per": dice.choice(_SCOPES), **_limit(dice)} for n in range(number)]


def _configured(dice: Dice) -> c.Command:
    runs = {"name": "runs", "window": "day", "max": {"tokens": dice.choice((400, 900))}, "alert_at_percent": [100]}
    config: dict[str, Any] = {
        "limits": [*some_limits(dice), *([runs] if dice.randrange(3) == 0 else [])],
        "token_budgets": {"backend-engineer": dice.choice((50, 300))},
        "leases": {"seconds": 3_600},
        "limits_counters_max": dice.choice((2, 5, 100_000, 100_000)),
        "products": {"shop": {"token_budget_daily": dice.choice((None, 2_000))}},
    }
    if not dice.randrange(3):
        config["enforcement"] = {"last_call": {"percent": dice.choice((1, 10, 60))}}
    if dice.seldom(3):
        config["accounts"] = {"auto": {"limits": [_limit(dice)]}}
    return fleet(tokens=dice.choice((None, 10**10)), **config)


def _opened(dice: Dice, name: str, parent: str | None) -> c.Command:
    """An account that may have limits of its own, also in the place of a budget."""
    own = [_limit(dice, ("stop", "stop", "wait", "warn")) for _ in range(dice.choice((0, 0, 1, 2)))]
    budget: Budget | None = Budget(tokens=dice.choice((900, 10**6, 10**6)), cost_usd=dice.choice((None, Decimal(9))))
    if own and dice.randrange(2):
        budget = None
        if dice.randrange(2):
            # Its level follows from the requests that it holds.
            own[0] = {"window": dice.choice(_WINDOWS), "max": {"requests": dice.choice((6, 20))}}
    return c.AllocateBudget(
        agent=name,
        budget=budget,
        parent=parent,
        product=dice.choice((None, "shop", "site")),
        agent_type=dice.choice((None, "writer")),
        workflow=dice.choice((None, "nightly")),
        labels=dice.choice((None, {"user": "u-1"}, {"user": "u-3", "team": "t"}, {"user": "(other)"})),
        limits=own or None,
    )


def _otherwise(dice: Dice, held: list[str]) -> c.Command:
    agent = dice.choice(("ann", "bob", "cyd"))
    most = c.MaxChange(tokens=dice.choice((500, 10**7)))
    return dice.choice(
        (
            otherwise(dice, held),
            c.ReportUsage(agent=agent, model=dice.choice(MODELS), rate_limited=True, retry_after_seconds=Decimal(5)),
            c.ReportUsage(agent=agent, usage=Usage(tokens=30), labels={"user": "u-2"}),
            c.Reserve(agent=agent, estimate=Budget(tokens=30), labels={"user": "u-2"}),
            c.ApproveLimit(limit=dice.choice(("limit-0", "limit-1", "ann/1")), max=most),
            c.LoadConfig(config={"limits": some_limits(dice)}),
            c.LoadConfig(config={"products": {"site": {"paused": not dice.randrange(3)}}}),
            p.LoadPrices(prices=PRICES),
            submit(f"T{dice.randrange(9)}", estimated_tokens=20),
            c.AllocateBudget(agent=agent, budget=Budget(tokens=500)),
            c.CancelHold(hold=dice.choice(held) if held else "none"),
        )
    )
