"""A fleet whose every figure is looked at: several products, models and days, sub-agents, tasks, holds, late usage, and
corrections of any of it."""

from random import Random
from typing import Any

from tallystick.config.amounts import Budget
from tallystick.events import messages as c
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Refusal
from tests.support.core import Core, allocate, budget, complete, fleet, hold, settle, submit
from tests.support.corrections import any_correction

MODELS = (None, "opus", "sonnet", "haiku", "unheard-of")
PRODUCTS = (None, "shop", "lab", "desk")
NAMES = tuple(f"a-{number}" for number in range(6))
ZONES = ("UTC", "Europe/Zurich", "Asia/Kolkata", "America/St_Johns")
TASKS_OPEN_MAX = 6


def figures_fleet(dice: Random, zone: str | None = None) -> Core:
    """A fleet without a period, so that all that was ever used is in its total; nothing is in a task's way."""
    limits = {"max_tokens_total": None, "max_cost_usd": None}
    return Core(
        fleet(
            10**9,
            "100000",
            timezone=zone or dice.choice(ZONES),
            daily_limits=limits,
            circuit_breaker={"trip_conditions": []},
            max_concurrent={"total": 100, "per_type": {"backend-engineer": None, "frontend-engineer": None}},
            token_budgets={"default": 400, "backend-engineer": 400, "qa-engineer": 250},
        ),
        compares=False,
    )


def any_run(dice: Random, steps: int, zone: str | None = None) -> Core:
    """Random messages; what is refused is refused."""
    core, run = figures_fleet(dice, zone), _Run(dice)
    for number in range(steps):
        core.wait(dice.choice((0, 1, 30, 600, 4_000)) + (60_000 if not dice.randint(0, 19) else 0))
        command = run.command(number) if dice.randint(0, 9) else any_correction(core, dice)
        if command is not None:
            answer = core.when(command)
            if isinstance(command, p.PlaceTask) and not isinstance(answer, Refusal):
                run.tasks.append(command.submitted.task)
    return core.pass_time()


class _Run:
    def __init__(self, dice: Random) -> None:
        self.dice = dice
        self.tasks: list[str] = []
        self.holds: list[str] = []

    def _usage(self) -> Budget:
        dice = self.dice
        return budget(dice.choice((1, 7, 30, 120)), dice.choice((None, 2)), dice.choice((None, "0.01", "0.333", "2")))

    def _agent(self) -> str:
        dice = self.dice
        names = (*NAMES, *(f"{name}/1" for name in NAMES[:3]), *self.tasks[-TASKS_OPEN_MAX:])
        return dice.choice(names)

    def command(self, number: int) -> Any:
        dice = self.dice
        match dice.randint(0, 11):
            case 0 | 1:
                name, cost = dice.choice(NAMES), dice.choice((None, "3"))
                labels = {"product": dice.choice(PRODUCTS), "workflow": dice.choice((None, "w"))}
                labels |= {"agent_type": dice.choice((None, "qa-engineer"))}
                return allocate(name, dice.choice((100, 1_000)), cost, **_named(labels))
            case 2:
                name = dice.choice((*NAMES[:3], *self.tasks[-2:]))
                return allocate(f"{name}/1", 60, parent=name)
            case 3:
                self.holds.append(f"h-{number}")
                return hold(self._agent(), f"h-{number}", 20, ttl_seconds=dice.choice((10, 9_000)))
            case 4 if self.holds:
                return settle(dice.choice(self.holds), dice.choice((5, 40)), dice.choice((None, "0.5")))
            case 5:
                return c.ReleaseBudget(agent=self._agent())
            case 6 | 7:
                parent = dice.choice((None, None, "a-0"))
                product = dice.choice([one for one in PRODUCTS if one])
                kind = dice.choice(("qa-engineer", "backend-engineer"))
                return submit(f"t-{number}", kind, product, **_named({"parent": parent}))
            case 8 if self.tasks:
                task = dice.choice(self.tasks)
                return complete(task, outcome=dice.choice(("completed", "completed", "failed")))
            case 9 if self.tasks:
                task, model = dice.choice(self.tasks), dice.choice(MODELS)
                return c.ReportUsage(task=task, usage=self._usage(), model=model)
            case _:
                return c.ReportUsage(agent=self._agent(), usage=self._usage(), model=dice.choice(MODELS))


def _named(labels: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in labels.items() if value is not None}
