from decimal import Decimal

import pytest

from tallystick.config.amounts import split_exactly
from tallystick.config.kinds import Priority
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tests.support.core import Core, allocate, budget, fleet, hold, tokens, use

SUB_AGENTS = 101


def shares(core: Core) -> list[int | None]:
    return [share.allocated.tokens for share in core.decided.answer.allocations]  # type: ignore[union-attr]


def test_a_budget_comes_out_of_the_pool_whole() -> None:
    core = Core(fleet(1_000))
    answer = core.when(allocate("ann", 400, agent_type="writer", product="shop", workflow="w", priority="high"))
    core.then_events(e.BudgetAllocated)
    assert (answer.allocated, answer.remaining, answer.pool_available) == (tokens(400), tokens(400), tokens(600))
    status = core.status("ann")
    assert (status.agent_type, status.product, status.workflow, status.priority) == ("writer", "shop", "w", "high")
    assert status.parent is None


def test_more_than_is_free_is_refused_whole_and_says_what_is_free() -> None:
    core = Core(fleet(1_000, "5"), allocate("ann", 700, "1"))
    core.when(allocate("bob", 301, "1"))
    refusal = core.then_refused("pool_exhausted")
    assert refusal.numbers["available"].tokens == 300
    assert refusal.numbers["available"].cost_usd == "4.00"
    assert "bob" not in core.ledger.accounts


def test_the_tenth_that_is_in_reserve_is_not_in_the_pool() -> None:
    core = Core(fleet(1_000, emergency_reserve_percent=10))
    assert (core.pool[0], core.in_reserve[0]) == (900, 100)
    core.when(allocate("ann", 901, priority="critical"))
    core.then_refused("pool_exhausted")
    core.given(allocate("ann", 900))


def test_an_open_agent_is_not_allocated_again() -> None:
    core = Core(fleet(1_000), allocate("ann", 100))
    core.when(allocate("ann", 100))
    core.then_refused("already_allocated", agent="ann")


def test_a_released_id_that_is_allocated_again_starts_at_zero() -> None:
    core = Core(fleet(1_000), allocate("ann", 100), use("ann", 60), c.ReleaseBudget(agent="ann"), allocate("ann", 50))
    status = core.status("ann")
    assert (status.allocated.tokens, status.consumed.tokens, status.percentage) == (50, 0, 0.0)
    assert core.pool[0] == 1_000 - 60 - 50


def test_a_parent_that_is_not_open_is_unknown() -> None:
    core = Core(fleet(1_000))
    core.when(allocate("ann/1", 10, parent="ann"))
    core.then_refused("unknown_parent", parent="ann")


def test_a_sub_agent_is_carved_out_of_its_parent_and_not_out_of_the_pool() -> None:
    core = Core(fleet(1_000), allocate("ann", 400))
    core.given(allocate("ann/1", 300, parent="ann"))
    assert core.pool[0] == 600
    status = core.status("ann")
    assert (status.allocated.tokens, status.delegated.tokens, status.remaining.tokens) == (400, 300, 100)
    core.when(allocate("ann/2", 101, parent="ann"))
    assert core.then_refused("pool_exhausted").numbers["available"].tokens == 100


def test_101_sub_agents_are_never_granted_more_than_their_parent_was() -> None:
    core = Core(fleet(100_000), allocate("ann", 1_000))
    for number in range(SUB_AGENTS):
        core.when(allocate(f"ann/{number}", 10, parent="ann"))
    core.then_refused("pool_exhausted")
    assert core.account("ann").delegated[0] == 1_000
    assert core.pool[0] == 99_000
    assert len(core.ledger.accounts) == 101


def test_what_a_sub_agent_leaves_returns_to_its_parent() -> None:
    core = Core(fleet(1_000), allocate("ann", 400), allocate("ann/1", 300, parent="ann"), use("ann/1", 50))
    core.given(c.ReleaseBudget(agent="ann/1"))
    status = core.status("ann")
    assert (status.delegated.tokens, status.consumed.tokens, status.remaining.tokens) == (0, 50, 350)
    assert core.pool[0] == 600


def test_a_stopped_parent_opens_no_sub_agents() -> None:
    core = Core(fleet(1_000), allocate("ann", 400), c.Stop(agent="ann", reason="enough"))
    core.when(allocate("ann/1", 10, parent="ann"))
    core.then_refused("agent_stopped", parent="ann")


