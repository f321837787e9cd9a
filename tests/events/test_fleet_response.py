from fractions import Fraction
from typing import Any

import pytest

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tests.support.core import Core, allocate, budget, fleet, hold, use

RESERVE: dict[str, Any] = {"emergency_reserve_percent": 10}


@pytest.fixture
def core() -> Core:
    """1,000 tokens, 100 of them in reserve: pressure is over 900."""
    return Core(fleet(1_000, **RESERVE), allocate("vip", 400, priority="critical"), allocate("ann", 400))


def responses(core: Core) -> list[str]:
    return [event.response for event in core.every(e.FleetResponseChanged)]


@pytest.mark.parametrize(
    ("used", "ann", "vip"),
    [
        (809, "continue", "continue"),
        (810, "throttle", "throttle"),
        (854, "throttle", "throttle"),
        (855, "degrade", "throttle"),
        (899, "degrade", "throttle"),
        (900, "stop", "throttle"),
        (999, "stop", "throttle"),
        (1_000, "stop", "stop"),
    ],
)
def test_pressure_throttles_degrades_and_stops_at_its_lines(core: Core, used: int, ann: str, vip: str) -> None:
    core.given(use("stranger", used))
    for agent, action in (("ann", ann), ("vip", vip)):
        told = core.check(agent)
        assert told.action == action
        assert told.decided_by == ("level" if action == "continue" else "fleet_response")
        assert told.throttle_rate == {"continue": 1.0, "throttle": 0.5, "degrade": 0.5, "stop": 0.0}[action]


def test_what_was_fully_allocated_and_not_spent_is_no_pressure() -> None:
    core = Core(fleet(1_000), allocate("ann", 1_000))
    assert core.when(c.GetGlobalStatus()).pressure == 0.0
    assert core.check("ann").action == "continue"


def test_holds_are_pressure(core: Core) -> None:
    core.given(use("stranger", 409), hold("ann", "h", 400))
    assert core.ledger.response == 0
    core.given(hold("vip", "i", 1))
    core.then_events(e.HoldPlaced, e.FleetResponseChanged, e.AlertRaised)
    assert core.only(e.FleetResponseChanged).pressure == 0.9


def test_the_response_is_in_the_transaction_of_the_usage_that_causes_it(core: Core) -> None:
    answer = core.when(use("stranger", 900))
    core.then_events(e.Covered, e.Covered, e.UsageReported, e.FleetResponseChanged, e.AlertRaised)
    assert answer.decided_by == "fleet_response"


def test_one_event_stops_a_fleet_of_any_size() -> None:
    core = Core(fleet(10_000), c.AllocateEqual(agents=[f"a{i}" for i in range(500)], total=budget(5_000)))
    core.given(use("stranger", 10_000))
    assert len(core.every(e.FleetResponseChanged)) == 1
    assert core.every(e.LevelChanged) == []
    assert core.check("a499").action == "stop"


def test_a_response_ends_a_twentieth_below_its_line(core: Core) -> None:
    core.given(use("stranger", 700), hold("ann", "h", 110), hold("ann", "i", 45), hold("ann", "j", 45))
    assert core.ledger.response == 3
    core.given(c.CancelHold(hold="j"))
    assert core.ledger.response == 3  # 0.95 is not below 1.00 - 0.05
    core.given(c.CancelHold(hold="i"))
    assert responses(core) == ["degrade"]  # 0.90
    core.given(c.CancelHold(hold="h"))
    assert responses(core) == ["none"]  # 0.777…


def test_hysteresis_holds_a_throttle_down_to_085(core: Core) -> None:
    core.given(use("stranger", 765), hold("ann", "h", 45), hold("ann", "i", 10))
    assert core.ledger.response == 1
    core.given(c.CancelHold(hold="i"), c.CancelHold(hold="h"))
    assert Fraction(core.ledger.committed(0), 900) == Fraction(85, 100)
    assert core.ledger.response == 1
    core = Core(fleet(1_000, **RESERVE), allocate("ann", 100), use("stranger", 764), hold("ann", "h", 46))
    core.given(c.CancelHold(hold="h"))
    assert core.ledger.response == 0


def test_a_crisis_refuses_the_pool_to_all_but_critical_agents(core: Core) -> None:
    core.given(hold("ann", "h", 100), use("vip", 400), use("ann", 300), use("ann", 100))
    assert core.ledger.response == 3
    core.when(c.AllocateFromPool(agent="bob", request=budget(1)))
    core.then_refused("pool_exhausted")
    core.given(allocate("vip2", 50, priority="critical"))
    core.then_events(e.ReserveDrawn, e.BudgetAllocated)
    assert core.in_reserve[0] == 50


