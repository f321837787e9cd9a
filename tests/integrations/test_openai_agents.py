"""OpenAI Agents: each call of a run is asked for before, and settled by the usage that the SDK counts."""

import asyncio
import uuid
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from agents import (
        Agent,
        AgentsException,
        Model,
        ModelProvider,
        ModelResponse,
        ModelRetrySettings,
        ModelSettings,
        RunConfig,
        Runner,
        Usage,
        UserError,
        function_tool,
    )
    from agents.models.fake_id import FAKE_RESPONSES_ID
    from openai.types.responses import (
        Response,
        ResponseCompletedEvent,
        ResponseFunctionToolCall,
        ResponseOutputMessage,
        ResponseOutputText,
        ResponseTextDeltaEvent,
        ResponseUsage,
    )
    from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails

from tallystick import Fleet, Refused
from tallystick.integrations.openai_agents import Budget
from tests.support.programs import agents, consumed, fleet_of, holds, run, status

SAID = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}


def text(words: str) -> Any:
    part = ResponseOutputText(text=words, type="output_text", annotations=[])
    return ResponseOutputMessage(id="m", role="assistant", status="completed", type="message", content=[part])


def wish(name: str, arguments: str = "{}") -> Any:
    return ResponseFunctionToolCall(
        id="f", call_id=f"call-{name}", name=name, arguments=arguments, type="function_call"
    )


class Here(Model):
    """A model of the SDK that answers here; it fails or is slow where it is told to."""

    def __init__(self, *outputs: Any, broken: bool = False, slow: bool = False, usage: Usage | None = None) -> None:
        self.outputs, self.broken, self.slow = list(outputs), broken, slow
        self.usage = Usage(requests=1, **SAID) if usage is None else usage
        self.model = "sonnet"
        self.calls = self.streams = 0
        self.asked = asyncio.Event()

    async def _next(self) -> list[Any]:
        self.calls += 1
        self.asked.set()
        await asyncio.sleep(0)
        if self.slow:
            await asyncio.Event().wait()
        if self.broken:
            raise ConnectionError("it is broken")
        return [self.outputs.pop(0) if self.outputs else text("hello")]

    async def get_response(self, *given: Any, **named: Any) -> ModelResponse:
        return ModelResponse(output=await self._next(), usage=self.usage, response_id=f"resp_{uuid.uuid4().hex}")

    async def stream_response(self, *given: Any, **named: Any) -> AsyncIterator[Any]:
        self.streams += 1
        try:
            yield ResponseTextDeltaEvent(
                content_index=0, delta="he", item_id="m", output_index=0, sequence_number=0, logprobs=[],
                type="response.output_text.delta",
            )  # fmt: skip
            yield await self._completed()
        finally:
            self.streams -= 1

    async def _completed(self) -> ResponseCompletedEvent:
        output = await self._next()
        usage = ResponseUsage(
            **SAID,
            input_tokens_details=InputTokensDetails(cached_tokens=0, cache_write_tokens=0),
            output_tokens_details=OutputTokensDetails(reasoning_tokens=0),
        )
        response = Response(
            id=FAKE_RESPONSES_ID, created_at=0, model="sonnet", object="response", output=output, usage=usage,
            parallel_tool_calls=False, tool_choice="auto", tools=[],
        )  # fmt: skip
        return ResponseCompletedEvent(response=response, sequence_number=1, type="response.completed")


