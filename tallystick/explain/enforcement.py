"""Explains levels, throttles, stops, warnings and refusals."""

from typing import Any

from tallystick.config.amounts import EDGE_NAMES
from tallystick.events import catalog as e
from tallystick.events.state.ledger import Ledger
from tallystick.explain.history import History
from tallystick.explain.row import Row, Rows, Style, only, unit
from tallystick.wording import amounts, exact_percent

THRESHOLDS = ("warn_at", "throttle_at", "degrade_at", "stop_at")
"""The settings at which the levels begin, from yellow on."""
_LED_TO_REFUSAL: dict[str, tuple[type[e.Event], ...]] = {
    "budget_exhausted": (e.BudgetAllocated, e.LevelChanged),
    "pool_exhausted": (e.TotalBudgetSet, e.PeriodRenewed, e.FleetResponseChanged),
    "pool_share_exceeded": (e.ConfigLoaded,),
    "below_minimum_share": (e.ConfigLoaded,),
    "below_committed": (e.TotalBudgetSet, e.PeriodRenewed),
    "already_allocated": (e.BudgetAllocated,),
    "already_released": (e.BudgetReleased,),
    "agent_stopped": (e.AgentStopped, e.OverdraftExceeded),
    "breaker_open": (e.BreakerTripped,),
    "daily_limit_reached": (e.ConfigLoaded, e.DayBegan, e.LimitApproved),
    "limit_not_raised": (e.ConfigLoaded,),
    "limit_reached": (e.ConfigLoaded, e.LimitWindowsBegan, e.LimitRaised, e.LimitLine, e.ProviderRefused),
    "unknown_limit": (e.ConfigLoaded,),
    "paused": (e.FleetPaused, e.ConfigLoaded),
    "throttled": (e.LevelChanged, e.AgentThrottled),
    "lease_lost": (e.LeaseLost, e.TaskPreempted, e.TaskCancelled, e.TaskGivenUp),
    "already_finished": (e.TaskCompleted, e.TaskCancelled, e.TaskGivenUp),
    "already_submitted": (e.TaskSubmitted,),
    "not_running": (e.TaskSubmitted, e.TaskQueued, e.DependenciesAwaited),
    "not_permitted": (e.ConfigLoaded,),
}
"""What stands behind a refusal, by its code."""
_LED_TO_ACTION: dict[str, tuple[type[e.Event], ...]] = {
    "level": (e.LevelChanged,),
    "fleet_response": (e.FleetResponseChanged,),
    "pause_all": (e.FleetPaused, e.ConfigLoaded),
    "product_pause": (e.ConfigLoaded,),
    "throttle": (e.AgentThrottled,),
    "stop": (e.AgentStopped,),
    "overdraft": (e.OverdraftExceeded,),
    "ancestor_stop": (e.AgentStopped, e.OverdraftExceeded, e.LevelChanged),
    "ancestor_throttle": (e.AgentThrottled,),
}
"""What stands behind the action in a reply, by its ``decided_by``."""


def behind_action(decided_by: object, agent: str, ledger: Ledger, history: History) -> list[int | None]:
    """The positions of what stood behind the action in a reply to an agent; ``decided_by`` is the reply's own."""
    kinds = _LED_TO_ACTION.get(str(decided_by), ())
    if str(decided_by).startswith("limit:"):
        kinds = (e.ConfigLoaded, e.LimitLine)
    if not str(decided_by).startswith("ancestor"):
        return [history.newest(kind, agent) for kind in kinds]
    account = ledger.accounts.get(agent)
    ancestor = None if account is None else account.parent
    while ancestor is not None and ancestor is not ledger.root:
        found = [history.newest(kind, ancestor.id) for kind in kinds]
        if any(found):
            return found
        ancestor = ancestor.parent
    return []


def _says_level(event: e.LevelChanged, say: Style) -> str:
    change = f"from {event.before} to {event.level}"
    of = unit(event.dimension) if event.limit_name is None else f"limit {event.limit_name} ({event.dimension})"
    return f"{event.agent} went {change} at {say.percent(event.percentage)} of its {of}"


