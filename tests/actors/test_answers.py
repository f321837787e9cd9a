"""The command queue: what is answered, when, to whom, and in which order."""

import asyncio
import threading
from typing import Any

import pytest

from tallystick.actors.errors import Unanswered
from tallystick.actors.runtime import intake
from tallystick.config.amounts import Budget
from tallystick.events.messages import AllocateBudget
from tests.support.asking import STATUS, code, report, spent
from tests.support.running import OpenFleet
from tests.support.stores import SECONDS, FailingStore, GatedStore

# --- durable before it is answered -----------------------------------------------------------------------------------


def test_no_answer_is_given_before_the_commit_is_durable_to_a_query_neither(open_fleet: OpenFleet) -> None:
    store = GatedStore()
    fleet = open_fleet(store)
    store.shut()
    first = fleet.send(report())
    assert store.entered.wait(SECONDS)
    later, query = fleet.send([report(), STATUS]), fleet.send(STATUS)
    for pending in (first, later, query):
        with pytest.raises(Unanswered):
            pending.result(timeout=0.05)
    before = store.last()
    store.gate.set()
    assert "ok" in first.result(SECONDS)
    assert [list(reply) for reply in later.result(SECONDS)] == [["ok"], ["ok"]]
    assert query.result(SECONDS)["ok"]["total_consumed"]["tokens"] == 10
    after = store.last()
    assert before is not None
    assert after is not None
    assert after.position > before.position


def test_a_query_that_saw_what_is_not_yet_durable_waits_for_it(open_fleet: OpenFleet) -> None:
    store = GatedStore()
    fleet = open_fleet(store)
    store.shut()
    both = fleet.send([report(), STATUS])
    assert store.entered.wait(SECONDS)
    with pytest.raises(Unanswered):
        both.result(timeout=0.05)
    store.gate.set()
    assert both.result(SECONDS)[1]["ok"]["total_consumed"]["tokens"] == 5


def test_a_query_of_a_quiet_fleet_needs_no_commit(open_fleet: OpenFleet) -> None:
    store = GatedStore()
    fleet = open_fleet(store)
    store.shut()
    assert "ok" in fleet.ask(STATUS, timeout=SECONDS)
    store.gate.set()


def test_a_caller_that_waits_too_long_gets_an_error_and_the_command_is_still_carried_out_once(
    open_fleet: OpenFleet,
) -> None:
    store = GatedStore()
    fleet = open_fleet(store)
    store.shut()
    with pytest.raises(Unanswered, match="same id"):
        fleet.ask(report("r-1"), timeout=0.05)
    store.gate.set()
    assert "ok" in fleet.ask(report("r-1"))
    assert spent(fleet) == 5


def test_what_arrives_while_a_commit_is_under_way_is_committed_together(open_fleet: OpenFleet) -> None:
    store = GatedStore()
    fleet = open_fleet(store)
    store.shut()
    first = fleet.send(report())
    assert store.entered.wait(SECONDS)
    rest = [fleet.send(report()) for _ in range(50)]
    store.gate.set()
    for pending in (first, *rest):
        assert "ok" in pending.result(SECONDS)
    assert store.batches[-2:] == [1, 50]


