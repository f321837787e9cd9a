"""Fleets of fleets: what a parent lets happen to the account of another fleet, and what a child records."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tallystick.config.amounts import Amounts
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.permissions import Caller, refusal_of
from tallystick.events.messages import delegation as d
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Refusal
from tests.support.both_ends import FLEET, TEAM, child, draw, give_back, hear, parent, report
from tests.support.core import Core, allocate, budget, fleet, hold, submit, use

# --- the parent: who may touch a delegated account --------------------------------------------------------------------


def _idle_move(core: Core) -> Any:
    move = p.Move(source=TEAM, target="pool", amount=Amounts(10), reason="idle", strategy="idle")
    return core.wait(3_600).when(p.ApplyMoves(moves=[move], asked=True))


def _demand_move(core: Core) -> Any:
    move = p.Move(source="pool", target=TEAM, amount=Amounts(10), reason="demand", strategy="demand")
    return core.when(p.ApplyMoves(moves=[move], asked=True))


def _auto(core: Core) -> Any:
    core.given(c.LoadConfig(config={"accounts": {"auto": {"parent": TEAM}}}))
    return core.when(hold("newcomer", "h-9", 1))


REFUSED: dict[str, tuple[str, Callable[[Core], Any]]] = {
    "a hold": ("delegated", lambda core: core.when(hold(TEAM, "h-1", 10))),
    "a hold that is only tried": ("delegated", lambda core: core.when(hold(TEAM, "h-1", 10, dry_run=True))),
    "a sub-agent": ("delegated", lambda core: core.when(allocate("kid", 10, parent=TEAM))),
    "a task below it": ("delegated", lambda core: core.when(submit("t-1", parent=TEAM))),
    "an account that opens by itself below it": ("unknown_agent", _auto),
    "a return that is not its fleet's": (
        "delegated",
        lambda core: core.when(c.ReturnToPool(agent=TEAM, amount=budget(10))),
    ),
    "a return of another fleet": (
        "delegated",
        lambda core: core.when(
            c.ReturnToPool(agent=TEAM, amount=budget(10), child=c.FromChild(fleet="other", number=1))
        ),
    ),
    "a draw of another fleet": ("delegated", lambda core: core.when(draw(1, 10, by="other"))),
    "a report of another fleet": ("delegated", lambda core: core.when(report(1, 2, 10, by="other"))),
    "idle reclamation": ("plan_out_of_date", _idle_move),
    "a demand move": ("plan_out_of_date", _demand_move),
    "its release": ("delegated", lambda core: core.when(c.ReleaseBudget(agent=TEAM))),
    "its release by another fleet": (
        "delegated",
        lambda core: core.when(c.ReleaseBudget(agent=TEAM, child=c.FromChild(fleet="other"))),
    ),
    "another account under its id": ("already_allocated", lambda core: core.when(allocate(TEAM, 5))),
}


@pytest.mark.parametrize("what", REFUSED)
def test_only_its_fleet_takes_from_a_delegated_account(what: str) -> None:
    core = parent()
    code, ask = REFUSED[what]
    answer = ask(core)
    assert isinstance(answer, Refusal), answer
    assert answer.code == code
    assert core.account(TEAM).allocated == (1_000, None, 1_000_000_000)
    assert core.free(TEAM) == (1_000, 0, 1_000_000_000)


def test_its_own_fleet_draws_gives_back_reports_and_releases_it() -> None:
    core = parent()
    core.given(draw(1, 500), give_back(2, 300), report(1, 9, 200))
    assert core.account(TEAM).allocated == (1_200, None, 1_000_000_000)
    assert core.account(TEAM).consumed(0) == 200
    core.given(c.ReleaseBudget(agent=TEAM, child=c.FromChild(fleet=FLEET)))
    assert core.pool == (9_800, None, 10_000_000_000)


def test_no_lease_ends_it_because_none_may_be_on_or_above_it() -> None:
    core = Core(fleet(10_000), allocate("leased", 1_000, lease_seconds=Decimal(60)))
    core.when(allocate(TEAM, 10, delegated=True, lease_seconds=Decimal(60)))
    core.then_refused("invalid_message")
    core.when(allocate(TEAM, 10, delegated=True, parent="leased"))
    core.then_refused("invalid_message")


def test_black_gives_nothing_of_it_back() -> None:
    core = parent()
    core.given(report(1, 5, 1_000))
    assert core.account(TEAM).level == 4
    assert not core.every(e.UnusedReturned)
    assert core.free(TEAM) == (0, 0, 1_000_000_000)


def test_what_others_use_under_its_name_the_account_above_pays() -> None:
    core = parent()
    core.given(use(TEAM, 100))
    assert core.free(TEAM)[0] == 1_000
    assert core.pool == (8_900, None, 9_000_000_000)


def test_an_account_above_is_not_released_while_it_is_open_unless_an_operator_forces_it() -> None:
    core = Core(fleet(10_000), allocate("dept", 2_000), allocate(TEAM, 1_000, delegated=True, parent="dept"))
    core.when(c.ReleaseBudget(agent="dept"))
    core.then_refused("delegated", agent=TEAM)
    core.given(c.ReleaseBudget(agent="dept", force=True))
    assert core.pool == (10_000, None, None)


def test_force_is_for_operators() -> None:
    ledger, forced = parent().ledger, c.ReleaseBudget(agent=TEAM, force=True)
    assert refusal_of(ledger, forced, Caller("operator")) is None
    for caller in (Caller("orchestrator"), Caller("agent", TEAM)):
        assert refusal_of(ledger, forced, caller) is not None


def test_a_report_after_a_forced_release_is_booked_once_as_late() -> None:
    core = parent()
    core.given(c.ReleaseBudget(agent=TEAM, force=True), report(1, 5, 70), report(1, 5, 70))
    assert not core.own, "the second time it says nothing new"
    assert core.pool == (9_930, None, 10_000_000_000)


# --- the parent: whatever is lost, doubled or late --------------------------------------------------------------------


def test_a_draw_that_comes_twice_is_granted_once() -> None:
    core = parent()
    core.given(draw(1, 500), draw(1, 500))
    assert core.account(TEAM).allocated[0] == 1_500
    assert not core.own


def test_an_old_draw_that_arrives_after_a_newer_return_is_dropped() -> None:
    core = parent()
    core.given(draw(1, 500), give_back(2, 500), draw(1, 500), give_back(2, 500))
    assert core.account(TEAM).allocated[0] == 1_000


def test_a_return_below_the_minimum_share_is_taken_because_the_total_of_the_child_is_lower_already() -> None:
    core = parent()
    core.given(give_back(1, 990))
    assert core.account(TEAM).allocated[0] == 10


def test_a_range_is_booked_once_and_none_may_be_left_out() -> None:
    core = parent()
    answer = core.when(report(1, 10, 100))
    assert answer.booked == 10
    answer = core.when(report(1, 10, 100))
    assert (answer.booked, answer.recorded) == (10, False)
    for first in (12, 10, 5):
        core.when(report(first, 20, 5))
        core.then_refused("range_gap", booked=10)
    core.given(report(11, 20, 5))
    assert core.account(TEAM).consumed(0) == 105


def test_what_the_child_overran_is_covered_and_says_so() -> None:
    core = parent()
    core.given(report(1, 10, 1_400))
    covered = core.only(e.Covered)
    assert (covered.source, covered.target, covered.amount.tokens, covered.cause) == (
        "pool",
        TEAM,
        400,
        "delegated_overrun",
    )


def test_how_the_account_stands_is_shown() -> None:
    core = parent()
    core.given(draw(1, 500), give_back(2, 300), report(1, 9, 200))
    found = core.status(TEAM).child
    assert (found.fleet, found.number, found.booked, found.granted.tokens) == (FLEET, 2, 9, 1_500)


def test_a_range_is_not_corrected_at_the_parent() -> None:
    core = parent()
    core.given(report(1, 9, 200))
    record = core.only(e.UsageReported)
    core.when(
        p.ApplyCorrection(asked=c.CorrectUsage(position=record.position, reason="x", usage=budget(1)), record=record)
    )
    core.then_refused("cannot_correct")


# --- the child --------------------------------------------------------------------------------------------------------


def test_a_child_has_nothing_and_lets_nothing_go_on_before_its_parent_has_answered() -> None:
    delegate = {"parent": "https://parent.example", "account": TEAM, "budget": {"tokens": 1_000}}
    core = Core(c.LoadConfig(config={"delegate": delegate}))
    assert core.ledger.total == (0, 0, 0)
    core.when(allocate("ann", 10))
    assert "has not been asked" in core.then_refused("paused").detail


def test_its_total_is_what_the_parent_has_granted() -> None:
    core = child()
    assert core.ledger.total == (1_000, None, None)
    core.given(hear(1_500), hear(1_200))
    assert core.ledger.total == (1_500, None, None), "an old answer takes nothing back"


def test_a_return_lowers_the_total_when_it_is_decided_and_not_when_it_is_answered() -> None:
    core = child()
    core.given(d.AskReturn(amount=Amounts(300)))
    core.then_events(e.ReturnAsked, e.TotalBudgetSet)
    assert core.ledger.total[0] == 700
    core.given(hear(1_000, number=1))
    assert core.ledger.total[0] == 700


def test_one_draw_or_return_is_under_way_at_a_time() -> None:
    core = child()
    core.given(d.AskDraw(amount=Amounts(300)))
    core.when(d.AskReturn(amount=Amounts(1)))
    assert core.decided.answer.code == "under_way"
    core.given(hear(1_300, number=1), d.AskReturn(amount=Amounts(1)))
    assert core.ledger.total[0] == 1_299


def test_an_answer_that_says_nothing_of_what_is_under_way_leaves_it_under_way() -> None:
    core = child().given(allocate("ann", 500), use("ann", 30), d.ReportRange())
    upto = core.only(e.RangeReported).upto
    own = core.given(d.AskDraw(amount=Amounts(300))).ledger.delegation
    assert own is not None
    core.given(hear(1_000, booked=upto - 1, number=0))
    assert own.span is not None
    assert own.asked is not None
    core.given(hear(1_300, booked=upto, number=1))
    assert (own.span, own.asked) == (None, None)


def test_no_more_is_given_back_than_the_pool_has() -> None:
    core = child().given(allocate("ann", 900))
    core.when(d.AskReturn(amount=Amounts(101)))
    assert core.decided.answer.code == "pool_exhausted"


def test_ranges_are_contiguous_and_say_what_was_used_between_two_positions() -> None:
    core = child().given(allocate("ann", 500), use("ann", 30), d.ReportRange())
    first = core.only(e.RangeReported)
    assert (first.first, first.upto, first.amount.tokens) == (1, first.position, 30)
    core.given(use("ann", 5))
    core.when(d.ReportRange())
    assert core.decided.answer.code == "under_way"
    core.given(hear(1_000, booked=first.upto), d.ReportRange())
    second = core.only(e.RangeReported)
    assert (second.first, second.amount.tokens) == (first.upto + 1, 5)


def test_the_stop_of_the_parent_pauses_the_child_and_an_operator_does_not_end_it() -> None:
    core = child().given(allocate("ann", 500), hear(1_000, stopped="team was stopped: enough"))
    assert core.check("ann").action == "stop"
    assert core.check("ann").decided_by == "parent"
    core.given(c.ResumeAll())
    assert core.when(hold("ann", "h-1", 5)).code == "paused"
    core.given(use("ann", 7), hear(1_000), hold("ann", "h-1", 5))


def test_a_pause_of_its_own_is_not_ended_by_the_parent() -> None:
    core = child().given(allocate("ann", 500), c.PauseAll(reason="lunch"), hear(1_000, stopped="x"), hear(1_000))
    assert core.check("ann").decided_by == "pause_all"


def test_its_total_is_set_by_no_one_else() -> None:
    core = child()
    core.when(c.SetTotalBudget(budget=c.BudgetChange(tokens=5_000)))
    core.then_refused("delegated")
    core.when(c.LoadConfig(config={"total_budget": {"tokens": 5_000}}))
    core.then_refused("invalid_message")
    core.when(c.LoadConfig(config={"delegate": None}, id="~config"))
    core.then_refused("invalid_message")


@pytest.mark.parametrize("mark", [{"booked": 10_000}, {"number": 1}])
def test_a_log_behind_the_mark_of_its_parent_is_refused(mark: dict[str, int]) -> None:
    core = child()
    core.when(hear(1_000, **mark))
    assert core.decided.answer.code == "behind_parent"


def test_a_log_that_has_grown_beyond_the_mark_of_its_parent_is_refused_all_the_same() -> None:
    core = child().given(allocate("ann", 500), use("ann", 30), d.ReportRange())
    upto = core.only(e.RangeReported).upto
    core.given(hear(1_000, booked=upto), use("ann", 1), use("ann", 1), use("ann", 1))
    core.when(hear(1_000, booked=upto + 1))
    assert core.ledger.position > upto + 1
    assert core.decided.answer.code == "behind_parent", "the parent has booked what this log never reported"


def test_a_child_closes_when_its_accounts_are_released_and_grants_nothing_more() -> None:
    core = child().given(allocate("ann", 10))
    core.when(c.ReleaseBudget(agent="fleet"))
    core.then_refused("agents_open")
    core.given(c.ReleaseBudget(agent="ann"), c.ReleaseBudget(agent="fleet"), hear(2_000))
    assert core.when(allocate("bob", 10)).code == "paused"


def test_the_state_of_both_ends_is_in_a_snapshot() -> None:
    core = parent().given(draw(1, 500), report(1, 9, 200))
    core.restart()
    assert core.given(draw(1, 500), report(1, 9, 200)).account(TEAM).allocated[0] == 1_500
    core = child().given(d.AskReturn(amount=Amounts(300)))
    core.restart()
    assert core.given(hear(1_000, number=1)).ledger.total[0] == 700
