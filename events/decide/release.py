"""Release: children first, holds cancelled, the unused back to the parent, and a last statement."""

from tallystick.config.amounts import DIMENSIONS, Amounts, Triple, seconds
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.answers import stamp, used
from tallystick.events.decide.cover import settle_cover
from tallystick.events.decide.dependents import give_up_under
from tallystick.events.decide.fleet_response import respond
from tallystick.events.decide.levels import percentage, relevel_above
from tallystick.events.decide.refusals import unknown_agent
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.replies import FinalReport, Refusal, ReleasedBudget, shown
from tallystick.events.state.accounts import Account, limited


def release_budget(turn: Turn, command: c.ReleaseBudget) -> ReleasedBudget | Refusal:
    """Close an account and all below it."""
    account = turn.ledger.accounts.get(command.agent)
    if account is None:
        return unknown_agent(turn.ledger, command.agent)
    # Nothing can fail after this line.
    return close_account(turn, account)


def close_account(turn: Turn, account: Account) -> ReleasedBudget:
    """Close an open account and all below it, and let the fleet's response follow."""
    answer = _release(turn, account)
    respond(turn)
    return answer


def close_children(turn: Turn, account: Account) -> int:
    """Close all that is below an account; how many it granted to itself."""
    children = list((account.children or {}).values())
    for child in children:
        _release(turn, child)
    return len(children)


def _release(turn: Turn, account: Account) -> ReleasedBudget:
    if turn.ledger.tasks.open:
        give_up_under(turn, account.id)
    children = close_children(turn, account)
    holds = list((account.holds or {}).values())
    for hold in holds:
        turn.record(e.HoldEnded(hold=hold.id, agent=account.id, how="released"))
    settle_cover(turn, account)
    parent = account.parent
    assert parent is not None
    limits = account.allocated
    consumed = used(account)
    unused = limited(limits, [account.free[d] for d in DIMENSIONS])
    answer = ReleasedBudget(
        account.id,
        shown(limits),
        shown(consumed),
        shown(unused),
        _final_report(turn, account, children, len(holds)),
    )
    turn.record(
        e.BudgetReleased(
            agent=account.id,
            allocated=Amounts(*limits),
            consumed=Amounts(*consumed),
            unused=Amounts(*unused),
        )
    )
    settle_cover(turn, parent)
    relevel_above(turn, account)
    return answer


def _final_report(turn: Turn, account: Account, children: int, holds: int) -> FinalReport:
    limits = account.allocated
    overrun: Triple = limited(limits, [max(0, account.consumed(d) - (limits[d] or 0)) for d in DIMENSIONS])
    open_ms = int((turn.now - account.opened_at).total_seconds() * 1000)
    return FinalReport(
        utilization=percentage(account),
        overrun=shown(overrun),
        borrowed=shown(limited(limits, account.borrowed)),
        level=e.LEVELS[account.level],
        opened_at=stamp(account.opened_at),
        open_seconds=seconds(open_ms),
        children_released=children,
        holds_cancelled=holds,
    )
