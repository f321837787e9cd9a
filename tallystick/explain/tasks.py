"""Explains what happens to tasks."""

from tallystick.config.kinds import Priority
from tallystick.config.settings import Config
from tallystick.events import catalog as e
from tallystick.events.decide.facts import NAMED
from tallystick.events.decide.task_answers import WHY_UNKNOWN
from tallystick.events.state.inheritance import effective_priority, inherited_from, own_priority
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.task_rules import max_wait, priority_of
from tallystick.events.state.tasks import Task
from tallystick.explain.history import History
from tallystick.explain.row import Row, Rows, Style
from tallystick.wording import in_minutes

_ENDS = (e.TaskCompleted, e.TaskCancelled, e.TaskGivenUp, e.TaskRejected, e.LeaseLost)
"""How a task may have ended that another depends on."""
_SETTINGS = {
    "daily_tokens": "daily_limits.max_tokens_total",
    "daily_cost": "daily_limits.max_cost_usd",
    "product_daily_tokens": "products.{product}.token_budget_daily",
    "product_concurrency": "products.{product}.max_concurrent_agents",
    "type_concurrency": "max_concurrent.per_type.{agent_type}",
    "total_concurrency": "max_concurrent.total",
    "product_paused": "products.{product}.paused",
    "pool_exhausted": "token_budgets × token_budget_multiplier",
    "cannot_fit": "token_budgets × token_budget_multiplier",
    "total_exceeded": "total_budget.tokens less emergency_reserve_percent",
}
"""The setting behind a reason to wait or to be rejected, by its code."""
_LED_TO_WAITING: dict[str, tuple[type[e.Event], ...]] = {
    "paused": (e.FleetPaused, e.ConfigLoaded),
    "breaker_open": (e.BreakerTripped,),
    "product_paused": (e.ConfigLoaded,),
    "daily_tokens": (e.ConfigLoaded, e.DayBegan, e.LimitApproved),
    "daily_cost": (e.ConfigLoaded, e.DayBegan, e.LimitApproved),
    "product_daily_tokens": (e.ConfigLoaded, e.DayBegan),
    "limit_reached": (e.ConfigLoaded, e.LimitWindowsBegan, e.LimitRaised),
    "product_concurrency": (e.ConfigLoaded,),
    "type_concurrency": (e.ConfigLoaded,),
    "total_concurrency": (e.ConfigLoaded,),
    "total_exceeded": (e.TotalBudgetSet, e.PeriodRenewed),
    "pool_exhausted": (e.TotalBudgetSet, e.PeriodRenewed),
    "cannot_fit": (e.TotalBudgetSet, e.PeriodRenewed),
    "fleet_stopped": (e.FleetResponseChanged,),
}
"""What stands behind a reason to wait or to be rejected, by its code."""
_DAILY = ("daily_tokens", "daily_cost", "product_daily_tokens")
_MS_PER_SECOND = 1000


def _priority(ledger: Ledger, task: Task) -> Priority:
    return priority_of(ledger.rules.config, task.product, task.named_priority)


def _ranked(ledger: Ledger, task: Task) -> str:
    """The priority by which a task ranks, and the waiting task that it inherits it from."""
    source = inherited_from(ledger.tasks.known, task)
    return effective_priority(task) + ("" if source is None else f" (inherited from {source.id}, which waits for it)")


def _milliseconds(seconds: float) -> int:
    return int(seconds * _MS_PER_SECOND)


# --- before it runs --------------------------------------------------------------------------------------------------


def _says_submitted(event: e.TaskSubmitted, say: Style) -> str:
    priority = f"{event.priority} " if event.priority else ""
    text = f"{event.task} was submitted: {priority}{event.agent_type} for {event.product}"
    known = [] if event.assumed else [f"{say.number(event.estimated_tokens)} tokens"]
    known += [] if event.estimated_ms is None else [in_minutes(event.estimated_ms)]
    text += f", estimated at {' and '.join(known)}" if known else ", without an estimate"
    if event.learnt:
        text += " (from agent memory)"
    if event.parent is not None:
        text += f", paid from {event.parent}"
    return text + (f", after {', '.join(event.depends_on)}" if event.depends_on else "")


def _why_awaited(event: e.DependenciesAwaited, ledger: Ledger, history: History) -> list[str]:
    states = [f"{name} is {task.state}" for name in event.unfinished if (task := ledger.tasks.get(name)) is not None]
    waiting = ledger.tasks.known[event.task]
    inherit = [
        f"{name} ranks as {effective_priority(waiting)} as long as {event.task} waits for it"
        for name in event.unfinished
        if (task := ledger.tasks.get(name)) is not None
        and task.own_level > task.level == waiting.level
        and inherited_from(ledger.tasks.known, task) in (waiting, inherited_from(ledger.tasks.known, waiting))
    ]
    return [*states, *inherit, "it waits from the moment on at which the last of them is completed"]


