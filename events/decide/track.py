"""Track: usage is recorded whatever it is; holds are granted only where there is room; both in one transaction with
all that follows from them (cover, level, fleet response).
"""

import datetime as dt

from tallystick.config.amounts import (
    DIMENSIONS,
    EDGE_NAMES,
    NOTHING,
    TOKENS,
    Amounts,
    InvalidAmount,
    Triple,
    exact_units,
)
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide import pricing
from tallystick.events.decide.answers import enforcement, held_reply
from tallystick.events.decide.days import over_daily_limit
from tallystick.events.decide.levels import (
    BLACK,
    STOP,
    alert,
    enforced,
    relevel,
    relevel_above,
    respond,
    stopped_by,
    wait_left_ms,
)
from tallystick.events.decide.money import cover, settle_cover
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.replies import Enforcement, Held, HoldGone, Refusal, shown
from tallystick.events.state.accounts import ZERO, Account, Hold, Money, money
from tallystick.events.state.ledger import UNPRICED_MAX, Ledger

UNDER_ESTIMATE, LATE_REPORT, UNPRICED_MODEL = "under_estimate", "late_report", "unpriced_model"


def report_usage(
    turn: Turn, command: c.ReportUsage, agent: str, over: str | None = None, payer: Account | None = None
) -> Enforcement:
    """Record what ``agent`` says it spent, and answer all that it must know to go on.

    ``over`` is the lease of a run that had ended: then ``payer`` is charged, and no account of the same name.

    Raises:
        InvalidAmount: a malformed amount; nothing was recorded.
    """
    ledger = turn.ledger
    priced = pricing.price(ledger.rules, command)
    account = ledger.accounts.get(agent) if over is None else None
    late = over is not None or (account is None and agent in ledger.released)
    unallocated = account is None and not late
    event = e.UsageReported(
        agent=agent,
        tokens=priced.tokens,
        time_ms=priced.time_ms,
        cost_nanos=priced.cost_nanos,
        model=command.model,
        input_tokens=command.input_tokens,
        output_tokens=command.output_tokens,
        cached_tokens=command.cached_tokens,
        operation=command.operation,
        lease=over,
        priced_as=priced.priced_as,
        unpriced=priced.unpriced,
        late=late,
        unallocated=unallocated,
    )
    is_new = command.model not in ledger.unpriced and len(ledger.unpriced) < UNPRICED_MAX
    # Nothing can fail after this line.
    cause = UNPRICED_MODEL if priced.unpriced else LATE_REPORT if late else UNDER_ESTIMATE
    answer = _use(turn, account, event, cause, payer=payer)
    if priced.unpriced:
        answer.unpriced = True
    if event.unpriced and is_new:
        charged = (
            "not charged: the price list is empty" if priced.priced_as is None else f"charged as {priced.priced_as}"
        )
        alert(turn, "unpriced_model", f"no price is known for {command.model}; {charged}", agent)
    return answer


def _use(
    turn: Turn,
    account: Account | None,
    event: e.UsageReported | e.HoldSettled,
    cause: str,
    held: Money = ZERO,
    payer: Account | None = None,
) -> Enforcement:
    """Cover, book, and let levels and the fleet's response follow; the answer is what holds after all of it.

    ``held`` is what a hold had set aside for this use. ``payer`` is who pays where no account is open, if that is known.
    """
    ledger = turn.ledger
    charged = account or payer or ledger.payer_of(event.agent)
    if type(event) is e.UsageReported and account is None and charged is not ledger.root:
        event.charged = charged.id
    payers = charged.payers
    for d, used in ((0, event.tokens), (1, event.time_ms), (2, event.cost_nanos)):
        source = payers[d]
        if used > source.free[d] + held[d] and source.allocated[d] is not None:
            cover(turn, source, d, used - held[d], cause)
    warnings = None
    if account is not None and (account.warning is not None or account.pool_notice < ledger.pool_exhausted_at):
        warnings = _warnings(ledger, account)
    turn.record(event)
    if held is not ZERO:
        settle_cover(turn, charged)
    ratio = _follow(turn, charged, account is not None)
    if ledger.tasks.running:
        _mark_budget(turn, payers[TOKENS])
    answer = enforcement(turn, event.agent, account, ratio, warnings)
    if type(event) is e.UsageReported:
        answer.late, answer.unallocated = event.late, event.unallocated
    return answer


def _follow(turn: Turn, charged: Account, own_usage: bool) -> float:
    """Record the levels and the response that a use has led to; the ratio that the charged account has come to."""
    ledger = turn.ledger
    ratio = 0.0
    if charged is not ledger.root:
        # Use only raises a ratio: below the next line there is nothing to decide.
        ratio = charged.ratio()
        if ratio >= ledger.rules.level_near[charged.level]:
            relevel(turn, charged, own_usage)
        if charged.parent is not ledger.root:
            # They may have been charged, or have covered what was.
            relevel_above(turn, charged)
    respond(turn)
    return ratio


