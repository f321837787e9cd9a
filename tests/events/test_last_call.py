"""Last call: the last part of an allocation is kept for one operation, so that a stopped agent can write down what it
has.
"""

from decimal import Decimal
from typing import Any

import pytest

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log import snapshot
from tests.support.core import Core, allocate, budget, dump, fleet, hold, settle, tokens, use

QUIET: dict[str, Any] = {"minimum_share_percent": 0, "max_pool_share_percent": 100}


def calling(*commands: c.Command, percent: Any = 10, total: int = 1_000_000, **enforcement: Any) -> Core:
    rules = {"last_call": {"percent": percent}, "warn_before_exhaustion_seconds": 0, **enforcement}
    return Core(fleet(total, **QUIET, enforcement=rules), *commands)


def last(agent: str, id: str, amount: int, **rest: Any) -> c.Reserve:
    return hold(agent, id, amount, last_call=True, **rest)


# --- who holds --------------------------------------------------------------------------------------------------------


def test_ordinary_holds_do_not_reach_into_what_is_kept_and_the_refusal_says_so() -> None:
    core = calling(allocate("a", 1_000), hold("a", "h", 900))
    core.when(hold("a", "g", 1))
    refusal = core.then_refused("budget_exhausted", decided_by="last_call", last_call=True)
    assert refusal.numbers["available"] == tokens(0)
    assert refusal.numbers["left"] == tokens(100)
    assert "kept for a last call" in refusal.detail


def test_the_last_call_may_use_what_is_kept_once() -> None:
    core = calling(allocate("a", 1_000), hold("a", "h", 900))
    assert core.when(last("a", "g", 100)).amount == tokens(100)
    assert core.only(e.HoldPlaced).last_call
    core.given(settle("g", 60))
    core.when(last("a", "again", 10))
    refusal = core.then_refused("budget_exhausted", decided_by="last_call")
    assert "has used its last call" in refusal.detail
    core.when(hold("a", "more", 10))
    core.then_refused("budget_exhausted", decided_by="last_call", last_call=None)


def test_at_least_as_much_as_the_largest_operation_so_far_is_kept() -> None:
    core = calling(allocate("a", 1_000), use("a", 250), use("a", 10), percent=3)
    core.when(hold("a", "h", 491))
    core.then_refused("budget_exhausted", available=tokens(490), left=tokens(740))
    core.given(hold("a", "g", 490))
    core.given(last("a", "last", 250))


def test_parts_of_an_operation_are_one_operation() -> None:
    core = calling(allocate("a", 1_000), hold("a", "h", 400), percent=1)
    for part in (100, 150):
        core.given(c.Settle(hold="h", usage=budget(part), final=False))
    core.given(settle("h", 50))
    assert core.account("a").largest == (300, 0, 0)


def test_a_last_call_that_is_given_back_unused_may_be_made_again() -> None:
    core = calling(allocate("a", 1_000), hold("a", "h", 900), last("a", "g", 50), c.CancelHold(hold="g"))
    core.given(last("a", "again", 50))
    core.given(c.Settle(hold="again", usage=budget(1), final=False), c.CancelHold(hold="again"))
    core.when(last("a", "third", 50))
    core.then_refused("budget_exhausted", decided_by="last_call")


def test_more_budget_gives_another_last_call() -> None:
    core = calling(allocate("a", 1_000), hold("a", "h", 900), last("a", "g", 100))
    core.given(c.BorrowFromPool(agent="a", amount=budget(1_000)))
    core.given(hold("a", "more", 800), last("a", "again", 200))


def test_a_hold_of_a_last_call_may_grow() -> None:
    core = calling(allocate("a", 1_000), hold("a", "h", 900), last("a", "g", 50))
    assert core.when(c.Heartbeat(hold="g", amount=budget(40))).amount == tokens(90)
    core.when(c.Heartbeat(hold="h", amount=budget(1)))
    core.then_refused("budget_exhausted", decided_by="last_call")


def test_a_dry_run_says_what_a_last_call_would_be_answered() -> None:
    core = calling(allocate("a", 1_000), hold("a", "h", 900))
    assert core.when(last("a", "g", 100, dry_run=True)).amount == tokens(100)
    assert core.account("a").called == 0


def test_holds_of_sub_agents_leave_what_is_kept_of_the_account_that_pays_for_them() -> None:
    core = calling(allocate("a", 1_000), allocate("a/1", None, "1", parent="a"), total=1_000_000)
    core.given(hold("a/1", "h", 900))
    core.when(hold("a/1", "g", 1))
    refusal = core.then_refused("budget_exhausted", decided_by="last_call", last_call=None)
    assert "0 is free beside 100 that is kept for the last call of a, which pays" in refusal.detail
    core.when(last("a/1", "l", 1))
    core.then_refused("budget_exhausted", decided_by="last_call")
    (obstacle,) = core.check("a/1").obstacles
    assert obstacle.detail == "tokens: 100 is free, and kept for a last call of a, which pays"
    core.given(last("a", "last", 100))


# --- who only reports -------------------------------------------------------------------------------------------------


