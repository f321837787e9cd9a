"""How usage, holds and signs of life change the state. Every report passes here."""

import datetime as dt
import sys
from collections.abc import Sequence

from msgspec.structs import replace

from tallystick.events import catalog as e
from tallystick.events.evolve import limits
from tallystick.events.evolve.charged import charge
from tallystick.events.evolve.day import product_without_account, use, use_earlier, use_said
from tallystick.events.evolve.tasks import used_late
from tallystick.events.evolve.transfers import book, set_aside, spend
from tallystick.events.state.accounts import Account, Balances, Hold, Notes
from tallystick.events.state.agent_leases import hear
from tallystick.events.state.growth import observed
from tallystick.events.state.ledger import UNPRICED_MAX, Ledger
from tallystick.events.state.limit_subjects import caps_of_late
from tallystick.events.state.money import ZERO, Money, less, minus, money, plus

_MILLISECOND = dt.timedelta(milliseconds=1)


# --- shared with the account read model -------------------------------------------------------------------------------


def book_report(balances: Balances, event: e.UsageReported) -> Account | None:
    """Usage is charged to the account, which is returned, or to the one that pays for an agent without an account."""
    account = balances.accounts.get(event.agent) if event.lease is None and event.life is None else None
    if event.history:
        return account
    if account is None:
        spend(balances, balances.root if event.charged is None else balances.accounts[event.charged], event)
    else:
        spend(balances, account if event.overdrawn is None else balances.root, event)
        note_report(account, event, (event.tokens, event.time_ms, event.cost_nanos))
    return account


def book_hold(balances: Balances, event: e.HoldPlaced) -> Hold:
    """An amount is set aside."""
    account = balances.accounts[event.agent]
    amount = money(event.amount.triple)
    # The first by place: with more than 15 names, a call makes a dictionary of them first.
    hold = Hold(
        event.hold,
        account.id,
        amount,
        event.ttl_ms,
        event.expires_at,
        None,
        placed=amount,
        booked=ZERO,
        placed_at=event.at,
        rejects_overage=event.rejects_overage,
        notes=noted(None, event),
        spends=event.spends,
        model=event.model,
        last_call=event.last_call,
        estimated=event.estimated_by == "quantile",
        got=0,
        limited=None,
        account=account,
    )
    balances.holds[hold.id] = hold
    set_aside(balances, account, hold.amount, 1)
    account.activity_at = event.at
    account.reclaimed = False
    if event.last_call:
        account.called = 2
    hear(account, event.at)
    return hold


def extend_hold(balances: Balances, event: e.HoldExtended) -> None:
    """A hold stands longer, and may be larger."""
    hold = balances.holds[event.hold]
    if event.amount is not None:
        more = money(event.amount.triple)
        hold.amount, hold.placed = plus(hold.amount, more), plus(hold.placed, more)
        set_aside(balances, hold.account, more, 1)
    hold.expires_at = event.expires_at
    hold.account.activity_at = event.at
    hear(hold.account, event.at)


def book_settlement(balances: Balances, event: e.HoldSettled) -> Hold:
    """What was set aside comes back, and what was used is charged; of a part, as much as was used of it comes back."""
    hold = balances.holds[event.hold]
    used = (event.tokens, event.time_ms, event.cost_nanos)
    rest, back = ZERO, hold.amount
    if event.partial:
        rest = less(back, used)
        back = minus(back, rest)
    else:
        del balances.holds[event.hold]
    set_aside(balances, hold.account, back, -1)
    hold.amount, hold.booked = rest, used if hold.booked is ZERO else plus(hold.booked, used)
    if event.history:
        hear(hold.account, event.at)
        return hold
    spend(balances, hold.account if event.overdrawn is None else balances.root, event)
    note_report(hold.account, event, hold.booked)
    return hold


def return_hold(balances: Balances, event: e.HoldEnded) -> Hold:
    """What was set aside comes back unused."""
    hold = balances.holds.pop(event.hold)
    set_aside(balances, hold.account, hold.amount, -1)
    hold.account.activity_at = event.at
    if hold.last_call and hold.booked == ZERO and event.how != "settled":
        hold.account.called = min(hold.account.called, 1)
    if event.how in ("cancelled", "settled"):
        hear(hold.account, event.at)
    return hold


def book_expiry(balances: Balances, event: e.HoldSpent) -> Hold:
    """What a hold still had counts as used. It is no sign of life, and says nothing of the agent's pace."""
    hold = balances.holds.pop(event.hold)
    set_aside(balances, hold.account, hold.amount, -1)
    hold.booked = plus(hold.booked, hold.amount)
    spend(balances, hold.account, event)
    return hold


