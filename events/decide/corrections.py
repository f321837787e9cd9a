"""Corrections: what a report or a settlement said is replaced, on the day and in the period where it was recorded.

The record is given with the command, for the core has no log. Only what can be counted anew everywhere is corrected: a
record whose payer, product and model are still known. The rest is refused, and says why.
"""

from typing import NamedTuple

from tallystick.config.amounts import DIMENSIONS, EDGE_NAMES, Amounts, InvalidAmount, at_edge
from tallystick.events import catalog as e
from tallystick.events.decide.cover import cover, settle_cover
from tallystick.events.decide.fleet_response import respond
from tallystick.events.decide.levels import relevel, relevel_above
from tallystick.events.decide.turn import Turn
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Corrected, Refusal, shown
from tallystick.events.state.accounts import Account, Money, minus
from tallystick.events.state.ledger import Ledger

CORRECTION = "correction"
"""The cause of covers that a correction needs."""


class _Counts(NamedTuple):
    """Who pays for a record, and what it counts for."""

    payer: Account
    product: str | None
    agent_type: str | None
    model: str | None
    day: str


def correct_usage(turn: Turn, command: p.ApplyCorrection) -> Corrected | Refusal:
    """Replace what a record said by what the message names; what it does not name stays.

    Raises:
        InvalidAmount: a malformed amount, or no dimension named.
    """
    ledger, asked, record = turn.ledger, command.asked, command.record
    named = asked.usage.rounded_up("usage")
    if named == (None, None, None):
        raise InvalidAmount("usage", "nothing", "one or more of tokens, time_seconds, cost_usd")
    if record is None:
        return _no_usage(asked.position, command.found)
    counts = _counts(ledger, record)
    if isinstance(counts, Refusal):
        return counts
    before = ledger.corrections.get(record.position, (record.tokens, record.time_ms, record.cost_nanos))
    after = tuple(now if units is None else units for units, now in zip(named, before, strict=True))
    difference = minus((after[0], after[1], after[2]), before)
    refusal = _impossible(record, counts.payer, difference)
    if refusal is not None:
        return refusal
    root, payer = ledger.root, counts.payer
    event = e.UsageCorrected(
        agent=record.agent,
        reason=asked.reason,
        record=record,
        before=Amounts(*before),
        after=Amounts(*after),
        tokens=difference[0],
        time_ms=difference[1],
        cost_nanos=difference[2],
        charged=None if payer is root else payer.id,
        product=counts.product,
        agent_type=counts.agent_type,
        model=counts.model,
        day=counts.day,
        closed_period=record.position < ledger.period_began,
    )
    # Nothing can fail after this line.
    _correct(turn, payer, event)
    return Corrected(
        record.position,
        record.agent,
        shown(event.before.triple),
        shown(event.after.triple),
        counts.day,
        event.charged,
        event.closed_period,
    )


def _correct(turn: Turn, payer: Account, event: e.UsageCorrected) -> None:
    """Cover, book, and let levels and the fleet's response follow, up or down."""
    root = turn.ledger.root
    for d in DIMENSIONS:
        source, units = payer.payers[d], event.difference[d]
        if source is root and event.closed_period:
            continue  # the total moves with what was spent: the pool stays as it is
        if units > 0 and source.allocated[d] is not None:
            cover(turn, source, d, units, CORRECTION)
        elif units < 0 and event.closed_period:
            # What comes back to the account belongs to it, and the total is smaller: the pool has less.
            cover(turn, root, d, -units, CORRECTION)
    turn.record(event)
    settle_cover(turn, payer)
    settle_cover(turn, root)
    if payer is not root:
        relevel(turn, payer)
        relevel_above(turn, payer)
    respond(turn)


def _no_usage(position: int, found: str | None) -> Refusal:
    if found is None:
        return Refusal(
            "unknown_position", f"position: found {position}, the log has no record there", {"position": position}
        )
    return Refusal(
        "not_usage",
        f"position: found {position}, which is {found}; allowed are the positions of reports and settlements",
        {"position": position, "found": found},
    )


def _impossible(record: e.UsageReported | e.HoldSettled, payer: Account, difference: Money) -> Refusal | None:
    """Why a difference cannot be booked: it is none, or more comes back than the payer was charged."""
    if not any(difference):
        return Refusal(
            "nothing_to_correct",
            f"usage: what it names is what counts already for position {record.position}",
            {"position": record.position},
        )
    for d in DIMENSIONS:
        accounts = (payer, payer.payers[d])
        if any(account.spent[d] + difference[d] < 0 for account in accounts):
            back = at_edge(-difference[d], d)
            return cannot(record, f"{EDGE_NAMES[d]}: {back} would come back, which {payer.id} was not charged")
    return None


def cannot(record: e.UsageReported | e.HoldSettled, why: str) -> Refusal:
    """A record that is too old, or of an account that is closed."""
    detail = f"position {record.position} cannot be corrected: {why}"
    return Refusal("cannot_correct", detail, {"position": record.position, "agent": record.agent, "why": why})


def _counts(ledger: Ledger, record: e.UsageReported | e.HoldSettled) -> _Counts | Refusal:
    day = ledger.day.recorded_in(record.position)
    if day is None:
        return cannot(record, "the day in which it was recorded is no longer remembered")
    own = None if record.account is None else ledger.accounts.get(record.account)
    if own is not None and own.life < record.position:
        model = _model(ledger, own, record)
        if isinstance(model, Refusal):
            return model
        return _Counts(own, own.budget_product, own.agent_type, model, day)
    charged = record.charged if isinstance(record, e.UsageReported) else None
    payer = ledger.root if charged is None else ledger.accounts.get(charged)
    if payer is None or payer.life > record.position:
        return cannot(record, f"the account {charged} that paid for it was released")
    if charged is None and not _without_account(record):
        return cannot(record, f"the account of {record.agent} that it was charged to was released")
    assert isinstance(record, e.UsageReported)
    product = record.product
    if product is None and record.life is None:
        product = payer.budget_product
    return _Counts(payer, product, record.agent_type, record.model, day)


def _without_account(record: e.UsageReported | e.HoldSettled) -> bool:
    """Whether a record says of itself that no open account of its agent was charged."""
    if not isinstance(record, e.UsageReported):
        return False
    return record.unallocated or record.account is None or (record.late and record.hold is None)


def _model(ledger: Ledger, account: Account, record: e.UsageReported | e.HoldSettled) -> str | Refusal | None:
    """The model that a record counted for: the one it names, or that its agent was known to run on then."""
    if record.model is not None:
        return record.model
    task = ledger.tasks.running.get(account.id) if account.is_run else None
    if isinstance(record, e.UsageReported) and task is None:
        return None
    started_on = None if task is None else task.model
    if account.model is None:
        return started_on
    if record.position > account.model_since:
        return account.model
    return cannot(record, f"it names no model, and {account.id} has changed its model since")
