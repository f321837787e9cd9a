"""Whatever is asked, in whatever order, by however many at once: the core holds through the live actors too."""

import itertools
import random
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.fleet import Fleet
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log.codec import decode_event, exchange_of
from tallystick.events.log.store_memory import MemoryStore
from tallystick.events.state.conservation import check_conserved
from tests.support.core import START
from tests.support.driving import Outcome, Timed, live, timed
from tests.support.examples import examples
from tests.support.running import OpenFleet
from tests.support.second_ledger import Books
from tests.support.stores import SECONDS
from tests.support.strategies import Step, commands
from tests.support.threads import at_once

CHANCE = settings(
    max_examples=examples(20),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)
SPLITS = (c.AllocateEqual, c.AllocateProportional, c.AllocateByPriority)
MALFORMED = ("invalid_message", "invalid_amount")


def recorded(outcome: Outcome) -> list[e.Event]:
    return [decode_event(record.data, record.name) for record in outcome.records]


@CHANCE
@given(commands(40))
def test_a_second_set_of_books_agrees_with_the_log_of_the_live_fleet(steps: list[Step]) -> None:
    """The books refuse to grant or hold what is not there; `live` has proved conservation in full."""
    outcome = live(timed(steps))
    books = Books()
    for event in recorded(outcome):
        books.keep(event)
    ledger = outcome.ledger
    assert ledger.accounts.keys() == books.parent.keys()
    assert ledger.holds.keys() == books.holds.keys()
    assert ledger.spent == books.used
    for name, account in ledger.accounts.items():
        for d in range(3):
            if account.allocated[d] is not None:
                balances = (account.free[d], account.held[d], account.consumed(d))
                assert balances == tuple(books.at(kind, name, d) for kind in ("free", "held", "spent"))


@CHANCE
@given(commands(40))
def test_a_split_through_the_live_fleet_is_exact_or_refused_whole(steps: list[Step]) -> None:
    messages = timed(steps)
    outcome = live(messages)
    granted: dict[str, list[e.BudgetAllocated]] = defaultdict(list)
    for event in recorded(outcome):
        if isinstance(event, e.BudgetAllocated):
            granted[event.id].append(event)
    for (_, command), reply in zip(messages, outcome.replies, strict=True):
        if isinstance(command, SPLITS) and command.id is not None:
            events = granted[command.id]
            if "error" in reply:
                assert events == []
                continue
            for d, units in enumerate(command.total.exact("total")):
                shares = [event.amount.triple[d] for event in events]
                assert shares == [None] * len(shares) if units is None else sum(s or 0 for s in shares) == units


def in_order(ids: Iterable[str], messages: Iterable[Timed]) -> list[str]:
    """Those of the ids that messages have, in the order in which the messages were sent."""
    found = set(ids)
    return list(dict.fromkeys(command.id for _, command in messages if command.id in found))


@settings(CHANCE, max_examples=examples(12))
@given(commands(30))
def test_every_message_that_is_sent_again_gets_the_recorded_answer_and_changes_nothing(steps: list[Step]) -> None:
    messages = [(at, command) for at, command in timed(steps) if not isinstance(command, c.LoadConfig)]
    outcome = live([(at, one) for at, command in messages for one in (command, command)])
    firsts, repeats = outcome.replies[::2], outcome.replies[1::2]
    for (_, command), first, repeat in zip(messages, firsts, repeats, strict=True):
        if not getattr(command, "query", False):
            assert first == repeat
    ids = [event.id for event in recorded(outcome)]
    groups = [id for id, _ in itertools.groupby(ids) if id]
    assert len(groups) == len(set(groups)), "what an id caused is in one place"
    assert in_order(groups, messages) == [id for id in groups if not id.startswith(c.INTERNAL_ID)]


@CHANCE
@given(commands(30))
def test_a_list_of_messages_is_answered_as_they_are_one_by_one(steps: list[Step]) -> None:
    """All at one moment, without the question that waits for judgement."""
    messages = [command for _, command in timed(steps) if not isinstance(command, c.Rebalance)]
    alone = live([(START, message) for message in messages])
    together = MemoryStore()
    with Fleet.open(together, clock=ManualClock(START)) as fleet:
        replies = fleet.ask(messages)
        check_conserved(fleet._manager.ledger)
    # The specialists' warnings come between the messages there, and after them here.
    assert [list(reply) for reply in replies] == [list(reply) for reply in alone.replies]
    logged = logged_replies(together)
    own = [id for id in logged if not id.startswith(c.INTERNAL_ID)]
    assert own == in_order(own, [(START, message) for message in messages]), "they are decided in their order"
    answered = {message.id: reply for message, reply in reversed(list(zip(messages, replies, strict=True)))}
    assert {id: answered[id] for id in own} == {id: logged[id] for id in own}, "each reply is in its message's place"


