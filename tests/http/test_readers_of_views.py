"""Processes that read views: each position is what it was, and every question has an answer."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.events.log.snapshot import dump
from tallystick.events.log.store import open_store
from tallystick.fleet import Fleet
from tallystick.http.views import states
from tallystick.http.views.agents import WINDOW_MAX
from tallystick.http.views.reader import Question, Reader
from tallystick.http.views.readers import Busy, Failed, Readers, _Queued
from tallystick.http.views.states import Walk
from tallystick.moments import Moment


@pytest.fixture(scope="module")
def long_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A log of several checkpoints, which are as far from each other as a fifth of it is long."""
    url = f"sqlite:///{tmp_path_factory.mktemp('long') / 'fleet.db'}"
    with Fleet.open(url, {}, notify=False) as fleet:
        fleet.ask([{"type": "AllocateBudget", "agent": f"a-{i}", "budget": {"tokens": 10**6}} for i in range(10)])
        for turn in range(5):
            fleet.ask(
                [{"type": "ReportUsage", "agent": f"a-{i % 10}", "usage": {"tokens": turn + i}} for i in range(90)]
            )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(states, "APART_LEAST", 90)
        yield url


@settings(max_examples=10, deadline=None)
@given(steps=st.lists(st.integers(1, 450), min_size=2, max_size=8))
def test_in_whatever_order_positions_are_visited_each_is_what_it_was(long_log: str, steps: list[int]) -> None:
    store = open_store(long_log)
    try:
        walk = Walk(store)
        for position in steps:
            fresh = Walk(store).state(Moment(position))
            state = walk.state(Moment(position))
            assert state.position == position
            assert state.queries.global_status() == fresh.queries.global_status()
            assert dump(state.ledger()) == dump(fresh.ledger())
    finally:
        store.close()


def test_a_state_that_was_given_stays_as_it_is(long_log: str) -> None:
    store = open_store(long_log)
    try:
        walk = Walk(store)
        early = walk.state(Moment(100))
        walk.state(Moment(430))
        assert early.position == 100
        assert early.ledger().position == 100
    finally:
        store.close()


# --- readers ----------------------------------------------------------------------------------------------------------


def test_a_reader_that_was_killed_is_replaced(long_log: str) -> None:
    async def scenario() -> None:
        store = open_store(long_log)
        readers = Readers(store, log_time=False)
        first = await readers.ask("status", "100", {})
        process = readers._past._reader._process  # type: ignore[attr-defined]
        process.kill()
        await process.wait()
        assert await readers.ask("status", "100", {}) == first
        await readers.close()
        store.close()

    asyncio.run(scenario())


def test_a_reader_that_cannot_begin_is_an_answer(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = open_store(f"sqlite:///{tmp_path / 'gone.db'}", writer=True)
        readers = Readers(store, log_time=False)
        store.close()
        shutil.rmtree(tmp_path)
        with pytest.raises(Failed):
            await readers.ask("status", None, {})
        await readers.close()

    asyncio.run(scenario())


def test_those_who_wait_for_the_same_get_one_answer_and_none_that_is_older_than_its_question(long_log: str) -> None:
    class Counting:
        """Answers with how often it was asked."""

        asked = 0

        def __init__(self) -> None:
            self.may_answer = asyncio.Event()
            self.began = asyncio.Event()

        async def ask(self, line: bytes) -> bytes:
            self.asked += 1
            answer = str(self.asked).encode()
            self.began.set()
            await self.may_answer.wait()
            return answer

        async def close(self) -> None:
            """Nothing is open."""

    async def scenario() -> None:
        reader = Counting()
        queued = _Queued(reader)
        first = asyncio.ensure_future(queued.ask(b"page", shared=True))
        await reader.began.wait()
        later = [asyncio.ensure_future(queued.ask(b"page", shared=True)) for _ in range(9)]
        await asyncio.sleep(0)
        reader.may_answer.set()
        assert await first == b"1"
        assert await asyncio.gather(*later) == [b"2"] * 9
        assert await queued.ask(b"page", shared=True) == b"3"

    asyncio.run(scenario())


def test_only_so_many_wait(long_log: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tallystick.http.views.readers.ASKERS_MAX", 2)

    async def scenario() -> None:
        store = open_store(long_log)
        readers = Readers(store, log_time=False)
        found = await asyncio.gather(*(readers.ask("status", "5", {}) for _ in range(4)), return_exceptions=True)
        assert [isinstance(one, Busy) for one in found] == [False, False, True, True]
        await readers.close()
        store.close()

    asyncio.run(scenario())


def test_an_answer_that_is_not_waited_for_is_not_given_to_another_question(long_log: str) -> None:
    async def scenario() -> None:
        store = open_store(long_log)
        readers = Readers(store, log_time=False)
        await readers.ask("status", "1", {})
        left = asyncio.ensure_future(readers.ask("status", "1500", {}))
        await asyncio.sleep(0)
        left.cancel()
        found = json.loads(await readers.ask("status", "2", {}))
        assert found["ok"]["at"] == json.loads(await readers.ask("status", "2", {}))["ok"]["at"]
        assert found == json.loads(await readers.ask("status", "2", {}))
        await readers.close()
        store.close()

    asyncio.run(scenario())


def test_a_fleet_in_memory_is_read_too() -> None:
    with Fleet.open("memory:", {}) as fleet:
        fleet.ask({"type": "AllocateBudget", "agent": "one", "budget": {"tokens": 5}})
        reader = Reader(fleet.store, log_time=fleet.log_time)
        found = json.loads(reader.answer(msgspec.json.encode(Question("agents"))))
        assert [one["agent"] for one in found["ok"]["shown"]] == ["one"]


def test_a_window_is_bounded() -> None:
    with Fleet.open("memory:", {}) as fleet:
        count = WINDOW_MAX + 50
        budget = {"tokens": 1}
        fleet.ask([{"type": "AllocateBudget", "agent": f"a-{i}", "budget": budget} for i in range(count)])
        reader = Reader(fleet.store, log_time=fleet.log_time)
        asked = Question("agents", asked={"count": "100000"})
        found = json.loads(reader.answer(msgspec.json.encode(asked)))["ok"]
        assert (found["rows"], len(found["shown"])) == (count, WINDOW_MAX)


def test_the_reader_ends_with_its_server(long_log: str) -> None:
    command = [sys.executable, "-m", "tallystick.http.views.reader", "clock"]
    named = {**os.environ, "TALLYSTICK_STORE": long_log}
    done = subprocess.run(command, input=b"", capture_output=True, timeout=30, check=True, env=named)
    assert done.stdout == b""
