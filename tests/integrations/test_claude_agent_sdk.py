"""Claude Agent SDK: each call of a model is asked for by a hook before it, and settled by its message. The command line
of Claude Code is the real one, the provider that it asks a server of these tests.
"""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from claude_agent_sdk import (
    AgentDefinition,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    HookMatcher,
    Message,
    ResultMessage,
    StreamEvent,
    query,
)
from claude_agent_sdk.types import HookJSONOutput

from tallystick import Client, Fleet
from tallystick.integrations.claude_agent_sdk import Budget
from tests.support.claude_cli import CLI, Blocks, Provider, Script, request_of, shell, text, tokens_of, tool
from tests.support.claude_played import PlayedSession
from tests.support.programs import fleet_of, holds, run, status

pytestmark = pytest.mark.skipif(not CLI.exists(), reason="the package has no command line for this system")
AnyFleet = Fleet | Client
HELPER = {"helper": AgentDefinition(description="helps", prompt="you help", model="haiku")}
TOTALS = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheCreationInputTokens")


def saying(number: int) -> Blocks:
    return [text(f"answer {number}")]


def working(number: int) -> Blocks:
    """Two tools in one message, then a sub-agent that uses a tool, and an answer."""
    if number == 1:
        return [text("I look"), shell("t1", "echo one"), shell("t2", "touch made; echo two")]
    if number == 2:
        return [tool("t3", "Agent", description="d", prompt="p", subagent_type="helper", run_in_background=False)]
    return [shell("t4", "echo three")] if number == 3 else [text("done")]


def tokens(fleet: AnyFleet, agent: str = "lead") -> int:
    consumed: int = status(fleet, agent)["consumed"]["tokens"]
    return consumed


def counted(result: Message) -> int:
    """What the framework counts."""
    assert isinstance(result, ResultMessage)
    return sum(of.get(kind, 0) for of in (result.model_usage or {}).values() for kind in TOTALS)


async def session(budget: Budget, options: ClaudeAgentOptions, prompt: str = "hello") -> list[Message]:
    return [message async for message in budget.messages(query(prompt=prompt, options=budget.options(options)))]


def with_provider(fleet: AnyFleet, script: Script, program: Any, budget: int = 1_000_000, **terms: Any) -> None:
    async def opened() -> None:
        with Provider(script) as provider:
            async with fleet.agent("lead", tokens=budget):
                async with Budget(fleet, "lead", **terms) as session_budget:
                    await program(provider, session_budget)
                assert holds(fleet) == []

    run(opened())


def test_calls_of_a_session_and_of_its_sub_agents_are_settled_by_what_it_counts(tmp_path: Path) -> None:
    async def program(provider: Provider, budget: Budget) -> None:
        messages = await session(budget, provider.options(tmp_path, agents=HELPER))
        assert len(provider.asked) == 5
        helped = tokens(fleet, "lead.helper")
        assert helped == tokens_of(3) + tokens_of(4)
        assert tokens(fleet) + helped == counted(messages[-1]) == sum(map(tokens_of, range(1, 6)))
        # Telemetry and imports report the same calls under the ids of their requests.
        for number in range(1, 6):
            report = {"type": "ReportUsage", "agent": "lead", "source_id": request_of(number), "usage": {"tokens": 20}}
            assert fleet.ask(report)["ok"]["recorded"] is False

    with fleet_of() as fleet:
        with_provider(fleet, working, program, sub_agents={"tokens": 50_000})


def test_of_fifty_sessions_at_once_only_those_call_that_there_is_room_for(any_fleet: AnyFleet) -> None:
    """Fifty processes of the command line would be slow: what it writes is played here, to the SDK's own transport."""
    calls: list[int] = []

    async def one() -> Message:
        async with Budget(any_fleet, "lead", wait_seconds=0, max_output_tokens=2_000) as budget:
            played = PlayedSession(calls)
            asked = query(prompt="hello", options=budget.options(), transport=played)
            return [message async for message in budget.messages(asked)][-1]

    async def program() -> None:
        async with any_fleet.agent("lead", tokens=20_000):
            results = await asyncio.gather(*(one() for _ in range(50)))
            assert tokens(any_fleet) == sum(map(counted, results)) == tokens_of(1) * len(calls) <= 20_000
            assert sum("budget_exhausted" in str(result) for result in results) == 50 - len(calls)
            assert 0 < len(calls) < 50
            assert holds(any_fleet) == []

    run(program())


def test_a_refused_prompt_calls_no_model(tmp_path: Path) -> None:
    async def program(provider: Provider, budget: Budget) -> None:
        result = (await session(budget, provider.options(tmp_path)))[-1]
        assert isinstance(result, ResultMessage)
        assert result.result is not None
        assert "tallystick: budget_exhausted: tokens: 4098 was asked for, 1 is free" in result.result
        assert getattr(budget.refused, "code", None) == "budget_exhausted"
        assert provider.asked == []

    with fleet_of() as fleet:
        with_provider(fleet, saying, program, budget=1)


