"""How a correction changes the state: what a record said counts otherwise, where and when it was recorded."""

from msgspec.structs import replace

from tallystick.config.amounts import DIMENSIONS
from tallystick.events import catalog as e
from tallystick.events.evolve import charged
from tallystick.events.evolve.transfers import spend
from tallystick.events.state.accounts import Balances, money, plus
from tallystick.events.state.ledger import Ledger


def book_correction(balances: Balances, event: e.UsageCorrected) -> None:
    """The difference is charged; of a closed period, opening and total move with it. Shared with the read model."""
    account = balances.root if event.charged is None else balances.accounts[event.charged]
    spend(balances, account, event)
    hold = None if event.record.hold is None else balances.holds.get(event.record.hold)
    if hold is not None:
        hold.booked = plus(hold.booked, event.difference)
    if not event.closed_period:
        return
    balances.opening = plus(balances.opening, event.difference)
    root = balances.root
    total = list(root.allocated)
    for d in DIMENSIONS:
        if (whole := total[d]) is not None:
            total[d] = whole + event.difference[d]
            root.free[d] += event.difference[d]
    root.allocated = (total[0], total[1], total[2])


def correct(ledger: Ledger, event: e.UsageCorrected) -> None:
    """It counts for the day, the product, the run and the hold of the record; what has grown since is not undone."""
    book_correction(ledger, event)
    record, day = event.record, ledger.day
    ledger.corrections[record.position] = money(event.after.triple)
    day.correct(record.at, event.tokens, event.cost_nanos)
    if event.day != day.date:
        day.opening = plus(day.opening, event.difference)
    elif event.product is not None:
        day.by_product[event.product] += event.tokens
    ended = None if record.hold is None else ledger.ended_holds.get(record.hold)
    if ended is not None and record.hold is not None:
        ledger.ended_holds[record.hold] = replace(ended, booked=plus(ended.booked, event.difference))
    account = None if event.charged is None else ledger.accounts[event.charged]
    if account is not None and account.id == record.account:
        if account.run is not None:
            ledger.commitments.spend(account.run, event.tokens)
        charged.correct(ledger, account, event)
    if event.closed_period:
        ledger.find_response_lines()
    # What it compares with was measured before.
    ledger.watch = None