def test_an_equal_split_loses_no_token_and_the_first_get_the_rest() -> None:
    core = Core(fleet(1_000))
    core.when(c.AllocateEqual(agents=["ann", "bob", "cyd"], total=budget(101, None, "0.000000002")))
    assert shares(core) == [34, 34, 33]
    assert [core.account(name).allocated[2] for name in ("ann", "bob", "cyd")] == [1, 1, 0]
    assert core.pool[0] == 899


def test_a_proportional_split_is_by_largest_remainder() -> None:
    core = Core(fleet(1_000))
    weights = {"ann": Decimal("0.5"), "bob": Decimal("0.3"), "cyd": Decimal("0.2"), "dee": Decimal(0)}
    core.when(c.AllocateProportional(weights=weights, total=budget(11)))
    # 5.5, 3.3, 2.2 and 0: the one unit left goes to the largest remainder.
    assert shares(core) == [6, 3, 2, 0]


def test_a_split_by_priority_uses_the_configured_weights() -> None:
    core = Core(fleet(1_000))
    agents: dict[str, Priority] = {"ann": "critical", "bob": "high", "cyd": "normal", "dee": "low"}
    core.when(c.AllocateByPriority(agents=agents, total=budget(250)))
    assert shares(core) == [100, 75, 50, 25]
    assert core.status("dee").priority == "low"


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [
        (10, [1, 1, 1], [4, 3, 3]),
        (0, [1, 2], [0, 0]),
        (1, [1, 1], [1, 0]),
        (100, [Decimal("0.1"), Decimal("0.2"), Decimal("0.7")], [10, 20, 70]),
        (2**63 - 1, [1, 1], [2**62, 2**62 - 1]),
    ],
)
def test_a_split_is_exact(total: int, weights: list[Decimal | int], parts: list[int]) -> None:
    assert split_exactly(total, weights) == parts


def test_of_a_split_all_are_opened_or_none() -> None:
    core = Core(fleet(1_000), allocate("bob", 10))
    core.when(c.AllocateEqual(agents=["ann", "bob"], total=budget(100)))
    core.then_refused("already_allocated", agent="bob")
    core.when(c.AllocateEqual(agents=["ann", "cyd"], total=budget(991)))
    core.then_refused("pool_exhausted")
    assert list(core.ledger.accounts) == ["bob"]


def test_a_split_names_no_agent_twice_and_at_least_one() -> None:
    core = Core(fleet(1_000))
    core.when(c.AllocateEqual(agents=["ann", "ann"], total=budget(10)))
    assert "ann is named twice" in core.then_refused("invalid_message").detail
    core.when(c.AllocateEqual(agents=[], total=budget(10)))
    assert "agents" in core.then_refused("invalid_message").detail
    core.when(c.AllocateEqual(agents=[f"a{i}" for i in range(1_001)], total=budget(10)))
    assert "1001" in core.then_refused("invalid_message").detail


def test_a_draw_on_the_pool_opens_an_allocation_or_adds_to_the_one_there_is() -> None:
    core = Core(fleet(1_000))
    core.given(c.AllocateFromPool(agent="ann", request=budget(100)))
    core.then_events(e.BudgetAllocated)
    core.given(c.AllocateFromPool(agent="ann", request=budget(50)))
    core.then_events(e.BudgetDrawn)
    status = core.status("ann")
    assert (status.allocated.tokens, status.borrowed.tokens) == (150, 0)
    assert core.account("ann").drawn == (150, 0, 0)


def test_what_is_borrowed_is_remembered_as_borrowed() -> None:
    core = Core(fleet(1_000), allocate("ann", 100))
    answer = core.when(c.BorrowFromPool(agent="ann", amount=budget(200)))
    assert (answer.allocated, answer.pool_available) == (tokens(300), tokens(700))
    assert core.status("ann").borrowed == tokens(200)


def test_no_agent_borrows_without_an_allocation() -> None:
    core = Core(fleet(1_000), allocate("bob", 1), c.ReleaseBudget(agent="bob"))
    core.when(c.BorrowFromPool(agent="ann", amount=budget(200)))
    core.then_refused("unknown_agent")
    core.when(c.BorrowFromPool(agent="bob", amount=budget(200)))
    core.then_refused("already_released")


def test_on_demand_an_agent_draws_at_most_half_of_total_less_reserve() -> None:
    core = Core(fleet(1_000, emergency_reserve_percent=10))
    core.given(c.AllocateFromPool(agent="ann", request=budget(400)), c.BorrowFromPool(agent="ann", amount=budget(50)))
    core.when(c.BorrowFromPool(agent="ann", amount=budget(1)))
    refusal = core.then_refused("pool_share_exceeded")
    assert (refusal.numbers["drawn"].tokens, refusal.numbers["allowed"].tokens) == (450, 450)
    core.when(c.AllocateFromPool(agent="bob", request=budget(451)))
    core.then_refused("pool_share_exceeded")


