"""Google ADK: each call of a model is asked for before, and settled by the usage of its response."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from google.adk.agents import LlmAgent, ParallelAgent
from google.adk.agents.callback_context import CallbackContext
from google.adk.agents.run_config import RunConfig, StreamingMode
from google.adk.apps import App
from google.adk.events import Event
from google.adk.models import BaseLlm, LlmRequest, LlmResponse
from google.adk.plugins import BasePlugin
from google.adk.runners import InMemoryRunner
from google.adk.tools.agent_tool import AgentTool
from google.genai import types

from tallystick import Client, Fleet
from tallystick.integrations.google_adk import Budget
from tests.support.programs import fleet_of, holds, run, status

AnyFleet = Fleet | Client
Script = Callable[[LlmRequest], AsyncIterator[LlmResponse]]
MODEL = "gemini-2.5-flash"
STREAM = RunConfig(streaming_mode=StreamingMode.SSE)
HELLO = types.Content(role="user", parts=[types.Part(text="hello")])


def said(text: str, output: int | None = 3, *, partial: bool | None = None) -> LlmResponse:
    """A response, or a part of one, that says of 9 tokens of input and so many of output; None says nothing."""
    usage = types.GenerateContentResponseUsageMetadata(
        prompt_token_count=9,
        cached_content_token_count=4,
        candidates_token_count=output and output - 1,
        thoughts_token_count=1,
        total_token_count=output and 9 + output,
    )
    content = types.Content(role="model", parts=[types.Part(text=text)])
    return LlmResponse(content=content, usage_metadata=None if output is None else usage, partial=partial)


class Model(BaseLlm):
    """A model that answers by a script."""

    script: Any

    async def generate_content_async(self, llm_request: LlmRequest, stream: bool = False) -> Any:
        async for response in self.script(llm_request):
            yield response


async def at_once(request: LlmRequest) -> AsyncIterator[LlmResponse]:
    yield said("hello")


async def in_parts(request: LlmRequest) -> AsyncIterator[LlmResponse]:
    yield said("a", None, partial=True)
    yield said("b", 2, partial=True)
    yield said("ab", 3, partial=False)


def runner_of(script: Script, *plugins: Any, model: str = MODEL, **more: Any) -> InMemoryRunner:
    agent = LlmAgent(name="writer", model=Model(model=model, script=script), **more)
    return InMemoryRunner(app=App(name="app", root_agent=agent, plugins=list(plugins)))


async def stream(runner: InMemoryRunner, config: RunConfig | None = None) -> AsyncIterator[Event]:
    session = await runner.session_service.create_session(app_name="app", user_id="u")
    async with contextlib.aclosing(
        runner.run_async(user_id="u", session_id=session.id, new_message=HELLO, run_config=config)
    ) as events:
        async for event in events:
            yield event


async def ask(runner: InMemoryRunner, config: RunConfig | None = None) -> list[Event]:
    return [event async for event in stream(runner, config)]


def counted(events: list[Event]) -> int:
    """What the framework counts: the events of whole responses have their usage."""
    whole = [event.usage_metadata for event in events if event.usage_metadata and not event.partial]
    return sum(usage.total_token_count or 0 for usage in whole)


def tokens(fleet: AnyFleet, agent: str = "lead") -> int:
    consumed: int = status(fleet, agent)["consumed"]["tokens"]
    return consumed


def with_lead(fleet: AnyFleet, program: Callable[[], Any], budget: int = 1_000_000) -> None:
    async def opened() -> None:
        async with fleet.agent("lead", tokens=budget):
            await program()

    run(opened())


def test_fifty_runs_at_once_are_settled_by_what_the_framework_counts(any_fleet: AnyFleet) -> None:
    async def program() -> None:
        runner = runner_of(at_once, Budget(any_fleet, "lead"))
        runs = await asyncio.gather(*(ask(runner) for _ in range(50)))
        assert tokens(any_fleet) == sum(map(counted, runs)) == 50 * 12
        assert holds(any_fleet) == []

    with_lead(any_fleet, program)


def test_a_refused_call_is_answered_with_an_error_and_calls_no_model(any_fleet: AnyFleet) -> None:
    calls: list[LlmRequest] = []

    async def counting(request: LlmRequest) -> AsyncIterator[LlmResponse]:
        calls.append(request)
        yield said("hello")

    async def program() -> None:
        (event,) = await ask(runner_of(counting, Budget(any_fleet, "lead")))
        assert event.error_code == "budget_exhausted"
        assert event.error_message is not None
        assert event.error_message.endswith("1 is free")
        assert event.custom_metadata is not None
        assert event.custom_metadata["available"]["tokens"] == 1
        assert tokens(any_fleet) == len(calls) == 0

    with_lead(any_fleet, program, budget=1)


def test_of_fifty_calls_only_those_are_made_that_there_is_room_for(any_fleet: AnyFleet) -> None:
    calls: list[LlmRequest] = []

    async def counting(request: LlmRequest) -> AsyncIterator[LlmResponse]:
        calls.append(request)
        await asyncio.sleep(0)
        yield said("hello", 400)

    async def program() -> None:
        budget = Budget(any_fleet, "lead", wait_seconds=0, max_output_tokens=900)
        runner = runner_of(counting, budget, model="gemini-2.5-pro")
        runs = await asyncio.gather(*(ask(runner) for _ in range(50)))
        refused = [events for events in runs if events[-1].error_code == "budget_exhausted"]
        assert len(refused) == 50 - len(calls)
        assert 0 < len(calls) < 50
        assert tokens(any_fleet) == 409 * len(calls) <= 5_000

    with_lead(any_fleet, program, budget=5_000)


def test_a_stream_is_settled_by_its_whole_response(any_fleet: AnyFleet) -> None:
    async def program() -> None:
        events = await ask(runner_of(in_parts, Budget(any_fleet, "lead")), STREAM)
        assert [event.partial for event in events] == [True, True, False]
        assert tokens(any_fleet) == counted(events) == 12
        assert holds(any_fleet) == []

    with_lead(any_fleet, program)


@pytest.mark.parametrize(("on_crash", "used"), [("release", 11), ("spend", 500)])
def test_a_run_that_is_left_counts_by_what_was_said_or_as_a_whole(on_crash: Any, used: int) -> None:
    async def endless(request: LlmRequest) -> AsyncIterator[LlmResponse]:
        yield said("a", 2, partial=True)
        await asyncio.Event().wait()

    async def program() -> None:
        async with contextlib.aclosing(stream(runner_of(endless, budget), STREAM)) as events:
            await anext(events)
            assert len(holds(fleet)) == 1
        assert holds(fleet) == []
        assert used <= tokens(fleet) < used + 50

    with fleet_of() as fleet:
        budget = Budget(fleet, "lead", on_crash=on_crash, max_output_tokens=500)
        with_lead(fleet, program)


def test_a_call_that_raises_gives_its_hold_back(any_fleet: AnyFleet) -> None:
    async def broken(request: LlmRequest) -> AsyncIterator[LlmResponse]:
        raise ConnectionError
        yield

    async def program() -> None:
        with pytest.raises(ConnectionError):
            await ask(runner_of(broken, Budget(any_fleet, "lead")))
        assert holds(any_fleet) == []
        assert tokens(any_fleet) == 0

    with_lead(any_fleet, program)


def test_a_run_that_is_cancelled_gives_its_hold_back(any_fleet: AnyFleet) -> None:
    asked = asyncio.Event()

    async def slow(request: LlmRequest) -> AsyncIterator[LlmResponse]:
        asked.set()
        await asyncio.Event().wait()
        yield said("late")

    async def program() -> None:
        running = asyncio.create_task(ask(runner_of(slow, Budget(any_fleet, "lead"))))
        await asked.wait()
        assert len(holds(any_fleet)) == 1
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert holds(any_fleet) == []
        assert tokens(any_fleet) == 0

    with_lead(any_fleet, program)


def test_a_call_that_a_callback_answered_gives_its_hold_back() -> None:
    def remembered(callback_context: CallbackContext, llm_request: LlmRequest) -> LlmResponse:
        assert len(holds(fleet)) == 1
        return said("from a cache", None)

    async def program() -> None:
        await ask(runner_of(at_once, Budget(fleet, "lead", on_crash="spend"), before_model_callback=remembered))
        assert holds(fleet) == []
        assert tokens(fleet) == 0

    with fleet_of() as fleet:
        with_lead(fleet, program)


def test_at_the_end_of_a_run_nothing_is_held_though_other_plugins_came_first() -> None:
    class Ahead(BasePlugin):
        """It answers at the end of an agent, and those behind it are not asked any more."""

        async def after_agent_callback(self, **_: Any) -> types.Content:
            return HELLO

    def remembered(callback_context: CallbackContext, llm_request: LlmRequest) -> LlmResponse:
        return said("from a cache", None)

    async def program() -> None:
        runner = runner_of(at_once, Ahead("ahead"), Budget(fleet, "lead"), before_model_callback=remembered)
        await ask(runner)
        assert holds(fleet) == []

    with fleet_of() as fleet:
        with_lead(fleet, program)


@pytest.mark.filterwarnings("ignore:The `plugins` argument is deprecated:DeprecationWarning")
def test_agents_have_accounts_of_their_own_and_tools_that_are_agents_too() -> None:
    async def asking_readers(request: LlmRequest) -> AsyncIterator[LlmResponse]:
        if len(request.contents) > 1:
            yield said("done")
            return
        wanted = [types.FunctionCall(id=f"c-{number}", name="reader", args={"request": "read"}) for number in range(3)]
        first = said("")
        first.content = types.Content(role="model", parts=[types.Part(function_call=call) for call in wanted])
        yield first

    async def program() -> None:
        reader = LlmAgent(name="reader", description="reads", model=Model(model=MODEL, script=at_once))
        budget = Budget(fleet, "lead", sub_agents={"tokens": 50_000})
        await ask(runner_of(asking_readers, budget, tools=[AgentTool(reader)]))
        assert (tokens(fleet, "lead.writer"), tokens(fleet, "lead.reader")) == (24, 36)
        assert holds(fleet) == []

    with fleet_of() as fleet:
        with_lead(fleet, program)


@pytest.mark.filterwarnings("ignore:ParallelAgent is deprecated:DeprecationWarning")
def test_agents_that_work_side_by_side_in_one_run_are_not_confused() -> None:
    async def program() -> None:
        names = [f"reader{number}" for number in range(10)]
        readers = [LlmAgent(name=name, model=Model(model=MODEL, script=in_parts)) for name in names]
        budget = Budget(fleet, "lead", sub_agents={"tokens": 50_000})
        app = App(name="app", root_agent=ParallelAgent(name="all", sub_agents=readers), plugins=[budget])
        events = await ask(InMemoryRunner(app=app), STREAM)
        assert {tokens(fleet, f"lead.{name}") for name in names} == {12}
        assert counted(events) == 120
        assert holds(fleet) == []

    with fleet_of() as fleet:
        with_lead(fleet, program)


def test_of_several_whole_responses_of_one_call_the_largest_counts() -> None:
    async def thinking_first(request: LlmRequest) -> AsyncIterator[LlmResponse]:
        yield said("I think", 2, partial=False)
        yield said("so", 5, partial=False)

    async def program() -> None:
        await ask(runner_of(thinking_first, Budget(fleet, "lead")), STREAM)
        assert tokens(fleet) == 14

    with fleet_of() as fleet:
        with_lead(fleet, program)


def test_cached_tokens_and_thoughts_cost_what_the_provider_charges_for_them() -> None:
    async def program() -> None:
        events = await ask(runner_of(at_once, Budget(fleet, "lead")))
        with fleet.agent("plain", usd=100) as plain:
            plain.report(events[-1].usage_metadata, model=MODEL)
            ours, theirs = (status(fleet, name)["consumed"] for name in ("lead", "plain"))
            assert (ours["tokens"], ours["cost_usd"]) == (theirs["tokens"], theirs["cost_usd"])

    with fleet_of() as fleet:
        with_lead(fleet, program)
