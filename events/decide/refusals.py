"""Refusals that many messages share: unknown names, and names that nothing may have."""

from tallystick.events.messages.replies import Refusal
from tallystick.events.state.accounts import RESERVED_NAMES
from tallystick.events.state.ledger import Ledger


def bad_name(name: str, field: str) -> Refusal | None:
    """Why an id may not be used: it is shown on screens, and beside the fleet's reserved names."""
    if name in RESERVED_NAMES:
        return Refusal("invalid_message", f"{field}: found {name!r}, which is a name that the fleet reserves")
    if not name.isprintable():
        return Refusal("invalid_message", f"{field}: found {name!r}, allowed are printable characters")
    return None


def unknown_agent(ledger: Ledger, agent: str) -> Refusal:
    """An id without an open account: released before, or never seen."""
    if agent in ledger.released:
        return Refusal("already_released", f"{agent} was released", {"agent": agent})
    return Refusal("unknown_agent", f"no account is open for {agent}: allocate a budget first", {"agent": agent})


def unknown_hold(hold_id: str) -> Refusal:
    """A hold that never was, or that the memory of ids has forgotten."""
    return Refusal("unknown_hold", f"no hold {hold_id} is known: holds are named by the id of their Reserve", {})


def unknown_task(name: str) -> Refusal:
    """A task that never was, or that the memory of ids has forgotten."""
    return Refusal("unknown_task", f"no task {name} is known", {"task": name})
