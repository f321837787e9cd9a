"""SIGKILL of the server under load: clients go on, nothing that was answered is lost, and all counts once."""

import asyncio
import contextlib
import threading
from collections import Counter
from pathlib import Path

import pytest

from tallystick import Client
from tallystick.events import catalog as e
from tallystick.events.log.codec import decode_event
from tallystick.events.log.restoring import open_ledger
from tallystick.events.log.store import open_store
from tallystick.events.state.conservation import check_conserved
from tests.support.programs import in_thread, run, until
from tests.support.serving import Served

SECONDS = 120
THREADS, COROUTINES, CALLS = 6, 18, 12
HELD, USED, REPORTED = 100, 7, 3


class Load:
    """Agents in threads and coroutines of one client; what was answered to them."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._changed = threading.Condition()
        self.settled: list[str] = []
        self.reports = 0

    def note(self, hold: str) -> None:
        with self._changed:
            self.settled.append(hold)
            self.reports += 1
            self._changed.notify_all()

    def until_settled(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.settled) >= count, SECONDS)

    def in_a_thread(self, number: int) -> None:
        with self.client.agent(f"thread-{number}", tokens=100_000) as agent:
            for _ in range(CALLS):
                with agent.call(tokens=HELD) as call:
                    call.done(tokens=USED)
                agent.report(tokens=REPORTED)
                self.note(call.id)

    async def in_a_coroutine(self, number: int) -> None:
        async with self.client.agent(f"coroutine-{number}", tokens=100_000) as agent:
            for _ in range(CALLS):
                async with agent.call(tokens=HELD) as call:
                    call.done(tokens=USED)
                await agent.report(tokens=REPORTED)
                self.note(call.id)

    async def in_coroutines(self) -> None:
        await asyncio.gather(*(self.in_a_coroutine(number) for number in range(COROUTINES)))


def test_a_server_that_is_killed_and_started_again_under_load(tmp_path: Path) -> None:
    server = Served(tmp_path)
    with Client(f"http://127.0.0.1:{server.port}", retry_seconds=SECONDS) as client:
        load = Load(client)
        failed: list[BaseException] = []

        def guarded(work: object, *args: object) -> None:
            try:
                work(*args)  # type: ignore[operator]
            except BaseException as error:  # noqa: BLE001 - the test says so
                failed.append(error)

        threads = [threading.Thread(target=guarded, args=(load.in_a_thread, number)) for number in range(THREADS)]
        threads.append(threading.Thread(target=guarded, args=(lambda: asyncio.run(load.in_coroutines()),)))
        for thread in threads:
            thread.start()
        of_all = (THREADS + COROUTINES) * CALLS
        for kill in (1, 2):
            load.until_settled(of_all * kill // 4)
            server.kill()
            server = Served(tmp_path, port=server.port)
        for thread in threads:
            thread.join(SECONDS)
        assert failed == []
        assert run(client.ask_async({"type": "GetGlobalStatus"}))["ok"]["agent_statuses"] == []
    assert server.stop() == 0

    with contextlib.closing(open_store(f"sqlite:///{tmp_path / 'fleet.db'}")) as store:
        events = [decode_event(record.data, record.name) for record in store.read()]
        ledger = open_ledger(store).ledger
    settled = Counter(event.hold for event in events if isinstance(event, e.HoldSettled))
    assert len(load.settled) == of_all
    assert settled == Counter(load.settled), "each that was answered is there, and each is there once"
    counts = Counter(type(event) for event in events)
    assert counts[e.UsageReported] == load.reports
    assert counts[e.HoldPlaced] == of_all
    assert ledger.spent[0] == of_all * (USED + REPORTED)
    assert (ledger.accounts, ledger.holds) == ({}, {})
    check_conserved(ledger)


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_call_that_waits_for_room_waits_on_when_the_server_is_there_again(tmp_path: Path, end: str) -> None:
    """Its patience is what it asks to wait, and not only that for a server that does not answer."""
    server = Served(tmp_path)
    with Client(f"http://127.0.0.1:{server.port}", retry_seconds=0.01) as client:
        client.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 100}})
        client.ask({"type": "Reserve", "agent": "a", "estimate": {"tokens": 100}, "id": "first"})
        waiting = {"type": "Reserve", "agent": "a", "estimate": {"tokens": 60}, "id": "waits", "wait_seconds": 600}
        later = in_thread(lambda: client.ask(waiting))
        until(lambda: b"tallystick_http_requests_in_progress 2\n" in metrics(server))
        if end == "kill":
            server.kill()
        else:
            assert server.stop() == 0
        server = Served(tmp_path, port=server.port)
        until(lambda: b"tallystick_http_requests_in_progress 2\n" in metrics(server))
        assert not later.done()
        client.ask({"type": "CancelHold", "hold": "first"})
        assert later.result(SECONDS)["ok"]["hold"] == "waits"
    assert server.stop() == 0


def metrics(server: Served) -> bytes:
    with contextlib.closing(server.client()) as plain:
        return plain.call("GET", "/metrics").body
