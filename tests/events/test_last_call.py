"""Last call: the last part of an allocation is kept for one operation, so that a stopped agent can write down what it
has.
"""

import csv
import gzip
from decimal import Decimal
from itertools import groupby, pairwise
from pathlib import Path
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


# --- the real runs ----------------------------------------------------------------------------------------------------

_FILE = Path("shared") / "data" / "agents-swebench-gemini3-public.csv.gz"
TRACE = next((above / _FILE for above in Path(__file__).resolve().parents if (above / _FILE).is_file()), None)
TRACE = TRACE or next((path for path in (Path("/work") / _FILE,) if path.is_file()), None)


def runs() -> dict[str, list[int]]:
    assert TRACE is not None
    with gzip.open(TRACE, "rt", newline="") as lines:
        rows = [(row["run_id"], int(row["input_tokens"]) + int(row["output_tokens"])) for row in csv.DictReader(lines)]
    return {run: [used for _, used in steps] for run, steps in groupby(rows, key=lambda row: row[0])}


@pytest.mark.skipif(TRACE is None, reason="the real runs are not on this machine")
@pytest.mark.parametrize("reserves", [False, True])
def test_nearly_all_of_the_real_runs_make_their_last_call_inside_their_budget(reserves: bool) -> None:
    """Each with nine tenths of what it needs; who is told uses its next step as its last."""
    limits = {"max_tokens_total": None, "max_cost_usd": None}
    core = Core(
        fleet(
            10**9, **QUIET, daily_limits=limits, enforcement={"last_call": {"percent": 3}, "throttle_rate": Decimal(1)}
        )
    )
    core.compares = False
    inside = told = 0
    for name, steps in runs().items():
        core.given(allocate(name, sum(steps) * 9 // 10))
        for number, (used, following) in enumerate(pairwise((*steps, 0))):
            if reserves:
                called = getattr(core.when(hold(name, f"{name}-{number}", used)), "numbers", {}).get("last_call", False)
                if not called and f"{name}-{number}" in core.ledger.holds:
                    core.given(settle(f"{name}-{number}", used))
            else:
                called = core.when(use(name, used)).last_call
            if called:
                told += 1
                inside += not hasattr(
                    core.when(last(name, f"{name}-last", used if reserves else max(1, following))), "code"
                )
                break
        core.given(c.ReleaseBudget(agent=name))
    assert told >= 350
    assert inside >= 0.95 * told
    assert core.overdraft == (0, None, None)
