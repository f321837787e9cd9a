"""Limits by model and by provider: one model is one, however routers and clouds write its name."""

from typing import Any

import pytest

from tallystick.config.amounts import Usage
from tallystick.events import messages as c
from tallystick.events.messages import proposals as p
from tests.support.capped import bound, most, teams
from tests.support.core import Core, allocate, budget, complete, hold, settle, submit, use
from tests.support.corrections import asked, records
from tests.support.limited import limit, limited

OPUS = (
    "opus",
    "claude-opus-5-5",
    "anthropic/claude-opus-5-5",
    "openrouter/anthropic/claude-opus-5-5:beta",
    "bedrock/us.anthropic.claude-opus-5-5-v1:0",
    "claude-opus-5-5@20260101",
)


def call(model: str, id: str | None = None, **rest: Any) -> c.ReportUsage:
    return c.ReportUsage(agent="ann", id=id, model=model, input_tokens=10, output_tokens=5, **rest)


def counted(core: Core, name: str) -> dict[str | None, Any]:
    """What each counter of a limit has used of the first measure that it bounds."""
    return {one.value: next(iter(one.used.values())) for one in core.when(c.GetLimits(limit=name)).limits}


def test_all_spellings_of_a_model_count_in_one_counter() -> None:
    core = limited(limit(per="model", window="day", max={"requests": 100}))
    core.given(allocate("ann", 100_000), *map(call, OPUS), call("azure/gpt-4o"), call("gpt-4o"))
    assert counted(core, "cap") == {"claude-opus-5-5": len(OPUS), "gpt-4o": 2}


@pytest.mark.parametrize("written", OPUS)
def test_a_limit_on_a_model_cannot_be_passed_by_writing_the_name_in_another_way(written: str) -> None:
    core = limited(limit(match={"model": "opus"}, window="day", max={"requests": 1}))
    core.given(allocate("ann", 100_000), call("opus"))
    core.when(c.Reserve(agent="ann", model=written, input_tokens=1, output_tokens=1))
    core.then_refused("limit_reached")


def test_a_limit_may_name_a_model_in_any_spelling() -> None:
    core = limited(limit(match={"model": "openrouter/anthropic/claude-opus-5-5"}, window="day", max={"requests": 1}))
    core.given(allocate("ann", 100_000), call("opus"))
    assert counted(core, "cap") == {"fleet": 1}


def test_what_a_cloud_serves_counts_for_the_cloud_and_not_for_who_made_the_model() -> None:
    core = limited(limit(per="provider", window="day", max={"requests": 100}))
    core.given(allocate("ann", 100_000), call("opus"), call("anthropic/claude-opus-5-5"))
    core.given(call("bedrock/us.anthropic.claude-opus-5-5-v1:0"), call("azure/gpt-4o"), call("openai/gpt-4o"))
    assert counted(core, "cap") == {"anthropic": 2, "aws": 1, "azure": 1, "openai": 1}


def test_an_accounts_limit_on_a_provider_counts_what_it_serves_and_nothing_else() -> None:
    core = teams().given(bound("ann", most("day", match={"provider": "anthropic"}, requests=1)))
    core.given(c.ReportUsage(agent="ann", model="openai/gpt-4o", usage=budget(1)))
    core.given(c.ReportUsage(agent="ann", model="anthropic/claude-opus-5-5", usage=budget(1)))
    core.when(c.Reserve(agent="ann", model="anthropic/claude-opus-5-5", estimate=budget(1)))
    core.then_refused("limit_reached", limit="ann/1")
    core.given(c.Reserve(agent="ann", model="openai/gpt-4o", estimate=budget(1)))


def test_a_provider_may_be_named_as_routers_name_it() -> None:
    core = limited(limit(match={"provider": "bedrock"}, window="day", max={"requests": 1}))
    core.given(allocate("ann", 100_000), call("bedrock/us.anthropic.claude-opus-5-5-v1:0"))
    core.when(c.Reserve(agent="ann", model="aws/some-model", input_tokens=1, output_tokens=1))
    core.then_refused("limit_reached")


