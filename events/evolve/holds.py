"""How holds change the state beyond balances: their lists, the day, limits, and what runs may use."""

from collections.abc import Iterable, Sequence

from tallystick.events import catalog as e
from tallystick.events.evolve import limits
from tallystick.events.evolve.day import hold_for, use_earlier
from tallystick.events.evolve.limit_runs import follow_run
from tallystick.events.evolve.transfers import charge_account, set_aside
from tallystick.events.evolve.usage import (
    Use,
    answer_of,
    book_expiry,
    book_hold,
    book_settlement,
    count_report,
    count_use,
    extend_hold,
    flag,
    note_growth,
    note_report,
    noted,
    return_hold,
    sum_up,
)
from tallystick.events.state.accounts import Hold
from tallystick.events.state.holds import list_expiry, list_hold, unlist_holds
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import ZERO, Money, money, plus
from tallystick.events.state.remembered import EndedHold
from tallystick.events.state.slot_time import micros


def place_hold(ledger: Ledger, event: e.HoldPlaced) -> None:
    """An amount is set aside, for the run at hand if there is one, until the hold expires."""
    hold = book_hold(ledger, event)
    task = ledger.tasks.running.get(event.agent)
    hold.lease = None if task is None else task.lease
    list_hold(ledger, hold)
    hold_for(ledger, hold, 1)
    if ledger.rules.limits or hold.account.caps:
        limits.place_hold(ledger, hold, event)


def move_expiry(ledger: Ledger, event: e.HoldExtended) -> None:
    """A hold expires later."""
    hold = ledger.holds[event.hold]
    if event.amount is not None:
        hold_for(ledger, hold, -1)
        limits.hold_in_limits(ledger, hold, -1)
    moved = event.expires_at != hold.expires_at
    extend_hold(ledger, event)
    if event.amount is not None:
        limits.extended(ledger, hold, event.amount.triple)
        hold_for(ledger, hold, 1)
        limits.hold_in_limits(ledger, hold, 1)
        follow_run(ledger, hold.account)
    if moved:
        list_expiry(ledger, hold)


def settle_hold(ledger: Ledger, event: e.HoldSettled) -> None:
    """A hold ends with what was used of it; after a part, the rest stands."""
    # What products and runs have set aside is counted by the amount that the hold had before.
    hold_for(ledger, ledger.holds[event.hold], -1)
    limits.hold_in_limits(ledger, ledger.holds[event.hold], -1)
    hold = book_settlement(ledger, event)
    if event.unpriced:
        flag(ledger, event)
    hold.notes = noted(hold.notes, event, ends=not event.partial)
    if event.partial:
        hold_for(ledger, hold, 1)
    if event.history:
        if hold.limited is not None or ledger.rules.limits or hold.account.caps:
            limits.settle_in_the_past(ledger, hold, event)
    else:
        if event.occurred_at is not None:
            use_earlier(ledger, event)
        count_report(ledger, hold.account, event, _answered_in_all(hold, event))
        if hold.limited is not None or ledger.rules.limits or hold.account.caps:
            limits.settle(ledger, hold, event)
            if event.partial:
                limits.hold_in_limits(ledger, hold, 1)
    if not event.partial:
        _end_hold(ledger, hold, "settled", event)


def settles_all(event: e.HoldSettled) -> bool:
    """Whether a settlement says only what was used of its hold, just now, and ends it."""
    return not (
        event.partial
        or event.unpriced
        or event.history
        or event.overdrawn is not None
        or event.counts_on is not None
        or event.occurred_at is not None
    )


def is_whole(hold: Hold) -> bool:
    """Whether a hold counts in no limit, and no part of it was settled."""
    return hold.limited is None and hold.booked == ZERO and hold.got == 0


def take_back(ledger: Ledger, hold: Hold, used: Money) -> None:
    """What settling a hold changes of balances, where it is settled by all that was used of it."""
    del ledger.holds[hold.id]
    set_aside(ledger, hold.account, hold.amount, -1)
    charge_account(hold.account, *used)


