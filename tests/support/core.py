"""Given, when, then over `decide`: the tests own the clock, and every step proves the core.

A second ledger, the *replica*, hears only the recorded events and must come to the same state. A refused command must
leave all of it as it was, but for the refusal itself and the memory of its id.
"""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from tallystick.config.amounts import Budget, Triple
from tallystick.config.loader import to_mapping
from tallystick.config.prices import to_mapping as prices_to_mapping
from tallystick.config.settings import Config
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide import Decided, decide, pass_time
from tallystick.events.evolve import evolve
from tallystick.events.log import snapshot
from tallystick.events.log.task_snapshot import pack
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import EdgeAmounts, Refusal, Reply
from tallystick.events.state.accounts import Account
from tallystick.events.state.conservation import check_conserved
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.tasks import Tasks
from tests.support.limits import with_seed_limits

START = dt.datetime(2026, 3, 4, 12, 0, tzinfo=dt.UTC)
"""A Wednesday at noon."""
TESTER = "tester"
MEMORY = frozenset(
    {
        "position",
        "now",
        "ids",
        "id_marks",
        "next_mark",
        "day marks",
        "pool_exhausted_at",
        "leases of agents",
    }
)
"""What a refusal may change: it is recorded, its id remembered, and who asked is alive."""
FORGETTING = frozenset(
    {"ended_holds", "ended_order", "released", "released_order", "lives", "finished tasks", "finished order"}
)
"""What may be forgotten whenever an id is remembered."""

E = TypeVar("E", bound=e.Event)


def budget(tokens: int | None = None, seconds: str | int | None = None, cost: str | int | None = None) -> Budget:
    """Amounts as people write them."""
    return Budget(tokens, None if seconds is None else Decimal(seconds), None if cost is None else Decimal(cost))


def fleet(
    tokens: int | None = None, cost: str | None = None, seconds: int | None = None, **config: Any
) -> c.LoadConfig:
    """A configuration with this total and the seed's limits; without a period and a reserve unless it says so."""
    period = {key: config.pop(key) for key in ("period", "rollover") if key in config}
    named = {"tokens": tokens, "cost_usd": cost, "time_seconds": seconds}
    total = {key: value for key, value in named.items() if value is not None} | period
    config = with_seed_limits(config)
    return c.LoadConfig(config={"total_budget": total, "emergency_reserve_percent": 0, **config})


def dump(ledger: Ledger) -> dict[str, Any]:
    """The whole state in plain values, so that two ledgers can be compared."""
    state = {
        key: value
        for key, value in vars(ledger).items()
        if key not in ("rules", "root", "reserve", "accounts", "watch", "below", "orders", "looked_at", "stretch")
    }
    state["holds"] = {
        hold.id: (hold.account.id, *msgspec.structs.astuple(hold)[1:-1]) for hold in ledger.holds.values()
    }
    state["released"] = {name: msgspec.structs.astuple(closed) for name, closed in ledger.released.items()}
    state["delegated"] = {name: msgspec.structs.astuple(child) for name, child in ledger.delegated.items()}
    state["delegation"] = None if ledger.delegation is None else msgspec.structs.astuple(ledger.delegation)
    state["ids"] = ledger.ids.dump()
    for name in ("ended_holds", "lives", "stops"):
        state[name] = dict(state[name])
    for name in ("names", "expiries", "spent", "held", "id_marks", "released_order"):
        state[name] = list(state[name])
    # In the order of their ends, those that are only kept for late settlements first.
    state["ended_order"] = list(ledger.ended_holds)
    state["history"] = ledger.history.dump()
    state |= _dump_tasks(ledger.tasks)
    state["outputs"] = ledger.outputs.dump()
    state["keys"] = ledger.keys.dump()
    state["leases of agents"] = ledger.leases.dump()
    state["estimates"] = ledger.estimates.dump()
    *state["day"], state["day marks"] = [dict(ledger.day.held_by_product), *ledger.day.dump()]
    state["commitments"] = [
        {slot: getattr(promise, slot) for slot in type(promise).__slots__}
        for promise in ledger.commitments.runs.values()
    ]
    state["slot_times"] = ledger.slot_times.dump()
    state["charged"] = ledger.charged.dump()
    state["limits"] = _dump_limits(ledger)
    state["config"] = _dump_config(ledger.rules.config)
    state["prices"] = prices_to_mapping(ledger.rules.prices)
    for account in (ledger.root, ledger.reserve, *ledger.accounts.values()):
        state[f"account {account.id}"] = _dump_account(account)
    return state


def _dump_config(config: Config) -> dict[str, Any]:
    """It is frozen, and most steps leave it: written once, for the last few."""
    if id(config) not in _DUMPED:
        if len(_DUMPED) == _CONFIGS_KEPT:
            _DUMPED.pop(next(iter(_DUMPED)))
        _DUMPED[id(config)] = config, to_mapping(config)
    return _DUMPED[id(config)][1]


_CONFIGS_KEPT = 20
_DUMPED: dict[int, tuple[Config, dict[str, Any]]] = {}
"""By where each configuration is: nothing else comes to be there while it is kept."""


