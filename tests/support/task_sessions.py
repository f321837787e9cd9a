"""Sessions of a queue of tasks in a fleet that is mostly without limits, and now and then what tells tasks apart."""

import datetime as dt
from decimal import Decimal
from random import Random
from typing import Any

from tallystick.config.amounts import Budget, Usage
from tallystick.events import messages as c
from tests.support.core import START, fleet
from tests.support.driving import Timed

TYPES, PRODUCTS = ("writer", "tester"), ("shop", "site", "lab")


class Dice(Random):
    """Oddities come now and then in some sessions, and hardly ever in others."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.calm = self.choice((1, 4, 20))
        self.ended = 0
        """How many runs were ended, about: the oldest of the others run, or soon will."""

    def seldom(self, sides: int) -> bool:
        return not self.randrange(sides * self.calm)


def session(seed: int, steps: int = 70) -> list[Timed]:
    """Messages with their moments: submissions, ends of runs, and what keeps tasks from starting."""
    dice = Dice(seed)
    lead = c.AllocateBudget(agent="lead", budget=Budget(tokens=900))
    messages: list[Timed] = [(START, _configured(dice)), (START, lead)]
    now, tasks = START, ["none"]
    for number in range(steps):
        now += dt.timedelta(seconds=dice.choice((0, 0, 1, 20, 300 if dice.seldom(3) else 1)))
        make = _else if dice.seldom(8) else dice.choice((_submit, _submit, _end))
        command = make(dice, tasks)
        command.id = f"m-{dice.randrange(number + 1) if dice.seldom(20) else number}"
        messages.append((now, command))
    return messages


def _configured(dice: Dice) -> c.LoadConfig:
    total = dice.choice((0, 1, 2, 3, 5)) if dice.seldom(4) else dice.choice((1, 2, 3))
    config: dict[str, Any] = {
        "leases": {"seconds": dice.choice((60, 3_600, 36_000))},
        "max_concurrent": {"total": total, "per_type": {"tester": dice.choice((0, 1, 2))} if dice.seldom(2) else {}},
        "token_budgets": dice.choice(
            ({"default": None}, {"default": 50}, {"default": None, "writer": 300}, {"tester": 4_000})
        ),
        "daily_limits": {"max_tokens_total": None, "max_cost_usd": None},
        "emergency_reserve_percent": dice.choice((0, 0, 20)),
    }
    products: dict[str, dict[str, Any]] = {"shop": {"priority": dice.choice(("high", "low"))}}
    if dice.seldom(3):
        config["daily_limits"] = dice.choice(({"max_tokens_total": 3_000}, {"max_cost_usd": 0}, {"max_cost_usd": 2}))
    if dice.seldom(3):
        products["site"] = {"max_concurrent_agents": dice.choice((0, 1))}
    if dice.seldom(4):
        products["lab"] = dice.choice(({"paused": True}, {"token_budget_daily": 600}))
    if dice.seldom(4):
        config["limits"] = [{"name": "few", "per": "product", "window": "day", "max": {"tokens": 700}}]
    if dice.seldom(4):
        config["manual_override"] = {"pause_all_agents": True}
    if dice.seldom(3):
        high = dice.choice(({"preempt_lower": True}, {"max_wait_time_minutes": 1}))
        config["priority_levels"] = {"critical": {"preempt_lower": not dice.seldom(2)}, "high": high}
    return fleet(tokens=dice.choice((None, 500, 2_000, 10**9)), products=products, **config)


def _submit(dice: Dice, tasks: list[str]) -> c.SubmitTask:
    task = dice.choice(tasks) if dice.seldom(8) else f"t-{len(tasks)}"
    tasks.append(task)
    odd: dict[str, Any] = {
        "parent": dice.choice(("lead", "nobody", dice.choice(tasks))),
        "depends_on": [dice.choice(tasks) for _ in range(dice.choice((1, 1, 2)))],
        "labels": {"user": "u-1"},
        "workflow": dice.choice(("release", "release", "re\u200blease")),
        "model": dice.choice(("haiku", "haiku", "pool")),
        "blocks": 2,
        "estimated_minutes": dice.choice((Decimal(3), Decimal(3), Decimal("0.00001"))),
        "wait_seconds": Decimal(30),
    }
    return c.SubmitTask(
        task=task if not dice.seldom(20) else dice.choice(("pool", "a\u200b", "lead")),
        agent_type=dice.choice(TYPES),
        product=dice.choice(PRODUCTS),
        priority=dice.choice((None, None, "low", "high", "critical" if dice.seldom(2) else None)),
        estimated_tokens=dice.choice((None, 40, 5_000 if dice.seldom(3) else 40)),
        **{name: value for name, value in odd.items() if dice.seldom(5)},
    )


def _end(dice: Dice, tasks: list[str]) -> c.Command:
    task = tasks[min(dice.ended + dice.randrange(4), len(tasks) - 1)]
    dice.ended += dice.randrange(3) > 0
    if dice.seldom(4):
        return dice.choice(
            (c.CancelTask(task=task), c.GetTask(task=task), c.GetQueue(limit=5), c.RetryTask(task=task, reason="again"))
        )
    outcome: c.TaskOutcome = "failed" if dice.seldom(4) else "completed"
    return c.CompleteTask(task=task, outcome=outcome, usage=Usage(tokens=dice.choice((20, 20, 300))))


def _else(dice: Dice, tasks: list[str]) -> c.Command:
    task = dice.choice(tasks)
    return dice.choice(
        (
            _configured(dice),
            c.PauseAll(reason="a test"),
            c.ResumeAll(),
            c.ResumeAll(),
            c.Stop(agent=dice.choice((task, "lead")), reason="a test"),
            c.Resume(agent=task),
            c.OverridePriority(product="site", priority=dice.choice((None, "critical"))),
            c.AllocateBudget(agent=f"t-{len(tasks)}", budget=Budget(tokens=10)),
            c.ReleaseBudget(agent="lead"),
            c.ReportUsage(agent="lead", usage=Usage(tokens=dice.choice((100, 800)))),
            c.SetTotalBudget(budget=Budget(tokens=dice.choice((700, 5_000, 10**9)))),
            c.ReleaseReserve(reason="a test"),
        )
    )
