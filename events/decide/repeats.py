"""Reports and settlements of a source that is recorded already, as the manager has found it in its index.

A report goes the way of any other, but for what is booked. A settlement ends its hold: what it used was recorded from
elsewhere, so all that was set aside comes back.
"""

from typing import Any

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide import pricing
from tallystick.events.decide.holds import end_hold, overage
from tallystick.events.decide.occurred import misdated
from tallystick.events.decide.sources import repeat
from tallystick.events.decide.spelling import is_renamed, legible
from tallystick.events.decide.spent_holds import replace_spent
from tallystick.events.decide.track import report_usage
from tallystick.events.decide.turn import Turn
from tallystick.events.decide.usage import as_used, noted
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Enforcement, Refusal
from tallystick.events.state.accounts import Hold
from tallystick.events.state.money import ZERO, Money, less
from tallystick.events.state.remembered import EndedHold


def apply_source(turn: Turn, command: p.ApplySource) -> Enforcement | Refusal:
    """Record what a message says beyond what its source has said before; nothing where that is nothing.

    Raises:
        InvalidAmount: a malformed amount; nothing was recorded.
    """
    if isinstance(command.asked, c.ReportUsage):
        return report_usage(turn, command.asked, command)
    return _settle_again(turn, command, command.asked)


def _settle_again(turn: Turn, known: p.ApplySource, asked: c.Settle) -> Enforcement | Refusal:
    ledger, record = turn.ledger, known.record
    refusal = misdated(turn, asked)
    if refusal is not None:
        return refusal
    command = legible(ledger, asked)
    used = as_used(command, pricing.price(ledger.rules, command))
    used["repaired"] = command is not asked or is_renamed(turn.id, asked)
    hold, ended = ledger.holds.get(command.hold), ledger.ended_holds.get(command.hold)
    user = hold.agent if hold is not None else ended.agent if ended is not None else record.agent
    event = e.HoldSettled(hold=command.hold, agent=user, **used)
    refusal = None if hold is None else _overage(hold, known, event)
    if refusal is not None:
        return refusal
    # Nothing can fail after this line.
    if hold is not None and command.final:
        end_hold(turn, hold, "settled", recorded_position=record.position, **noted(command))
    elif ended is not None and _is_booked_twice(ended, record):
        nothing: dict[str, Any] = {**used, "tokens": 0, "time_ms": 0, "cost_nanos": 0, "unpriced": False}
        replace_spent(turn, command, ended, nothing)
    account = ledger.accounts.get(user) if ended is None else ledger.same_account(user, ended.life)
    return repeat(turn, known, event, account, None if ended is None else ledger.lives.get(ended.life))


def _overage(hold: Hold, known: p.ApplySource, event: e.HoldSettled) -> Refusal | None:
    """A part that is larger than it was before may exceed its hold, too."""
    if not hold.rejects_overage or known.record.hold != hold.id:
        return None
    before = e.Said.by(known.record) if known.last is None else known.last.counts
    more: Money = less((event.tokens, event.time_ms, event.cost_nanos), before.units)
    return overage(hold, more) if more != ZERO else None


def _is_booked_twice(ended: EndedHold, record: e.UsageReported | e.HoldSettled) -> bool:
    """Whether the expiry of a hold has booked what was used, and another record says it, too."""
    return ended.spent is not None and ended.spent.position != record.position
