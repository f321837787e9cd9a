"""Several child fleets in one process, whose agents ask and use as much as they can: to be killed at any moment.

``python -m tests.support.child_fleets FOLDER FIRST LAST URL work|settle``: a line is printed for every message that was
answered; with ``settle`` the fleets only exchange with their parent, until nothing is under way, and close.
"""

import os
import random
import sys
import time
from typing import Any

from tallystick import Fleet
from tallystick.delegation.child_state import child_state_of
from tallystick.events.log.store import open_store
from tallystick.events.state.delegation import NOT_ASKED
from tests.support.few_prices import prices_for

SETTLED_SECONDS = 60
AT_HAND = {"tokens": 2_000}


def opened(folder: str, number: int, url: str) -> Fleet:
    """One child, with its log in the folder."""
    delegate = {"parent": url, "account": f"team-{number}", "budget": AT_HAND}
    config = {"delegate": delegate, "circuit_breaker": {"trip_conditions": []}, "max_pool_share_percent": 100}
    store = open_store(f"sqlite:///{folder}/team-{number}.db", writer=True)
    return Fleet.open(store, config, prices_for(store))


def message(chance: random.Random) -> dict[str, Any]:
    """What an agent of a child says: it asks for more, or uses more than it was given."""
    agent, amount = f"a-{chance.randrange(3)}", chance.choice((10, 300, 900))
    if chance.random() < 0.5:
        return {"type": "AllocateFromPool", "agent": agent, "request": {"tokens": amount}}
    return {"type": "ReportUsage", "agent": agent, "usage": {"tokens": amount}}


def settle(fleet: Fleet) -> None:
    """Wait until the parent has answered all that was asked, given back and used."""
    ledger, until = fleet._manager.ledger, time.monotonic() + SETTLED_SECONDS
    while time.monotonic() < until:
        at = child_state_of(ledger)
        if at.asked is None and at.span is None and not any(at.unreported) and ledger.stopped_above != NOT_ASKED:
            return
        time.sleep(0.05)
    raise TimeoutError(f"still under way: {child_state_of(ledger)}, {ledger.stopped_above}")


def say(word: str) -> None:
    """A line for the test."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main(folder: str, first: int, last: int, url: str, mode: str) -> None:
    fleets = [opened(folder, number, url) for number in range(first, last)]
    say("ready")
    chance = random.Random(os.getpid())
    while mode == "work":
        chance.choice(fleets).ask(message(chance))
        say("answered")
    for fleet in fleets:
        settle(fleet)
        fleet.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5])
