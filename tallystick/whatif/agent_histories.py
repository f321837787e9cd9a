"""What became of everyone in one history, the log's or the other: who was told what and when, and what it came to.

It grows with the number of agents that were ever seen, not with the number of events.
"""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

from tallystick.config.amounts import MS_PER_SECOND, NOTHING, Triple
from tallystick.events import catalog as e
from tallystick.events.decide.levels import enforced
from tallystick.events.state.accounts import POOL, ZERO, Account, Money, money, plus
from tallystick.events.state.ledger import Ledger
from tallystick.whatif.task_statistics import Work

ACTIONS = range(len(e.ACTIONS))


class AgentHistory:
    """What became of one agent. Times are those of the events; amounts are in internal units."""

    __slots__ = (
        "action",
        "allocated",
        "covered",
        "first_at",
        "granted",
        "grants",
        "is_open",
        "opened_at",
        "reclaimed",
        "refused",
        "times",
        "topped_up_at",
        "used",
        "waited_ms",
        "warned_at",
        "warnings",
    )

    def __init__(self) -> None:
        self.opened_at: dt.datetime | None = None
        """When its first account was opened; None where none ever was."""
        self.is_open = False
        self.allocated: Triple = NOTHING
        """What its newest account was granted in all, at the end or at its release."""
        self.used = [0, 0, 0]
        self.action = 0
        """The most severe that holds for it now, its own level, the fleet's response and orders counted (spec 2)."""
        self.first_at: list[dt.datetime | None] = [None] * len(ACTIONS)
        """When each action first held."""
        self.times = [0] * len(ACTIONS)
        """How often each action was entered."""
        self.grants = 0
        self.granted = ZERO
        """Top-ups: what it drew or borrowed on an open account, and what was moved to it."""
        self.topped_up_at: dt.datetime | None = None
        self.reclaimed = ZERO
        """What was moved away from it because it was idle."""
        self.covered = ZERO
        """What others paid of its use."""
        self.warnings = 0
        self.warned_at: dt.datetime | None = None
        self.refused = 0
        self.waited_ms = 0
        """The waits that it was told, summed up."""


