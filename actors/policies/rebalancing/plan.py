"""Where idle budget should go: idle reclamation, demand, and which agent draws first (spec 2)."""

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from math import ceil
from typing import NamedTuple

import msgspec

from tallystick.config.amounts import DIMENSIONS, Amounts, Triple, split_exactly
from tallystick.config.settings import Config
from tallystick.events.catalog import Strategy
from tallystick.events.messages.proposals import Move
from tallystick.events.state.accounts import POOL
from tallystick.events.state.money import Money

_WORTH = 0.01
"""A grant below this share of what an agent lacks changes nothing for it."""


class Idle(msgspec.Struct, frozen=True):
    """An agent that has used nothing and held nothing for a while. ``source`` is its parent (or the pool)."""

    agent: str
    source: str
    allocated: Triple
    remaining: Money
    idle_seconds: float
    opened_at: dt.datetime | None = None


class Hungry(msgspec.Struct, frozen=True):
    """An agent whose budget will not last: ``lacking`` is what the forecast says it needs beyond what remains.

    ``fair`` is what it may be given at most beyond what it has so that there is enough for the others (see
    `fair_level`), None where nothing bounds it. ``source_free`` is what its parent has free, None in a dimension that
    the fleet does not limit.
    """

    agent: str
    source: str
    critical: bool
    lacking: Money
    drawn: Money
    percentage: float
    source_free: Triple
    fair: Triple = (None, None, None)
    opened_at: dt.datetime | None = None


class Fleet(NamedTuple):
    """What a plan must know of the whole."""

    spendable: Triple
    minimum_share: Money
    in_crisis: bool


def plan(idle: Sequence[Idle], hungry: Sequence[Hungry], fleet: Fleet, config: Config) -> list[Move]:
    """One plan of moves. It counts on nothing that it brings back itself: that may repay a debt first.

    1. Idle reclamation: a share of what remains goes back, never below the minimum share.
    2. Demand: what is lacking, bounded by the pool, by what one agent may draw, and by what is fair to the others.
    3. Priority: critical agents draw first; then the rest, in proportion to need.
    """
    moves = [move for agent in idle if (move := _reclaimed(agent, fleet, config)) is not None]
    needs = {agent.agent: _bounded(agent, fleet, config) for agent in hungry}
    for source in dict.fromkeys(agent.source for agent in hungry):
        group = [agent for agent in hungry if agent.source == source]
        moves += _granted(group, needs, fleet)
    return moves


def _reclaimed(agent: Idle, fleet: Fleet, config: Config) -> Move | None:
    amount = [0, 0, 0]
    for d in DIMENSIONS:
        allocated = agent.allocated[d]
        if allocated is not None:
            share = int(agent.remaining[d] * config.reallocation.reclaim_fraction)
            amount[d] = max(0, min(share, allocated - fleet.minimum_share[d]))
    if not any(amount):
        return None
    reason = f"idle for {int(agent.idle_seconds)} s: {config.reallocation.reclaim_fraction * 100:f} % of what remained"
    return Move(agent.agent, agent.source, _amounts(amount), reason, "idle", agent.opened_at)


def _bounded(agent: Hungry, fleet: Fleet, config: Config) -> Money:
    """What is lacking, at most what one agent may draw on demand; and its fair part, unless it is critical."""
    need = list(agent.lacking)
    part = Decimal(config.max_pool_share_percent) / 100
    for d in DIMENSIONS:
        spendable, fair = fleet.spendable[d], agent.fair[d]
        if spendable is not None:
            need[d] = max(0, min(need[d], int(spendable * part) - agent.drawn[d]))
        if fair is not None and not agent.critical:
            need[d] = min(need[d], fair)
    return (need[0], need[1], need[2])


def _granted(group: Sequence[Hungry], needs: dict[str, Money], fleet: Fleet) -> list[Move]:
    """What one source can give to those who ask it: critical first, then in proportion to need."""
    free = list(group[0].source_free)
    given = {agent.agent: [0, 0, 0] for agent in group}
    for d in DIMENSIONS:
        first = [agent for agent in group if agent.critical and needs[agent.agent][d]]
        for agent in first:
            there = free[d]
            share = needs[agent.agent][d] if there is None else min(needs[agent.agent][d], there)
            given[agent.agent][d] = share
            if there is not None:
                free[d] = there - share
        rest = [agent for agent in group if not agent.critical and needs[agent.agent][d]]
        if not rest or (fleet.in_crisis and rest[0].source == POOL):
            continue
        wanted = [needs[agent.agent][d] for agent in rest]
        there = free[d]
        shares = wanted if there is None or there >= sum(wanted) else split_exactly(there, wanted)
        for agent, share in zip(rest, shares, strict=True):
            given[agent.agent][d] = share
    moves = []
    for agent in sorted(group, key=lambda agent: not agent.critical):
        if any(
            share >= need * _WORTH for share, need in zip(given[agent.agent], needs[agent.agent], strict=True) if need
        ):
            reason = f"{agent.percentage * 100:.0f} % used and the forecast exceeds the allocation"
            strategy: Strategy = "priority" if agent.critical else "demand"
            amount = _amounts(given[agent.agent])
            moves.append(Move(agent.source, agent.agent, amount, reason, strategy, agent.opened_at))
    return moves


def lacking(remaining: Money, rate: tuple[float, float, float], horizon_seconds: float, limits: Triple) -> Money:
    """What a budget lacks to last ``horizon_seconds`` at ``rate`` units per second."""
    need = [0 if limits[d] is None else max(0, ceil(rate[d] * horizon_seconds) - remaining[d]) for d in DIMENSIONS]
    return (need[0], need[1], need[2])


def _amounts(units: list[int]) -> Amounts:
    return Amounts(*(amount or None for amount in units))
