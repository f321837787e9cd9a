"""Sessions of the messages that may be plain cases, and now and then of what makes them no plain cases."""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from random import Random
from typing import Any

from tallystick.config.amounts import Budget, Usage
from tallystick.events import messages as c
from tallystick.events.messages import proposals as p
from tests.support.core import START, fleet
from tests.support.strategies import Step

PRICES = {"writer-1": {"input": 3, "output": 15}, "reader-1": {"input": 1, "output": "0.3"}}

NAMES = ("ann", "ann/1", "bob", "cyd", "nobody", "bell\a")
_COUNTS = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "cache_write_tokens")


class Dice(Random):
    """Oddities come now and then in some sessions, and hardly ever in others, so that these go on being plain."""

    def __init__(self, seed: int, models: Sequence[str] = ("writer-1", "reader-1")) -> None:
        super().__init__(seed)
        self.models = models
        self.calm = self.choice((1, 5, 30))

    def seldom(self, sides: int) -> bool:
        return not self.randrange(sides * self.calm)


def session(seed: int) -> list[Step]:
    """Use of a fleet that is mostly without limits, and what now and then is no plain case."""
    dice = Dice(seed)
    steps: list[Step] = [(_configured(dice), 0.0), (p.LoadPrices(prices=PRICES), 0.0)]
    for name, parent in (("ann", None), ("ann/1", "ann"), ("bob", None), ("cyd", None)):
        grant = Budget(
            tokens=dice.choice((None, 300, 1_500, 4_000)),
            time_seconds=dice.choice((None, None, Decimal(900))),
            cost_usd=dice.choice((None, None, Decimal(2))),
        )
        opened = c.AllocateBudget(
            agent=name,
            budget=grant,
            parent=parent,
            product=dice.choice((None, "shop", "site")),
            overdraft_max=Budget(tokens=60) if grant.tokens is not None and dice.seldom(2) else None,
            limits=[{"window": "day", "max": {"tokens": 900}}] if dice.seldom(4) else None,
            delegated=dice.seldom(6),
        )
        steps.append((opened, 1.0))
    return [*steps, *use(dice, otherwise)]


def use(dice: Dice, otherwise: "Maker") -> Iterator[Step]:
    """Reports, holds and settlements, and ``otherwise`` now and then something else."""
    held: list[str] = []
    for number in range(60):
        make = otherwise if dice.seldom(15) else dice.choice((report, reserve, settle))
        command = make(dice, held)
        command.id = f"m-{number}"
        if make is reserve:
            held.append(command.id)
        yield command, dice.choice((0.0, 0.2, 1.0, 1.0, 30.0, 90.0))


def _configured(dice: Dice) -> c.Command:
    config: dict[str, Any] = {"daily_limits": {"max_tokens_total": dice.choice((None, None, 3_000, 50_000))}}
    if dice.seldom(4):
        site = {"name": "site", "window": "day", "max": {"tokens": 5_000}, "match": {"product": "site"}}
        config["limits"] = [site]
    if dice.seldom(6):
        config["enforcement"] = {"last_call": {"percent": 10}}
    if dice.seldom(4):
        config["products"] = {"shop": {"token_budget_daily": 2_000}}
    if dice.seldom(4):
        config["accounts"] = {"auto": {"limits": [{"window": "day", "max": {"tokens": 800}}]}}
    config["emergency_reserve_percent"] = dice.choice((0, 0, 10))
    return fleet(tokens=dice.choice((None, 8_000, 10**10)), cost=dice.choice((None, None, "9")), **config)


def _amounts(dice: Dice, kind: type[Usage]) -> Any:
    """Of a settlement or a report also what is finer than its unit."""
    if dice.seldom(12):
        return kind(tokens=dice.choice((-1, 2**70)), cost_usd=dice.choice((None, Decimal("NaN"), Decimal("-1"))))
    tokens: Any = dice.choice((None, 0) if dice.seldom(3) else (1, 7, 7, 40, 40, 150))
    if kind is Usage and dice.seldom(10):
        tokens = 10.4
    return kind(
        tokens=tokens,
        time_seconds=dice.choice((None, None, Decimal("1.5"), Decimal("0.0001") if kind is Usage else Decimal(2))),
        cost_usd=dice.choice((None, None, Decimal("0.011"))),
    )


