"""Which reply answers which message, for those who read the interface before they use it."""

from collections.abc import Mapping
from typing import Final

from tallystick.events import messages as c
from tallystick.events.messages import access_replies as a
from tallystick.events.messages import bill_replies as b
from tallystick.events.messages import limit_replies as l
from tallystick.events.messages import release_replies as e
from tallystick.events.messages import replies as r
from tallystick.events.messages import task_replies as t
from tallystick.reports.reporter import Reported

REPLIES: Final[Mapping[type[c.Command], tuple[type, ...]]] = {
    c.AllocateBudget: (r.Allocation,),
    c.AllocateEqual: (r.Allocations,),
    c.AllocateProportional: (r.Allocations,),
    c.AllocateByPriority: (r.Allocations,),
    c.AllocateFromPool: (r.Allocation,),
    c.ReportUsage: (r.Enforcement,),
    c.Reserve: (r.Held,),
    c.Settle: (r.Enforcement,),
    c.CancelHold: (r.HoldGone,),
    c.Heartbeat: (r.Enforcement, r.Held, t.TaskAlive),
    c.GetHolds: (r.Holds,),
    c.GetLimits: (l.LimitStatuses,),
    c.GetStatus: (r.BudgetStatus,),
    c.GetGlobalStatus: (r.GlobalStatus,),
    c.CheckEnforcement: (r.Enforcement,),
    c.Throttle: (r.Overrides,),
    c.Stop: (r.Overrides,),
    c.Resume: (r.Overrides,),
    c.Rebalance: (r.Moves,),
    c.BorrowFromPool: (r.Allocation,),
    c.ReturnToPool: (r.Allocation,),
    c.GenerateReport: (Reported,),
    c.Forecast: (r.ForecastReply,),
    c.GetEfficiency: (r.Efficiency,),
    c.ReleaseBudget: (e.ReleasedBudget, r.Totals),
    c.SubmitTask: (t.TaskStatus,),
    c.GetTask: (t.TaskStatus,),
    c.CompleteTask: (t.TaskClosed,),
    c.CancelTask: (t.TaskClosed,),
    c.RetryTask: (t.TaskStatus,),
    c.GetQueue: (t.QueueStatus,),
    c.SetTotalBudget: (r.Totals,),
    c.PauseAll: (r.Totals,),
    c.ResumeAll: (r.Totals,),
    c.OverridePriority: (r.Overridden,),
    c.ApproveLimit: (r.Today, l.LimitStatuses),
    c.ResetBreaker: (r.Today,),
    c.ReleaseReserve: (r.Totals,),
    c.AcceptClock: (r.Totals,),
    c.CorrectUsage: (r.Corrected,),
    c.RecordReconciliation: (b.Reconciled,),
    c.LoadConfig: (r.Loaded,),
    c.CreateKey: (a.KeyShown,),
    c.RevokeKey: (a.KeyShown,),
    c.ListKeys: (a.KeysListed,),
}
"""The types of the ``ok`` of each message."""
