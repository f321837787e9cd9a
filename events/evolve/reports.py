"""Reports that follow one another, applied in one go: a replay meets hardly anything else.

`evolve_all` leaves the state as `evolve` does, event by event. What all reports add to (the day, all usage, the memory
of ids) is added to once for those that follow one another. A report with which anything else changes is left to
`evolve`, which is the oracle in `tests/events/test_reports_in_one_go.py`.
"""

from collections.abc import Sequence

from tallystick.events import catalog as e
from tallystick.events.evolve import evolve
from tallystick.events.evolve.day import use
from tallystick.events.evolve.transfers import charge_account
from tallystick.events.evolve.usage import answered, count_for_product, note_model, note_report, says_only_use
from tallystick.events.state.growth import observed
from tallystick.events.state.ledger import Ledger


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
            if account is None or account.caps or not says_only_use(event):
                break
            used = (event.tokens, event.time_ms, event.cost_nanos)
            charge_account(account, *used)
            note_report(account, event, used)
            note_model(ledger, account, event, answered(event))
            account.pool_notice = ledger.pool_exhausted_at
            account.growth = observed(account.growth, used)
            name = account.budget_product
            if name is not None:
                count_for_product(ledger, account, event)
            sum_of = sums.get(name)
            if sum_of is None:
                sum_of = sums[name] = [0, 0, 0]
            product = name
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
            for one, (tokens, time_ms, cost_nanos) in sums.items():
                ledger.spent[0] += tokens
                ledger.spent[1] += time_ms
                ledger.spent[2] += cost_nanos
                use(ledger, one, (tokens, time_ms, cost_nanos))
            ledger.remember_all(ids)
    return place
