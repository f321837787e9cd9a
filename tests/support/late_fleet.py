"""A fleet whose clock moves on while its actors work: none of them acts at the moment at which its timer was due."""

import datetime as dt
import random

from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.fleet import Fleet
from tests.support.threads import at_once


class TickingClock(ManualClock):
    """Moves on by a millisecond whenever it is read."""

    def now(self) -> dt.datetime:
        self.move_to(super().now() + dt.timedelta(milliseconds=1))
        return super().now()


def busy_fleet(fleet: Fleet, clock: ManualClock, threads: int = 6) -> None:
    """Many agents at once, while time passes and the specialists do their work between the messages."""

    def work(number: int) -> None:
        dice = random.Random(number)
        agent = f"agent-{number}"
        fleet.ask({"type": "AllocateBudget", "agent": agent, "budget": {"tokens": 900, "cost_usd": "3"}})
        holds: list[str] = []
        for n in range(40):
            tokens = {"tokens": dice.choice((1, 5, 20, 60))}
            message = dice.choice(
                (
                    {"type": "ReportUsage", "agent": agent, "usage": tokens},
                    {"type": "ReportUsage", "agent": agent, "usage": tokens},
                    {"type": "Reserve", "agent": agent, "estimate": tokens, "ttl_seconds": 3},
                    {"type": "Settle", "hold": dice.choice(holds or ["none"]), "usage": tokens},
                    {"type": "BorrowFromPool", "agent": agent, "amount": tokens},
                    {"type": "Rebalance"},
                )
            )
            if message["type"] == "Reserve":
                holds.append(f"{number}-{n}")
            fleet.ask({**message, "id": f"{number}-{n}"})
            if number == 0:
                fleet.advance(clock.now() + dt.timedelta(seconds=2))

    at_once(threads, work)
    fleet.quiesce()