class Provider(ModelProvider):
    """Knows the same model by all names."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def get_model(self, model_name: str | None) -> Model:
        return self.model


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    with fleet_of() as fleet, fleet.agent("lead", tokens=500_000, usd=100):
        yield fleet
        assert holds(fleet) == []


def config(fleet: Fleet, model: Model | None = None, **terms: Any) -> RunConfig:
    given = RunConfig(tracing_disabled=True, model_provider=Provider(Here() if model is None else model))
    return Budget(fleet, "lead", wait_seconds=0, **terms).run_config(given)


def agent(**terms: Any) -> Agent[Any]:
    return Agent(**{"name": "lead", "model": "sonnet", "model_settings": ModelSettings(max_tokens=100), **terms})


def test_a_call_is_held_before_and_settled_by_the_usage_of_its_response(fleet: Fleet) -> None:
    async def program() -> None:
        model = Here(slow=True)
        call = asyncio.create_task(Runner.run(agent(), "hello", run_config=config(fleet, model)))
        await model.asked.wait()
        (held,) = holds(fleet)
        assert held["agent"] == "lead"
        assert 100 < held["held"]["tokens"] < 120
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        result = await Runner.run(agent(), "hello", run_config=config(fleet))
        assert result.context_wrapper.usage.total_tokens == 15

    run(program())
    assert status(fleet, "lead")["consumed"]["tokens"] == 15


def test_fifty_runs_at_once_come_to_what_the_sdk_says(fleet: Fleet) -> None:
    async def program() -> int:
        terms = config(fleet)
        results = await asyncio.gather(*(Runner.run(agent(), "hello", run_config=terms) for _ in range(50)))
        return sum(result.context_wrapper.usage.total_tokens for result in results)

    assert run(program()) == status(fleet, "lead")["consumed"]["tokens"] == 50 * 15


def test_a_run_without_await_does_the_same(fleet: Fleet) -> None:
    with asyncio.Runner() as loop:  # the SDK would leave its own open
        asyncio.set_event_loop(loop.get_loop())
        Runner.run_sync(agent(), "hello", run_config=config(fleet))
        asyncio.set_event_loop(None)
    assert status(fleet, "lead")["consumed"]["tokens"] == 15


@pytest.mark.parametrize("streamed", [False, True])
def test_a_refusal_is_an_error_of_the_sdk_and_the_model_is_not_called(fleet: Fleet, streamed: bool) -> None:
    model = Here()
    large = agent(model_settings=ModelSettings(max_tokens=600_000))

    async def program() -> None:
        if not streamed:
            await Runner.run(large, "hello", run_config=config(fleet, model))
        result = Runner.run_streamed(large, "hello", run_config=config(fleet, model))
        async for _ in result.stream_events():
            pass

    with pytest.raises(AgentsException, match="budget_exhausted") as refused:
        run(program())
    assert isinstance(refused.value, Refused)
    assert refused.value.details["available"]["tokens"] == 500_000
    assert model.calls == 0


def test_a_stream_is_settled_at_its_end(fleet: Fleet) -> None:
    async def program() -> None:
        for _ in range(2):
            result = Runner.run_streamed(agent(), "hello", run_config=config(fleet))
            assert [event.type async for event in result.stream_events()]
            assert result.final_output == "hello"

    run(program())
    assert status(fleet, "lead")["consumed"]["tokens"] == 30


def test_a_stream_that_is_cancelled_holds_nothing(fleet: Fleet) -> None:
    async def program() -> None:
        model = Here(slow=True)
        result = Runner.run_streamed(agent(), "hello", run_config=config(fleet, model))
        async for _ in result.stream_events():
            await model.asked.wait()
            assert len(holds(fleet)) == 1
            result.cancel()

    run(program())
    assert consumed(fleet)["tokens"] == 0


def test_a_stream_that_is_left_is_closed_and_holds_nothing(fleet: Fleet) -> None:
    async def program() -> None:
        here = Here()
        stream = Budget(fleet, "lead").model(here).stream_response(None, "hello", ModelSettings(max_tokens=100), [])
        await anext(stream)
        assert (here.streams, len(holds(fleet))) == (1, 1)
        await stream.aclose()
        assert (here.streams, len(holds(fleet))) == (0, 0)

    run(program())


@pytest.mark.parametrize(("on_crash", "spent"), [("release", False), ("spend", True)])
def test_what_a_failed_call_held_ends_by_its_policy(fleet: Fleet, on_crash: str, spent: bool) -> None:
    with pytest.raises(ConnectionError, match="it is broken"):
        run(Runner.run(agent(), "hello", run_config=config(fleet, Here(broken=True), on_crash=on_crash)))
    assert bool(status(fleet, "lead")["consumed"].get("tokens")) == spent


def test_what_a_call_used_counts_though_the_run_fails_by_it(fleet: Fleet) -> None:
    with pytest.raises(AgentsException, match="not found"):
        run(Runner.run(agent(), "hello", run_config=config(fleet, Here(wish("no_such_tool")))))
    assert status(fleet, "lead")["consumed"]["tokens"] == 15


def test_each_attempt_of_a_retry_is_asked_for(fleet: Fleet) -> None:
    retry = ModelRetrySettings(max_retries=2, backoff={"initial_delay": 0.0}, policy=lambda _: True)
    settings = ModelSettings(max_tokens=100, retry=retry)
    with pytest.raises(ConnectionError):
        run(
            Runner.run(
                agent(model_settings=settings), "hello", run_config=config(fleet, Here(broken=True), on_crash="spend")
            )
        )
    assert len(holds(fleet, "settled")) == 3


def test_handoffs_and_agents_that_are_tools_have_accounts_of_their_own(fleet: Fleet) -> None:
    @function_tool
    def weather() -> str:
        return "fine"

    model = Here(
        wish("ask_reader", '{"input": "read"}'),
        wish("weather"),
        text("read"),
        wish("transfer_to_writer"),
        text("written"),
    )
    reader = agent(name="reader", tools=[weather])
    writer = agent(name="writer")
    lead = agent(tools=[reader.as_tool("ask_reader", "reads")], handoffs=[writer])
    result = run(Runner.run(lead, "hello", run_config=config(fleet, model, sub_agents={"tokens": 50_000})))
    assert result.final_output == "written"
    assert agents(fleet) == ["lead", "lead.reader", "lead.writer"]
    used = {name: status(fleet, name)["consumed"]["tokens"] for name in agents(fleet)}
    assert used == {"lead": 30, "lead.reader": 30, "lead.writer": 15}
    assert sum(used.values()) == 5 * 15


def test_an_agent_with_a_model_of_its_own_asks_where_the_budget_is_around_it(fleet: Fleet) -> None:
    budget = Budget(fleet, "lead")
    terms = budget.run_config(RunConfig(tracing_disabled=True))
    run(Runner.run(agent(model=budget.model(Here())), "hello", run_config=terms))
    assert status(fleet, "lead")["consumed"]["tokens"] == 15
    model = Here()
    with pytest.raises(UserError, match=r"agent lead: found a model of its own \(Here\).*budget.model"):
        run(Runner.run(agent(model=model), "hello", run_config=terms))
    assert model.calls == 0
    run(Runner.run(agent(model=model), "hello", run_config=budget.run_config(RunConfig(model=Here()))))
    assert (model.calls, status(fleet, "lead")["consumed"]["tokens"]) == (0, 30)


def test_a_filter_that_is_there_is_called_too(fleet: Fleet) -> None:
    seen: list[str] = []
    terms = RunConfig(
        tracing_disabled=True, model_provider=Provider(Here()),
        call_model_input_filter=lambda data: (seen.append(data.agent.name), data.model_data)[1],
    )  # fmt: skip
    run(Runner.run(agent(), "hello", run_config=Budget(fleet, "lead").run_config(terms)))
    assert seen == ["lead"]


def test_a_response_without_usage_counts_as_all_that_was_held(fleet: Fleet) -> None:
    run(Runner.run(agent(), "hello", run_config=config(fleet, Here(usage=Usage()))))
    assert status(fleet, "lead")["consumed"]["tokens"] > 100


def test_a_fleet_that_is_served_is_asked_likewise(any_fleet: Fleet) -> None:
    async def program() -> None:
        model = Here()
        large = agent(model="opus", model_settings=ModelSettings(max_tokens=20_000))
        with pytest.raises(AgentsException):
            await Runner.run(large, "hello", run_config=config(any_fleet, model))
        assert model.calls == 0
        terms = config(any_fleet, sub_agents={"tokens": 10_000})
        await asyncio.gather(*(Runner.run(agent(name="reader"), "hello", run_config=terms) for _ in range(50)))

    with any_fleet.agent("lead", tokens=20_000):
        run(program())
        assert status(any_fleet, "lead.reader")["consumed"]["tokens"] == 50 * 15
