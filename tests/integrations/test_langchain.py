"""LangChain and LangGraph: each call of a model is asked for before, and settled by the usage of its reply."""

import asyncio
import warnings
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from langchain.agents import create_agent
    from langchain.agents.middleware import ModelRetryMiddleware
    from langchain.tools import tool
    from langchain_core.callbacks import UsageMetadataCallbackHandler
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, AIMessageChunk, ToolCall
    from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
    from langgraph.graph import END, START, MessagesState, StateGraph

from tallystick import Fleet, Refused
from tallystick.integrations.langchain import Budget
from tests.support.programs import agents, consumed, fleet_of, holds, run, status

USAGE = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
HELLO = {"messages": [("user", "hello")]}


class Model(BaseChatModel):
    """A chat model that answers here, by the class that all are made of; it fails or is slow where it is told to."""

    model_name: str = "sonnet"
    usage: dict[str, Any] = USAGE
    broken: int = 0
    replies: list[AIMessage]
    calls: list[str]
    slow: bool = False
    max_tokens: int = 100
    asked: Any = None

    @property
    def _llm_type(self) -> str:
        return "here"

    def bind_tools(self, tools: Any, **more: Any) -> Any:
        return self.bind(tools=[{"name": one.name} for one in tools], **more)

    def _answer(self) -> AIMessage:
        self.calls.append("asked")
        if len(self.calls) <= self.broken:
            raise ConnectionError("it is broken")
        if self.replies:
            return self.replies[len(self.calls) - 1]
        return AIMessage("hello", usage_metadata=self.usage, response_metadata={"model_name": self.model_name})  # type: ignore[arg-type]

    def _generate(self, *given: Any, **more: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._answer())])

    async def _agenerate(self, *given: Any, **more: Any) -> ChatResult:
        if self.asked is not None:
            self.asked.set()
        if self.slow:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        return self._generate()


class Streaming(Model):
    """One that streams its reply, and its usage at the end."""

    def _stream(self, *given: Any, **more: Any) -> Iterator[ChatGenerationChunk]:
        for text in ("he", "llo"):
            yield ChatGenerationChunk(message=AIMessageChunk(text))
        yield ChatGenerationChunk(message=AIMessageChunk("", usage_metadata=self.usage))  # type: ignore[arg-type]

    async def _astream(self, *given: Any, **more: Any) -> AsyncIterator[ChatGenerationChunk]:
        for part in self._stream():
            yield part
            await asyncio.sleep(0)
            if self.slow:
                await asyncio.Event().wait()


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    with fleet_of() as fleet, fleet.agent("lead", tokens=500_000, usd=100):
        yield fleet
        assert holds(fleet) == []


def budget(fleet: Fleet, **terms: Any) -> Budget:
    return Budget(fleet, "lead", wait_seconds=0, **terms)


def model(kind: type[Model] = Model, **terms: Any) -> Any:
    return kind(calls=[], **{"replies": [], **terms})


def test_a_call_is_held_before_and_settled_by_the_usage_of_its_reply(fleet: Fleet) -> None:
    held: list[Any] = []

    class Looking(Model):
        def _answer(self) -> AIMessage:
            held.extend(holds(fleet))
            return super()._answer()

    agent = create_agent(model(Looking).bind(max_tokens=50), middleware=[budget(fleet)])
    assert agent.invoke(HELLO)["messages"][-1].content == "hello"
    assert [(one["agent"], 50 < one["held"]["tokens"] < 100) for one in held] == [("lead", True)]
    assert status(fleet, "lead")["consumed"]["tokens"] == 15


def test_fifty_agents_at_once_come_to_what_langchain_says(fleet: Fleet) -> None:
    said = UsageMetadataCallbackHandler()
    agent = create_agent(model(), middleware=[budget(fleet)])

    async def program() -> None:
        await asyncio.gather(*(agent.ainvoke(HELLO, {"callbacks": [said]}) for _ in range(50)))

    run(program())
    assert status(fleet, "lead")["consumed"]["tokens"] == said.usage_metadata["sonnet"]["total_tokens"] == 50 * 15


def test_fifty_threads_do_the_same(fleet: Fleet) -> None:
    agent = create_agent(model(), middleware=[budget(fleet)])
    with ThreadPoolExecutor(50) as threads:
        list(threads.map(agent.invoke, [HELLO] * 50))
    assert status(fleet, "lead")["consumed"]["tokens"] == 50 * 15


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
def test_a_refusal_is_raised_and_the_model_is_not_called(fleet: Fleet, how: str) -> None:
    asked = model(max_tokens=600_000)
    agent = create_agent(asked, middleware=[budget(fleet)])
    with pytest.raises(Refused, match="budget_exhausted") as refused:
        agent.invoke(HELLO) if how == "invoke" else run(agent.ainvoke(HELLO))
    assert refused.value.details["available"]["tokens"] == 500_000
    assert asked.calls == []


def test_cached_and_reasoned_tokens_are_priced_as_what_they_are(fleet: Fleet) -> None:
    usage = {
        "input_tokens": 1_000, "output_tokens": 500, "total_tokens": 1_500,
        "input_token_details": {"cache_read": 600, "cache_creation": 0, "ephemeral_1h_input_tokens": 300},
        "output_token_details": {"reasoning": 200},
    }  # fmt: skip
    create_agent(model(usage=usage, model_name="claude-sonnet-4-5"), middleware=[budget(fleet)]).invoke(HELLO)
    used = status(fleet, "lead")["consumed"]
    # 100 of $3, 600 of $0.30, 300 of $6 and 500 of $15 a million
    assert (used["tokens"], used["cost_usd"]) == (1_500, "0.00978")


