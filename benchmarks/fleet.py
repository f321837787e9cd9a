"""354 real runs as tasks under 16 slots, on a day whose cost limit is seven tenths of what they cost in all.

Product is the repository; priorities are those of `read_trace`; estimates are learnt as the runs end. The tasks are
submitted when their runs began, and the agents obey: they report under their lease, give signs of life, wait when they
are throttled, complete. No agent asks for more than the token budget. The figures are read off the log (`Books`).

The runs differ by a factor of eighty, and one token budget must do for all. Two are played:

- *committed*: the 90th percentile, and half as much again as the hard end. What runs may still use is counted before
  anything else starts, so the day ends below its limit; the hard end stops the largest runs.
- *surprised*: the lower quartile, with a hard end above the largest run. Three of four use more than was committed,
  so that the limit is passed, and the breaker trips. Either an operator approves a higher limit, or the next day
  comes.
"""

import datetime as dt
import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from random import Random
from typing import Any

import msgspec

from benchmarks import data
from benchmarks.fleet_books import Books, dollars
from benchmarks.result import Result, quiet
from tallystick.actors.runtime.messages import Envelope
from tallystick.actors.runtime.simulation import SimulatedFleet
from tallystick.config.amounts import COST, NANOS_PER_DOLLAR
from tallystick.config.loader import from_mapping
from tallystick.config.settings import Config
from tallystick.demo.agent import Outcome, Phase
from tallystick.demo.campaign import STARTS_AT
from tallystick.demo.trace import read_trace
from tallystick.demo.worker import FAR, Worker
from tallystick.demo.workload import Run, Workload
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log.codec import decode_answer, decode_event, encode_command
from tallystick.events.log.store_memory import MemoryStore
from tallystick.events.state.conservation import check_conserved

TRACE = "agents-swebench-gemini3-public.csv.gz"
SLOTS = 16
OF_ALL = Decimal("0.7")
PATIENCE_OF_OPERATOR_MS = 10 * 60_000
"""How long an operator takes to notice the breaker, and to decide."""
DEATHS = 0.3
GOAL_UTILIZATION = 0.95
_MS = dt.timedelta(milliseconds=1)


class Plan(msgspec.Struct, frozen=True):
    """A token budget for every run, its hard end, and what an operator approves once the breaker trips, if anything."""

    token_budget: int
    multiplier: Decimal
    approved: Decimal | None = None


class Played(msgspec.Struct, frozen=True):
    """What became of a campaign: its log, read into books, and how the runs ended for their agents."""

    workload: Workload
    limit: int
    events: list[e.Event]
    books: Books
    outcomes: Counter[Outcome]
    stopped_short: list[tuple[str, int, int]]
    """Who was stopped at the hard end: the run, the tokens that it used and those that it would have used."""
    reported: Counter[str]
    """Tokens that the agents say they used, by task."""
    deaths: int


class Contented(Worker):
    """An agent that asks for no more than its task was granted."""

    def __init__(self, run: Run, config: Config) -> None:
        super().__init__(run, config, None)

    def _may_ask(self, now_ms: int) -> bool:
        return False


class Mortal(Contented):
    """One of those of whom three in ten die without a word; when its task is tried again, another begins it anew."""

    def __init__(self, run: Run, config: Config) -> None:
        super().__init__(run, config)
        self.deaths = 0
        self.is_dead = False
        self._dice = Random(run.id)
        self._dies_before = self._ending()

    @property
    def is_away(self) -> bool:
        return self.is_dead or super().is_away

    def started(self, lease: str, now_ms: int) -> None:
        if self.is_dead:
            self.is_dead, self.done, self.lease = False, 0, None
            self._hold = None
            self._dies_before = self._ending()
            self._then(Phase.QUEUED, FAR)
        super().started(lease, now_ms)

    def hear(self, reply: Mapping[str, Any], now_ms: int) -> None:
        super().hear(reply, now_ms)
        if self.done == self._dies_before and self.phase is not Phase.QUEUED:
            self.is_dead = True
            self.deaths += 1

    def _ending(self) -> int | None:
        """Before which of its steps it dies, if it does."""
        return self._dice.randrange(1, len(self.run.steps)) if self._dice.random() < DEATHS else None


