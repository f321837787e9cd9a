"""A type without a token budget: its run carves nothing out, its payer pays as it uses, the day counts its estimate."""

from typing import Any

import pytest

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log import snapshot
from tests.support.core import Core, allocate, budget, complete, dump, hold, submit, use


def configured(**config: Any) -> Core:
    total = {"total_budget": {"tokens": 1000}, "emergency_reserve_percent": 0, "minimum_share_percent": 0}
    return Core(c.LoadConfig(config={**total, **config}))


def test_its_run_carves_nothing_out_and_the_pool_pays_as_it_uses() -> None:
    core = configured()
    answer = core.when(submit("t"))
    assert (answer.decision, answer.token_budget, answer.max_tokens) == ("admitted", None, None)
    assert core.ledger.pool == (1000, None, None)
    core.given(use("t", 300))
    assert core.ledger.pool == (700, None, None)
    status = core.when(c.GetStatus(agent="t"))
    assert (status.allocated.tokens, status.consumed.tokens, status.status) == (None, 300, "green")
    core.given(complete("t"))
    assert core.ledger.pool == (700, None, None)
    assert core.ledger.consumed[0] == 300


def test_its_holds_are_paid_by_its_parent() -> None:
    core = configured()
    core.given(allocate("boss", 100), submit("t", parent="boss"), hold("t", "h", 60))
    core.when(hold("t", "g", 60))
    core.then_refused("budget_exhausted")
    assert core.ledger.accounts["boss"].free[0] == 40


def test_its_mark_is_never_passed_because_it_has_none() -> None:
    core = configured()
    core.given(submit("t"), use("t", 900))
    assert not [event for event in core.log if isinstance(event, e.TokenBudgetPassed)]


@pytest.mark.parametrize(("estimate", "second"), [(400, "queued"), (300, "admitted"), (None, "admitted")])
def test_the_day_counts_its_estimate(estimate: int | None, second: str) -> None:
    core = configured(daily_limits={"max_tokens_total": 700})
    core.given(submit("t", estimated_tokens=estimate))
    assert core.ledger.commitments.open == (estimate or 0)
    assert core.when(submit("u", estimated_tokens=estimate)).decision == second


def test_an_estimate_that_no_day_has_room_for_can_never_run() -> None:
    core = configured(daily_limits={"max_tokens_total": 700})
    answer = core.when(submit("t", estimated_tokens=701))
    assert (answer.decision, answer.reason.code) == ("rejected", "daily_tokens")


def test_a_default_is_for_all_types_that_are_not_named() -> None:
    core = configured(token_budgets={"writer": 10, "default": 20})
    assert core.when(submit("t", "writer")).token_budget == 10
    assert core.when(submit("u", "editor")).max_tokens == 30


def test_a_snapshot_keeps_such_a_run() -> None:
    core = configured(daily_limits={"max_tokens_total": 700})
    core.given(submit("t", estimated_tokens=400), use("t", 150))
    again = snapshot.load(snapshot.dump(core.ledger))
    assert again is not None
    assert dump(again) == dump(core.ledger)
    core.given(c.CompleteTask(task="t", outcome="completed", usage=budget(200)))


def test_an_estimate_that_is_not_known_makes_no_condition_true() -> None:
    rules = [{"condition": "task.estimated_tokens < 5000", "model": "haiku"}, {"condition": "default", "model": "opus"}]
    core = configured(auto_model_selection={"rules": rules})
    assert core.when(submit("t")).model == "opus"
    assert core.when(submit("u", estimated_tokens=10)).model == "haiku"
