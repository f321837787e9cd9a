"""How a correction changes the state: what a record said counts otherwise, where and when it was recorded."""

from msgspec.structs import replace

from tallystick.config.amounts import EDGE_NAMES
from tallystick.events import catalog as e
from tallystick.events.evolve import charged
from tallystick.events.evolve.day import correct as count_in_day
from tallystick.events.evolve.limit_corrections import correct_limits
from tallystick.events.evolve.limit_runs import follow_run
from tallystick.events.evolve.transfers import spend
from tallystick.events.evolve.usage import flag
from tallystick.events.state.accounts import Account, Balances
from tallystick.events.state.agent_leases import hear
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import limited, minus, money, only, plus


def book_correction(balances: Balances, event: e.UsageCorrected) -> None:
    """The difference is charged; of a closed period, opening and total move with it. Shared with the read model."""
    if event.record.history:
        return
    account = balances.root if event.charged is None else balances.accounts[event.charged]
    if event.closed is None:
        spend(balances, account, event)
        if event.settles:
            hear(account, event.at)
    else:
        _spend_of_closed(balances, account, event)
    if not event.closed_period:
        return
    balances.opening = plus(balances.opening, event.difference)
    root = balances.root
    change = money(limited(root.allocated, event.difference))
    root.allocated = limited(root.allocated, plus(money(root.allocated), change))
    root.free = plus(root.free, change)


def _spend_of_closed(balances: Balances, account: Account, event: e.UsageCorrected) -> None:
    """What a closed account had used is found where it was left: with what closed sub-agents of the payer used, or, in
    a dimension that none of them limited, with what the payer was charged itself.
    """
    for d, units in enumerate(event.difference):
        if not units:
            continue
        payer = account.payers[d]
        payer.free = minus(payer.free, only(d, units))
        balances.spent[d] += units
        if EDGE_NAMES[d] in event.closed_in:
            payer.closed = plus(payer.closed, only(d, units))
        else:
            payer.spent = plus(payer.spent, only(d, units))
        if payer is not account:
            # It is shown as the account's use all the same (see `accounts.close_account`).
            account.closed = plus(account.closed, only(d, units))


def correct(ledger: Ledger, event: e.UsageCorrected) -> None:
    """It counts for the day, the product, the run and the hold of the record; what was learnt from it stays."""
    record, day = event.record, ledger.day
    # What the tokens of a spent hold consist of counts for limits alone.
    was_mixed = not isinstance(record, e.HoldSpent) or record.position in ledger.corrections
    book_correction(ledger, event)
    if ledger.limits.states and not record.history:
        correct_limits(ledger, event)
    if record.source_id is None:
        # Of others, the index of sources knows the last correction.
        ledger.corrections[record.position] = event.position
    _book_on_hold(ledger, event)
    if event.counts.unpriced:
        flag(ledger, event.counts)
    if record.history:
        return
    count_in_day(ledger, event)
    if event.is_own:
        mix, before, after = day.mix, event.counted, event.counts
        for place, name in enumerate(("input_tokens", "output_tokens", "cached_tokens")):
            gone = (getattr(before, name) or 0) if was_mixed else 0
            mix[place] = max(0, mix[place] + (getattr(after, name) or 0) - gone)
        run = None
        if event.closed is None and event.charged is not None:
            run = ledger.accounts[event.charged].run
        if run is not None:
            ledger.commitments.spend(run, event.tokens)
            follow_run(ledger, ledger.accounts[run])
        charged.correct(ledger, run, event)
    if event.closed_period:
        ledger.find_response_lines()
    # What it compares with was measured before.
    ledger.watch = None


def _book_on_hold(ledger: Ledger, event: e.UsageCorrected) -> None:
    """A hold, open or ended, says what was booked on it."""
    id = event.record.hold
    if id is None:
        return
    hold, ended = ledger.holds.get(id), ledger.ended_holds.get(id)
    if hold is not None:
        hold.booked = plus(hold.booked, event.difference)
    if ended is not None:
        ended = replace(ended, booked=plus(ended.booked, event.difference))
        if event.settles:
            # What another part says is added to this one.
            ended = replace(ended, spent=None, counted=None)
            ended = ended if event.partial else replace(ended, how="settled", at=event.at)
        elif ended.spent is not None and ended.spent.position == event.record.position:
            ended = replace(ended, counted=event.counts)
        ledger.ended_holds.change(ended)
