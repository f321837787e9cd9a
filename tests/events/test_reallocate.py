"""What goes back, what a plan may move, and what is never taken."""

from typing import Any

from tallystick.config.amounts import Amounts
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.messages import proposals as p
from tests.support.core import Core, allocate, budget, fleet, hold, submit, tokens, use


def idle(agent: str, units: int, to: str = "pool") -> p.Move:
    return p.Move(source=agent, target=to, amount=Amounts(tokens=units), reason="idle for 60 s", strategy="idle")


def demand(agent: str, units: int | None, source: str = "pool", cost: int | None = None) -> p.Move:
    amount = Amounts(tokens=units, cost_nanos=cost)
    return p.Move(source=source, target=agent, amount=amount, reason="will exceed", strategy="demand")


def plan(*moves: p.Move) -> p.ApplyMoves:
    return p.ApplyMoves(moves=list(moves))


def stale(core: Core, *moves: p.Move) -> str:
    core.when(plan(*moves))
    return core.then_refused("plan_out_of_date").detail


# --- ReturnToPool ----------------------------------------------------------------------------------------------------


def test_a_return_gives_back_at_most_what_is_available() -> None:
    core = Core(fleet(1_000), allocate("ann", 400), use("ann", 100), hold("ann", "h", 50))
    answer = core.when(c.ReturnToPool(agent="ann", amount=budget(10_000)))
    core.then_events(e.BudgetReturned, e.LevelChanged)
    assert (answer.allocated, answer.remaining, answer.pool_available) == (tokens(150), tokens(0), tokens(850))


def test_borrowed_is_given_back_first() -> None:
    core = Core(fleet(1_000), allocate("ann", 100), c.BorrowFromPool(agent="ann", amount=budget(50)))
    core.given(c.ReturnToPool(agent="ann", amount=budget(30)))
    assert core.status("ann").borrowed == tokens(20)
    core.given(c.ReturnToPool(agent="ann", amount=budget(40)))
    assert core.status("ann").borrowed == tokens(0)
    assert core.status("ann").allocated == tokens(80)


def test_no_return_goes_below_the_minimum_share() -> None:
    core = Core(fleet(1_000, emergency_reserve_percent=10), allocate("ann", 100), allocate("bob", 100))
    # 5 % of 900 by two agents is 22.5.
    assert core.ledger.minimum_share(0) == 22
    core.when(c.ReturnToPool(agent="ann", amount=budget(79)))
    refusal = core.then_refused("below_minimum_share")
    assert (refusal.numbers["allocated"], refusal.numbers["minimum_share"]) == (tokens(100), tokens(22))
    core.given(c.ReturnToPool(agent="ann", amount=budget(78)))
    assert core.status("ann").allocated == tokens(22)


def test_a_sub_agent_returns_to_its_parent() -> None:
    core = Core(fleet(1_000), allocate("ann", 400), allocate("ann/1", 200, parent="ann"))
    core.given(c.ReturnToPool(agent="ann/1", amount=budget(50)))
    assert (core.pool[0], core.free("ann")[0]) == (600, 250)


def test_nothing_is_returned_for_an_unknown_agent() -> None:
    core = Core(fleet(1_000))
    core.when(c.ReturnToPool(agent="ann", amount=budget(1)))
    core.then_refused("unknown_agent")


# --- ApplyMoves ------------------------------------------------------------------------------------------------------


def test_a_plan_is_applied_whole_and_each_move_is_an_event_with_its_reason() -> None:
    core = Core(fleet(1_000), allocate("ann", 400), allocate("bob", 100), use("bob", 85))
    answer = core.when(plan(idle("ann", 200), demand("bob", 150)))
    core.then_events(e.Rebalanced, e.BudgetMoved, e.BudgetMoved, e.LevelChanged)
    assert [(move.source, move.target, move.amount.tokens, move.reason) for move in answer.moves] == [
        ("ann", "pool", 200, "idle for 60 s"),
        ("pool", "bob", 150, "will exceed"),
    ]
    assert answer.pool_available == tokens(550)
    assert (core.status("ann").allocated, core.status("bob").allocated) == (tokens(200), tokens(250))
    assert core.account("bob").drawn == (150, 0, 0)


def test_an_empty_plan_is_a_plan() -> None:
    core = Core(fleet(1_000))
    assert core.when(plan()).moves == []


def test_one_move_that_does_not_fit_refuses_the_whole_plan() -> None:
    core = Core(fleet(1_000), allocate("ann", 400), allocate("bob", 600))
    assert "bob" in stale(core, idle("ann", 200), demand("bob", 1))
    assert core.status("ann").allocated == tokens(400)