def test_in_a_crisis_what_lies_in_the_pool_is_for_critical_agents_only() -> None:
    core = Core(fleet(1_000, "10", **RESERVE), allocate("ann", 900), hold("ann", "h", 870), hold("ann", "i", 30))
    core.given(c.CancelHold(hold="i"), c.ReturnToPool(agent="ann", amount=budget(30)))
    # 870 of 900 is less than 1.00, and more than 0.95: the crisis goes on.
    assert (core.ledger.response, core.pool[0]) == (3, 30)
    for command in (
        allocate("bob", 10, priority="high"),
        allocate("bob", None, "1"),
        c.AllocateFromPool(agent="bob", request=budget(10)),
        c.BorrowFromPool(agent="ann", amount=budget(10)),
        c.AllocateEqual(agents=["bob"], total=budget(10)),
    ):
        core.when(command)
        assert "crisis" in core.then_refused("pool_exhausted").detail
    core.given(allocate("vip", 10, priority="critical"))
    core.given(c.AllocateByPriority(agents={"vip2": "critical"}, total=budget(100)))
    assert (core.pool[0], core.in_reserve[0]) == (0, 20)


def test_in_a_crisis_a_sub_agent_is_still_carved_out_of_its_parent(core: Core) -> None:
    core.given(use("stranger", 900))
    core.when(allocate("vip/1", 50, parent="vip"))
    core.then_events(e.BudgetAllocated)


def test_the_reserve_is_closed_until_a_crisis(core: Core) -> None:
    core.given(allocate("bob", 100))
    core.when(allocate("vip2", 50, priority="critical"))
    core.then_refused("pool_exhausted")
    core.given(c.ReleaseReserve(reason="launch"))
    core.when(allocate("cyd", 50, priority="high"))
    core.then_refused("pool_exhausted")
    core.given(allocate("vip2", 50, priority="critical"))
    assert (core.only(e.ReserveDrawn).agent, core.only(e.ReserveDrawn).amount.tokens) == ("vip2", 50)
    assert (core.in_reserve[0], core.pool[0]) == (50, 0)
    core.when(c.BorrowFromPool(agent="vip", amount=budget(51)))
    assert core.then_refused("pool_exhausted").numbers["available"].tokens == 50


def test_a_new_total_closes_the_reserve_again(core: Core) -> None:
    core.given(c.ReleaseReserve(reason="launch"), c.SetTotalBudget(budget=c.BudgetChange(tokens=1_000)))
    core.given(allocate("bob", 100))
    core.when(allocate("vip2", 1, priority="critical"))
    core.then_refused("pool_exhausted")


def test_pressure_is_measured_against_the_configured_reserve_whatever_was_drawn(core: Core) -> None:
    core.given(c.ReleaseReserve(reason="launch"), allocate("bob", 100), allocate("vip2", 100, priority="critical"))
    core.given(use("stranger", 450))
    assert core.when(c.GetGlobalStatus()).pressure == 0.5


def test_a_dimension_without_a_limit_is_no_pressure() -> None:
    core = Core(fleet(1_000), use("stranger", 100, "1000000", 1_000_000))
    assert core.when(c.GetGlobalStatus()).pressure == 0.1


def test_a_total_of_zero_is_full_from_the_first_unit() -> None:
    core = Core(fleet(0))
    assert core.when(c.GetGlobalStatus()).pressure == 0.0
    core.given(use("stranger", 1))
    assert core.ledger.response == 4


def test_a_smaller_total_raises_the_pressure_at_once() -> None:
    core = Core(fleet(10_000), use("stranger", 950))
    core.given(c.SetTotalBudget(budget=c.BudgetChange(tokens=1_000)))
    core.then_events(e.TotalBudgetSet, e.FleetResponseChanged, e.AlertRaised)
    assert responses(core) == ["degrade"]
    core.given(c.SetTotalBudget(budget=c.BudgetChange(tokens=2_000)))
    assert responses(core) == ["none"]


def test_all_stop_when_the_total_is_used_though_other_lines_lie_higher() -> None:
    lines = {"throttle_at": "1.3", "degrade_at": "1.4", "stop_at": "1.5"}
    core = Core(fleet(1_000, **RESERVE, enforcement={"fleet": lines}), use("stranger", 999))
    assert core.ledger.response == 0
    core.given(use("stranger", 1))
    assert responses(core) == ["stop_all"]
