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

from tallystick.config.amounts import Amounts
from tallystick.config.limits import MEASURES
from tallystick.config.spelling import misspelled
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide import pricing
from tallystick.events.decide.answers import enforcement, held_reply
from tallystick.events.decide.last_call import give, is_far, kept_free
from tallystick.events.decide.levels import THROTTLE, has_nothing
from tallystick.events.decide.limit_readings import has_limits
from tallystick.events.decide.limits import asked_by
from tallystick.events.decide.own_limits import is_by_limits, remaining
from tallystick.events.decide.turn import Turn
from tallystick.events.decide.usage import follow_limits
from tallystick.events.messages.provider_usage import Counts
from tallystick.events.messages.replies import Enforcement, Held, Reply, shown
from tallystick.events.state.accounts import Account
from tallystick.events.state.calendar import later
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.limit_rules import OTHER
from tallystick.events.state.limit_subjects import limits_of, own_value
from tallystick.events.state.limits import Match
from tallystick.events.state.money import ZERO, Money
from tallystick.events.state.slot_time import micros

_NOTHING = [0] * len(MEASURES)
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
    used = _money(priced)
    ratio = None if used is None else _ratio_after(ledger, account, used, ZERO)
    if used is None or ratio is None:
        return None
    event = e.UsageReported(
        agent=agent,
        tokens=used[0],
        time_ms=used[1],
        cost_nanos=used[2],
        model=command.model,
        operation=command.operation,
        priced_as=priced.priced_as,
        requests=command.requests,
    )
    return _use(turn, account, event, priced.counts, ratio)


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
        or _is_covered(ledger, hold.account)
    ):
        return None
    priced = pricing.price(ledger.rules, command)
    used = _money(priced)
    ratio = None if used is None else _ratio_after(ledger, hold.account, used, hold.amount)
    if used is None or ratio is None:
        return None
    event = e.HoldSettled(
        hold=hold.id,
        agent=hold.account.id,
        tokens=used[0],
        time_ms=used[1],
        cost_nanos=used[2],
        model=command.model,
        operation=command.operation,
        reason=command.reason,
        priced_as=priced.priced_as,
        requests=command.requests,
    )
    return _use(turn, hold.account, event, priced.counts, ratio)


