"""Reallocate: what goes back to the pool, and the reallocator's plan, checked again at the moment it is applied."""

from tallystick.config.amounts import DIMENSIONS, EDGE_NAMES, Amounts, Triple
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.allocate import only_limited
from tallystick.events.decide.amounts import not_empty
from tallystick.events.decide.answers import allocation
from tallystick.events.decide.cover import name_of, settle_cover
from tallystick.events.decide.delegated import bind, foreign_child, misnumbered, only_its_fleet
from tallystick.events.decide.kept import beside_kept, kept_money
from tallystick.events.decide.levels import relevel, relevel_above, restore_more
from tallystick.events.decide.pool import lacking, open_reserve_for, over_pool_share
from tallystick.events.decide.refusals import unknown_agent
from tallystick.events.decide.turn import Turn
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Allocation, MoveMade, Moves, Refusal, shown
from tallystick.events.state.accounts import Account
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import Money, money, plus


def return_to_pool(turn: Turn, command: c.ReturnToPool) -> Allocation | Refusal:
    """Give back at most what is available; never below the minimum share.

    Raises:
        InvalidAmount: a malformed or empty amount, or a dimension that the allocation does not limit.
    """
    ledger = turn.ledger
    wanted = not_empty(command.amount, "amount")
    account = ledger.accounts.get(command.agent)
    if account is None:
        return unknown_agent(ledger, command.agent)
    only_limited(account, wanted, "amount")
    if account.terms.handed_over or command.child is not None:
        return _return_of_child(turn, account, wanted, command.child)
    back = tuple(0 if wanted[d] is None else min(wanted[d] or 0, account.remaining(d)) for d in DIMENSIONS)
    refusal = below_minimum(ledger, account, (back[0], back[1], back[2]))
    if refusal is not None:
        return refusal
    # Nothing can fail after this line.
    turn.record(e.BudgetReturned(agent=account.id, amount=Amounts(*(units or None for units in back))))
    assert account.parent is not None
    settle_cover(turn, account.parent)
    relevel(turn, account)
    relevel_above(turn, account)
    return allocation(ledger, account)


def _return_of_child(turn: Turn, account: Account, wanted: Triple, child: c.FromChild | None) -> Allocation | Refusal:
    """Take what a fleet gives back of its total: that is lower already, so it is not refused for being too much."""
    if child is None:
        return only_its_fleet(account, "only that fleet gives back") or allocation(turn.ledger, account)
    refusal = misnumbered(child, of_range=False) or foreign_child(turn.ledger, account.id, child)
    if refusal is not None:
        return refusal
    if child.number <= turn.ledger.delegated[account.id].number:
        return allocation(turn.ledger, account)
    # Nothing can fail after this line.
    bind(turn, account.id, child)
    back = [None if wanted[d] is None else min(wanted[d] or 0, account.remaining(d)) for d in DIMENSIONS]
    turn.record(e.BudgetReturned(agent=account.id, amount=Amounts(*back), number=child.number))
    assert account.parent is not None
    settle_cover(turn, account.parent)
    relevel(turn, account)
    relevel_above(turn, account)
    return allocation(turn.ledger, account)


def below_minimum(ledger: Ledger, account: Account, back: Money) -> Refusal | None:
    """Why an account may not give ``back``: it would be left with less than its minimum share."""
    for d in DIMENSIONS:
        allocated = account.allocated[d]
        if allocated is not None and back[d] and allocated - back[d] < ledger.minimum_share(d):
            least: Triple = tuple(ledger.minimum_share(i) if i == d else None for i in DIMENSIONS)  # type: ignore[assignment]
            return Refusal(
                "below_minimum_share",
                f"{EDGE_NAMES[d]}: {account.id} would be left with less than the minimum share of the open agents",
                {"allocated": shown(account.allocated), "returned": shown(back), "minimum_share": shown(least)},
            )
    return None


