"""A task that others wait for inherits the highest of their priorities, along chains, for as long as they wait."""

import datetime as dt
import time
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.actors.policies.scheduling.index import SchedulerIndex
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide import decide
from tallystick.events.evolve import evolve
from tallystick.events.log import snapshot
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.inheritance import effective_priority, inherited_from, own_priority
from tallystick.events.state.ledger import Ledger
from tests.support.core import START, Core, complete, fleet, preempt, start, submit
from tests.support.examples import examples

QUIET: dict[str, Any] = {"daily_limits": {"max_tokens_total": None, "max_cost_usd": None}}
IDS = tuple(f"T{number}" for number in range(14))


def configured(**config: Any) -> Core:
    return Core(fleet(10_000_000, **QUIET, **({"max_concurrent": {"total": 1}} | config)))


def ranks(core: Core, *names: str) -> dict[str, str]:
    """The priority by which each open task is ranked."""
    tasks = core.ledger.tasks.known.values()
    return {task.id: effective_priority(task) for task in tasks if task.is_open and (not names or task.id in names)}


def source(core: Core, name: str) -> str | None:
    found = inherited_from(core.ledger.tasks.known, core.ledger.tasks.known[name])
    return None if found is None else found.id


def test_a_task_ranks_by_the_highest_priority_of_those_that_wait_for_it() -> None:
    core = configured().given(submit("busy"), submit("needed", priority="low"))
    core.given(submit("high", priority="high", depends_on=["needed"]))
    core.given(submit("normal", depends_on=["needed"]))
    assert ranks(core) == {"busy": "normal", "needed": "high", "high": "high", "normal": "normal"}
    assert (source(core, "needed"), source(core, "high")) == ("high", None)
    assert own_priority(core.ledger.tasks.known["needed"]) == "low", "its own stays what it is"


def test_it_goes_on_along_chains_whether_a_task_runs_or_waits() -> None:
    core = configured().given(submit("runs", priority="low"), submit("a", depends_on=["runs"]))
    core.given(submit("b", depends_on=["a"]), submit("c", priority="critical", depends_on=["b"]))
    assert set(ranks(core).values()) == {"critical"}
    assert {source(core, name) for name in ("runs", "a", "b")} == {"c"}


@pytest.mark.parametrize("end", [c.CancelTask(task="c"), c.CancelTask(task="b")], ids=["itself", "what it waits for"])
def test_it_ends_when_the_waiting_task_is_cancelled(end: c.Command) -> None:
    core = configured().given(submit("busy"), submit("a", priority="low"), submit("b", depends_on=["a"]))
    core.given(submit("c", priority="critical", depends_on=["b"]), end)
    assert ranks(core, "a") == {"a": "normal" if end == c.CancelTask(task="c") else "low"}
    assert source(core, "a") == ("b" if end == c.CancelTask(task="c") else None)


def test_it_ends_when_the_waiting_task_falls_with_another_that_failed() -> None:
    core = configured().given(submit("fails"), submit("a", priority="low"))
    core.given(submit("c", priority="critical", depends_on=["fails", "a"]))
    assert ranks(core, "a") == {"a": "critical"}
    core.given(complete("fails", outcome="failed"))
    assert ranks(core) == {"a": "low"}


def test_it_comes_back_when_the_waiting_task_gets_a_new_life() -> None:
    core = configured().given(submit("busy"), submit("a"), submit("c", priority="critical", depends_on=["a"]))
    core.given(c.CancelTask(task="c"))
    assert ranks(core, "a") == {"a": "normal"}
    core.given(c.RetryTask(task="c", reason="it is wanted again"))
    assert ranks(core, "a") == {"a": "critical"}


def test_what_an_operator_says_of_a_product_is_inherited_at_once() -> None:
    core = configured().given(submit("busy"), submit("a"), submit("b", depends_on=["a"], product="launch"))
    core.given(c.OverridePriority(product="launch", priority="critical", reason="today"))
    assert ranks(core, "a", "b") == {"a": "critical", "b": "critical"}
    core.given(c.OverridePriority(product="launch", priority=None, reason="done"))
    assert ranks(core, "a", "b") == {"a": "normal", "b": "normal"}
    core.given(fleet(10_000_000, **QUIET, max_concurrent={"total": 1}, products={"launch": {"priority": "high"}}))
    assert ranks(core, "a", "b") == {"a": "high", "b": "high"}


def test_a_slot_is_taken_by_the_inherited_priority_and_what_runs_is_safe_by_it() -> None:
    core = configured().given(submit("runs", priority="high"), submit("a", priority="low"))
    core.when(preempt("runs", "a"))
    core.then_refused("plan_out_of_date")
    core.given(submit("c", priority="critical", depends_on=["a"]), preempt("runs", "a", aged=True))
    assert core.only(e.TaskStarted).aged is False, "as a critical task it is not admitted as aged"
    core.given(submit("d", priority="critical"))
    core.when(preempt("a", "d"))
    core.then_refused("plan_out_of_date")
    core.given(c.CancelTask(task="c"), preempt("a", "d"))