class _Show:
    """The agents and the fleet, moment by moment."""

    def __init__(self, fleet: SimulatedFleet, agents: list[Contented], plan: Plan) -> None:
        self.fleet, self.agents, self.plan = fleet, agents, plan
        self.now_ms = 0
        self._by_task = {agent.run.id: i for i, agent in enumerate(agents)}
        self._agenda = [(agent.due_ms, i) for i, agent in enumerate(agents)]
        heapq.heapify(self._agenda)
        self._leases: set[str] = set()
        self._approve_at: int | None = None
        self._approved = plan.approved is None

    def run(self) -> None:
        """Until every task has ended, and on into the next day."""
        while self.fleet.ledger.tasks.open or self._agenda:
            due_ms = self._agenda[0][0] if self._agenda else FAR
            if self._approve_at is not None and self._approve_at <= due_ms:
                self._approve(self._approve_at)
            elif due_ms >= FAR and self.fleet.ledger.tasks.running:
                self._wait_for_leases()
            elif due_ms >= FAR:
                self._sleep()
            else:
                self._act(heapq.heappop(self._agenda))
            self._take_up()
        self._sleep()

    def _act(self, turn: tuple[int, int]) -> None:
        due_ms, i = turn
        agent = self.agents[i]
        self.now_ms = max(self.now_ms, due_ms)
        agent.hear(self.ask(agent.message()), self.now_ms)
        if not agent.is_away:
            heapq.heappush(self._agenda, (agent.due_ms, i))
        if self.fleet.ledger.day.tripped is not None and not self._approved and self._approve_at is None:
            self._approve_at = self.now_ms + PATIENCE_OF_OPERATOR_MS

    def _approve(self, at_ms: int) -> None:
        self.now_ms, self._approved, self._approve_at = at_ms, True, None
        answer = self.ask(c.ApproveLimit(id="approve", max_cost_usd=self.plan.approved))
        assert "ok" in answer, answer

    def _sleep(self) -> None:
        """No agent has anything to do before the next day begins."""
        self.now_ms = (self.fleet.ledger.day.ends_at - STARTS_AT) // _MS
        self.fleet.pass_time(STARTS_AT + self.now_ms * _MS)

    def _wait_for_leases(self) -> None:
        """Only the dead hold slots: time passes until the first of their leases ends."""
        self.now_ms = (self.fleet.ledger.tasks.due_at() - STARTS_AT) // _MS
        self.fleet.pass_time(STARTS_AT + self.now_ms * _MS)

    def _take_up(self) -> None:
        """Tell the agents of the runs that began by themselves."""
        for task in list(self.fleet.ledger.tasks.running.values()):
            if task.lease is not None and task.lease not in self._leases:
                self._leases.add(task.lease)
                i = self._by_task[task.id]
                agent = self.agents[i]
                waited = agent.is_away
                began_ms = self.now_ms if task.started_at is None else (task.started_at - STARTS_AT) // _MS
                agent.started(task.lease, began_ms)
                if waited:
                    heapq.heappush(self._agenda, (agent.due_ms, i))

    def ask(self, command: c.Command) -> Any:
        envelope = Envelope([command], [encode_command(command)], "bench", None)
        (answer,) = self.fleet.ask(envelope, STARTS_AT + self.now_ms * _MS)
        return decode_answer(answer)


def play(workload: Workload, plan: Plan, agent: type[Contented] = Contented) -> Played:
    """One campaign through the real fleet under a virtual clock, and into the next day."""
    cents = int(workload.needs[COST] * OF_ALL) * 100 // NANOS_PER_DOLLAR
    config = from_mapping(
        {
            "total_budget": {"cost_usd": "1000", "period": "none"},
            "daily_limits": {"max_tokens_total": None, "max_cost_usd": str(Decimal(cents) / 100)},
            "max_concurrent": {"total": SLOTS, "per_type": {}},
            "token_budgets": {"default": plan.token_budget},
            "token_budget_multiplier": plan.multiplier,
        }
    )
    store = MemoryStore()
    fleet = SimulatedFleet.open(store, config, None, STARTS_AT)
    model = workload.runs[0].steps[0].model
    found = fleet.ledger.rules.find_price(model or "", None)
    assert found is not None, f"no price is known for {model}"
    agents = [agent(run, config) for run in workload.runs]
    _Show(fleet, agents, plan).run()
    check_conserved(fleet.ledger)
    events = [decode_event(record.data, record.name) for record in store.read()]
    limit = cents * (NANOS_PER_DOLLAR // 100)
    books = Books(SLOTS, limit, plan.token_budget, found.price).keep_all(events)
    return Played(
        workload,
        limit,
        events,
        books,
        Counter(one.outcome for one in agents),
        [
            (one.run.id, one.reported[0], one.reported[0] + one.lacked[0])
            for one in agents
            if one.outcome is Outcome.STOPPED
        ],
        Counter({one.run.id: one.reported[0] for one in agents}),
        sum(one.deaths for one in agents if isinstance(one, Mortal)),
    )


def plans(workload: Workload) -> dict[str, Plan]:
    """The two token budgets, and for the second what an operator does, by name."""
    used = sorted(sum(step.used[0] for step in run.steps) for run in workload.runs)
    small, large = used[len(used) // 4], used[len(used) * 9 // 10]
    above_all = Decimal(used[-1] // small + 1)
    enough = Decimal(workload.needs[COST] // NANOS_PER_DOLLAR + 1)
    return {
        "committed": Plan(large, Decimal("1.5")),
        "surprised.approved": Plan(small, above_all, enough),
        "surprised.next_day": Plan(small, above_all),
    }


def results(say: Callable[[str], None]) -> Iterator[Result]:
    """Each plan: how the slots were used, how far the limit was passed, who finished; and who waited how long."""
    found = data.found(TRACE)
    if found is None:
        say("fleet: skipped, the public runs are not here")
        return
    workload = read_trace(found)
    for name, plan in plans(workload).items():
        played = play(workload, plan)
        books, limit = played.books, dollars(played.limit)
        first_day = dollars(books.used[STARTS_AT.date()])
        utilization = books.utilization or 0.0
        yield Result(f"fleet.{name}.finished", played.outcomes[Outcome.FINISHED], "runs", f"{len(workload.runs)} runs",
                     played.outcomes[Outcome.FINISHED] / len(workload.runs))  # fmt: skip
        yield Result(f"fleet.{name}.slots", utilization, "of 16 while something could start", "all of them",
                     utilization, (">=", GOAL_UTILIZATION))  # fmt: skip
        yield Result(f"fleet.{name}.first_day", first_day, "dollars", f"a limit of ${limit:.2f}", first_day / limit)
        for (over, allowed), crossing in zip(books.over(), books.crossings, strict=True):
            against = f"what {len(crossing.running)} runs used then"
            yield Result(f"fleet.{name}.over", dollars(over), "dollars", against, over / allowed, ("<=", 1.0))
        for product, (tasks, mean, longest) in books.waits().items():
            say(f"fleet.{name}: {product}, {tasks} tasks, waited {mean:.1f} minutes, the longest {longest:.1f}")


if __name__ == "__main__":
    quiet()
    for result in results(print):
        print(f"{result.name}: {result.value:,.3f} {result.unit}, {result.ratio:.3f} of {result.against}")
