"""Holds: granted only where there is room, replaced by what was used, or given back unused."""

import datetime as dt
from typing import Any

from tallystick.config.amounts import (
    DIMENSIONS,
    EDGE_NAMES,
    NOTHING,
    Amounts,
    InvalidAmount,
    Triple,
    exact_units,
)
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide import pricing
from tallystick.events.decide.answers import held_reply
from tallystick.events.decide.cover import settle_cover
from tallystick.events.decide.daily_limits import over_daily_limit
from tallystick.events.decide.fleet_response import respond
from tallystick.events.decide.levels import enforced, relevel_above
from tallystick.events.decide.obstacles import refused_to_run
from tallystick.events.decide.refusals import unknown_agent, unknown_hold
from tallystick.events.decide.turn import Turn
from tallystick.events.decide.usage import LATE_REPORT, UNDER_ESTIMATE, as_used, of_life, of_run, use_priced
from tallystick.events.messages.replies import Enforcement, Held, HoldGone, Refusal, shown
from tallystick.events.state.accounts import Account, Hold, money
from tallystick.events.state.calendar import later

_TTL_MAX_MS = 604_800_000


def reserve(turn: Turn, command: c.Reserve) -> Held | Refusal:
    """Set an estimate aside, if there is room in the account, or in the ancestor that limits the dimension.

    Raises:
        InvalidAmount: a malformed or empty estimate, or a time to live that is not positive.

    With ``dry_run`` the answer is the same, and nothing is set aside.
    """
    ledger = turn.ledger
    priced = pricing.price(ledger.rules, command)
    wanted = priced.triple
    if not any(wanted):
        found = "nothing" if wanted == NOTHING else "nothing but zeros"
        raise InvalidAmount("estimate", found, "one or more of tokens, time_seconds, cost_usd above zero")
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
        return Refusal("idempotency_conflict", f"there is or was a hold with the id {turn.id}", {"hold": turn.id})
    refusal = (
        refused_to_run(turn, account, enforced(ledger, account))
        or _no_room(account, wanted)
        or over_daily_limit(ledger, account, wanted, turn.now)
    )
    if refusal is not None:
        return refusal
    expires_at = later(turn.now, dt.timedelta(milliseconds=ttl_ms))
    if command.dry_run:
        asked = Hold(turn.id, account.id, money(wanted), ttl_ms, expires_at, None, account)
        answer = held_reply(asked, to_come=True)
        answer.unpriced, answer.base_tier, answer.dry_run = priced.unpriced, priced.base_tier, True
        return answer
    # Nothing can fail after this line.
    amount = Amounts(*(units or None for units in wanted))
    turn.record(
        e.HoldPlaced(
            hold=turn.id,
            agent=account.id,
            amount=amount,
            ttl_ms=ttl_ms,
            expires_at=expires_at,
            model=command.model,
            priced_as=priced.priced_as,
            unpriced=priced.unpriced,
            base_tier=priced.base_tier,
        )
    )
    respond(turn)
    answer = held_reply(ledger.holds[turn.id])
    answer.unpriced, answer.base_tier = priced.unpriced, priced.base_tier
    return answer


def _no_room(account: Account, wanted: Triple) -> Refusal | None:
    """Why ``wanted`` cannot be set aside, with what is available; when there will be room, see `retry`."""
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
                "retry_after_seconds": None,
            },
        )
    return None


def settle(turn: Turn, command: c.Settle) -> Enforcement | Refusal:
    """Replace a hold by what was used; after its end the usage is still recorded, as late.

    Raises:
        InvalidAmount: a malformed amount; nothing was recorded.
    """
    ledger = turn.ledger
    used = as_used(command, pricing.price(ledger.rules, command))
    hold = ledger.holds.get(command.hold)
    if hold is None:
        return _settle_late(turn, command.hold, used)
    account = hold.account
    event = e.HoldSettled(hold=hold.id, agent=account.id, **used)
    # Nothing can fail after this line.
    return use_priced(turn, account, event, UNDER_ESTIMATE, hold.amount)


def _settle_late(turn: Turn, hold_id: str, used: dict[str, Any]) -> Enforcement | Refusal:
    ledger = turn.ledger
    ended = ledger.ended_holds.get(hold_id)
    if ended is None:
        return unknown_hold(hold_id)
    if ended.how == "settled":
        return Refusal("already_settled", f"hold {hold_id} was settled before", {"hold": hold_id})
    # Another account, or run, may be open under the name by now: it does not pay.
    account, closed = ledger.same_account(ended.agent, ended.life), ledger.lives.get(ended.life)
    belongs: dict[str, Any] = {}
    if account is None:
        belongs = of_life(closed) if ended.lease is None else {"lease": ended.lease, **of_run(ledger, ended.agent)}
        belongs = belongs or {"life": ended.life}
    payer = None if account is not None else ledger.payer_of(closed)
    event = e.UsageReported(agent=ended.agent, hold=hold_id, late=True, **belongs, **used)
    # Nothing can fail after this line.
    return use_priced(turn, account, event, LATE_REPORT, payer=payer)


def cancel_hold(turn: Turn, command: c.CancelHold) -> HoldGone | Refusal:
    """Give a hold back unused."""
    hold = turn.ledger.holds.get(command.hold)
    if hold is None:
        ended = turn.ledger.ended_holds.get(command.hold)
        if ended is None:
            return unknown_hold(command.hold)
        return Refusal("already_settled", f"hold {command.hold} has ended already: {ended.how}", {"hold": command.hold})
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


def extend_hold(turn: Turn, hold_id: str) -> Held | Refusal:
    """Move a hold's expiry on by its time to live."""
    hold = turn.ledger.holds.get(hold_id)
    if hold is None:
        return unknown_hold(hold_id)
    # Nothing can fail after this line.
    expires_at = later(turn.now, dt.timedelta(milliseconds=hold.ttl_ms))
    turn.record(e.HoldExtended(hold=hold.id, agent=hold.account.id, expires_at=max(expires_at, hold.expires_at)))
    return held_reply(hold)