def test_where_no_room_is_left_for_the_next_call_the_tool_before_it_is_denied(tmp_path: Path) -> None:
    async def program(provider: Provider, budget: Budget) -> None:
        messages = await session(budget, provider.options(tmp_path))
        result = messages[-1]
        assert isinstance(result, ResultMessage)
        assert result.terminal_reason == "hook_stopped"
        assert [denied["tool_use_id"] for denied in result.permission_denials or []] == ["t2"]
        assert (tmp_path / "ran").read_text() == "x\n"
        assert len(provider.asked) == 2
        assert tokens(fleet) == counted(result) == tokens_of(1) + tokens_of(2)

    def looping(number: int) -> Blocks:
        return [shell(f"t{number}", "echo x >> ran")]

    with fleet_of() as fleet:
        # The third call would send what the second was, at least, and answer.
        with_provider(fleet, looping, program, budget=4_000, max_output_tokens=500, wait_seconds=0)


def test_where_a_sub_agent_has_no_room_the_others_go_on(tmp_path: Path) -> None:
    async def program(provider: Provider, budget: Budget) -> None:
        result = (await session(budget, provider.options(tmp_path, agents=HELPER)))[-1]
        assert isinstance(result, ResultMessage)
        assert [denied["tool_name"] for denied in result.permission_denials or []] == ["Task"]
        assert len(provider.asked) == 3
        assert tokens(fleet) == counted(result)

    def delegating(number: int) -> Blocks:
        return working(2) if number == 1 else [shell("t", "echo x")] if number == 2 else [text("done")]

    with fleet_of() as fleet:
        with_provider(fleet, delegating, program, sub_agents={"tokens": 10})


def test_an_error_of_the_provider_gives_the_hold_back(tmp_path: Path) -> None:
    async def program(provider: Provider, budget: Budget) -> None:
        with pytest.raises(Exception, match="API Error: 400"):
            await session(budget, provider.options(tmp_path))
        assert holds(fleet) == []
        assert tokens(fleet) == 0

    with fleet_of() as fleet:
        with_provider(fleet, lambda _: None, program)


def test_a_session_that_is_cancelled_gives_its_hold_back(tmp_path: Path) -> None:
    asked, over = threading.Event(), threading.Event()

    def slow(number: int) -> None:
        asked.set()
        over.wait(20)

    async def program(provider: Provider, _: Budget) -> None:
        async def cancelled() -> None:
            async with Budget(fleet, "lead") as budget:
                await session(budget, provider.options(tmp_path))

        running = asyncio.create_task(cancelled())
        await asyncio.to_thread(asked.wait, 20)
        assert len(holds(fleet)) == 1
        running.cancel()
        over.set()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert holds(fleet) == []
        assert tokens(fleet) == 0

    with fleet_of() as fleet:
        with_provider(fleet, slow, program)


def test_a_client_of_several_turns_is_settled_after_each_and_its_own_hooks_and_parts_stay(tmp_path: Path) -> None:
    seen: list[str] = []

    async def mine(given: Any, tool_use_id: str | None, context: Any) -> HookJSONOutput:
        seen.append(given["prompt"])
        return {}

    async def program(provider: Provider, budget: Budget) -> None:
        hooks: Any = {"UserPromptSubmit": [HookMatcher(hooks=[mine])]}
        options = provider.options(tmp_path, hooks=hooks, include_partial_messages=True, model=None)
        async with ClaudeSDKClient(options=budget.options(options)) as client:
            for number, prompt in enumerate(("one", "two"), 1):
                await client.query(prompt)
                messages = [message async for message in budget.messages(client.receive_response())]
                assert any(isinstance(message, StreamEvent) for message in messages)
                assert tokens(fleet) == counted(messages[-1]) == sum(map(tokens_of, range(1, number + 1)))
                assert holds(fleet) == []
        assert seen == ["one", "two"]

    with fleet_of() as fleet:
        with_provider(fleet, saying, program)


def test_a_session_that_writes_no_transcripts_is_settled_by_its_messages(tmp_path: Path) -> None:
    async def program(provider: Provider, budget: Budget) -> None:
        options = provider.options(tmp_path, extra_args={"no-session-persistence": None})
        messages = []
        async for message in budget.messages(query(prompt="hello", options=budget.options(options))):
            messages.append(message)
            assert len(holds(fleet)) <= 3
        assert not list((tmp_path / "claude").rglob("*.jsonl"))
        assert tokens(fleet) == counted(messages[-1]) == sum(map(tokens_of, range(1, 6)))

    def looking(number: int) -> Blocks:
        return [shell(f"t{number}", "echo x")] if number < 5 else [text("done")]

    with fleet_of() as fleet:
        with_provider(fleet, looking, program)


def test_a_session_that_is_resumed_counts_only_what_it_adds(tmp_path: Path) -> None:
    async def program(provider: Provider, budget: Budget) -> None:
        *_, first = [message async for message in query(prompt="hello", options=provider.options(tmp_path))]
        assert isinstance(first, ResultMessage)
        last = (await session(budget, provider.options(tmp_path, resume=first.session_id)))[-1]
        assert counted(last) == tokens_of(1) + tokens_of(2)
        assert tokens(fleet) == tokens_of(2)

    with fleet_of() as fleet:
        with_provider(fleet, saying, program)
