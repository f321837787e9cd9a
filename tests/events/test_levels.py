"""An agent's own level: exact thresholds, transitions in both directions, and what black does."""

import pytest

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tests.support.core import Core, allocate, budget, fleet, hold, tokens, use


@pytest.mark.parametrize(
    ("used", "level", "action", "rate"),
    [
        (1, "green", "continue", 1.0),
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
    core = Core(fleet(10_000_000), allocate("ann", 1_000_000))
    answer = core.when(use("ann", used))
    assert (answer.status, answer.action, answer.throttle_rate, answer.decided_by) == (level, action, rate, "level")
    assert answer.percentage == used / 1_000_000
    assert len(core.every(e.LevelChanged)) == (level != "green")


def test_levels_are_decided_before_rounding() -> None:
    total = 9_000_000_000_000_000_001
    core = Core(fleet(2**63 - 1), allocate("ann", total))
    answer = core.when(use("ann", 4_500_000_000_000_000_000))
    assert (answer.percentage, answer.status) == (0.5, "green")
    assert core.when(use("ann", 1)).status == "yellow"


def test_the_line_and_the_level_are_one_step_and_the_reply_carries_the_action() -> None:
    core = Core(fleet(1_000), allocate("ann", 100), use("ann", 70))
    answer = core.when(use("ann", 5))
    core.then_events(e.UsageReported, e.LevelChanged)
    change = core.only(e.LevelChanged)
    assert (change.before, change.level, change.percentage, change.dimension) == ("yellow", "orange", 0.75, "tokens")
    assert (answer.action, answer.remaining) == ("throttle", tokens(25))


def test_one_warning_per_crossing() -> None:
    core = Core(fleet(1_000), allocate("ann", 100), use("ann", 50))
    core.given(use("ann", 1))
    core.then_events(e.UsageReported)


def test_the_fullest_dimension_decides() -> None:
    core = Core(fleet(1_000, "10"), allocate("ann", 100, "1"))
    answer = core.when(use("ann", 10, "0.6"))
    assert (answer.percentage, answer.status) == (0.6, "yellow")
    assert core.only(e.LevelChanged).dimension == "cost_usd"


def test_an_allocation_of_zero_counts_as_full_from_the_first_unit() -> None:
    core = Core(fleet(1_000), allocate("ann", 0))
    assert core.check("ann").status == "green"
    answer = core.when(use("ann", 1))
    assert (answer.percentage, answer.status) == (1.0, "black")


def test_a_borrow_brings_red_back_to_orange() -> None:
    core = Core(fleet(1_000), allocate("ann", 100), use("ann", 90))
    core.given(c.BorrowFromPool(agent="ann", amount=budget(20)))
    core.then_events(e.BudgetDrawn, e.LevelChanged)
    assert (core.only(e.LevelChanged).before, core.only(e.LevelChanged).level) == ("red", "orange")


def test_a_return_may_raise_the_level() -> None:
    core = Core(fleet(1_000), allocate("ann", 200), use("ann", 90))
    core.given(c.ReturnToPool(agent="ann", amount=budget(80)))
    assert core.check("ann").status == "orange"


def test_what_is_handed_on_to_children_is_not_the_parents_own() -> None:
    core = Core(fleet(1_000), allocate("ann", 200), use("ann", 60))
    core.given(allocate("ann/1", 100, parent="ann"))
    core.then_events(e.BudgetAllocated, e.LevelChanged)
    assert (core.check("ann").percentage, core.check("ann").status) == (0.6, "yellow")
    core.given(use("ann/1", 20), c.ReleaseBudget(agent="ann/1"))
    assert (core.check("ann").percentage, core.check("ann").status) == (0.4, "green")


def test_a_child_lives_on_what_it_was_granted_though_its_parent_is_black() -> None:
    core = Core(fleet(1_000), allocate("ann", 200), use("ann", 50), allocate("ann/1", 150, parent="ann"))
    assert core.check("ann").action == "stop"
    assert core.check("ann/1").action == "continue"
    core.given(hold("ann/1", "h", 150))


def test_a_child_that_spends_its_parents_money_stops_with_it() -> None:
    core = Core(fleet(1_000, "10"), allocate("ann", 200, "1"), allocate("ann/1", 100, parent="ann"))
    core.given(use("ann/1", 1, "1"))
    assert core.check("ann").status == "black"
    answer = core.check("ann/1")
    assert (answer.status, answer.action, answer.decided_by) == ("green", "stop", "ancestor_stop")


def test_black_alerts_and_gives_back_what_is_unused_in_other_dimensions() -> None:
    core = Core(fleet(1_000, "10"), allocate("ann", 100, "4"))
    core.given(use("ann", 100, "1"))
    core.then_events(e.UsageReported, e.LevelChanged, e.AlertRaised, e.UnusedReturned)
    assert core.only(e.AlertRaised).code == "budget_exhausted"
    assert core.pool == (900, None, 9_000_000_000)
    assert core.status("ann").allocated.cost_usd == "1.00"
    assert core.check("ann").percentage == 1.0


def test_black_gives_back_once() -> None:
    core = Core(fleet(1_000, "10"), allocate("ann", 100, "4"), use("ann", 100, "1"))
    core.given(use("ann", 5))
    assert core.every(e.UnusedReturned) == []


def test_the_top_up_that_ends_black_restores_what_it_gave_back() -> None:
    core = Core(fleet(1_000, "10"), allocate("ann", 100, "4"), use("ann", 100, "1"))
    core.given(c.BorrowFromPool(agent="ann", amount=budget(300)))
    core.then_events(e.BudgetDrawn, e.LevelChanged, e.UnusedRestored)
    status = core.status("ann")
    assert (status.allocated.tokens, status.allocated.cost_usd, status.remaining.cost_usd) == (400, "4.00", "3.00")
    assert (status.status, core.pool[2]) == ("green", 6_000_000_000)


def test_what_black_gave_back_is_restored_as_far_as_it_is_free() -> None:
    core = Core(fleet(1_000, "10"), allocate("ann", 100, "4"), use("ann", 100, "1"), allocate("bob", None, "8"))
    core.given(c.BorrowFromPool(agent="ann", amount=budget(300)))
    status = core.status("ann")
    # 1 of 2 dollars is used: what could not be restored is the agent's no more.
    assert (status.allocated.cost_usd, status.percentage, status.status) == ("2.00", 0.5, "yellow")


def test_what_was_used_of_it_while_black_is_repaid_when_it_is_restored() -> None:
    core = Core(fleet(1_000, "10"), allocate("ann", 100, "4"), use("ann", 100, "1"), use("ann", None, "2"))
    core.given(c.BorrowFromPool(agent="ann", amount=budget(300)))
    status = core.status("ann")
    assert (status.allocated.cost_usd, status.remaining.cost_usd, status.overrun.cost_usd) == ("4.00", "1.00", "0.00")
    assert core.pool[2] == 6_000_000_000


def test_black_is_restored_where_the_fleet_does_not_limit_the_dimension() -> None:
    core = Core(fleet(1_000), allocate("ann", 100, "4"), use("ann", 100, "1"))
    core.given(c.BorrowFromPool(agent="ann", amount=budget(300)))
    assert core.status("ann").allocated.cost_usd == "4.00"


def test_a_raised_threshold_ends_black() -> None:
    core = Core(fleet(1_000, "10"), allocate("ann", 100, "4"), use("ann", 100, "1"))
    core.given(fleet(1_000, "10", enforcement={"stop_at": "1.5"}))
    assert core.check("ann").status == "red"
    assert core.status("ann").allocated.cost_usd == "4.00"


def test_a_lower_black_gives_back_other_dimensions_only() -> None:
    core = Core(fleet(1_000, "10", enforcement={"stop_at": "0.95"}), allocate("ann", 100, "4"), use("ann", 96, "1"))
    assert core.only(e.UnusedReturned).amount.triple == (None, None, 3_000_000_000)
    assert core.status("ann").allocated.tokens == 100


def test_a_reported_stop_is_still_recorded() -> None:
    core = Core(fleet(1_000), allocate("ann", 100), use("ann", 100))
    answer = core.when(use("ann", 7))
    assert (answer.action, answer.percentage) == ("stop", 1.07)
    assert core.status("ann").overrun == tokens(7)
