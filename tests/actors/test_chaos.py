"""A specialist that raises at any message: every caller is answered, and the fleet is as if it had not happened."""

import datetime as dt
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tallystick.actors.allocator import Allocator
from tallystick.actors.enforcer import Enforcer
from tallystick.actors.reallocator import Reallocator
from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.messages import Envelope, Tick
from tallystick.actors.runtime.simulation import Answer, SimulatedFleet
from tallystick.actors.runtime.supervision import CRASHES_MAX, Crashes
from tallystick.actors.tracker import Tracker
from tallystick.events.log.codec import decode_answer, read_message
from tallystick.events.log.store_memory import MemoryStore
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.conservation import check_conserved
from tests.support.core import START, dump
from tests.support.running import OpenFleet
from tests.support.stores import SECONDS

RUNS = int(os.environ.get("TALLYSTICK_CHAOS_RUNS", "16"))
"""`make chaos` sets 1,000."""
METHODS: dict[str, tuple[type[Any], tuple[str, ...]]] = {
    "allocator": (Allocator, ("answer", "follow", "wake")),
    "tracker": (Tracker, ("handle",)),
    "enforcer": (Enforcer, ("handle",)),
    "reallocator": (Reallocator, ("handle",)),
}
CONFIG: dict[str, Any] = {
    "total_budget": {"tokens": 2_000_000},
    "max_concurrent": {"total": 2, "per_type": {}},
    "token_budgets": {"default": 5_000},
    "daily_limits": {"max_tokens_total": None, "max_cost_usd": None},
}


def messages(seed: int) -> list[tuple[dt.datetime, dict[str, Any]]]:
    """A few minutes of a fleet with agents and tasks, the same for the same seed."""
    dice, at = random.Random(seed), START
    said: list[tuple[dt.datetime, dict[str, Any]]] = [(at, {"type": "LoadConfig", "config": CONFIG})]
    said += [
        (at, {"type": "AllocateBudget", "agent": name, "budget": {"tokens": dice.randint(500, 5_000)}})
        for name in "abc"
    ]
    for number in range(25):
        at += dt.timedelta(seconds=dice.choice((0, 1, 3, 10, 30)))
        agent, task = dice.choice("abc"), f"t{dice.randrange(number // 2 + 1)}"
        priority = dice.choice(("critical", "normal", "low"))
        message = dice.choice(
            (
                {"type": "ReportUsage", "agent": agent, "usage": {"tokens": dice.randint(1, 900)}},
                {"type": "ReportUsage", "agent": agent, "usage": {"tokens": dice.randint(1, 900)}},
                {
                    "type": "SubmitTask",
                    "task": f"t{number}",
                    "agent_type": "x",
                    "product": agent,
                    "priority": priority,
                },
                {"type": "SubmitTask", "task": f"t{number // 2}", "agent_type": "x", "product": agent},
                {"type": "CompleteTask", "task": task, "outcome": "completed", "usage": {"tokens": 700}},
                {"type": "GetTask", "task": task, "wait_seconds": dice.choice((0, 20))},
                {"type": "GetQueue"},
                {"type": "Rebalance"},
                {"type": "Forecast", "agent": agent},
                {"type": "Reserve", "agent": agent, "estimate": {"tokens": 300}, "ttl_seconds": 20},
            )
        )
        said.append((at, message))
    return said


class Injected(RuntimeError):
    """An error that a test puts into a specialist."""


@contextmanager
def failing(name: str, at: int, times: int = 1) -> Iterator[list[int]]:
    """Let a specialist raise at its nth message from now (and so often in a row); the list counts its messages."""
    kind, methods = METHODS[name]
    count = [0]
    with pytest.MonkeyPatch.context() as patch:
        for method in methods:
            patch.setattr(kind, method, _raising(getattr(kind, method), count, at, times))
        yield count


def _raising(handle: Callable[..., Any], count: list[int], at: int, times: int) -> Callable[..., Any]:
    def handled(*arguments: Any) -> Any:
        count[0] += 1
        if at <= count[0] < at + times:
            raise Injected("out of the blue")
        return handle(*arguments)

    return handled


def run(seed: int, store: MemoryStore) -> tuple[SimulatedFleet, list[Any]]:
    """Send all messages, without waiting for answers; two minutes later all are there."""
    fleet = SimulatedFleet.open(store, None, None, START, crashes=Crashes())
    answers: list[Answer] = []
    for number, (at, message) in enumerate(messages(seed)):
        read = read_message({"id": f"m-{number}", **message}, lambda: "unnamed")
        assert not isinstance(read, Refusal), read
        answers.append(fleet.send(Envelope([read[0]], [read[1]], "local", None), at))
    fleet.pass_time(messages(seed)[-1][0] + dt.timedelta(minutes=2))
    check_conserved(fleet.ledger)
    return fleet, [None if one.answers is None else decode_answer(one.answers[0]) for one in answers]


