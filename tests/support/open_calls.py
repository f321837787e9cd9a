"""The program with many open calls that is killed.

    python -m tests.support.open_calls URL AGENTS

Agents of an even number are threads, the others coroutines; each is below an agent of its own, and calls again and
again, two calls at a time. Every other pair of them chose that what is open when it dies counts as used. The program
says what was settled, and when each agent has a call open, until it is killed.
"""

import asyncio
import contextlib
import sys
import threading
from typing import Any

from tallystick import Fleet
from tallystick.config.loader import from_mapping
from tallystick.interface.agents import Agent, AsyncAgent
from tests.support.crash_reporter import CONFIG, say

LEASE = 60
HELD = 100
USED = 7


def terms(number: int) -> Any:
    """What an agent says of itself."""
    return {"tokens": 10**5, "lease_seconds": LEASE, "on_crash": "spend" if number // 2 % 2 else "release"}


def said(call: Any) -> None:
    """The settlement of a call was answered."""
    assert call.reply is not None
    say(f"used {call.id}")


def calls(agent: Agent, begun: threading.Barrier) -> None:
    """A thread's calls; the first of them waits until all agents have one."""
    while True:
        with agent.call(tokens=HELD) as first, agent.call(tokens=HELD) as second:
            with contextlib.suppress(threading.BrokenBarrierError):
                begun.wait()
            first.done(tokens=USED)
            second.done(tokens=USED)
        said(first)
        said(second)


async def calls_async(agent: AsyncAgent, begun: threading.Barrier) -> None:
    """A coroutine's calls."""
    while True:
        async with agent.call(tokens=HELD) as first, agent.call(tokens=HELD) as second:
            with contextlib.suppress(threading.BrokenBarrierError):
                await asyncio.to_thread(begun.wait)
            first.done(tokens=USED)
            second.done(tokens=USED)
        said(first)
        said(second)


def thread(fleet: Fleet, number: int, begun: threading.Barrier) -> None:
    with fleet.agent(f"lead-{number}", **terms(number)) as lead:
        with lead.agent(f"sub-{number}", **{**terms(number), "tokens": 10**4}) as agent:
            calls(agent, begun)


async def coroutine(fleet: Fleet, number: int, begun: threading.Barrier) -> None:
    async with fleet.agent(f"lead-{number}", **terms(number)) as lead:
        async with lead.agent(f"sub-{number}", **{**terms(number), "tokens": 10**4}) as agent:
            await calls_async(agent, begun)
