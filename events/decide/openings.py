"""What stands against an account under an id."""

from tallystick.events.decide.levels import stop_of
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.accounts import Account
from tallystick.events.state.ledger import Ledger


def is_stopped(ledger: Ledger, agent: str, product: str | None = None) -> Refusal | None:
    """Why no account can be opened under an id: it was stopped, or works for a product that is paused, or did so."""
    reason = stop_of(ledger, agent)
    if reason is not None:
        text = f"{agent} was stopped: {reason}; Resume lets it go on"
        return Refusal("agent_stopped", text, {"agent": agent, "decided_by": "stop"})
    closed = ledger.released.get(agent)
    for name in (product, None if closed is None else closed.budget_product):
        if name is not None and name in ledger.rules.paused_products:
            text = f"{agent} works for {name}, which is paused"
            return Refusal("agent_stopped", text, {"agent": agent, "product": name, "decided_by": "product_pause"})
    return None


def is_taken(ledger: Ledger, agent: str) -> Refusal | None:
    """Why no account can be opened under a name: it has one, or is a task's, which gets one when it starts."""
    if agent in ledger.accounts:
        text = f"{agent} has an open account: use BorrowFromPool for more"
        return Refusal("already_allocated", text, {"agent": agent})
    if ledger.tasks.is_open(agent):
        text = f"{agent} is a task that waits, and gets an account when it starts"
        return Refusal("already_submitted", text, {"task": agent})
    return None


def nested(account: Account) -> int:
    """How many accounts with limits are at or above an account."""
    return len({rule.owner for rule in account.caps})
