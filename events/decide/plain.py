"""The plain case of what comes most often, decided in one go: a report, a hold or a settlement from which nothing else
follows, of an account right below the root to which nothing but its level and limits speak.

Each function here answers as the general one of its message does (`decide.track`, `decide.holds`), and records the same
event; or it says None, with nothing recorded, and the general one decides. So each may give up wherever a case is not
plain: labels, sources, times of their own, names to be repaired, covers, warnings, delegation, unknown prices, orders,
pauses, a level, a response or a line of the day that is come to. The general path is its oracle in
`tests/events/test_plain.py` and `test_plain_under_limits.py`. What changes the state are the same steps of `evolve`.

A use is never refused, so limits count it before they are asked: what they have to say, and a last call that is near,
follow as on the general path. A hold is plain where it comes to no line of a limit.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from tallystick.config.amounts import Amounts
from tallystick.config.limits import MEASURES
from tallystick.config.spelling import are_plain, misspelled
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide import pricing
from tallystick.events.decide.answers import enforcement, held_reply
from tallystick.events.decide.last_call import give, is_far, kept_free
from tallystick.events.decide.limits import asked_by
from tallystick.events.decide.stretch import PlainAccount, Stretch
from tallystick.events.decide.turn import Decided, Turn
from tallystick.events.decide.usage import follow_limits
from tallystick.events.evolve import evolve, evolve_use
from tallystick.events.messages.provider_usage import Counts
from tallystick.events.messages.replies import EdgeAmounts, Enforcement
from tallystick.events.state.accounts import Account, Hold
from tallystick.events.state.calendar import later
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.limit_rules import OTHER
from tallystick.events.state.limit_subjects import limits_of, own_value
from tallystick.events.state.limits import Match
from tallystick.events.state.money import ZERO, Money
from tallystick.events.state.slot_time import micros

_NOTHING = [0] * len(MEASURES)
_MILLISECOND = dt.timedelta(milliseconds=1)


def report(
    ledger: Ledger, stretch: Stretch, command: c.ReportUsage, now: dt.datetime, id: str, by: str
) -> Decided | None:
    """`ReportUsage` of an open account.

    Raises:
        InvalidAmount: a malformed amount; nothing was recorded.
    """
    said = said_by(ledger, command, id)
    known = None if said is None else stretch.accounts.get(said.of) or stretch.look_at(ledger, said.of)
    if said is None or known is None:
        return None
    used = said.used
    ratio = known.ratio_after(used, ZERO)
    if ratio is None or not stretch.takes(ledger, known, used):
        return None
    event = reported(command, said, ledger.position + 1, now, id, by)
    event.after_outage = was_away(ledger, known.account)
    # Nothing can fail after this line.
    evolve_use(ledger, known.account, event, used)
    return _used(ledger, stretch, known, event, ratio)


def settle(ledger: Ledger, stretch: Stretch, command: c.Settle, now: dt.datetime, id: str, by: str) -> Decided | None:
    """`Settle` of a hold that stands, by all that was used of it.

    Raises:
        InvalidAmount: a malformed amount; nothing was recorded.
    """
    said, hold = said_by_settlement(ledger, command, id), ledger.holds.get(command.hold)
    known = None if hold is None else stretch.accounts.get(hold.agent) or stretch.look_at(ledger, hold.agent)
    if said is None or hold is None or known is None or known.is_covered or hold.rejects_overage:
        return None
    used = said.used
    ratio = known.ratio_after(used, hold.amount)
    if ratio is None or not stretch.takes(ledger, known, used, hold.amount):
        return None
    event = settled(command, said, hold, ledger.position + 1, now, id, by)
    event.after_outage = was_away(ledger, known.account)
    # Nothing can fail after this line.
    evolve(ledger, event)
    return _used(ledger, stretch, known, event, ratio)


def reserve(ledger: Ledger, stretch: Stretch, command: c.Reserve, now: dt.datetime, id: str, by: str) -> Decided | None:
    """`Reserve` of an estimate for which there is room.

    Raises:
        InvalidAmount: a malformed estimate.
    """
    wanted = wanted_by(ledger, command, id)
    known = None if wanted is None else stretch.accounts.get(command.agent) or stretch.look_at(ledger, command.agent)
    if (
        wanted is None
        or known is None
        or not known.may_hold
        or id in ledger.holds
        or id in ledger.ended_holds
        or not has_room(ledger, known, wanted.amount)
        or (known.has_limits and not _is_within_limits(ledger, known.account, command, wanted.priced, now))
        or not stretch.takes(ledger, known, wanted.amount)
    ):
        return None
    event = placed(command, wanted, ledger.rules.holds_ttl_ms, ledger.position + 1, now, id, by)
    if known.has_limits:
        counts = wanted.priced.counts
        event.input_tokens, event.output_tokens = counts.input_tokens, counts.output_tokens
        event.requests = command.requests
    # Nothing can fail after this line.
    evolve(ledger, event)
    stretch.position, stretch.until = event.position, min(stretch.until, event.expires_at)
    return Decided([event], 0, held_reply(ledger.holds[id]))


PLAIN: Mapping[type[c.Command], Callable[[Ledger, Stretch, Any, dt.datetime, str, str], Decided | None]] = {
    c.ReportUsage: report,
    c.Reserve: reserve,
    c.Settle: settle,
}
"""Which function may decide a message before the general one is asked."""


# --- what is plain ----------------------------------------------------------------------------------------------------


class Said(msgspec.Struct, gc=False):
    """What a report says by itself, whatever came before it: ``of`` its agent, or of a settlement its hold."""

    of: str
    used: Money
    counts: Counts
    priced_as: str | None


def said_by(ledger: Ledger, command: c.ReportUsage, id: str) -> Said | None:
    """What a report says of an agent; None where it says more than a plain one.

    Raises:
        InvalidAmount: a malformed amount.
    """
    agent = command.agent
    if (
        agent is None
        or command.task is not None
        or command.lease is not None
        or command.rate_limited
        or command.retry_after_seconds is not None
        or command.child is not None
        or not _says_no_more(command, id)
    ):
        return None
    return _priced(ledger, command, agent)


def said_by_settlement(ledger: Ledger, command: c.Settle, id: str) -> Said | None:
    """What a settlement says of its hold; None where it says more than a plain one.

    Raises:
        InvalidAmount: a malformed amount.
    """
    return _priced(ledger, command, command.hold) if command.final and _says_no_more(command, id) else None


class Wanted(msgspec.Struct, gc=False):
    """What a hold is to set aside, and how that was priced."""

    amount: Money
    priced: pricing.Priced


def wanted_by(ledger: Ledger, command: c.Reserve, id: str) -> Wanted | None:
    """What a message sets aside; None where it is nothing, or where it says more than a plain one.

    Raises:
        InvalidAmount: a malformed estimate.
    """
    if (
        command.estimate is None
        or command.ttl_seconds is not None
        or command.max_output_tokens is not None
        or command.wait_seconds is not None
        or command.dry_run
        or command.last_call
        or command.labels
        or not _is_spelled(id, command)
    ):
        return None
    priced = pricing.price(ledger.rules, command)
    amount = _money(priced)
    return None if amount is None or amount == ZERO else Wanted(amount, priced)


def _priced(ledger: Ledger, command: c.ReportUsage | c.Settle, of: str) -> Said | None:
    given = pricing.as_given(command)
    if given is not None:
        return Said(of, given, pricing.UNKNOWN, None)
    priced = pricing.price(ledger.rules, command)
    used = _money(priced)
    return None if used is None else Said(of, used, priced.counts, priced.priced_as)


def _says_no_more(command: c.ReportUsage | c.Settle, id: str) -> bool:
    """Whether a report says nothing beside what was used of what, and is recorded under the names that it has."""
    return not (
        command.source_id is not None
        or command.occurred_at is not None
        or command.labels
        or (command.id is not None and command.id != id)
        or not _is_spelled(id, command)
    )


def _is_spelled(id: str, command: c.ReportUsage | c.Settle | c.Reserve) -> bool:
    """Whether all that a message names is spelled as names are."""
    model, operation = command.model or "", command.operation or ""
    return are_plain(id, model, operation) or not (misspelled(id) or misspelled(model) or misspelled(operation))


def _money(priced: pricing.Priced) -> Money | None:
    """What was priced, in whole units; None where the price is to be explained."""
    if priced.unpriced or priced.base_tier:
        return None
    return (priced.tokens or 0, priced.time_ms or 0, priced.cost_nanos or 0)


# --- room -------------------------------------------------------------------------------------------------------------


def has_room(ledger: Ledger, known: PlainAccount, wanted: Money) -> bool:
    """Whether what is to be set aside is free with each that pays, beside what is kept for its last call."""
    keeps = ZERO if ledger.rules.last_call is None else kept_free(ledger, known.account)
    first, second, third = known.payers
    return not (
        (first is not None and wanted[0] > first.free_tokens - keeps[0])
        or (second is not None and wanted[1] > second.free_ms - keeps[1])
        or (third is not None and wanted[2] > third.free_nanos - keeps[2])
    )


def _is_within_limits(
    ledger: Ledger, account: Account, command: c.Reserve, priced: pricing.Priced, now: dt.datetime
) -> bool:
    """Whether no limit that a hold counts in comes to a line with it. What has left a window may still be in the sums:
    they are never too small.
    """
    asked = asked_by(command, priced)
    limits, new = ledger.limits, 0
    for rule, said in limits_of(ledger, account, command.model, hold=True):
        state, value = limits.states[rule.name], said or own_value(rule, account, None)
        if state.closed and state.closed_until(value, micros(now)) is not None:
            return False
        counter = state.counters.get(value)
        if counter is None:
            new += 1
            if OTHER in state.counters or limits.count + new > ledger.rules.counters_max:
                return False
            used = held = _NOTHING
        elif counter.committed or counter.models is not None:
            return False
        else:
            used, held = counter.used, counter.held
        for place, m, line in rule.bounds:
            if used[place] + held[place] + asked[m] >= line:
                return False
    return True


def placed(
    command: c.Reserve, wanted: Wanted, ttl_ms: int, position: int, at: dt.datetime, id: str, by: str
) -> e.HoldPlaced:
    """The event of a hold."""
    tokens, time_ms, cost_nanos = wanted.amount
    return e.HoldPlaced(
        position=position,
        at=at,
        id=id,
        by=by,
        hold=id,
        agent=command.agent,
        amount=Amounts(tokens or None, time_ms or None, cost_nanos or None),
        ttl_ms=ttl_ms,
        expires_at=later(at, ttl_ms * _MILLISECOND),
        model=command.model,
        priced_as=wanted.priced.priced_as,
        rejects_overage=command.overage == "reject",
        spends=command.on_expiry == "spend",
        operation=command.operation,
        reason=command.reason,
    )


# --- what was used ----------------------------------------------------------------------------------------------------


def reported(command: c.ReportUsage, said: Said, position: int, at: dt.datetime, id: str, by: str) -> e.UsageReported:
    """The event of a report."""
    tokens, time_ms, cost_nanos = said.used
    event = e.UsageReported(
        position=position,
        at=at,
        id=id,
        by=by,
        agent=said.of,
        tokens=tokens,
        time_ms=time_ms,
        cost_nanos=cost_nanos,
        model=command.model,
        operation=command.operation,
        priced_as=said.priced_as,
        requests=command.requests,
    )
    _tell_apart(event, said.counts)
    return event


def settled(
    command: c.Settle, said: Said, hold: Hold, position: int, at: dt.datetime, id: str, by: str
) -> e.HoldSettled:
    """The event of a settlement."""
    tokens, time_ms, cost_nanos = said.used
    event = e.HoldSettled(
        position=position,
        at=at,
        id=id,
        by=by,
        hold=hold.id,
        agent=hold.account.id,
        tokens=tokens,
        time_ms=time_ms,
        cost_nanos=cost_nanos,
        model=command.model,
        operation=command.operation,
        reason=command.reason,
        priced_as=said.priced_as,
        requests=command.requests,
    )
    _tell_apart(event, said.counts)
    return event


def _tell_apart(event: "e.UsageReported | e.HoldSettled", counts: Counts) -> None:
    """Tokens are recorded as a message tells them apart."""
    if counts is not pricing.UNKNOWN:
        for name, value in counts._asdict().items():
            setattr(event, name, value)


def was_away(ledger: Ledger, account: Account) -> bool:
    """Whether the fleet was away since the last report of an account."""
    return account.last_report_at is not None and account.last_report_at < ledger.opened_at


def _used(
    ledger: Ledger, stretch: Stretch, known: PlainAccount, event: "e.UsageReported | e.HoldSettled", ratio: float
) -> Decided:
    """The answer to a use that is recorded, from which nothing follows but what limits and a last call say to it."""
    stretch.position = event.position
    account = known.account
    limited = ledger.limits.touched if known.has_limits else []
    if limited or (ledger.rules.last_call is not None and not is_far(ledger, account)):
        return _with_what_follows(ledger, account, event, limited, ratio)
    return Decided([event], 0, may_go_on(account, ratio, known.left(ledger)))


def may_go_on(account: Account, ratio: float, left: EdgeAmounts) -> Enforcement:
    """The answer to a use of which nothing but the level of its account has something to say."""
    level = account.level
    return Enforcement(account.id, round(ratio, 6), e.LEVELS[level], e.ACTIONS[level], 1.0, 0, "level", left)


def _with_what_follows(
    ledger: Ledger, account: Account, event: "e.UsageReported | e.HoldSettled", limited: list[Match], ratio: float
) -> Decided:
    """The answer to a use that has come near to a limit, or to what is kept for a last call, as in `usage.use`."""
    turn = Turn(ledger, event.at, event.id, event.by)
    turn.events.append(event)
    called = ledger.rules.last_call is not None and give(turn, account)
    ratio = follow_limits(turn, account, account, limited, limited, ratio)
    answer = enforcement(turn, account.id, account, ratio, None, None, limited)
    answer.last_call = called
    return Decided(turn.events, 0, answer)
