"""What came of a provider's bill: it is kept, and decides nothing. What a reconciliation books are reports and
corrections of their own.
"""

from typing import Final

from tallystick.config.amounts import COST, InvalidAmount, dollars, exact_units
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.bill_replies import Reconciled
from tallystick.events.messages.bill_status import BillStatus
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.bills import Bill, Bills

_PLACES: Final = 10**6


def record_reconciliation(turn: Turn, command: c.RecordReconciliation) -> Reconciled | Refusal:
    """Keep it, unless it is the newest of its provider already.

    Raises:
        InvalidAmount: an amount that is malformed, or a part that is more than the whole.
    """
    billed = exact_units(command.billed_usd, COST, "billed_usd")
    parts = []
    for field in ("explained_usd", "reported_usd"):
        part = exact_units(getattr(command, field), COST, field)
        if part > billed:
            raise InvalidAmount(field, dollars(part), f"at most billed_usd, {dollars(billed)}")
        parts.append(part)
    if command.last_day < command.first_day:
        text = f"last_day: found {command.last_day}, allowed is a day from first_day, {command.first_day}, on"
        return Refusal("invalid_message", text, {"field": "last_day"})
    known = turn.ledger.bills.get(command.provider)
    # Nothing can fail after this line.
    if known is not None and known.bill == command.bill:
        return Reconciled(command.provider, bill_status(known), recorded=False)
    turn.record(
        e.BillReconciled(
            bill=command.bill,
            provider=command.provider,
            first_day=command.first_day.isoformat(),
            last_day=command.last_day.isoformat(),
            billed_nanos=billed,
            explained_nanos=parts[0],
            reported_nanos=parts[1],
            short=command.short,
        )
    )
    return Reconciled(command.provider, bill_status(turn.ledger.bills[command.provider]))


def bill_status(bill: Bill) -> BillStatus:
    """A bill as replies show it. Of a bill of nothing, all is explained."""
    return BillStatus(
        bill.bill,
        bill.first_day,
        bill.last_day,
        dollars(bill.billed),
        _part(bill.explained, bill.billed),
        _part(bill.reported, bill.billed),
    )


def bill_statuses(bills: Bills) -> dict[str, BillStatus] | None:
    """The newest bill of each provider; None where none was reconciled."""
    return {provider: bill_status(bill) for provider, bill in bills.items()} or None


def _part(part: int, whole: int) -> float:
    return part * _PLACES // whole / _PLACES if whole else 1.0
