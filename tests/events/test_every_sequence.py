"""Whatever is asked, in whatever order: the core holds after every step."""

from typing import Union

import msgspec
from hypothesis import HealthCheck, given, settings

from tallystick.events import catalog as e
from tallystick.events.decide.facts import fleet_facts
from tallystick.events.evolve import evolve
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.ledger import Ledger
from tests.support.core import Core, dump
from tests.support.examples import examples
from tests.support.second_ledger import DIMENSIONS, Books
from tests.support.slots import Slots
from tests.support.spending import Spending
from tests.support.strategies import Step, commands

PROFILE = settings(
    max_examples=examples(250),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


def run(steps: list[Step]) -> Core:
    """The whole sequence, with the second set of books beside it."""
    core, books, slots, spending = Core(compares=False), Books(), Slots(), Spending()
    for command, seconds in steps:
        core.wait(seconds)
        core.when(command)
        for number, event in enumerate(core.decided.events):
            books.keep(event)
            slots.keep(event)
            spending.keep(event)
            _check_event(books, event)
            if number < core.decided.own and isinstance(event, e.HoldEnded | e.PeriodRenewed | e.BudgetReleased):
                books.respond()
        books.respond()
        _check_state(books, core.ledger)
        _check_tasks(slots, core.ledger)
        _check_day(spending, core)
    core.compare()
    return core


def _check_event(books: Books, event: e.Event) -> None:
    """Nothing that is given back goes below the minimum share."""
    if isinstance(event, e.BudgetReturned) or (isinstance(event, e.BudgetMoved) and event.strategy == "idle"):
        agent = event.agent if isinstance(event, e.BudgetReturned) else event.source
        for d in DIMENSIONS:
            if event.amount.triple[d]:
                assert (books.allocated[agent][d] or 0) >= books.minimum_share(d)


def _check_state(books: Books, ledger: Ledger) -> None:
    assert ledger.accounts.keys() == books.parent.keys()
    assert ledger.holds.keys() == books.holds.keys()
    assert ledger.spent == books.used
    assert ledger.response == books.response
    for name, account in ledger.accounts.items():
        assert list(account.allocated) == books.allocated[name], name
        for d in DIMENSIONS:
            if account.allocated[d] is None:
                continue
            assert account.free[d] == books.at("free", name, d) >= 0, (name, d)
            assert account.held[d] == books.at("held", name, d), (name, d)
            assert account.consumed(d) == books.at("spent", name, d), (name, d)
            assert account.granted[d] == books.granted(name, d), (name, d)
        assert account.level == books.level(name), name
    for d in DIMENSIONS:
        total = ledger.root.allocated[d]
        if total is None:
            continue
        pool, reserve, overdraft = ledger.pool[d], ledger.in_reserve[d], ledger.overdraft[d]
        assert pool == books.at("free", "fleet", d) >= 0
        assert reserve == books.at("free", "reserve", d) >= 0
        assert overdraft == books.overdraft[d] >= 0
        assert total + books.overdraft[d] == books.granted("fleet", d) + books.at("free", "reserve", d)
        assert not (pool and overdraft)
        # What comes back refills the reserve before the pool.
        assert reserve == ledger.reserve_size(d) or not pool


def _check_tasks(slots: Slots, ledger: Ledger) -> None:
    """Whatever the core knows of tasks, the events say too; what has ended may be forgotten."""
    states = {name: task.state for name, task in ledger.tasks.known.items()}
    stored = {"waiting": "waiting_on_dependencies"}
    assert all(stored.get(slots.state[name], slots.state[name]) == state for name, state in states.items())
    assert list(ledger.tasks.running) == slots.running, "runs are kept in the order in which they started"
    assert slots.of("queued") == {name for name, state in states.items() if state == "queued"}
    assert {task: slots.lease[task] for task in slots.running} == {
        task.id: task.lease for task in ledger.tasks.running.values()
    }
    assert all(slots.until[task] > ledger.now or ledger.is_paused for task in slots.running if not slots.paused)


def _check_day(spending: Spending, core: Core) -> None:
    """The day is as the events add up; each alert that is due was raised, and no condition that holds was missed."""
    ledger, day = core.ledger, core.ledger.day
    if spending.date is None:
        return
    assert day.date == spending.date
    assert list(ledger.used_today) == spending.used
    products = {name for name in (*day.by_product, *spending.by_product) if name is not None}
    assert all(day.by_product[name] == spending.by_product[name] for name in products)
    assert ledger.commitments.open == spending.committed()
    assert {task: promise.spent for task, promise in ledger.commitments.runs.items()} == {
        task: spent for task, (_, spent) in spending.runs.items()
    }
    assert set(spending.due_alerts()) <= set(spending.alerts)
    assert (day.tripped, list(day.silenced)) == (spending.tripped, spending.silenced)
    if day.tripped is None and core.own and not isinstance(core.decided.answer, Refusal):
        facts = fleet_facts(ledger)
        holding = [one.text for one in ledger.rules.config.trip_conditions if one.holds(facts)]
        assert set(holding) <= set(spending.silenced), "a condition holds, and the breaker is closed"


@PROFILE
@given(commands())
def test_conservation_holds_and_a_second_set_of_books_agrees_after_every_step(steps: list[Step]) -> None:
    run(steps)


@settings(PROFILE, max_examples=examples(40))
@given(commands())
def test_a_replay_of_the_written_log_gives_the_same_state_and_the_same_decisions(steps: list[Step]) -> None:
    first, again = run(steps), run(steps)
    assert first.log == again.log
    ledger = Ledger()
    for event in first.log:
        evolve(ledger, msgspec.json.decode(msgspec.json.encode(event), type=Union[e.CATALOG]))  # noqa: UP007
    assert dump(ledger) == dump(first.ledger)
    assert [event.position for event in first.log] == list(range(1, len(first.log) + 1))