def test_the_messages_of_a_list_are_committed_together_and_answered_in_order(open_fleet: OpenFleet) -> None:
    store = GatedStore()
    fleet = open_fleet(store)
    commits = len(store.batches)
    replies = fleet.ask(
        [
            {"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 100}},
            {"type": "Reserve", "agent": "a", "estimate": {"tokens": 40}, "id": "h"},
            {"type": "GetStatus", "agent": "a"},
            {"type": "Nonsense"},
            {"type": "Settle", "hold": "h", "usage": {"tokens": 30}},
            {"type": "Settle", "hold": "h", "usage": {"tokens": 30}},
            {"type": "GetStatus", "agent": "a"},
        ]
    )
    assert len(store.batches) == commits + 1
    assert replies[1]["ok"]["hold"] == "h"
    assert replies[2]["ok"]["held"] == {"tokens": 40}
    assert code(replies[3]) == "invalid_message"
    assert replies[4]["ok"]["remaining"] == {"tokens": 70}
    assert code(replies[5]) == "already_settled"
    assert replies[6]["ok"]["consumed"]["tokens"] == 30


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_a_full_inbox_answers_busy_at_once_and_takes_more_when_it_is_empty(
    open_fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "INBOX_MAX", 20)
    store = GatedStore()
    fleet = open_fleet(store)
    store.shut()
    first = fleet.send(report())
    assert store.entered.wait(SECONDS)
    waiting = [fleet.send(report()) for _ in range(20)]
    refused = fleet.ask([report("late"), report()], timeout=SECONDS)
    assert [code(reply) for reply in refused] == ["busy", "busy"]
    assert refused[0]["error"]["retry_after_seconds"] == 1
    store.gate.set()
    assert all("ok" in pending.result(SECONDS) for pending in (first, *waiting))
    assert spent(fleet) == 105
    assert "ok" in fleet.ask(report("late"))
    assert spent(fleet) == 110


# --- asyncio ---------------------------------------------------------------------------------------------------------


def test_coroutines_get_their_answers_and_the_loop_is_not_blocked(open_fleet: OpenFleet) -> None:
    store = GatedStore()
    fleet = open_fleet(store)

    async def run() -> None:
        store.shut()
        asking = [asyncio.create_task(fleet.ask_async(report())) for _ in range(40)]
        many = asyncio.create_task(fleet.ask_async([report(), {"type": "Nonsense"}, STATUS]))
        turns = 0
        while not store.entered.is_set() or turns < 100:  # the loop turns while the store waits
            await asyncio.sleep(0)
            turns += 1
        assert not any(task.done() for task in (*asking, many))
        store.gate.set()
        replies = await asyncio.wait_for(asyncio.gather(*asking), SECONDS)
        assert all("ok" in reply for reply in replies)
        assert [list(reply) for reply in await many] == [["ok"], ["error"], ["ok"]]

    asyncio.run(run())
    assert spent(fleet) == 41 * 5


def test_a_coroutine_that_waits_too_long_gets_an_error_and_one_that_was_cancelled_harms_no_other(
    open_fleet: OpenFleet,
) -> None:
    store = GatedStore()
    fleet = open_fleet(store)

    async def run() -> None:
        store.shut()
        cancelled = asyncio.create_task(fleet.ask_async(report()))
        with pytest.raises(Unanswered):
            await fleet.ask_async(report("r"), timeout=0.05)
        cancelled.cancel()
        store.gate.set()
        assert "ok" in await fleet.ask_async(report("r"))

    asyncio.run(run())
    assert "ok" in fleet.ask(report())
    assert spent(fleet) == 15


def test_a_loop_that_was_closed_in_between_harms_no_other_caller(open_fleet: OpenFleet) -> None:
    store = GatedStore()
    fleet = open_fleet(store)

    async def leave() -> None:
        store.shut()
        task = asyncio.create_task(fleet.ask_async(report()))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(leave())
    store.gate.set()
    assert "ok" in fleet.ask(report())
    assert spent(fleet) == 10


def test_only_malformed_messages_are_answered_to_coroutines_too(open_fleet: OpenFleet) -> None:
    fleet = open_fleet()
    assert code(asyncio.run(fleet.ask_async({"type": "Nonsense"}))) == "invalid_message"
    assert asyncio.run(fleet.ask_async([])) == []


# --- the end ---------------------------------------------------------------------------------------------------------


def test_a_closed_fleet_answers_halted_to_all(open_fleet: OpenFleet) -> None:
    fleet = open_fleet()
    fleet.close()
    fleet.close()
    assert code(fleet.ask(report())) == "halted"
    assert [code(reply) for reply in fleet.ask([report(), STATUS])] == ["halted", "halted"]
    assert code(fleet.ask({"type": "Nonsense"})) == "invalid_message"
    assert code(asyncio.run(fleet.ask_async(report()))) == "halted"


def test_what_was_handed_in_before_the_closing_is_done_and_answered(open_fleet: OpenFleet) -> None:
    store = GatedStore()
    fleet = open_fleet(store)
    store.shut()
    pending = [fleet.send(report()) for _ in range(50)]
    closing = threading.Thread(target=fleet.close)
    closing.start()
    store.gate.set()
    closing.join(SECONDS)
    assert all("ok" in one.result(SECONDS) for one in pending)
    assert spent(fleet) == 250


def test_callers_of_a_fleet_that_closes_under_them_are_all_answered(open_fleet: OpenFleet) -> None:
    fleet = open_fleet()
    replies: list[Any] = []

    def ask_until_it_is_over() -> None:
        while True:
            reply = fleet.ask(report(), timeout=SECONDS)
            replies.append(reply)
            if "error" in reply:
                return

    askers = [threading.Thread(target=ask_until_it_is_over) for _ in range(8)]
    for asker in askers:
        asker.start()
    while len(replies) < 200:
        fleet.ask(STATUS)
    fleet.close()
    for asker in askers:
        asker.join(SECONDS)
        assert not asker.is_alive()
    done = [reply for reply in replies if "ok" in reply]
    assert spent(fleet) == 5 * len(done)
    assert {code(reply) for reply in replies if "error" in reply} == {"halted"}


def test_a_rebalance_that_is_on_its_way_when_the_fleet_stops_is_answered(open_fleet: OpenFleet) -> None:
    store = FailingStore()
    fleet = open_fleet(store)
    fleet._specialists["reallocator"].handle = lambda message, now: []  # type: ignore[method-assign]
    waiting = [fleet.send({"type": "Rebalance"}), fleet.send([report(), {"type": "Rebalance"}])]
    fleet.quiesce()
    store.failing = True
    assert code(fleet.ask(report())) == "halted"
    assert code(waiting[0].result(SECONDS)) == "halted"
    assert [code(reply) for reply in waiting[1].result(SECONDS)] == ["halted", "halted"]


def test_a_rebalance_that_is_on_its_way_when_the_fleet_is_closed_is_answered(open_fleet: OpenFleet) -> None:
    fleet = open_fleet()
    fleet._specialists["reallocator"].handle = lambda message, now: []  # type: ignore[method-assign]
    waiting = fleet.send({"type": "Rebalance"})
    fleet.quiesce()
    fleet.close()
    assert code(waiting.result(SECONDS)) == "halted"


def test_the_same_agent_is_not_opened_twice_by_threads_that_ask_at_once(open_fleet: OpenFleet) -> None:
    fleet = open_fleet()
    replies: list[Any] = []
    start = threading.Barrier(8)

    def allocate() -> None:
        start.wait(SECONDS)
        replies.append(fleet.ask(AllocateBudget(agent="a", budget=Budget(tokens=10))))

    threads = [threading.Thread(target=allocate) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert sorted(next(iter(reply)) for reply in replies) == ["error"] * 7 + ["ok"]
