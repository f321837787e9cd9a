"""What is asked in a fuzzed session, by kind of message."""

from collections.abc import Callable

from tallystick.events.messages import PRIORITIES, WIRE
from tests.support.fuzz_config import changed, limits_of_account
from tests.support.fuzz_spending import cancel_hold, heartbeat, report, reserve, settle
from tests.support.fuzz_words import (
    DOLLARS,
    LARGE_DOLLARS,
    LARGE_SECONDS,
    LARGE_TOKENS,
    TOKENS,
    Message,
    aside,
    made_up,
    number,
)  # fmt: skip
from tests.support.fuzz_world import MODELS, PRODUCTS, REASONS, TYPES, WORKFLOWS, World

Make = Callable[[World], Message]

# --- budgets ----------------------------------------------------------------------------------------------------------


def _open(w: World) -> Message:
    """An account: at the top, or below another, up to chains that are deep."""
    again = w.dice.random() < 0.15 and bool(w.released)
    agent = w.dice.choice(w.released) if again else w.strange_or(w.fresh("a"))
    parent = None
    if w.agents and w.dice.random() < 0.6:
        parent = w.agents[-1] if w.dice.random() < 0.3 else w.agent()
    message = w.may(
        {"type": "AllocateBudget", "agent": agent, "budget": w.amount()},
        agent_type=w.dice.choice(TYPES), product=w.strange_or(w.dice.choice(PRODUCTS)),
        workflow=w.strange_or(w.dice.choice(WORKFLOWS)), priority=w.dice.choice(PRIORITIES),
    )  # fmt: skip
    if parent is not None:
        message["parent"] = parent
    w.agents.append(agent)
    dice = aside(message)
    if dice.random() < 0.2:
        message["lease_seconds"] = dice.choice((1, "0.001", 30, 300, 3_600, 604_800))
    if dice.random() < 0.2:
        message["labels"] = {"user": dice.choice(("a", "b", "c"))}
    if dice.random() < 0.25:
        message["limits"] = limits_of_account(dice)
        if dice.random() < 0.6:
            del message["budget"]
    return message


def opened(w: World) -> Message:
    """An account at the top of the tree that is mostly granted."""
    agent = w.fresh("a")
    w.agents.append(agent)
    return {
        "type": "AllocateBudget", "id": w.fresh("m"), "agent": agent, "budget": {"tokens": w.part},
        "product": w.dice.choice(PRODUCTS), "priority": w.dice.choice(PRIORITIES),
    }  # fmt: skip


def _several(w: World) -> Message:
    agents = [w.fresh("a") if w.dice.random() < 0.7 else w.agent() for _ in range(w.dice.randint(1, 4))]
    w.agents += agents
    total = w.amount()
    match w.dice.randint(0, 2):
        case 0:
            return {"type": "AllocateEqual", "agents": agents, "total": total}
        case 1:
            weights = {agent: w.dice.choice((1, "0.3", 0, 7, "1e-9", "1e20")) for agent in agents}
            return {"type": "AllocateProportional", "weights": weights, "total": total}
    return {
        "type": "AllocateByPriority",
        "agents": {agent: w.dice.choice(PRIORITIES) for agent in agents},
        "total": total,
    }


def _from_pool(w: World) -> Message:
    return {"type": "AllocateFromPool", "agent": w.agent(), "request": w.amount()}


def _move(w: World) -> Message:
    kind = w.dice.choice(("BorrowFromPool", "ReturnToPool"))
    return {"type": kind, "agent": w.agent(), "amount": w.amount()}


def _release(w: World) -> Message:
    agent = w.agent()
    if agent in w.agents:
        w.agents.remove(agent)
        w.released.append(agent)
    return {"type": "ReleaseBudget", "agent": agent}


# --- orders -----------------------------------------------------------------------------------------------------------


def _order(w: World) -> Message:
    agent = w.agent()
    match w.dice.randint(0, 3):
        case 0:
            return {"type": "Stop", "agent": agent, "reason": w.dice.choice(REASONS)}
        case 1:
            rate = number(w.dice, w.temper, ("0.5", 1, "0.01"), ("1e-9", "0.999999999999999999"))
            return {"type": "Throttle", "agent": agent, "rate": rate}
    return {"type": "Resume", "agent": agent}


def _operate(w: World) -> Message:
    dice = w.dice
    match dice.randint(0, 9):
        case 9:
            return {"type": "AcceptClock", "reason": dice.choice(REASONS)}
        case 0 if dice.random() < 0.4:
            return {"type": "PauseAll", "reason": dice.choice(REASONS)}
        case 0 | 1 | 2:
            return {"type": "ResumeAll"}
        case 3:
            priority = dice.choice((*PRIORITIES, None))
            return {"type": "OverridePriority", "product": w.strange_or(dice.choice(PRODUCTS)), "priority": priority}
        case 4:
            cost = number(dice, w.temper, DOLLARS, LARGE_DOLLARS)
            tokens = number(dice, w.temper, TOKENS, LARGE_TOKENS)
            return w.may({"type": "ApproveLimit", "max_cost_usd": cost}, max_tokens_total=tokens)
        case 5:
            return {"type": "ResetBreaker", "reason": dice.choice(REASONS)}
        case 6:
            return {"type": "ReleaseReserve", "reason": dice.choice(REASONS)}
        case 7:
            budget = w.amount()
            if dice.random() < 0.2:
                budget[dice.choice(("tokens", "cost_usd", "time_seconds"))] = None
            return {"type": "SetTotalBudget", "budget": budget}
    return {"type": "LoadConfig", "config": changed(dice, w.temper)}


