"""Usage is a fact: who pays for what was used beyond an allocation, in which order, and how it is repaid."""

import pytest

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.messages import proposals as p
from tests.support.core import Core, allocate, budget, fleet, hold, settle, tokens, use


def covers(core: Core) -> list[tuple[str, str, int | None, str]]:
    return [(event.source, event.target, event.amount.tokens, event.cause) for event in core.every(e.Covered)]


def repaid(core: Core) -> list[tuple[str, str, int | None]]:
    return [(event.source, event.target, event.amount.tokens) for event in core.every(e.CoverRepaid)]


def test_new_budget_first_repays_the_cover() -> None:
    core = Core(fleet(10_000), allocate("ann", 1_000), use("ann", 1_500))
    assert core.pool[0] == 8_500
    answer = core.when(c.BorrowFromPool(agent="ann", amount=budget(2_000)))
    assert (answer.allocated, answer.remaining) == (tokens(3_000), tokens(1_500))
    assert repaid(core) == [("ann", "pool", 500)]
    assert core.pool[0] == 7_000
    assert core.status("ann").overrun == tokens(0)


def test_the_excess_is_covered_by_the_parent_then_up_the_tree_then_reserve_then_overdraft() -> None:
    core = Core(fleet(1_000, emergency_reserve_percent=10), allocate("ann", 300), allocate("ann/1", 200, parent="ann"))
    core.given(use("ann/1", 1_250))
    # ann has 100 free, the pool 600, the reserve 100; the rest is owed.
    assert covers(core) == [
        ("reserve", "pool", 100, "under_estimate"),
        ("overdraft", "pool", 250, "under_estimate"),
        ("pool", "ann", 950, "under_estimate"),
        ("ann", "ann/1", 1_050, "under_estimate"),
    ]
    assert (core.pool[0], core.in_reserve[0], core.overdraft[0]) == (0, 0, 250)
    status = core.status("ann/1")
    assert (status.allocated.tokens, status.consumed.tokens, status.overrun.tokens) == (200, 1_250, 1_050)
    assert status.remaining.tokens == 0


def test_only_what_is_lacking_is_covered() -> None:
    core = Core(fleet(1_000), allocate("ann", 300), use("ann", 299))
    core.given(use("ann", 2))
    assert covers(core) == [("pool", "ann", 1, "under_estimate")]


def test_what_comes_back_repays_overdraft_then_refills_the_reserve_then_the_pool() -> None:
    core = Core(fleet(1_000, emergency_reserve_percent=10), allocate("ann", 400), allocate("bob", 500), use("bob", 700))
    assert (core.pool[0], core.in_reserve[0], core.overdraft[0]) == (0, 0, 100)
    core.given(c.ReturnToPool(agent="ann", amount=budget(60)))
    assert (core.pool[0], core.in_reserve[0], core.overdraft[0]) == (0, 0, 40)
    core.given(c.ReturnToPool(agent="ann", amount=budget(90)))
    assert repaid(core) == [("pool", "overdraft", 40), ("pool", "reserve", 50)]
    assert (core.pool[0], core.in_reserve[0], core.overdraft[0]) == (0, 50, 0)
    core.given(c.ReleaseBudget(agent="ann"))
    assert (core.pool[0], core.in_reserve[0], core.overdraft[0]) == (200, 100, 0)


def test_holds_stay_good_when_usage_takes_what_they_set_aside() -> None:
    core = Core(fleet(1_000), allocate("ann", 100), hold("ann", "h", 80), use("ann", 50))
    assert covers(core) == [("pool", "ann", 30, "under_estimate")]
    assert core.account("ann").held[0] == 80
    core.given(c.CancelHold(hold="h"))
    assert repaid(core) == [("ann", "pool", 30)]
    assert (core.pool[0], core.free("ann")[0]) == (900, 50)


def test_a_settlement_above_its_hold_covers_the_difference_only() -> None:
    core = Core(fleet(1_000), allocate("ann", 100), hold("ann", "h", 80), settle("h", 130))
    assert covers(core) == [("pool", "ann", 30, "under_estimate")]
    core = Core(fleet(1_000), allocate("ann", 100), hold("ann", "h", 80), settle("h", 95))
    assert covers(core) == []
    assert core.free("ann")[0] == 5


def test_a_settlement_below_its_hold_repays_what_was_covered() -> None:
    core = Core(fleet(1_000), allocate("ann", 100), hold("ann", "h", 80), use("ann", 50))
    core.given(settle("h", 20))
    assert repaid(core) == [("ann", "pool", 30)]
    assert core.status("ann").remaining == tokens(30)