def _mark_budget(turn: Turn, account: Account) -> None:
    """Record, once, that a run has used more than its soft mark."""
    task = turn.ledger.tasks.running.get(account.id)
    if task is None or task.budget_passed or account.consumed(TOKENS) <= task.token_budget:
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
    """What the agent has to be told with this reply, once."""
    warnings = []
    if account.warning is not None:
        warnings.append(f"exhaustion_expected_in_{account.warning}_seconds")
    if account.pool_notice < ledger.pool_exhausted_at:
        warnings.append("pool_exhausted")
    return warnings


# --- holds -----------------------------------------------------------------------------------------------------------


def reserve(turn: Turn, command: c.Reserve) -> Held | Refusal:
    """Set an estimate aside, if there is room in the account, or in the ancestor that limits the dimension.

    Raises:
        InvalidAmount: a malformed or empty estimate, or a time to live that is not positive.
    """
    ledger = turn.ledger
    wanted = command.estimate.exact("estimate")
    if wanted == NOTHING:
        raise InvalidAmount("estimate", "nothing", "one or more of tokens, time_seconds, cost_usd")
    ttl_ms = ledger.rules.holds_ttl_ms
    if command.ttl_seconds is not None:
        ttl_ms = exact_units(command.ttl_seconds, 1, "ttl_seconds")
        if not 0 < ttl_ms <= _TTL_MAX_MS:
            raise InvalidAmount("ttl_seconds", command.ttl_seconds, "above 0 and at most 604800 seconds (a week)")
    account = ledger.accounts.get(command.agent)
    if account is None:
        return unknown_agent(ledger, command.agent)
    # Ids are remembered for a time and in a number that are limited; a hold may outlive the memory of its id.
    if turn.id in ledger.holds or turn.id in ledger.ended_holds:
        return Refusal("idempotency_conflict", f"a hold {turn.id} is known already", {"hold": turn.id})
    refusal = (
        _may_not_run(turn, account)
        or _no_room(turn, account, wanted)
        or over_daily_limit(ledger, account, wanted, turn.now)
    )
    if refusal is not None:
        return refusal
    # Nothing can fail after this line.
    expires_at = turn.now + dt.timedelta(milliseconds=ttl_ms)
    amount = Amounts(*(units or None for units in wanted))
    turn.record(e.HoldPlaced(hold=turn.id, agent=account.id, amount=amount, ttl_ms=ttl_ms, expires_at=expires_at))
    respond(turn)
    return held_reply(ledger.holds[turn.id])


_TTL_MAX_MS = 604_800_000


def _may_not_run(turn: Turn, account: Account) -> Refusal | None:
    """Why an agent may not start anything now: stopped before any question of money, then black, then slowed."""
    ledger = turn.ledger
    told = enforced(ledger, account)
    if told.action == STOP:
        stopped = stopped_by(ledger, account)
        if stopped is not None:
            decided_by = "stop" if stopped is account else "ancestor_stop"
            who = f"{stopped.id} was stopped: {stopped.stopped}"
            return Refusal("agent_stopped", who, {"decided_by": decided_by, "retry_after_seconds": None})
        if told.decided_by in ("pause_all", "product_pause"):
            why = ledger.paused or "paused by configuration"
            return Refusal("paused", why, {"decided_by": told.decided_by, "retry_after_seconds": None})
        available = shown(account.remaining_all()) if account.level == BLACK else shown(ledger.pool)
        detail = "the budget is used up" if account.level == BLACK else "the fleet's budget is used up"
        numbers = {"available": available, "decided_by": told.decided_by, "retry_after_seconds": None}
        return Refusal("budget_exhausted", detail, numbers)
    wait_ms = wait_left_ms(turn, account, told)
    if wait_ms:
        seconds = wait_ms / 1000
        detail = f"throttled to {told.rate} of normal speed by {told.decided_by}"
        return Refusal("throttled", detail, {"retry_after_seconds": seconds, "decided_by": told.decided_by})
    return None


def _no_room(turn: Turn, account: Account, wanted: Triple) -> Refusal | None:
    """Why ``wanted`` cannot be set aside, with what is available and when it is worth asking again."""
    for d in DIMENSIONS:
        payer, units = account.payers[d], wanted[d]
        if not units or payer.allocated[d] is None or units <= payer.free[d]:
            continue
        free: list[int | None] = [None, None, None]
        for i in DIMENSIONS:
            if wanted[i] is not None and account.payers[i].allocated[i] is not None:
                free[i] = account.payers[i].free[i]
        there = shown((free[0], free[1], free[2]))
        asked = shown(wanted)
        field = EDGE_NAMES[d]
        return Refusal(
            "budget_exhausted",
            f"{field}: {getattr(asked, field)} was asked for, {getattr(there, field)} is free",
            {
                "requested": asked,
                "available": there,
                "retry_after_seconds": _room_in_seconds(turn, account, d, units - payer.free[d]),
            },
        )
    return None