def _why_level(event: e.LevelChanged, ledger: Ledger, history: History) -> list[str]:
    account = ledger.accounts[event.agent]
    if account.carves_nothing:
        lines = ["it was granted nothing of its own: its level is that of the limit of which most is used"]
        return lines + _thresholds(event, ledger, history)
    d = EDGE_NAMES.index(event.dimension)
    consumed, base = only(d, account.consumed(d)), only(d, account.base(d))
    lines = [f"{consumed} used of {base}: {exact_percent(event.percentage)} of its {unit(event.dimension)}"]
    if account.delegated[d]:
        allocated, delegated = only(d, account.allocated[d]), only(d, account.delegated[d])
        lines.append(f"its allocation is {allocated}, of which its sub-agents were granted {delegated}")
    return lines + _thresholds(event, ledger, history)


def _thresholds(event: e.LevelChanged, ledger: Ledger, history: History) -> list[str]:
    """Where the level that was reached begins, and the next one."""
    lines = []
    in_force = history.since(e.ConfigLoaded)
    rank = e.LEVELS.index(event.level)
    if rank:
        at = exact_percent(float(ledger.rules.level_at[rank - 1]))
        lines.append(f"{event.level} begins at {at} (enforcement.{THRESHOLDS[rank - 1]}{in_force})")
    if rank < len(THRESHOLDS):
        at = exact_percent(float(ledger.rules.level_at[rank]))
        lines.append(f"{e.LEVELS[rank + 1]} would begin at {at} (enforcement.{THRESHOLDS[rank]}{in_force})")
    return lines


def _why_warned(event: e.ExhaustionWarned, ledger: Ledger, history: History) -> list[str]:
    seconds = ledger.rules.config.enforcement.warn_before_exhaustion_seconds
    setting = f"enforcement.warn_before_exhaustion_seconds{history.since(e.ConfigLoaded)}"
    return [f"agents are warned once when less than {seconds} s are left ({setting})"]


def _report_behind_warning(event: e.ExhaustionWarned, ledger: Ledger, history: History) -> list[int | None]:
    _, _, report = event.id.rpartition("warn-")
    return [int(report) if report.isdigit() else None]


def _says_refused(event: e.RequestRefused, say: Style) -> str:
    of = "" if event.agent is None else f" of {event.agent}"
    return f"{event.request}{of} was refused, {event.code}: {event.detail}"


def _why_refused(event: e.RequestRefused, ledger: Ledger, history: History) -> list[str]:
    lines = [f"{name}: {_plain(value)}" for name, value in event.numbers.items() if value is not None]
    account = ledger.accounts.get(event.agent or "")
    if account is not None:
        lines.append(
            f"{account.id} was {e.LEVELS[account.level]}, with {amounts(account.remaining_all())} remaining of "
            f"{amounts(account.allocated)}"
        )
    return lines


def _plain(value: Any) -> str:
    """A number of a refusal: amounts by name, anything else as it is."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {number}" for name, number in value.items()) or "nothing"
    return str(value)


def _behind_refusal(event: e.RequestRefused, ledger: Ledger, history: History) -> list[int | None]:
    name = event.agent or ""
    found = [history.newest(kind, name) for kind in _LED_TO_REFUSAL.get(event.code, ())]
    return found + behind_action(event.numbers.get("decided_by"), name, ledger, history)


ROWS: Rows = {
    e.LastCallGiven: Row(
        lambda x, say: f"{x.agent} learned of its last call: {say.amounts(x.left)} is left, {say.amounts(x.kept)} kept",
        "an operation as large as its largest may reach into what is kept for a last one (enforcement.last_call)",
    ),
    e.LevelChanged: Row(_says_level, _why_level, after=(e.BudgetAllocated, e.LevelChanged)),
    e.AgentThrottled: Row(lambda x, say: f"{x.agent} was throttled to {x.rate} of normal speed"),
    e.AgentStopped: Row(lambda x, say: f"{x.agent} was stopped: {x.reason}"),
    e.AgentResumed: Row(lambda x, say: f"{x.agent} was resumed", after=(e.AgentStopped, e.AgentThrottled)),
    e.ExhaustionWarned: Row(
        lambda x, say: f"{x.agent} was warned: its budget would be used up in {x.exhausted_in_seconds} s ({x.method})",
        _why_warned,
        also=_report_behind_warning,
    ),
    e.RequestRefused: Row(_says_refused, _why_refused, also=_behind_refusal),
}
