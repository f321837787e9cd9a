"""How the events of the day change the state."""

from tallystick.config.amounts import TOKENS
from tallystick.events import catalog as e
from tallystick.events.evolve.tasks import relevel
from tallystick.events.state.accounts import Hold
from tallystick.events.state.day import DAILY_ALERTS
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import plus


def begin(ledger: Ledger, event: "e.ConfigLoaded | e.DayBegan") -> None:
    """It is the day that an event says; configurations of an older log do not say."""
    ends_at = event.day_ends_at if isinstance(event, e.ConfigLoaded) else event.ends_at
    if event.date is not None and ends_at is not None:
        ledger.day.enter(event.date, ends_at, ledger.spent, event.position)
    ledger.watch = None


def used_without_account(ledger: Ledger, event: e.UsageReported) -> None:
    """Usage of an agent without an account counts for the product that it had, or that of the account that pays."""
    task, closed = ledger.tasks.get(event.agent), ledger.released.get(event.agent)
    if event.product is not None or event.life is not None:
        product = event.product
    elif task is not None:
        product = task.product
    elif closed is not None:
        product = closed.budget_product
    else:
        product = None if event.charged is None else ledger.accounts[event.charged].budget_product
    if product is not None and ledger.day.counts(event.counts_on):
        ledger.day.by_product[product] += event.tokens


def use_earlier(ledger: Ledger, event: "e.UsageReported | e.HoldSettled") -> None:
    """What was just booked was used earlier: the last hour, and the day at hand, count it only if it was in them."""
    day = ledger.day
    day.correct(event.used_at, event.tokens, event.cost_nanos)
    if not day.counts(event.counts_on):
        day.opening = plus(day.opening, (event.tokens, event.time_ms, event.cost_nanos))
    ledger.watch = None


def hold_for(ledger: Ledger, hold: Hold, sign: int) -> None:
    """What is set aside counts for a product, and as a part of what a run may use; or no longer does."""
    product, run, tokens = hold.account.budget_product, hold.account.run, hold.amount[TOKENS]
    if product is not None and tokens:
        held = ledger.day.held_by_product
        held[product] += sign * tokens
        if not held[product]:
            del held[product]
    if run is not None:
        ledger.commitments.hold(run, hold.amount, sign)


def override_priority(ledger: Ledger, event: e.PriorityOverridden) -> None:
    """The tasks of a product have another priority."""
    ledger.rules = ledger.rules.with_priority(event.product, event.priority)
    relevel(ledger)


def note_alert(ledger: Ledger, event: e.AlertRaised) -> None:
    """An alert that is given once a day was given."""
    if event.code in DAILY_ALERTS:
        ledger.day.alerts[event.code] = None


def trip_breaker(ledger: Ledger, event: e.BreakerTripped) -> None:
    """The circuit breaker opens."""
    ledger.day.tripped = event.condition
    ledger.watch = None


def close_breaker(ledger: Ledger, event: e.BreakerClosed) -> None:
    """The circuit breaker closes; the silenced conditions do not open it again today."""
    ledger.day.tripped = None
    ledger.day.silenced |= dict.fromkeys(event.silenced)
    ledger.watch = None


def approve_limit(ledger: Ledger, event: e.LimitApproved) -> None:
    """Limits are raised for today."""
    ledger.day.approved = event.limits
    ledger.watch = None
