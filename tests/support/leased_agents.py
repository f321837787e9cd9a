"""The program with many agents under leases that is killed.

    python -m tests.support.leased_agents URL AGENTS

Each agent opens an account with a lease of a minute, and under it a sub-agent; then all hold and settle, in turn, until
the program is killed. Agents of an even number hold what counts as used when it expires, the others what is given back.
"""

import itertools
import sys
from typing import Any

from tallystick.actors.runtime.fleet import Fleet
from tallystick.config.loader import from_mapping
from tests.support.crash_reporter import CONFIG, say

LEASE = 60
HELD = 100


def opening(number: int) -> list[dict[str, Any]]:
    """The messages by which an agent and its sub-agent begin."""
    agent = f"agent-{number}"
    return [
        {"type": "AllocateBudget", "agent": agent, "budget": {"tokens": 10**6}, "lease_seconds": LEASE},
        {"type": "AllocateBudget", "agent": f"{agent}/1", "budget": {"tokens": 10**5}, "parent": agent},
    ]


def operation(number: int, turn: int) -> dict[str, Any]:
    """The hold of an agent, or of its sub-agent, in a turn."""
    agent = f"agent-{number}" if turn % 2 else f"agent-{number}/1"
    return {
        "type": "Reserve",
        "id": f"hold-{number}-{turn}",
        "agent": agent,
        "estimate": {"tokens": HELD},
        "ttl_seconds": 6_000,
        "on_expiry": "release" if number % 2 else "spend",
    }


def main(url: str, agents: int) -> None:
    fleet = Fleet.open(url, from_mapping(CONFIG))
    fleet.ask([message for number in range(agents) for message in opening(number)])
    for turn in itertools.count():
        fleet.ask([operation(number, turn) for number in range(agents)])
        say(f"held {turn}")
        settled = [f"hold-{number}-{turn - 2}" for number in range(agents)] if turn > 1 else []
        fleet.ask([{"type": "Settle", "hold": hold, "usage": {"tokens": 1}} for hold in settled])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