def _raise_of_a_limit(drawn: list[object]) -> Message | None:
    """A limit of `fuzz_config.limits` is raised, or the raise is taken back."""
    dice = aside(drawn)
    if dice.random() < 0.4:
        return None
    most = {"tokens": (60, 10**6, None), "cost_usd": ("5", None), "requests": (20, None), "concurrent": (9, None)}
    named = dice.sample(sorted(most), dice.randint(0, 2))
    message: Message = {
        "type": "ApproveLimit",
        "limit": dice.choice(("limit-0", "limit-1", "limit-2", "a1/1", "a2/1", "a3/2")),
        "max": {name: dice.choice(most[name]) for name in named},
    }
    if dice.random() < 0.5:
        message["value"] = dice.choice(("fleet", "shop", "a", "opus", "(none)", "(other)", "a1"))
    return message


def _rebalance(w: World) -> Message:
    return {"type": "Rebalance"}


# --- tasks ------------------------------------------------------------------------------------------------------------


def _submit(w: World) -> Message:
    again = w.dice.random() < 0.05 and bool(w.finished)
    task = w.dice.choice(w.finished) if again else w.strange_or(w.fresh("T"))
    depends = [w.task() for _ in range(w.dice.choice((0, 0, 0, 0, 1, 2, 3)))]
    minutes = number(w.dice, w.temper, (1, 5, "29.5", 30, 600), (10**6, 10**9, "0.000001", *LARGE_SECONDS))
    message = w.may(
        {
            "type": "SubmitTask",
            "task": task,
            "agent_type": w.dice.choice(TYPES),
            "product": w.strange_or(w.dice.choice(PRODUCTS)),
        },
        priority=w.dice.choice(PRIORITIES),
        estimated_tokens=number(w.dice, w.temper, TOKENS, LARGE_TOKENS), estimated_minutes=minutes,
        blocks=number(w.dice, w.temper, (0, 1, 3), LARGE_TOKENS), workflow=w.dice.choice(WORKFLOWS),
        model=w.strange_or(w.dice.choice(MODELS)),
    )  # fmt: skip
    if depends:
        message["depends_on"] = depends
    if w.agents and w.dice.random() < 0.2:
        message["parent"] = w.agent()
    w.tasks.append(task)
    return message


def _complete(w: World) -> Message:
    task = w.task()
    if task in w.tasks and w.dice.random() < 0.9:
        w.tasks.remove(task)
        w.finished.append(task)
    outcome = w.dice.choice(("completed", "completed", "completed", "failed"))
    message = {"type": "CompleteTask", "task": task, "outcome": outcome}
    return w.may(message, lease="@lease", usage=w.used())


def _retry(w: World) -> Message:
    task = f"@ended {w.dice.randint(0, 999)}" if w.dice.random() < 0.8 else w.task()
    return w.may({"type": "RetryTask", "task": task, "reason": w.dice.choice(REASONS)}, revive_dependents=True)


def _cancel_task(w: World) -> Message:
    return {"type": "CancelTask", "task": w.task()}


# --- questions --------------------------------------------------------------------------------------------------------


def _ask(w: World) -> Message:
    dice = w.dice
    match dice.randint(0, 9):
        case 9:
            state = dice.choice(("open", "settled", "cancelled", "expired"))
            one = {"agent": w.agent()} if dice.random() < 0.5 else {"hold": w.hold()}
            return w.may({"type": "GetHolds", **(one if dice.random() < 0.7 else {})}, state=state, limit=2)
        case 0:
            return w.may({"type": "GetGlobalStatus"}, limit=dice.choice((0, 1, 1_000)), after=w.strange_or("a"))
        case 1:
            waited = number(dice, w.temper, (0, "0.001", 1, 30, 600), LARGE_SECONDS)
            return w.may({"type": "GetTask", "task": w.task()}, wait_seconds=waited)
        case 2:
            return w.may({"type": "GetQueue"}, limit=dice.choice((0, 1, 1_000)))
        case 3:
            return {"type": "GenerateReport", "workflow": w.strange_or(dice.choice(WORKFLOWS))}
        case 4:
            return {"type": "Forecast", "agent": w.agent()}
        case 5:
            return {"type": "GetEfficiency", "agent": w.agent()}
        case 6:
            return {"type": "CheckEnforcement", "agent": w.agent()}
    return {"type": "GetStatus", "agent": w.agent()}


def _any(w: World) -> Message:
    """Any message of the wire, also those that this file does not know."""
    return made_up(w.dice, w.dice.choice(WIRE), w.names())


MAKERS: tuple[tuple[int, Make], ...] = (
    (10, _open), (2, _several), (4, _from_pool), (4, _move), (3, _release), (22, report), (9, reserve), (7, settle),
    (2, cancel_hold), (4, heartbeat), (3, _order), (4, _operate), (1, _rebalance), (10, _submit), (8, _complete),
    (2, _cancel_task), (2, _retry), (9, _ask), (6, _any),
)  # fmt: skip
"""With their usual weights; each session draws its own."""