def _room_in_seconds(turn: Turn, account: Account, d: int, lack: int) -> float | None:
    """When the account's own holds will have given back what is lacking, at the latest; None where they cannot."""
    if account.payers[d] is not account or account.holds is None:
        return None
    for hold in sorted(account.holds.values(), key=lambda hold: hold.expires_at):
        lack -= hold.amount[d]
        if lack <= 0:
            return (hold.expires_at - turn.now).total_seconds()
    return None


def settle(turn: Turn, command: c.Settle) -> Enforcement | Refusal:
    """Replace a hold by what was used; after its end the usage is still recorded, as late.

    Raises:
        InvalidAmount: a malformed amount; nothing was recorded.
    """
    ledger = turn.ledger
    used = money(command.usage.exact("usage"))
    hold = ledger.holds.get(command.hold)
    if hold is None:
        return _settle_late(turn, command.hold, used)
    account = hold.account
    event = e.HoldSettled(hold=hold.id, agent=account.id, tokens=used[0], time_ms=used[1], cost_nanos=used[2])
    # Nothing can fail after this line.
    return _use(turn, account, event, UNDER_ESTIMATE, hold.amount)


def _settle_late(turn: Turn, hold_id: str, used: Money) -> Enforcement | Refusal:
    ledger = turn.ledger
    ended = ledger.ended_holds.get(hold_id)
    if ended is None:
        return unknown_hold(hold_id)
    agent, how, lease = ended
    if how == "settled":
        return Refusal("already_settled", f"hold {hold_id} was settled before", {"hold": hold_id})
    account, payer, task = ledger.accounts.get(agent), None, ledger.tasks.get(agent)
    if task is not None and task.lease != lease:
        # The run that had placed it is over: the account of a later one does not pay for it.
        account, payer = None, ledger.payer_of_run(task)
    event = e.UsageReported(
        agent=agent,
        tokens=used[0],
        time_ms=used[1],
        cost_nanos=used[2],
        hold=hold_id,
        lease=lease if account is None else None,
        late=True,
    )
    # Nothing can fail after this line.
    return _use(turn, account, event, LATE_REPORT, payer=payer)


def cancel_hold(turn: Turn, command: c.CancelHold) -> HoldGone | Refusal:
    """Give a hold back unused."""
    hold = turn.ledger.holds.get(command.hold)
    if hold is None:
        ended = turn.ledger.ended_holds.get(command.hold)
        if ended is None:
            return unknown_hold(command.hold)
        return Refusal("already_settled", f"hold {command.hold} has {ended[1]} before", {"hold": command.hold})
    # Nothing can fail after this line.
    account = hold.account
    end_hold(turn, hold, "cancelled")
    return HoldGone(hold.id, account.id, shown(account.remaining_all()))


def end_hold(turn: Turn, hold: Hold, how: "e.EndOfHold") -> None:
    """Give a hold's amount back to where it came from, and let cover and response follow."""
    turn.record(e.HoldEnded(hold=hold.id, agent=hold.account.id, how=how))
    settle_cover(turn, hold.account)
    relevel_above(turn, hold.account)
    respond(turn)


def heartbeat(turn: Turn, command: c.Heartbeat) -> Held | Enforcement | Refusal:
    """A sign of life: of a hold, whose expiry moves on by its time to live, or of an agent."""
    ledger = turn.ledger
    if command.hold is not None:
        hold = ledger.holds.get(command.hold)
        if hold is None:
            return unknown_hold(command.hold)
        # Nothing can fail after this line.
        expires_at = turn.now + dt.timedelta(milliseconds=hold.ttl_ms)
        turn.record(e.HoldExtended(hold=hold.id, agent=hold.account.id, expires_at=max(expires_at, hold.expires_at)))
        return held_reply(hold)
    assert command.agent is not None
    account = ledger.accounts.get(command.agent)
    if account is None:
        return unknown_agent(ledger, command.agent)
    # Nothing can fail after this line.
    turn.record(e.AgentHeard(agent=account.id))
    return enforcement(turn, account.id, account, account.ratio(), None)


def unknown_agent(ledger: Ledger, agent: str) -> Refusal:
    """An id without an open account: released before, or never seen."""
    if agent in ledger.released:
        return Refusal("already_released", f"{agent} was released", {"agent": agent})
    return Refusal("unknown_agent", f"no account is open for {agent}: allocate a budget first", {"agent": agent})


def unknown_hold(hold_id: str) -> Refusal:
    """A hold that never was, or that the memory of ids has forgotten."""
    return Refusal("unknown_hold", f"no hold {hold_id} is known: holds are named by the id of their Reserve", {})