def reserve(turn: Turn, command: c.Reserve) -> Held | None:
    """`Reserve` of an estimate for which there is room.

    Raises:
        InvalidAmount: a malformed estimate.
    """
    ledger = turn.ledger
    account = ledger.accounts.get(command.agent)
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
        or has_nothing(account)
        or is_by_limits(account)
    ):
        return None
    priced = pricing.price(ledger.rules, command)
    wanted = _money(priced)
    if wanted is None or wanted == ZERO or not _has_room(ledger, account, wanted):
        return None
    limited = has_limits(ledger, account)
    if limited and not _is_within_limits(turn, account, command, priced):
        return None
    ttl_ms = ledger.rules.holds_ttl_ms
    event = e.HoldPlaced(
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
    if limited:
        event.input_tokens, event.output_tokens = priced.counts.input_tokens, priced.counts.output_tokens
        event.requests = command.requests
    # Nothing can fail after this line.
    turn.record(event)
    return held_reply(ledger.holds[turn.id])


PLAIN: Mapping[type[c.Command], Callable[[Turn, Any], Reply | None]] = {
    c.ReportUsage: report,
    c.Reserve: reserve,
    c.Settle: settle,
}
"""Which function may decide a message before the general one is asked."""


# --- what is plain ----------------------------------------------------------------------------------------------------


def _is_plain(ledger: Ledger, account: Account) -> bool:
    """Whether nothing but its own level, which slows nothing, speaks to an account."""
    return (
        account.parent is ledger.root
        and account.level < THROTTLE
        and not account.overdrawn
        and not account.called
        and not account.terms.handed_over
        and account.throttle is None
        and account.stopped is None
        and account.warning is None
        and account.pool_notice >= ledger.pool_exhausted_at
        and not ledger.response
        and ledger.paused is None
        and not (ledger.rules.pauses and (ledger.rules.paused or account.product in ledger.rules.paused_products))
        and ledger.stopped_above is None
        and account.id not in ledger.tasks.running
    )


def _says_no_more(turn: Turn, command: c.ReportUsage | c.Settle) -> bool:
    """Whether a report says nothing beside what was used of what, and is recorded under the names that it has."""
    return not (
        command.source_id is not None
        or command.occurred_at is not None
        or command.labels
        or (command.model is not None and misspelled(command.model) is not None)
        or (command.operation is not None and misspelled(command.operation) is not None)
        or (command.id is not None and command.id != turn.id)
    )


def _money(priced: pricing.Priced) -> Money | None:
    """What was priced, in whole units; None where the price is to be explained."""
    if priced.unpriced or priced.base_tier:
        return None
    return (priced.tokens or 0, priced.time_ms or 0, priced.cost_nanos or 0)


def _is_quiet(ledger: Ledger, account: Account, spent: Money, held: Money) -> bool:
    """Whether no line of the day, of the breaker or of the fleet's response is come to with so much more."""
    product = account.budget_product
    rule = None if product is None else ledger.rules.limits.products.get(product)
    if rule is not None and product is not None:
        counter = ledger.day.products[product].counters[product]
        if counter.used[0] + counter.held[0] + spent[0] + held[0] >= rule.first_lines[0]:
            return False
    watch, before, standing = ledger.watch, ledger.spent, ledger.held
    if watch is None or ledger.day.tripped is not None:
        return False
    tokens, time_ms, cost = before[0] + spent[0], before[1] + spent[1], before[2] + spent[2]
    lines, quiet = watch.spent, watch.quiet
    return (
        tokens < lines[0]
        and cost < lines[1]
        and tokens + standing[0] + held[0] < quiet[0]
        and time_ms + standing[1] + held[1] < quiet[1]
        and cost + standing[2] + held[2] < quiet[2]
        and (watch.running is None or watch.running == len(ledger.tasks.running))
        and (watch.queued is None or watch.queued == ledger.tasks.queued)
    )


# --- room -------------------------------------------------------------------------------------------------------------


def _has_room(ledger: Ledger, account: Account, wanted: Money) -> bool:
    """Whether what is to be set aside is free with each that pays, beside what is kept for its last call, and presses
    on nothing.
    """
    keeps = kept_free(ledger, account)
    for d, payer in enumerate(account.payers):
        if wanted[d] > payer.free[d] - keeps[d] and payer.allocated[d] is not None:
            return False
    return _is_quiet(ledger, account, ZERO, wanted)


def _is_within_limits(turn: Turn, account: Account, command: c.Reserve, priced: pricing.Priced) -> bool:
    """Whether no limit that a hold counts in comes to a line with it. What has left a window may still be in the sums:
    they are never too small.
    """
    ledger, asked = turn.ledger, asked_by(command, priced)
    limits, new = ledger.limits, 0
    for rule, said in limits_of(ledger, account, command.model, hold=True):
        state, value = limits.states[rule.name], said or own_value(rule, account, None)
        if state.closed and state.closed_until(value, micros(turn.now)) is not None:
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


def _is_covered(ledger: Ledger, account: Account) -> bool:
    """Whether something that a hold gives back may be another's: who covers its account, or the fleet's reserve."""
    for d, payer in enumerate(account.payers):
        if payer.cover[d]:
            return True
        if payer is ledger.root and payer.allocated[d] is not None and ledger.reserve_size(d) > ledger.reserve.free[d]:
            return True
    return False


def _ratio_after(ledger: Ledger, account: Account, used: Money, held: Money) -> float | None:
    """The ratio that an account comes to with what was used, of which ``held`` was set aside; None where something
    follows: who pays has nothing left, a level or a line is come to.
    """
    first, second, third = account.payers
    if (
        (first.free_tokens + held[0] <= used[0] and first.allocated[0] is not None)
        or (second.free_ms + held[1] <= used[1] and second.allocated[1] is not None)
        or (third.free_nanos + held[2] <= used[2] and third.allocated[2] is not None)
    ):
        return None
    ratio = account.ratio(used)
    given_back = (-held[0], -held[1], -held[2])
    if ratio >= ledger.rules.level_near[account.level] or not _is_quiet(ledger, account, used, given_back):
        return None
    return ratio


# --- what was used ----------------------------------------------------------------------------------------------------


def _use(
    turn: Turn, account: Account, event: "e.UsageReported | e.HoldSettled", counts: Counts, ratio: float
) -> Enforcement:
    """Book a use from which nothing follows but what limits and a last call say to it; the answer."""
    if counts is not pricing.UNKNOWN:
        for name, value in counts._asdict().items():
            setattr(event, name, value)
    if account.last_report_at is not None and account.last_report_at < turn.ledger.opened_at:
        event.after_outage = True
    ledger = turn.ledger
    ledger.limits.touched = []
    # Nothing can fail after this line.
    turn.record(event)
    limited = ledger.limits.touched
    if limited or (ledger.rules.last_call is not None and not is_far(ledger, account)):
        return _with_what_follows(turn, account, limited, ratio)
    level = account.level
    left = shown(remaining(ledger, account))
    return Enforcement(account.id, round(ratio, 6), e.LEVELS[level], e.ACTIONS[level], 1.0, 0, "level", left)


def _with_what_follows(turn: Turn, account: Account, limited: list[Match], ratio: float) -> Enforcement:
    """The answer to a use that has come near to a limit, or to what is kept for a last call, as in `usage.use`."""
    called = turn.ledger.rules.last_call is not None and give(turn, account)
    ratio = follow_limits(turn, account, account, limited, limited, ratio)
    answer = enforcement(turn, account.id, account, ratio, None, None, limited)
    answer.last_call = called
    return answer
