"""How usage is booked: covered where it is more than there is, then recorded, then levels and the response follow."""

from collections.abc import Sequence
from typing import Any

from tallystick.config.amounts import TOKENS
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide import last_call as last_calls
from tallystick.events.decide import pricing
from tallystick.events.decide.alerts import alert
from tallystick.events.decide.answers import enforcement
from tallystick.events.decide.auto_accounts import open_by_itself, unopened
from tallystick.events.decide.cover import cover, settle_cover
from tallystick.events.decide.delegated import OVERRUN
from tallystick.events.decide.fleet_response import respond
from tallystick.events.decide.levels import relevel, relevel_above, relevel_under
from tallystick.events.decide.limits import record_lines, touched_by_use
from tallystick.events.decide.occurred import of_time, windows_over
from tallystick.events.decide.overdraft import OVERDRAFT_MAX, beyond, note_overdrafts
from tallystick.events.decide.own_limits import ratio as ratio_of
from tallystick.events.decide.sources import repeat
from tallystick.events.decide.turn import Turn
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Enforcement, Refusal
from tallystick.events.state.accounts import Account
from tallystick.events.state.ledger import UNPRICED_MAX, Ledger
from tallystick.events.state.limits import Match
from tallystick.events.state.money import ZERO, Money
from tallystick.events.state.remembered import Closed

UNDER_ESTIMATE, LATE_REPORT, UNPRICED_MODEL = "under_estimate", "late_report", "unpriced_model"


def book(
    turn: Turn,
    command: c.ReportUsage,
    agent: str,
    over: str | None = None,
    payer: Account | None = None,
    *,
    total: bool = False,
    repaired: bool = False,
    known: p.ApplySource | None = None,
) -> Enforcement:
    """Record what ``agent`` reports, and answer all that it must know to go on.

    ``over`` is the lease of a run that had ended: then ``payer`` is charged, and no account of the same name.
    ``repaired``: a name of it was misspelled. ``total``: it is the total of several requests, or the rest of one.
    ``known``: what is recorded of its source already.

    Raises:
        InvalidAmount: a malformed amount; nothing was recorded.
    """
    ledger = turn.ledger
    priced = pricing.price(ledger.rules, command, total=total)
    account = ledger.accounts.get(agent) if over is None else None
    foreign: Account | None = None
    if account is not None and account.terms.handed_over and command.child is None:
        # Only its fleet takes from the account: what others use under its name, the one above it pays.
        foreign, payer, account = account, account.parent, None
    is_new = account is None and foreign is None and command.agent is not None and over is None
    opening = _opening(turn, agent) if is_new else None
    closed = ledger.released.get(agent) if over is None and opening is None else None
    late = over is not None or closed is not None
    unallocated = account is None and foreign is None and opening is None and not late
    event = e.UsageReported(
        agent=agent,
        operation=command.operation,
        lease=over,
        late=late,
        unallocated=unallocated,
        repaired=repaired,
        **(of_run(ledger, agent) if over is not None else of_life(closed or foreign)),
        **as_used(command, priced),
        **of_time(turn, command),
    )
    if command.child is not None:
        event.child_first, event.child_upto = command.child.first, command.child.upto
    label_late(ledger, event, closed)
    # Nothing can fail after this line.
    if known is not None:
        return repeat(turn, known, event, account, closed)
    if opening is not None:
        account = _open(turn, opening, event)
    if closed is not None:
        payer = payer or ledger.payer_of(closed)
    cause = OVERRUN if event.child_upto else LATE_REPORT if late else UNDER_ESTIMATE
    return use_priced(turn, account, event, cause, payer=payer)


def _opening(turn: Turn, agent: str) -> Account | None:
    """The account that opens by itself for what an id has used, if one does."""
    found = unopened(turn, agent)
    return None if isinstance(found, Refusal) else found


def _open(turn: Turn, account: Account, event: e.UsageReported) -> Account:
    """Open the account; what it opens for counts in its limits, also where it was used before now."""
    used_at = None if event.history else event.occurred_at
    opened = open_by_itself(turn, account, used_at)
    if used_at is not None:
        event.past_windows = windows_over(turn, used_at)
    return opened


def of_life(closed: Closed | Account | None) -> dict[str, Any]:
    """The fields of a report that say which account it belongs to that does not pay, and what it counts for."""
    if closed is None:
        return {}
    return {
        "life": closed.life,
        "product": closed.budget_product,
        "agent_type": closed.agent_type,
        "workflow": closed.workflow,
    }