def hear_agent(balances: Balances, event: e.AgentHeard) -> None:
    """A sign of life."""
    account = balances.accounts.get(event.agent)
    if account is not None:
        hear(account, event.at)


def says_only_use(event: e.UsageReported) -> bool:
    """Whether a report says of an open account only what it used, just now, of what: what many of them say adds up."""
    return not (
        event.hold is not None
        or event.lease is not None
        or event.life is not None
        or event.occurred_at is not None
        or event.counts_on is not None
        or event.overdrawn is not None
        or event.unpriced
        or event.history
        or event.child_upto
    )


def note_report(account: Account, event: "e.UsageReported | e.HoldSettled", used: Money) -> None:
    """A report starts a new idle period. ``used`` is what its operation has used so far."""
    tokens, time_ms, cost_nanos = used
    # Three calls of max() take longer than all the rest here.
    if tokens > account.most_tokens:  # noqa: PLR1730
        account.most_tokens = tokens
    if time_ms > account.most_ms:  # noqa: PLR1730
        account.most_ms = time_ms
    if cost_nanos > account.most_nanos:  # noqa: PLR1730
        account.most_nanos = cost_nanos
    at, pace_ms = event.at, event.time_ms
    if not pace_ms and account.last_report_at is not None:
        # An outage is no operation, and a late report none of now: the pace stays what it was.
        known_late = event.after_outage or event.occurred_at is not None
        pace_ms = account.pace_ms if known_late else (at - account.last_report_at) // _MILLISECOND
    account.pace_ms = pace_ms
    account.activity_at = at
    account.last_report_at = at
    account.reclaimed = False
    account.warning = None
    if account.leased is not None:
        hear(account, at)


# --- the core's alone -------------------------------------------------------------------------------------------------


def report(ledger: Ledger, event: e.UsageReported) -> None:
    """Usage is charged, and counts for the day, the product, the run and the growth of the account."""
    account = ledger.accounts.get(event.agent)
    if account is not None and says_only_use(event):
        book_use(ledger, account, event, (event.tokens, event.time_ms, event.cost_nanos))
    else:
        _report_more(ledger, event)


def book_use(ledger: Ledger, account: Account, event: e.UsageReported, used: Money) -> None:
    """An open account has ``used`` something just now, of what a report says, and that is all it says."""
    book(ledger, account, used)
    _note_use(ledger, account, event, used)
    use(ledger, account.budget_product, used)
    if ledger.rules.limits or account.caps:
        limits.report(ledger, account, event)


Use = tuple[Account, "e.UsageReported | e.HoldSettled", Money]
"""The account that is charged, a report or settlement of it that says only use, and how much that is."""


def note_uses(ledger: Ledger, uses: Sequence[Use]) -> None:
    """What uses with new ids change that follow one another within a minute and count in no limit, beside the balances
    of accounts: these were charged one by one. What all of them add to is added to once.
    """
    for account, event, used in uses:
        _note_use(ledger, account, event, used)
    sum_up(ledger, uses)


def sum_up(ledger: Ledger, uses: Sequence[Use]) -> None:
    """What uses with new ids that follow one another change once for all: sums of the day, and the memory of ids."""
    sums: dict[str | None, list[int]] = {}
    product = None
    for account, _, used in uses:
        product = account.budget_product
        sum_of = sums.get(product)
        if sum_of is None:
            sum_of = sums[product] = [0, 0, 0]
        sum_of[0] += used[0]
        sum_of[1] += used[1]
        sum_of[2] += used[2]
    sums[product] = sums.pop(product)  # what the last one has come near to is remembered
    spent = ledger.spent
    for product, (tokens, time_ms, cost_nanos) in sums.items():
        spent[0] += tokens
        spent[1] += time_ms
        spent[2] += cost_nanos
        use(ledger, product, (tokens, time_ms, cost_nanos))
    last = uses[-1][1]
    ledger.position, ledger.now = last.position, last.at
    ledger.remember_all([event.id for _, event, _ in uses], range(uses[0][1].position, last.position + 1), new=True)


def _note_use(ledger: Ledger, account: Account, event: "e.UsageReported | e.HoldSettled", used: Money) -> None:
    """What a use says of its account, beside the balance and the day."""
    note_report(account, event, used)
    note_growth(ledger, account, event, used, answered(event))


def note_growth(
    ledger: Ledger, account: Account, event: "e.UsageReported | e.HoldSettled", used: Money, output: int | None
) -> None:
    """`count_report`, beside the sums of the day."""
    if event.model != account.model or event.output_tokens is not None or event.input_tokens is not None:
        note_model(ledger, account, event, output)
    account.pool_notice = ledger.pool_exhausted_at
    if account.budget_product is not None:
        count_for_product(ledger, account, event)
    account.growth = observed(account.growth, used)