def _dump_limits(ledger: Ledger) -> list[Any]:
    held = [
        (name, value, list(counter.held), counter.committed, counter.models)
        for name, state in ledger.limits.states.items()
        for value, counter in state.counters.items()
    ]
    return [ledger.limits.dump(), ledger.limits.count, dict(ledger.limits.calendars), held]


def _dump_tasks(tasks: Tasks) -> dict[str, Any]:
    """Open tasks apart from finished ones, which may be forgotten; what is kept beside them, from where it is kept."""
    packed = pack(tasks)
    return {
        "tasks": [kept for kept in packed.known if tasks.is_open(kept[0])],
        "finished tasks": {kept[0]: kept for kept in packed.known if not tasks.is_open(kept[0])},
        "finished order": packed.finished,
        "running": packed.running,
        "submitted": packed.submitted,
        "counts": (dict(tasks.by_type), dict(tasks.by_product), tasks.queued, tasks.open),
        "under": {account: list(under) for account, under in tasks.by_account.items()},
        "leases": tasks.due_at(),
        "dependents": {task.id: sorted(task.dependents or ()) for task in tasks.known.values() if task.is_open},
    }


def _dump_account(account: Account) -> dict[str, Any]:
    plain = {slot: getattr(account, slot) for slot in Account.__struct_fields__}
    plain["parent"] = None if account.parent is None else account.parent.id
    plain["caps"] = [(rule.name, rule.definition) for rule in account.caps]
    plain.pop("heard_at")  # with the leases
    plain["leased"] = None if account.leased is None else account.leased.id
    plain["payers_above"] = tuple(payer.id for payer in account.payers_above)
    plain["payers"] = tuple(payer.id for payer in account.payers)
    plain["children"] = None if account.children is None else sorted(account.children)
    plain["holds"] = None if account.holds is None else sorted(account.holds)
    return plain


REFUSING = (e.RequestRefused, e.PoolExhausted, e.AlertRaised, e.AlertDeliveryFailed)
"""What a refused command may leave in the log."""