def test_the_cause_of_a_cover_is_named() -> None:
    core = Core(fleet(1_000), allocate("ann", 100), allocate("ann/1", 50, parent="ann"), c.ReleaseBudget(agent="ann/1"))
    core.given(use("ann/1", 150))
    assert covers(core) == [("pool", "ann", 50, "late_report")]
    core = Core(fleet(None, "5"), p.LoadPrices(prices={"big": {"input": 1, "output": 1}}), allocate("ann", None, "1"))
    core.given(c.ReportUsage(agent="ann", model="unheard-of", usage=budget(2_000_000)))
    (cover,) = core.every(e.Covered)
    assert (cover.cause, cover.amount.cost_nanos) == ("unpriced_model", 1_000_000_000)


def test_a_dimension_that_an_account_does_not_limit_is_charged_to_the_nearest_that_does() -> None:
    core = Core(
        fleet(1_000, "10", 600),
        allocate("ann", 400, "5"),
        allocate("ann/1", 100, parent="ann"),
        allocate("ann/1/a", None, None, seconds=60, parent="ann/1"),
    )
    core.given(c.ReportUsage(agent="ann/1/a", usage=budget(30, 10, "2")))
    assert core.account("ann/1/a").free[1] == 50_000
    assert core.free("ann/1")[0] == 70
    assert core.free("ann")[2] == 3_000_000_000
    assert core.free("ann")[0] == 300
    assert core.pool == (600, 540_000, 5_000_000_000)
    assert core.status("ann/1/a").consumed.tokens == 30
    core.given(hold("ann/1/a", "h", 70, "3"))
    assert (core.free("ann/1")[0], core.free("ann")[2]) == (0, 0)
    core.when(hold("ann/1/a", "h2", 1))
    assert core.then_refused("budget_exhausted").numbers["available"].tokens == 0


def test_usage_without_an_allocation_is_charged_to_the_pool() -> None:
    core = Core(fleet(1_000))
    answer = core.when(use("ann", 100))
    assert (answer.unallocated, answer.late, core.pool[0]) == (True, False, 900)
    assert core.ledger.consumed[0] == 100


def test_a_late_report_is_charged_to_the_nearest_open_ancestor() -> None:
    core = Core(fleet(1_000), allocate("ann", 500), allocate("ann/1", 100, parent="ann"))
    core.given(allocate("ann/1/a", 50, parent="ann/1"), c.ReleaseBudget(agent="ann/1"))
    answer = core.when(use("ann/1/a", 40))
    assert (answer.late, answer.unallocated) == (True, False)
    assert core.only(e.UsageReported).charged == "ann"
    assert core.status("ann").consumed == tokens(40)
    core.given(c.ReleaseBudget(agent="ann"))
    assert core.when(use("ann/1/a", 40)).late is True
    assert core.pool[0] == 920


def test_a_late_report_that_comes_as_its_agent_is_forgotten_is_covered_where_it_is_charged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tallystick.events.state.ledger.LATE_KEPT", 0)
    core = Core(
        fleet(10_000), allocate("ann", 100), allocate("ann/1", 50, parent="ann"), c.ReleaseBudget(agent="ann/1")
    )
    core.given(use("ann", 10)).wait(61)
    core.given(use("ann", 10)).wait(12 * 3_600).pass_time().wait(12 * 3_600)
    core.given(use("ann/1", 500))
    assert core.only(e.UsageReported).charged == "ann"
    assert "ann/1" not in core.ledger.released
    assert core.status("ann").consumed == tokens(520)
    assert core.when(use("ann/1", 1)).unallocated is True


def test_covering_a_child_raises_its_parents_percentage() -> None:
    core = Core(fleet(1_000), allocate("ann", 200), use("ann", 50), allocate("ann/1", 50, parent="ann"))
    assert core.check("ann").percentage == 0.333333
    core.given(use("ann/1", 100))
    # 50 of 200 - 100, once the child's overrun is the parent's to pay.
    assert core.check("ann").percentage == 0.5
    assert core.check("ann").status == "yellow"
    core.given(c.BorrowFromPool(agent="ann", amount=budget(200)))
    core.given(c.BorrowFromPool(agent="ann/1", amount=budget(50)))
    assert core.check("ann").status == "green"


def test_a_hold_that_ends_lets_the_parents_level_follow_the_repaid_cover() -> None:
    core = Core(fleet(1_000), allocate("ann", 200), use("ann", 50), allocate("ann/1", 50, parent="ann"))
    core.given(hold("ann/1", "h", 50), use("ann/1", 50))
    assert core.check("ann").status == "yellow"
    core.given(c.CancelHold(hold="h"))
    core.then_events(e.HoldEnded, e.CoverRepaid, e.LevelChanged)
    assert core.check("ann").status == "green"


def test_a_released_account_leaves_its_overrun_with_who_covered_it() -> None:
    core = Core(fleet(1_000), allocate("ann", 100), use("ann", 150), c.ReleaseBudget(agent="ann"))
    assert core.pool[0] == 850
    assert core.ledger.root.closed[0] == 150
