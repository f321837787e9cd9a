"""Why it was decided so with tasks, the day and the breaker: the rule with the numbers that it was given."""

from collections.abc import Callable
from typing import Any

from tallystick.config.amounts import COST, TOKENS, Triple
from tallystick.config.kinds import Priority
from tallystick.events import catalog as e
from tallystick.events.decide.facts import NAMED
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.task_rules import max_wait, priority_of
from tallystick.events.state.tasks import Task
from tallystick.explain.causes import History, since
from tallystick.explain.sentences import amounts
from tallystick.explain.task_sentences import lasted

_SETTINGS = {
    "daily_tokens": "daily_limits.max_tokens_total",
    "daily_cost": "daily_limits.max_cost_usd",
    "product_daily_tokens": "products.{product}.token_budget_daily",
    "product_concurrency": "products.{product}.max_concurrent_agents",
    "type_concurrency": "max_concurrent.per_type.{agent_type}",
    "total_concurrency": "max_concurrent.total",
    "product_paused": "products.{product}.paused",
    "pool_exhausted": "token_budgets × token_budget_multiplier",
    "total_exceeded": "total_budget.tokens less emergency_reserve_percent",
}
_DAILY = ("daily_tokens", "daily_cost", "product_daily_tokens")
_ONE_MILLISECOND = 1000


def _obstacle(event: "e.TaskQueued | e.TaskRejected", ledger: Ledger, history: History) -> list[str]:
    if event.code is None:
        return ["all that it depends on is completed; the allocator proposes who of those that wait starts next"]
    task = ledger.tasks.known[event.task]
    lines = []
    setting = _SETTINGS.get(event.code)
    if setting is not None:
        named = setting.format(product=task.product, agent_type=task.agent_type)
        lines.append(f"{named}{since(history, e.ConfigLoaded)}")
    if event.limit is not None:
        dollar = "$" if event.code == "daily_cost" else ""
        lines.append(f"the limit was {dollar}{event.limit}, against {dollar}{event.current}")
    if event.code in _DAILY:
        lines.append("against it count what is used and held today, and the unspent rest of every run's token budget")
    if event.code == "outranked":
        lines.append("a task that ranks higher gets a slot first: score = priority + waiting + how many it blocks")
    return lines


def _started(event: e.TaskStarted, ledger: Ledger, history: History) -> list[str]:
    task, config = ledger.tasks.known[event.task], ledger.rules.config
    waited_ms = int((event.at - event.queued_at).total_seconds() * _ONE_MILLISECOND)
    rule = event.because if event.because == NAMED else f"auto_model_selection: {event.because}"
    lines = [
        f"it had waited {lasted(max(0, waited_ms))}: nothing was in its way any more",
        f"{event.model} was chosen ({rule}{since(history, e.ConfigLoaded)})",
        (
            f"{event.max_tokens:,} tokens is its token budget of {event.token_budget:,} ×"
            f" {config.token_budget_multiplier} (token_budgets, token_budget_multiplier)"
        ),
        f"its lease ends {config.leases.seconds} s after the last sign of life (leases.seconds)",
    ]
    if event.aged:
        lines.append("aged tasks go first, the oldest before all, and no level takes their slot (scoring)")
    if task.runs > 1:
        lines.append(f"it is its run {task.runs}; only lost leases count as attempts")
    return lines


def _preempted(event: e.TaskPreempted, ledger: Ledger, history: History) -> list[str]:
    victim, config = ledger.tasks.known[event.task], ledger.rules.config
    other = ledger.tasks.known[event.beneficiary]
    level = _level(ledger, other)
    return [
        f"{other.id} is {level}, {victim.id} is {_level(ledger, victim)}",
        f"{level} may take a slot from a lower level (priority_levels.{level}.preempt_lower{since(history, e.ConfigLoaded)})",
        "the lowest level gives way first, and of that the run that is the shortest",
        (
            f"{victim.id} keeps its place in the queue, and is not preempted again for"
            f" {config.preemption_cooldown_minutes} minutes (preemption_cooldown_minutes)"
        ),
    ]


def _level(ledger: Ledger, task: Task) -> Priority:
    return priority_of(ledger.rules.config, task.product, task.named_priority)


def _lost(event: e.LeaseLost, ledger: Ledger, history: History) -> list[str]:
    leases = ledger.rules.config.leases
    in_force = since(history, e.ConfigLoaded)
    lines = [f"nobody gave a sign of life for {leases.seconds} s (leases.seconds{in_force})"]
    left = leases.max_attempts - event.attempt
    of = f"attempt {event.attempt} of {leases.max_attempts} (leases.max_attempts)"
    lines.append(f"{of}: it has failed" if left <= 0 else f"{of}: it waits again, since when it was queued")
    return lines