def test_a_reply_says_once_that_the_last_call_has_come_and_what_is_left() -> None:
    core = calling(allocate("a", 1_000))
    answers = [core.when(use("a", 100)) for _ in range(9)]
    assert [answer.last_call for answer in answers] == [False] * 8 + [True]
    assert (answers[8].remaining, answers[8].action) == (tokens(100), "degrade")
    answer = core.when(use("a", 50))
    assert (answer.last_call, answer.action) == (False, "degrade"), "once"
    assert core.when(use("a", 50)).action == "stop"


def test_it_is_said_before_an_operation_as_large_as_the_largest_reaches_into_what_is_kept() -> None:
    core = calling(allocate("a", 1_000), use("a", 150), use("a", 551))
    assert core.only(e.LastCallGiven).kept.tokens == 551
    core = calling(allocate("a", 1_000), *[use("a", 150)] * 4)
    assert core.every(e.LastCallGiven) == [], "400 are left: of 150 more, 250 are"
    answer = core.when(use("a", 101))
    assert (answer.last_call, answer.remaining, answer.action, answer.decided_by) == (
        True,
        tokens(299),
        "degrade",
        "last_call",
    )


def test_it_is_an_event_with_what_is_kept_and_left() -> None:
    core = calling(allocate("a", 1_000), use("a", 850))
    event = core.only(e.LastCallGiven)
    assert (event.agent, event.kept.tokens, event.left.tokens) == ("a", 850, 150)


def test_more_budget_ends_it_and_arms_it_again() -> None:
    core = calling(allocate("a", 1_000), use("a", 400), use("a", 300))
    assert core.check("a").action == "degrade"
    core.given(c.BorrowFromPool(agent="a", amount=budget(5_000)))
    assert core.check("a").action == "continue"
    assert core.when(use("a", 4_500)).last_call


def test_an_agent_that_is_stopped_already_gets_no_last_call() -> None:
    core = calling(allocate("a", 1_000))
    answer = core.when(use("a", 1_000))
    assert (answer.last_call, answer.action) == (False, "stop")


def test_may_i_go_on_names_what_is_kept() -> None:
    core = calling(allocate("a", 1_000), hold("a", "h", 900))
    (obstacle,) = core.check("a").obstacles
    assert (obstacle.code, obstacle.decided_by, obstacle.dimension) == ("budget_exhausted", "last_call", "tokens")


# --- what it passes ---------------------------------------------------------------------------------------------------


def test_a_last_call_passes_throttling() -> None:
    core = calling(allocate("a", 1_000), use("a", 10), throttle_at=0.5, warn_at=0.4)
    core.wait(100).given(use("a", 600))
    core.when(hold("a", "h", 10))
    core.then_refused("throttled")
    core.given(last("a", "g", 10))


def test_what_slows_an_agent_is_named_and_not_its_last_call_which_slows_nothing() -> None:
    core = calling(allocate("a", 1_000), use("a", 10), throttle_at=0.5, degrade_at=0.9, warn_at=0.4)
    core.wait(100)
    answer = core.when(use("a", 600))
    assert (answer.action, answer.decided_by, answer.last_call) == ("degrade", "last_call", True)
    assert next((one.code, one.decided_by) for one in answer.obstacles or ()) == ("throttled", "level")
    core.given(c.Throttle(agent="a", rate=Decimal("0.1")))
    assert core.check("a").obstacles[0].detail == "throttled to 0.1 of normal speed by throttle"


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (c.Stop(agent="a", reason="a test"), "agent_stopped"),
        (c.PauseAll(reason="a test"), "paused"),
    ],
    ids=["stop", "pause"],
)
def test_a_last_call_passes_no_stop_and_no_pause(order: c.Command, code: str) -> None:
    core = calling(allocate("a", 1_000), order)
    core.when(last("a", "g", 10))
    core.then_refused(code)


def test_a_last_call_passes_no_limit() -> None:
    core = calling(allocate("a", 1_000), total=1_000_000)
    core.given(c.LoadConfig(config={"daily_limits": {"max_tokens_total": 5}}))
    core.when(last("a", "g", 10))
    core.then_refused("daily_limit_reached")


def test_a_last_call_needs_room() -> None:
    core = calling(allocate("a", 1_000), use("a", 950))
    core.when(last("a", "g", 51))
    core.then_refused("budget_exhausted")


def test_without_the_setting_nothing_is_kept_and_a_last_call_is_a_hold_like_others() -> None:
    core = calling(allocate("a", 1_000), last("a", "x", 1), last("a", "h", 998), last("a", "g", 1), percent=0)
    assert not any(event.last_call for event in core.log if isinstance(event, e.HoldPlaced))
    core.given(settle("h", 998))
    assert core.every(e.LastCallGiven) == []


def test_a_snapshot_keeps_which_last_calls_were_given_and_the_largest_operation() -> None:
    core = calling(allocate("a", 1_000), use("a", 850), last("a", "g", 20))
    again = snapshot.load(snapshot.dump(core.ledger))
    assert again is not None
    assert dump(again) == dump(core.ledger)
    assert (again.accounts["a"].called, again.accounts["a"].largest) == (2, (850, 0, 0))
    assert again.holds["g"].last_call
