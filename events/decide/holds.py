"""Holds: granted only where there is room, replaced by what was used, or given back unused."""

import datetime as dt
from decimal import Decimal
from typing import Any

from tallystick.config.amounts import (
    DIMENSIONS,
    EDGE_NAMES,
    NOTHING,
    Amounts,
    InvalidAmount,
    Triple,
    at_edge,
)
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide import pricing
from tallystick.events.decide.amounts import span_ms, wait_ms
from tallystick.events.decide.answers import held_reply, stamp
from tallystick.events.decide.auto_accounts import holder, open_by_itself
from tallystick.events.decide.cover import settle_covers
from tallystick.events.decide.first_estimate import first_estimate
from tallystick.events.decide.fleet_response import respond
from tallystick.events.decide.last_call import USED, kept_free
from tallystick.events.decide.levels import enforced, relevel_above_all, relevel_under
from tallystick.events.decide.limit_readings import has_limits, matches_held, near
from tallystick.events.decide.limits import over_limit, record_lines
from tallystick.events.decide.obstacles import refused_to_run
from tallystick.events.decide.occurred import misdated, of_time
from tallystick.events.decide.own_limits import remaining
from tallystick.events.decide.refusals import already_settled, hold_ended, unknown_hold
from tallystick.events.decide.spelling import is_renamed, legible, notes_misspelled
from tallystick.events.decide.spent_holds import replace_spent, spend_hold
from tallystick.events.decide.turn import Turn
from tallystick.events.decide.usage import (
    LATE_REPORT,
    UNDER_ESTIMATE,
    as_used,
    follow,
    label_late,
    noted,
    of_life,
    of_run,
    use_priced,
)
from tallystick.events.messages.replies import Enforcement, Held, HoldGone, Refusal, shown
from tallystick.events.state.accounts import Account, Hold
from tallystick.events.state.calendar import later
from tallystick.events.state.money import ZERO, Money, less, limited, minus, money


def reserve(turn: Turn, command: c.Reserve) -> Held | Refusal:
    """Set an estimate aside, if there is room in the account, or in the ancestor that limits the dimension.

    Raises:
        InvalidAmount: a malformed or empty estimate, or a time to live that is not positive.

    With ``dry_run`` the answer is the same, and nothing is set aside.
    """
    ledger = turn.ledger
    estimated = first_estimate(ledger, command)
    if isinstance(estimated, Refusal):
        return estimated
    command, estimated_by = estimated
    priced = pricing.price(ledger.rules, command)
    wanted = priced.triple
    if not any(wanted):
        found = "nothing" if wanted == NOTHING else "nothing but zeros"
        raise InvalidAmount("estimate", found, "one or more of tokens, time_seconds, cost_usd above zero")
    ttl_ms = _ttl_ms(command.ttl_seconds, ledger.rules.holds_ttl_ms)
    wait_ms(command.wait_seconds)
    malformed = notes_misspelled(ledger, command)
    if malformed is not None:
        return malformed
    account = holder(turn, command.agent)
    if isinstance(account, Refusal):
        return account
    # Ids are remembered for a time and in a number that are limited; a hold may outlive the memory of its id.
    if turn.id in ledger.holds or turn.id in ledger.ended_holds:
        return Refusal("idempotency_conflict", f"there is or was a hold with the id {turn.id}", {"hold": turn.id})
    last_call = command.last_call and ledger.rules.last_call is not None
    refusal = refused_hold(turn, account, wanted, last_call=last_call) or over_limit(turn, account, command, priced)
    if refusal is None and turn.waited is not None and turn.waited.behind is not None:
        refusal = _wait_over(turn.waited.behind)
    if refusal is not None:
        return refusal
    if command.dry_run:
        answer = _as_if_held(turn, account, wanted, ttl_ms)
        answer.unpriced, answer.base_tier, answer.dry_run = priced.unpriced, priced.base_tier, True
        answer.estimated_by = estimated_by
        return answer
    # Nothing can fail after this line.
    if account.id not in ledger.accounts:
        account = open_by_itself(turn, account)
    turn.record(
        e.HoldPlaced(
            hold=turn.id,
            agent=account.id,
            amount=Amounts(*(units or None for units in wanted)),
            ttl_ms=ttl_ms,
            expires_at=later(turn.now, dt.timedelta(milliseconds=ttl_ms)),
            model=command.model,
            priced_as=priced.priced_as,
            unpriced=priced.unpriced,
            base_tier=priced.base_tier,
            rejects_overage=command.overage == "reject",
            spends=command.on_expiry == "spend",
            last_call=last_call,
            estimated_by=estimated_by,
            waited_since=None if turn.waited is None else turn.waited.since,
            **noted(command),
            **(_counted(command, priced) if has_limits(ledger, account) else {}),
        )
    )
    hold = ledger.holds[turn.id]
    _follow(turn, hold)
    answer = held_reply(hold)
    answer.unpriced, answer.base_tier, answer.estimated_by = priced.unpriced, priced.base_tier, estimated_by
    answer.waited_since = None if turn.waited is None else stamp(turn.waited.since)
    return answer


