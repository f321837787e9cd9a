"""An operator's stop, and a product's pause, hold for an id until they are lifted, and reach all that is below it."""

from decimal import Decimal
from typing import Any

import pytest

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log import snapshot
from tests.support.core import Core, allocate, budget, fleet, hold, settle, start, submit, use

QUIET = {"enforcement": {"warn_before_exhaustion_seconds": 0}}
OPENINGS: list[c.Command] = [
    allocate("a", 10),
    allocate("a", 10, parent="boss"),
    c.AllocateFromPool(agent="a", request=budget(10)),
    c.AllocateEqual(agents=["new", "a"], total=budget(10)),
    c.AllocateProportional(weights={"a": Decimal(1), "new": Decimal(1)}, total=budget(10)),
    c.AllocateByPriority(agents={"new": "high", "a": "low"}, total=budget(10)),
]


def stopped_and_released(*more: c.Command) -> Core:
    return Core(
        fleet(100_000, **QUIET),
        allocate("boss", 1_000),
        allocate("a", 1_000),
        hold("a", "h", 10),
        c.Stop(agent="a", reason="leaks"),
        c.ReleaseBudget(agent="a"),
        *more,
    )


def paused(product: str, on: bool = True) -> c.LoadConfig:
    return fleet(100_000, products={product: {"paused": on}}, **QUIET)


def test_a_late_report_of_a_stopped_agent_is_answered_stop() -> None:
    answer = stopped_and_released().when(use("a", 10))
    assert (answer.action, answer.decided_by, answer.throttle_rate, answer.late) == ("stop", "stop", 0.0, True)


def test_a_late_settlement_of_a_stopped_agent_is_answered_stop() -> None:
    answer = stopped_and_released().when(settle("h", 10))
    assert (answer.action, answer.decided_by) == ("stop", "stop")


def test_a_question_about_a_stopped_and_released_agent_is_answered_stop() -> None:
    core = stopped_and_released()
    assert core.check("a").action == "stop"
    core.given(c.Resume(agent="a"))
    core.check("a")
    core.then_refused("already_released")


@pytest.mark.parametrize("opening", OPENINGS, ids=lambda command: type(command).__name__)
def test_no_account_is_opened_for_a_stopped_id_until_it_is_resumed(opening: c.Command) -> None:
    core = stopped_and_released()
    core.when(opening)
    core.then_refused("agent_stopped", agent="a", decided_by="stop")
    core.given(c.Resume(agent="a"), opening)
    assert core.account("a").stopped is None
    assert core.check("a").action == "continue"


def test_a_stop_is_no_question_of_money() -> None:
    core = stopped_and_released()
    core.when(allocate("a", 10**9))
    core.then_refused("agent_stopped")


def test_a_stop_survives_a_restart_and_the_memory_of_ids() -> None:
    core = stopped_and_released()
    for _ in range(60):
        core.wait(3_600).given(use("boss", 1))
    loaded = snapshot.load(snapshot.dump(core.ledger))
    assert loaded is not None
    assert loaded.stops == {"a": "leaks"}
    core.when(allocate("a", 10))
    core.then_refused("agent_stopped")


def test_an_id_is_stopped_and_resumed_while_it_has_no_account() -> None:
    core = Core(fleet(1_000), allocate("a", 100), c.ReleaseBudget(agent="a"))
    answer = core.when(c.Stop(agent="a", reason="leaks"))
    assert (answer.agent, answer.action, answer.decided_by) == ("a", "stop", "stop")
    core.when(allocate("a", 10))
    core.then_refused("agent_stopped")
    assert core.given(c.Resume(agent="a")).then_events(e.AgentResumed)
    core.given(allocate("a", 10))
    core.when(c.Stop(agent="nobody", reason="?"))
    core.then_refused("unknown_agent")


def test_a_stop_reaches_late_reports_of_what_was_below_it() -> None:
    core = Core(
        fleet(10_000, **QUIET),
        allocate("top", 1_000),
        allocate("mid", 500, parent="top"),
        allocate("low", 100, parent="mid"),
        c.ReleaseBudget(agent="low"),
    )
    core.given(c.Stop(agent="top", reason="leaks"))
    assert core.when(use("low", 1)).decided_by == "ancestor_stop"
    core.given(c.ReleaseBudget(agent="top"))
    answer = core.when(use("low", 1))
    assert (answer.action, answer.decided_by) == ("stop", "ancestor_stop")
    core.given(c.Resume(agent="top"))
    assert core.when(use("low", 1)).action == "continue"


def test_a_new_attempt_of_a_stopped_task_does_not_start_until_it_is_resumed() -> None:
    core = Core(fleet(1_000_000), submit("t"), c.Stop(agent="t", reason="leaks")).wait(121).pass_time()
    assert core.ledger.tasks.known["t"].state == "queued"
    core.when(start("t"))
    assert core.ledger.tasks.known["t"].state == "queued"
    core.given(c.Resume(agent="t"), start("t"))
    assert core.ledger.tasks.known["t"].state == "running"


# --- a product that is paused -------------------------------------------------------------------------------------


def product_fleet(*more: c.Command) -> Core:
    return Core(
        fleet(100_000, products={"wiki": {}}, **QUIET),
        allocate("w", 500, product="wiki"),
        allocate("w1", 100, parent="w"),
        allocate("w2", 50, parent="w1", product="other"),
        *more,
    )


@pytest.mark.parametrize("agent", ["w", "w1", "w2"])
def test_a_paused_product_stops_its_agents_and_all_below_them(agent: str) -> None:
    core = product_fleet(paused("wiki"))
    answer = core.check(agent)
    assert (answer.action, answer.decided_by) == ("stop", "product_pause")
    core.when(hold(agent, "h", 1))
    core.then_refused("paused", decided_by="product_pause")
    core.given(paused("wiki", on=False), hold(agent, "h-2", 1))


@pytest.mark.parametrize("agent", ["w", "w1", "w2"])
def test_a_paused_product_stops_late_reports_too(agent: str) -> None:
    core = product_fleet(c.ReleaseBudget(agent="w"), paused("wiki"))
    answer = core.when(use(agent, 1))
    assert (answer.action, answer.decided_by) == ("stop", "product_pause")


LABELLED: list[tuple[str, dict[str, Any]]] = [("new", {"product": "wiki"}), ("w", {}), ("w1", {"product": "other"})]


@pytest.mark.parametrize(("agent", "labels"), LABELLED)
def test_no_account_is_opened_for_a_paused_product_or_for_an_id_that_worked_for_it(
    agent: str, labels: dict[str, Any]
) -> None:
    core = product_fleet(c.ReleaseBudget(agent="w"), paused("wiki"))
    core.when(allocate(agent, 10, **labels))
    core.then_refused("agent_stopped", product="wiki", decided_by="product_pause")
    core.given(paused("wiki", on=False), allocate(agent, 10, **labels))
