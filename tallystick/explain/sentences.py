"""What an event says, in a sentence for people. Every number in it is exact, and stands in the event itself."""

from collections.abc import Callable
from typing import Any

from tallystick.cli.common import shown_time
from tallystick.config.amounts import Amounts, Triple, dollars, seconds
from tallystick.events import catalog as e
from tallystick.events.state.accounts import POOL
from tallystick.explain.task_sentences import sentences

CAUSES = {
    "under_estimate": "more was used than had been allocated or held",
    "late_report": "usage was reported after the account was closed or the hold had ended",
    "unpriced_model": "a model without a price was charged as the dearest known one",
    "override": "an operator ordered it",
}


def amounts(triple: Triple) -> str:
    """``1,000 tokens, 3 s and $0.0125``; ``nothing`` where there is nothing."""
    tokens, time_ms, cost_nanos = triple
    parts = []
    if tokens is not None:
        parts.append(f"{tokens:,} token{'s' if tokens != 1 else ''}")
    if time_ms is not None:
        parts.append(f"{seconds(time_ms):,} s")
    if cost_nanos is not None:
        parts.append(f"${dollars(cost_nanos)}")
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:]))) or "nothing"


def used(event: "e.UsageReported | e.HoldSettled") -> str:
    """What a report used, without the dimensions that it did not."""
    return amounts((event.tokens or None, event.time_ms or None, event.cost_nanos or None))


def unit(dimension: str) -> str:
    """A dimension's name in a sentence."""
    return {"tokens": "tokens", "time_seconds": "time", "cost_usd": "cost"}.get(dimension, dimension)


def percent(ratio: float) -> str:
    """A ratio as a percentage, exact to the six places that events carry."""
    return f"{ratio * 100:.4f}".rstrip("0").rstrip(".") + " %"


def sentence(event: e.Event) -> str:
    """What happened."""
    return _SENTENCES[type(event)](event)


def _prices(event: e.PricesLoaded) -> str:
    written = f"{len(event.prices)} written price{'s' if len(event.prices) != 1 else ''}"
    over = f", over those of {event.published['source']}," if event.published else ""
    return f"a list of {written}{over} came into force (sha256 {event.sha256[:16]}…)"


def _ends(event: e.AlertDeliveryFailed) -> str:
    return {
        "not_accepted": f"it was not accepted in {event.attempts} attempts",
        "outbox_full": "too many alerts waited, and it was the oldest",
    }[event.reason]


def _some(amount: Amounts) -> str:
    return amounts(amount.triple)


def _the(name: str) -> str:
    return f"the {name}" if name in ("pool", "reserve", "overdraft") else name


def _total(event: "e.TotalBudgetSet | e.PeriodRenewed") -> str:
    debt = event.overdraft
    owed = "" if not any(debt.triple) else f", overdraft {_some(debt)}"
    ends = "" if event.period_ends_at is None else f", until {shown_time(event.period_ends_at)}"
    return f"{_some(event.budget)}, of which {_some(event.reserve)} in reserve{owed}{ends}"


def _allocated(event: e.BudgetAllocated) -> str:
    labels = (event.agent_type, event.product, event.workflow)
    named = "".join(
        f", {what} {label}" for what, label in zip(("type", "product", "workflow"), labels, strict=True) if label
    )
    demand = ", on its own demand" if event.on_demand else ""
    source = _the(event.parent or POOL)
    return (
        f"{event.agent} was opened with {_some(event.amount)} from {source}{demand} (priority {event.priority}{named})"
    )


def _usage(event: e.UsageReported) -> str:
    text = f"{event.agent} reported {used(event)}"
    if event.operation is not None:
        text += f" for {event.operation}"
    if event.model is not None:
        text += f" on {event.model}"
    if event.unpriced:
        text += f", which has no price: charged as {event.priced_as}"
    if event.hold is not None:
        text += f", settling hold {event.hold} after its end"
    elif event.late:
        text += ", after its release"
    if event.unallocated:
        text += ", without an allocation"
    if event.charged is not None:
        text += f", charged to {event.charged}"
    return text


def _covered(event: e.Covered) -> str:
    cause = CAUSES.get(event.cause, event.cause)
    return f"{_the(event.source)} covered {_some(event.amount)} for {_the(event.target)}: {cause}"


def _released(event: e.BudgetReleased) -> str:
    told = f"{_some(event.consumed)} of {_some(event.allocated)} used"
    return f"{event.agent} was released: {told}, {_some(event.unused)} given back"


def _ended(event: e.HoldEnded) -> str:
    return {
        "expired": f"hold {event.hold} of {event.agent} expired: nobody had settled it in time",
        "cancelled": f"hold {event.hold} of {event.agent} was cancelled",
        "released": f"hold {event.hold} of {event.agent} was given back with the release of its account",
    }[event.how]


def _refused(event: e.RequestRefused) -> str:
    of = "" if event.agent is None else f" of {event.agent}"
    return f"{event.request}{of} was refused, {event.code}: {event.detail}"


def _response(event: e.FleetResponseChanged) -> str:
    what = f"from {event.before} to {event.response}"
    return f"the fleet's response went {what} at a pressure of {percent(event.pressure)} ({unit(event.dimension)})"


def _breaker_closed(event: e.BreakerClosed) -> str:
    silenced = f"; for the rest of the day it ignores {', '.join(event.silenced)}" if event.silenced else ""
    return f"the circuit breaker was closed{silenced}"


