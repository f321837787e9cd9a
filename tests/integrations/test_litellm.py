"""LiteLLM: each call is asked for before, and settled by what LiteLLM says of it."""

import asyncio
import socket
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import litellm

from tallystick import Client, Fleet, Refused
from tallystick.actors.errors import Unanswered
from tallystick.integrations.litellm import Budget
from tests.support.litellm_model import MESSAGES, Model, ended
from tests.support.programs import agents, consumed, fleet_of, holds, run, status, until

# LiteLLM loads some of its parts when they are first used, and pydantic warns of them.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydantic")


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    provider = Model()
    monkeypatch.setattr(litellm, "custom_provider_map", [{"provider": "mine", "custom_handler": provider}])
    monkeypatch.setattr(litellm, "suppress_debug_info", True)
    return provider


@pytest.fixture
def fleet(model: Model) -> Iterator[Fleet]:
    with fleet_of() as fleet, fleet.agent("lead", tokens=10_000, usd=10):
        yield fleet
        assert holds(fleet) == []


def ask(model: str = "mine/a", **more: Any) -> Any:
    return litellm.acompletion(model=model, messages=MESSAGES, max_tokens=50, **more)


def calling(fleet: Fleet, program: Any, **terms: Any) -> Any:
    """Run a coroutine with the budget as LiteLLM's only callback; the account ``lead`` has no hold afterwards."""
    litellm.callbacks = [Budget(fleet, "lead", wait_seconds=0, **terms)]

    async def until_settled() -> Any:
        result = await program
        await ended(fleet)
        return result

    try:
        return run(until_settled())
    finally:
        litellm.logging_callback_manager._reset_all_callbacks()


def test_a_call_is_held_before_and_settled_by_the_providers_usage(fleet: Fleet, model: Model) -> None:
    async def program() -> None:
        call = asyncio.create_task(ask("mine/slow"))
        await model.asked.wait()
        (held,) = holds(fleet)
        assert (held["agent"], held["held"]["tokens"]) == ("lead", 2 + 1 + 50)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await ended(fleet)
        assert (await ask()).usage.total_tokens == 15
        # An answer is settled when it is there.
        assert status(fleet, "lead")["consumed"]["tokens"] == 15
        assert holds(fleet) == []

    calling(fleet, program())
    assert len(holds(fleet, "cancelled")) == 1


def test_fifty_calls_at_once_come_to_what_litellm_says(fleet: Fleet, model: Model) -> None:
    costs: list[float] = []

    async def program() -> None:
        answers = await asyncio.gather(*(ask("gpt-5", mock_response="hi " * number) for number in range(50)))
        costs.extend(litellm.completion_cost(answer) for answer in answers)

    calling(fleet, program())
    used = status(fleet, "lead")["consumed"]
    assert used["tokens"] == 50 * 30
    assert float(used["cost_usd"]) == pytest.approx(sum(costs))


def test_a_refused_call_is_an_error_of_a_budget_and_the_model_is_not_called(fleet: Fleet, model: Model) -> None:
    async def program() -> None:
        with pytest.raises(litellm.BudgetExceededError, match="budget_exhausted") as refused:
            await litellm.acompletion(model="mine/a", messages=MESSAGES, max_tokens=20_000)
        assert isinstance(refused.value, Refused)
        assert str(refused.value).startswith("budget_exhausted: tokens: 20003 was asked for")
        assert refused.value.details["available"]["tokens"] == 10_000
        assert (refused.value.current_cost, refused.value.status_code) == (0.0, 422)

    calling(fleet, program())
    assert model.calls == 0


@pytest.mark.parametrize("how", ["num_retries", "router"])
def test_no_retry_gets_past_a_refusal(fleet: Fleet, model: Model, how: str) -> None:
    deployment = {"model_name": "any", "litellm_params": {"model": "mine/a"}}

    async def program() -> None:
        if how == "router":
            call = litellm.Router([deployment], num_retries=2, retry_after=0).acompletion
        else:
            call = partial(litellm.acompletion, num_retries=2)
        with pytest.raises(litellm.BudgetExceededError):
            await call(model="any" if how == "router" else "mine/a", messages=MESSAGES, max_tokens=20_000)

    calling(fleet, program())
    assert model.calls == 0


def test_no_retry_gets_past_a_fleet_that_does_not_answer(model: Model) -> None:
    with socket.create_server(("127.0.0.1", 0)) as place:
        url = f"http://127.0.0.1:{place.getsockname()[1]}"
    litellm.callbacks = [Budget(Client(url, retry_seconds=0), "lead")]
    try:
        with pytest.raises(Unanswered):
            run(ask(num_retries=2))
    finally:
        litellm.logging_callback_manager._reset_all_callbacks()
    assert model.calls == 0


def test_each_attempt_of_a_router_is_asked_for(fleet: Fleet, model: Model) -> None:
    deployments = [
        {"model_name": "any", "litellm_params": {"model": "mine/broken"}},
        {"model_name": "other", "litellm_params": {"model": "mine/a"}},
    ]

    async def program() -> None:
        router = litellm.Router(deployments, num_retries=0, fallbacks=[{"any": ["other"]}])
        await router.acompletion("any", MESSAGES, max_tokens=50)

    calling(fleet, program())
    assert (len(holds(fleet, "cancelled")), len(holds(fleet, "settled"))) == (1, 1)
    assert status(fleet, "lead")["consumed"]["tokens"] == 15


