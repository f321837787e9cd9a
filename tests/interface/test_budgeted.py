"""Functions with a budget: each call is an agent, whatever kind of function it is, and however it ends."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tallystick import Refused
from tallystick.interface.agents import Agent, AsyncAgent
from tests.support.programs import agents, consumed, fleet_of, nothing_is_open, run, status


def test_each_call_of_a_function_is_an_agent_with_a_budget_of_its_own() -> None:
    with fleet_of() as fleet, fleet.agent("lead", tokens=1_000):

        @fleet.budgeted(tokens=100, parent="lead", agent_type="researcher")
        def research(agent: Agent, topic: str, *, depth: int = 1) -> tuple[str, str, int]:
            """Look something up."""
            assert status(fleet, agent.id)["agent_type"] == "researcher"
            agent.report(tokens=10)
            return agent.id, topic, depth

        first, second = research("owls", depth=2), research("bats")
        assert (first[1:], second[1:]) == (("owls", 2), ("bats", 1))
        assert first[0].startswith("research-")
        assert first[0] != second[0]
        assert research.__doc__ == "Look something up."
        assert agents(fleet) == ["lead"]
        assert consumed(fleet)["tokens"] == 20


def test_a_coroutine_and_both_kinds_of_generators_may_have_a_budget() -> None:
    async def program() -> None:
        with fleet_of() as fleet:
            budgeted = fleet.budgeted(tokens=100)

            @budgeted
            async def coroutine(agent: AsyncAgent) -> int:
                async with agent.call(tokens=10) as call:
                    call.done(tokens=1)
                return 1

            @budgeted
            async def asynchronous(agent: AsyncAgent, count: int) -> AsyncIterator[int]:
                for number in range(count):
                    await agent.report(tokens=1)
                    yield number

            @budgeted
            def generator(agent: Agent, count: int) -> Iterator[int]:
                for number in range(count):
                    agent.report(tokens=1)
                    yield number

            assert await coroutine() == 1
            assert [number async for number in asynchronous(3)] == [0, 1, 2]
            assert list(generator(3)) == [0, 1, 2]
            assert nothing_is_open(fleet)
            assert consumed(fleet)["tokens"] == 7

    run(program())


def test_the_agent_of_a_generator_that_is_left_ends_with_it() -> None:
    with fleet_of() as fleet:

        @fleet.budgeted(tokens=100)
        def generator(agent: Agent) -> Iterator[int]:
            with agent.call(tokens=10) as call:
                call.done(tokens=3)
                yield 1
            yield 2

        for number in generator():
            assert number == 1
            break
        assert nothing_is_open(fleet)
        assert consumed(fleet)["tokens"] == 3


def test_the_agent_of_an_asynchronous_generator_that_is_closed_ends_with_it() -> None:
    async def program() -> None:
        with fleet_of() as fleet:

            @fleet.budgeted(tokens=100)
            async def generator(agent: AsyncAgent) -> AsyncIterator[int]:
                async with agent.call(tokens=10) as call:
                    call.done(tokens=3)
                    yield 1

            made = generator()
            assert await anext(made) == 1
            await made.aclose()  # type: ignore[attr-defined]
            assert nothing_is_open(fleet)
            assert consumed(fleet)["tokens"] == 3

    run(program())


def test_a_function_that_raises_leaves_nothing_open() -> None:
    async def program() -> None:
        with fleet_of() as fleet:

            @fleet.budgeted(tokens=100)
            async def failing(agent: AsyncAgent) -> None:
                async with agent.call(tokens=10):
                    raise ValueError("a mistake")

            with pytest.raises(ValueError, match="a mistake"):
                await failing()
            with pytest.raises(ValueError, match="a mistake"):
                await asyncio.wait_for(failing(), 10)
            assert nothing_is_open(fleet)

    run(program())


def test_a_function_for_which_there_is_no_budget_is_not_called() -> None:
    with fleet_of() as fleet:

        @fleet.budgeted(tokens=10**9)
        def never(agent: Agent) -> None:
            raise AssertionError(agent.id)

        with pytest.raises(Refused, match="pool_exhausted"):
            never()