def test_an_operator_raises_and_asks_for_a_model_by_any_of_its_names() -> None:
    core = limited(limit(per="model", window="day", max={"requests": 1})).given(allocate("ann", 100_000), call("opus"))
    (answer,) = core.when(c.ApproveLimit(limit="cap", value="opus", max=c.MaxChange(requests=3))).limits
    assert (answer.value, answer.used, answer.max) == ("claude-opus-5-5", {"requests": 1}, {"requests": 3})
    (asked_for,) = core.when(c.GetLimits(limit="cap", value="anthropic/claude-opus-5-5")).limits
    assert asked_for.left == {"requests": 2}
    core.given(c.Reserve(agent="ann", model="opus", input_tokens=1, output_tokens=1))


def test_what_a_model_answered_is_learned_under_all_its_names() -> None:
    core = limited().given(allocate("ann", 100_000))
    for number in range(20):
        core.given(call(OPUS[number % len(OPUS)], f"call-{number}"))
    answer = core.when(c.Reserve(agent="ann", model="opus", input_tokens=7))
    assert (answer.amount.tokens, answer.estimated_by) == (12, "quantile")


def test_a_correction_after_an_alias_means_another_model_takes_no_counter_below_zero() -> None:
    daily = limit(per="model", window="day", max={"tokens": 1_000})
    rolling = limit("rolling", per="model", window={"hours": 1}, max={"tokens": 1_000})
    core = limited(daily, rolling).given(allocate("ann", 100_000), call("opus"))
    position = core.decided.events[0].position
    core.given(c.ReportUsage(agent="ann", model="opus-6", input_tokens=2, output_tokens=1))
    core.given(c.LoadConfig(config={"models": {"opus": {"id": "opus-6", "provider": "anthropic"}}}))
    core.given(asked(core, position, model="opus", input_tokens=0, output_tokens=0))
    assert counted(core, "cap") == counted(core, "rolling") == {"claude-opus-5-5": 15}, "counted under the earlier name"


def test_the_price_list_does_not_change_what_a_model_counts_as() -> None:
    core = limited(limit(per="model", window="day", max={"requests": 9})).given(allocate("ann", 100_000))
    core.given(call("my/model-1"), p.LoadPrices(prices={"model-1": {"input": 1, "output": 1}}), call("model-1"))
    assert counted(core, "cap") == {"model-1": 2}


# --- runs of tasks ----------------------------------------------------------------------------------------------------


def running(scope: str = "model") -> Core:
    """A task that runs on a model, under a limit of what is used on each."""
    core = limited(limit(per=scope, window="day", max={"tokens": 200_000}))
    return core.given(submit("t-1"))


@pytest.mark.parametrize("scope", ["model", "provider"])
def test_a_run_that_names_no_model_uses_the_one_that_it_was_started_with(scope: str) -> None:
    core = running(scope)
    value = {"model": "claude-sonnet-5-5", "provider": "anthropic"}[scope]
    core.given(use("t-1", 300), hold("t-1", "h", 1_000))
    (one,) = core.when(c.GetLimits(limit="cap")).limits
    assert (one.value, one.used, one.held) == (value, {"tokens": 300}, {"tokens": 1_000})
    core.given(settle("h", 900))
    assert counted(core, "cap") == {value: 1_200}


def test_what_runs_used_without_a_name_leaves_no_room_for_others_on_the_model() -> None:
    core = running().given(use("t-1", 160_000), complete("t-1"), submit("t-2"))
    assert core.ledger.tasks.known["t-2"].state == "queued"
    assert counted(core, "cap") == {"claude-sonnet-5-5": 160_000}


@pytest.mark.parametrize("is_over", [False, True])
def test_a_correction_of_what_a_run_used_counts_for_its_model(is_over: bool) -> None:
    core = running().given(use("t-1", 300), hold("t-1", "h", 1_000), settle("h", 900))
    report, settlement = (record.position for record in records(core))
    if is_over:
        core.given(complete("t-1"))
    core.given(asked(core, report, usage=Usage(tokens=10)), asked(core, settlement, usage=Usage(tokens=20)))
    assert counted(core, "cap") == {"claude-sonnet-5-5": 30}
    core.given(asked(core, report, model="opus"))
    assert counted(core, "cap") == {"claude-sonnet-5-5": 20, "claude-opus-5-5": 10}
