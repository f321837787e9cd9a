"""The questions: is more granted than there is, what does a cycle cost, and what is left when the process is killed."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from benchmarks.peers.contract import CALLERS, UNITS, Call, LoopPeer, Peer

ENOUGH_FOR = 100
"""For so many calls there is enough in the budget that callers race for."""
CALL_SECONDS = 0.001
"""How long a call takes in a race; the calls of a model take a thousand times as long."""
RACE = "race"
ONE = "one"
OWN = tuple(f"own-{n}" for n in range(CALLERS))
BUDGETS = {RACE: ENOUGH_FOR * UNITS, **dict.fromkeys((ONE, *OWN), 10**12)}


class Cost(NamedTuple):
    """So many cycles in so many seconds."""

    cycles: int
    seconds: float


def raced(peer: Peer) -> int:
    """How many calls were made of a budget that is enough for `ENOUGH_FOR`; each caller asks until it is refused."""
    call = Call(CALL_SECONDS)
    _together(peer, [RACE], call, lambda: True, _ignore)
    return len(call.made)


def cost(peer: Peer, budgets: Sequence[str], seconds: float) -> Cost:
    """Cycles of all callers, each drawing on a budget of its own, or all on one."""
    call, began = Call(), time.perf_counter()
    _together(peer, budgets, call, lambda: time.perf_counter() < began + seconds, _ignore)
    peer.rest()
    return Cost(len(call.made), time.perf_counter() - began)


def acknowledge(peer: Peer) -> None:
    """Cycles of all callers, each said on stdout in one write when it is done, until somebody ends the process."""
    _together(peer, OWN, Call(), lambda: True, lambda: os.write(1, b"done\n"))


def kept(peer: Peer) -> int:
    """How many cycles are counted as used."""
    return sum(peer.used(budget) for budget in OWN) // UNITS


def _together(
    peer: Peer, budgets: Sequence[str], call: Call, goes_on: Callable[[], bool], done: Callable[[], object]
) -> None:
    """All callers at once, until they are refused or need not go on: coroutines if the peer takes them, or threads."""
    if isinstance(peer, LoopPeer):
        asyncio.run(_coroutines(peer, budgets, call, goes_on, done))
        return
    starting = threading.Barrier(CALLERS)

    def caller(budget: str) -> None:
        starting.wait()
        while peer.cycle(budget, call):
            done()
            if not goes_on():
                return

    with ThreadPoolExecutor(CALLERS) as threads:
        for ended in [threads.submit(caller, budgets[n % len(budgets)]) for n in range(CALLERS)]:
            ended.result()


async def _coroutines(
    peer: LoopPeer, budgets: Sequence[str], call: Call, goes_on: Callable[[], bool], done: Callable[[], object]
) -> None:
    async def caller(budget: str) -> None:
        while await peer.cycle_without_blocking(budget, call):
            done()
            if not goes_on():
                return

    await asyncio.gather(*(caller(budgets[n % len(budgets)]) for n in range(CALLERS)))


def _ignore() -> None:
    pass