def _follow(turn: Turn, hold: Hold) -> None:
    """What a hold that was placed brings with it: actions, alerts of limits and levels."""
    respond(turn)
    if has_limits(turn.ledger, hold.account):
        record_lines(turn, near(turn.ledger, matches_held(turn.ledger, hold)))
        relevel_under(turn, hold.account)


def _wait_over(behind: str) -> Refusal:
    """There is room, but it is for those who wait for it since before."""
    text = f"the wait is over: others that came before, or have a higher priority, wait for {behind}"
    return Refusal("wait_over", text, {"decided_by": "wait", "waits_for": behind, "retry_after_seconds": None})


def _as_if_held(turn: Turn, account: Account, wanted: Triple, ttl_ms: int) -> Held:
    """What a hold would be answered that is not set aside."""
    amount = money(wanted)
    asked = Hold(
        id=turn.id,
        agent=account.id,
        amount=amount,
        ttl_ms=ttl_ms,
        expires_at=later(turn.now, dt.timedelta(milliseconds=ttl_ms)),
        lease=None,
        placed=amount,
        booked=ZERO,
        placed_at=turn.now,
        rejects_overage=False,
        notes=None,
        spends=False,
        model=None,
        last_call=False,
        estimated=False,
        got=0,
        limited=None,
        account=account,
    )
    return held_reply(asked, to_come=True)


def _counted(command: c.Reserve, priced: pricing.Priced) -> dict[str, Any]:
    """The fields of a hold that only limits count."""
    sent, got = priced.counts.input_tokens, priced.counts.output_tokens
    return {"input_tokens": sent, "output_tokens": got, "requests": command.requests}


def refused_hold(
    turn: Turn, account: Account, wanted: Triple, *, last_call: bool, begun: bool = False
) -> Refusal | None:
    """Why ``wanted`` may not be set aside in an account now. ``begun``: it is more for a hold that stands."""
    ledger = turn.ledger
    if last_call and account.called == USED and not begun:
        refused = refused_to_run(turn, account, enforced(ledger, account), last_call=True)
        return refused or _last_call_used(account)
    return refused_to_run(turn, account, enforced(ledger, account), last_call=last_call) or _no_room(
        account, wanted, kept_free(ledger, account, last_call=last_call)
    )


def _last_call_used(account: Account) -> Refusal:
    """A last call is given once."""
    return Refusal(
        "budget_exhausted",
        f"{account.id} has used its last call",
        {"available": shown(limited(account.allocated, ZERO)), "decided_by": "last_call", "retry_after_seconds": None},
    )


def _no_room(account: Account, wanted: Triple, keeps: Money) -> Refusal | None:
    """Why ``wanted`` cannot be set aside, with what is available; when there will be room, see `retry`.

    ``keeps`` is what the balances of those that pay must still have then, for their last calls.
    """
    there = [payer.free[d] - keeps[d] for d, payer in enumerate(account.payers)]
    for d in DIMENSIONS:
        payer, units = account.payers[d], wanted[d]
        if not units or payer.allocated[d] is None or units <= there[d]:
            continue
        free: list[int | None] = [None, None, None]
        for i in DIMENSIONS:
            if wanted[i] is not None and account.payers[i].allocated[i] is not None:
                free[i] = max(0, there[i])
        available = shown((free[0], free[1], free[2]))
        asked = shown(wanted)
        field = EDGE_NAMES[d]
        detail = f"{field}: {getattr(asked, field)} was asked for, {getattr(available, field)} is free"
        numbers: dict[str, Any] = {"requested": asked, "available": available, "retry_after_seconds": None}
        if keeps[d] and payer.free[d] > 0:
            whose = "a last call" if payer is account else f"the last call of {payer.id}, which pays"
            detail += f" beside {at_edge(payer.free[d] - max(0, there[d]), d)} that is kept for {whose}"
            numbers |= {"decided_by": "last_call"}
            if payer is account and account.called != USED:
                numbers |= {"last_call": True, "left": shown(account.remaining_all())}
        return Refusal("budget_exhausted", detail, numbers)
    return None


def settle(turn: Turn, command: c.Settle) -> Enforcement | Refusal:
    """Replace a hold by what was used, or book a part; after its end the usage is still recorded, as late.

    Raises:
        InvalidAmount: a malformed amount; nothing was recorded.
    """
    ledger, asked = turn.ledger, command
    refusal = misdated(turn, asked)
    if refusal is not None:
        return refusal
    command = legible(ledger, asked)
    used = as_used(command, pricing.price(ledger.rules, command))
    used |= of_time(turn, command)
    used["repaired"] = command is not asked or is_renamed(turn.id, asked)
    hold = ledger.holds.get(command.hold)
    if hold is None:
        return _settle_late(turn, command, used)
    account = hold.account
    event = e.HoldSettled(hold=hold.id, agent=account.id, partial=not command.final, **used)
    refusal = overage(hold, (event.tokens, event.time_ms, event.cost_nanos)) if hold.rejects_overage else None
    if refusal is not None:
        return refusal
    back = hold.amount
    if event.partial:
        back = minus(back, less(back, (event.tokens, event.time_ms, event.cost_nanos)))
    # Nothing can fail after this line.
    return use_priced(turn, account, event, UNDER_ESTIMATE, back)