def logged_replies(store: MemoryStore) -> dict[str, Any]:
    """The replies that a log holds by the id of their message, in its order."""
    logged = {}
    for record in store.read():
        if reply := bytes(exchange_of(record.data).reply):
            logged[decode_event(record.data, record.name).id] = msgspec.json.decode(reply)
    return logged


# --- many at once ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", ["memory:", "sqlite"])
def test_agents_that_reserve_at_the_same_moment_are_never_granted_more_than_there_is(
    open_fleet: OpenFleet, tmp_path: Any, store: str
) -> None:
    fleet = open_fleet(f"sqlite:///{tmp_path}/fleet.db" if store == "sqlite" else store)
    fleet.ask({"type": "AllocateBudget", "agent": "shared", "budget": {"tokens": 1_000}})
    granted: list[int] = []
    refused: list[dict[str, Any]] = []

    def reserve(number: int) -> None:
        dice = random.Random(number)
        for _ in range(30):
            tokens = dice.randrange(1, 30)
            reply = fleet.ask({"type": "Reserve", "agent": "shared", "estimate": {"tokens": tokens}})
            if "ok" in reply:
                granted.append(tokens)
            else:
                assert reply["error"]["code"] == "budget_exhausted"
                assert reply["error"]["available"]["tokens"] < tokens
                refused.append(reply)

    at_once(16, reserve)
    assert refused, "there was less than was asked for"
    assert sum(granted) <= 1_000
    assert sum(granted) == fleet._manager.ledger.held[0] > 970
    check_conserved(fleet._manager.ledger)


def test_sub_agents_that_are_opened_at_the_same_moment_never_get_more_than_their_parent(open_fleet: OpenFleet) -> None:
    fleet = open_fleet()
    fleet.ask({"type": "AllocateBudget", "agent": "parent", "budget": {"tokens": 1_000}})
    granted: list[str] = []

    def allocate(number: int) -> None:
        for n in range(10):
            agent = f"child-{number}-{n}"
            message = {"type": "AllocateBudget", "agent": agent, "budget": {"tokens": 17}, "parent": "parent"}
            if "ok" in fleet.ask(message):
                granted.append(agent)

    at_once(10, allocate)
    assert len(granted) == 1_000 // 17
    assert fleet._manager.ledger.accounts["parent"].free[0] == 1_000 % 17
    check_conserved(fleet._manager.ledger)


def test_everything_at_once_from_many_threads_keeps_the_invariants_and_every_answer_is_the_one_in_the_log(
    open_fleet: OpenFleet,
) -> None:
    store = MemoryStore()
    fleet = open_fleet(store, total_budget={"tokens": 5_000}, emergency_reserve_percent=10)
    answers: dict[str, Any] = {}

    def work(number: int) -> None:
        dice = random.Random(number)
        holds = ["none"]
        for n in range(60):
            id, agent = f"{number}-{n}", f"agent-{dice.randrange(5)}"
            tokens = {"tokens": dice.choice((0, 1, 20, 100, 400))}
            message: dict[str, Any] = dice.choice(
                (
                    {"type": "AllocateBudget", "agent": agent, "budget": tokens},
                    {"type": "AllocateFromPool", "agent": agent, "request": tokens},
                    {"type": "BorrowFromPool", "agent": agent, "amount": tokens},
                    {"type": "ReturnToPool", "agent": agent, "amount": tokens},
                    {"type": "ReportUsage", "agent": agent, "usage": tokens},
                    {"type": "Reserve", "agent": agent, "estimate": tokens},
                    {"type": "Settle", "hold": dice.choice(holds), "usage": tokens},
                    {"type": "CancelHold", "hold": dice.choice(holds)},
                    {"type": "ReleaseBudget", "agent": agent},
                    {"type": "Rebalance"},
                )
            )
            if message["type"] == "Reserve":
                holds.append(id)
            answers[id] = fleet.ask({**message, "id": id}, timeout=SECONDS)

    at_once(8, work)
    fleet.quiesce()
    assert fleet.halted is None
    check_conserved(fleet._manager.ledger)
    books, logged = Books(), logged_replies(store)
    for record in store.read():
        books.keep(decode_event(record.data, record.name))
    for id, answer in answers.items():
        if "ok" in answer or answer["error"]["code"] not in MALFORMED:
            assert logged[id] == answer
