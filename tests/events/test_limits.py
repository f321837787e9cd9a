"""Limits: within a window, each value of a scope uses at most so much (spec 6)."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from tallystick.events import messages as c
from tallystick.events.messages.replies import Refusal
from tests.support.core import allocate, budget, complete, hold, settle, start, submit, use
from tests.support.limited import ask, limit, limited, report

MINUTE = 60


# --- holds -----------------------------------------------------------------------------------------------------------


def test_used_held_and_requested_are_within_every_limit_that_matches() -> None:
    core = limited(limit(window="day", max={"tokens": 1_000}), limit("less", window="hour", max={"tokens": 600}))
    core.given(allocate("ann", 100_000), use("ann", 300), hold("ann", "h1", 200))
    core.when(hold("ann", "h2", 101))
    refusal = core.then_refused(
        "limit_reached", limit="less", value="fleet", window="hour", dimension="tokens", max=600, used=300, held=200
    )
    assert refusal.numbers["requested"] == 101
    assert refusal.numbers["decided_by"] == "limit:less"
    core.given(hold("ann", "h3", 100))


def test_a_refusal_says_when_there_will_be_room() -> None:
    core = limited(limit(window={"seconds": 60}, max={"tokens": 100}))
    core.given(allocate("ann", 100_000), use("ann", 60)).wait(30).given(use("ann", 40))
    refusal = core.when(hold("ann", "h", 50))
    assert isinstance(refusal, Refusal)
    wait = refusal.numbers["retry_after_seconds"]
    assert 30 <= wait <= 31
    assert isinstance(core.when(hold("ann", "h2", 50), at=core.now + dt.timedelta(seconds=wait - 0.002)), Refusal)
    core.wait(0.002).given(hold("ann", "h3", 50))


def test_a_refusal_waits_for_a_hold_that_ends_before() -> None:
    core = limited(limit(window="total", max={"tokens": 100}))
    core.given(allocate("ann", 100_000), hold("ann", "h", 80, ttl_seconds=Decimal(40)))
    core.when(hold("ann", "h2", 50))
    core.then_refused("limit_reached", retry_after_seconds=40)
    core.when(hold("ann", "h3", 101))
    core.then_refused("limit_reached", retry_after_seconds=None)


def test_each_value_of_a_label_has_a_counter_and_what_has_none_shares_one() -> None:
    core = limited(limit(per="label:user", window="day", max={"tokens": 100}))
    core.given(allocate("gateway", 100_000))
    core.given(ask("gateway", "a", 100, labels={"user": "ann"}), ask("gateway", "b", 100, labels={"user": "ben"}))
    core.given(ask("gateway", "none", 60))
    core.when(ask("gateway", "c", 1, labels={"user": "ann"}))
    core.then_refused("limit_reached", value="ann")
    core.when(ask("gateway", "d", 41))
    core.then_refused("limit_reached", value="(none)", held=60)


def test_the_label_of_an_account_wins_over_that_of_a_message_and_sub_agents_inherit_it() -> None:
    core = limited(limit(per="label:user", window="day", max={"tokens": 100}))
    core.given(allocate("ann", 100_000, labels={"user": "ann"}), allocate("sub", 1_000, parent="ann"))
    core.given(ask("sub", "a", 100, labels={"user": "someone"}))
    core.when(ask("ann", "b", 1))
    core.then_refused("limit_reached", value="ann")


def test_only_what_matches_counts() -> None:
    core = limited(limit(match={"product": ["shop", "web"], "label:tier": "free"}, window="day", max={"tokens": 100}))
    core.given(allocate("shop", 1_000, product="shop"), allocate("web", 1_000, product="web"), allocate("x", 1_000))
    core.given(ask("shop", "a", 500), ask("x", "b", 500, labels={"tier": "free"}))
    core.given(ask("web", "c", 80, labels={"tier": "free"}))
    core.when(ask("shop", "d", 21, labels={"tier": "free"}))
    core.then_refused("limit_reached", held=80)


def test_the_holds_of_a_thousand_agents_at_once_are_within_a_limit() -> None:
    core = limited(limit(window="day", max={"tokens": 777}))
    core.given(*(allocate(f"a{n}", 100) for n in range(40)))
    granted = [not isinstance(core.when(hold(f"a{n}", f"h{n}", 50)), Refusal) for n in range(40)]
    assert sum(granted) == 15


# --- what counts at the grant ----------------------------------------------------------------------------------------


def pacing(**rest: Any) -> dict[str, Any]:
    window = {"window": {"seconds": 60}, "then": "wait"}
    return limit("rpm", **{**window, "max": {"requests": 2, "input_tokens": 1_000}, **rest})


def test_requests_and_known_input_count_at_the_grant_and_a_cancellation_takes_them_back() -> None:
    core = limited(pacing())
    core.given(allocate("ann", 100_000))
    request = {"model": "sonnet", "input_tokens": 400, "output_tokens": 50}
    core.given(c.Reserve(agent="ann", id="a", **request), c.Reserve(agent="ann", id="b", **request))
    core.when(c.Reserve(agent="ann", id="c", **request))
    core.then_refused("limit_reached", dimension="input_tokens", used=800, held=0)
    core.given(c.CancelHold(hold="a")).given(c.Reserve(agent="ann", id="d", **request))
    core.wait(10).given(c.Settle(hold="b", **request))
    core.when(c.Reserve(agent="ann", id="e", **request))
    core.then_refused("limit_reached", used=800)
    # What was granted a minute ago counts no more, although the hold stands.
    core.wait(51.1).given(c.Reserve(agent="ann", id="f", **request))


def test_a_settlement_with_more_input_than_was_known_counts_the_rest_when_it_is_settled() -> None:
    core = limited(pacing(max={"input_tokens": 1_000}))
    core.given(
        allocate("ann", 100_000), c.Reserve(agent="ann", id="a", model="sonnet", input_tokens=400, output_tokens=0)
    )
    core.wait(30).given(c.Settle(hold="a", input_tokens=700, output_tokens=5))
    core.wait(40)
    core.when(c.Reserve(agent="ann", id="b", model="sonnet", input_tokens=701, output_tokens=0))
    core.then_refused("limit_reached", used=300)
    core.given(c.Reserve(agent="ann", id="c", model="sonnet", input_tokens=700, output_tokens=0))


def test_a_settlement_with_less_input_takes_the_rest_back() -> None:
    core = limited(pacing(max={"input_tokens": 1_000}))
    core.given(
        allocate("ann", 100_000), c.Reserve(agent="ann", id="a", model="sonnet", input_tokens=900, output_tokens=0)
    )
    core.given(c.Settle(hold="a", input_tokens=100, output_tokens=5))
    core.given(c.Reserve(agent="ann", id="b", model="sonnet", input_tokens=900, output_tokens=0))


def test_parts_of_a_settlement_are_one_request() -> None:
    core = limited(pacing(max={"requests": 3}))
    core.given(
        allocate("ann", 100_000), c.Reserve(agent="ann", id="a", model="sonnet", input_tokens=10, output_tokens=0)
    )
    for _ in range(4):
        core.given(c.Settle(hold="a", input_tokens=1, output_tokens=1, final=False))
    core.given(c.Settle(hold="a", input_tokens=1, output_tokens=1))
    core.given(*(c.Reserve(agent="ann", id=f"b{n}", model="sonnet", input_tokens=1, output_tokens=0) for n in range(2)))
    core.when(c.Reserve(agent="ann", id="c", model="sonnet", input_tokens=1, output_tokens=0))
    core.then_refused("limit_reached", dimension="requests", used=3)


def test_a_hold_that_names_no_model_is_counted_where_its_settlement_does() -> None:
    core = limited(limit("opus", match={"model": "opus"}, window="day", max={"tokens": 100, "requests": 5}))
    core.given(allocate("ann", 100_000), hold("ann", "a", 500), c.Settle(hold="a", usage=budget(150), model="opus"))
    core.when(ask("ann", "b", 1, model="claude-opus-5-5"))
    core.then_refused("limit_reached", used=150)


def test_without_a_split_tokens_count_wholly_as_input_and_as_output() -> None:
    core = limited(limit(window="day", max={"input_tokens": 100, "output_tokens": 100}))
    core.given(allocate("ann", 100_000), use("ann", 60))
    core.when(hold("ann", "a", 41))
    core.then_refused("limit_reached", dimension="input_tokens", used=60)


def test_open_holds_count_at_once_and_no_more_when_they_end() -> None:
    core = limited(limit("few", per="account", max={"concurrent": 2}))
    core.given(allocate("ann", 100_000), hold("ann", "a", 1), hold("ann", "b", 1))
    core.when(hold("ann", "c", 1))
    core.then_refused("limit_reached", dimension="concurrent", held=2, max=2)
    core.given(settle("a", 1)).given(hold("ann", "d", 1))


# --- who only reports ------------------------------------------------------------------------------------------------


def test_a_report_that_passes_a_limit_is_recorded_and_answered_stop_until_there_is_room() -> None:
    core = limited(limit(window="hour", max={"tokens": 100}))
    core.given(allocate("ann", 100_000))
    assert core.when(use("ann", 99)).action == "continue"
    answer = core.when(use("ann", 50))
    assert (answer.action, answer.decided_by, answer.throttle_rate) == ("stop", "limit:cap", 0.0)
    assert core.check("ann").action == "stop"
    status = core.status("ann")
    assert (status.action, status.decided_by, len(status.obstacles)) == ("stop", "limit:cap", 1)
    (obstacle,) = core.check("ann").obstacles
    assert (obstacle.code, obstacle.limit, obstacle.value, obstacle.max, obstacle.used) == (
        "limit_reached",
        "cap",
        "fleet",
        100,
        149,
    )
    core.wait(3_600)
    assert core.check("ann").action == "continue"


def test_who_only_reports_waits_just_long_enough_for_a_limit_that_paces() -> None:
    core = limited(limit("tpm", window={"seconds": 60}, max={"tokens": 100}, then="wait"))
    core.given(allocate("ann", 100_000), use("ann", 40)).wait(30)
    answer = core.when(use("ann", 70))
    assert (answer.action, answer.decided_by, answer.throttle_rate) == ("throttle", "limit:tpm", 1.0)
    assert 30 <= answer.wait_seconds <= 31
    core.wait(float(answer.wait_seconds))
    assert core.check("ann").action == "continue"


@pytest.mark.parametrize(("then", "action"), [("refuse", "continue"), ("warn", "warn")])
def test_a_limit_that_refuses_says_nothing_to_reporters_and_one_that_warns_refuses_nothing(
    then: str, action: str
) -> None:
    core = limited(limit(window="day", max={"tokens": 100}, then=then))
    core.given(allocate("ann", 100_000))
    assert core.when(use("ann", 100)).action == action
    refused = isinstance(core.when(hold("ann", "a", 1)), Refusal)
    assert refused == (then == "refuse")


def test_use_without_an_account_counts_under_what_it_says_of_itself() -> None:
    core = limited(
        limit(per="label:user", window="day", max={"tokens": 100}),
        limit("one", per="account", window="day", max={"tokens": 500}),
    )
    answer = core.when(report("nobody", 100, labels={"user": "ann"}))
    assert (answer.action, answer.decided_by, answer.unallocated) == ("stop", "limit:cap", True)
    core.given(allocate("gateway", 1_000))
    core.when(ask("gateway", "a", 1, labels={"user": "ann"}))
    core.then_refused("limit_reached", value="ann")


def test_a_late_report_counts_for_the_labels_of_the_account_that_was_released() -> None:
    core = limited(limit(per="label:user", window="day", max={"tokens": 100}))
    core.given(allocate("w", 1_000, labels={"user": "ann"}), c.ReleaseBudget(agent="w"), use("w", 100))
    core.given(allocate("x", 1_000, labels={"user": "ann"}))
    core.when(hold("x", "a", 1))
    core.then_refused("limit_reached", value="ann", used=100)


# --- tasks -----------------------------------------------------------------------------------------------------------


def test_a_task_is_admitted_where_what_it_may_use_is_within_limits_of_a_day_or_longer() -> None:
    core = limited(
        limit("product", per="product", window="day", max={"tokens": 200_000}),
        limit("hourly", window="hour", max={"tokens": 100_000}),
        token_budgets={"default": 80_000},
    )
    assert core.when(submit("t1")).decision == "admitted"
    assert core.when(submit("t2")).decision == "admitted"
    answer = core.when(submit("t3"))
    assert (answer.decision, answer.reason.code, answer.reason.limit, answer.reason.current) == (
        "queued",
        "limit_reached",
        200_000,
        160_000,
    )
    assert core.when(submit("t4", "qa-engineer", product="web")).decision == "admitted"


def test_what_a_run_commits_shrinks_as_it_uses_it_and_its_own_holds_are_a_part_of_it() -> None:
    core = limited(limit(window="total", max={"tokens": 100_000}), token_budgets={"default": 80_000})
    core.given(submit("t1"), allocate("ann", 50_000))
    core.when(hold("ann", "a", 20_001))
    core.then_refused("limit_reached", committed=80_000)
    core.given(hold("t1", "own", 80_000))
    core.when(hold("ann", "b", 20_001))
    core.then_refused("limit_reached", committed=0, held=80_000)
    core.given(settle("own", 30_000))
    core.when(hold("ann", "c", 20_001))
    core.then_refused("limit_reached", committed=50_000, used=30_000)
    core.given(complete("t1")).given(hold("ann", "d", 50_000))


def test_running_tasks_and_open_holds_are_counted_at_once() -> None:
    core = limited(limit("few", per="product", max={"concurrent": 2}))
    core.given(submit("t1"), allocate("ann", 1_000, product="shop"), hold("ann", "a", 1))
    answer = core.when(submit("t2"))
    assert (answer.decision, answer.reason.code, answer.reason.current) == ("queued", "limit_reached", 2)
    core.given(complete("t1")).given(start("t2"))


def test_a_task_that_needs_more_than_a_limit_ever_leaves_is_rejected() -> None:
    core = limited(limit(window="day", max={"tokens": 50_000}), token_budgets={"default": 80_000})
    answer = core.when(submit("t1"))
    assert (answer.decision, answer.reason.code) == ("rejected", "limit_reached")


def test_a_task_passes_its_labels_on_to_the_accounts_of_its_runs() -> None:
    core = limited(limit(per="label:user", window="hour", max={"tokens": 100}))
    core.given(submit("t1", labels={"user": "ann"}), allocate("ann", 1_000, labels={"user": "ann"}), use("t1", 100))
    core.when(hold("ann", "a", 1))
    core.then_refused("limit_reached", value="ann", used=100)


# --- more for a hold -------------------------------------------------------------------------------------------------


def test_more_for_a_hold_is_granted_only_within_the_limits_that_it_counts_in() -> None:
    core = limited(limit(window="day", max={"tokens": 100}))
    core.given(allocate("ann", 1_000), hold("ann", "a", 60))
    core.when(c.Heartbeat(hold="a", amount=budget(41)))
    core.then_refused("limit_reached", held=60)
    core.given(c.Heartbeat(hold="a", amount=budget(40)))
    core.when(hold("ann", "b", 1))
    core.then_refused("limit_reached", held=100)
