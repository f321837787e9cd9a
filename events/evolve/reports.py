"""Reports that follow one another, applied in one go: a replay meets hardly anything else.

`evolve_all` leaves the state as `evolve` does, event by event. Plain reports add up: each account, each product and the
fleet are charged with sums, and of what only the newest report says (pace, signs of life) the newest is noted. What
depends on the order of reports is done in their order. An event with which anything else changes is left to `evolve`,
which is the oracle in `tests/events/test_reports_in_one_go.py`.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import compress
from operator import attrgetter
from typing import cast

from tallystick.config.amounts import TOKENS
from tallystick.events import catalog as e
from tallystick.events.evolve import evolve
from tallystick.events.evolve.charged import charge
from tallystick.events.evolve.day import use
from tallystick.events.evolve.transfers import charge_account
from tallystick.events.evolve.usage import answered, note_model, note_report, says_only_use
from tallystick.events.state.accounts import Account
from tallystick.events.state.growth import observed, observed_all
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import Money, plus

_Reports = Sequence[e.UsageReported]
_Summed = tuple[Account, _Reports, Money, Money, bytes]
_AT = attrgetter("at")
_MANY = 6
"""Fewer reports are applied sooner one by one."""


def evolve_all(ledger: Ledger, events: Sequence[e.Event]) -> None:
    """Apply events, the next ones of the log, none earlier than the one before it, to the state. Where one cannot have
    happened, the state is that of the event before it.
    """
    place = 0
    while place < len(events):
        # With the first event of a minute more changes.
        end = bisect_left(events, ledger.next_mark, place, key=_AT)
        if end > place:
            _within_a_minute(ledger, events[place:end])
        if end < len(events):
            evolve(ledger, events[end])
        place = end + 1


def _within_a_minute(ledger: Ledger, events: Sequence[e.Event]) -> None:
    accounts, first = ledger.accounts, 0
    by_agent: dict[str, list[e.UsageReported]] = {}
    may_be_plain = not ledger.rules.limits
    for place, event in enumerate(events):
        if type(event) is e.UsageReported and may_be_plain and says_only_use(event):
            theirs = by_agent.get(event.agent)
            if theirs is not None:
                theirs.append(event)
                continue
            account = accounts.get(event.agent)
            if account is not None and not account.caps:
                by_agent[event.agent] = [event]
                continue
        if by_agent:
            _report_all(ledger, cast(_Reports, events[first:place]), by_agent)
            by_agent = {}
        evolve(ledger, event)
        first, may_be_plain = place + 1, not ledger.rules.limits
    if by_agent:
        _report_all(ledger, cast(_Reports, events[first:]), by_agent)


def _report_all(ledger: Ledger, reports: _Reports, by_agent: dict[str, list[e.UsageReported]]) -> None:
    """Apply plain reports; the same reports by agent, with an account."""
    accounts, last = ledger.accounts, reports[-1]
    summed = [] if len(reports) < _MANY else _all_summed(ledger, by_agent)
    if not summed:
        for event in reports:
            evolve(ledger, event)
        return
    by_product: dict[str | None, Money] = {}
    for account, theirs, total, most, growth in summed:
        charge_account(account, *total)
        name = account.budget_product
        by_product[name] = plus(by_product[name], total) if name in by_product else total
        if account.run is not None and name is not None:
            ledger.commitments.spend(account.run, total[TOKENS])
        account.growth, account.pool_notice = growth, ledger.pool_exhausted_at
        newest = theirs[-1]
        if newest.after_outage:
            # It says nothing of the pace, which is as the one before it has left it.
            for event in theirs[:-1]:
                note_report(account, event, most)
        elif len(theirs) > 1:
            account.last_report_at = theirs[-2].at
        note_report(account, newest, most)
    _use_all(ledger, by_product, accounts[last.agent].budget_product)
    _note_in_order(ledger, reports)
    ids, positions = [event.id for event in reports], range(reports[0].position, last.position + 1)
    if all(ids):
        ledger.remember_all(ids, positions)
    else:
        ledger.remember_all([*filter(None, ids)], [*compress(positions, ids)])
    ledger.position, ledger.now = last.position, last.at


def _all_summed(ledger: Ledger, by_agent: dict[str, list[e.UsageReported]]) -> "list[_Summed]":
    """The reports of all accounts; none where one says more than can be: those before it are to be applied."""
    try:
        return [_summed(ledger.accounts[agent], theirs) for agent, theirs in by_agent.items()]
    except ArithmeticError:
        return []


def _summed(account: Account, reports: _Reports) -> "_Summed":
    """An account's reports with their total, by dimension the most that one of them says, and its growth after them."""
    if len(reports) == 1:
        event = reports[0]
        used = (event.tokens, event.time_ms, event.cost_nanos)
        return account, reports, used, used, observed(account.growth, used)
    tokens = [event.tokens for event in reports]
    times = [event.time_ms for event in reports]
    nanos = [event.cost_nanos for event in reports]
    total, most = (sum(tokens), sum(times), sum(nanos)), (max(tokens), max(times), max(nanos))
    return account, reports, total, most, observed_all(account.growth, tokens, times, nanos)


def _use_all(ledger: Ledger, by_product: dict[str | None, Money], last: str | None) -> None:
    """What was used of products counts for the fleet and for the day. What the last one has come near to is remembered:
    it was the product of the last report.
    """
    by_product[last] = by_product.pop(last)
    for product, total in by_product.items():
        for d, units in enumerate(total):
            ledger.spent[d] += units
        use(ledger, product, total)


def _note_in_order(ledger: Ledger, reports: _Reports) -> None:
    """What is kept of each report, or adds up to what depends on their order."""
    accounts, charges = ledger.accounts, ledger.rules.fairness_by != "slot_time"
    for event in reports:
        if event.model is not None or event.input_tokens is not None:
            note_model(ledger, accounts[event.agent], event, answered(event))
        if charges and accounts[event.agent].budget_product is not None:
            charge(ledger, accounts[event.agent], event)
