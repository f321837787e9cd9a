"""Usage is a fact: who pays for what was used beyond an allocation, in which order, and how it is repaid."""

from tallystick.events import catalog as e
from tallystick.events import commands as c
from tallystick.events import proposals as p
from tests.law import Law, allocate, budget, fleet, hold, settle, tokens, use


def covers(law: Law) -> list[tuple[str, str, int | None, str]]:
    return [(event.source, event.target, event.amount.tokens, event.cause) for event in law.every(e.Covered)]


def repaid(law: Law) -> list[tuple[str, str, int | None]]:
    return [(event.source, event.target, event.amount.tokens) for event in law.every(e.CoverRepaid)]


def test_new_budget_first_repays_the_cover() -> None:
    law = Law(fleet(10_000), allocate("ann", 1_000), use("ann", 1_500))
    assert law.pool[0] == 8_500
    answer = law.when(c.BorrowFromPool(agent="ann", amount=budget(2_000)))
    assert (answer.allocated, answer.remaining) == (tokens(3_000), tokens(1_500))
    assert repaid(law) == [("ann", "pool", 500)]
    assert law.pool[0] == 7_000
    assert law.status("ann").overrun == tokens(0)


def test_the_excess_is_covered_by_the_parent_then_up_the_tree_then_reserve_then_overdraft() -> None:
    law = Law(fleet(1_000, emergency_reserve_percent=10), allocate("ann", 300), allocate("ann/1", 200, parent="ann"))
    law.given(use("ann/1", 1_250))
    # ann has 100 free, the pool 600, the reserve 100; the rest is owed.
    assert covers(law) == [
        ("reserve", "pool", 100, "under_estimate"),
        ("overdraft", "pool", 250, "under_estimate"),
        ("pool", "ann", 950, "under_estimate"),
        ("ann", "ann/1", 1_050, "under_estimate"),
    ]
    assert (law.pool[0], law.in_reserve[0], law.overdraft[0]) == (0, 0, 250)
    status = law.status("ann/1")
    assert (status.allocated.tokens, status.consumed.tokens, status.overrun.tokens) == (200, 1_250, 1_050)
    assert status.remaining.tokens == 0


def test_only_what_is_lacking_is_covered() -> None:
    law = Law(fleet(1_000), allocate("ann", 300), use("ann", 299))
    law.given(use("ann", 2))
    assert covers(law) == [("pool", "ann", 1, "under_estimate")]


def test_what_comes_back_repays_overdraft_then_refills_the_reserve_then_the_pool() -> None:
    law = Law(fleet(1_000, emergency_reserve_percent=10), allocate("ann", 400), allocate("bob", 500), use("bob", 700))
    assert (law.pool[0], law.in_reserve[0], law.overdraft[0]) == (0, 0, 100)
    law.given(c.ReturnToPool(agent="ann", amount=budget(60)))
    assert (law.pool[0], law.in_reserve[0], law.overdraft[0]) == (0, 0, 40)
    law.given(c.ReturnToPool(agent="ann", amount=budget(90)))
    assert repaid(law) == [("pool", "overdraft", 40), ("pool", "reserve", 50)]
    assert (law.pool[0], law.in_reserve[0], law.overdraft[0]) == (0, 50, 0)
    law.given(c.ReleaseBudget(agent="ann"))
    assert (law.pool[0], law.in_reserve[0], law.overdraft[0]) == (200, 100, 0)


def test_holds_stay_good_when_usage_takes_what_they_set_aside() -> None:
    law = Law(fleet(1_000), allocate("ann", 100), hold("ann", "h", 80), use("ann", 50))
    assert covers(law) == [("pool", "ann", 30, "under_estimate")]
    assert law.account("ann").held[0] == 80
    law.given(c.CancelHold(hold="h"))
    assert repaid(law) == [("ann", "pool", 30)]
    assert (law.pool[0], law.free("ann")[0]) == (900, 50)


def test_a_settlement_above_its_hold_covers_the_difference_only() -> None:
    law = Law(fleet(1_000), allocate("ann", 100), hold("ann", "h", 80), settle("h", 130))
    assert covers(law) == [("pool", "ann", 30, "under_estimate")]
    law = Law(fleet(1_000), allocate("ann", 100), hold("ann", "h", 80), settle("h", 95))
    assert covers(law) == []
    assert law.free("ann")[0] == 5


def test_a_settlement_below_its_hold_repays_what_was_covered() -> None:
    law = Law(fleet(1_000), allocate("ann", 100), hold("ann", "h", 80), use("ann", 50))
    law.given(settle("h", 20))
    assert repaid(law) == [("ann", "pool", 30)]
    assert law.status("ann").remaining == tokens(30)