class Core:
    """One fleet under test. ``now`` is the tests' clock; ``log`` all events so far; ``decided`` the last step.

    A replica follows the recorded events. It is compared with the state at every step, or, for long random sequences
    without ``compares``, only where the test calls `compare`.
    """

    def __init__(self, *commands: c.Command, compares: bool = True) -> None:
        self.compares = compares
        self.ledger = Ledger()
        self.replica = Ledger()
        self.now = START
        self.log: list[e.Event] = []
        self.decided = Decided([], 0, Reply())
        self.refused: list[str] = []
        self._count = 0
        self.given(*commands)

    # --- given --------------------------------------------------------------------------------------------------------

    def given(self, *commands: c.Command) -> "Core":
        """What happened before: all of it is granted."""
        for command in commands:
            answer = self.when(command)
            assert not isinstance(answer, Refusal), f"given {command}, but it was refused: {answer}"
        return self

    def wait(self, seconds: float) -> "Core":
        self.now += dt.timedelta(seconds=seconds)
        return self

    # --- when ---------------------------------------------------------------------------------------------------------

    def when(self, command: c.Command, at: dt.datetime | None = None, by: str = TESTER, id: str | None = None) -> Any:
        """One command; the answer. The core is proved in full, and the replica compared."""
        self._count += 1
        self.now = self.now if at is None else at
        command_id = id or command.id or f"id-{self._count}"
        return self._taken(decide(self.ledger, command, self.now, command_id, by), command)

    def pass_time(self, at: dt.datetime | None = None) -> "Core":
        """Nothing is asked: what is due by now, or by ``at``, happens."""
        self.now = self.now if at is None else at
        events = pass_time(self.ledger, self.now)
        self._taken(Decided(events, len(events), Reply()))
        return self

    def _taken(self, decided: Decided, command: c.Command | None = None) -> Any:
        self.decided = decided
        self.log.extend(decided.events)
        for event in decided.events[: decided.own]:
            evolve(self.replica, event)
        leaves = isinstance(decided.answer, Refusal) or (command is not None and command.is_query)
        before = dump(self.replica) if self.compares and leaves else {}
        for event in decided.events[decided.own :]:
            evolve(self.replica, event)
        check_conserved(self.ledger)
        check_conserved(self.ledger, decided.events)
        after = self.compare() if self.compares else {}
        if isinstance(decided.answer, Refusal):
            # A run that comes too late is refused, but what it used is a fact.
            if not isinstance(command, c.CompleteTask) or len(self.own) <= 1:
                assert all(isinstance(event, REFUSING) for event in self.own), "a refused command recorded something"
                self._check_untouched(before, after)
        elif command is not None and command.is_query:
            assert not self.own, "a query recorded something"
            assert after == before, "a query changed the state"
        return decided.answer

    def compare(self) -> dict[str, Any]:
        """The state, which must be what the recorded events add up to."""
        after = dump(self.ledger)
        assert after == dump(self.replica), "the recorded events say something else than the state"
        return after

    def _check_untouched(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        for key in before.keys() | after.keys():
            if key in FORGETTING:
                assert all(item in before[key] for item in after[key])
            elif key not in MEMORY:
                assert before.get(key) == after.get(key), f"a refused command changed {key}"

    def restart(self) -> None:
        """Go on from a snapshot, which is that of a replay."""
        data = snapshot.dump(self.ledger)
        loaded = snapshot.load(data)
        assert loaded is not None
        assert snapshot.dump(loaded) == data == snapshot.dump(self.replica)
        self.ledger = loaded

    # --- then ---------------------------------------------------------------------------------------------------------

    @property
    def own(self) -> list[e.Event]:
        """The last command's own events."""
        return self.decided.events[self.decided.own :]

    @property
    def due(self) -> list[e.Event]:
        """What had been due before the last command."""
        return self.decided.events[: self.decided.own]

    def then_events(self, *classes: type[e.Event]) -> "Core":
        """The last command caused exactly these, in this order."""
        assert [type(event) for event in self.own] == list(classes)
        return self

    def then_refused(self, code: str, **numbers: Any) -> Refusal:
        """The last command was refused with this code and these numbers."""
        answer = self.decided.answer
        assert isinstance(answer, Refusal), f"granted: {answer}"
        assert answer.code == code
        assert {key: answer.numbers.get(key) for key in numbers} == numbers
        return answer

    def only(self, event_class: type[E]) -> E:
        """The one event of its class that the last command caused."""
        (event,) = self.every(event_class)
        return event

    def every(self, event_class: type[E]) -> list[E]:
        """The last step's events of a class, due ones included."""
        return [event for event in self.decided.events if isinstance(event, event_class)]

    # --- the state, looked at -----------------------------------------------------------------------------------------

    def account(self, agent: str) -> Account:
        return self.ledger.accounts[agent]

    def free(self, agent: str) -> tuple[int, ...]:
        return self.account(agent).free

    def status(self, agent: str) -> Any:
        return self.when(c.GetStatus(agent=agent))

    def check(self, agent: str) -> Any:
        return self.when(c.CheckEnforcement(agent=agent))

    @property
    def pool(self) -> Triple:
        return self.ledger.pool

    @property
    def overdraft(self) -> Triple:
        return self.ledger.overdraft

    @property
    def in_reserve(self) -> Triple:
        return self.ledger.in_reserve


def allocate(agent: str, tokens: int | None = None, cost: str | None = None, **labels: Any) -> c.AllocateBudget:
    """`AllocateBudget` in short."""
    return c.AllocateBudget(agent=agent, budget=budget(tokens, labels.pop("seconds", None), cost), **labels)


def use(
    agent: str, tokens: int | None = None, cost: str | None = None, seconds: str | int | None = None
) -> c.ReportUsage:
    """`ReportUsage` in short."""
    return c.ReportUsage(agent=agent, usage=budget(tokens, seconds, cost))


def hold(agent: str, id: str, tokens: int | None = None, cost: str | None = None, **rest: Any) -> c.Reserve:
    """`Reserve` in short; the hold has this id."""
    return c.Reserve(id=id, agent=agent, estimate=budget(tokens, rest.pop("seconds", None), cost), **rest)


def settle(hold_id: str, tokens: int | None = None, cost: str | None = None) -> c.Settle:
    """`Settle` in short."""
    return c.Settle(hold=hold_id, usage=budget(tokens, None, cost))


def submit(task: str, agent_type: str = "backend-engineer", product: str = "shop", **rest: Any) -> p.PlaceTask:
    """`SubmitTask` as the allocator hands it on: ``behind``, ``victim`` and ``aged`` are its judgement."""
    keys = ("behind", "kept_for", "victim", "aged", "expected_start", "unknown")
    judged = {key: rest.pop(key) for key in keys if key in rest}
    if "estimated_minutes" in rest:
        rest["estimated_minutes"] = Decimal(rest["estimated_minutes"])
    submitted = c.SubmitTask(task=task, agent_type=agent_type, product=product, **rest)
    return p.PlaceTask(submitted=submitted, **judged)


def start(task: str, **rest: Any) -> p.StartTask:
    """`StartTask` in short."""
    return p.StartTask(task=task, **rest)


def preempt(task: str, beneficiary: str, **rest: Any) -> p.PreemptTask:
    """`PreemptTask` in short."""
    return p.PreemptTask(task=task, beneficiary=beneficiary, **rest)


def complete(task: str, lease: str | None = None, used: int | None = None, **rest: Any) -> c.CompleteTask:
    """`CompleteTask` in short; ``used`` are the run's tokens in all."""
    usage = None if used is None else budget(used)
    return c.CompleteTask(task=task, outcome=rest.pop("outcome", "completed"), lease=lease, usage=usage, **rest)


def tokens(amount: int) -> EdgeAmounts:
    """Tokens as a reply shows them."""
    return EdgeAmounts(tokens=amount)


Make = Callable[..., Core]
