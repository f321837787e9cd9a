"""Corrections: what a report or a settlement said is replaced, on the day and in the period where it was recorded.

The record is given with the command, for the core has no log. What an account pays that was released since is paid as
a late report is: by the nearest account that it was below and that is still open.
"""

from tallystick.config.amounts import DIMENSIONS, EDGE_NAMES, Amounts, at_edge
from tallystick.events import catalog as e
from tallystick.events.decide.alerts import alert
from tallystick.events.decide.breaker import close_breaker, holds
from tallystick.events.decide.corrected_usage import corrected
from tallystick.events.decide.cover import cover, settle_cover
from tallystick.events.decide.fleet_response import respond
from tallystick.events.decide.levels import relevel, relevel_above, relevel_under
from tallystick.events.decide.limits import record_lines, touched_by_use
from tallystick.events.decide.overdraft import note_overdrafts
from tallystick.events.decide.turn import Turn
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Corrected, Refusal, shown
from tallystick.events.state.ledger import UNPRICED_MAX, Ledger
from tallystick.events.state.money import Money, minus, money
from tallystick.events.state.paid_records import Find, Forgotten, Paid, charged_with, is_own, paid

CORRECTION = "correction"
"""The cause of covers that a correction needs."""

_Record = e.UsageReported | e.HoldSettled


def correct_usage(turn: Turn, command: p.ApplyCorrection) -> Corrected | Refusal:
    """Replace what a record said by what the message names; what it does not name stays.

    Raises:
        InvalidAmount: a malformed amount, or nothing named.
    """
    ledger, asked, record, last = turn.ledger, command.asked, command.record, command.last
    before = None if record is None else e.Said.by(record) if last is None else last.counts
    after = corrected(ledger.rules, asked, before or e.Said())
    if record is None or before is None:
        return _no_usage(asked.position, command.found)
    if record.overdrawn is not None:
        return _cannot(record, f"it was charged to the fleet, as {record.overdrawn} was beyond its overdraft_max")
    if isinstance(record, e.UsageReported) and record.child_upto:
        return _cannot(record, "it is what a child fleet has used: correct it in that fleet, which reports it")
    pays = paid(ledger, record, finder(command.openings))
    if isinstance(pays, Forgotten):
        return _cannot(record, f"the account {pays.agent} that was charged is not found in the log")
    if after == before:
        return Refusal(
            "nothing_to_correct",
            f"usage: what it names is what counts already for position {record.position}",
            {"position": record.position},
        )
    difference = minus(after.units, before.units)
    refusal = impossible(record, pays, difference)
    if refusal is not None:
        return refusal
    event = correction(ledger, command, pays, before, after)
    # Nothing can fail after this line.
    book_correction(turn, pays, event)
    return Corrected(
        record.position,
        record.agent,
        shown(before.units),
        shown(after.units),
        event.day,
        event.charged,
        event.closed_period,
        event.model_after or event.model,
        after.unpriced,
        after.base_tier,
    )


def most_said(record: _Record, last: e.UsageCorrected | None) -> Money:
    """The most that the source of a record has said, by dimension."""
    if last is None:
        return e.Said.by(record).units
    return last.counts.units if last.source_most is None else money(last.source_most.triple)


def correction(
    ledger: Ledger, command: p.ApplyCorrection, pays: Paid, before: e.Said, after: e.Said
) -> e.UsageCorrected:
    """The correction as a fact."""
    record, last, first = command.record, command.last, pays.closed[0] if pays.closed else None
    assert record is not None
    model = command.model if last is None else last.model_after or last.model
    model_after = command.asked.model
    product, agent_type, workflow = _labels(ledger, record, pays)
    difference = minus(after.units, before.units)
    source = record.source_id if last is None else last.source_id
    most = None if source is None else most_said(record, last)
    return e.UsageCorrected(
        agent=record.agent,
        reason=command.asked.reason,
        record=record,
        counted=before,
        counts=after,
        tokens=difference[0],
        time_ms=difference[1],
        cost_nanos=difference[2],
        charged=None if pays.payer is ledger.root else pays.payer.id,
        closed=None if first is None else first.id,
        life=None if first is None else first.position,
        closed_in=pays.closed_in,
        product=product,
        agent_type=agent_type,
        workflow=workflow,
        run=_run(ledger, record, pays),
        model=model,
        model_after=None if model_after == model else model_after,
        day=command.day,
        closed_period=record.position < ledger.period_began and not record.history,
        source_id=source,
        source_most=None if most is None or most == after.units else Amounts(*most),
    )