def label_late(ledger: Ledger, event: e.UsageReported, closed: Closed | None) -> None:
    """A late report has the labels of what it belongs to over its own."""
    task = None if event.lease is None else ledger.tasks.get(event.agent)
    labels = task.labels if task is not None else None if closed is None else closed.labels
    if labels:
        event.labels = {**(event.labels or {}), **labels}


def of_run(ledger: Ledger, name: str) -> dict[str, Any]:
    """The fields of a report of a run that is over that say what it counts for: its lease says which run it was."""
    task = ledger.tasks.get(name)
    if task is None:
        return {}
    return {"product": task.product, "agent_type": task.agent_type, "workflow": task.workflow}


def as_used(command: c.ReportUsage | c.Settle, priced: pricing.Priced) -> dict[str, Any]:
    """The fields of an event that say what was used, and how it was priced."""
    return {
        "tokens": priced.tokens or 0,
        "time_ms": priced.time_ms or 0,
        "cost_nanos": priced.cost_nanos or 0,
        "model": command.model,
        **({} if priced.counts is pricing.UNKNOWN else priced.counts._asdict()),
        "requests": command.requests,
        "priced_as": priced.priced_as,
        "unpriced": priced.unpriced,
        "base_tier": priced.base_tier,
        **({"labels": command.labels or None} if isinstance(command, c.ReportUsage) else noted(command)),
    }


def noted(command: c.Reserve | c.Settle | c.CancelHold) -> dict[str, Any]:
    """The fields of an event that say what a message says about its hold."""
    return {"labels": command.labels or None, "operation": command.operation, "reason": command.reason}


def use_priced(
    turn: Turn,
    account: Account | None,
    event: e.UsageReported | e.HoldSettled,
    cause: str,
    held: Money = ZERO,
    payer: Account | None = None,
) -> Enforcement:
    """`use`, and how it was priced: in the answer, and where a model is unknown also in an alert, once."""
    ledger = turn.ledger
    is_new = event.unpriced and event.model not in ledger.unpriced and len(ledger.unpriced) < UNPRICED_MAX
    answer = use(turn, account, event, UNPRICED_MODEL if event.unpriced else cause, held, payer)
    answer.unpriced, answer.base_tier, answer.repaired = event.unpriced, event.base_tier, event.repaired
    if is_new:
        charged = "not charged: the price list is empty" if event.priced_as is None else f"charged as {event.priced_as}"
        alert(turn, "unpriced_model", f"no price is known for {event.model}; {charged}", event.agent)
    return answer


def use(
    turn: Turn,
    account: Account | None,
    event: e.UsageReported | e.HoldSettled,
    cause: str,
    held: Money = ZERO,
    payer: Account | None = None,
) -> Enforcement:
    """Cover, book, and let levels and the fleet's response follow; the answer is what holds after all of it.

    ``held`` is what a hold had set aside for this use. ``payer`` is the account that pays where the agent has none
    open, if it is known.
    """
    ledger = turn.ledger
    if event.history:
        return _use_of_the_past(turn, account, event, held)
    charged = under = account or payer or ledger.root
    if type(event) is e.UsageReported and account is None and charged is not ledger.root:
        event.charged = charged.id
    if account is not None and account.last_report_at is not None and account.last_report_at < ledger.opened_at:
        event.after_outage = True
    charged = _cover(turn, charged, event, held, cause)
    warnings = None
    if account is not None and (account.warning is not None or account.pool_notice < ledger.pool_exhausted_at):
        warnings = _warnings(ledger, account)
    ledger.limits.touched = []
    turn.record(event)
    limited, alerting = ledger.limits.touched, touched_by_use(ledger)
    if held is not ZERO:
        settle_cover(turn, account or charged)
    ratio = follow(turn, charged, account)
    last_call = account is not None and ledger.rules.last_call is not None and last_calls.give(turn, account)
    closed = None
    if account is None and type(event) is e.UsageReported:
        closed = ledger.released.get(event.agent) if event.life is None else ledger.lives.get(event.life)
    ratio = follow_limits(turn, account, under, limited, alerting, ratio)
    answer = enforcement(turn, event.agent, account, ratio, warnings, closed, limited)
    answer.overdrawn = event.overdrawn is not None
    answer.last_call = last_call
    if type(event) is e.UsageReported:
        answer.late, answer.unallocated = event.late, event.unallocated
    return answer


