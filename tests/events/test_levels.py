"""An agent's own level: exact thresholds, transitions in both directions, and what black does."""

import pytest

from tallystick.events import catalog as e
from tallystick.events import commands as c
from tests.law import Law, allocate, budget, fleet, hold, tokens, use


@pytest.mark.parametrize(
    ("used", "level", "action", "rate"),
    [
        (0, "green", "continue", 1.0),
        (499_999, "green", "continue", 1.0),
        (500_000, "yellow", "warn", 1.0),
        (749_999, "yellow", "warn", 1.0),
        (750_000, "orange", "throttle", 0.5),
        (899_999, "orange", "throttle", 0.5),
        (900_000, "red", "degrade", 0.5),
        (999_999, "red", "degrade", 0.5),
        (1_000_000, "black", "stop", 0.0),
        (1_200_000, "black", "stop", 0.0),
    ],
)
def test_a_level_starts_at_its_threshold_exactly(used: int, level: str, action: str, rate: float) -> None:
    law = Law(fleet(10_000_000), allocate("ann", 1_000_000))
    answer = law.when(use("ann", used))
    assert (answer.status, answer.action, answer.throttle_rate, answer.decided_by) == (level, action, rate, "level")
    assert answer.percentage == used / 1_000_000
    assert len(law.every(e.LevelChanged)) == (level != "green")


def test_levels_are_decided_before_rounding() -> None:
    total = 9_000_000_000_000_000_001
    law = Law(fleet(2**63 - 1), allocate("ann", total))
    answer = law.when(use("ann", 4_500_000_000_000_000_000))
    assert (answer.percentage, answer.status) == (0.5, "green")
    assert law.when(use("ann", 1)).status == "yellow"


def test_the_line_and_the_level_are_one_step_and_the_reply_carries_the_action() -> None:
    law = Law(fleet(1_000), allocate("ann", 100), use("ann", 70))
    answer = law.when(use("ann", 5))
    law.then_events(e.UsageReported, e.LevelChanged)
    change = law.only(e.LevelChanged)
    assert (change.before, change.level, change.percentage, change.dimension) == ("yellow", "orange", 0.75, "tokens")
    assert (answer.action, answer.remaining) == ("throttle", tokens(25))


def test_one_warning_per_crossing() -> None:
    law = Law(fleet(1_000), allocate("ann", 100), use("ann", 50))
    law.given(use("ann", 1))
    law.then_events(e.UsageReported)


def test_the_fullest_dimension_decides() -> None:
    law = Law(fleet(1_000, "10"), allocate("ann", 100, "1"))
    answer = law.when(use("ann", 10, "0.6"))
    assert (answer.percentage, answer.status) == (0.6, "yellow")
    assert law.only(e.LevelChanged).dimension == "cost_usd"


def test_an_allocation_of_zero_counts_as_full_from_the_first_unit() -> None:
    law = Law(fleet(1_000), allocate("ann", 0))
    assert law.check("ann").status == "green"
    answer = law.when(use("ann", 1))
    assert (answer.percentage, answer.status) == (1.0, "black")


def test_a_borrow_brings_red_back_to_orange() -> None:
    law = Law(fleet(1_000), allocate("ann", 100), use("ann", 90))
    law.given(c.BorrowFromPool(agent="ann", amount=budget(20)))
    law.then_events(e.BudgetDrawn, e.LevelChanged)
    assert (law.only(e.LevelChanged).before, law.only(e.LevelChanged).level) == ("red", "orange")


def test_a_return_may_raise_the_level() -> None:
    law = Law(fleet(1_000), allocate("ann", 200), use("ann", 90))
    law.given(c.ReturnToPool(agent="ann", amount=budget(80)))
    assert law.check("ann").status == "orange"


def test_what_is_handed_on_to_children_is_not_the_parents_own() -> None:
    law = Law(fleet(1_000), allocate("ann", 200), use("ann", 60))
    law.given(allocate("ann/1", 100, parent="ann"))
    law.then_events(e.BudgetAllocated, e.LevelChanged)
    assert (law.check("ann").percentage, law.check("ann").status) == (0.6, "yellow")
    law.given(use("ann/1", 20), c.ReleaseBudget(agent="ann/1"))
    assert (law.check("ann").percentage, law.check("ann").status) == (0.4, "green")


def test_a_child_lives_on_what_it_was_granted_though_its_parent_is_black() -> None:
    law = Law(fleet(1_000), allocate("ann", 200), use("ann", 50), allocate("ann/1", 150, parent="ann"))
    assert law.check("ann").action == "stop"
    assert law.check("ann/1").action == "continue"
    law.given(hold("ann/1", "h", 150))


