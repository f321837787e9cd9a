"""One answer to "may I go on?": what would refuse the next hold is named wherever an agent is answered, and a hold that
is only tried is decided as the hold would be.
"""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from tallystick.config.amounts import DIMENSIONS, EDGE_NAMES, Amounts, Budget
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.messages.replies import Held, Refusal
from tests.support.core import Core, allocate, budget, dump, fleet, hold, tokens, use
from tests.support.strategies import Step, commands

PROFILE = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), print_blob=False
)
_ONE_UNIT = (Budget(tokens=1), Budget(time_seconds=Decimal("0.001")), Budget(cost_usd=Decimal("0.000000001")))


def named(answer: Any) -> list[tuple[str, str]]:
    """The codes of the obstacles and who decides them."""
    return [(obstacle.code, obstacle.decided_by) for obstacle in answer.obstacles or ()]


def everywhere(core: Core, agent: str) -> list[tuple[str, str]]:
    """What check, status, page and report name alike."""
    checked = named(core.check(agent))
    assert named(core.status(agent)) == checked
    page = core.when(c.GetGlobalStatus())
    assert [named(one) for one in page.agent_statuses if one.agent == agent] == [checked]
    assert named(core.when(c.Heartbeat(agent=agent))) == checked
    assert named(core.when(use(agent, 0))) == checked
    return checked


# --- what is in the way -----------------------------------------------------------------------------------------------


def test_where_nothing_is_in_the_way_a_query_says_so_and_a_report_leaves_it_out() -> None:
    core = Core(fleet(1_000), allocate("ann", 100))
    assert core.check("ann").obstacles == []
    assert core.status("ann").obstacles == []
    assert core.when(use("ann", 1)).obstacles is None


def test_a_budget_of_zero_is_a_stop_before_anything_was_used_of_it() -> None:
    core = Core(fleet(1_000), c.AllocateEqual(agents=["ann", "bob"], total=budget(1)))
    answer = core.check("bob")
    assert (answer.action, answer.decided_by, answer.throttle_rate) == ("stop", "zero_budget", 0.0)
    assert named(answer) == [("budget_exhausted", "zero_budget")]
    assert everywhere(core, "bob") == named(answer)
    core.when(hold("bob", "h", 1))
    core.then_refused("budget_exhausted", decided_by="zero_budget", available=tokens(0))
    core.given(c.BorrowFromPool(agent="bob", amount=budget(5)))
    assert core.check("bob").action == "continue"


def test_zero_in_one_dimension_is_named_and_refuses_holds_in_that_dimension_only() -> None:
    core = Core(fleet(1_000, "10"), allocate("ann", 0, "1"))
    answer = core.check("ann")
    assert (answer.action, named(answer)) == ("continue", [("budget_exhausted", "room")])
    assert answer.obstacles[0].dimension == "tokens"
    core.when(hold("ann", "h", 1))
    core.then_refused("budget_exhausted")
    core.given(hold("ann", "i", None, "1"))


def test_an_account_that_handed_on_all_it_had_learns_that_nothing_is_free() -> None:
    core = Core(fleet(1_000), allocate("ann", 100), allocate("ann/1", 100, parent="ann"))
    assert everywhere(core, "ann") == [("budget_exhausted", "room")]


def test_the_account_that_pays_is_named() -> None:
    core = Core(fleet(100, "10"), allocate("ann", None, "1"), allocate("bob", 100))
    (obstacle,) = core.check("ann").obstacles
    assert obstacle.detail == "tokens: 0 is free in the pool, which pays"


def test_a_reached_daily_limit_is_named_although_every_level_is_green() -> None:
    core = Core(fleet(1_000_000, daily_limits={"max_tokens_total": 100}), allocate("ann", 10_000), use("ann", 60))
    assert core.check("ann").obstacles == []
    core.given(hold("ann", "h", 40))
    (obstacle,) = core.check("ann").obstacles
    assert (obstacle.code, obstacle.decided_by) == ("daily_limit_reached", "limit:daily")
    assert (obstacle.limit, obstacle.used, obstacle.held, obstacle.retry_after_seconds) == (100, 60, 40, 43_200)
    assert core.check("ann").action == "continue"
    assert everywhere(core, "ann") == [("daily_limit_reached", "limit:daily")]


def test_the_daily_budget_of_a_product_is_named() -> None:
    core = Core(
        fleet(1_000_000, products={"shop": {"token_budget_daily": 50}}),
        allocate("ann", 10_000, product="shop"),
        allocate("bob", 10_000),
        use("ann", 50),
    )
    assert everywhere(core, "ann") == [("daily_limit_reached", "limit:product-daily:shop")]
    assert everywhere(core, "bob") == []


