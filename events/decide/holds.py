"""Holds: granted only where there is room, replaced by what was used, or given back unused."""

import datetime as dt
from decimal import Decimal
from typing import Any, NamedTuple

from tallystick.config.amounts import (
    DIMENSIONS,
    EDGE_NAMES,
    NOTHING,
    Amounts,
    InvalidAmount,
    Triple,
    at_edge,
    exact_units,
)
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide import pricing
from tallystick.events.decide.amounts import not_empty
from tallystick.events.decide.answers import held_reply
from tallystick.events.decide.cover import settle_covers
from tallystick.events.decide.daily_limits import over_daily_limit
from tallystick.events.decide.fleet_response import respond
from tallystick.events.decide.levels import enforced, relevel_above_all
from tallystick.events.decide.limits import near, over_limit, over_limit_more, record_lines
from tallystick.events.decide.obstacles import refused_to_run
from tallystick.events.decide.refusals import already_settled, hold_ended, unknown_agent, unknown_hold
from tallystick.events.decide.spelling import is_renamed, legible, notes_misspelled
from tallystick.events.decide.turn import Turn
from tallystick.events.decide.usage import (
    LATE_REPORT,
    UNDER_ESTIMATE,
    as_used,
    label_late,
    noted,
    of_life,
    of_run,
    use_priced,
)
from tallystick.events.messages.replies import Enforcement, Held, HoldGone, Refusal, shown
from tallystick.events.state.accounts import ZERO, Account, Hold, less, minus, money
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
    ttl_ms = _ttl_ms(command.ttl_seconds, ledger.rules.holds_ttl_ms)
    malformed = notes_misspelled(ledger, command)
    if malformed is not None:
        return malformed
    account = ledger.accounts.get(command.agent)
    if account is None:
        return unknown_agent(ledger, command.agent)
    # Ids are remembered for a time and in a number that are limited; a hold may outlive the memory of its id.
    if turn.id in ledger.holds or turn.id in ledger.ended_holds:
        return Refusal("idempotency_conflict", f"there is or was a hold with the id {turn.id}", {"hold": turn.id})
    refusal = _refused(turn, account, wanted) or over_limit(turn, account, command, priced)
    if refusal is not None:
        return refusal
    expires_at = later(turn.now, dt.timedelta(milliseconds=ttl_ms))
    if command.dry_run:
        return _as_if_held(turn, account, priced, ttl_ms, expires_at)
    # Nothing can fail after this line.
    turn.record(
        e.HoldPlaced(
            hold=turn.id,
            agent=account.id,
            amount=Amounts(*(units or None for units in wanted)),
            ttl_ms=ttl_ms,
            expires_at=expires_at,
            model=command.model,
            priced_as=priced.priced_as,
            unpriced=priced.unpriced,
            base_tier=priced.base_tier,
            rejects_overage=command.overage == "reject",
            **noted(command),
            **(_counted(command, priced) if ledger.rules.limits else {}),
        )
    )
    touched = ledger.limits.touched
    respond(turn)
    if ledger.rules.limits:
        record_lines(turn, near(ledger, touched))
    answer = held_reply(ledger.holds[turn.id])
    answer.unpriced, answer.base_tier = priced.unpriced, priced.base_tier
    return answer


def _as_if_held(turn: Turn, account: Account, priced: pricing.Priced, ttl_ms: int, expires_at: dt.datetime) -> Held:
    """What the reply would be, of a hold that is not made."""
    amount = money(priced.triple)
    asked = Hold(
        id=turn.id,
        agent=account.id,
        amount=amount,
        ttl_ms=ttl_ms,
        expires_at=expires_at,
        lease=None,
        placed=amount,
        booked=ZERO,
        placed_at=turn.now,
        rejects_overage=False,
        notes=None,
        limited=None,
        account=account,
    )
    answer = held_reply(asked, to_come=True)
    answer.unpriced, answer.base_tier, answer.dry_run = priced.unpriced, priced.base_tier, True
    return answer


def _counted(command: c.Reserve, priced: pricing.Priced) -> dict[str, Any]:
    """The fields of a hold that only limits count."""
    sent, got = priced.counts.input_tokens, priced.counts.output_tokens
    return {"input_tokens": sent, "output_tokens": got, "requests": command.requests}


