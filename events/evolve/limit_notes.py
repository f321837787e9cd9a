"""How events change what is known of limits beside what they have counted: raises, alerts, refusals of providers."""

from tallystick.config.limits import MEASURES, PRODUCT_DAILY
from tallystick.events import catalog as e
from tallystick.events.state.agent_leases import hear
from tallystick.events.state.counters import Counter
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.limit_rules import CONCURRENT, lines_of
from tallystick.events.state.limits import ALL, Approved, Limits, LimitState
from tallystick.events.state.slot_time import micros


def state_named(ledger: Ledger, name: str) -> LimitState:
    """What a limit has counted: also one that another setting is short for."""
    if name.startswith(PRODUCT_DAILY):
        return ledger.day.products[name.removeprefix(PRODUCT_DAILY)]
    return ledger.limits.states[name]


def raise_limit(ledger: Ledger, event: e.LimitRaised) -> None:
    """A limit is raised; the alerts that lie ahead again are given again."""
    limits, now = ledger.limits, micros(event.at)
    state = state_named(ledger, event.limit_name)
    key = ALL if event.scope_value is None else event.scope_value
    kept = {value: one for value, one in state.approved.items() if one.is_in_force(now)}
    state.approved = kept
    kept.pop(key, None)
    if event.raised_to:
        units = tuple(event.raised_to.get(name) for name in MEASURES)
        kept[key] = Approved(units, None if event.raised_until is None else micros(event.raised_until))
    for value, counter in state.counters.items():
        if counter.alerted is not None and event.scope_value in (None, value):
            rearm(limits, state, value, counter, now)


def rearm(limits: Limits, state: LimitState, value: str, counter: Counter, now: int) -> None:
    """The percentages that a counter is below again are ahead again."""
    rule, began = state.rule, limits.began_at(state.rule)
    reached: set[str] = set()
    for place, m in enumerate(rule.measures):
        if m != CONCURRENT:
            used = counter.used_at(rule, place, began, now)
            lines = zip(rule.keys[place], lines_of(rule, state.most(value, place, now)), strict=True)
            reached.update(key for key, line in lines if used >= line)
    counter.alerted = {text: at for text, at in (counter.alerted or {}).items() if text in reached} or None


def note_line(ledger: Ledger, event: e.LimitLine) -> None:
    """Operators know that a counter has come to a percentage."""
    limits, now = ledger.limits, micros(event.at)
    state = state_named(ledger, event.limit_name)
    counter = limits.counter(state, event.scope_value)
    counter.alerted = {**(counter.alerted or {}), event.percent: now}


def note_full(ledger: Ledger, event: e.AlertRaised) -> None:
    """Operators know that there are too many counters."""
    if event.code == "limit_counters_full":
        ledger.limits.full = True


def close_for_provider(ledger: Ledger, event: e.ProviderRefused) -> None:
    """A provider has refused a request: the limits that pace such requests grant nothing for a time."""
    now = micros(event.at)
    for one in event.closed_counters:
        ledger.limits.states[one.limit_name].close(one.scope_value, micros(one.until), now)
    account = ledger.accounts.get(event.agent)
    if account is not None:
        hear(account, event.at)
