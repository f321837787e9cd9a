"""Explains limits: their windows, how near they are, what operators raise and providers refuse."""

from tallystick.config.limits import MEASURES, shown
from tallystick.events import catalog as e
from tallystick.events.decide.answers import stamp
from tallystick.events.decide.limit_readings import window_words
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.limit_rules import LimitRule
from tallystick.explain.history import History
from tallystick.explain.row import Row, Rows, Style


def _amount(measure: str, units: int) -> str:
    value = shown(MEASURES.index(measure), units)
    return f"{value:,} {measure}" if isinstance(value, int) else f"{value} {measure}"


def _rule(ledger: Ledger, name: str) -> LimitRule:
    """A limit of the configuration, or of an account."""
    state = ledger.limits.states.get(name)
    return ledger.rules.limits.named(name) if state is None else state.rule


def _says_began(event: e.LimitWindowsBegan, say: Style) -> str:
    ends = ", ".join(f"the {kind} until {say.time(at)}" for kind, at in event.window_ends.items())
    return f"windows of limits began: {ends}"


def _why_began(event: e.LimitWindowsBegan, ledger: Ledger, history: History) -> list[str]:
    zone = ledger.rules.config.timezone
    return [
        f"they begin as the clocks in {zone} say (timezone{history.since(e.ConfigLoaded)})",
        "nothing is used in them; what is held counts in them, and limits that were raised are as configured again",
    ]


def _setting(rule: LimitRule) -> str:
    """Where a limit is configured."""
    return f"products.{rule.config.match['product']}.token_budget_daily" if rule.is_shorthand else "limits"


def _says_line(event: e.LimitLine, say: Style) -> str:
    used, most = _amount(event.measure, event.used_units), _amount(event.measure, event.max_units)
    return f"limit {event.limit_name} of {event.scope_value} came to {event.percent} %: {used} of {most}"


def _why_line(event: e.LimitLine, ledger: Ledger, history: History) -> list[str]:
    rule = _rule(ledger, event.limit_name)
    alerts = ", ".join(f"{percent:f} %" for percent in rule.alerts)
    since = history.since(e.ConfigLoaded)
    return [
        f"it counts per {rule.config.per} in a window: {window_words(rule)} ({_setting(rule)}{since})",
        f"operators are alerted at {alerts}, once in each window and for each value",
        f"where it is reached: {rule.then} (then)",
    ]


def _says_raised(event: e.LimitRaised, say: Style) -> str:
    of = "" if event.scope_value is None else f" of {event.scope_value}"
    reason = "" if event.reason is None else f": {event.reason}"
    if not event.raised_to:
        return f"limit {event.limit_name}{of} is as configured again{reason}"
    most = ", ".join(_amount(measure, units) for measure, units in event.raised_to.items())
    until = "until it is revoked" if event.raised_until is None else f"until {say.time(event.raised_until)}"
    return f"limit {event.limit_name}{of} was raised to {most} {until}{reason}"


def _why_raised(event: e.LimitRaised, ledger: Ledger, history: History) -> list[str]:
    rule = _rule(ledger, event.limit_name)
    most = zip(rule.measures, rule.maxes, strict=True)
    configured = ", ".join(_amount(MEASURES[m], units) for m, units in most)
    return [
        f"configured is {configured} ({_setting(rule)}{history.since(e.ConfigLoaded)})",
        "an operator may raise a limit until its window ends; alerts that lie ahead again are given again",
    ]


def _says_refused(event: e.ProviderRefused, say: Style) -> str:
    of = "" if event.model is None else f" of {event.model}"
    again = "" if event.retry_after_ms is None else f": it may be asked again after {event.retry_after_ms / 1_000:g} s"
    return f"the provider{of} refused a request of {event.agent} for its pace{again}"


def _why_refused(event: e.ProviderRefused, ledger: Ledger, history: History) -> list[str]:
    if not event.closed_counters:
        return ["no limit with then: wait matches such requests, so that nothing waits for it"]
    until = ", ".join(
        f"{one.limit_name} of {one.scope_value} until {stamp(one.until)}" for one in event.closed_counters
    )
    return [f"limits with then: wait that match grant nothing: {until} (limits{history.since(e.ConfigLoaded)})"]


ROWS: Rows = {
    e.LimitWindowsBegan: Row(_says_began, _why_began),
    e.LimitLine: Row(_says_line, _why_line, after=(e.ConfigLoaded, e.LimitRaised)),
    e.ProviderRefused: Row(_says_refused, _why_refused, after=(e.ConfigLoaded,)),
    e.LimitRaised: Row(_says_raised, _why_raised, after=(e.ConfigLoaded, e.LimitLine)),
}
