from fractions import Fraction
from typing import Any

import pytest

from tallystick.events import catalog as e
from tallystick.events import commands as c
from tests.law import Law, allocate, budget, fleet, hold, use

RESERVE: dict[str, Any] = {"emergency_reserve_percent": 10}


@pytest.fixture
def law() -> Law:
    """1,000 tokens, 100 of them in reserve: pressure is over 900."""
    return Law(fleet(1_000, **RESERVE), allocate("vip", 400, priority="critical"), allocate("ann", 400))


def responses(law: Law) -> list[str]:
    return [event.response for event in law.every(e.FleetResponseChanged)]


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
def test_pressure_throttles_degrades_and_stops_at_its_lines(law: Law, used: int, ann: str, vip: str) -> None:
    law.given(use("stranger", used))
    for agent, action in (("ann", ann), ("vip", vip)):
        told = law.check(agent)
        assert told.action == action
        assert told.decided_by == ("level" if action == "continue" else "fleet_response")
        assert told.throttle_rate == {"continue": 1.0, "throttle": 0.5, "degrade": 0.5, "stop": 0.0}[action]


def test_what_was_fully_allocated_and_not_spent_is_no_pressure() -> None:
    law = Law(fleet(1_000), allocate("ann", 1_000))
    assert law.when(c.GetGlobalStatus()).pressure == 0.0
    assert law.check("ann").action == "continue"


def test_holds_are_pressure(law: Law) -> None:
    law.given(use("stranger", 409), hold("ann", "h", 400))
    assert law.ledger.response == 0
    law.given(hold("vip", "i", 1))
    law.then_events(e.HoldPlaced, e.FleetResponseChanged, e.AlertRaised)
    assert law.only(e.FleetResponseChanged).pressure == 0.9


def test_the_response_is_in_the_transaction_of_the_usage_that_causes_it(law: Law) -> None:
    answer = law.when(use("stranger", 900))
    law.then_events(e.Covered, e.Covered, e.UsageReported, e.FleetResponseChanged, e.AlertRaised)
    assert answer.decided_by == "fleet_response"


def test_one_event_stops_a_fleet_of_any_size() -> None:
    law = Law(fleet(10_000), c.AllocateEqual(agents=[f"a{i}" for i in range(500)], total=budget(5_000)))
    law.given(use("stranger", 10_000))
    assert len(law.every(e.FleetResponseChanged)) == 1
    assert law.every(e.LevelChanged) == []
    assert law.check("a499").action == "stop"


def test_a_response_ends_a_twentieth_below_its_line(law: Law) -> None:
    law.given(use("stranger", 700), hold("ann", "h", 110), hold("ann", "i", 45), hold("ann", "j", 45))
    assert law.ledger.response == 3
    law.given(c.CancelHold(hold="j"))
    assert law.ledger.response == 3  # 0.95 is not below 1.00 - 0.05
    law.given(c.CancelHold(hold="i"))
    assert responses(law) == ["degrade"]  # 0.90
    law.given(c.CancelHold(hold="h"))
    assert responses(law) == ["none"]  # 0.777…


def test_hysteresis_holds_a_throttle_down_to_085(law: Law) -> None:
    law.given(use("stranger", 765), hold("ann", "h", 45), hold("ann", "i", 10))
    assert law.ledger.response == 1
    law.given(c.CancelHold(hold="i"), c.CancelHold(hold="h"))
    assert Fraction(law.ledger.committed(0), 900) == Fraction(85, 100)
    assert law.ledger.response == 1
    law = Law(fleet(1_000, **RESERVE), allocate("ann", 100), use("stranger", 764), hold("ann", "h", 46))
    law.given(c.CancelHold(hold="h"))
    assert law.ledger.response == 0


def test_a_crisis_refuses_the_pool_to_all_but_critical_agents(law: Law) -> None:
    law.given(hold("ann", "h", 100), use("vip", 400), use("ann", 300), use("ann", 100))
    assert law.ledger.response == 3
    law.when(c.AllocateFromPool(agent="bob", request=budget(1)))
    law.then_refused("pool_exhausted")
    law.given(allocate("vip2", 50, priority="critical"))
    law.then_events(e.ReserveDrawn, e.BudgetAllocated)
    assert law.in_reserve[0] == 50


