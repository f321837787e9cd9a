"""The small world of a fuzzed session, and what is asked in it: messages that mean something most of the time.

The world remembers what was asked for, whether or not it was granted. Where a message is to be about what there is
then, it says ``@agent 7``, ``@hold 7``, ``@run 7``, ``@task 7`` or ``@lease``: the player puts in a name that is open
(see ``fuzz_play``).
"""

from collections.abc import Callable
from random import Random
from typing import Any

from tallystick.events.messages import PRIORITIES, WIRE
from tests.support.fuzz_config import changed
from tests.support.fuzz_words import (
    COUNTED,
    DOLLARS,
    LARGE_DOLLARS,
    LARGE_SECONDS,
    LARGE_TOKENS,
    SECONDS,
    STRANGE,
    TOKENS,
    Message,
    Temper,
    amount,
    made_up,
    number,
)  # fmt: skip

PRODUCTS = ("shop", "site", "lab")
TYPES = ("backend", "qa", "architect", "writer")
WORKFLOWS = ("launch", "night")
MODELS = (
    "claude-opus-5-5", "claude-sonnet-5-5", "anthropic/claude-haiku-5-5", "gpt-4o", "openrouter/openai/gpt-4o-mini",
    "bedrock/us.anthropic.claude-3-5-sonnet-20241022-v2:0", "no-such-model", "gemini-2.5-pro", "my-local-model", "opus",
)  # fmt: skip
REASONS = ("enough", "x", "an operator's word", "x" * 1_000)


