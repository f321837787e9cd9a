"""How the events of the day change the state."""

from tallystick.config.amounts import TOKENS
from tallystick.events import catalog as e
from tallystick.events.evolve.limit_notes import rearm
from tallystick.events.evolve.tasks import relevel
from tallystick.events.state.accounts import Hold
from tallystick.events.state.counters import NEAR
from tallystick.events.state.day import DAILY_ALERTS
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.limit_rules import FLEET
from tallystick.events.state.limits import Match
from tallystick.events.state.money import Money
from tallystick.events.state.slot_time import micros

DAY = "day"


def begin(ledger: Ledger, event: "e.ConfigLoaded | e.DayBegan") -> None:
    """It is the day that an event says; configurations of an older log do not say."""
    ends_at = event.day_ends_at if isinstance(event, e.ConfigLoaded) else event.ends_at
    day, limits = ledger.day, ledger.limits
    if event.date is not None and ends_at is not None:
        now = micros(event.at)
        limits.enter_windows({DAY: micros(ends_at)}, event, keep=event.date == day.date)
        day.enter(event.date, ends_at, event.position, now)
    if isinstance(event, e.ConfigLoaded):
        day.configure(ledger.rules.limits, limits.began.get(DAY, 0))
    ledger.watch = None


def use(ledger: Ledger, product: str | None, used: Money) -> None:
    """What is used counts today: for the fleet, and for a product."""
    day, began = ledger.day, ledger.limits.began.get(DAY, 0)
    counter = day.fleet.counters[FLEET]
    if counter.opened != began:
        counter.enter(day.fleet.rule, began, began)
    # The fleet's lines are looked at elsewhere (`breaker`): no place is compared with one here.
    total = counter.used
    total[0] += used[0]
    total[1] += used[1]
    total[2] += used[2]
    day.near = None
    if product is not None:
        state = day.products.get(product) or day.product(product, ledger.rules.limits, began)
        counter = state.counters[product]
        if counter.count(state.rule, used, began, began) & NEAR:
            day.near = Match(state, product, counter)


def use_said(ledger: Ledger, product: str | None, event: "e.UsageReported | e.HoldSettled | e.HoldSpent") -> None:
    """What an event says was used counts today, if it counts on this day."""
    if event.counts_on is None or ledger.day.counts(event.counts_on):
        use(ledger, product, (event.tokens, event.time_ms, event.cost_nanos))
    else:
        ledger.day.near = None


def product_without_account(ledger: Ledger, event: e.UsageReported) -> str | None:
    """Usage of an agent without an account counts for the product that it had, or that of the account that pays."""
    task, closed = ledger.tasks.get(event.agent), ledger.released.get(event.agent)
    if event.product is not None or event.life is not None:
        return event.product
    if task is not None:
        return task.product
    if closed is not None:
        return closed.budget_product
    return None if event.charged is None else ledger.accounts[event.charged].budget_product


def correct(ledger: Ledger, event: e.UsageCorrected) -> None:
    """The day at hand counts a correction where the record is of today, and the last hour where it is of that."""
    day = ledger.day
    day.correct(event.record.used_at, event.tokens, event.cost_nanos)
    day.near = None
    if event.record.position >= day.began and day.counts(event.record.counts_on):
        use(ledger, event.product, event.difference)


def use_earlier(ledger: Ledger, event: "e.UsageReported | e.HoldSettled") -> None:
    """What was just booked was used earlier: the last hour counts it only if it was in it."""
    ledger.day.correct(event.used_at, event.tokens, event.cost_nanos)
    ledger.watch = None


def hold_for(ledger: Ledger, hold: Hold, sign: int) -> None:
    """What is set aside counts for the day, for a product, and as a part of what a run may use; or no longer does."""
    product, run, tokens = hold.account.budget_product, hold.account.run, hold.amount[TOKENS]
    day = ledger.day
    held, amount = day.counter.held, hold.amount
    held[0] += sign * amount[0]
    held[1] += sign * amount[1]
    held[2] += sign * amount[2]
    if product is not None and tokens:
        began = ledger.limits.began.get(DAY, 0)
        day.product(product, ledger.rules.limits, began).counters[product].held[0] += sign * tokens
    if run is not None:
        ledger.commitments.hold(run, hold.amount, sign)


def override_priority(ledger: Ledger, event: e.PriorityOverridden) -> None:
    """The tasks of a product have another priority."""
    ledger.rules = ledger.rules.with_priority(event.product, event.priority)
    relevel(ledger)


def note_alert(ledger: Ledger, event: e.AlertRaised) -> None:
    """An alert that is given once a day was given."""
    if event.code in DAILY_ALERTS:
        counter = ledger.day.counter
        counter.alerted = {**(counter.alerted or {}), event.code: micros(event.at)}


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
    """Limits are raised for today; the alerts that lie ahead again are given again."""
    day = ledger.day
    day.approve(event.limits)
    rearm(ledger.limits, day.fleet, FLEET, day.counter, micros(event.at))
    ledger.watch = None
