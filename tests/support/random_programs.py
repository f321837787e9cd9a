"""Random programs of agents and calls, which raise and are cancelled anywhere, and note what they have reported."""

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

from hypothesis import strategies as st

from tallystick import Refused
from tallystick.interface.agent_state import OnCrash
from tallystick.interface.agents import Agent, AsyncAgent
from tallystick.interface.interface import Interface


class Mistake(BaseException):
    """Raised by a program, as an error or as an interruption is."""


class Blunder(Exception):
    """Raised by a program as an error."""


@dataclass(frozen=True)
class CallOf:
    """A call: what it holds and uses, and where it raises, if it does."""

    tokens: int
    used: int
    raises: Literal["never", "before done", "after done", "by a mistake"]


@dataclass(frozen=True)
class AgentOf:
    """An agent with what it does; ``together`` at the same time."""

    tokens: int
    policy: OnCrash
    together: bool
    body: "list[CallOf | AgentOf]"
    raises: bool


CALLS = st.builds(
    CallOf,
    st.sampled_from([1, 10, 100]),
    st.sampled_from([0, 1, 10, 150]),
    st.sampled_from(["never", "never", "before done", "after done", "by a mistake"]),
)
POLICIES = st.sampled_from(["release", "spend"])
AGENTS: Any = st.recursive(
    st.builds(AgentOf, st.just(500), POLICIES, st.booleans(), st.lists(CALLS, max_size=3), st.booleans()),
    lambda below: st.builds(
        AgentOf,
        st.sampled_from([500, 2_000]),
        POLICIES,
        st.booleans(),
        st.lists(CALLS | below, max_size=4),
        st.booleans(),
    ),
    max_leaves=5,
)
CAUGHT = (Blunder, Refused, ExceptionGroup)


def raise_at(plan: CallOf, *places: str) -> None:
    if plan.raises in places:
        raise Mistake if plan.raises == "by a mistake" else Blunder


class Running:
    """A program that runs, what it reported, and when it is cancelled."""

    def __init__(self, fleet: Interface, cancel_at: int = 0, later: int = 0, prefix: str = "agent") -> None:
        self.fleet, self.reported, self.names, self.prefix = fleet, 0, 0, prefix
        self.steps, self.cancel_at, self.later = 0, cancel_at, later
        self.task: asyncio.Task[Any] | None = None

    def name(self) -> str:
        self.names += 1
        return f"{self.prefix}-{self.names}"

    def step(self) -> None:
        """A place at which the program may be cancelled: at its next wait, or some turns of the loop later."""
        self.steps += 1
        if self.steps == self.cancel_at and self.task is not None:
            self._cancel(self.later)

    def _cancel(self, later: int) -> None:
        assert self.task is not None
        if later:
            asyncio.get_running_loop().call_soon(self._cancel, later - 1)
        else:
            self.task.cancel()

    def body_of_call(self, call: Any, plan: CallOf, policy: OnCrash) -> None:
        done = False
        try:
            self.step()
            raise_at(plan, "before done", "by a mistake")
            call.done(tokens=plan.used)
            done = True
            self.reported += plan.used
            self.step()
            raise_at(plan, "after done")
        except BaseException:
            if not done and policy == "spend":
                self.reported += plan.tokens
            raise

    # --- in coroutines ------------------------------------------------------------------------------------------------

    async def agent_async(self, plan: AgentOf, above: AsyncAgent | None = None) -> None:
        terms: Any = {"tokens": plan.tokens, "on_crash": plan.policy}
        block = self.fleet.agent(self.name(), **terms) if above is None else above.agent(self.name(), **terms)
        self.step()
        async with block as agent:
            self.step()
            if plan.together:
                async with asyncio.TaskGroup() as group:
                    for one in plan.body:
                        group.create_task(self.do_async(one, agent, plan.policy))
            else:
                for one in plan.body:
                    await self.do_async(one, agent, plan.policy)
            if plan.raises:
                raise Blunder

    async def do_async(self, plan: CallOf | AgentOf, agent: AsyncAgent, policy: OnCrash) -> None:
        with contextlib.suppress(*CAUGHT):
            if isinstance(plan, AgentOf):
                await self.agent_async(plan, agent)
                return
            async with agent.call(tokens=plan.tokens, wait_seconds=5) as call:
                self.body_of_call(call, plan, policy)

    # --- in threads ---------------------------------------------------------------------------------------------------

    def agent(self, plan: AgentOf, above: Agent | None = None) -> None:
        terms: Any = {"tokens": plan.tokens, "on_crash": plan.policy}
        block = self.fleet.agent(self.name(), **terms) if above is None else above.agent(self.name(), **terms)
        with block as agent:
            if plan.together and plan.body:
                with ThreadPoolExecutor(len(plan.body)) as threads:
                    list(threads.map(lambda one: self.do(one, agent, plan.policy), plan.body))
            else:
                for one in plan.body:
                    self.do(one, agent, plan.policy)
            if plan.raises:
                raise Blunder

    def do(self, plan: CallOf | AgentOf, agent: Agent, policy: OnCrash) -> None:
        with contextlib.suppress(*CAUGHT):
            if isinstance(plan, AgentOf):
                self.agent(plan, agent)
                return
            with agent.call(tokens=plan.tokens, wait_seconds=5) as call:
                self.body_of_call(call, plan, policy)


async def playing(running: Running, program: AgentOf) -> None:
    """Run a program in coroutines, to its end or until it is cancelled."""
    running.task = asyncio.ensure_future(running.agent_async(program))
    with contextlib.suppress(asyncio.CancelledError, Mistake, BaseExceptionGroup, *CAUGHT):
        await running.task