def follow_limits(
    turn: Turn,
    account: Account | None,
    under: Account,
    limited: Sequence[Match],
    alerting: Sequence[Match],
    ratio: float,
) -> float:
    """Record what follows from the limits that a use counts in: alerts, and levels of accounts without a carve-out; the
    ratio that the user's account has then. ``under``: the account that is charged.
    """
    record_lines(turn, alerting)
    if limited:
        relevel_under(turn, under)
        if account is not None:
            return ratio_of(turn.ledger, account)
    return ratio


def _use_of_the_past(
    turn: Turn, account: Account | None, event: e.UsageReported | e.HoldSettled, held: Money
) -> Enforcement:
    """Record what was used before the current period: nothing is charged, and what a hold had set aside comes back."""
    turn.record(event)
    ratio = 0.0
    if held is not ZERO and account is not None:
        settle_cover(turn, account)
        ratio = follow(turn, account, account)
    elif account is not None:
        ratio = account.ratio()
    answer = enforcement(turn, event.agent, account, ratio, None)
    answer.history = True
    if type(event) is e.UsageReported:
        answer.late, answer.unallocated = event.late, event.unallocated
    return answer


def _cover(turn: Turn, charged: Account, event: e.UsageReported | e.HoldSettled, held: Money, cause: str) -> Account:
    """Cover what is lacking, for the account that is charged; or for the root, in the place of one beyond its bound.

    Returns who is charged.
    """
    lacking = _lacking(charged, event, held)
    over = beyond(charged, event, lacking) if lacking or charged.overdrawn else None
    if over is not None:
        event.overdrawn, cause, charged = over.id, OVERDRAFT_MAX, turn.ledger.root
        lacking = _lacking(charged, event, ZERO)
        if type(event) is e.UsageReported:
            event.charged = None
    for d, needed in lacking:
        cover(turn, charged.payers[d], d, needed, cause)
    return charged


def _lacking(charged: Account, event: e.UsageReported | e.HoldSettled, held: Money) -> list[tuple[int, int]]:
    """The dimensions in which who pays has not enough free, each with what is needed beside what was held."""
    payers = charged.payers
    return [
        (d, used - held[d])
        for d, used in ((0, event.tokens), (1, event.time_ms), (2, event.cost_nanos))
        if used > payers[d].free[d] + held[d] and payers[d].allocated[d] is not None
    ]


def follow(turn: Turn, charged: Account, account: Account | None) -> float:
    """Record the levels, stops and the response that a use has led to; the ratio that the charged account has come to.

    ``account`` is the user's own, if one is open.
    """
    ledger = turn.ledger
    if len(turn.events) - turn.own > 1:
        note_overdrafts(turn)
    ratio = 0.0
    if charged is not ledger.root:
        # Use only raises a ratio: below the next line there is nothing to decide.
        ratio = charged.ratio()
        if ratio >= ledger.rules.level_near[charged.level]:
            relevel(turn, charged, account is not None)
        if charged.parent is not ledger.root:
            # They may have been charged, or have covered what was.
            relevel_above(turn, charged)
    elif account is not None:
        # The root is charged in its place: of what it had held, something may have come back.
        ratio = account.ratio()
        relevel_above(turn, account)
    respond(turn)
    if ledger.tasks.running:
        _mark_budget(turn, charged.payers[TOKENS])
    return ratio


def _mark_budget(turn: Turn, account: Account) -> None:
    """Record, once, that a run has used more than its soft mark."""
    task = turn.ledger.tasks.running.get(account.id)
    if task is None or task.budget_passed or task.token_budget is None:
        return
    if account.consumed(TOKENS) <= task.token_budget:
        return
    turn.record(
        e.TokenBudgetPassed(
            task=task.id,
            token_budget=task.token_budget,
            consumed=account.consumed(TOKENS),
            max_tokens=task.max_tokens,
        )
    )


def _warnings(ledger: Ledger, account: Account) -> list[str]:
    """What this reply has to say to the agent, once."""
    warnings = []
    if account.warning is not None:
        warnings.append(f"exhaustion_expected_in_{account.warning}_seconds")
    if account.pool_notice < ledger.pool_exhausted_at:
        warnings.append("pool_exhausted")
    return warnings