def _spoken(dice: Dice, of: type[c.Command]) -> dict[str, Any]:
    """What a message says beside its amounts."""
    said: dict[str, Any] = {}
    if not dice.randint(0, 2):
        said["model"] = dice.choice((*dice.models, *(("unheard-of", "writer\u200b-1") if dice.seldom(3) else ())))
        names = dice.sample(_COUNTS, dice.choice((0, 1, 2, 3))) if dice.seldom(3) else ("input_tokens", "output_tokens")
        said |= {name: dice.choice((0, 10, 60, 400)) for name in names}
    if not dice.randint(0, 5):
        said["operation"] = dice.choice(("draft", " read") if dice.seldom(3) else ("draft",))
    odd: dict[str, Any] = {
        "labels": dice.choice(({}, {"user": "u-1"})),
        "requests": dice.choice((0, 1, 3, -1)),
        "provider_usage": {"input_tokens": 9, "output_tokens": 4},
    }
    if of is not c.Reserve:
        odd |= {
            "source_id": f"s-{dice.randint(0, 999)}",
            "occurred_at": START - dt.timedelta(hours=dice.randint(0, 30)),
        }
    return said | {name: value for name, value in odd.items() if dice.seldom(15)}


def _agent(dice: Dice) -> str:
    return dice.choice(NAMES) if dice.seldom(3) else dice.choice(NAMES[:4])


def report(dice: Dice, held: list[str]) -> c.Command:
    """A report."""
    said: dict[str, Any] = {**_spoken(dice, c.ReportUsage), "agent": _agent(dice)}
    said["usage"] = None if dice.seldom(6) else _amounts(dice, dice.choice((Usage, Budget)))
    if dice.seldom(15):
        said |= dice.choice(
            ({"task": "T"}, {"lease": "l"}, {"rate_limited": True}, {"retry_after_seconds": Decimal(1)})
        )
    return c.ReportUsage(**said)


def reserve(dice: Dice, held: list[str]) -> c.Command:
    """A hold."""
    said: dict[str, Any] = {**_spoken(dice, c.Reserve), "agent": _agent(dice)}
    said["estimate"] = None if dice.seldom(6) else _amounts(dice, Budget)
    odd: dict[str, Any] = {
        "ttl_seconds": dice.choice((Decimal(40), Decimal(0))),
        "dry_run": True,
        "overage": "reject",
        "on_expiry": "spend",
        "last_call": True,
        "max_output_tokens": dice.choice((50, -1)),
        "reason": "a test",
    }
    return c.Reserve(**said, **{name: value for name, value in odd.items() if dice.seldom(12)})


def settle(dice: Dice, held: list[str]) -> c.Command:
    """The end of one of the last holds, or a part of it."""
    usage = _amounts(dice, dice.choice((Usage, Budget)))
    hold = dice.choice(held[-3:]) if held else "none"
    return c.Settle(hold=hold, usage=usage, final=not dice.seldom(6), **_spoken(dice, c.Settle))


def otherwise(dice: Dice, held: list[str]) -> c.Command:
    """What makes some cases no plain ones."""
    agent = dice.choice(NAMES[:4])
    return dice.choice(
        (
            c.Stop(agent=agent, reason="a test"),
            c.Resume(agent=agent),
            c.Throttle(agent=agent, rate=Decimal("0.5")),
            p.WarnAgent(agent=agent, exhausted_in_seconds=90, method="average"),
            c.BorrowFromPool(agent=agent, amount=Budget(tokens=500)),
            c.ReleaseBudget(agent=agent),
            c.AllocateBudget(agent=agent, budget=Budget(tokens=50)),
            c.PauseAll(reason="a test"),
            c.ResumeAll(),
            c.ResumeAll(),
            p.LoadPrices(prices=dice.choice((PRICES, {}))),
            p.OpenFleet(),
        )
    )


Maker = Callable[[Dice, list[str]], c.Command]
"""Makes a message; the list has the ids of the holds so far."""
