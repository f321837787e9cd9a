"""What leads to an event of tasks: which earlier ones about the same task, and what of the whole fleet."""

from tallystick.events import catalog as e

TASK_EVENTS = (
    e.TaskSubmitted,
    e.DependenciesAwaited,
    e.TaskQueued,
    e.TaskRejected,
    e.TaskStarted,
    e.LeaseExtended,
    e.TaskPreempted,
    e.LeaseLost,
    e.TaskCompleted,
    e.TaskCancelled,
    e.TaskGivenUp,
)
"""What is remembered of each task."""
SLOTS = (e.TaskStarted, e.TaskPreempted, e.LeaseLost, e.TaskCompleted, e.TaskCancelled, e.TaskGivenUp)
"""After these there is a slot more, or one less: of the whole fleet, the newest is remembered."""
ENDS = (e.TaskCompleted, e.TaskCancelled, e.TaskGivenUp, e.TaskRejected, e.LeaseLost)
"""How a task may have ended that another depends on."""

LED_TO: dict[type[e.Event], tuple[type[e.Event], ...]] = {
    e.TaskQueued: (e.TaskSubmitted, e.DependenciesAwaited),
    e.TaskStarted: (e.TaskSubmitted, e.TaskQueued, e.TaskPreempted, e.LeaseLost),
    e.LeaseExtended: (e.TaskStarted,),
    e.TokenBudgetPassed: (e.TaskStarted,),
    e.TaskPreempted: (e.TaskStarted,),
    e.PreemptionAcknowledged: (e.TaskPreempted,),
    e.LeaseLost: (e.TaskStarted, e.LeaseExtended),
    e.TaskCompleted: (e.TaskSubmitted, e.TaskStarted),
    e.TaskCancelled: (e.TaskSubmitted, e.TaskStarted),
    e.TaskGivenUp: (e.TaskSubmitted,),
    e.TaskOverdue: (e.TaskSubmitted, e.TaskQueued, e.TaskPreempted, e.LeaseLost),
    e.EstimateAdjusted: (e.ConfigLoaded,),
}
"""Of an event of this class, the newest earlier ones of those classes about the same task (or the fleet)."""

LED_TO_WAITING: dict[str, tuple[type[e.Event], ...]] = {
    "paused": (e.FleetPaused, e.ConfigLoaded),
    "breaker_open": (e.BreakerTripped,),
    "product_paused": (e.ConfigLoaded,),
    "daily_tokens": (e.ConfigLoaded, e.DayBegan, e.LimitApproved),
    "daily_cost": (e.ConfigLoaded, e.DayBegan, e.LimitApproved),
    "product_daily_tokens": (e.ConfigLoaded, e.DayBegan),
    "product_concurrency": (e.ConfigLoaded,),
    "type_concurrency": (e.ConfigLoaded,),
    "total_concurrency": (e.ConfigLoaded,),
    "total_exceeded": (e.TotalBudgetSet, e.PeriodRenewed),
    "pool_exhausted": (e.TotalBudgetSet, e.PeriodRenewed),
    "fleet_stopped": (e.FleetResponseChanged,),
}
"""What stands behind a reason to wait, or to be rejected, by its code."""
