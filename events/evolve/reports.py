"""Reports that follow one another, applied in one go: a replay meets hardly anything else.

`evolve_all` leaves the state as `evolve` does, event by event. What all reports add to (the day, all usage, the memory
of ids) is added to once for those that follow one another. A report with which anything else changes is left to
`evolve`, which is the oracle in `tests/events/test_reports_in_one_go.py`.
"""

import datetime as dt
import sys
from collections.abc import Sequence

from tallystick.events import catalog as e
from tallystick.events.evolve import evolve
from tallystick.events.evolve.charged import charge
from tallystick.events.evolve.day import use
from tallystick.events.state.accounts import Account
from tallystick.events.state.growth import observed
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import Money

_MILLISECOND = dt.timedelta(milliseconds=1)


def evolve_all(ledger: Ledger, events: Sequence[e.Event]) -> None:
    """Apply events, the next ones of the log, to the state. Where one cannot have happened, ``ledger.position`` is that
    of the event before it.
    """
    place = 0
    while place < len(events):
        reached = _reports(ledger, events, place)
        if reached == place:
            evolve(ledger, events[place])
            reached += 1
        place = reached


def _reports(ledger: Ledger, events: Sequence[e.Event], first: int) -> int:
    """Apply the plain reports from the place ``first`` on; the place of the first event that is none."""
    if type(events[first]) is not e.UsageReported or ledger.rules.limits:
        return first
    accounts, mark = ledger.accounts, ledger.next_mark
    sums: dict[str | None, list[int]] = {}
    """What was used, by product."""
    ids: list[tuple[str, int]] = []
    place, product = first, None
    try:
        for place in range(first, len(events)):
            event = events[place]
            if type(event) is not e.UsageReported or event.at >= mark:
                break
            account = accounts.get(event.agent)
            if (
                account is None
                or account.caps
                or event.hold is not None
                or event.lease is not None
                or event.life is not None
                or event.occurred_at is not None
                or event.counts_on is not None
                or event.overdrawn is not None
                or event.unpriced
                or event.history
                or event.child_upto
            ):
                break
            used = (event.tokens, event.time_ms, event.cost_nanos)
            _book(account, event, used)
            if event.model is not None or event.input_tokens is not None:
                _note_model(ledger, account, event)
            account.pool_notice = ledger.pool_exhausted_at
            account.growth = observed(account.growth, used)
            product = account.budget_product
            if product is not None:
                _count_for_product(ledger, account, event)
            sum_of = sums.get(product)
            if sum_of is None:
                sum_of = sums[product] = [0, 0, 0]
            sum_of[0] += used[0]
            sum_of[1] += used[1]
            sum_of[2] += used[2]
            if event.id:
                ids.append((event.id, event.position))
        else:
            place += 1
    finally:
        if place > first:
            last = events[place - 1]
            ledger.position, ledger.now = last.position, last.at
            sums[product] = sums.pop(product)  # what the last one has come near to is remembered
            for name, (tokens, time_ms, cost_nanos) in sums.items():
                ledger.spent[0] += tokens
                ledger.spent[1] += time_ms
                ledger.spent[2] += cost_nanos
                use(ledger, name, (tokens, time_ms, cost_nanos))
            ledger.remember_all(ids)
    return place


def _book(account: Account, event: e.UsageReported, used: Money) -> None:
    """An account is charged: as `evolve.usage.book_report`, without the fleet's sum."""
    tokens, time_ms, cost_nanos = used
    spent, limits, above, free, at = account.spent, account.allocated, account.payers_above, account.free, event.at
    if tokens:
        spent[0] += tokens
        if limits[0] is not None:
            free[0] -= tokens
        else:
            above[0].free[0] -= tokens
            above[0].spent[0] += tokens
    if time_ms:
        spent[1] += time_ms
        if limits[1] is not None:
            free[1] -= time_ms
        else:
            above[1].free[1] -= time_ms
            above[1].spent[1] += time_ms
    if cost_nanos:
        spent[2] += cost_nanos
        if limits[2] is not None:
            free[2] -= cost_nanos
        else:
            above[2].free[2] -= cost_nanos
            above[2].spent[2] += cost_nanos
    most = account.largest
    if tokens > most[0] or time_ms > most[1] or cost_nanos > most[2]:
        account.largest = (max(most[0], tokens), max(most[1], time_ms), max(most[2], cost_nanos))
    account.pace_ms = time_ms or _pace(account, event)
    account.activity_at = account.last_report_at = at
    account.reclaimed = False
    account.warning = None
    leased = account.leased
    if leased is not None:
        leased.heard_at = at


def _pace(account: Account, event: e.UsageReported) -> int:
    last = account.last_report_at
    if last is None:
        return 0
    return account.pace_ms if event.after_outage else (event.at - last) // _MILLISECOND


def _note_model(ledger: Ledger, account: Account, event: e.UsageReported) -> None:
    """What a report says of tokens and of its model, as `evolve.usage.report` notes it."""
    model, output = event.model, event.output_tokens
    if event.input_tokens is not None:
        mix = ledger.day.mix
        mix[0] += event.input_tokens
        mix[1] += output or 0
        mix[2] += event.cached_tokens or 0
    if model is None:
        return
    if model != account.model:
        account.model = sys.intern(model)
    if output is not None and not event.partial and event.requests in (None, 1):
        ledger.outputs.note(account.agent_type, sys.intern(ledger.rules.model_name(model)), output)


def _count_for_product(ledger: Ledger, account: Account, event: e.UsageReported) -> None:
    if account.run is not None:
        ledger.commitments.spend(account.run, event.tokens)
    if ledger.rules.fairness_by != "slot_time":
        charge(ledger, account, event)
