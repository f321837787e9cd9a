"""How the limits of accounts begin and end, and how long an account that has opened by itself must be remembered."""

from collections.abc import Iterable

from tallystick.events import catalog as e
from tallystick.events.state.accounts import Account
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.limit_rules import LimitRule, rules_of_account
from tallystick.events.state.slot_time import micros


def cap(ledger: Ledger, account: Account) -> tuple[LimitRule, ...]:
    """Put an account under its own limits, which are returned, beside those of the accounts above it."""
    assert account.parent is not None
    own = rules_of_account(account.id, account.terms.limits, ledger.rules.model_name)
    account.caps = account.parent.caps + own
    return own


def open_limits(ledger: Ledger, event: e.BudgetAllocated) -> None:
    """The limits of an account that has opened count from here on, and all that is used below it; those of one that
    opened by itself also what it opened for.
    """
    if not event.limits:
        return
    since = micros(event.used_since or event.at)
    rules = cap(ledger, ledger.accounts[event.agent])
    ledger.limits.enter_windows({kind: micros(at) for kind, at in event.limit_windows.items()}, event, keep=True)
    ledger.limits.open_account(rules, event.position, since)


def close_limits(ledger: Ledger, event: e.BudgetReleased) -> None:
    """The limits of an account end with it."""
    account = ledger.accounts[event.agent]
    if account.terms.limits:
        own = account.caps[-len(account.terms.limits) :]
        ledger.limits.close_account(own, ledger.rules.limits.calendars | {"day"})


def name_models(ledger: Ledger) -> None:
    """The catalogue of models is another: what limits of accounts match is found under its names."""
    for state in ledger.limits.of_accounts():
        state.rule.name_models(ledger.rules.model_name)


def keep_open(ledger: Ledger, rules: Iterable[LimitRule], now: int) -> None:
    """Accounts that have opened by themselves stay open as long as their limits count what was used: otherwise they
    would open again with nothing used. What is known of that never becomes earlier.
    """
    limits = ledger.limits
    for rule in rules:
        owner = None if rule.owner is None else ledger.accounts[rule.owner]
        if owner is None or not owner.terms.auto:
            continue
        state = limits.states[rule.name]
        counter = state.counters.get(owner.id)
        if counter is not None:
            owner.counts_until = max(owner.counts_until, limits.counts_until(state, counter, now))
