"""The quality metrics by hand."""

from decimal import Decimal

from tallystick.events import messages as c
from tallystick.projections.reports.utilization import Measure
from tests.support.core import Core, allocate, fleet, use
from tests.support.view_logs import status_of


def test_utilization_is_what_was_used_of_what_was_allocated() -> None:
    core = Core(fleet(10_000, "10")).given(allocate("ann", 1_000, "2"), allocate("bob", 3_000))
    core.given(use("ann", 500, "0.5"), use("bob", 900))
    # Only the fleet limits Bob's cost: it is no utilization of his.
    assert status_of(core).quality.utilization == Measure(0.35, None, 0.25)


def test_a_closed_account_counts_with_what_it_was_allocated_before_its_release() -> None:
    core = Core(fleet(10_000)).given(allocate("ann", 1_000), use("ann", 250), c.ReleaseBudget(agent="ann"))
    assert status_of(core).quality.utilization.tokens == 0.25
    core.given(allocate("bob", 1_000), use("bob", 750))
    assert status_of(core).quality.utilization.tokens == 0.5


def test_what_is_handed_on_to_sub_agents_is_counted_once_open_and_closed() -> None:
    core = Core(fleet(10_000)).given(allocate("ann", 1_000), allocate("ann/1", 400, parent="ann"))
    core.given(use("ann", 100), use("ann/1", 200))
    assert status_of(core).quality.utilization.tokens == 0.3
    core.given(c.ReleaseBudget(agent="ann/1"))
    # The sub-agent had 400 and used 200; the parent has the 800 that are left and used 100.
    assert status_of(core).quality.utilization.tokens == 0.25


def test_equal_allocations_of_equal_priorities_are_perfectly_fair() -> None:
    core = Core(fleet(10_000)).given(allocate("ann", 1_000), allocate("bob", 1_000))
    quality = status_of(core).quality
    assert (quality.fairness.tokens, quality.jain.tokens) == (1.0, 1.0)


def test_allocations_in_proportion_to_their_weights_are_perfectly_fair() -> None:
    core = Core(fleet(10_000)).given(allocate("ann", 1_000, priority="critical"), allocate("bob", 250, priority="low"))
    quality = status_of(core).quality
    assert (quality.fairness.tokens, quality.jain.tokens) == (1.0, 1.0)


def test_uneven_allocations_are_less_fair_by_variance_over_mean() -> None:
    # Equal weights: each is entitled to 1,000, so x = 0.5 and 1.5, mean 1, variance 0.25.
    core = Core(fleet(10_000)).given(allocate("ann", 500), allocate("bob", 1_500))
    quality = status_of(core).quality
    assert (quality.fairness.tokens, quality.jain.tokens) == (0.75, 0.8)


def test_fairness_does_not_depend_on_the_scale_and_leaves_sub_agents_to_their_parents() -> None:
    core = Core(fleet(10_000_000)).given(allocate("ann", 500_000), allocate("bob", 1_500_000))
    core.given(allocate("ann/1", 1_000, parent="ann"))
    assert status_of(core).quality.fairness.tokens == 0.75


def test_a_priority_of_no_weight_is_entitled_to_nothing_and_left_out() -> None:
    weights = {"critical": 1, "high": Decimal("0.75"), "normal": Decimal("0.5"), "low": 0}
    core = Core(fleet(10_000, allocation_weights=weights))
    core.given(allocate("ann", 500), allocate("bob", 500), allocate("cyd", 100, priority="low"))
    assert status_of(core).quality.fairness.tokens == 1.0


def test_metrics_without_anything_to_measure_are_null() -> None:
    quality = status_of(Core(fleet(10_000))).quality
    nothing = Measure(None, None, None)
    assert (quality.utilization, quality.fairness, quality.jain) == (nothing, nothing, nothing)
    quality = status_of(Core(fleet(10_000)).given(allocate("ann", 0))).quality
    assert (quality.utilization, quality.fairness, quality.jain) == (nothing, nothing, nothing)
