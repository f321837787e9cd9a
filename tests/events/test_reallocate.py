"""What goes back, what a plan may move, and what is never taken."""

from tallystick.events import catalog as e
from tallystick.events import commands as c
from tallystick.events import proposals as p
from tallystick.events.amounts import Amounts
from tests.law import Law, allocate, budget, fleet, hold, tokens, use


def idle(agent: str, units: int, to: str = "pool") -> p.Move:
    return p.Move(source=agent, target=to, amount=Amounts(tokens=units), reason="idle for 60 s", strategy="idle")


def demand(agent: str, units: int | None, source: str = "pool", cost: int | None = None) -> p.Move:
    amount = Amounts(tokens=units, cost_nanos=cost)
    return p.Move(source=source, target=agent, amount=amount, reason="will exceed", strategy="demand")


def plan(*moves: p.Move) -> p.ApplyMoves:
    return p.ApplyMoves(moves=list(moves))


def stale(law: Law, *moves: p.Move) -> str:
    law.when(plan(*moves))
    return law.then_refused("plan_out_of_date").detail


# --- ReturnToPool ----------------------------------------------------------------------------------------------------


def test_a_return_gives_back_at_most_what_is_available() -> None:
    law = Law(fleet(1_000), allocate("ann", 400), use("ann", 100), hold("ann", "h", 50))
    answer = law.when(c.ReturnToPool(agent="ann", amount=budget(10_000)))
    law.then_events(e.BudgetReturned, e.LevelChanged)
    assert (answer.allocated, answer.remaining, answer.pool_available) == (tokens(150), tokens(0), tokens(850))


def test_borrowed_is_given_back_first() -> None:
    law = Law(fleet(1_000), allocate("ann", 100), c.BorrowFromPool(agent="ann", amount=budget(50)))
    law.given(c.ReturnToPool(agent="ann", amount=budget(30)))
    assert law.status("ann").borrowed == tokens(20)
    law.given(c.ReturnToPool(agent="ann", amount=budget(40)))
    assert law.status("ann").borrowed == tokens(0)
    assert law.status("ann").allocated == tokens(80)


def test_no_return_goes_below_the_minimum_share() -> None:
    law = Law(fleet(1_000, emergency_reserve_percent=10), allocate("ann", 100), allocate("bob", 100))
    # 5 % of 900 by two agents is 22.5.
    assert law.ledger.minimum_share(0) == 22
    law.when(c.ReturnToPool(agent="ann", amount=budget(79)))
    refusal = law.then_refused("below_minimum_share")
    assert (refusal.numbers["allocated"], refusal.numbers["minimum_share"]) == (tokens(100), tokens(22))
    law.given(c.ReturnToPool(agent="ann", amount=budget(78)))
    assert law.status("ann").allocated == tokens(22)


def test_a_sub_agent_returns_to_its_parent() -> None:
    law = Law(fleet(1_000), allocate("ann", 400), allocate("ann/1", 200, parent="ann"))
    law.given(c.ReturnToPool(agent="ann/1", amount=budget(50)))
    assert (law.pool[0], law.free("ann")[0]) == (600, 250)


def test_nothing_is_returned_for_an_unknown_agent() -> None:
    law = Law(fleet(1_000))
    law.when(c.ReturnToPool(agent="ann", amount=budget(1)))
    law.then_refused("unknown_agent")


# --- ApplyMoves ------------------------------------------------------------------------------------------------------


def test_a_plan_is_applied_whole_and_each_move_is_an_event_with_its_reason() -> None:
    law = Law(fleet(1_000), allocate("ann", 400), allocate("bob", 100), use("bob", 85))
    answer = law.when(plan(idle("ann", 200), demand("bob", 150)))
    law.then_events(e.Rebalanced, e.BudgetMoved, e.BudgetMoved, e.LevelChanged)
    assert [(move.source, move.target, move.amount.tokens, move.reason) for move in answer.moves] == [
        ("ann", "pool", 200, "idle for 60 s"),
        ("pool", "bob", 150, "will exceed"),
    ]
    assert answer.pool_available == tokens(550)
    assert (law.status("ann").allocated, law.status("bob").allocated) == (tokens(200), tokens(250))
    assert law.account("bob").drawn == (150, 0, 0)


def test_an_empty_plan_is_a_plan() -> None:
    law = Law(fleet(1_000))
    assert law.when(plan()).moves == []


def test_one_move_that_does_not_fit_refuses_the_whole_plan() -> None:
    law = Law(fleet(1_000), allocate("ann", 400), allocate("bob", 600))
    assert "bob" in stale(law, idle("ann", 200), demand("bob", 1))
    assert law.status("ann").allocated == tokens(400)