def state(fleet: SimulatedFleet, name: str) -> dict[str, Any]:
    """What must be as in a run without: all but where things stand in the log; and what a lost tracker had learnt."""
    if name == "tracker":
        ledger = fleet.ledger
        balances = {
            account.id: (account.allocated, account.free, account.held, account.spent, account.level)
            for account in (ledger.root, ledger.reserve, *ledger.accounts.values())
        }
        tasks = {task.id: (task.state, task.attempt, task.queued_at) for task in ledger.tasks.known.values()}
        return {"balances": balances, "tasks": tasks, "used today": ledger.used_today}
    found = dump(fleet.ledger)
    for moving in ("position", "ids", "id_marks", "next_mark", "finished order"):
        del found[moving]
    return found


@pytest.mark.parametrize("name", METHODS)
def test_a_specialist_that_raises_at_any_message_leaves_no_caller_without_an_answer_and_the_state_as_it_is(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(f"chaos {name}")
    for _ in range(max(1, RUNS // len(METHODS))):
        seed = dice.randrange(50)
        if name == "tracker":
            # What it would have forecast from the message that is lost decides where budget is moved to.
            monkeypatch.setitem(CONFIG, "reallocation", {"enabled": False})
        with failing(name, at=10**9) as count:
            calm, _ = run(seed, MemoryStore())
        at = dice.randint(1, max(1, count[0]))
        with failing(name, at):
            shaken, answers = run(seed, MemoryStore())
        assert None not in answers, (name, seed, at)
        assert not shaken.ledger.given_up
        assert state(shaken, name) == state(calm, name), (name, seed, at)


@pytest.mark.parametrize("name", METHODS)
def test_a_specialist_that_always_raises_is_given_up_and_every_caller_gets_an_answer_at_once(name: str) -> None:
    for seed in range(3):
        with failing(name, 1, times=10**9):
            fleet, answers = run(seed, MemoryStore())
        assert None not in answers
        # The enforcer has little to do here.
        assert list(fleet.ledger.given_up) in ([name], [] if name == "enforcer" else [name])
        codes = {answer["error"]["code"] for answer in answers if "error" in answer}
        needs = {"allocator": "SubmitTask", "tracker": "Forecast", "reallocator": "Rebalance"}.get(name)
        assert ("specialist_given_up" in codes) == any(said["type"] == needs for _, said in messages(seed))


# --- in the live fleet ------------------------------------------------------------------------------------------------

ASKED: dict[str, list[dict[str, Any]]] = {
    "allocator": [
        {"type": "SubmitTask", "task": "t", "agent_type": "x", "product": "p"},
        {"type": "GetTask", "task": "t"},
        {"type": "GetQueue"},
    ],
    "tracker": [{"type": "Forecast", "agent": "a"}, {"type": "Rebalance"}],
    "reallocator": [{"type": "Rebalance"}],
    "enforcer": [],
}


@pytest.mark.parametrize("name", METHODS)
def test_a_specialist_that_is_given_up_answers_an_error_shows_in_status_and_raises_an_alert(
    open_fleet: OpenFleet, clock: ManualClock, name: str
) -> None:
    store = MemoryStore()
    fleet = open_fleet(store)
    fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 1_000}})
    fleet.quiesce()
    with failing(name, 1, times=10**9):
        waiting = [fleet.send(message) for message in ASKED[name]]
        for _ in range(CRASHES_MAX + 1):
            fleet._tell(*(("manager", Tick(clock.now())) if name == "allocator" else (name, "anything")))
            fleet.quiesce()
            fleet.advance(clock.now() + dt.timedelta(seconds=10))
            fleet.ask({"type": "ReportUsage", "agent": "a", "usage": {"tokens": 10}})
            fleet.ask({"type": "PauseAll", "reason": "an alert"})
        fleet.quiesce()
        if name != "enforcer":
            later = [fleet.send(message) for message in ASKED[name]]
            for pending in (*waiting, *later):
                error = pending.result(SECONDS)["error"]
                assert error["code"] == "specialist_given_up"
                assert (error["specialist"], "start the fleet again" in error["detail"]) == (name, True)
    assert fleet.ask({"type": "GetGlobalStatus"})["ok"]["given_up"] == [name]
    assert [r.name for r in store.read()].count("specialist-given-up.v1") == 1
    assert any(b'"code":"specialist_given_up"' in record.data for record in store.read())
    assert fleet.halted is None
    fleet.close()
    again = open_fleet(store)
    assert again.ask({"type": "GetGlobalStatus"})["ok"]["given_up"] == [], "a restart begins it anew"
    for message in ASKED[name]:
        assert again.ask(message, timeout=SECONDS).get("error", {}).get("code") != "specialist_given_up"
