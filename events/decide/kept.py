"""What demand moves leave where it is: the money of tasks that have waited too long (spec 3, "No starvation by money").

Which of the waiting tasks come first is the allocator's judgement, and comes with the plan. What each of them needs,
and of whom, is found here.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from tallystick.config.amounts import TOKENS, Amounts, split_exactly
from tallystick.events.decide.admission import needs, payer
from tallystick.events.decide.pool import available
from tallystick.events.messages import proposals as p
from tallystick.events.state.accounts import Account
from tallystick.events.state.ledger import Ledger


class Kept(NamedTuple):
    """A task that waits for money, and the tokens that it needs."""

    task: str
    tokens: int


def kept_money(ledger: Ledger, tasks: Sequence[str]) -> dict[Account, Kept]:
    """By the account that pays, the first of ``tasks`` that waits and needs something of it."""
    kept: dict[Account, Kept] = {}
    for name in tasks:
        task = ledger.tasks.get(name)
        if task is None or task.state != "queued":
            continue
        source, units = payer(ledger, task).payers[TOKENS], needs(ledger, task)[TOKENS]
        if units and source.allocated[TOKENS] is not None:
            kept.setdefault(source, Kept(task.id, units))
    return kept


def beside_kept(ledger: Ledger, moves: Sequence[p.Move], kept: Mapping[Account, Kept]) -> list[p.Move]:
    """The moves of a plan that fits, cut to what is free beside what is kept; those of which nothing is left are gone.

    Critical agents draw first, then the others in proportion to what they were to get.
    """
    tokens = [move.amount.tokens or 0 for move in moves]
    because: dict[int, str] = {}
    for source, (task, units) in kept.items():
        takers = [n for n, move in enumerate(moves) if tokens[n] and _taken_from(ledger, move) is source]
        taken = 0
        for critical in (True, False):
            group = [n for n in takers if (moves[n].strategy == "priority") is critical]
            left = max(0, (available(ledger, source, TOKENS, critical) or 0) - units - taken)
            wanted = [tokens[n] for n in group]
            if sum(wanted) > left:
                for n, share in zip(group, split_exactly(left, wanted), strict=True):
                    if share < tokens[n]:
                        tokens[n], because[n] = share, task
            taken += sum(tokens[n] for n in group)
    return [move for n, one in enumerate(moves) if (move := _cut(one, tokens[n], because.get(n))) is not None]


def _taken_from(ledger: Ledger, move: p.Move) -> Account:
    """The account whose free tokens a move takes: that of an idle agent, or of who pays for one that lacks some."""
    if move.strategy == "idle":
        return ledger.accounts[move.source]
    return ledger.accounts[move.target].source(TOKENS)


def _cut(move: p.Move, tokens: int, kept_for: str | None) -> p.Move | None:
    if kept_for is None:
        return move
    amount = Amounts(tokens or None, move.amount.time_ms, move.amount.cost_nanos)
    if not any(amount.triple):
        return None
    return replace(move, amount=amount, reason=f"{move.reason}; the rest is kept for {kept_for}")