def test_idle_budget_is_reclaimed_once_per_idle_period() -> None:
    law = Law(fleet(1_000), allocate("ann", 400), plan(idle("ann", 100)))
    assert "reclaimed before" in stale(law, idle("ann", 100))
    law.given(use("ann", 1), plan(idle("ann", 100)))
    law.given(hold("ann", "h", 1), c.CancelHold(hold="h"), plan(idle("ann", 50)))
    assert law.status("ann").allocated == tokens(150)
    law.given(use("ann", 1))
    assert "reclaimed before" in stale(law, idle("ann", 1), idle("ann", 1))


def test_an_agent_with_a_hold_is_not_idle() -> None:
    law = Law(fleet(1_000), allocate("ann", 400), hold("ann", "h", 1))
    assert "not idle" in stale(law, idle("ann", 100))


def test_no_reclaim_takes_more_than_remains_or_goes_below_the_minimum_share() -> None:
    law = Law(fleet(1_000), allocate("ann", 400), use("ann", 300))
    assert "more than remains" in stale(law, idle("ann", 101))
    law = Law(fleet(1_000), allocate("ann", 60))
    assert "minimum share" in stale(law, idle("ann", 11))
    law.given(plan(idle("ann", 10)))


def test_a_demand_move_is_bound_by_the_pool_share_the_pool_and_all_earlier_moves() -> None:
    law = Law(fleet(1_000), allocate("ann", 100), allocate("bob", 100))
    assert "50 %" in stale(law, demand("ann", 501))
    assert "50 %" in stale(law, demand("ann", 300), demand("ann", 201))
    assert "free" in stale(law, demand("ann", 500), demand("bob", 301))
    law.given(plan(demand("ann", 500), demand("bob", 300)))
    assert law.pool[0] == 0


def test_nothing_of_a_plan_depends_on_what_it_brings_back() -> None:
    law = Law(fleet(1_000), allocate("ann", 900), allocate("bob", 100))
    assert "free" in stale(law, idle("ann", 400), demand("bob", 1))


def test_what_is_reclaimed_from_a_parent_is_not_also_granted_to_its_child() -> None:
    law = Law(fleet(1_000), allocate("ann", 200), allocate("ann/1", 50, parent="ann"))
    assert "free" in stale(law, idle("ann", 100), demand("ann/1", 80, "ann"))
    assert "more than remains" in stale(law, demand("ann/1", 80, "ann"), idle("ann", 100))
    law.given(plan(idle("ann", 100), demand("ann/1", 50, "ann")))
    assert (law.free("ann")[0], law.free("ann/1")[0]) == (0, 100)


def test_two_moves_from_different_parents_do_not_take_the_same_money_twice() -> None:
    law = Law(
        fleet(1_000, "1"), allocate("ann", 100), allocate("ann/1", 10, "0.1", parent="ann"), allocate("bob", 1, "0.1")
    )
    law.given(fleet(1_000, "1", max_pool_share_percent=100))
    moves = demand("ann/1", None, "ann", 500_000_000), demand("bob", None, "pool", 400_000_000)
    assert "free" in stale(law, *moves)
    law.given(plan(moves[0]), plan(demand("bob", None, "pool", 300_000_000)))
    assert law.pool[2] == 0


def test_the_end_of_black_within_a_plan_restores_only_what_the_plan_leaves() -> None:
    law = Law(fleet(1_000, "10"), allocate("ann", 100, "4"), use("ann", 100), allocate("bob", 10, "5"))
    law.given(plan(demand("ann", 100), demand("bob", None, "pool", 5_000_000_000)))
    assert law.every(e.UnusedRestored)[0].amount.triple == (None, None, None)
    assert law.pool[2] == 0


def test_a_stale_or_senseless_move_is_refused() -> None:
    law = Law(fleet(1_000), allocate("ann", 100), allocate("ann/1", 50, parent="ann"))
    assert "no longer there" in stale(law, demand("eve", 1))
    assert "no longer there" in stale(law, demand("ann/1", 1))
    assert "no longer there" in stale(law, idle("ann", 1, to="ann/1"))
    for senseless in (
        demand("ann", 0),
        demand("ann", None),
        demand("ann", None, cost=5),
        demand("ann", -5),
        idle("ann", -5),
    ):
        assert "nothing" in stale(law, senseless)


def test_a_critical_agents_demand_opens_the_reserve_in_a_crisis_only() -> None:
    law = Law(fleet(1_000, emergency_reserve_percent=10), allocate("vip", 900, priority="critical"))
    assert "free" in stale(law, demand("vip", 50))
    law.given(c.ReleaseReserve(reason="launch"), plan(demand("vip", 50)))
    law.then_events(e.Rebalanced, e.ReserveDrawn, e.BudgetMoved)
    assert (law.in_reserve[0], law.status("vip").allocated) == (50, tokens(950))


def test_a_demand_move_repays_cover_first() -> None:
    law = Law(fleet(1_000), allocate("ann", 100), use("ann", 150), plan(demand("ann", 200)))
    assert law.status("ann").remaining == tokens(150)
    assert law.pool[0] == 700