def test_money_and_model_follow_the_own_priority() -> None:
    core = configured().given(submit("busy"), submit("a", priority="low"))
    core.given(submit("c", priority="critical", depends_on=["a"]), complete("busy"), start("a"))
    assert core.account("a").priority == "low"


def naive(ledger: Ledger) -> dict[str, str]:
    """What each open task ranks as, from nothing but who depends on whom: all that wait for it are looked at."""
    known = ledger.tasks.known
    waiting = [task for task in known.values() if task.state == "waiting_on_dependencies"]
    found = {}
    for task in known.values():
        if not task.is_open:
            continue
        reached, last = {task.id}, 0
        while len(reached) > last:
            last = len(reached)
            reached |= {one.id for one in waiting if any(n in reached and known[n].is_open for n in one.depends_on)}
        found[task.id] = min((own_priority(known[name]) for name in reached), key=c.PRIORITIES.index)
    return found


def _step(dice: Random, ledger: Ledger) -> c.Command:
    known = list(ledger.tasks.known)
    name = dice.choice(known or IDS)
    match dice.randrange(12):
        case 0 | 1 | 2 | 3 | 4 | 5:
            needs = dice.sample(known, min(len(known), dice.choice((0, 1, 1, 2, 3))))
            priority = dice.choice((*c.PRIORITIES, None))
            product = dice.choice(("shop", "launch"))
            return submit(dice.choice(IDS), product=product, priority=priority, depends_on=needs)
        case 6:
            return start(name)
        case 7:
            return c.CancelTask(task=name)
        case 8:
            priority = dice.choice((*c.PRIORITIES, None))
            return c.OverridePriority(product=dice.choice(("shop", "launch")), priority=priority, reason="a test")
        case 9:
            return c.RetryTask(task=name, reason="a test", revive_dependents=dice.random() < 0.6)
    running = list(ledger.tasks.running) or [name]
    return complete(dice.choice(running), outcome=dice.choice(("completed", "completed", "failed")))


@settings(max_examples=examples(60), deadline=None, derandomize=True, print_blob=False)
@given(st.integers(0, 2**32))
def test_whatever_happens_and_after_a_restart_it_is_what_a_look_at_all_tasks_finds(seed: int) -> None:
    dice = Random(seed)
    core = Core(fleet(10_000_000, **QUIET, max_concurrent={"total": 3}), compares=False)
    index = SchedulerIndex(core.ledger)
    for _ in range(60):
        core.when(_step(dice, core.ledger))
        index.follow(core.decided.events)
        expected = naive(core.ledger)
        assert ranks(core) == expected
        assert {name: index.queue[name].kind.priority for name in index.queue} == {
            task.id: expected[task.id] for task in core.ledger.tasks.known.values() if task.state == "queued"
        }
        if dice.random() < 0.1:
            restored = snapshot.load(snapshot.dump(core.ledger))
            assert restored is not None
            assert naive(restored) == expected
            core.ledger = restored
            assert ranks(core) == expected
            index = SchedulerIndex(core.ledger)
    replayed = Ledger()
    for event in core.log:
        evolve(replayed, event)
    core.ledger = replayed
    assert ranks(core) == naive(replayed)


def test_a_chain_of_three_thousand_inherits_quickly_and_loses_it_as_quickly() -> None:
    ledger, now = Ledger(), START

    def said(command: c.Command, number: int) -> list[e.Event]:
        decided = decide(ledger, command, now + dt.timedelta(milliseconds=number), f"id-{number}", "tester")
        assert not isinstance(decided.answer, Refusal)
        return decided.events

    said(fleet(10_000_000, **QUIET, max_concurrent={"total": 1}), 0)
    said(submit("busy"), 1)
    said(submit("T0", priority="low"), 2)
    for number in range(1, 3_000):
        said(submit(f"T{number}", priority="low", depends_on=[f"T{number - 1}"]), number + 2)
    index = SchedulerIndex(ledger)
    began = time.process_time()
    index.follow(said(submit("last", priority="critical", depends_on=["T2999"]), 4_000))
    assert index.queue["T0"].kind.priority == "critical"
    found = inherited_from(ledger.tasks.known, ledger.tasks.known["T0"])
    assert found is not None
    assert found.id == "last"
    restored = snapshot.load(snapshot.dump(ledger))
    assert restored is not None
    assert effective_priority(restored.tasks.known["T0"]) == "critical"
    index.follow(said(c.CancelTask(task="last"), 4_001))
    assert index.queue["T0"].kind.priority == "low"
    assert time.process_time() - began < 1.5, "seconds"