def _overridden(event: e.PriorityOverridden) -> str:
    why = "" if event.reason is None else f": {event.reason}"
    if event.priority is None:
        return f"the tasks of {event.product} have their own priorities again{why}"
    return f"all tasks of {event.product} are {event.priority} from here on{why}"


def _level(event: e.LevelChanged) -> str:
    change = f"from {event.before} to {event.level}"
    return f"{event.agent} went {change} at {percent(event.percentage)} of its {unit(event.dimension)}"


def _foretold(event: e.ForecastMade) -> str:
    why = {
        "shown": "it was shown",
        "warning": "to warn of it",
        "demand": "to plan by it",
        "stage": "another tenth was consumed",
    }[event.why]
    told = ", ".join(
        f"{unit(p.dimension)} used up at step {p.predicted:.1f} ({p.low:.1f} to {p.high:.1f}; {p.method})"
        for p in event.predictions
    )
    return f"a forecast for {event.agent} ({why}): {told}"


def _scored(event: e.ForecastScored) -> str:
    count = len(event.forecasts)
    told = f"{count} forecast{'s' if count != 1 else ''} had said {', '.join(f'{o.predicted:.1f}' for o in event.forecasts)}"
    return f"{event.agent} consumed {unit(event.dimension)} that were foretold at step {event.actual:.1f}: {told}"


_SENTENCES: dict[type[e.Event], Callable[[Any], str]] = {
    e.ConfigLoaded: lambda x: f"a configuration came into force (sha256 {x.sha256[:16]}…)",
    e.PricesLoaded: _prices,
    e.TotalBudgetSet: lambda x: f"the fleet's budget is {_total(x)}",
    e.PeriodRenewed: lambda x: f"a budget period began: {_total(x)}",
    e.FleetPaused: lambda x: f"everything was paused: {x.reason}",
    e.FleetResumed: lambda x: "the pause was ended",
    e.ReserveReleased: lambda x: f"the emergency reserve was opened for critical agents: {x.reason}",
    e.FleetResponseChanged: _response,
    e.PoolExhausted: lambda x: f"the pool ran short, with {_some(x.available)} free: every open agent is told once",
    e.AlertRaised: lambda x: f"alert {x.code}: {x.message}",
    e.AlertDelivered: lambda x: f"alert {x.alert} was delivered to {x.to} (address {x.address})",
    e.AlertDeliveryFailed: lambda x: f"alert {x.alert} was not delivered to {x.to} (address {x.address}): {_ends(x)}",
    e.DayBegan: lambda x: f"the day {x.date} began, until {shown_time(x.ends_at)}",
    e.BreakerTripped: lambda x: f"the circuit breaker tripped: {x.because}",
    e.BreakerClosed: _breaker_closed,
    e.BreakerReset: lambda x: f"the circuit breaker was reset: {x.reason}",
    e.LimitApproved: lambda x: f"limits were raised for {x.date}: {_some(x.limits)}",
    e.PriorityOverridden: _overridden,
    e.BudgetAllocated: _allocated,
    e.BudgetDrawn: lambda x: f"{x.agent} {'borrowed' if x.borrowed else 'drew'} {_some(x.amount)}",
    e.BudgetReturned: lambda x: f"{x.agent} gave {_some(x.amount)} back",
    e.BudgetMoved: lambda x: (
        f"{_some(x.amount)} moved from {_the(x.source)} to {_the(x.target)} ({x.strategy}): {x.reason}"
    ),
    e.Rebalanced: lambda x: f"a plan of {x.moves} move{'s' if x.moves != 1 else ''} was applied",
    e.UnusedReturned: lambda x: f"{x.agent} is stopped and gave back what it had free elsewhere: {_some(x.amount)}",
    e.UnusedRestored: lambda x: f"{x.agent} may go on and got back what its stop had given back: {_some(x.amount)}",
    e.ReserveDrawn: lambda x: f"the emergency reserve gave {_some(x.amount)} for {x.agent}",
    e.Covered: _covered,
    e.CoverRepaid: lambda x: f"{_the(x.source)} repaid {_some(x.amount)} to {_the(x.target)}",
    e.BudgetReleased: _released,
    e.UsageReported: _usage,
    e.HoldPlaced: lambda x: f"{x.agent} set {_some(x.amount)} aside in hold {x.hold}, until {shown_time(x.expires_at)}",
    e.HoldExtended: lambda x: f"hold {x.hold} of {x.agent} now lasts until {shown_time(x.expires_at)}",
    e.HoldSettled: lambda x: f"{x.agent} settled hold {x.hold}: {used(x)} used",
    e.HoldEnded: _ended,
    e.LevelChanged: _level,
    e.AgentThrottled: lambda x: f"{x.agent} was throttled to {x.rate} of normal speed",
    e.AgentStopped: lambda x: f"{x.agent} was stopped: {x.reason}",
    e.AgentResumed: lambda x: f"{x.agent} was resumed",
    e.ExhaustionWarned: lambda x: (
        f"{x.agent} was warned: its budget would be used up in {x.exhausted_in_seconds} s ({x.method})"
    ),
    e.ForecastMade: _foretold,
    e.ForecastScored: _scored,
    e.RunLearned: lambda x: f"the run of {x.agent} was learnt from: {_some(x.consumed)} in {x.steps} steps",
    e.AnomalyFound: lambda x: f"step {x.step} of {x.agent} stands out: {x.message}",
    e.RequestRefused: _refused,
    e.AgentHeard: lambda x: f"{x.agent} gave a sign of life",
    e.SnapshotRecorded: lambda x: f"a snapshot of the state at position {x.upto} was taken (sha256 {x.sha256[:16]}…)",
    **sentences(_some),
}
