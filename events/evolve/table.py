"""All that each event changes: one row per event, its steps in their order.

A row without a step is an event that the log keeps for its readers: no decision needs it, or another event says what
follows from it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from tallystick.events import catalog as e
from tallystick.events.evolve import (
    access,
    account_limits,
    accounts,
    commitments,
    corrections,
    day,
    delegation,
    enforcement,
    fleet,
    forecasts,
    holds,
    limit_notes,
    limit_runs,
    limits,
    tasks,
    usage,
)

Step = Callable[[Any, Any], None]
"""A function of the ledger and the event."""

STEPS: Mapping[type[e.Event], tuple[Step, ...]] = {
    # --- budgets ---
    e.BudgetAllocated: (accounts.open_account, accounts.list_account, account_limits.open_limits, delegation.hand_over),
    e.BudgetDrawn: (accounts.draw, delegation.count_draw),
    e.BudgetReturned: (accounts.give_back, delegation.count_return),
    e.BudgetMoved: (accounts.move,),
    e.Rebalanced: (),
    e.UnusedReturned: (accounts.give_unused_back,),
    e.UnusedRestored: (accounts.restore_unused,),
    e.ReserveDrawn: (accounts.draw_reserve,),
    e.Covered: (accounts.cover,),
    e.CoverRepaid: (accounts.repay_cover,),
    e.AgentLeaseEnded: (),
    e.BudgetReleased: (accounts.unlist_account, account_limits.close_limits, accounts.close_account),
    # --- usage and holds ---
    e.UsageReported: (usage.report,),
    e.HoldPlaced: (holds.place_hold,),
    e.HoldExtended: (holds.move_expiry,),
    e.HoldSettled: (holds.settle_hold,),
    e.HoldSpent: (holds.spend_hold,),
    e.HoldEnded: (holds.give_hold_back,),
    e.AgentHeard: (usage.hear_agent,),
    e.UsageCorrected: (corrections.correct,),
    # --- enforcement ---
    e.LevelChanged: (enforcement.change_level,),
    e.AgentThrottled: (enforcement.throttle, enforcement.forget_orders),
    e.AgentStopped: (enforcement.stop, enforcement.stop_id, enforcement.forget_orders),
    e.AgentResumed: (enforcement.resume, enforcement.resume_id, enforcement.forget_orders),
    e.OverdraftExceeded: (enforcement.overdraw, enforcement.forget_orders),
    e.OverdraftRepaid: (enforcement.repay, enforcement.forget_orders),
    e.ExhaustionWarned: (enforcement.warn,),
    e.LastCallGiven: (enforcement.give_last_call,),
    e.RequestRefused: (enforcement.hear_refused,),
    # --- tasks ---
    e.TaskSubmitted: (tasks.submit,),
    e.DependenciesAwaited: (tasks.await_dependencies,),
    e.TaskQueued: (tasks.queue,),
    e.TaskRejected: (tasks.reject,),
    e.TaskStarted: (tasks.start, commitments.begin, limit_runs.start_run),
    e.LeaseExtended: (tasks.extend_lease,),
    e.TokenBudgetPassed: (tasks.pass_token_budget,),
    e.TaskPreempted: (tasks.preempt, limit_runs.end_run, commitments.end),
    e.PreemptionAcknowledged: (tasks.acknowledge_preemption,),
    e.LeaseLost: (tasks.lose_lease, limit_runs.end_run, commitments.end),
    e.TaskCompleted: (tasks.complete, accounts.count_done_task, limit_runs.end_run, commitments.end),
    e.TaskCancelled: (tasks.cancel, limit_runs.end_run, commitments.end),
    e.TaskGivenUp: (tasks.cancel, limit_runs.end_run, commitments.end),
    e.TaskRetried: (tasks.retry,),
    e.TaskOverdue: (tasks.mark_overdue,),
    e.StartsExpected: (tasks.expect_starts,),
    e.EstimateAdjusted: (tasks.adjust_estimate,),
    # --- the fleet ---
    e.ConfigLoaded: (fleet.load_config, limits.configure, delegation.begin),
    e.RulesAdopted: (fleet.adopt_rules,),
    e.PricesLoaded: (fleet.load_prices,),
    e.TotalBudgetSet: (accounts.set_total, fleet.begin_total),
    e.PeriodRenewed: (accounts.renew_period, fleet.begin_total),
    e.FleetPaused: (fleet.pause,),
    e.FleetResumed: (fleet.resume,),
    e.FleetOpened: (fleet.open_again,),
    e.ClockApart: (fleet.part_clock,),
    e.ClockTogether: (fleet.join_clock,),
    e.ClockAccepted: (fleet.join_clock, fleet.step_ahead),
    e.ReserveReleased: (fleet.release_reserve,),
    e.FleetResponseChanged: (fleet.change_response,),
    e.PoolExhausted: (fleet.note_pool_exhausted,),
    e.AlertRaised: (fleet.put_alert, day.note_alert, limit_notes.note_full),
    e.AlertDelivered: (fleet.settle_alert,),
    e.AlertDeliveryFailed: (fleet.settle_alert,),
    e.SnapshotRecorded: (),
    e.SpecialistGivenUp: (fleet.give_specialist_up,),
    e.SpecialistRestored: (fleet.restore_specialist,),
    # --- access ---
    e.KeyCreated: (access.create_key,),
    e.KeyRevoked: (access.revoke_key,),
    e.KeyMisused: (access.note_misuse,),
    # --- the day ---
    e.DayBegan: (day.begin,),
    e.BreakerTripped: (day.trip_breaker,),
    e.BreakerClosed: (day.close_breaker,),
    e.BreakerReset: (),
    e.LimitApproved: (day.approve_limit,),
    e.PriorityOverridden: (day.override_priority,),
    # --- limits ---
    e.LimitWindowsBegan: (limits.begin_windows,),
    e.LimitLine: (limit_notes.note_line,),
    e.LimitRaised: (limit_notes.raise_limit,),
    e.ProviderRefused: (limit_notes.close_for_provider,),
    # --- delegation ---
    e.ChildBound: (delegation.bind_child,),
    e.DrawAsked: (delegation.ask_draw,),
    e.ReturnAsked: (delegation.ask_return,),
    e.RangeReported: (delegation.report_range,),
    e.ParentAnswered: (delegation.hear_parent,),
    e.DelegationEnded: (delegation.end,),
    # --- bills ---
    e.BillReconciled: (fleet.keep_bill,),
    # --- forecasts ---
    e.ForecastMade: (forecasts.keep_forecast,),
    e.ForecastScored: (forecasts.score_forecast,),
    e.RunLearned: (forecasts.learn_run,),
    e.AnomalyFound: (),
}

TASK_EVENTS: frozenset[type[e.Event]] = frozenset(
    event for event, steps in STEPS.items() if any(step.__module__ == tasks.__name__ for step in steps)
)
"""The events that change tasks."""