class AgentHistories:
    """One history, followed batch by batch. ``ledger`` is its state, always just behind the newest batch."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.work = Work(ledger)
        self.agents: dict[str, AgentHistory] = {}
        self.used = [0, 0, 0]
        self.grants = 0
        self.granted = ZERO
        self.plans = 0
        self.refused: Counter[str] = Counter()
        self.alerts: Counter[str] = Counter()
        self.responses: dict[str, dt.datetime] = {}
        """The fleet's responses, and when each first held."""
        self.response_changes = 0
        self.overdraft = [0, 0, 0]
        """The largest debt by dimension."""
        self.from_reserve = ZERO
        self.renewals = 0
        self.changed: set[str] = set()
        """The agents whose action has changed; whoever looks empties it."""

    def action(self, agent: str) -> int:
        """What holds for an agent now."""
        course = self.agents.get(agent)
        return 0 if course is None else course.action

    def follow(self, events: Sequence[e.Event]) -> None:
        """Take in what has just happened, all at one moment; the ledger has followed it already."""
        if not events:
            return
        self.work.follow(events)
        touched: dict[str, None] = {}
        steps = self._STEPS
        everyone = False
        for event in events:
            kind = type(event)
            step = steps.get(kind)
            if step is not None:
                agent = step(self, event)
                if agent is not None:
                    touched[agent] = None
            everyone = everyone or kind in _OF_ALL
        accounts, at = self.ledger.accounts, events[-1].at
        for agent in accounts if everyone else self._with_descendants(touched):
            account = accounts.get(agent)
            if account is not None:
                self._act(self._course(agent), account, at)
        for d, debt in enumerate(self.ledger.root.cover):
            self.overdraft[d] = max(self.overdraft[d], debt)

    def told_to_wait(self, agent: str, wait_seconds: float) -> None:
        """Take in what a reply told an agent."""
        self._course(agent).waited_ms += round(wait_seconds * MS_PER_SECOND)

    def finish(self, until: dt.datetime) -> None:
        """Read off what the accounts that are still open were granted, and which tasks are not finished."""
        self.work.finish(until)
        for agent, account in self.ledger.accounts.items():
            self._course(agent).allocated = account.allocated

    def reached(self, action: int) -> int:
        """How many agents an action ever held for."""
        return sum(1 for course in self.agents.values() if course.times[action])

    # --- what moves ---------------------------------------------------------------------------------------------------

    def _course(self, agent: str) -> AgentHistory:
        course = self.agents.get(agent)
        if course is None:
            course = self.agents[agent] = AgentHistory()
        return course

    def _act(self, course: AgentHistory, account: Account, at: dt.datetime) -> None:
        action = enforced(self.ledger, account).action
        if action == course.action:
            return
        course.action = action
        course.times[action] += 1
        self.changed.add(account.id)
        if course.first_at[action] is None:
            course.first_at[action] = at

    def _with_descendants(self, agents: Iterable[str]) -> Iterator[str]:
        """Agents, and those below them: what holds for an account reaches its children."""
        for agent in agents:
            yield agent
            account = self.ledger.accounts.get(agent)
            if account is not None and account.children:
                yield from self._with_descendants(account.children)

    def _report(self, event: "e.UsageReported | e.HoldSettled") -> str:
        course, fleet = self._course(event.agent), self.used
        used = course.used
        for d, units in ((0, event.tokens), (1, event.time_ms), (2, event.cost_nanos)):
            if units:
                used[d] += units
                fleet[d] += units
        return event.agent

    def _open(self, event: e.BudgetAllocated) -> str:
        course = self._course(event.agent)
        course.is_open = True
        course.opened_at = course.opened_at or event.at
        return event.agent

    def _release(self, event: e.BudgetReleased) -> None:
        course = self._course(event.agent)
        course.is_open, course.action = False, 0
        course.allocated = event.allocated.triple

    def _draw(self, event: e.BudgetDrawn) -> str:
        self._grant(event.agent, money(event.amount.triple), event.at)
        return event.agent

    def _move(self, event: e.BudgetMoved) -> str:
        units = money(event.amount.triple)
        if event.strategy == "idle":
            course = self._course(event.source)
            course.reclaimed = plus(course.reclaimed, units)
            return event.source
        self._grant(event.target, units, event.at)
        return event.target

    def _grant(self, agent: str, units: Money, at: dt.datetime) -> None:
        course = self._course(agent)
        course.grants += 1
        course.granted = plus(course.granted, units)
        course.topped_up_at = course.topped_up_at or at
        self.grants += 1
        self.granted = plus(self.granted, units)

    def _cover(self, event: e.Covered) -> None:
        if event.target != POOL:
            course = self._course(event.target)
            course.covered = plus(course.covered, money(event.amount.triple))

    def _warn(self, event: e.ExhaustionWarned) -> None:
        course = self._course(event.agent)
        course.warnings += 1
        course.warned_at = course.warned_at or event.at

    def _refuse(self, event: e.RequestRefused) -> None:
        self.refused[event.code] += 1
        if event.agent is not None:
            self._course(event.agent).refused += 1

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
        """For events after which another action may hold for their agent."""
        agent: str = event.agent
        return agent

    _STEPS: ClassVar[dict[type[e.Event], Callable[["AgentHistories", Any], str | None]]] = {
        e.UsageReported: _report,
        e.HoldSettled: _report,
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
    }
    """What each class of event says; where an agent is returned, another action may hold for that one."""


_OF_ALL = frozenset({e.ConfigLoaded, e.FleetPaused, e.FleetResumed, e.FleetResponseChanged})
"""After these another action may hold for everyone."""