def _report_more(ledger: Ledger, event: e.UsageReported) -> None:
    """Usage of an account that is not open, or of a report that says more."""
    ended = None if event.hold is None else ledger.ended_holds.get(event.hold)
    if ended is not None and event.hold is not None:
        # A late settlement: there is no second one, unless it was a part of one.
        used = (event.tokens, event.time_ms, event.cost_nanos)
        ended = replace(ended, booked=plus(ended.booked, used), notes=noted(ended.notes, event, ends=True))
        ledger.ended_holds.change(ended if event.partial else replace(ended, how="settled", at=event.at))
    if event.unpriced:
        flag(ledger, event)
    if event.child_upto:
        # The child's use is booked up to a position of its log.
        ledger.delegated[event.agent].booked = event.child_upto
    account = book_report(ledger, event)
    if event.history:
        return
    if event.occurred_at is not None:
        use_earlier(ledger, event)
    if account is None:
        use_said(ledger, product_without_account(ledger, event), event)
        used_late(ledger, event)
    else:
        count_report(ledger, account, event, answered(event))
    if ledger.rules.limits or (account.caps if account is not None else caps_of_late(ledger, event)):
        limits.report(ledger, account, event)


def flag(ledger: Ledger, event: "e.UsageReported | e.HoldSettled | e.Said") -> None:
    """A model without a price is remembered, so that there is one alert about it."""
    if event.model is not None and len(ledger.unpriced) < UNPRICED_MAX:
        ledger.unpriced[event.model] = None


def count_report(
    ledger: Ledger, account: Account, event: "e.UsageReported | e.HoldSettled", output: int | None
) -> None:
    """A report counts for its product and run, and its reply delivers the notice that waits for the agent.

    ``output`` are the tokens that its operation has answered in all, where it is over and they are known.
    """
    note_model(ledger, account, event, output)
    account.pool_notice = ledger.pool_exhausted_at
    used = (event.tokens, event.time_ms, event.cost_nanos)
    count_use(ledger, account, event, used)
    account.growth = observed(account.growth, used)


def note_model(ledger: Ledger, account: Account, event: "e.UsageReported | e.HoldSettled", output: int | None) -> None:
    """What was said of a use's tokens and of its model; ``output`` as in `count_report`."""
    if event.input_tokens is not None:
        mix = ledger.day.mix
        mix[0] += event.input_tokens
        mix[1] += event.output_tokens or 0
        mix[2] += event.cached_tokens or 0
    if event.model is None:
        return
    if event.model != account.model:
        # Every record brings a text of its own; the accounts share one.
        account.model = sys.intern(event.model)
    if output is not None:
        ledger.outputs.note(account.agent_type, sys.intern(ledger.rules.model_name(event.model)), output)


def answered(event: "e.UsageReported | e.HoldSettled") -> int | None:
    """How much a model answered, where the operation is over; a total of several requests says nothing of one."""
    return None if event.output_tokens is None or event.partial else answer_of(event)


def answer_of(event: "e.UsageReported | e.HoldSettled") -> int | None:
    """How much a model answered; a total of several requests says nothing of one."""
    return event.output_tokens if event.requests in (None, 1) else None


def count_use(ledger: Ledger, account: Account, event: "e.UsageReported | e.HoldSettled", used: Money) -> None:
    """What was used counts today, for its product, and as a part of what its run may use."""
    if event.counts_on is None:
        use(ledger, account.budget_product, used)
    else:
        use_said(ledger, account.budget_product, event)
    if account.budget_product is not None:
        count_for_product(ledger, account, event)


def count_for_product(ledger: Ledger, account: Account, event: "e.UsageReported | e.HoldSettled") -> None:
    """What was used is a part of what a run may use, and counts in the shares of products."""
    if account.run is not None:
        ledger.commitments.spend(account.run, event.tokens)
    if ledger.rules.fairness_by != "slot_time":
        charge(ledger, account, event)


def noted(
    notes: Notes | None, event: "e.HoldPlaced | e.HoldSettled | e.HoldEnded | e.UsageReported", *, ends: bool = False
) -> Notes | None:
    """What was said about a hold, and what an event adds to it. ``ends``: its reason is that of the hold's end."""
    if event.labels is None and event.operation is None and event.reason is None:
        return notes
    before = notes or Notes()
    return Notes(
        {**(before.labels or {}), **(event.labels or {})} or None,
        event.operation or before.operation,
        before.reason if ends else event.reason or before.reason,
        (event.reason or before.ended_reason) if ends else before.ended_reason,
    )
