"""The plain case of what comes most often, decided in one go: a report, a hold, a settlement of an account to which
nothing but its level speaks.

Each function here answers as the general one of its message does (`decide.track`, `decide.holds`), and records the same
event; or it says None, with nothing recorded, and the general one decides. So each may give up wherever a case is not
plain: limits, labels, sources, times of their own, names to be repaired, covers, last calls, warnings, delegation,
unknown prices. The general path is its oracle in `tests/events/test_plain.py`. What changes the state, what follows
from a use, and what is answered of it are the general functions.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from tallystick.config.amounts import Amounts
from tallystick.config.spelling import misspelled
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide import pricing
from tallystick.events.decide.answers import enforcement, held_reply
from tallystick.events.decide.cover import settle_cover
from tallystick.events.decide.fleet_response import respond
from tallystick.events.decide.levels import THROTTLE, enforced
from tallystick.events.decide.limits import record_lines
from tallystick.events.decide.turn import Turn
from tallystick.events.decide.usage import follow
from tallystick.events.messages.provider_usage import Counts
from tallystick.events.messages.replies import Enforcement, Held
from tallystick.events.state.accounts import Account
from tallystick.events.state.calendar import later
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import ZERO, Money

_MILLISECOND = dt.timedelta(milliseconds=1)


def report(turn: Turn, command: c.ReportUsage) -> Enforcement | None:
    """`ReportUsage` of an open account.

    Raises:
        InvalidAmount: a malformed amount; nothing was recorded.
    """
    ledger, agent = turn.ledger, command.agent
    account = None if agent is None else ledger.accounts.get(agent)
    if (
        account is None
        or agent is None
        or command.task is not None
        or command.lease is not None
        or command.rate_limited
        or command.retry_after_seconds is not None
        or command.child is not None
        or not _is_plain(ledger, account)
        or not _says_no_more(turn, command)
    ):
        return None
    priced = pricing.price(ledger.rules, command)
    if priced.unpriced or priced.base_tier:
        return None
    event = e.UsageReported(
        agent=agent,
        tokens=priced.tokens or 0,
        time_ms=priced.time_ms or 0,
        cost_nanos=priced.cost_nanos or 0,
        model=command.model,
        operation=command.operation,
        priced_as=priced.priced_as,
        requests=command.requests,
    )
    return _use(turn, account, event, priced.counts, ZERO)


def settle(turn: Turn, command: c.Settle) -> Enforcement | None:
    """`Settle` of a hold that stands, by all that was used of it.

    Raises:
        InvalidAmount: a malformed amount; nothing was recorded.
    """
    ledger = turn.ledger
    hold = ledger.holds.get(command.hold)
    if (
        hold is None
        or not command.final
        or hold.rejects_overage
        or not _is_plain(ledger, hold.account)
        or not _says_no_more(turn, command)
    ):
        return None
    priced = pricing.price(ledger.rules, command)
    if priced.unpriced or priced.base_tier:
        return None
    event = e.HoldSettled(
        hold=hold.id,
        agent=hold.account.id,
        tokens=priced.tokens or 0,
        time_ms=priced.time_ms or 0,
        cost_nanos=priced.cost_nanos or 0,
        model=command.model,
        operation=command.operation,
        reason=command.reason,
        priced_as=priced.priced_as,
        requests=command.requests,
    )
    return _use(turn, hold.account, event, priced.counts, hold.amount)


def reserve(turn: Turn, command: c.Reserve) -> Held | None:
    """`Reserve` of an estimate for which there is room.

    Raises:
        InvalidAmount: a malformed estimate, or a time to live that no hold may have.
    """
    ledger, account = turn.ledger, turn.ledger.accounts.get(command.agent)
    if (
        account is None
        or command.estimate is None
        or command.ttl_seconds is not None
        or command.max_output_tokens is not None
        or command.wait_seconds is not None
        or turn.waited is not None
        or command.dry_run
        or command.last_call
        or command.labels
        or (command.operation is not None and misspelled(command.operation) is not None)
        or turn.id in ledger.holds
        or turn.id in ledger.ended_holds
        or not _is_plain(ledger, account)
        or enforced(ledger, account).action >= THROTTLE
    ):
        return None
    priced = pricing.price(ledger.rules, command)
    wanted: Money = (priced.tokens or 0, priced.time_ms or 0, priced.cost_nanos or 0)
    if priced.unpriced or priced.base_tier or wanted == ZERO or not _has_room(ledger, account, wanted):
        return None
    ttl_ms = ledger.rules.holds_ttl_ms
    turn.record(
        e.HoldPlaced(
            hold=turn.id,
            agent=account.id,
            amount=Amounts(wanted[0] or None, wanted[1] or None, wanted[2] or None),
            ttl_ms=ttl_ms,
            expires_at=later(turn.now, ttl_ms * _MILLISECOND),
            model=command.model,
            priced_as=priced.priced_as,
            rejects_overage=command.overage == "reject",
            spends=command.on_expiry == "spend",
            operation=command.operation,
            reason=command.reason,
        )
    )
    respond(turn)
    return held_reply(ledger.holds[turn.id])


PLAIN: Mapping[type[c.Command], Callable[[Turn, Any], Any]] = {
    c.ReportUsage: report,
    c.Reserve: reserve,
    c.Settle: settle,
}
"""Which function may decide a message before the general one is asked."""


# --- what is plain ----------------------------------------------------------------------------------------------------


def _is_plain(ledger: Ledger, account: Account) -> bool:
    """Whether no limit, no last call, no warning and no other fleet has a say in what an account uses."""
    return not (
        ledger.rules.limits
        or account.caps
        or account.handed_over
        or account.overdrawn
        or account.warning is not None
        or account.pool_notice < ledger.pool_exhausted_at
        or ledger.rules.last_call is not None
    )


def _says_no_more(turn: Turn, command: c.ReportUsage | c.Settle) -> bool:
    """Whether a report says nothing beside what was used of what, and is recorded under the names that it has."""
    return not (
        command.source_id is not None
        or command.occurred_at is not None
        or command.labels
        or (command.id is not None and command.id != turn.id)
        or (command.model is not None and misspelled(command.model) is not None)
        or (command.operation is not None and misspelled(command.operation) is not None)
    )


def _has_room(ledger: Ledger, account: Account, wanted: Money) -> bool:
    """Whether what is to be set aside is free with each that pays, and surely within the limits of the day."""
    payers, watch, spent, held = account.payers, ledger.watch, ledger.spent, ledger.held
    for d, units in enumerate(wanted):
        if units > payers[d].free[d] and payers[d].allocated[d] is not None:
            return False
    if watch is None or account.budget_product in ledger.rules.limits.products:
        return False
    return spent[0] + held[0] + wanted[0] < watch.full[0] and spent[2] + held[2] + wanted[2] < watch.full[1]


# --- what was used ----------------------------------------------------------------------------------------------------


def _use(
    turn: Turn, account: Account, event: "e.UsageReported | e.HoldSettled", counts: Counts, held: Money
) -> Enforcement | None:
    """Book a use for which there is enough; None where someone would have to cover it."""
    ledger, payers = turn.ledger, account.payers
    first, second, third = payers
    if (
        (event.tokens > first.free[0] + held[0] and first.allocated[0] is not None)
        or (event.time_ms > second.free[1] + held[1] and second.allocated[1] is not None)
        or (event.cost_nanos > third.free[2] + held[2] and third.allocated[2] is not None)
    ):
        return None
    if counts is not pricing.UNKNOWN:
        for name, value in counts._asdict().items():
            setattr(event, name, value)
    if account.last_report_at is not None and account.last_report_at < ledger.opened_at:
        event.after_outage = True
    # Nothing can fail after this line.
    turn.record(event)
    near = ledger.day.near
    if held is not ZERO:
        settle_cover(turn, account)
    ratio = follow(turn, account, account)
    if near is not None:
        record_lines(turn, (near,))
    return enforcement(turn, account.id, account, ratio, None, None, [])