def test_a_child_that_spends_its_parents_money_stops_with_it() -> None:
    law = Law(fleet(1_000, "10"), allocate("ann", 200, "1"), allocate("ann/1", 100, parent="ann"))
    law.given(use("ann/1", 1, "1"))
    assert law.check("ann").status == "black"
    answer = law.check("ann/1")
    assert (answer.status, answer.action, answer.decided_by) == ("green", "stop", "ancestor_stop")


def test_black_alerts_and_gives_back_what_is_unused_in_other_dimensions() -> None:
    law = Law(fleet(1_000, "10"), allocate("ann", 100, "4"))
    law.given(use("ann", 100, "1"))
    law.then_events(e.UsageReported, e.LevelChanged, e.AlertRaised, e.UnusedReturned)
    assert law.only(e.AlertRaised).code == "budget_exhausted"
    assert law.pool == (900, None, 9_000_000_000)
    assert law.status("ann").allocated.cost_usd == "1.00"
    assert law.check("ann").percentage == 1.0


def test_black_gives_back_once() -> None:
    law = Law(fleet(1_000, "10"), allocate("ann", 100, "4"), use("ann", 100, "1"))
    law.given(use("ann", 5))
    assert law.every(e.UnusedReturned) == []


def test_the_top_up_that_ends_black_restores_what_it_gave_back() -> None:
    law = Law(fleet(1_000, "10"), allocate("ann", 100, "4"), use("ann", 100, "1"))
    law.given(c.BorrowFromPool(agent="ann", amount=budget(300)))
    law.then_events(e.BudgetDrawn, e.LevelChanged, e.UnusedRestored)
    status = law.status("ann")
    assert (status.allocated.tokens, status.allocated.cost_usd, status.remaining.cost_usd) == (400, "4.00", "3.00")
    assert (status.status, law.pool[2]) == ("green", 6_000_000_000)


def test_what_black_gave_back_is_restored_as_far_as_it_is_free() -> None:
    law = Law(fleet(1_000, "10"), allocate("ann", 100, "4"), use("ann", 100, "1"), allocate("bob", None, "8"))
    law.given(c.BorrowFromPool(agent="ann", amount=budget(300)))
    status = law.status("ann")
    # 1 of 2 dollars is used: what could not be restored is the agent's no more.
    assert (status.allocated.cost_usd, status.percentage, status.status) == ("2.00", 0.5, "yellow")


def test_what_was_used_of_it_while_black_is_repaid_when_it_is_restored() -> None:
    law = Law(fleet(1_000, "10"), allocate("ann", 100, "4"), use("ann", 100, "1"), use("ann", None, "2"))
    law.given(c.BorrowFromPool(agent="ann", amount=budget(300)))
    status = law.status("ann")
    assert (status.allocated.cost_usd, status.remaining.cost_usd, status.overrun.cost_usd) == ("4.00", "1.00", "0.00")
    assert law.pool[2] == 6_000_000_000


def test_black_is_restored_where_the_fleet_does_not_limit_the_dimension() -> None:
    law = Law(fleet(1_000), allocate("ann", 100, "4"), use("ann", 100, "1"))
    law.given(c.BorrowFromPool(agent="ann", amount=budget(300)))
    assert law.status("ann").allocated.cost_usd == "4.00"


def test_a_raised_threshold_ends_black() -> None:
    law = Law(fleet(1_000, "10"), allocate("ann", 100, "4"), use("ann", 100, "1"))
    law.given(fleet(1_000, "10", enforcement={"stop_at": "1.5"}))
    assert law.check("ann").status == "red"
    assert law.status("ann").allocated.cost_usd == "4.00"


def test_a_lower_black_gives_back_other_dimensions_only() -> None:
    law = Law(fleet(1_000, "10", enforcement={"stop_at": "0.95"}), allocate("ann", 100, "4"), use("ann", 96, "1"))
    assert law.only(e.UnusedReturned).amount.triple == (None, None, 3_000_000_000)
    assert law.status("ann").allocated.tokens == 100


def test_a_reported_stop_is_still_recorded() -> None:
    law = Law(fleet(1_000), allocate("ann", 100), use("ann", 100))
    answer = law.when(use("ann", 7))
    assert (answer.action, answer.percentage) == ("stop", 1.07)
    assert law.status("ann").overrun == tokens(7)
