"""Where one process serves many fleets, no more readers run than it may have; each fleet is answered all the same."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tallystick import Fleet
from tallystick.events.log.store import Store, open_store
from tallystick.http.views.limit import ReaderLimit
from tallystick.http.views.readers import Readers

FLEETS, MOST = 3, 2


@pytest.fixture
def stores(tmp_path: Path) -> Any:
    """The log of each fleet has an agent of its own."""
    stores = []
    for number in range(FLEETS):
        url = f"sqlite:///{tmp_path / f'{number}.db'}"
        with Fleet.open(url) as fleet:
            fleet.ask({"type": "AllocateBudget", "agent": f"of-{number}", "budget": {"tokens": 100}})
        stores.append(open_store(url))
    yield stores
    for store in stores:
        store.close()


def running(fleets: list[Readers]) -> list[int]:
    """The fleets whose reader of the present runs."""
    processes: list[Any] = [readers._present._reader._reader._process for readers in fleets]  # type: ignore[attr-defined]
    return [number for number, process in enumerate(processes) if process is not None and process.returncode is None]


def test_one_that_is_asked_ends_the_one_that_was_asked_longest_ago(stores: list[Store]) -> None:
    async def scenario() -> None:
        limit = ReaderLimit(MOST)
        fleets = [Readers(store, log_time=False, limit=limit) for store in stores]
        for number, now_running in ((0, [0]), (1, [0, 1]), (0, [0, 1]), (2, [0, 2])):
            assert f"of-{number}".encode() in await fleets[number].ask("status", None, {})
            assert running(fleets) == now_running
        for readers in fleets:
            await readers.close()
        assert running(fleets) == []

    asyncio.run(scenario())


def test_all_that_are_asked_at_once_are_answered(stores: list[Store]) -> None:
    async def scenario() -> None:
        limit = ReaderLimit(1)
        fleets = [Readers(store, log_time=False, limit=limit) for store in stores]
        answers = await asyncio.gather(*(readers.ask("status", None, {}) for readers in fleets))
        assert [f"of-{number}".encode() in answer for number, answer in enumerate(answers)] == [True] * FLEETS
        assert len(running(fleets)) == 1
        for readers in fleets:
            await readers.close()

    asyncio.run(scenario())
