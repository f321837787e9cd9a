"""What led to an event: the earlier ones that it followed from, by class of event and by whom they are about."""

from tallystick.events import catalog as e
from tallystick.events.state.accounts import POOL
from tallystick.events.state.ledger import Ledger
from tallystick.explain.task_causes import ENDS, LED_TO_WAITING, SLOTS, TASK_EVENTS
from tallystick.explain.task_causes import LED_TO as LED_TO_OF_TASKS

_FLEET_EVENTS = (
    e.ConfigLoaded,
    e.PricesLoaded,
    e.TotalBudgetSet,
    e.PeriodRenewed,
    e.FleetPaused,
    e.FleetResumed,
    e.ReserveReleased,
    e.FleetResponseChanged,
    e.DayBegan,
    e.BreakerTripped,
    e.LimitApproved,
)
_AGENT_EVENTS = (
    e.BudgetAllocated,
    e.LevelChanged,
    e.UnusedReturned,
    e.AgentThrottled,
    e.AgentStopped,
    e.BudgetReleased,
    e.ExhaustionWarned,
)
_LED_TO: dict[type[e.Event], tuple[type[e.Event], ...]] = {
    e.FleetResumed: (e.FleetPaused,),
    e.BreakerTripped: (e.ConfigLoaded, e.LimitApproved),
    e.BreakerReset: (e.BreakerTripped,),
    e.BreakerClosed: (e.BreakerTripped, e.LimitApproved),
    e.LimitApproved: (e.BreakerTripped, e.DayBegan),
    e.FleetResponseChanged: (e.FleetResponseChanged, e.TotalBudgetSet, e.PeriodRenewed),
    e.LevelChanged: (e.BudgetAllocated, e.LevelChanged),
    e.UnusedReturned: (e.LevelChanged,),
    e.UnusedRestored: (e.UnusedReturned,),
    e.AgentResumed: (e.AgentStopped, e.AgentThrottled),
    e.BudgetDrawn: (e.BudgetAllocated,),
    e.BudgetReturned: (e.BudgetAllocated,),
    e.BudgetReleased: (e.BudgetAllocated,),
    e.HoldPlaced: (e.BudgetAllocated,),
    **LED_TO_OF_TASKS,
}
"""Of an event of this class, the newest earlier ones of those classes about the same agent (or the fleet)."""
_LED_TO_REFUSAL: dict[str, tuple[type[e.Event], ...]] = {
    "budget_exhausted": (e.BudgetAllocated, e.LevelChanged),
    "pool_exhausted": (e.TotalBudgetSet, e.PeriodRenewed, e.FleetResponseChanged),
    "pool_share_exceeded": (e.ConfigLoaded,),
    "below_minimum_share": (e.ConfigLoaded,),
    "below_committed": (e.TotalBudgetSet, e.PeriodRenewed),
    "already_allocated": (e.BudgetAllocated,),
    "already_released": (e.BudgetReleased,),
    "agent_stopped": (e.AgentStopped,),
    "breaker_open": (e.BreakerTripped,),
    "daily_limit_reached": (e.ConfigLoaded, e.DayBegan, e.LimitApproved),
    "limit_not_raised": (e.ConfigLoaded,),
    "paused": (e.FleetPaused, e.ConfigLoaded),
    "throttled": (e.LevelChanged, e.AgentThrottled),
    "lease_lost": (e.LeaseLost, e.TaskPreempted, e.TaskCancelled, e.TaskGivenUp),
    "already_finished": (e.TaskCompleted, e.TaskCancelled, e.TaskGivenUp),
    "already_submitted": (e.TaskSubmitted,),
    "not_running": (e.TaskSubmitted, e.TaskQueued, e.DependenciesAwaited),
    "not_permitted": (e.ConfigLoaded,),
}
_LED_TO_ACTION: dict[str, tuple[type[e.Event], ...]] = {
    "level": (e.LevelChanged,),
    "fleet_response": (e.FleetResponseChanged,),
    "pause_all": (e.FleetPaused, e.ConfigLoaded),
    "product_pause": (e.ConfigLoaded,),
    "throttle": (e.AgentThrottled,),
    "stop": (e.AgentStopped,),
    "ancestor_stop": (e.AgentStopped, e.LevelChanged),
    "ancestor_throttle": (e.AgentThrottled,),
}