def _says_queued(event: e.TaskQueued, say: Style) -> str:
    if event.code is None:
        return f"{event.task} waits for nothing but a slot: its dependencies were met"
    start = event.expected_start
    expected = "" if start is None else f"; it was expected to start at {say.time(start)}"
    if event.unknown is not None:
        expected = f"; no start could be expected: {WHY_UNKNOWN[event.unknown]}"
    return f"{event.task} was queued, {event.code}: {event.message}{expected}"


def _why_not_started(event: "e.TaskQueued | e.TaskRejected", ledger: Ledger, history: History) -> list[str]:
    if event.code is None:
        return ["all that it depends on is completed; the allocator proposes which waiting task starts next"]
    task = ledger.tasks.known[event.task]
    lines = []
    setting = _SETTINGS.get(event.code)
    if setting is not None:
        named = setting.format(product=task.product, agent_type=task.agent_type)
        lines.append(f"{named}{history.since(e.ConfigLoaded)}")
    if event.limit is not None:
        dollar = "$" if event.code == "daily_cost" else ""
        lines.append(f"the limit was {dollar}{event.limit}, and {dollar}{event.current} counted against it")
    if event.code in _DAILY:
        lines.append("against it count what is used and held today, and the unspent rest of every run's token budget")
    if event.code == "outranked":
        lines.append("a task that ranks higher gets a slot first: score = priority + waiting + how many it blocks")
    if event.code == "kept_for_older":
        lines.append("what an aged task lacks is kept for it from those that rank lower: else it could wait for ever")
    return lines


def _behind_waiting(event: "e.TaskQueued | e.TaskRejected", ledger: Ledger, history: History) -> list[int | None]:
    """The ends of the tasks that it depends on, what limits it, and who took the last slot."""
    task, code = ledger.tasks.get(event.task), event.code or ""
    needed = () if task is None else task.depends_on
    found = [history.newest(kind, name) for name in needed for kind in _ENDS]
    found += [history.newest(kind) for kind in _LED_TO_WAITING.get(code, ())]
    return [*found, history.slot_changed_at] if code.endswith("_concurrency") else found


def _says_overdue(event: e.TaskOverdue, say: Style) -> str:
    waited, allowed = in_minutes(event.waited_ms), in_minutes(event.allowed_ms)
    return f"{event.task} has waited {waited}, longer than the {allowed} that its priority allows"


def _why_overdue(event: e.TaskOverdue, ledger: Ledger, history: History) -> list[str]:
    priority = _priority(ledger, ledger.tasks.known[event.task])
    allowed = in_minutes(_milliseconds(max_wait(ledger.rules.config, priority).total_seconds()))
    setting = f"priority_levels.{priority}.max_wait_time_minutes{history.since(e.ConfigLoaded)}"
    return [f"a {priority} task may wait {allowed} ({setting}); operators are notified once"]


def _says_expected(event: e.StartsExpected, say: Style) -> str:
    starts = ", ".join(
        f"{one.task} at {say.time(one.start)}"
        if one.start is not None
        else f"{one.task} at no known time ({(one.unknown or 'not known').replace('_', ' ')})"
        for one in event.starts
    )
    return f"a reply said when tasks are expected to start: {starts}"


# --- its runs --------------------------------------------------------------------------------------------------------


def _says_started(event: e.TaskStarted, say: Style) -> str:
    if event.max_tokens is None or event.token_budget is None:
        tokens = "nothing is carved out for it"
    else:
        tokens = f"{say.number(event.token_budget)} tokens, {say.number(event.max_tokens)} at most"
    text = f"{event.task} was admitted on {event.model}: {tokens}, in attempt {event.attempt}, "
    text += f"with {event.lease} until {say.time(event.expires_at)}"
    return text + ("; it had waited so long that it went before all others" if event.aged else "")