def test_the_cause_of_a_cover_is_named() -> None:
    law = Law(fleet(1_000), allocate("ann", 100), allocate("ann/1", 50, parent="ann"), c.ReleaseBudget(agent="ann/1"))
    law.given(use("ann/1", 150))
    assert covers(law) == [("pool", "ann", 50, "late_report")]
    law = Law(fleet(None, "5"), p.LoadPrices(prices={"big": {"input": 1, "output": 1}}), allocate("ann", None, "1"))
    law.given(c.ReportUsage(agent="ann", model="unheard-of", usage=budget(2_000_000)))
    (cover,) = law.every(e.Covered)
    assert (cover.cause, cover.amount.cost_nanos) == ("unpriced_model", 1_000_000_000)


def test_a_dimension_that_an_account_does_not_limit_is_charged_to_the_nearest_that_does() -> None:
    law = Law(
        fleet(1_000, "10", 600),
        allocate("ann", 400, "5"),
        allocate("ann/1", 100, parent="ann"),
        allocate("ann/1/a", None, None, seconds=60, parent="ann/1"),
    )
    law.given(c.ReportUsage(agent="ann/1/a", usage=budget(30, 10, "2")))
    assert law.account("ann/1/a").free[1] == 50_000
    assert law.free("ann/1")[0] == 70
    assert law.free("ann")[2] == 3_000_000_000
    assert law.free("ann")[0] == 300
    assert law.pool == (600, 540_000, 5_000_000_000)
    assert law.status("ann/1/a").consumed.tokens == 30
    law.given(hold("ann/1/a", "h", 70, "3"))
    assert (law.free("ann/1")[0], law.free("ann")[2]) == (0, 0)
    law.when(hold("ann/1/a", "h2", 1))
    assert law.then_refused("budget_exhausted").numbers["available"].tokens == 0


def test_usage_without_an_allocation_is_charged_to_the_pool() -> None:
    law = Law(fleet(1_000))
    answer = law.when(use("ann", 100))
    assert (answer.unallocated, answer.late, law.pool[0]) == (True, False, 900)
    assert law.ledger.consumed[0] == 100


def test_a_late_report_is_charged_to_the_nearest_open_ancestor() -> None:
    law = Law(fleet(1_000), allocate("ann", 500), allocate("ann/1", 100, parent="ann"))
    law.given(allocate("ann/1/a", 50, parent="ann/1"), c.ReleaseBudget(agent="ann/1"))
    answer = law.when(use("ann/1/a", 40))
    assert (answer.late, answer.unallocated) == (True, False)
    assert law.only(e.UsageReported).charged == "ann"
    assert law.status("ann").consumed == tokens(40)
    law.given(c.ReleaseBudget(agent="ann"))
    assert law.when(use("ann/1/a", 40)).late is True
    assert law.pool[0] == 920


def test_a_late_report_that_comes_as_its_agent_is_forgotten_is_covered_where_it_is_charged() -> None:
    law = Law(fleet(10_000), allocate("ann", 100), allocate("ann/1", 50, parent="ann"), c.ReleaseBudget(agent="ann/1"))
    law.given(use("ann", 10)).wait(61)
    law.given(use("ann", 10)).wait(12 * 3_600).given(p.BeginDay()).wait(12 * 3_600)
    law.given(use("ann/1", 500))
    assert law.only(e.UsageReported).charged == "ann"
    assert "ann/1" not in law.ledger.released
    assert law.status("ann").consumed == tokens(520)
    assert law.when(use("ann/1", 1)).unallocated is True


def test_covering_a_child_raises_its_parents_percentage() -> None:
    law = Law(fleet(1_000), allocate("ann", 200), use("ann", 50), allocate("ann/1", 50, parent="ann"))
    assert law.check("ann").percentage == 0.333333
    law.given(use("ann/1", 100))
    # 50 of 200 - 100, once the child's overrun is the parent's to pay.
    assert law.check("ann").percentage == 0.5
    assert law.check("ann").status == "yellow"
    law.given(c.BorrowFromPool(agent="ann", amount=budget(200)))
    law.given(c.BorrowFromPool(agent="ann/1", amount=budget(50)))
    assert law.check("ann").status == "green"


def test_a_hold_that_ends_lets_the_parents_level_follow_the_repaid_cover() -> None:
    law = Law(fleet(1_000), allocate("ann", 200), use("ann", 50), allocate("ann/1", 50, parent="ann"))
    law.given(hold("ann/1", "h", 50), use("ann/1", 50))
    assert law.check("ann").status == "yellow"
    law.given(c.CancelHold(hold="h"))
    law.then_events(e.HoldEnded, e.CoverRepaid, e.LevelChanged)
    assert law.check("ann").status == "green"


def test_a_released_account_leaves_its_overrun_with_who_covered_it() -> None:
    law = Law(fleet(1_000), allocate("ann", 100), use("ann", 150), c.ReleaseBudget(agent="ann"))
    assert law.pool[0] == 850
    assert law.ledger.root.closed[0] == 150