def test_all_that_refuses_is_named_not_the_first_thing_alone() -> None:
    core = Core(
        fleet(1_000, daily_limits={"max_tokens_total": 90}),
        allocate("ann", 90),
        allocate("ann/1", None, "0.00", parent="ann", seconds=10),
        use("ann", 90),
        c.PauseAll(reason="audit"),
        c.Stop(agent="ann", reason="loops"),
    )
    assert [code for code, _ in everywhere(core, "ann/1")] == [
        "agent_stopped", "paused", "budget_exhausted", "budget_exhausted", "daily_limit_reached",
    ]  # fmt: skip
    core.when(hold("ann/1", "h", 1))
    core.then_refused("agent_stopped")


@pytest.mark.parametrize(
    ("commands", "causes"),
    [
        ([use("ann", 90)], ["level"]),
        ([use("ann", 45), allocate("ann/1", 45, parent="ann")], ["level"]),
        ([allocate("ann/1", cost="1", parent="ann"), use("ann/1", 90)], ["level"]),
        ([use("ann", 90), allocate("bob", cost="10")], ["level"]),
        ([allocate("bob", 910)], []),
        ([use("ann", 90), use("bob", 910)], ["level", "fleet_response"]),
    ],
)
def test_one_cause_is_named_once(commands: list[Any], causes: list[str]) -> None:
    core = Core(fleet(1_000, "10"), allocate("ann", 90, "9"))
    for command in commands:
        core.when(command)
    assert [by for _, by in everywhere(core, "ann")] == causes


def test_two_dimensions_that_are_short_for_different_causes_are_both_named() -> None:
    core = Core(fleet(1_000, "10"), allocate("ann", 90, "9"), allocate("ann/1", None, "9", parent="ann"))
    core.given(use("ann", 90))
    causes = [(one.decided_by, one.dimension) for one in core.check("ann").obstacles]
    assert causes == [("level", None), ("room", "cost_usd")]


def test_an_account_above_that_is_used_up_is_named_once_and_so_is_the_pool() -> None:
    core = Core(fleet(1_000, "10"), allocate("ann", 90), allocate("ann/1", None, "1", parent="ann"), use("ann", 90))
    assert everywhere(core, "ann/1") == [("budget_exhausted", "ancestor_stop")]
    core.given(allocate("bob", None, "1"), use("bob", 910))
    assert everywhere(core, "bob") == [("budget_exhausted", "fleet_response")]


def test_a_paused_product_and_a_wait_are_named() -> None:
    core = Core(
        fleet(1_000),
        allocate("ann", 100, product="shop"),
        allocate("ann/1", 10, parent="ann"),
        allocate("bob", 100),
        c.ReportUsage(agent="bob", usage=budget(80, 5)),
        fleet(1_000, products={"shop": {"paused": True}}),
    )
    assert everywhere(core, "ann/1") == [("paused", "product_pause")]
    assert everywhere(core, "ann") == [("paused", "product_pause")]
    (obstacle,) = core.check("bob").obstacles
    assert (obstacle.code, obstacle.retry_after_seconds) == ("throttled", 5.0)


def test_an_open_breaker_is_named_as_what_refuses_new_work_and_lets_holds_be() -> None:
    core = Core(
        fleet(1_000, circuit_breaker={"trip_conditions": ["tokens_daily > 10"]}),
        allocate("ann", 100),
        use("ann", 11),
    )
    (obstacle,) = core.check("ann").obstacles
    assert (obstacle.code, obstacle.refuses) == ("breaker_open", "new_work")
    core.given(hold("ann", "h", 1))
    core.when(allocate("bob", 1))
    core.then_refused("breaker_open")


def test_an_agent_without_an_account_learns_that_it_can_hold_nothing() -> None:
    core = Core(fleet(1_000), allocate("old", 10), c.ReleaseBudget(agent="old"))
    assert named(core.when(use("eve", 1))) == [("unknown_agent", "account")]
    assert named(core.when(use("old", 1))) == [("already_released", "account")]


@pytest.mark.parametrize("cause", ["parent", "fleet"])
def test_what_is_available_under_a_stop_is_the_accounts_own_and_nothing(cause: str) -> None:
    core = Core(fleet(100), allocate("ann", 50), allocate("ann/1", None, "1", parent="ann"), allocate("bob", 50))
    core.given(use("ann", 50), *([use("bob", 50)] if cause == "fleet" else []))
    core.when(hold("ann/1", "h", 1))
    refusal = core.then_refused("budget_exhausted")
    assert (refusal.numbers["available"].tokens, refusal.numbers["available"].cost_usd) == (None, "0.00")
    assert refusal.detail == "the budget of ann, which pays, is used up"


# --- a hold that is only tried ----------------------------------------------------------------------------------------


def test_a_hold_that_is_only_tried_sets_nothing_aside_and_its_id_is_free() -> None:
    core = Core(fleet(1_000), allocate("ann", 100))
    tried = core.when(hold("ann", "h", 60, dry_run=True))
    assert (tried.amount, tried.available, tried.dry_run) == (tokens(60), tokens(40), True)
    assert core.own == []
    assert (core.account("ann").held, core.ledger.holds) == ((0, 0, 0), {})
    assert "h" not in core.ledger.ids
    assert without_flag(tried) == core.when(hold("ann", "h", 60))