def _why_started(event: e.TaskStarted, ledger: Ledger, history: History) -> list[str]:
    task, config = ledger.tasks.known[event.task], ledger.rules.config
    waited_ms = _milliseconds((event.at - event.queued_at).total_seconds())
    rule = event.because if event.because == NAMED else f"auto_model_selection: {event.because}"
    waited = f"it had waited {in_minutes(waited_ms)}: nothing was in its way any more"
    lines = [
        waited if waited_ms > 0 else "it did not have to wait: nothing was in its way",
        f"{event.model} was chosen ({rule}{history.since(e.ConfigLoaded)})",
        _why_tokens(event, config),
        f"its lease ends {config.leases.seconds} s after the last heartbeat (leases.seconds)",
    ]
    if task.level != task.own_level:
        lines.append(f"it is {own_priority(task)} by itself, and ranks as {_ranked(ledger, task)}")
    if event.aged:
        lines.append("aged tasks go first, the oldest before all, and are not preempted (scoring)")
    if task.runs > 1:
        lines.append(f"it is its run {task.runs}; only lost leases count as attempts")
    return lines


def _why_tokens(event: e.TaskStarted, config: Config) -> str:
    if event.max_tokens is None or event.token_budget is None:
        return "its type has no token budget (token_budgets): its payer is charged as it uses"
    return (
        f"{event.max_tokens:,} tokens is its token budget of {event.token_budget:,} ×"
        f" {config.token_budget_multiplier} (token_budgets, token_budget_multiplier)"
    )


def _slot_it_got(event: e.TaskStarted, ledger: Ledger, history: History) -> list[int | None]:
    """The end of the run that had the slot and freed it while this task waited."""
    slot = history.slot_changed_at or 0
    waits = [history.newest(kind, event.task) for kind in (e.TaskQueued, e.TaskPreempted, e.LeaseLost)]
    return [slot if any(place is not None and place < slot for place in waits) else None]


def _why_passed(event: e.TokenBudgetPassed, ledger: Ledger, history: History) -> list[str]:
    multiplier = ledger.rules.config.token_budget_multiplier
    return [
        "a token budget is a soft mark: passing it is recorded once, and stops nothing",
        f"the hard end is {multiplier} times of it (token_budget_multiplier{history.since(e.ConfigLoaded)})",
    ]


def _why_preempted(event: e.TaskPreempted, ledger: Ledger, history: History) -> list[str]:
    victim, other = ledger.tasks.known[event.task], ledger.tasks.known[event.beneficiary]
    priority, in_force = effective_priority(other), history.since(e.ConfigLoaded)
    cooldown = ledger.rules.config.preemption_cooldown_minutes
    return [
        f"{other.id} is {_ranked(ledger, other)}, {victim.id} is {_ranked(ledger, victim)}",
        f"{priority} may take a slot from a lower priority (priority_levels.{priority}.preempt_lower{in_force})",
        "the lowest priority gives way first, and of that the shortest run",
        (
            f"{victim.id} keeps its place in the queue, and is not preempted again for"
            f" {cooldown} minutes (preemption_cooldown_minutes)"
        ),
    ]


def _beneficiary(event: e.TaskPreempted, ledger: Ledger, history: History) -> list[int | None]:
    return [history.newest(kind, event.beneficiary) for kind in (e.TaskSubmitted, e.TaskQueued)]


def _says_lost(event: e.LeaseLost, say: Style) -> str:
    then = "waits again" if event.then == "queued" else "has failed"
    return f"{event.lease} of {event.task} was lost in attempt {event.attempt}: {event.task} {then}"


def _why_lost(event: e.LeaseLost, ledger: Ledger, history: History) -> list[str]:
    leases = ledger.rules.config.leases
    attempts = f"attempt {event.attempt} of {leases.max_attempts} (leases.max_attempts)"
    then = (
        "it has failed"
        if event.attempt >= leases.max_attempts
        else "it waits again, and its wait counts from when it was first queued"
    )
    return [
        f"there was no heartbeat for {leases.seconds} s (leases.seconds{history.since(e.ConfigLoaded)})",
        f"{attempts}: {then}",
    ]


# --- its end ---------------------------------------------------------------------------------------------------------


def _says_completed(event: e.TaskCompleted, say: Style) -> str:
    return (
        f"{event.task} was {event.outcome} in attempt {event.attempt}, after {in_minutes(event.elapsed_ms)}:"
        f" {say.amounts(event.consumed)} used, {_estimated(event, say)}"
    )


def _estimated(event: e.TaskCompleted, say: Style) -> str:
    return "none estimated" if event.assumed else f"{say.number(event.estimated_tokens)} tokens estimated"


def _says_given_up(event: e.TaskGivenUp, say: Style) -> str:
    reason = {
        "dependency_failed": f"it depends on {event.because}, which will not be completed",
        "budget_released": f"{event.because}, which it was to be paid from, was released",
    }
    return f"{event.task} was cancelled, {event.code}: {reason[event.code]}"


