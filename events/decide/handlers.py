"""Which function decides which message: one row per message."""

from collections.abc import Callable, Mapping
from typing import Any

from tallystick.events import messages as c
from tallystick.events.decide import (
    alerts,
    allocate,
    breaker,
    end_tasks,
    enforce,
    forecasts,
    holds,
    operate,
    queries,
    reallocate,
    release,
    start_tasks,
    task_answers,
    track,
)
from tallystick.events.decide.turn import Turn
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Done


def _nothing_but_time(turn: Turn, command: c.Command) -> Done:
    """What was due has happened already."""
    return Done()


HANDLERS: Mapping[type[c.Command], Callable[[Turn, Any], Any]] = {
    c.AllocateBudget: allocate.allocate_budget,
    c.AllocateEqual: allocate.allocate_equal,
    c.AllocateProportional: allocate.allocate_proportional,
    c.AllocateByPriority: allocate.allocate_by_priority,
    c.AllocateFromPool: allocate.allocate_from_pool,
    c.ReportUsage: track.report_usage,
    c.Reserve: holds.reserve,
    c.Settle: holds.settle,
    c.CancelHold: holds.cancel_hold,
    c.Heartbeat: track.heartbeat,
    c.GetStatus: queries.get_status,
    c.GetGlobalStatus: queries.get_global_status,
    c.CheckEnforcement: queries.check_enforcement,
    c.GetEfficiency: queries.get_efficiency,
    c.Throttle: enforce.throttle,
    c.Stop: enforce.stop,
    c.Resume: enforce.resume,
    c.BorrowFromPool: allocate.borrow_from_pool,
    c.ReturnToPool: reallocate.return_to_pool,
    c.ReleaseBudget: release.release_budget,
    p.PlaceTask: start_tasks.place_task,
    p.StartTask: start_tasks.start_task,
    p.PreemptTask: start_tasks.preempt_task,
    c.CompleteTask: end_tasks.complete_task,
    c.CancelTask: end_tasks.cancel_task,
    p.ExpireLease: _nothing_but_time,
    p.RecordOverdue: task_answers.record_overdue,
    p.TellTask: task_answers.answer_task,
    p.TellQueue: task_answers.answer_queue,
    c.SetTotalBudget: operate.set_total_budget,
    c.PauseAll: operate.pause_all,
    c.ResumeAll: operate.resume_all,
    c.OverridePriority: operate.override_priority,
    c.ApproveLimit: breaker.approve_limit,
    c.ResetBreaker: breaker.reset_breaker,
    c.ReleaseReserve: operate.release_reserve,
    c.LoadConfig: operate.load_config,
    p.LoadPrices: operate.load_prices,
    p.ExpireHolds: _nothing_but_time,
    p.RenewPeriod: _nothing_but_time,
    p.BeginDay: _nothing_but_time,
    p.ApplyMoves: reallocate.apply_moves,
    p.WarnAgent: enforce.warn_agent,
    p.RecordDelivery: alerts.record_delivery,
    p.GiveUpDelivery: alerts.give_up_delivery,
    p.RecordForecast: forecasts.record_forecast,
    p.RecordScore: forecasts.record_score,
    p.RecordRun: forecasts.record_run,
    p.RecordAnomaly: forecasts.record_anomaly,
    p.RecordSnapshot: operate.record_snapshot,
}