def test_idle_budget_is_reclaimed_once_per_idle_period() -> None:
    core = Core(fleet(1_000), allocate("ann", 400), plan(idle("ann", 100)))
    assert "reclaimed before" in stale(core, idle("ann", 100))
    core.given(use("ann", 1), plan(idle("ann", 100)))
    core.given(hold("ann", "h", 1), c.CancelHold(hold="h"), plan(idle("ann", 50)))
    assert core.status("ann").allocated == tokens(150)
    core.given(use("ann", 1))
    assert "reclaimed before" in stale(core, idle("ann", 1), idle("ann", 1))


def test_an_agent_with_a_hold_is_not_idle() -> None:
    core = Core(fleet(1_000), allocate("ann", 400), hold("ann", "h", 1))
    assert "not idle" in stale(core, idle("ann", 100))


def test_no_reclaim_takes_more_than_remains_or_goes_below_the_minimum_share() -> None:
    core = Core(fleet(1_000), allocate("ann", 400), use("ann", 300))
    assert "more than remains" in stale(core, idle("ann", 101))
    core = Core(fleet(1_000), allocate("ann", 60))
    assert "minimum share" in stale(core, idle("ann", 11))
    core.given(plan(idle("ann", 10)))


def test_a_demand_move_is_bound_by_the_pool_share_the_pool_and_all_earlier_moves() -> None:
    core = Core(fleet(1_000), allocate("ann", 100), allocate("bob", 100))
    assert "50 %" in stale(core, demand("ann", 501))
    assert "50 %" in stale(core, demand("ann", 300), demand("ann", 201))
    assert "free" in stale(core, demand("ann", 500), demand("bob", 301))
    core.given(plan(demand("ann", 500), demand("bob", 300)))
    assert core.pool[0] == 0


def test_nothing_of_a_plan_depends_on_what_it_brings_back() -> None:
    core = Core(fleet(1_000), allocate("ann", 900), allocate("bob", 100))
    assert "free" in stale(core, idle("ann", 400), demand("bob", 1))


def test_what_is_reclaimed_from_a_parent_is_not_also_granted_to_its_child() -> None:
    core = Core(fleet(1_000), allocate("ann", 200), allocate("ann/1", 50, parent="ann"))
    assert "free" in stale(core, idle("ann", 100), demand("ann/1", 80, "ann"))
    assert "more than remains" in stale(core, demand("ann/1", 80, "ann"), idle("ann", 100))
    core.given(plan(idle("ann", 100), demand("ann/1", 50, "ann")))
    assert (core.free("ann")[0], core.free("ann/1")[0]) == (0, 100)


def test_two_moves_from_different_parents_do_not_take_the_same_money_twice() -> None:
    core = Core(
        fleet(1_000, "1"), allocate("ann", 100), allocate("ann/1", 10, "0.1", parent="ann"), allocate("bob", 1, "0.1")
    )
    core.given(fleet(1_000, "1", max_pool_share_percent=100))
    moves = demand("ann/1", None, "ann", 500_000_000), demand("bob", None, "pool", 400_000_000)
    assert "free" in stale(core, *moves)
    core.given(plan(moves[0]), plan(demand("bob", None, "pool", 300_000_000)))
    assert core.pool[2] == 0


def test_the_end_of_black_within_a_plan_restores_only_what_the_plan_leaves() -> None:
    core = Core(fleet(1_000, "10"), allocate("ann", 100, "4"), use("ann", 100), allocate("bob", 10, "5"))
    core.given(plan(demand("ann", 100), demand("bob", None, "pool", 5_000_000_000)))
    assert core.every(e.UnusedRestored)[0].amount.triple == (None, None, None)
    assert core.pool[2] == 0


def test_a_stale_or_senseless_move_is_refused() -> None:
    core = Core(fleet(1_000), allocate("ann", 100), allocate("ann/1", 50, parent="ann"))
    assert "no longer there" in stale(core, demand("eve", 1))
    assert "no longer there" in stale(core, demand("ann/1", 1))
    assert "no longer there" in stale(core, idle("ann", 1, to="ann/1"))
    for senseless in (
        demand("ann", 0),
        demand("ann", None),
        demand("ann", None, cost=5),
        demand("ann", -5),
        idle("ann", -5),
    ):
        assert "is empty" in stale(core, senseless)