def test_in_a_crisis_what_lies_in_the_pool_is_for_critical_agents_only() -> None:
    law = Law(fleet(1_000, "10", **RESERVE), allocate("ann", 900), hold("ann", "h", 870), hold("ann", "i", 30))
    law.given(c.CancelHold(hold="i"), c.ReturnToPool(agent="ann", amount=budget(30)))
    # 870 of 900 is less than 1.00, and more than 0.95: the crisis goes on.
    assert (law.ledger.response, law.pool[0]) == (3, 30)
    for command in (
        allocate("bob", 10, priority="high"),
        allocate("bob", None, "1"),
        c.AllocateFromPool(agent="bob", request=budget(10)),
        c.BorrowFromPool(agent="ann", amount=budget(10)),
        c.AllocateEqual(agents=["bob"], total=budget(10)),
    ):
        law.when(command)
        assert "crisis" in law.then_refused("pool_exhausted").detail
    law.given(allocate("vip", 10, priority="critical"))
    law.given(c.AllocateByPriority(agents={"vip2": "critical"}, total=budget(100)))
    assert (law.pool[0], law.in_reserve[0]) == (0, 20)


def test_in_a_crisis_a_sub_agent_is_still_carved_out_of_its_parent(law: Law) -> None:
    law.given(use("stranger", 900))
    law.when(allocate("vip/1", 50, parent="vip"))
    law.then_events(e.BudgetAllocated)


def test_the_reserve_is_closed_until_a_crisis(law: Law) -> None:
    law.given(allocate("bob", 100))
    law.when(allocate("vip2", 50, priority="critical"))
    law.then_refused("pool_exhausted")
    law.given(c.ReleaseReserve(reason="launch"))
    law.when(allocate("cyd", 50, priority="high"))
    law.then_refused("pool_exhausted")
    law.given(allocate("vip2", 50, priority="critical"))
    assert (law.only(e.ReserveDrawn).agent, law.only(e.ReserveDrawn).amount.tokens) == ("vip2", 50)
    assert (law.in_reserve[0], law.pool[0]) == (50, 0)
    law.when(c.BorrowFromPool(agent="vip", amount=budget(51)))
    assert law.then_refused("pool_exhausted").numbers["available"].tokens == 50


def test_a_new_total_closes_the_reserve_again(law: Law) -> None:
    law.given(c.ReleaseReserve(reason="launch"), c.SetTotalBudget(budget=c.BudgetChange(tokens=1_000)))
    law.given(allocate("bob", 100))
    law.when(allocate("vip2", 1, priority="critical"))
    law.then_refused("pool_exhausted")


def test_pressure_is_measured_against_the_configured_reserve_whatever_was_drawn(law: Law) -> None:
    law.given(c.ReleaseReserve(reason="launch"), allocate("bob", 100), allocate("vip2", 100, priority="critical"))
    law.given(use("stranger", 450))
    assert law.when(c.GetGlobalStatus()).pressure == 0.5


def test_a_dimension_without_a_limit_is_no_pressure() -> None:
    law = Law(fleet(1_000), use("stranger", 100, "1000000", 1_000_000))
    assert law.when(c.GetGlobalStatus()).pressure == 0.1


def test_a_total_of_zero_is_full_from_the_first_unit() -> None:
    law = Law(fleet(0))
    assert law.when(c.GetGlobalStatus()).pressure == 0.0
    law.given(use("stranger", 1))
    assert law.ledger.response == 4


def test_a_smaller_total_raises_the_pressure_at_once() -> None:
    law = Law(fleet(10_000), use("stranger", 950))
    law.given(c.SetTotalBudget(budget=c.BudgetChange(tokens=1_000)))
    law.then_events(e.TotalBudgetSet, e.FleetResponseChanged, e.AlertRaised)
    assert responses(law) == ["degrade"]
    law.given(c.SetTotalBudget(budget=c.BudgetChange(tokens=2_000)))
    assert responses(law) == ["none"]


def test_all_stop_when_the_total_is_used_though_other_lines_lie_higher() -> None:
    lines = {"throttle_at": "1.3", "degrade_at": "1.4", "stop_at": "1.5"}
    law = Law(fleet(1_000, **RESERVE, enforcement={"fleet": lines}), use("stranger", 999))
    assert law.ledger.response == 0
    law.given(use("stranger", 1))
    assert responses(law) == ["stop_all"]