class World:
    """What was asked for so far."""

    def __init__(self, dice: Random, temper: Temper, total: int | None) -> None:
        self.dice, self.temper = dice, temper
        self.part = min(10_000, max(1, (total or 10**6) // dice.choice((10, 30, 100))))
        """About what an account is given."""
        self.agents: list[str] = []
        self.released: list[str] = []
        self.holds: list[str] = []
        self.ended: list[str] = []
        self.tasks: list[str] = []
        self.finished: list[str] = []
        self.said: list[Message] = []
        self._count = 0

    def fresh(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def strange_or(self, name: str) -> str:
        return self.dice.choice(STRANGE) if self.dice.random() < self.temper.strange else name

    def agent(self) -> str:
        """Mostly an open account, sometimes a task's, a closed one, or one that never was."""
        chance = self.dice.random()
        if chance < 0.7:
            return f"@agent {self.dice.randint(0, 999)}"
        if chance < 0.8 and self.released:
            return self.dice.choice(self.released)
        if chance < 0.85 and self.tasks:
            return self.dice.choice(self.tasks)
        if self.agents and chance < 0.97:
            return self.dice.choice(self.agents)
        return self.strange_or("nobody")

    def hold(self) -> str:
        chance = self.dice.random()
        if chance < 0.7:
            return f"@hold {self.dice.randint(0, 999)}"
        if self.holds and chance < 0.85:
            return self.dice.choice(self.holds[-12:])
        if self.ended and chance < 0.97:
            return self.dice.choice(self.ended)
        return self.strange_or("no-hold")

    def task(self) -> str:
        chance = self.dice.random()
        if chance < 0.5:
            return f"@run {self.dice.randint(0, 999)}"
        if chance < 0.65:
            return f"@task {self.dice.randint(0, 999)}"
        if self.tasks and chance < 0.88:
            return self.dice.choice(self.tasks[-12:])
        if self.finished and chance < 0.97:
            return self.dice.choice(self.finished)
        return self.strange_or("no-task")

    def names(self) -> dict[str, list[str]]:
        """What the fields of a message that is made up may name."""
        agents, holds, tasks = self.agents or ["nobody"], self.holds or ["no-hold"], self.tasks or ["no-task"]
        return {
            "agent": agents, "parent": agents, "hold": holds, "task": tasks, "product": list(PRODUCTS),
            "agent_type": list(TYPES), "workflow": list(WORKFLOWS), "model": list(MODELS), "reason": list(REASONS),
            "lease": ["@lease"],
        }  # fmt: skip

    def amount(self) -> Message:
        return amount(self.dice, self.temper, self.part)

    def used(self) -> Message:
        """What was used: a small part of an account, seldom more than it has."""
        return amount(self.dice, self.temper, max(1, self.part // self.dice.choice((1, 5, 20))), fine=True)

    def may(self, message: Message, **optional: Any) -> Message:
        """Some of the optional fields."""
        chance = self.dice.choice((0.0, 0.3, 0.8))
        named = {name: value for name, value in optional.items() if value is not None and self.dice.random() < chance}
        return {**message, **named}


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


# --- usage and holds --------------------------------------------------------------------------------------------------


def _used(w: World, message: Message) -> Message:
    """What was used, in one of the ways in which it may be said."""
    way = w.dice.randint(0, 5)
    if way != 0:
        message["usage"] = w.used()
    if way in (0, 1, 2):
        message["model"] = w.strange_or(w.dice.choice(MODELS))
        for name in w.dice.sample(COUNTED, w.dice.randint(0, 4)):
            if name.startswith(("input", "output", "cache", "reasoning", "audio")):
                message[name] = number(w.dice, w.temper, TOKENS, LARGE_TOKENS, fine=True)
        message = w.may(message, requests=number(w.dice, w.temper, TOKENS, LARGE_TOKENS))
    if way == 3:
        message["provider_usage"] = _provider_usage(w)
        message["model"] = w.dice.choice(MODELS)
    return message


def _provider_usage(w: World) -> Any:
    def count() -> Any:
        return number(w.dice, w.temper, TOKENS, LARGE_TOKENS, fine=True)

    return w.dice.choice(
        (
            {"input_tokens": count(), "output_tokens": count(), "cache_read_input_tokens": count()},
            {"prompt_tokens": count(), "completion_tokens": count(), "total_tokens": count()},
            {"prompt_tokens": count(), "prompt_tokens_details": {"cached_tokens": count(), "audio_tokens": count()}},
            {"promptTokenCount": count(), "candidatesTokenCount": count(), "thoughtsTokenCount": count()},
            {"inputTokens": count(), "outputTokens": count(), "totalTokens": count()},
            {"input_tokens": [count()], "nested": {"deeper": {"x": {"y": {"z": {"q": count()}}}}}},
            [count()], "none", None, {},
        )
    )  # fmt: skip


def _report(w: World) -> Message:
    if w.tasks and w.dice.random() < 0.35:
        task = w.task()
        message: Message = {"type": "ReportUsage", "task": task}
        if w.dice.random() < 0.5:
            message["lease"] = "@lease"
    else:
        message = {"type": "ReportUsage", "agent": w.agent()}
    return _used(w, w.may(message, operation=w.strange_or("edit")))


def _reserve(w: World) -> Message:
    hold = w.fresh("h")
    w.holds.append(hold)
    message: Message = {"type": "Reserve", "id": hold, "agent": w.agent(), "estimate": w.used()}
    ttl = number(w.dice, w.temper, (1, "0.001", 30, 300, 3_600), (10**7, SECONDS[0], *LARGE_SECONDS))
    return w.may(message, ttl_seconds=ttl, model=w.dice.choice(MODELS), input_tokens=100, output_tokens=20)


def _settle(w: World) -> Message:
    hold = _end(w)
    return _used(w, {"type": "Settle", "hold": hold})


def _end(w: World) -> str:
    hold = w.hold()
    if hold in w.holds:
        w.holds.remove(hold)
        w.ended.append(hold)
    return hold


def _cancel_hold(w: World) -> Message:
    return {"type": "CancelHold", "hold": _end(w)}


def _heartbeat(w: World) -> Message:
    match w.dice.randint(0, 2):
        case 0:
            return {"type": "Heartbeat", "hold": w.hold()}
        case 1:
            task = w.task()
            return w.may({"type": "Heartbeat", "task": task}, lease="@lease")
    return {"type": "Heartbeat", "agent": w.agent()}


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


def _cancel_task(w: World) -> Message:
    return {"type": "CancelTask", "task": w.task()}


# --- questions --------------------------------------------------------------------------------------------------------


def _ask(w: World) -> Message:
    dice = w.dice
    match dice.randint(0, 8):
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
    (10, _open), (2, _several), (4, _from_pool), (4, _move), (3, _release), (22, _report), (9, _reserve), (7, _settle),
    (2, _cancel_hold), (4, _heartbeat), (3, _order), (4, _operate), (1, _rebalance), (10, _submit), (8, _complete),
    (1, _cancel_task), (9, _ask), (6, _any),
)  # fmt: skip
"""With their usual weights; each session draws its own."""