def test_a_refused_try_leaves_no_record() -> None:
    core = Core(fleet(1_000), allocate("ann", 100))
    core.when(hold("ann", "h", 101, dry_run=True))
    core.then_refused("budget_exhausted", available=tokens(100))
    assert core.own == []
    assert "h" not in core.ledger.ids


def without_flag(answer: Any) -> Any:
    return msgspec.structs.replace(answer, dry_run=False) if isinstance(answer, Held) else answer


@PROFILE
@given(commands())
def test_whatever_happened_before_a_try_is_answered_as_the_hold_then_is(steps: list[Step]) -> None:
    core = Core(compares=False)
    for command, seconds in steps:
        core.wait(seconds)
        if isinstance(command, c.Reserve):
            core.pass_time()
            before = dump(core.ledger)
            tried = core.when(msgspec.structs.replace(command, dry_run=True))
            assert core.decided.events == []
            assert dump(core.ledger) == before
            assert without_flag(tried) == core.when(command)
        else:
            core.when(command)


@PROFILE
@given(commands())
def test_the_obstacles_are_what_refuses_the_smallest_hold_in_each_dimension(steps: list[Step]) -> None:
    core = Core(compares=False)
    for command, seconds in steps:
        core.wait(seconds)
        core.when(command)
    for agent in [*core.ledger.accounts]:
        obstacles = core.check(agent).obstacles
        for d in DIMENSIONS:
            tried = core.when(c.Reserve(agent=agent, estimate=_ONE_UNIT[d], dry_run=True))
            refusing = [one for one in obstacles if _refuses(one, EDGE_NAMES[d])]
            assert isinstance(tried, Refusal) == bool(refusing), (agent, d, tried, obstacles)
            if isinstance(tried, Refusal):
                assert tried.code == refusing[0].code


def _refuses(obstacle: Any, dimension: str) -> bool:
    if obstacle.refuses != "holds":
        return False
    if obstacle.code == "daily_limit_reached" and Decimal(obstacle.used) >= Decimal(obstacle.limit):
        return True
    return obstacle.dimension in (None, dimension)


# --- nothing but zeros ------------------------------------------------------------------------------------------------

_ZEROS = (budget(0), budget(None, 0), budget(None, None, 0), budget(0, 0, 0))


@pytest.mark.parametrize("zeros", _ZEROS, ids=str)
@pytest.mark.parametrize(
    "ask",
    [
        lambda amount: c.AllocateEqual(agents=["eve"], total=amount),
        lambda amount: c.AllocateProportional(weights={"eve": Decimal(1)}, total=amount),
        lambda amount: c.AllocateByPriority(agents={"eve": "high"}, total=amount),
        lambda amount: c.AllocateFromPool(agent="eve", request=amount),
        lambda amount: c.AllocateFromPool(agent="ann", request=amount),
        lambda amount: c.BorrowFromPool(agent="ann", amount=amount),
        lambda amount: c.ReturnToPool(agent="ann", amount=amount),
        lambda amount: c.Reserve(agent="ann", estimate=amount),
        lambda amount: c.Reserve(agent="ann", estimate=amount, dry_run=True),
    ],
)
def test_an_amount_of_nothing_but_zeros_is_refused_like_an_empty_one(ask: Any, zeros: Budget) -> None:
    core = Core(fleet(1_000, "10", 100), allocate("ann", 100, "1", seconds=10))
    core.when(ask(zeros))
    of_zeros = core.then_refused("invalid_amount").numbers["field"]
    assert core.own == []
    core.when(ask(Budget()))
    assert core.then_refused("invalid_amount").numbers["field"] == of_zeros


def test_tokens_of_a_hold_that_add_up_to_zero_are_refused_too() -> None:
    core = Core(fleet(1_000), allocate("ann", 100))
    core.when(c.Reserve(agent="ann", input_tokens=0, output_tokens=0))
    core.then_refused("invalid_amount", field="estimate")


def test_a_limit_of_zero_means_zero_an_allocation_a_share_a_total() -> None:
    core = Core(fleet(1_000, "10"), allocate("ann", 0, "1"), allocate("zero", 0))
    core.given(c.AllocateEqual(agents=["b", "c"], total=budget(1)))
    assert core.account("ann").allocated == (0, None, 10**9)
    assert core.account("c").allocated == core.account("zero").allocated == (0, None, None)
    assert core.check("zero").action == "stop"
    core.given(c.ReleaseBudget(agent="ann"), c.SetTotalBudget(budget=c.BudgetChange(cost_usd=Decimal(0))))
    assert core.ledger.total[2] == 0


def test_usage_of_zeros_is_a_fact() -> None:
    core = Core(fleet(1_000), allocate("ann", 100), hold("ann", "h", 10))
    core.given(use("ann", 0), c.Settle(hold="h", usage=budget(0)))
    assert core.only(e.HoldSettled).tokens == 0
    assert core.free("ann")[0] == 100
    assert Amounts(0).triple == (0, None, None)