class History:
    """The newest position of whatever may be the cause of something later, by class of event and agent."""

    def __init__(self) -> None:
        self._newest: dict[tuple[type[e.Event], str], int] = {}
        self._slot = 0
        """Where slots were taken or given back last."""

    def fold(self, event: e.Event) -> None:
        if type(event) in _FLEET_EVENTS:
            self._newest[type(event), ""] = event.position
        elif type(event) in _AGENT_EVENTS:
            self._newest[type(event), getattr(event, "agent", "")] = event.position
        elif type(event) in TASK_EVENTS:
            self._newest[type(event), getattr(event, "task", "")] = event.position
            if type(event) in SLOTS:
                self._slot = event.position

    def newest(self, kind: type[e.Event], agent: str = "") -> int | None:
        """Where it was last recorded of this agent, or of the fleet."""
        return self._newest.get((kind, "" if kind in _FLEET_EVENTS else agent))

    def led_to(self, event: e.Event, ledger: Ledger) -> list[int]:
        """The positions of the earlier events that this one followed from; asked before it is folded itself."""
        agent = getattr(event, "agent", None) or getattr(event, "task", None) or ""
        found = [self.newest(kind, agent) for kind in _LED_TO.get(type(event), ())]
        match event:
            case e.HoldSettled() | e.HoldEnded() | e.HoldExtended() | e.UsageReported(hold=str()):
                # A hold's id is that of the Reserve that made it, and its first event is the hold.
                found.append(ledger.ids.get(event.hold or ""))
            case e.RequestRefused():
                found += [self.newest(kind, agent) for kind in _LED_TO_REFUSAL.get(event.code, ())]
                found += self.behind(event.numbers.get("decided_by"), agent, ledger)
            case e.ExhaustionWarned():
                _, _, report = event.id.rpartition("warn-")
                found.append(int(report) if report.isdigit() else None)
            case e.AlertDelivered() | e.AlertDeliveryFailed():
                _, _, raised = event.alert.rpartition("-")
                found.append(int(raised) if raised.isdigit() else None)
            case e.Covered() if event.target != POOL:
                found.append(self.newest(e.BudgetAllocated, event.target))
            case e.TaskQueued() | e.TaskRejected() | e.TaskStarted() | e.TaskPreempted() | e.TaskGivenUp():
                found += self._of_task(event, ledger)
        return sorted({position for position in found if position is not None})

    def _of_task(
        self, event: "e.TaskQueued | e.TaskRejected | e.TaskStarted | e.TaskPreempted | e.TaskGivenUp", ledger: Ledger
    ) -> list[int | None]:
        """What of other tasks, or of the whole fleet, led to an event of a task."""
        match event:
            case e.TaskStarted():
                # Who had a slot, and gave it back while this one waited.
                waits = [self.newest(kind, event.task) for kind in (e.TaskQueued, e.TaskPreempted, e.LeaseLost)]
                return [self._slot if any(place is not None and place < self._slot for place in waits) else None]
            case e.TaskPreempted():
                return [self.newest(e.TaskSubmitted, event.beneficiary), self.newest(e.TaskQueued, event.beneficiary)]
            case e.TaskGivenUp():
                return [*(self.newest(kind, event.because) for kind in (*ENDS, e.BudgetReleased))]
        task = ledger.tasks.get(event.task)
        needed = () if task is None else task.depends_on
        found = [self.newest(kind, name) for name in needed for kind in ENDS]
        found += [self.newest(kind) for kind in LED_TO_WAITING.get(event.code or "", ())]
        if (event.code or "").endswith("_concurrency"):
            found.append(self._slot or None)
        return found

    def behind(self, decided_by: object, agent: str, ledger: Ledger) -> list[int | None]:
        """What stood behind an action that an agent was told; ``decided_by`` is the reply's word for it."""
        kinds = _LED_TO_ACTION.get(str(decided_by), ())
        if not str(decided_by).startswith("ancestor"):
            return [self.newest(kind, agent) for kind in kinds]
        account = ledger.accounts.get(agent)
        ancestor = None if account is None else account.parent
        while ancestor is not None and ancestor is not ledger.root:
            found = [self.newest(kind, ancestor.id) for kind in kinds]
            if any(found):
                return found
            ancestor = ancestor.parent
        return []


def since(history: History, kind: type[e.Event]) -> str:
    """Where the newest of a class is, for a sentence."""
    position = history.newest(kind)
    return "" if position is None else f", in force since position {position}"
