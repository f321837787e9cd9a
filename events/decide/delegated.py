"""At the parent: accounts that are the totals of other fleets. Only its fleet takes from one."""

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.replies import ChildAccount, Refusal, shown
from tallystick.events.state.accounts import Account
from tallystick.events.state.delegation import Child
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import limited, money, plus

OVERRUN = "delegated_overrun"
"""The cause of covers of what a child fleet has used beyond what it was granted."""


def only_its_fleet(account: Account, what: str) -> Refusal | None:
    """Why something may not be done with an account, where it is delegated; None where it is not."""
    if not account.terms.handed_over:
        return None
    return Refusal("delegated", f"{account.id} is the total of another fleet: {what}", {"agent": account.id})


def may_be_opened(parent: Account, command: c.AllocateBudget) -> Refusal | None:
    """Why a delegated account may not be opened so: what would close it, or take from it, is not the fleet's own."""
    if not command.delegated:
        return None
    if command.budget is None:
        return Refusal("invalid_message", "delegated: an account for another fleet has a budget of its own")
    if command.lease_seconds is not None or parent.leased is not None:
        text = "delegated: an account for another fleet has no lease, and none above it has one"
        return Refusal("invalid_message", text)
    if parent.run is not None:
        return Refusal("invalid_message", "delegated: an account for another fleet is not below a task's")
    return None


def foreign_child(ledger: Ledger, agent: str, child: c.FromChild) -> Refusal | None:
    """Why a message that says that it is of an account's fleet is not."""
    account, known = ledger.accounts.get(agent), ledger.delegated.get(agent)
    if known is None or (account is not None and not account.terms.handed_over):
        return Refusal("not_delegated", f"{agent} is no account for another fleet", {"agent": agent})
    if known.fleet not in (None, child.fleet):
        text = f"{agent} is the total of the fleet {known.fleet}, and not of {child.fleet}"
        return Refusal("delegated", text, {"agent": agent, "fleet": known.fleet})
    return None


def misnumbered(child: c.FromChild, *, of_range: bool) -> Refusal | None:
    """Why what a fleet says of itself cannot be meant so."""
    if of_range and not 0 < child.first <= child.upto:
        return Refusal("invalid_message", "child: allowed are first and upto, from 1 on, and first not behind upto")
    if not of_range and not child.number:
        return Refusal("invalid_message", "child.number: found 0, allowed is the number of the draw or return, from 1")
    return None


def bind(turn: Turn, agent: str, child: c.FromChild) -> Child:
    """What is known of an account's fleet; it is bound to the account by its first message."""
    known = turn.ledger.delegated[agent]
    if known.fleet is None:
        turn.record(e.ChildBound(agent=agent, fleet=child.fleet))
    return known


def child_account(ledger: Ledger, account: Account) -> ChildAccount | None:
    """How a delegated account stands; None where it is none."""
    if not account.terms.handed_over:
        return None
    known = ledger.delegated[account.id]
    granted = limited(account.allocated, plus(money(account.allocated), known.returned))
    return ChildAccount(known.fleet, known.number, known.booked, shown(granted), ledger.position)


def delegated_below(ledger: Ledger, account: Account) -> Account | None:
    """An open delegated account that is the account or below it; None for none."""
    for name in ledger.delegated:
        at = found = ledger.accounts.get(name)
        while found is not None and found.terms.handed_over and at is not None:
            if at is account:
                return found
            at = at.parent
    return None


def may_be_released(ledger: Ledger, account: Account, command: c.ReleaseBudget) -> Refusal | None:
    """Why an account may not be closed: it, or one below it, is a fleet's that is not closed."""
    if command.child is not None:
        return foreign_child(ledger, account.id, command.child)
    delegated = None if command.force else delegated_below(ledger, account)
    if delegated is None:
        return None
    text = f"{delegated.id} is the total of another fleet: close that first, or release it with force"
    return Refusal("delegated", text, {"agent": delegated.id, "fleet": ledger.delegated[delegated.id].fleet})


def booked_before(ledger: Ledger, agent: str, child: c.FromChild) -> Refusal | bool:
    """Whether a report of a fleet's use is booked; a refusal where it is not the next one, or not of that fleet."""
    refusal = misnumbered(child, of_range=True) or foreign_child(ledger, agent, child)
    if refusal is not None:
        return refusal
    booked = ledger.delegated[agent].booked
    if child.upto <= booked:
        return True
    if child.first != booked + 1:
        text = f"child.first: found {child.first}, and the use of {agent} is booked up to position {booked}"
        return Refusal("range_gap", text, {"agent": agent, "booked": booked})
    return False
