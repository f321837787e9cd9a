"""Agents that are given what is free, a part at a time, and give each part back a while later: demand without end."""

import datetime as dt

from tallystick.actors.runtime.messages import MANAGER, REALLOCATOR, Post, Proposal
from tallystick.config.amounts import Amounts, Budget
from tallystick.demo.stage import Stage
from tallystick.events import messages as c
from tallystick.events.messages import proposals as p


class Demand:
    """A few agents that share ``part`` tokens each of the pool. Each gives its part back once in ``seconds``."""

    def __init__(self, part: int, seconds: float, agents: int = 4) -> None:
        self.part = part
        self.every = seconds / (agents + 1)
        self._names = [f"wants-{number}" for number in range(agents)]
        self._turn = 0
        self.moved = 0
        """How many tokens were moved to them."""

    def open(self, stage: Stage, now: dt.datetime) -> None:
        for name in self._names:
            stage.say([c.AllocateBudget(id=f"open-{name}", agent=name, budget=Budget(tokens=0))], "test", now)

    def take_turn(self, stage: Stage, now: dt.datetime) -> None:
        """The next agent gives its part back, and then all get what is free, up to their part."""
        self._turn += 1
        name = self._names[self._turn % len(self._names)]
        had = stage.ledger.accounts[name].free[0]
        if had:
            back = c.ReturnToPool(id=f"back-{self._turn}", agent=name, amount=Budget(tokens=had))
            (answer,) = stage.say([back], "test", now)
            assert "ok" in answer, answer
        free, moves = stage.ledger.root.free[0], []
        for other in self._names:
            more = min(self.part - stage.ledger.accounts[other].free[0], free)
            if more > 0:
                moves.append(p.Move("pool", other, Amounts(more), "as much as there is", "demand"))
                free -= more
        before = stage.ledger.root.free[0]
        propose(stage, p.ApplyMoves(moves=moves, id=f"~plan-{self._turn}"))
        self.moved += max(0, before - stage.ledger.root.free[0])


def propose(stage: Stage, plan: p.ApplyMoves) -> None:
    """Send a plan as the reallocator does, and let the fleet come to rest."""
    stage._deliver(Post(MANAGER, Proposal(plan, REALLOCATOR)))
    stage._settle()