def _refused(turn: Turn, account: Account, wanted: Triple) -> Refusal | None:
    """Why ``wanted`` may not be set aside in an account now."""
    ledger = turn.ledger
    return (
        refused_to_run(turn, account, enforced(ledger, account))
        or _no_room(account, wanted)
        or over_daily_limit(ledger, account, wanted, turn.now)
    )


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
    """Replace a hold by what was used, or book a part; after its end the usage is still recorded, as late.

    Raises:
        InvalidAmount: a malformed amount; nothing was recorded.
    """
    ledger, asked = turn.ledger, command
    command = legible(ledger, asked)
    used = as_used(command, pricing.price(ledger.rules, command))
    used["repaired"] = command is not asked or is_renamed(turn.id, asked)
    hold = ledger.holds.get(command.hold)
    if hold is None:
        return _settle_late(turn, command, used)
    account = hold.account
    event = e.HoldSettled(hold=hold.id, agent=account.id, partial=not command.final, **used)
    refusal = _overage(hold, event) if hold.rejects_overage else None
    if refusal is not None:
        return refusal
    back = hold.amount
    if event.partial:
        back = minus(back, less(back, (event.tokens, event.time_ms, event.cost_nanos)))
    # Nothing can fail after this line.
    return use_priced(turn, account, event, UNDER_ESTIMATE, back)


def _overage(hold: Hold, event: e.HoldSettled) -> Refusal | None:
    """Why a use may not be booked on a hold that rejects more than it names: the hold stays."""
    for d, used in ((0, event.tokens), (1, event.time_ms), (2, event.cost_nanos)):
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
    return HoldGone(hold.id, account.id, shown(account.remaining_all()))


def end_hold(turn: Turn, hold: Hold, how: "e.EndOfHold", **notes: Any) -> None:
    """Give what a hold still has back to where it came from, and let cover, levels and response follow."""
    turn.record(e.HoldEnded(hold=hold.id, agent=hold.account.id, how=how, **notes))
    _given_back(turn, [hold.account])


def expire_holds(turn: Turn, until: dt.datetime) -> None:
    """End all holds that expire by ``until``, in their order; then cover, levels and response follow, once for all."""
    ledger = turn.ledger
    accounts: list[Account] = []
    while ledger.expiries and ledger.expiries[0][0] <= until:
        hold = ledger.holds[ledger.expiries[0][1]]
        accounts.append(hold.account)
        turn.record(e.HoldEnded(hold=hold.id, agent=hold.account.id, how="expired"))
    _given_back(turn, accounts)


def _given_back(turn: Turn, accounts: list[Account]) -> None:
    settle_covers(turn, accounts)
    relevel_above_all(turn, accounts)
    respond(turn)


class Extension(NamedTuple):
    """What a sign of life asks for a hold: a time to live in milliseconds, and an amount; None where not named."""

    ttl_ms: int | None
    more: Triple | None


def extension(command: c.Heartbeat) -> Extension:
    """What a message asks for a hold, whether there is one or not.

    Raises:
        InvalidAmount: a malformed, empty or zero amount, or a time to live that is not positive.
    """
    more = None if command.amount is None else not_empty(command.amount, "amount")
    return Extension(None if command.ttl_seconds is None else _ttl_ms(command.ttl_seconds, 0), more)


def extend_hold(turn: Turn, hold_id: str, asked: Extension) -> Held | Refusal:
    """Move a hold's expiry on by its time to live, or the one that is named, and hold more if there is room.

    Where there is no room it is refused as a `Reserve` would be, and the hold stays as it is.
    """
    ledger, more = turn.ledger, asked.more
    hold = ledger.holds.get(hold_id)
    if hold is None:
        ended = ledger.ended_holds.get(hold_id)
        return unknown_hold(hold_id) if ended is None else hold_ended(hold_id, ended)
    ttl_ms = hold.ttl_ms if asked.ttl_ms is None else asked.ttl_ms
    refusal = None if more is None else _refused(turn, hold.account, more) or over_limit_more(turn, hold, more)
    if refusal is not None:
        return refusal
    # Nothing can fail after this line.
    turn.record(
        e.HoldExtended(
            hold=hold.id,
            agent=hold.account.id,
            expires_at=max(later(turn.now, dt.timedelta(milliseconds=ttl_ms)), hold.expires_at),
            amount=None if more is None else Amounts(*(units or None for units in more)),
        )
    )
    if more is not None:
        respond(turn)
    return held_reply(hold)


def _ttl_ms(given: Decimal | None, otherwise: int) -> int:
    """A time to live that a message names, in milliseconds, or the one that holds otherwise."""
    if given is None:
        return otherwise
    ttl_ms = exact_units(given, 1, "ttl_seconds")
    if not 0 < ttl_ms <= _TTL_MAX_MS:
        raise InvalidAmount("ttl_seconds", given, "above 0 (at least 0.001) and at most 604800 seconds (a week)")
    return ttl_ms
