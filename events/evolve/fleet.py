"""How the events of the whole fleet change the state: what is in force, pauses, alerts, response."""

import datetime as dt

from tallystick.config.loader import restore
from tallystick.config.prices import from_mapping as prices_from_mapping
from tallystick.events import catalog as e
from tallystick.events.evolve import charged, day
from tallystick.events.evolve.tasks import relevel, resume_leases
from tallystick.events.state import outbox
from tallystick.events.state.bills import Bill, put_bill
from tallystick.events.state.holds import move_expiries
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.task_rules import priorities_of


def begin_total(ledger: Ledger, event: "e.TotalBudgetSet | e.PeriodRenewed") -> None:
    """With another total the period's end is another, the reserve is closed, and the response is looked at anew."""
    ledger.budget = event.budget.triple
    if isinstance(event, e.PeriodRenewed):
        ledger.period_began, ledger.period_began_at = event.position, event.began_at
    ledger.period_ends = event.period_ends_at
    ledger.reserve_open = False
    ledger.pool_exhausted_at = 0
    ledger.find_response_lines()


def load_config(ledger: Ledger, event: e.ConfigLoaded) -> None:
    """A configuration is in force; leases start anew where it ends a pause."""
    was_paused = ledger.is_paused
    before, ledger.rules = ledger.rules, ledger.rules.with_config(restore(event.config))
    if priorities_of(before.config) != priorities_of(ledger.rules.config):
        relevel(ledger)
    if not ledger.configured:
        ledger.configured, ledger.period_began_at = True, event.at
    ledger.rules_version = max(ledger.rules_version, event.rules)
    charged.configure(ledger)
    day.begin(ledger, event)
    ledger.find_response_lines()
    if ledger.outbox:
        outbox.keep_reachable(ledger.outbox, ledger.rules.config)
    if was_paused and not ledger.is_paused:
        resume_all_leases(ledger, event)


def adopt_rules(ledger: Ledger, event: e.RulesAdopted) -> None:
    """Decisions follow a newer version of the rules; an older one never comes back."""
    ledger.rules_version = max(ledger.rules_version, event.rules)


def load_prices(ledger: Ledger, event: e.PricesLoaded) -> None:
    """A price list is in force; missing prices are pointed out again."""
    ledger.rules = ledger.rules.with_prices(prices_from_mapping(event.prices, event.published))
    ledger.unpriced = {}


def keep_bill(ledger: Ledger, event: e.BillReconciled) -> None:
    """What came of a bill is known; nothing else follows from it."""
    put_bill(ledger.bills, event.provider, bill_of(event))


def bill_of(event: e.BillReconciled) -> Bill:
    """A bill as the state keeps it."""
    figures = (event.billed_nanos, event.explained_nanos, event.reported_nanos)
    return Bill(event.bill, event.first_day, event.last_day, *figures)


def open_again(ledger: Ledger, event: e.FleetOpened) -> None:
    """The fleet hears again; leases begin anew."""
    ledger.opened_at = event.at
    ledger.leases.renew(event.at)
    if event.leases_until is not None:
        ledger.tasks.renew(event.leases_until)


def part_clock(ledger: Ledger, event: e.ClockApart) -> None:
    """The machine's clock is not followed."""
    ledger.clock_apart_ms = event.apart_ms


def join_clock(ledger: Ledger, event: "e.ClockTogether | e.ClockAccepted") -> None:
    """The machine's clock is followed."""
    ledger.clock_apart_ms = 0


def step_ahead(ledger: Ledger, event: e.ClockAccepted) -> None:
    """Time goes on from a later moment. The step is no operation: nothing ends by it, and no pace is taken from it."""
    if event.keeps_time_left:
        step = dt.timedelta(milliseconds=event.ahead_ms)
        move_expiries(ledger, step)
        ledger.tasks.move_leases(step)
        ledger.opened_at = event.at


def put_alert(ledger: Ledger, event: e.AlertRaised) -> None:
    """An alert waits to be delivered."""
    outbox.put(ledger.outbox, ledger.rules.config, event)


def settle_alert(ledger: Ledger, event: "e.AlertDelivered | e.AlertDeliveryFailed") -> None:
    """An alert no longer waits for one address."""
    outbox.settle(ledger.outbox, event.alert, (event.to, event.address))


def pause(ledger: Ledger, event: e.FleetPaused) -> None:
    """Everything is paused."""
    ledger.paused = event.reason


def resume(ledger: Ledger, event: e.FleetResumed) -> None:
    """A pause ends; leases start anew."""
    was_paused, ledger.paused = ledger.is_paused, None
    if was_paused and not ledger.is_paused:
        resume_all_leases(ledger, event)


def resume_all_leases(ledger: Ledger, event: e.Event) -> None:
    """Everything may go on: runs and agents have a whole lease's time to give a sign of life."""
    resume_leases(ledger, event)
    ledger.leases.renew(event.at)


def release_reserve(ledger: Ledger, event: e.ReserveReleased) -> None:
    """The reserve is open to critical agents."""
    ledger.reserve_open = True


def change_response(ledger: Ledger, event: e.FleetResponseChanged) -> None:
    """The fleet has another response to pressure."""
    ledger.response = e.RESPONSES.index(event.response)
    ledger.find_response_lines()


def note_pool_exhausted(ledger: Ledger, event: e.PoolExhausted) -> None:
    """The pool is exhausted; every open account learns of it with its next reply."""
    ledger.pool_exhausted_at = event.position


def give_specialist_up(ledger: Ledger, event: e.SpecialistGivenUp) -> None:
    """A specialist is there no more."""
    ledger.given_up[event.specialist] = event.reason


def restore_specialist(ledger: Ledger, event: e.SpecialistRestored) -> None:
    """A specialist is there again."""
    ledger.given_up.pop(event.specialist, None)
