"""Random sequences of commands, valid and not, for the core and for the specialists.

``commands()`` yields lists of (command, seconds to wait before it); the first one puts a configuration in force. Every
command has an id, and a hold is named by the id of its `Reserve`, so that a list means the same wherever it is run.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from decimal import Decimal
from random import Random
from typing import Literal

from hypothesis import strategies as st

from tallystick.config.amounts import Amounts
from tallystick.events import messages as c
from tallystick.events.messages import proposals as p
from tests.support.fleets import DOLLARS, budget, configuration

Step = tuple[c.Command, float]

AGENTS = ("ann", "bob", "cyd", "dee")
SUB_AGENTS = ("ann/1", "ann/2", "bob/1", "ann/1/a")
NAMES = (*AGENTS, *SUB_AGENTS)
PARENTS = {"ann/1": "ann", "ann/2": "ann", "bob/1": "bob", "ann/1/a": "ann/1"}
TASKS = tuple(f"T{number}" for number in range(12))
WEIRD_NAMES = ("nobody", "pool", "fleet", "reserve", "overdraft", "bell\a")
_SHORT_WAITS = (*(0.0, 0.0, 0.0, 0.25, 1.0, 1.0, 7.0) * 6, 61.0, 700.0)
WAITS = (*(0.0, 0.0, 0.25, 1.0, 7.0, 30.0, 61.0) * 3, 300.0, 3_600.0, 90_000.0)

_RATES = tuple(Decimal(text) for text in ("0.5", "0.1", "1", "0.3", "0", "-1", "NaN", "2"))
_WEIGHTS = tuple(Decimal(text) for text in ("0", "1", "1", "0.3", "2.5", "7", "1", "-1", "NaN"))
_TTLS = (*[None] * 20, *[Decimal(100_000)] * 5, *[Decimal(1)] * 3, Decimal("0.5"), Decimal(0), Decimal("NaN"))
_PRICES = {"claude-opus-5-5": {"input": 5, "output": 25}, "other": {"input": 1, "output": "0.3"}}


class Seen:
    """What a sequence has asked for so far: the ids worth naming again, whether or not they were granted."""

    def __init__(self) -> None:
        self.agents: list[str] = []
        self.holds: list[str] = []
        self.tasks: list[str] = []

    def task(self, dice: Random) -> str:
        """Mostly a task that was asked for lately, seldom one that never was."""
        return dice.choice(self.tasks[-7:]) if self.tasks and dice.randint(0, 19) else "nobody"


def _agent(dice: Random, seen: Seen) -> str:
    """Mostly one that was opened, sometimes another, seldom one that is not allowed."""
    kind = dice.randint(0, 19)
    if kind == 0:
        return dice.choice(WEIRD_NAMES)
    return dice.choice(seen.agents) if kind > 2 and seen.agents else dice.choice(NAMES)


def _allocate(dice: Random, seen: Seen) -> c.Command:
    agent = dice.choice(NAMES) if dice.randint(0, 3) else _agent(dice, seen)
    parent = PARENTS.get(agent) if dice.randint(0, 9) else dice.choice((None, *NAMES))
    return c.AllocateBudget(
        agent=agent,
        budget=budget(dice),
        parent=parent,
        priority=dice.choice(c.PRIORITIES),
        product=dice.choice((None, None, "shop")),
        lease_seconds=dice.choice((*[None] * 6, Decimal(50), Decimal(1_000), Decimal(0))),
    )


def _open(dice: Random, seen: Seen) -> c.Command:
    """An account as most are: under its usual parent, and small enough to be granted."""
    agent = dice.choice([name for name in NAMES if name not in seen.agents] or NAMES)
    parent = PARENTS.get(agent)
    seen.agents.append(agent)
    return c.AllocateBudget(
        agent=agent,
        budget=budget(dice, weird=False, of=(10, 50, 100) if parent in seen.agents else (100, 250, 400)),
        parent=parent if parent in seen.agents else None,
        priority=dice.choice(c.PRIORITIES),
    )


def _allocate_several(dice: Random, seen: Seen) -> c.Command:
    total = budget(dice)
    match dice.randint(0, 2):
        case 0:
            return c.AllocateEqual(agents=[dice.choice(NAMES) for _ in range(dice.randint(0, 3))], total=total)
        case 1:
            weights = {dice.choice(NAMES): dice.choice(_WEIGHTS) for _ in range(dice.randint(0, 3))}
            return c.AllocateProportional(weights=weights, total=total)
        case _:
            named = {dice.choice(NAMES): dice.choice(c.PRIORITIES) for _ in range(dice.randint(0, 3))}
            return c.AllocateByPriority(agents=named, total=total)


def _draw_on_pool(dice: Random, seen: Seen) -> c.Command:
    agent, amount = _agent(dice, seen), budget(dice)
    if dice.random() < 0.5:
        return c.AllocateFromPool(agent=agent, request=amount)
    return c.BorrowFromPool(agent=agent, amount=amount)


def _return(dice: Random, seen: Seen) -> c.Command:
    return c.ReturnToPool(agent=_agent(dice, seen), amount=budget(dice))


def _report(dice: Random, seen: Seen) -> c.Command:
    agent = _agent(dice, seen)
    if dice.randint(0, 3):
        return c.ReportUsage(agent=agent, usage=budget(dice))
    return c.ReportUsage(
        agent=agent,
        usage=dice.choice((None, budget(dice))),
        model=dice.choice((None, "haiku", "claude-opus-5-5", "claude-unknown", "other")),
        input_tokens=dice.choice((None, 0, 10, 5_000, -1, 2**63 - 1)),
        output_tokens=dice.choice((None, 0, 7, 2**63 - 1)),
        cached_tokens=dice.choice((None, 0, 5, 11)),
    )


def _reserve(dice: Random, seen: Seen) -> c.Command:
    ttl = dice.choice(_TTLS)
    return c.Reserve(
        agent=_agent(dice, seen),
        estimate=budget(dice, of=(0, 1, 10, 10, 50, 100, 400)),
        ttl_seconds=ttl,
        overage="reject" if not dice.randint(0, 5) else "book",
        labels={"user": "u-1"} if not dice.randint(0, 5) else None,
        on_expiry="spend" if not dice.randint(0, 2) else "release",
        model="haiku" if not dice.randint(0, 5) else None,
    )


def _end_hold(dice: Random, seen: Seen) -> c.Command:
    name = dice.choice((*seen.holds, "no-such-hold")[-4:] if dice.randint(0, 9) else ("no-such-hold",))
    match dice.randint(0, 3):
        case 0:
            return c.CancelHold(hold=name)
        case 1:
            amount = None if dice.randint(0, 1) else budget(dice, of=(0, 1, 10, 50))
            named = dice.choice(("ttl_seconds", "extend_seconds"))
            return c.Heartbeat(hold=name, amount=amount, **{named: dice.choice(_TTLS)})
        case _:
            return c.Settle(hold=name, usage=budget(dice), final=bool(dice.randint(0, 2)))


def _order(dice: Random, seen: Seen) -> c.Command:
    agent = _agent(dice, seen)
    match dice.randint(0, 4):
        case 0:
            return c.Stop(agent=agent, reason="a test")
        case 1:
            return c.Throttle(agent=agent, rate=dice.choice(_RATES))
        case 2:
            return p.WarnAgent(agent=agent, exhausted_in_seconds=90, method="average")
        case _:
            return c.Resume(agent=agent)


def _release(dice: Random, seen: Seen) -> c.Command:
    return c.ReleaseBudget(agent=_agent(dice, seen))


def _operate(dice: Random, seen: Seen) -> c.Command:
    match dice.randint(0, 12):
        case 8 | 9:
            limits = {
                "max_tokens_total": dice.choice((None, 0, 1_000, 5_000)),
                "max_cost_usd": dice.choice((None, *DOLLARS)),
            }
            return c.ApproveLimit(**limits)
        case 10 | 11:
            return c.ResetBreaker(reason="a test")
        case 12:
            return c.OverridePriority(product=dice.choice(("shop", "lab")), priority=dice.choice((None, *c.PRIORITIES)))
        case 0:
            return c.PauseAll(reason="a test")
        case 1:
            return c.ResumeAll()
        case 2:
            return c.ReleaseReserve(reason="a test")
        case 3:
            return c.LoadConfig(config=configuration(dice))
        case 7:
            day = dt.date(2026, 3, dice.randint(1, 9))
            amounts = dict.fromkeys(("billed_usd", "explained_usd", "reported_usd"), dice.choice(DOLLARS))
            provider, bill = dice.choice(("openai", "anthropic")), dice.choice(("b-1", "b-2"))
            return c.RecordReconciliation(bill=bill, provider=provider, first_day=day, last_day=day, **amounts)
        case 4:
            return p.LoadPrices(prices=dice.choice((_PRICES, {}, {"x": {"input": -1}})))
        case _:
            given = budget(dice)
            names = dice.sample(("tokens", "time_seconds", "cost_usd"), dice.randint(0, 3))
            change = {name: getattr(given, name) for name in names}
            return c.SetTotalBudget(budget=c.BudgetChange(**change))


def _clock(dice: Random, seen: Seen) -> c.Command:
    """Nothing but time: the question changes nothing, and what is due happens before it."""
    return c.GetGlobalStatus(limit=0)


_WAYS: tuple[Literal["idle", "demand", "priority"], ...] = ("idle", "demand", "priority")


def _moves(dice: Random, seen: Seen) -> c.Command:
    moves = []
    for _ in range(dice.randint(0, 4)):
        agent = _agent(dice, seen)
        other = PARENTS.get(agent, "pool") if dice.randint(0, 9) else dice.choice(("pool", *NAMES))
        strategy = dice.choice(_WAYS)
        source, target = (agent, other) if strategy == "idle" else (other, agent)
        amount = Amounts(*budget(dice, weird=False).exact("amount"))
        if dice.randint(0, 19) == 0:
            amount = Amounts(tokens=-5)
        moves.append(p.Move(source=source, target=target, amount=amount, reason="a test", strategy=strategy))
    return p.ApplyMoves(moves=moves)


def _submit(dice: Random, seen: Seen) -> c.Command:
    """A task with a judgement that may be right or wrong; the live fleet has an allocator of its own."""
    fresh = [name for name in TASKS if name not in seen.tasks] or list(TASKS)
    task = dice.choice(fresh) if dice.randint(0, 9) else dice.choice((*TASKS, *NAMES, *WEIRD_NAMES))
    others = [seen.task(dice) for _ in range(dice.choice((0, 0, 0, 1, 2)))]
    seen.tasks.append(task)
    if not dice.randint(0, 2):
        urgent = c.SubmitTask(task=task, agent_type="writer", product="lab", priority="critical")
        return p.PlaceTask(submitted=urgent, victim=seen.task(dice))
    wanted = c.SubmitTask(
        task=task,
        agent_type=dice.choice(("backend", "backend", "qa", "writer")),
        product=dice.choice(("shop", "site", "site", "lab")),
        priority=dice.choice((None, "critical", "critical", "high", "low", "low")),
        estimated_tokens=dice.choice((None, 0, 10, 400)),
        estimated_minutes=dice.choice(
            (None, Decimal(1), Decimal("0.5"), Decimal(-1) if not dice.randint(0, 9) else None)
        ),
        depends_on=others,
        blocks=dice.choice((0, 0, 3)),
        parent=_agent(dice, seen) if not dice.randint(0, 5) else None,
        model=dice.choice((None, None, "haiku")),
    )
    return p.PlaceTask(
        submitted=wanted,
        aged=not dice.randint(0, 5),
        behind=dice.choice((None, None, None, seen.task(dice))),
        kept_for=seen.task(dice) if dice.random() < 0.2 else None,
        victim=dice.choice((None, seen.task(dice))),
    )


def _lease(dice: Random) -> str | None:
    """Mostly none, which means the run at hand; else one that some run may have had, or has."""
    return None if dice.randint(0, 2) else f"lease-{dice.randint(1, 80)}"


def _schedule(dice: Random, seen: Seen) -> c.Command:
    task, other, aged = seen.task(dice), seen.task(dice), not dice.randint(0, 5)
    match dice.randint(0, 3):
        case 0:
            return p.PreemptTask(task=task, beneficiary=other, aged=aged)
        case 1:
            return p.RecordOverdue(task=task)
        case _:
            return p.StartTask(task=task, aged=aged)


def _run(dice: Random, seen: Seen) -> c.Command:
    task = seen.task(dice)
    match dice.randint(0, 9):
        case 0 | 1 | 9:
            outcome: c.TaskOutcome = "completed" if dice.randint(0, 3) else "failed"
            usage = dice.choice((None, budget(dice)))
            return c.CompleteTask(task=task, lease=_lease(dice), outcome=outcome, usage=usage)
        case 2:
            if dice.randint(0, 1):
                return c.RetryTask(task=task, reason="again", revive_dependents=not dice.randint(0, 1))
            return c.CancelTask(task=task)
        case 3 | 4:
            return c.Heartbeat(task=task, lease=_lease(dice))
        case 5:
            return c.Reserve(agent=task, estimate=budget(dice, of=(0, 1, 10, 10, 50)), ttl_seconds=dice.choice(_TTLS))
        case 6:
            agent = dice.choice(NAMES)
            return c.AllocateBudget(agent=agent, budget=budget(dice, of=(1, 3, 10)), parent=task)
        case 7:
            return dice.choice((c.ReleaseBudget(agent=task), p.TellTask(task=task), c.GetGlobalStatus(limit=0)))
        case _:
            return c.ReportUsage(task=task, lease=_lease(dice), usage=budget(dice, of=(1, 10, 50, 100)))


def _look(dice: Random, seen: Seen) -> c.Command:
    match dice.randint(0, 3):
        case 0:
            return c.GetStatus(agent=_agent(dice, seen))
        case 1:
            return c.GetGlobalStatus(limit=dice.randint(0, 3), after=dice.choice((None, "ann", "zz")))
        case 2:
            return c.CheckEnforcement(agent=_agent(dice, seen))
        case _:
            return c.Heartbeat(agent=_agent(dice, seen))


_MAKERS: tuple[Callable[[Random, Seen], c.Command], ...] = (
    _allocate,
    _allocate,
    _allocate,
    _allocate_several,
    _draw_on_pool,
    _draw_on_pool,
    _return,
    _report,
    _report,
    _report,
    _report,
    _reserve,
    _reserve,
    _end_hold,
    _end_hold,
    _order,
    _release,
    _operate,
    _clock,
    _moves,
    _look,
    _submit,
    _run,
)
_WORKERS = (*[_submit] * 12, *[_schedule] * 8, *[_run] * 24, *_MAKERS)
"""What is asked where tasks are what it is about."""


def steps_of(seed: int, kept: Sequence[bool]) -> list[Step]:
    """One step per ``True``; the first is a configuration, and the next few open accounts."""
    steps: list[Step] = []
    seen = Seen()
    is_work = Random(seed).random() < 0.5
    makers, waits = (_WORKERS, _SHORT_WAITS) if is_work else (_MAKERS, WAITS)
    for number, is_kept in enumerate((True, *kept)):
        # Nothing is guarded by these numbers; a step has its own, so that leaving one out changes no other.
        dice = Random(f"{seed}/{number}")
        if not is_kept:
            continue
        make = _open if number <= _OPENING else dice.choice(makers)
        command = make(dice, seen) if number else c.LoadConfig(config=configuration(dice, is_work))
        command.id = f"c{number}"
        if isinstance(command, c.Reserve):
            seen.holds.append(command.id)
        steps.append((command, dice.choice(waits) if number > _OPENING else 0.0))
    return steps


_OPENING = 8


def commands(most: int = 50) -> st.SearchStrategy[list[Step]]:
    """A configuration, and then up to ``most`` commands with the seconds that pass before each."""
    kept = st.lists(st.sampled_from((False, True, True, True)), min_size=most, max_size=most)
    return st.builds(steps_of, st.integers(0, 2**64), kept)
