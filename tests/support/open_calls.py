"""The program with many open calls that is killed.

    python -m tests.support.open_calls URL AGENTS

Agents of an even number are threads, the others coroutines; each is below an agent of its own, has one call that does
not end, and makes others, one after another. Every other two of them chose that what is open when the program dies
counts as used. Of each call that was settled the program says the name, until it is killed.
"""

import asyncio
import sys
import threading
from typing import Any

from tallystick import Fleet
from tallystick.config.loader import from_mapping
from tests.support.crash_reporter import CONFIG, say

LEASE = 60
HELD = 100
USED = 7


def terms(number: int, tokens: int) -> Any:
    """What an agent says of itself."""
    return {"tokens": tokens, "lease_seconds": LEASE, "on_crash": "spend" if number // 2 % 2 else "release"}


def in_a_thread(fleet: Fleet, number: int) -> None:
    with (
        fleet.agent(f"lead-{number}", **terms(number, 10**9)) as lead,
        lead.agent(f"sub-{number}", **terms(number, 10**8)) as agent,
        agent.call(tokens=HELD),
    ):
        while True:
            with agent.call(tokens=HELD) as call:
                call.done(tokens=USED)
            say(f"used {call.id}")


async def in_a_coroutine(fleet: Fleet, number: int) -> None:
    async with (
        fleet.agent(f"lead-{number}", **terms(number, 10**9)) as lead,
        lead.agent(f"sub-{number}", **terms(number, 10**8)) as agent,
        agent.call(tokens=HELD),
    ):
        while True:
            async with agent.call(tokens=HELD) as call:
                call.done(tokens=USED)
            say(f"used {call.id}")


async def coroutines(fleet: Fleet, agents: int) -> None:
    await asyncio.gather(*(in_a_coroutine(fleet, number) for number in range(1, agents, 2)))


def main(url: str, agents: int) -> None:
    fleet = Fleet.open(url, from_mapping(CONFIG), notify=False)
    for number in range(0, agents, 2):
        threading.Thread(target=in_a_thread, args=(fleet, number), daemon=True).start()
    asyncio.run(coroutines(fleet, agents))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
