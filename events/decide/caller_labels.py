"""Labels by which limits count: an agent's key sets none of them, or it would choose whose limit its use counts in."""

from collections.abc import Iterator
from typing import Final

import msgspec

from tallystick.config.limits import SCOPES
from tallystick.events import messages as c
from tallystick.events.state.accounts import Account
from tallystick.events.state.ledger import Ledger

_TYPE, _PRODUCT, _WORKFLOW = (SCOPES.index(name) for name in ("agent_type", "product", "workflow"))
_FACTS: Final = (c.ReportUsage, c.Settle, c.CancelHold)


def counted_by(ledger: Ledger, account: Account | None) -> set[int | str]:
    """What limits count by that are in force for all, or for an account: numbers of scopes, and names of labels."""
    rules = [*ledger.rules.limits.by_name.values(), *(() if account is None else account.caps)]
    return {key for rule in rules for key in (rule.scope, *(name for name, _ in rule.match))}


def foreign_label(
    ledger: Ledger, under: str | None, command: c.AllocateBudget | c.SubmitTask | c.Reserve
) -> str | None:
    """Why an agent may not label so what it opens or holds, in words; ``under`` is the account that it is of."""
    account = None if under is None else ledger.accounts.get(under)
    if account is None:
        return None  # it is refused for that
    counted: set[int | str] | None = None
    for key, field, value, own in _said(account, command):
        if value is None or value == own:
            continue
        counted = counted_by(ledger, account) if counted is None else counted
        by_day = key == _PRODUCT and not ledger.rules.limits.products.keys().isdisjoint((value, own))
        if key in counted or by_day:
            there = "none" if own is None else own
            return f"{field}: found {value}, and a limit counts by it: the one of {account.id} is {there}"
    return None


def _said(
    account: Account, command: c.AllocateBudget | c.SubmitTask | c.Reserve
) -> Iterator[tuple[int | str, str, str | None, str | None]]:
    """What a message says of what limits may count by: its key and field, the value, and what it would inherit."""
    own = account.all_labels or {}
    if not isinstance(command, c.Reserve):
        yield _TYPE, "agent_type", command.agent_type, account.agent_type
        yield _PRODUCT, "product", command.product, account.budget_product
        yield _WORKFLOW, "workflow", command.workflow, account.budget_workflow
    for name, value in (command.labels or {}).items():
        # Of a hold, the account's label wins, whatever the message says.
        if not (isinstance(command, c.Reserve) and name in own):
            yield name, f"labels.{name}", value, own.get(name)


def without_foreign_labels(ledger: Ledger, command: c.Command) -> c.Command:
    """What an agent reports, without the labels that limits count by and its account does not have; or itself.

    What was used is a fact, and is not refused over a label.
    """
    if not isinstance(command, _FACTS) or not command.labels:
        return command
    if isinstance(command, c.ReportUsage):
        account = ledger.accounts.get(command.agent or command.task or "")
    else:
        hold = ledger.holds.get(command.hold)
        account = None if hold is None else hold.account
    own = (None if account is None else account.all_labels) or {}
    counted = counted_by(ledger, account)
    kept = {name: value for name, value in command.labels.items() if name in own or name not in counted}
    if len(kept) == len(command.labels):
        return command
    return msgspec.structs.replace(command, labels=kept or None)
