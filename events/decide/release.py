"""Release: children first, holds cancelled, the unused back to the parent, and a last statement."""

from collections.abc import Iterable

from tallystick.config.amounts import DIMENSIONS, Amounts, Triple, seconds
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.answers import stamp, used
from tallystick.events.decide.cover import repay_source, settle_covers
from tallystick.events.decide.delegated import may_be_released
from tallystick.events.decide.delegation import end_delegation
from tallystick.events.decide.dependents import give_up_under
from tallystick.events.decide.fleet_response import respond
from tallystick.events.decide.levels import relevel_above, relevel_above_all
from tallystick.events.decide.own_limits import level_now, percentage
from tallystick.events.decide.refusals import unknown_agent
from tallystick.events.decide.spent_holds import spend_hold
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.release_replies import FinalReport, ReleasedBudget
from tallystick.events.messages.replies import Refusal, Totals, shown
from tallystick.events.state.accounts import ROOT, Account
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import limited


def release_budget(turn: Turn, command: c.ReleaseBudget) -> ReleasedBudget | Totals | Refusal:
    """Close an account and all below it."""
    if command.agent == ROOT and turn.ledger.delegation is not None:
        return end_delegation(turn)
    account = turn.ledger.accounts.get(command.agent)
    if account is None:
        return unknown_agent(turn.ledger, command.agent)
    refusal = may_be_released(turn.ledger, account, command)
    if refusal is not None:
        return refusal
    # Nothing can fail after this line.
    return close_account(turn, account)


def close_account(turn: Turn, account: Account, *, fell_silent: bool = False) -> ReleasedBudget:
    """Close an open account and all below it, and let the fleet's response follow.

    ``fell_silent``: its owner is not heard any more, so its holds end as their expiry would end them.
    """
    answer = close_below(turn, account, fell_silent=fell_silent)
    settle_above(turn, (account,))
    respond(turn)
    return answer


def close_children(turn: Turn, account: Account) -> None:
    """Close all that is below an account."""
    children = list((account.children or {}).values())
    for child in children:
        close_below(turn, child)
    settle_above(turn, children)


def settle_above(turn: Turn, closed: Iterable[Account]) -> None:
    """Let cover and levels follow from what accounts that were closed have given back: up the tree once for all."""
    ledger = turn.ledger
    # Where an account was closed as well, what it had is with the next one above.
    topmost = [account for account in closed if _is_open(ledger, account.parent)]
    settle_covers(turn, [account.parent for account in topmost if account.parent is not None])
    relevel_above_all(turn, topmost)


def _is_open(ledger: Ledger, account: Account | None) -> bool:
    return account is not None and (account is ledger.root or ledger.accounts.get(account.id) is account)


class _Closing:
    """An account whose children are being closed: those that are left, and how many there were."""

    __slots__ = ("account", "children", "left")

    def __init__(self, account: Account) -> None:
        self.account = account
        self.left = list(reversed((account.children or {}).values()))
        self.children = len(self.left)


def close_below(turn: Turn, account: Account, *, fell_silent: bool = False) -> ReleasedBudget:
    """Close an account after all below it, from the leaves up: at any depth.

    Each gives back to its source alone, which will have its turn; from there on it is for `settle_above`.
    """
    path = [_begin(turn, account)]
    while True:
        last = path[-1]
        if last.left:
            path.append(_begin(turn, last.left.pop()))
            continue
        path.pop()
        holds = _end_holds(turn, last.account, fell_silent)
        repay_source(turn, last.account)
        if not path:
            answer = _statement(turn, account, last.children, holds)
            _close(turn, account)
            return answer
        _close(turn, last.account)


def _begin(turn: Turn, account: Account) -> _Closing:
    if turn.ledger.tasks.open:
        give_up_under(turn, account.id)
    return _Closing(account)


def _end_holds(turn: Turn, account: Account, fell_silent: bool) -> int:
    """End all holds of an account; how many there were."""
    holds = list((account.holds or {}).values())
    for hold in holds:
        if fell_silent and hold.spends:
            spend_hold(turn, hold)
        else:
            turn.record(e.HoldEnded(hold=hold.id, agent=account.id, how="released"))
    return len(holds)


def _close(turn: Turn, account: Account) -> None:
    """Close an account that has nothing open below it and no holds."""
    turn.record(
        e.BudgetReleased(
            agent=account.id,
            allocated=Amounts(*account.allocated),
            consumed=Amounts(*used(account)),
            unused=Amounts(*account.remaining_all()),
        )
    )
    relevel_above(turn, account)


def _statement(turn: Turn, account: Account, children: int, holds: int) -> ReleasedBudget:
    """The last words about an account that is about to close."""
    return ReleasedBudget(
        account.id,
        shown(account.allocated),
        shown(used(account)),
        shown(account.remaining_all()),
        _final_report(turn, account, children, holds),
    )


def _final_report(turn: Turn, account: Account, children: int, holds: int) -> FinalReport:
    limits = account.allocated
    overrun: Triple = limited(limits, [max(0, account.consumed(d) - (limits[d] or 0)) for d in DIMENSIONS])
    open_ms = int((turn.now - account.opened_at).total_seconds() * 1000)
    return FinalReport(
        utilization=percentage(turn.ledger, account),
        overrun=shown(overrun),
        borrowed=shown(limited(limits, account.borrowed)),
        level=e.LEVELS[level_now(turn.ledger, account)],
        opened_at=stamp(account.opened_at),
        open_seconds=seconds(open_ms),
        children_released=children,
        holds_cancelled=holds,
    )
