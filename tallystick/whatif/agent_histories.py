"""What one history, that of the log or the other, came to for each agent and for the fleet.

It grows with the number of agents that ever were, not with the number of events.
"""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tallystick.config.amounts import MS_PER_SECOND, NOTHING, Triple
from tallystick.events import catalog as e
from tallystick.events.decide.levels import BLACK, STOP, enforced
from tallystick.events.state.accounts import POOL, Account
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import ZERO, Money, money, plus
from tallystick.whatif.comparison import Instruction
from tallystick.whatif.task_statistics import TaskStatistics

ACTIONS = range(len(e.ACTIONS))


@dataclass(slots=True)
class AgentHistory:
    """What one agent did and what was decided about it. Times are those of the events, amounts are in internal
    units.
    """

    opened_at: dt.datetime | None = None
    """When its first account was opened; None if none ever was."""
    allocated: Triple = NOTHING
    """What its newest account was granted in all, at the end or at its release."""
    used: Money = ZERO
    action: int = 0
    """The most severe that is in force for it now: by its own level, by the fleet's response, by orders (spec 2)."""
    action_since: dt.datetime | None = None
    """When that came into force; None where it has always been."""
    first_at: list[dt.datetime | None] = field(default_factory=lambda: [None for _ in ACTIONS])
    """When each action was first in force."""
    times: list[int] = field(default_factory=lambda: [0 for _ in ACTIONS])
    """How often each action came into force."""
    grants: int = 0
    granted: Money = ZERO
    """Top-ups: what it drew or borrowed on an open account, and what was moved to it."""
    topped_up_at: dt.datetime | None = None
    reclaimed: Money = ZERO
    """What was moved away from it because it was idle."""
    covered: Money = ZERO
    """What others paid of its use."""
    warnings: int = 0
    warned_at: dt.datetime | None = None
    refused: int = 0
    waited_ms: int = 0
    """The waits that replies asked of it, summed up."""


