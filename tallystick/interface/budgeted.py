"""Functions that have a budget of their own in each of their calls."""

import functools
import inspect
import secrets
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from tallystick.interface.agents import Agent, AgentBlock, AsyncAgent

P = ParamSpec("P")
R = TypeVar("R")


class Budgeted:
    """A decorator: each call of the function runs as an agent, which it gets as its first argument.

    Works for functions and generators, plain and of coroutines; the agent of a generator ends with the generator.
    """

    def __init__(self, open_agent: Callable[[str], AgentBlock]) -> None:
        self._open_agent = open_agent

    def _agent_for(self, function: Callable[..., Any]) -> AgentBlock:
        return self._open_agent(f"{function.__name__[:100]}-{secrets.token_hex(6)}")

    @overload
    def __call__(self, function: Callable[Concatenate[AsyncAgent, P], R]) -> Callable[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Agent, P], R]) -> Callable[P, R]: ...
    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.isasyncgenfunction(function):
            return self._async_generator(function)
        if inspect.iscoroutinefunction(function):
            return self._coroutine(function)
        if inspect.isgeneratorfunction(function):
            return self._generator(function)
        return self._function(function)

    def _function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def with_agent(*args: Any, **named: Any) -> Any:
            with self._agent_for(function) as agent:
                return function(agent, *args, **named)

        return with_agent

    def _generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def with_agent(*args: Any, **named: Any) -> Any:
            with self._agent_for(function) as agent:
                return (yield from function(agent, *args, **named))

        return with_agent

    def _coroutine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def with_agent(*args: Any, **named: Any) -> Any:
            async with self._agent_for(function) as agent:
                return await function(agent, *args, **named)

        return with_agent

    def _async_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def with_agent(*args: Any, **named: Any) -> Any:
            async with self._agent_for(function) as agent, aclosing(function(agent, *args, **named)) as made:
                async for one in made:
                    yield one

        return with_agent