def test_an_explicit_allocation_is_exempt_from_the_pool_share() -> None:
    core = Core(fleet(1_000), allocate("ann", 900))
    core.given(c.BorrowFromPool(agent="ann", amount=budget(100)))
    assert core.status("ann").allocated == tokens(1_000)


def test_what_was_returned_may_be_drawn_again() -> None:
    core = Core(fleet(1_000), c.AllocateFromPool(agent="ann", request=budget(500)))
    core.given(c.ReturnToPool(agent="ann", amount=budget(200)), c.BorrowFromPool(agent="ann", amount=budget(200)))
    core.when(c.BorrowFromPool(agent="ann", amount=budget(1)))
    core.then_refused("pool_share_exceeded")


def test_a_sub_agent_draws_from_its_parent() -> None:
    core = Core(fleet(1_000), allocate("ann", 300), allocate("ann/1", 100, parent="ann"))
    answer = core.when(c.BorrowFromPool(agent="ann/1", amount=budget(150)))
    assert (answer.allocated, answer.pool_available) == (tokens(250), tokens(700))
    assert core.free("ann")[0] == 50
    core.when(c.AllocateFromPool(agent="ann/1", request=budget(51)))
    assert core.then_refused("pool_exhausted").numbers["available"].tokens == 50


def test_a_draw_in_a_dimension_that_the_allocation_does_not_limit_is_refused() -> None:
    core = Core(fleet(1_000, "5"), allocate("ann", 100))
    for command in (
        c.BorrowFromPool(agent="ann", amount=budget(1, None, "1")),
        c.ReturnToPool(agent="ann", amount=budget(None, None, "1")),
    ):
        core.when(command)
        core.then_refused("invalid_amount", field="amount.cost_usd")
    core.when(c.AllocateFromPool(agent="ann", request=budget(None, 5)))
    core.then_refused("invalid_amount", field="request.time_seconds")


def test_a_stopped_agent_draws_nothing_nor_does_one_below_it() -> None:
    core = Core(fleet(1_000), allocate("ann", 300), allocate("ann/1", 100, parent="ann"))
    core.given(c.Stop(agent="ann", reason="enough"))
    for agent in ("ann", "ann/1"):
        core.when(c.BorrowFromPool(agent=agent, amount=budget(10)))
        core.then_refused("agent_stopped", agent=agent)


def test_the_first_pool_exhausted_warns_every_open_agent_once() -> None:
    core = Core(fleet(1_000), allocate("ann", 100), allocate("bob", 100))
    core.when(allocate("cyd", 10_000))
    core.then_events(e.RequestRefused, e.PoolExhausted, e.AlertRaised)
    assert core.when(use("ann", 1)).warnings == ["pool_exhausted"]
    core.given(allocate("dee", 10))
    assert core.when(use("ann", 1)).warnings is None
    assert core.when(use("dee", 1)).warnings is None
    core.when(allocate("cyd", 10_000))
    core.then_events(e.RequestRefused)
    core.given(hold("bob", "h", 5))
    assert core.when(c.Settle(hold="h", usage=budget(5))).warnings == ["pool_exhausted"]
    assert core.when(use("bob", 1)).warnings is None


def test_a_new_total_lets_the_pool_be_exhausted_anew() -> None:
    core = Core(fleet(1_000), allocate("ann", 100))
    core.when(allocate("cyd", 10_000))
    core.given(c.SetTotalBudget(budget=c.BudgetChange(tokens=2_000)))
    core.when(allocate("cyd", 10_000))
    core.then_events(e.RequestRefused, e.PoolExhausted, e.AlertRaised)
    assert core.when(use("ann", 1)).warnings == ["pool_exhausted"]


def test_a_refusal_is_an_event_with_its_numbers_and_a_malformed_message_is_none() -> None:
    core = Core(fleet(1_000))
    core.when(allocate("ann", 5_000), by="olga", id="ask-1")
    event = core.only(e.RequestRefused)
    assert (event.request, event.code, event.agent, event.id, event.by) == (
        "AllocateBudget",
        "pool_exhausted",
        "ann",
        "ask-1",
        "olga",
    )
    assert event.numbers == {"requested": {"tokens": 5_000}, "available": {"tokens": 1_000}}
    core.when(allocate("ann", -1), id="ask-2")
    core.then_events()
    core.when(c.GetStatus(agent="ann"), id="ask-3")
    core.then_events()
    assert list(core.ledger.ids) == ["id-1", "ask-1"]
