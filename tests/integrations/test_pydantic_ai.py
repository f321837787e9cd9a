"""Pydantic AI: each request is asked for before, and settled by what the framework says of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic_ai import Agent, RunContext, UsageLimitExceeded
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models import Model
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.usage import RequestUsage

from tallystick import Client, Fleet, Refused
from tallystick.integrations.pydantic_ai import Budget, CallRefused
from tests.support.programs import fleet_of, holds, run, status

AnyFleet = Fleet | Client
MODEL = "claude-sonnet-4-5"
USED = RequestUsage(input_tokens=100, output_tokens=10)


def answering(
    usage: RequestUsage = USED, *, model: str = MODEL, id: str | None = None, calls: list[int] | None = None
) -> FunctionModel:
    """A model that answers with this usage; ``calls`` counts how often."""

    async def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if calls is not None:
            calls.append(1)
        await asyncio.sleep(0)
        return ModelResponse(parts=[TextPart("hello")], usage=usage, provider_response_id=id)

    return FunctionModel(answer, model_name=model)


def streaming() -> FunctionModel:
    """A model that streams; the framework counts what it has said."""

    async def words(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        for word in ("one ", "two ", "three "):
            yield word

    return FunctionModel(stream_function=words, model_name=MODEL)


def tokens(fleet: AnyFleet, agent: str = "lead") -> int:
    consumed: int = status(fleet, agent)["consumed"]["tokens"]
    return consumed


def with_agent(
    fleet: AnyFleet, model: Model, program: Callable[[Agent], Any], budget: int = 1_000_000, **terms: Any
) -> Any:
    """What a program of an agent returns that has a budget."""

    async def opened() -> Any:
        async with fleet.agent("lead", tokens=budget):
            return await program(Agent(model, name="writer", capabilities=[Budget(fleet, "lead", **terms)]))

    return run(opened())


def test_fifty_runs_at_once_are_settled_by_what_the_framework_counts(any_fleet: AnyFleet) -> None:
    async def program(agent: Agent) -> None:
        results = await asyncio.gather(*(agent.run("hello") for _ in range(50)))
        assert tokens(any_fleet) == sum(result.usage.total_tokens for result in results) == 50 * 110

    with_agent(any_fleet, answering(), program)


def test_of_fifty_requests_only_those_are_made_that_there_is_room_for(any_fleet: AnyFleet) -> None:
    calls: list[int] = []

    async def program(agent: Agent) -> None:
        asked = (agent.run("hello", model_settings={"max_tokens": 900}) for _ in range(50))
        results = await asyncio.gather(*asked, return_exceptions=True)
        refused = [result for result in results if isinstance(result, CallRefused)]
        assert len(refused) == 50 - len(calls)
        assert 0 < len(calls) < 50
        assert tokens(any_fleet) == 402 * len(calls) <= 5_000

    model = answering(RequestUsage(input_tokens=2, output_tokens=400), model="claude-opus-4-1", calls=calls)
    with_agent(any_fleet, model, program, budget=5_000, wait_seconds=0)


def test_a_refused_request_is_the_frameworks_own_error_and_calls_no_model(any_fleet: AnyFleet) -> None:
    calls: list[int] = []

    async def program(agent: Agent) -> None:
        with pytest.raises(
            UsageLimitExceeded, match=r"^budget_exhausted: tokens: .* was asked for, 1 is free$"
        ) as caught:
            await agent.run("hello")
        assert isinstance(caught.value, Refused)
        assert caught.value.code == "budget_exhausted"
        assert caught.value.details["available"]["tokens"] == 1
        assert tokens(any_fleet) == len(calls) == 0

    with_agent(any_fleet, answering(calls=calls), program, budget=1)


def test_a_stream_is_settled_when_it_is_through(any_fleet: AnyFleet) -> None:
    async def program(agent: Agent) -> None:
        async with agent.run_stream("hello") as result:
            said = [text async for text in result.stream_text(delta=True, debounce_by=None)]
        assert said == ["one ", "two ", "three "]
        assert tokens(any_fleet) == result.usage.total_tokens == 53

    with_agent(any_fleet, streaming(), program)


def test_a_stream_that_is_left_is_settled_by_what_it_had_said(any_fleet: AnyFleet) -> None:
    async def program(agent: Agent) -> None:
        with contextlib.suppress(KeyError):
            async with agent.run_stream("hello") as result:
                async for _ in result.stream_text(debounce_by=None):
                    raise KeyError
        assert tokens(any_fleet) == result.usage.total_tokens == 51

    with_agent(any_fleet, streaming(), program)


def test_a_stream_that_is_left_counts_as_a_whole_where_the_program_says_so() -> None:
    async def program(agent: Agent) -> None:
        with contextlib.suppress(KeyError):
            async with agent.run_stream("hello", model_settings={"max_tokens": 500}) as result:
                async for _ in result.stream_text(debounce_by=None):
                    raise KeyError
        assert tokens(fleet) >= 500

    with fleet_of() as fleet:
        with_agent(fleet, streaming(), program, on_crash="spend")
        assert holds(fleet) == []


def test_a_request_that_raises_gives_its_hold_back(any_fleet: AnyFleet) -> None:
    async def broken(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        raise ConnectionError

    async def program(agent: Agent) -> None:
        with pytest.raises(ConnectionError):
            await agent.run("hello")
        assert tokens(any_fleet) == 0
        assert holds(any_fleet) == []

    with_agent(any_fleet, FunctionModel(broken, model_name=MODEL), program)


def test_a_request_that_is_cancelled_gives_its_hold_back(any_fleet: AnyFleet) -> None:
    asked = asyncio.Event()

    async def slow(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def program(agent: Agent) -> None:
        running = asyncio.create_task(agent.run("hello"))
        await asked.wait()
        assert len(holds(any_fleet)) == 1
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert holds(any_fleet) == []
        assert tokens(any_fleet) == 0

    with_agent(any_fleet, FunctionModel(slow, model_name=MODEL), program)


def test_each_request_of_a_run_with_tools_is_asked_for() -> None:
    async def program(agent: Agent) -> None:
        @agent.tool_plain
        def look_up(word: str) -> str:
            return word

        result = await agent.run("hello")
        assert result.usage.requests == 2
        assert tokens(fleet) == result.usage.total_tokens

    with fleet_of() as fleet:
        with_agent(fleet, TestModel(), program)


def test_agents_that_others_call_have_accounts_of_their_own_by_their_names() -> None:
    async def program() -> None:
        async with fleet.agent("lead", tokens=1_000_000):
            budget = Budget(fleet, "lead", sub_agents={"tokens": 50_000})
            reader = Agent(answering(), name="reader", capabilities=[budget])

            async def writing(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
                is_read = any(isinstance(part, ToolReturnPart) for message in messages for part in message.parts)
                parts = [TextPart("done")] if is_read else [ToolCallPart("read", {})]
                return ModelResponse(parts=parts, usage=USED)

            writer = Agent(FunctionModel(writing, model_name=MODEL), name="writer", capabilities=[budget])

            @writer.tool
            async def read(context: RunContext) -> str:
                return (await reader.run("read", usage=context.usage)).output

            result = await writer.run("write")
            assert (tokens(fleet, "lead.writer"), tokens(fleet, "lead.reader")) == (220, 110)
            assert result.usage.total_tokens == 330
            assert status(fleet, "lead.reader")["parent"] == "lead"

    with fleet_of() as fleet:
        run(program())
        assert holds(fleet) == []


def test_answers_that_a_fallback_rejected_count_for_their_own_models() -> None:
    cheap = answering(RequestUsage(input_tokens=7, output_tokens=3))

    def is_cheap(response: ModelResponse) -> bool:
        return response.usage.input_tokens == 7

    async def program(agent: Agent) -> None:
        result = await agent.run("hello")
        assert tokens(fleet) == result.usage.total_tokens == 120

    with fleet_of() as fleet:
        model = FallbackModel(cheap, answering(), fallback_on=is_cheap)
        with_agent(fleet, model, program)


@pytest.mark.parametrize(
    ("framework", "provider"),
    [
        (
            RequestUsage(input_tokens=1_000, cache_read_tokens=600, cache_write_tokens=100, output_tokens=50),
            {
                "input_tokens": 300,
                "cache_read_input_tokens": 600,
                "cache_creation_input_tokens": 100,
                "output_tokens": 50,
            },
        ),
        (
            RequestUsage(
                input_tokens=900, cache_write_tokens=800, output_tokens=9, details={"ephemeral_1h_input_tokens": 500}
            ),
            {
                "input_tokens": 100,
                "cache_creation_input_tokens": 800,
                "cache_creation": {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 500},
                "output_tokens": 9,
            },
        ),
    ],
)
def test_cached_tokens_cost_what_the_provider_charges_for_them(framework: RequestUsage, provider: Any) -> None:
    async def program(agent: Agent) -> None:
        await agent.run("hello")
        with fleet.agent("plain", usd=100) as plain:
            plain.report(provider, model=MODEL)
            ours, theirs = (status(fleet, name)["consumed"] for name in ("lead", "plain"))
            assert (ours["tokens"], ours["cost_usd"]) == (theirs["tokens"], theirs["cost_usd"])

    with fleet_of() as fleet:
        with_agent(fleet, answering(framework), program)


def test_a_request_that_others_report_under_its_providers_id_counts_once() -> None:
    async def program(agent: Agent) -> None:
        await agent.run("hello")
        answer = fleet.ask(
            {
                "type": "ReportUsage",
                "agent": "lead",
                "source_id": "msg_01XFDUDYJgAACzvnptvVoYEL",
                "model": MODEL,
                "input_tokens": 100,
                "output_tokens": 10,
            }
        )
        assert answer["ok"]["recorded"] is False
        assert tokens(fleet) == 110

    with fleet_of() as fleet:
        with_agent(fleet, answering(id="msg_01XFDUDYJgAACzvnptvVoYEL"), program)