def note_settlements(ledger: Ledger, settled: Sequence[Hold], uses: Sequence[Use]) -> None:
    """What settlements change that follow one another within a minute and count in no limit, beside the balances: these
    were changed one by one (`take_back`).
    """
    ended: list[EndedHold] = []
    for hold, (account, event, used) in zip(settled, uses, strict=True):
        ended.append(close_hold(ledger, hold, event, used))
        note_report(account, event, hold.booked)
        note_growth(ledger, account, event, used, _answered_in_all(hold, event))
    end_holds(ledger, settled, ended)
    sum_up(ledger, uses)


def close_hold(ledger: Ledger, hold: Hold, event: "e.UsageReported | e.HoldSettled", used: Money) -> EndedHold:
    """What is to be remembered of a hold that was taken back and ends with this use: nothing is set aside for it."""
    hold_for(ledger, hold, -1)
    hold.amount, hold.booked = ZERO, used if hold.booked is ZERO else plus(hold.booked, used)
    hold.notes = noted(hold.notes, event, ends=True)
    return _ended(hold, "settled", event)


def let_hold_pass(ledger: Ledger, placed: e.HoldPlaced, settled: e.HoldSettled, used: Money) -> EndedHold:
    """A hold was placed, and soon settled: what was set aside is back, and what is left of it is to be remembered."""
    account, task = ledger.accounts[placed.agent], ledger.tasks.running.get(placed.agent)
    if placed.last_call:
        account.called = 2
    return EndedHold(
        placed.hold,
        "settled",
        account.id,
        settled.position,
        None if task is None else task.lease,
        account.life,
        settled.at,
        money(placed.amount.triple),
        used,
        placed.at,
        noted(noted(None, placed), settled, ends=True),
    )


def end_holds(ledger: Ledger, stood: Iterable[Hold], ended: Iterable[EndedHold]) -> None:
    """Holds that stood do so no more, and what is remembered of all that ended comes in the order of their ends."""
    unlist_holds(ledger, stood)
    ledger.ended_holds.add_all(ended)


def give_hold_back(ledger: Ledger, event: e.HoldEnded) -> None:
    """A hold ends, and what it still had is unused."""
    hold = return_hold(ledger, event)
    hold_for(ledger, hold, -1)
    if hold.limited is not None:
        limits.hold_in_limits(ledger, hold, -1)
        limits.give_back(ledger, hold, micros(event.at))
    hold.notes = noted(hold.notes, event, ends=True)
    _end_hold(ledger, hold, event.how, event)


def spend_hold(ledger: Ledger, event: e.HoldSpent) -> None:
    """A hold ends, and what it still had counts as used."""
    hold_for(ledger, ledger.holds[event.hold], -1)
    limits.hold_in_limits(ledger, ledger.holds[event.hold], -1)
    hold = book_expiry(ledger, event)
    count_use(ledger, hold.account, event, (event.tokens, event.time_ms, event.cost_nanos))
    if hold.limited is not None or ledger.rules.limits or hold.account.caps:
        limits.settle(ledger, hold, event)
    _end_hold(ledger, hold, "expired", event, event)


def _end_hold(
    ledger: Ledger, hold: Hold, how: str, event: "e.HoldSettled | e.HoldEnded", spent: e.HoldSpent | None = None
) -> None:
    end_holds(ledger, (hold,), (_ended(hold, how, event, spent),))


def _ended(
    hold: Hold, how: str, event: "e.UsageReported | e.HoldSettled | e.HoldEnded", spent: e.HoldSpent | None = None
) -> EndedHold:
    account = hold.account
    # By place, which is quicker than by name.
    return EndedHold(
        hold.id,
        how,
        account.id,
        event.position,
        hold.lease,
        account.life,
        event.at,
        hold.placed,
        hold.booked,
        hold.placed_at,
        hold.notes,
        spent,
        None,
        hold.limited,
    )


def _answered_in_all(hold: Hold, event: "e.UsageReported | e.HoldSettled") -> int | None:
    """The output of a hold's operation, that of its parts included; None before its end, and where it is not known."""
    said = answer_of(event)
    hold.got = None if hold.got is None or said is None else hold.got + said
    return None if event.partial else hold.got