def _why_given_up(event: e.TaskGivenUp, ledger: Ledger, history: History) -> list[str]:
    if event.code == "budget_released":
        return ["with an account end the tasks that run on it, or wait to be paid from it"]
    ended = ledger.tasks.get(event.because)
    how = "" if ended is None else f"{ended.id} is {ended.state}: "
    return [f"{how}a task that depends on one that is not completed can never run"]


def _end_behind(event: e.TaskGivenUp, ledger: Ledger, history: History) -> list[int | None]:
    return [history.newest(kind, event.because) for kind in (*_ENDS, e.BudgetReleased)]


# --- estimates -------------------------------------------------------------------------------------------------------


def _says_adjusted(event: e.EstimateAdjusted, say: Style) -> str:
    of = "" if event.model is None else f" on {event.model}"
    parts = [] if event.tokens is None else [f"{say.number(event.tokens)} tokens"]
    parts += [] if event.elapsed_ms is None else [in_minutes(event.elapsed_ms)]
    return f"{event.agent_type} for {event.product}{of} is estimated at {' and '.join(parts)} from here on"


def _why_adjusted(event: e.EstimateAdjusted, ledger: Ledger, history: History) -> list[str]:
    rule = ledger.rules.config.estimates
    return [
        f"the last {event.tasks} tasks of the kind took {event.over * 100:.4g} % more than estimated, at the median",
        (
            f"above {rule.over_by_percent} % the estimate becomes the {rule.percentile}th percentile of what they took"
            f" (estimates{history.since(e.ConfigLoaded)})"
        ),
    ]


ROWS: Rows = {
    e.TaskSubmitted: Row(_says_submitted),
    e.DependenciesAwaited: Row(
        lambda x, say: f"{x.task} cannot start before these are completed: {', '.join(x.unfinished)}", _why_awaited
    ),
    e.TaskQueued: Row(
        _says_queued, _why_not_started, after=(e.TaskSubmitted, e.DependenciesAwaited), also=_behind_waiting
    ),
    e.TaskRejected: Row(
        lambda x, say: f"{x.task} was rejected, {x.code}: {x.message}", _why_not_started, also=_behind_waiting
    ),
    e.TaskOverdue: Row(
        _says_overdue, _why_overdue, after=(e.TaskSubmitted, e.TaskQueued, e.TaskPreempted, e.LeaseLost)
    ),
    e.StartsExpected: Row(_says_expected),
    e.TaskStarted: Row(
        _says_started,
        _why_started,
        after=(e.TaskSubmitted, e.TaskQueued, e.TaskPreempted, e.LeaseLost),
        also=_slot_it_got,
    ),
    e.LeaseExtended: Row(
        lambda x, say: f"{x.lease} of {x.task} now lasts until {say.time(x.expires_at)}", after=(e.TaskStarted,)
    ),
    e.TokenBudgetPassed: Row(
        lambda x, say: (
            f"{x.task} has used {say.number(x.consumed)} tokens and passed its token budget of"
            f" {say.number(x.token_budget)}; its end is at {say.number(x.max_tokens)}"
        ),
        _why_passed,
        after=(e.TaskStarted,),
    ),
    e.TaskPreempted: Row(
        lambda x, say: f"{x.task} lost its slot ({x.lease}) to {x.beneficiary}, and waits again",
        _why_preempted,
        after=(e.TaskStarted,),
        also=_beneficiary,
    ),
    e.PreemptionAcknowledged: Row(
        lambda x, say: f"the agent of {x.task} under {x.lease} now knows that the slot is gone",
        after=(e.TaskPreempted,),
    ),
    e.LeaseLost: Row(_says_lost, _why_lost, after=(e.TaskStarted, e.LeaseExtended)),
    e.TaskCompleted: Row(_says_completed, after=(e.TaskSubmitted, e.TaskStarted)),
    e.TaskCancelled: Row(lambda x, say: f"{x.task} was cancelled", after=(e.TaskSubmitted, e.TaskStarted)),
    e.TaskRetried: Row(
        lambda x, say: f"{x.task} got a new life: {x.reason}" + (f", with {x.because}" if x.because else ""),
        lambda x, ledger, history: ["its attempts count from the start, and its wait from now"],
        after=(e.TaskCancelled, e.TaskGivenUp, e.TaskCompleted, e.LeaseLost),
    ),
    e.TaskGivenUp: Row(_says_given_up, _why_given_up, after=(e.TaskSubmitted,), also=_end_behind),
    e.EstimateAdjusted: Row(_says_adjusted, _why_adjusted, after=(e.ConfigLoaded,)),
}
