"""The books of the day, kept from the recorded events alone: what was used, held and committed, and by what right.

They find the date by the calendar of the zone, walk up the tree for products and runs, and add everything up each time;
they share nothing with the core.
"""

from collections import defaultdict
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from tallystick.events import catalog as e

TOKENS, COST = 0, 2
LIMITS = ((TOKENS, "max_tokens_total", 1), (COST, "max_cost_usd", 10**9))


class Spending:
    """Today's usage by dimension and product, who is whose child, and what the breaker and the alerts have said."""

    def __init__(self) -> None:
        self.config: dict[str, Any] = {}
        self.date: str | None = None
        self.used = [0, 0, 0]
        self.by_product: dict[str | None, int] = defaultdict(int)
        self.holds: dict[str, tuple[str, tuple[int, int, int]]] = {}
        self.parent: dict[str, str | None] = {}
        self.product: dict[str, str | None] = {}
        self.once: dict[str, str | None] = {}
        """The product that a released account, or a task, was of."""
        self.runs: dict[str, list[int]] = {}
        """By task that runs: its budget, and what it and all below it have used."""
        self.approved: dict[int, int] = {}
        self.alerts: list[str] = []
        self.tripped: str | None = None
        self.silenced: list[str] = []

    # --- looking ------------------------------------------------------------------------------------------------------

    def limit(self, d: int) -> int | None:
        _, name, unit = next(line for line in LIMITS if line[0] == d)
        configured = self.config["daily_limits"][name]
        if configured is None:
            return None
        return max(int(Fraction(str(configured)) * unit), self.approved.get(d, 0))

    def held(self, d: int) -> int:
        return sum(amount[d] for _, amount in self.holds.values())

    def product_of(self, agent: str | None) -> str | None:
        while agent is not None and agent in self.parent:
            if self.product[agent] is not None:
                return self.product[agent]
            agent = self.parent[agent]
        return None

    def run_of(self, agent: str | None) -> str | None:
        while agent is not None and agent not in self.runs:
            agent = self.parent.get(agent)
        return agent

    def committed(self, product: str | None = None) -> int:
        """Tokens that runs may still use, and that no hold counts."""
        return sum(
            max(0, budget - spent - self.held_by(task))
            for task, (budget, spent) in self.runs.items()
            if product is None or self.product_of(task) == product
        )

    def held_by(self, task: str) -> int:
        return sum(amount[TOKENS] for agent, amount in self.holds.values() if self.run_of(agent) == task)

    def held_for(self, product: str) -> int:
        return sum(amount[TOKENS] for agent, amount in self.holds.values() if self.product_of(agent) == product)

    # --- keeping ------------------------------------------------------------------------------------------------------

    def keep(self, event: e.Event) -> None:
        """Follow one event; no hold and no start passes a limit, and nothing new begins in an open breaker."""
        match event:
            case e.ConfigLoaded():
                self.config = event.config
                self._enter(event)
            case e.DayBegan():
                self._enter(event)
            case e.BudgetAllocated():
                assert self.tripped is None, "opened while the breaker was open"
                self.parent[event.agent], self.product[event.agent] = event.parent, event.product
            case e.BudgetReleased():
                self.once[event.agent] = self.product_of(event.agent)
                del self.parent[event.agent], self.product[event.agent]
            case e.UsageReported():
                self._use(event.agent, event)
            case e.HoldSettled():
                agent, held = self.holds.pop(event.hold)
                if event.partial:
                    used = (event.tokens, event.time_ms, event.cost_nanos)
                    rest = [max(0, units - part) for units, part in zip(held, used, strict=True)]
                    self.holds[event.hold] = (agent, (rest[0], rest[1], rest[2]))
                self._use(event.agent, event)
            case e.UsageCorrected():
                self._correct(event)
            case e.HoldExtended() if event.amount is not None:
                held, more = self.holds[event.hold][1], event.amount.triple
                larger = (held[0] + (more[0] or 0), held[1] + (more[1] or 0), held[2] + (more[2] or 0))
                self.holds[event.hold] = (event.agent, larger)
                self._check(self.product_of(event.agent), committing=False)
            case e.HoldEnded():
                del self.holds[event.hold]
            case e.HoldPlaced():
                tokens, time_ms, cost_nanos = event.amount.triple
                self.holds[event.hold] = (event.agent, (tokens or 0, time_ms or 0, cost_nanos or 0))
                self._check(self.product_of(event.agent), committing=False)
            case _:
                self._follow(event)

    def _follow(self, event: e.Event) -> None:
        match event:
            case e.TaskSubmitted():
                self.once[event.task] = event.product
            case e.TaskStarted():
                self.runs[event.task] = [event.token_budget, 0]
                self._check(self.product_of(event.task), committing=True)
            case e.TaskCompleted() | e.LeaseLost() | e.TaskPreempted():
                del self.runs[event.task]
            case e.TaskCancelled() | e.TaskGivenUp():
                self.runs.pop(event.task, None)
            case e.AlertRaised(code=code) if code.startswith("daily_"):
                assert code not in self.alerts, "told twice in a day"
                self.alerts.append(code)
            case e.LimitApproved():
                given = {TOKENS: event.limits.tokens, COST: event.limits.cost_nanos}
                self.approved = {d: units for d, units in given.items() if units is not None}
            case e.BreakerTripped():
                assert self.tripped is None
                assert event.condition not in self.silenced
                self.tripped = event.condition
            case e.BreakerClosed():
                assert self.tripped is not None
                self.tripped = None
                self.silenced += event.silenced

    def _enter(self, event: "e.ConfigLoaded | e.DayBegan") -> None:
        date = event.at.astimezone(ZoneInfo(self.config["timezone"])).date().isoformat()
        if isinstance(event, e.ConfigLoaded) and self.date is not None:
            date = self.date  # another zone keeps the day at hand
        assert date == event.date
        if date != self.date:
            self.date, self.used, self.alerts, self.approved = date, [0, 0, 0], [], {}
            self.tripped, self.silenced = None, []
            self.by_product.clear()

    def _use(self, agent: str, event: "e.UsageReported | e.HoldSettled") -> None:
        for d, units in enumerate((event.tokens, event.time_ms, event.cost_nanos)):
            self.used[d] += units
        late = isinstance(event, e.UsageReported) and event.lease is not None
        product = self.product_of(agent) if agent in self.parent and not late else self.once.get(agent)
        self.by_product[product] += event.tokens
        run = None if late else self.run_of(agent)
        if run is not None and agent in self.parent:
            self.runs[run][1] += event.tokens

    def _correct(self, event: e.UsageCorrected) -> None:
        """What was recorded today counts otherwise today."""
        record = event.record
        date = record.at.astimezone(ZoneInfo(self.config["timezone"])).date().isoformat()
        if date != self.date:
            return
        for d, units in enumerate(event.difference):
            self.used[d] += units
        is_open = event.closed is None
        product = self.product_of(record.agent) if is_open else self.once.get(record.agent)
        self.by_product[product] += event.tokens
        run = self.run_of(record.agent) if is_open else None
        if run is not None:
            self.runs[run][1] += event.tokens

    def _check(self, product: str | None, committing: bool) -> None:
        for d in (TOKENS, COST):
            limit = self.limit(d)
            taken = self.used[d] + self.held(d) + (self.committed() if committing and d == TOKENS else 0)
            assert limit is None or taken <= limit, f"{taken} is used, held or committed of {limit}"
        own = self.config["products"].get(product, {}).get("token_budget_daily")
        if own is not None and product is not None:
            taken = self.by_product[product] + self.held_for(product) + (self.committed(product) if committing else 0)
            assert taken <= own, f"{product}: {taken} of {own}"

    # --- at rest ------------------------------------------------------------------------------------------------------

    def due_alerts(self) -> list[str]:
        """The alerts that must have been raised by now on the day at hand, as its limits are now."""
        found = []
        for d, code in ((TOKENS, "daily_tokens"), (COST, "daily_cost")):
            limit = self.limit(d)
            if limit is None:
                continue
            percent = Fraction(str(self.config["daily_limits"]["alert_at_percent"]))
            if percent < 100 and self.used[d] >= max(1, limit * percent / 100):
                found.append(f"{code}_near")
            if self.used[d] >= max(1, limit):
                found.append(f"{code}_reached")
        return found