def overage(hold: Hold, units: Money) -> Refusal | None:
    """Why a use may not be booked on a hold that rejects more than it names: the hold stays."""
    for d, used in enumerate(units):
        if hold.placed[d] and hold.booked[d] + used > hold.placed[d]:
            field, left = EDGE_NAMES[d], max(0, hold.placed[d] - hold.booked[d])
            return Refusal(
                "overage_rejected",
                f"{field}: {at_edge(used, d)} was used, {at_edge(left, d)} of the hold is left, and it rejects overage",
                {"hold": hold.id, "dimension": field, "used": at_edge(used, d), "left": at_edge(left, d)},
            )
    return None


def _settle_late(turn: Turn, command: c.Settle, used: dict[str, Any]) -> Enforcement | Refusal:
    ledger, hold_id = turn.ledger, command.hold
    ended = ledger.ended_holds.get(hold_id)
    if ended is None:
        return unknown_hold(hold_id)
    if ended.how == "settled":
        return already_settled(hold_id, ended)
    if ended.spent is not None:
        replaced = replace_spent(turn, command, ended, used)
        if replaced is not None:
            return replaced
        # Whom the expiry charged is forgotten: what was used beyond what it booked is charged as any late usage.
        booked = ended.spent if ended.counted is None else ended.counted
        for name in ("tokens", "time_ms", "cost_nanos"):
            used[name] = max(0, used[name] - getattr(booked, name))
    # Another account, or run, may be open under the name by now: it does not pay.
    account, closed = ledger.same_account(ended.agent, ended.life), ledger.lives.get(ended.life)
    belongs: dict[str, Any] = {}
    if account is None:
        belongs = of_life(closed) if ended.lease is None else {"lease": ended.lease, **of_run(ledger, ended.agent)}
        belongs = belongs or {"life": ended.life}
    payer = None if account is not None else ledger.payer_of(closed)
    event = e.UsageReported(agent=ended.agent, hold=hold_id, late=True, partial=not command.final, **belongs, **used)
    label_late(ledger, event, None if account is not None else closed)
    # Nothing can fail after this line.
    return use_priced(turn, account, event, LATE_REPORT, payer=payer)


def cancel_hold(turn: Turn, command: c.CancelHold) -> HoldGone | Refusal:
    """Give a hold back unused."""
    malformed = notes_misspelled(turn.ledger, command)
    if malformed is not None:
        return malformed
    hold = turn.ledger.holds.get(command.hold)
    if hold is None:
        ended = turn.ledger.ended_holds.get(command.hold)
        if ended is None:
            return unknown_hold(command.hold)
        return hold_ended(command.hold, ended)
    # Nothing can fail after this line.
    account = hold.account
    end_hold(turn, hold, "cancelled", **noted(command))
    return HoldGone(hold.id, account.id, shown(remaining(turn.ledger, account)))


def end_hold(turn: Turn, hold: Hold, how: "e.EndOfHold", **notes: Any) -> None:
    """Give what a hold still has back to where it came from, and let cover, levels and response follow."""
    turn.record(e.HoldEnded(hold=hold.id, agent=hold.account.id, how=how, **notes))
    _given_back(turn, [hold.account])


def expire_holds(turn: Turn, until: dt.datetime) -> None:
    """End all holds that expire by ``until``, in their order; then cover, levels and response follow, once for all."""
    ledger = turn.ledger
    accounts: list[Account] = []
    users: dict[Account, None] = {}
    while ledger.expiries and ledger.expiries[0][0] <= until:
        hold = ledger.holds[ledger.expiries[0][1]]
        if hold.spends and any(hold.amount):
            # The provider may have billed it: what it still has counts as used.
            users[hold.account] = None
            spend_hold(turn, hold)
            continue
        accounts.append(hold.account)
        turn.record(e.HoldEnded(hold=hold.id, agent=hold.account.id, how="expired"))
    if accounts:
        _given_back(turn, accounts)
    for account in users:
        follow(turn, account, account)


def _given_back(turn: Turn, accounts: list[Account]) -> None:
    settle_covers(turn, accounts)
    relevel_above_all(turn, accounts)
    for account in dict.fromkeys(accounts):
        relevel_under(turn, account)
    respond(turn)


def _ttl_ms(given: Decimal | None, otherwise: int) -> int:
    """A time to live that a message names, in milliseconds, or the one that holds otherwise."""
    if given is None:
        return otherwise
    return span_ms(given, "ttl_seconds")