class AgentHistories:
    """One history, followed batch by batch. ``ledger`` is its state, always just behind the newest batch."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.tasks = TaskStatistics(ledger)
        self.agents: dict[str, AgentHistory] = {}
        self.used = ZERO
        self.grants = 0
        self.granted = ZERO
        self.plans = 0
        self.refused: Counter[str] = Counter()
        self.alerts: Counter[str] = Counter()
        self.responses: dict[str, dt.datetime] = {}
        """The fleet's responses, and when each was first in force."""
        self.response_changes = 0
        self.overdraft = ZERO
        """The largest debt by dimension."""
        self.from_reserve = ZERO
        self.renewals = 0
        self.spent: dict[str, tuple[str, Money]] = {}
        """By hold: whose it was, and what it was spent with when it expired, unless a settlement has replaced that."""
        self.changed: set[str] = set()
        """The agents whose action has changed since this was emptied."""

    def action(self, agent: str) -> int:
        """The action that is in force for an agent now."""
        history = self.agents.get(agent)
        return 0 if history is None else history.action

    def stopped_since(self, agent: str) -> dt.datetime | None:
        """Since when an agent is stopped; None where it is not."""
        history = self.agents.get(agent)
        return None if history is None or history.action != STOP else history.action_since

    def follow(self, events: Sequence[e.Event]) -> None:
        """Take in what has just happened, all at one moment; the ledger has followed it already."""
        if not events:
            return
        self.tasks.follow(events)
        touched: dict[str, bool] = {}
        concerns_all = False
        for event in events:
            kind = type(event)
            step = self._STEPS.get(kind)
            agent = None if step is None else step(self, event)
            if agent is not None:
                touched[agent] = touched.get(agent, False) or kind in _CONCERN_BELOW
            concerns_all = concerns_all or kind in _CONCERN_ALL
        accounts, at = self.ledger.accounts, events[-1].at
        for agent in accounts if concerns_all else self._with_descendants(touched):
            account = accounts.get(agent)
            if account is not None:
                self._note_action(self._of(agent), account, at)
        largest, now = self.overdraft, self.ledger.root.cover
        self.overdraft = (max(largest[0], now[0]), max(largest[1], now[1]), max(largest[2], now[2]))

    def follow_instruction(self, instruction: Instruction | None) -> None:
        """Take in what a reply asked an agent to do, if it was such a reply."""
        if instruction is not None and instruction.wait_seconds:
            self._of(instruction.agent).waited_ms += round(instruction.wait_seconds * MS_PER_SECOND)

    def finish(self, until: dt.datetime) -> None:
        """Read off what the accounts that are still open were granted, and which tasks are not finished."""
        self.tasks.finish(until)
        for agent, account in self.ledger.accounts.items():
            self._of(agent).allocated = account.allocated

    def reached(self, action: int) -> int:
        """For how many agents an action was ever in force."""
        return sum(1 for history in self.agents.values() if history.times[action])

    # --- following ----------------------------------------------------------------------------------------------------

    def _of(self, agent: str) -> AgentHistory:
        history = self.agents.get(agent)
        if history is None:
            history = self.agents[agent] = AgentHistory()
        return history

    def _note_action(self, history: AgentHistory, account: Account, at: dt.datetime) -> None:
        action = enforced(self.ledger, account).action
        if action == history.action:
            return
        history.action, history.action_since = action, at
        history.times[action] += 1
        self.changed.add(account.id)
        if history.first_at[action] is None:
            history.first_at[action] = at

    def _with_descendants(self, touched: Mapping[str, bool]) -> Iterable[str]:
        """Agents, and where what happened reaches what is below an account, or it is black, also all of that."""
        found: dict[str, None] = {}
        reached: list[str] = []
        for agent, reaches_below in touched.items():
            found[agent] = None
            account = self.ledger.accounts.get(agent)
            if account is not None and (reaches_below or account.level == BLACK):
                reached += account.children or ()
        entered: set[str] = set()
        while reached:
            agent = reached.pop()
            if agent not in entered:
                entered.add(agent)
                found[agent] = None
                reached += self.ledger.accounts[agent].children or ()
        return found

    def _use(self, event: "e.UsageReported | e.HoldSettled") -> str:
        history, used = self._of(event.agent), (event.tokens, event.time_ms, event.cost_nanos)
        if event.history:
            return event.agent
        history.used = plus(history.used, used)
        self.used = plus(self.used, used)
        return event.agent

    def _correct(self, event: e.UsageCorrected) -> str:
        history = self._of(event.agent)
        if event.record.history:
            return event.agent
        history.used, self.used = plus(history.used, event.difference), plus(self.used, event.difference)
        if isinstance(event.record, e.HoldSpent) and event.record.hold in self.spent:
            agent, units = self.spent.pop(event.record.hold)
            if not event.settles:
                self.spent[event.record.hold] = agent, plus(units, event.difference)
        return event.charged or event.agent

    def _spend(self, event: e.HoldSpent) -> str:
        self.spent[event.hold] = event.agent, (event.tokens, event.time_ms, event.cost_nanos)
        return self._use(event)

    def _open(self, event: e.BudgetAllocated) -> str:
        history = self._of(event.agent)
        history.opened_at = history.opened_at or event.at
        return event.agent

    def _release(self, event: e.BudgetReleased) -> None:
        history = self._of(event.agent)
        history.action = 0
        history.allocated = event.allocated.triple

    def _draw(self, event: e.BudgetDrawn) -> str:
        self._grant(event.agent, money(event.amount.triple), event.at)
        return event.agent

    def _move(self, event: e.BudgetMoved) -> str:
        units = money(event.amount.triple)
        if event.strategy == "idle":
            history = self._of(event.source)
            history.reclaimed = plus(history.reclaimed, units)
            return event.source
        self._grant(event.target, units, event.at)
        return event.target

    def _grant(self, agent: str, units: Money, at: dt.datetime) -> None:
        history = self._of(agent)
        history.grants += 1
        history.granted = plus(history.granted, units)
        history.topped_up_at = history.topped_up_at or at
        self.grants += 1
        self.granted = plus(self.granted, units)

    def _cover(self, event: e.Covered) -> None:
        if event.target != POOL:
            history = self._of(event.target)
            history.covered = plus(history.covered, money(event.amount.triple))

    def _warn(self, event: e.ExhaustionWarned) -> None:
        history = self._of(event.agent)
        history.warnings += 1
        history.warned_at = history.warned_at or event.at

    def _refuse(self, event: e.RequestRefused) -> None:
        self.refused[event.code] += 1
        if event.agent is not None:
            self._of(event.agent).refused += 1

    def _respond(self, event: e.FleetResponseChanged) -> None:
        self.response_changes += 1
        self.responses.setdefault(event.response, event.at)

    def _alert(self, event: e.AlertRaised) -> None:
        self.alerts[event.code] += 1

    def _draw_reserve(self, event: e.ReserveDrawn) -> None:
        self.from_reserve = plus(self.from_reserve, money(event.amount.triple))

    def _plan(self, event: e.Rebalanced) -> None:
        self.plans += 1

    def _renew(self, event: e.PeriodRenewed) -> None:
        self.renewals += 1

    def _of_agent(self, event: Any) -> str:
        """For events after which another action may be in force for their agent."""
        agent: str = event.agent
        return agent

    _STEPS: ClassVar[dict[type[e.Event], Callable[["AgentHistories", Any], str | None]]] = {
        e.UsageReported: _use,
        e.HoldSettled: _use,
        e.HoldSpent: _spend,
        e.UsageCorrected: _correct,
        e.BudgetAllocated: _open,
        e.BudgetReleased: _release,
        e.BudgetDrawn: _draw,
        e.BudgetMoved: _move,
        e.Covered: _cover,
        e.ExhaustionWarned: _warn,
        e.RequestRefused: _refuse,
        e.FleetResponseChanged: _respond,
        e.AlertRaised: _alert,
        e.ReserveDrawn: _draw_reserve,
        e.Rebalanced: _plan,
        e.PeriodRenewed: _renew,
        e.LevelChanged: _of_agent,
        e.AgentThrottled: _of_agent,
        e.AgentStopped: _of_agent,
        e.AgentResumed: _of_agent,
        e.OverdraftExceeded: _of_agent,
        e.OverdraftRepaid: _of_agent,
    }
    """What each class of event says. Where an agent is returned, another action may be in force for it."""


_CONCERN_BELOW = frozenset(
    {e.LevelChanged, e.AgentThrottled, e.AgentStopped, e.AgentResumed, e.OverdraftExceeded, e.OverdraftRepaid}
)
"""After these another action may be in force for all below an agent."""
_CONCERN_ALL = frozenset({e.ConfigLoaded, e.FleetPaused, e.FleetResumed, e.FleetResponseChanged})
"""After these another action may be in force for all agents."""