@pytest.mark.parametrize("how", ["stream", "astream"])
def test_a_stream_is_settled_at_its_end(fleet: Fleet, how: str) -> None:
    agent = create_agent(model(Streaming), middleware=[budget(fleet)])

    async def parts() -> list[Any]:
        return [part async for part, _ in agent.astream(HELLO, stream_mode="messages")]

    found = run(parts()) if how == "astream" else [part for part, _ in agent.stream(HELLO, stream_mode="messages")]
    assert [part.content for part in found if part.content] == ["he", "llo"]
    assert status(fleet, "lead")["consumed"]["tokens"] == 15


def test_a_stream_that_is_left_holds_nothing(fleet: Fleet) -> None:
    async def program() -> None:
        stream = create_agent(model(Streaming, slow=True), middleware=[budget(fleet)]).astream(
            HELLO, stream_mode="messages"
        )
        await anext(stream)
        assert len(holds(fleet)) == 1
        await stream.aclose()

    run(program())
    assert consumed(fleet)["tokens"] == 0


@pytest.mark.parametrize(("on_crash", "spent"), [("release", 0), ("spend", True)])
def test_what_a_failed_call_held_ends_by_its_policy(fleet: Fleet, on_crash: str, spent: int) -> None:
    agent = create_agent(model(broken=1), middleware=[budget(fleet, on_crash=on_crash)])
    with pytest.raises(ConnectionError, match="it is broken"):
        agent.invoke(HELLO)
    assert bool(status(fleet, "lead")["consumed"].get("tokens")) == bool(spent)


def test_each_attempt_of_a_retry_is_asked_for(fleet: Fleet) -> None:
    retry = ModelRetryMiddleware(max_retries=2, initial_delay=0, jitter=False)
    create_agent(model(broken=2), middleware=[retry, budget(fleet)]).invoke(HELLO)
    assert (len(holds(fleet, "cancelled")), len(holds(fleet, "settled"))) == (2, 1)


def test_a_cancelled_call_holds_nothing(fleet: Fleet) -> None:
    async def program() -> None:
        asked = asyncio.Event()
        agent = create_agent(model(slow=True, asked=asked), middleware=[budget(fleet)])
        call = asyncio.create_task(agent.ainvoke(HELLO))
        await asked.wait()
        assert len(holds(fleet)) == 1
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    run(program())
    assert consumed(fleet)["tokens"] == 0


def test_agents_that_call_agents_have_accounts_of_their_own(fleet: Fleet) -> None:
    shared = budget(fleet, sub_agents={"tokens": 50_000})
    reader = create_agent(model(), middleware=[shared], name="reader")

    @tool
    def read(what: str) -> str:
        """Let the reader read."""
        return str(reader.invoke(HELLO)["messages"][-1].content)

    wish = AIMessage("", usage_metadata=USAGE, tool_calls=[ToolCall(name="read", args={"what": "all"}, id="1")])  # type: ignore[arg-type]
    thanks = AIMessage("thanks", usage_metadata=USAGE)  # type: ignore[arg-type]
    lead = create_agent(model(replies=[wish, thanks]), tools=[read], middleware=[shared], name="lead")
    lead.invoke(HELLO)
    assert agents(fleet) == ["lead", "lead.reader"]
    assert status(fleet, "lead.reader")["consumed"]["tokens"] == 15
    assert status(fleet, "lead")["consumed"]["tokens"] == 30


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
def test_the_nodes_of_a_graph_ask_through_a_wrapper(fleet: Fleet, how: str) -> None:
    chat = budget(fleet, sub_agents={"tokens": 50_000}).around(model().bind_tools([]), "node")
    graph = StateGraph(MessagesState)
    if how == "invoke":
        graph.add_node("answer", lambda state: {"messages": [chat.invoke(state["messages"])]})
    else:

        async def answer(state: MessagesState) -> dict[str, Any]:
            return {"messages": [await chat.ainvoke(state["messages"])]}

        graph.add_node("answer", answer)
    graph.add_edge(START, "answer").add_edge("answer", END)
    compiled = graph.compile()
    (compiled.invoke(HELLO) if how == "invoke" else run(compiled.ainvoke(HELLO)))
    assert status(fleet, "lead.node")["consumed"]["tokens"] == 15
    with pytest.raises(Refused):
        budget(fleet).around(model(max_tokens=600_000)).invoke("hello")


def test_a_reply_without_usage_counts_as_all_that_was_held(fleet: Fleet) -> None:
    create_agent(model(replies=[AIMessage("hello")], max_tokens=100), middleware=[budget(fleet)]).invoke(HELLO)
    assert status(fleet, "lead")["consumed"]["tokens"] > 100


def test_a_fleet_that_is_served_is_asked_likewise(any_fleet: Fleet) -> None:
    with any_fleet.agent("lead", tokens=20_000):
        with pytest.raises(Refused):
            create_agent(model(max_tokens=20_000, model_name="opus"), middleware=[budget(any_fleet)]).invoke(HELLO)
        agent = create_agent(model(), middleware=[budget(any_fleet, sub_agents={"tokens": 10_000})], name="reader")

        async def program() -> None:
            await asyncio.gather(*(agent.ainvoke(HELLO) for _ in range(50)))

        run(program())
        agent.invoke(HELLO)
        assert status(any_fleet, "lead.reader")["consumed"]["tokens"] == 51 * 15