def _passed(event: e.TokenBudgetPassed, ledger: Ledger, history: History) -> list[str]:
    multiplier = ledger.rules.config.token_budget_multiplier
    return [
        "a token budget is a soft mark: passing it is recorded once, and stops nothing",
        f"the hard end is {multiplier} times of it (token_budget_multiplier{since(history, e.ConfigLoaded)})",
    ]


def _given_up(event: e.TaskGivenUp, ledger: Ledger, history: History) -> list[str]:
    if event.code == "budget_released":
        return ["with an account end the tasks that run on it, or wait to be paid from it"]
    ended = ledger.tasks.get(event.because)
    how = "" if ended is None else f"{ended.id} is {ended.state}: "
    return [f"{how}a task that depends on one that is not completed can never run"]


def _awaited(event: e.DependenciesAwaited, ledger: Ledger, history: History) -> list[str]:
    states = [f"{name} is {task.state}" for name in event.unfinished if (task := ledger.tasks.get(name)) is not None]
    return [*states, "it waits from the moment on at which the last of them is completed"]


def _overdue(event: e.TaskOverdue, ledger: Ledger, history: History) -> list[str]:
    task = ledger.tasks.known[event.task]
    level = _level(ledger, task)
    allowed = lasted(int(max_wait(ledger.rules.config, level).total_seconds() * _ONE_MILLISECOND))
    setting = f"priority_levels.{level}.max_wait_time_minutes{since(history, e.ConfigLoaded)}"
    return [f"a {level} task may wait {allowed} ({setting}); operators are told once"]


def _adjusted(event: e.EstimateAdjusted, ledger: Ledger, history: History) -> list[str]:
    rule = ledger.rules.config.estimates
    return [
        f"the last {event.tasks} tasks of the kind took {event.over * 100:.4g} % more than estimated, at the median",
        (
            f"above {rule.over_by_percent} % the estimate becomes the {rule.percentile}th percentile of what they took"
            f" (estimates{since(history, e.ConfigLoaded)})"
        ),
    ]


# --- the day and the breaker -----------------------------------------------------------------------------------------


def _tripped(event: e.BreakerTripped, ledger: Ledger, history: History) -> list[str]:
    settings = ledger.rules.config.circuit_breaker.when_tripped
    return [
        f"{event.condition} became true (circuit_breaker.trip_conditions{since(history, e.ConfigLoaded)})",
        *(f"{name} was {value}" for name, value in event.numbers.items()),
        "no new account is opened and no task starts until an operator or the next day closes it; what runs goes on",
        f"{settings.notify} is told (circuit_breaker.when_tripped.notify)",
    ]


def _closed(event: e.BreakerClosed, ledger: Ledger, history: History) -> list[str]:
    if event.silenced:
        return ["an operator closed it although that holds: it trips the breaker no more today"]
    return ["no condition of circuit_breaker.trip_conditions holds any more"]


def _approved(event: e.LimitApproved, ledger: Ledger, history: History) -> list[str]:
    limits, triple = ledger.rules.config.daily_limits, event.limits.triple
    configured: Triple = (
        None if triple[TOKENS] is None else limits.max_tokens_total,
        None,
        None if triple[COST] is None else limits.max_cost_nanos,
    )
    return [
        f"configured is {amounts(configured)} a day (daily_limits{since(history, e.ConfigLoaded)})",
        "an operator may raise it until the day ends (circuit_breaker.when_tripped.allow_override)",
        "an open breaker closes where no condition holds under the raised limit",
    ]


def _began(event: e.DayBegan, ledger: Ledger, history: History) -> list[str]:
    zone = ledger.rules.config.timezone
    return [
        f"days begin at midnight in {zone} (timezone{since(history, e.ConfigLoaded)})",
        "nothing of the daily limits is used, limits that were raised are as configured again, and the breaker is closed",
    ]


def _overridden(event: e.PriorityOverridden, ledger: Ledger, history: History) -> list[str]:
    return ["it stands above what a task names and above products and manual_override.priority_override of the file"]


RULES: dict[type[e.Event], Callable[[Any, Ledger, History], list[str]]] = {
    e.TaskQueued: _obstacle,
    e.TaskRejected: _obstacle,
    e.TaskStarted: _started,
    e.TaskPreempted: _preempted,
    e.LeaseLost: _lost,
    e.TokenBudgetPassed: _passed,
    e.TaskGivenUp: _given_up,
    e.DependenciesAwaited: _awaited,
    e.TaskOverdue: _overdue,
    e.EstimateAdjusted: _adjusted,
    e.BreakerTripped: _tripped,
    e.BreakerClosed: _closed,
    e.LimitApproved: _approved,
    e.DayBegan: _began,
    e.PriorityOverridden: _overridden,
}
