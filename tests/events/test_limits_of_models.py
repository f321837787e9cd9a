"""Limits by model and by provider: one model is one, however routers and clouds write its name."""

from typing import Any

import pytest

from tallystick.events import messages as c
from tallystick.events.messages import proposals as p
from tests.support.capped import bound, most, teams
from tests.support.core import Core, allocate, budget
from tests.support.corrections import asked
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
