"""The program that is killed: it reports, reserves and settles, and says on a pipe what was acknowledged.

    python -m tests.support.crash_reporter URL FIRST UNACKNOWLEDGED...

sends the numbered messages that an earlier life left unacknowledged, and then those from FIRST on, until it is killed
or the fleet halts. Each line is one write: ``open``, ``sent N``, ``ack N`` and, once the fleet has stopped, ``halted``
with the reason that a waiting and a later caller were given.
"""

import collections
import itertools
import os
import resource
import signal
import sys
from collections.abc import Iterator
from typing import Any

import structlog

from tallystick.actors.runtime.fleet import Fleet
from tallystick.actors.runtime.pending import Pending
from tallystick.config.loader import from_mapping

WINDOW = 12
"""Messages on their way at once."""
AGENTS = 5
CONFIG = {
    "total_budget": {"tokens": 10**12},
    "emergency_reserve_percent": 0,
    "max_pool_share_percent": 100,
    "daily_limits": {"max_tokens_total": None, "max_cost_usd": None},
    "reallocation": {"enabled": False},
}


def message(number: int) -> dict[str, Any]:
    """The message of a number: the same in every life. A `Settle` is for the hold of the number before it."""
    agent = f"agent-{number % AGENTS}"
    if number < AGENTS:
        return {"type": "AllocateBudget", "agent": agent, "budget": {"tokens": 10**11}, "id": f"n-{number}"}
    match number % 4:
        case 0:
            estimate = {"tokens": number + 1}
            return {
                "type": "Reserve",
                "agent": agent,
                "estimate": estimate,
                "ttl_seconds": 604_800,
                "id": f"n-{number}",
            }
        case 1 if number - 1 >= AGENTS:
            return {"type": "Settle", "hold": f"n-{number - 1}", "usage": {"tokens": number}, "id": f"n-{number}"}
    said: dict[str, Any] = {"type": "ReportUsage", "agent": agent, "usage": {"tokens": number}, "id": f"n-{number}"}
    return said if number % 3 else {**said, "source_id": f"msg-{number}"}


def used(number: int) -> int:
    """The tokens that a number's message adds to what was spent."""
    return int(message(number).get("usage", {}).get("tokens", 0))


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def main(url: str, numbers: Iterator[int]) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    fleet = Fleet.open(url, from_mapping(CONFIG))
    say("open")
    waiting: collections.deque[tuple[int, Pending]] = collections.deque()
    for number in numbers:
        say(f"sent {number}")
        waiting.append((number, fleet.send(message(number))))
        if len(waiting) == WINDOW and not acknowledged(*waiting.popleft()):
            break
    for number, pending in waiting:
        acknowledged(number, pending)
    acknowledged(-1, fleet.send(message(10**6)))
    say(f"fleet {fleet.halted}")
    fleet.close()
    say("closed")


def acknowledged(number: int, pending: Pending) -> bool:
    reply = pending.result(timeout=20)
    if "ok" in reply:
        say(f"ack {number}")
        return True
    say(f"{reply['error']['code']} {number} {reply['error']['detail']}")
    return False


if __name__ == "__main__":
    url, first, *again = sys.argv[1:]
    if file_size := os.environ.get("FILE_SIZE_MAX"):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(file_size), int(file_size)))
    main(url, itertools.chain(map(int, again), itertools.count(int(first))))