def apply_moves(turn: Turn, command: p.ApplyMoves) -> Moves | Refusal:
    """Apply a plan whole, or refuse it whole and say which move no longer fits.

    The moves are checked one after the other against what the earlier ones leave, before the first is recorded. What
    an aged task needs is not moved: a move that would take it is cut.
    """
    ledger = turn.ledger
    refusal = _does_not_fit(ledger, command.moves)
    if refusal is not None:
        return refusal
    kept = kept_money(ledger, command.kept)
    moves = beside_kept(ledger, command.moves, kept) if kept else command.moves
    if command.moves and not moves and not command.asked:
        return _stale(command.moves[0], f"what it would take is kept for {next(iter(kept.values())).task}")
    # Nothing can fail after this line.
    turn.record(e.Rebalanced(moves=len(moves)))
    made = []
    moved: list[Account] = []
    for move in moves:
        account = ledger.accounts[move.source if move.strategy == "idle" else move.target]
        assert account.parent is not None
        amount = move.amount
        if move.strategy != "idle":
            open_reserve_for(turn, account.id, account.parent.payers, amount.triple)
        turn.record(
            e.BudgetMoved(
                source=move.source, target=move.target, amount=amount, reason=move.reason, strategy=move.strategy
            )
        )
        settle_cover(turn, account.parent if move.strategy == "idle" else account)
        moved.append(account)
        made.append(MoveMade(move.source, move.target, shown(amount.triple), move.reason))
    # Levels follow when all moves are made: the end of black restores from what the plan leaves.
    for account in moved:
        relevel(turn, account)
        restore_more(turn, account)
        relevel_above(turn, account)
    return Moves(made, shown(ledger.pool))


def _does_not_fit(ledger: Ledger, moves: list[p.Move]) -> Refusal | None:
    """Why the plan cannot be applied now, or None."""
    reclaimed: set[str] = set()
    granted: dict[str, Money] = {}
    taken: dict[Account, list[int]] = {}
    for move in moves:
        idle = move.strategy == "idle"
        name, other = (move.source, move.target) if idle else (move.target, move.source)
        account = ledger.accounts.get(name)
        if account is None or not _is_meant(move, account, other):
            return _stale(move, "the accounts are no longer there, or are another fleet's")
        if name in ledger.tasks.running:
            return _stale(move, "the budget of a running task is not moved")
        if account.stopped is not None and not idle:
            return _stale(move, "the agent was stopped")
        units = money(move.amount.triple)
        if any(units[d] and account.allocated[d] is None for d in DIMENSIONS) or not any(units) or min(units) < 0:
            return _stale(move, "the amount is empty, or names a dimension that the allocation does not limit")
        if idle:
            if account.reclaimed or name in reclaimed or any(account.held):
                return _stale(move, "the agent is not idle, or was reclaimed before")
            gone = taken.setdefault(account, [0, 0, 0])
            if any(units[d] + gone[d] > account.remaining(d) for d in DIMENSIONS if units[d]):
                return _stale(move, "it takes more than remains")
            refusal = below_minimum(ledger, account, units)
            if refusal is not None:
                return _stale(move, refusal.detail)
            reclaimed.add(name)
            for d in DIMENSIONS:
                gone[d] += units[d]
            continue
        granted[name] = plus(granted.get(name, (0, 0, 0)), units)
        refusal = over_pool_share(ledger, account.drawn, granted[name]) or _plan_lacks(ledger, taken, units, account)
        if refusal is not None:
            return _stale(move, refusal.detail)
    return None


def _is_meant(move: p.Move, account: Account, other: str) -> bool:
    """Whether a move was planned for this account, and not for an earlier one of its id."""
    is_same = move.opened_at in (None, account.opened_at)
    if account.terms.handed_over or account.parent is None:
        return False  # what another fleet has is moved by that fleet alone
    return is_same and name_of(account.parent) == other


def _plan_lacks(ledger: Ledger, taken: dict[Account, list[int]], units: Money, account: Account) -> Refusal | None:
    """Whether the sources of a grant have it beside all that the plan took from them before; it is added to that.

    Nothing of a plan depends on what the same plan brings back, because that may repay a debt first.
    """
    assert account.parent is not None
    sources = account.parent.payers
    wanted: list[int | None] = [None, None, None]
    for d in DIMENSIONS:
        if units[d]:
            gone = taken.setdefault(sources[d], [0, 0, 0])
            gone[d] += units[d]
            wanted[d] = gone[d]
    return lacking(ledger, sources, (wanted[0], wanted[1], wanted[2]), account.priority == "critical")


def _stale(move: p.Move, why: str) -> Refusal:
    return Refusal("plan_out_of_date", f"the move from {move.source} to {move.target} does not fit: {why}")