def test_a_critical_agents_demand_opens_the_reserve_in_a_crisis_only() -> None:
    core = Core(fleet(1_000, emergency_reserve_percent=10), allocate("vip", 900, priority="critical"))
    assert "free" in stale(core, demand("vip", 50))
    core.given(c.ReleaseReserve(reason="launch"), plan(demand("vip", 50)))
    core.then_events(e.Rebalanced, e.ReserveDrawn, e.BudgetMoved)
    assert (core.in_reserve[0], core.status("vip").allocated) == (50, tokens(950))


def test_a_demand_move_repays_cover_first() -> None:
    core = Core(fleet(1_000), allocate("ann", 100), use("ann", 150), plan(demand("ann", 200)))
    assert core.status("ann").remaining == tokens(150)
    assert core.pool[0] == 700


# --- what is kept ----------------------------------------------------------------------------------------------------


def waiting(core: Core, tokens_each: int, parent: str | None = None) -> Core:
    """A fleet in which BIG waits for a slot, and needs so many tokens."""
    limits: dict[str, Any] = {
        "token_budgets": {"small": 1, "big": tokens_each},
        "token_budget_multiplier": 1,
        "max_concurrent": {"total": 1, "per_type": {}},
    }
    core.given(fleet(10_000, max_pool_share_percent=100, minimum_share_percent=0, **limits))
    core.given(submit("FIRST", "small"), submit("BIG", "big", parent=parent))
    assert core.ledger.tasks.known["BIG"].state == "queued"
    return core


def keeping(*moves: p.Move, asked: bool = False) -> p.ApplyMoves:
    return p.ApplyMoves(moves=list(moves), kept=["BIG"], asked=asked)


def test_demand_leaves_what_an_aged_task_needs_of_the_pool_critical_agents_first_the_rest_in_proportion() -> None:
    core = waiting(
        Core(fleet(10_000), allocate("ann", 1), allocate("bob", 1), allocate("cid", 1, priority="critical")), 9_000
    )
    # 10,000 less 4 of accounts and 9,000 kept: 996 are left.
    urgent = p.Move(source="pool", target="cid", amount=Amounts(500), reason="will exceed", strategy="priority")
    answer = core.when(keeping(demand("ann", 300), demand("bob", 900), urgent))
    core.then_events(e.Rebalanced, e.BudgetMoved, e.BudgetMoved, e.BudgetMoved)
    assert [(move.target, move.amount.tokens) for move in answer.moves] == [("ann", 124), ("bob", 372), ("cid", 500)]
    assert core.pool[0] == 9_000
    assert [move.reason for move in answer.moves] == [
        "will exceed; the rest is kept for BIG",
        "will exceed; the rest is kept for BIG",
        "will exceed",
    ]


def test_a_plan_of_which_nothing_is_left_is_no_plan_unless_someone_asked_for_it() -> None:
    core = waiting(Core(fleet(10_000), allocate("ann", 1)), 9_998)
    core.when(keeping(demand("ann", 300)))
    assert "kept for BIG" in core.then_refused("plan_out_of_date").detail
    assert core.own == []
    assert core.when(keeping(demand("ann", 300), asked=True)).moves == []
    core.then_events(e.Rebalanced)


def test_other_dimensions_are_moved_all_the_same() -> None:
    core = Core(fleet(10_000, "10"), allocate("ann", 1, "1"))
    core = waiting(core, 9_998)
    answer = core.when(keeping(demand("ann", 300, cost=5)))
    assert [(move.amount.tokens, move.amount.cost_usd) for move in answer.moves] == [(None, "0.000000005")]


def test_what_a_parent_keeps_for_its_task_is_neither_reclaimed_from_it_nor_given_to_its_sub_agents() -> None:
    core = Core(fleet(10_000), allocate("ann", 1_000), allocate("ann/1", 100, parent="ann"))
    core = waiting(core, 800, parent="ann")
    core.wait(100)
    answer = core.when(keeping(demand("ann/1", 250, "ann"), idle("ann", 300), demand("ann", 50)))
    assert sum(move.amount.tokens for move in answer.moves if move.source == "ann") == 100
    assert core.free("ann")[0] == 850, "800 are kept, and 50 came from the pool"


def test_nothing_is_kept_for_a_task_that_runs_or_is_not_known() -> None:
    core = waiting(Core(fleet(10_000), allocate("ann", 1)), 9_998)
    core.given(c.CancelTask(task="BIG"))
    assert (
        core.when(p.ApplyMoves(moves=[demand("ann", 300)], kept=["BIG", "FIRST", "ghost"])).moves[0].amount.tokens
        == 300
    )