def test_a_stream_is_settled_at_its_end(fleet: Fleet, model: Model) -> None:
    async def program() -> None:
        parts = [part async for part in await ask(stream=True)]
        assert "".join(part.choices[0].delta.content or "" for part in parts) == "ababab"

    calling(fleet, program())
    assert status(fleet, "lead")["consumed"]["tokens"] == 15


def test_a_stream_that_is_left_holds_nothing(fleet: Fleet, model: Model) -> None:
    async def program() -> None:
        stream = await ask("mine/a", stream=True)
        await anext(stream)
        assert len(holds(fleet)) == 1

    calling(fleet, program())
    assert consumed(fleet)["tokens"] == 0


@pytest.mark.parametrize(("on_crash", "spent"), [("release", 0), ("spend", 53)])
def test_what_a_failed_call_held_ends_by_its_policy(fleet: Fleet, model: Model, on_crash: str, spent: int) -> None:
    async def program() -> None:
        with pytest.raises(litellm.APIConnectionError, match="it is broken"):
            await ask("mine/broken")

    calling(fleet, program(), on_crash=on_crash)
    assert status(fleet, "lead")["consumed"]["tokens"] == spent


@pytest.mark.parametrize("how", ["task", "timeout"])
def test_a_cancelled_call_holds_nothing(fleet: Fleet, model: Model, how: str) -> None:
    async def program() -> None:
        if how == "task":
            call = asyncio.create_task(ask("mine/slow"))
            await model.asked.wait()
            call.cancel()
            # The error, and with it all that the call had, is kept.
            (error,) = await asyncio.gather(call, return_exceptions=True)
            await ended(fleet)
            assert isinstance(error, asyncio.CancelledError)
            return
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await ask("mine/slow")

    calling(fleet, program())
    assert consumed(fleet)["tokens"] == 0


def test_calls_name_sub_agents_which_have_accounts_below(fleet: Fleet, model: Model) -> None:
    async def program() -> None:
        await asyncio.gather(*(ask(metadata={"agent": name}) for name in ("reader", "reader", "writer")), ask())

    calling(fleet, program(), sub_agents={"tokens": 1_000})
    assert agents(fleet) == ["lead", "lead.reader", "lead.writer"]
    assert status(fleet, "lead.reader")["consumed"]["tokens"] == 30
    assert status(fleet, "lead")["consumed"]["tokens"] == 15


def test_two_calls_of_one_id_are_two_calls(fleet: Fleet, model: Model) -> None:
    """The clients of a proxy choose the ids of their calls."""

    async def program() -> None:
        await asyncio.gather(*(ask(litellm_call_id="same") for _ in range(2)))

    calling(fleet, program())
    assert len(holds(fleet, "settled")) == 2


def test_what_litellm_has_in_its_cache_is_free(fleet: Fleet, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("soundfile", reason="LiteLLM's cache imports parts of its proxy")
    monkeypatch.setattr(litellm, "cache", litellm.Cache(type="local"))

    async def program() -> None:
        for _ in range(2):
            await ask("mine/a", caching=True)
            await ended(fleet)

    calling(fleet, program())
    assert (model.calls, status(fleet, "lead")["consumed"]["tokens"]) == (1, 15)


def test_other_requests_than_chats_are_asked_for_too(fleet: Fleet, model: Model) -> None:
    async def program() -> None:
        await litellm.aembedding(model="text-embedding-3-small", input=["hello"], mock_response=[0.1])
        await litellm.aresponses(model="gpt-5", input="hello", mock_response="hi", max_output_tokens=50)
        await litellm.anthropic_messages(model="mine/a", messages=MESSAGES, max_tokens=50)

    calling(fleet, program())
    assert len(holds(fleet, "settled")) == 3


def test_a_call_without_await_is_reported_afterwards(fleet: Fleet, model: Model) -> None:
    litellm.callbacks = [Budget(fleet, "lead")]
    try:
        litellm.completion(model="mine/a", messages=MESSAGES, max_tokens=20_000)
        until(lambda: consumed(fleet)["tokens"] > 0)
    finally:
        litellm.logging_callback_manager._reset_all_callbacks()
    assert status(fleet, "lead")["consumed"]["tokens"] == 15


def test_a_fleet_that_is_served_is_asked_likewise(any_fleet: Fleet, model: Model) -> None:
    async def program() -> None:
        with pytest.raises(litellm.BudgetExceededError):
            await litellm.acompletion(model="mine/large", messages=MESSAGES, max_tokens=20_000)
        await asyncio.gather(*(ask(metadata={"agent": "reader"}) for _ in range(50)))
        await ended(any_fleet)
        call = asyncio.create_task(ask("mine/slow"))
        while model.calls < 51:  # noqa: ASYNC110 - the model has no event for each of its calls
            await asyncio.sleep(0.001)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    with any_fleet.agent("lead", tokens=20_000):
        calling(any_fleet, program(), sub_agents={"tokens": 10_000})
        assert status(any_fleet, "lead.reader")["consumed"]["tokens"] == 50 * 15
        assert model.calls == 51