def _labels(ledger: Ledger, record: _Record, pays: Paid) -> tuple[str | None, str | None, str | None]:
    """The product, agent type and workflow that a record counts for: those that it names, or of its account."""
    if isinstance(record, e.UsageReported) and not is_own(record):
        if record.product is not None or record.life is not None:
            return record.product, record.agent_type, record.workflow
        task = ledger.tasks.get(record.agent)
        product = pays.product if charged_with(record) is not None else None
        return (product if task is None else task.product), record.agent_type, record.workflow
    one = pays.closed[0] if pays.closed else pays.payer
    return pays.product, one.agent_type, one.workflow


def _run(ledger: Ledger, record: _Record, pays: Paid) -> str | None:
    """The task in whose run a record was used, by the task itself or a sub-agent; None where none is known."""
    if isinstance(record, e.UsageReported) and not is_own(record):
        return None if record.lease is None else record.agent
    known = (life.id for life in pays.closed if ledger.tasks.get(life.id) is not None)
    return next(known, pays.payer.run)


def book_correction(turn: Turn, pays: Paid, event: e.UsageCorrected) -> None:
    """Cover, book, and let levels, the breaker and the fleet's response follow, up or down; and alert to a model
    without a price, once.
    """
    root, payer = turn.ledger.root, pays.payer
    if event.record.history:
        turn.record(event)  # nothing was charged
        return
    held = holds(turn.ledger)
    after, known = event.counts, turn.ledger.unpriced
    is_new = after.unpriced and after.model not in known and len(known) < UNPRICED_MAX
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
    note_overdrafts(turn)
    record_lines(turn, touched_by_use(turn.ledger))
    relevel_under(turn, payer)
    settle_cover(turn, payer)
    settle_cover(turn, root)
    if payer is not root:
        relevel(turn, payer)
        relevel_above(turn, payer)
    respond(turn)
    if held:
        # It may have been for what was corrected that it tripped.
        close_breaker(turn)
    if is_new:
        charged = "not charged: the price list is empty" if after.priced_as is None else f"charged as {after.priced_as}"
        alert(turn, "unpriced_model", f"no price is known for {after.model}; {charged}", event.agent)


def finder(openings: tuple[e.BudgetAllocated, ...]) -> Find:
    """Finds openings among those that were given with the command."""
    return lambda agent, position: next(
        (one for one in openings if one.agent == agent and one.position < position), None
    )


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


def impossible(record: _Record, pays: Paid, difference: Money) -> Refusal | None:
    """Why a difference cannot be booked: more comes back than is found where the record was charged."""
    for d in () if record.history else DIMENSIONS:
        payer = pays.payer.payers[d]
        if not pays.closed:
            there = min(pays.payer.spent[d], payer.spent[d])
        else:
            there = payer.closed[d] if EDGE_NAMES[d] in pays.closed_in else payer.spent[d]
        if there + difference[d] < 0:
            back = at_edge(-difference[d], d)
            return _cannot(record, f"{EDGE_NAMES[d]}: {back} would come back, which {payer.id} was not charged")
    return None


def _cannot(record: _Record, why: str) -> Refusal:
    """The log does not have what a correction of a record needs."""
    detail = f"position {record.position} cannot be corrected: {why}"
    return Refusal("cannot_correct", detail, {"position": record.position, "agent": record.agent, "why": why})
