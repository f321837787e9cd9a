"""Servers that share a fleet in PostgreSQL, and programs that go on using it whatever becomes of them."""

import asyncio
import contextlib
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from click.testing import CliRunner

from tallystick import Client
from tallystick.cli.main import main
from tallystick.events import catalog as e
from tallystick.events.log.codec import decode_event
from tallystick.events.log.restoring import open_ledger
from tallystick.events.log.store import open_store
from tallystick.events.state.conservation import check_conserved
from tests.support.serving import Answer, Served

SECONDS = 120
THREADS, COROUTINES = 3, 5
HELD, USED, REPORTED = 100, 7, 3
TOKENS = 5_000_000


class Servers:
    """Servers of one fleet, each in a process and a folder of its own."""

    def __init__(self, folder: Path, store: str) -> None:
        self.store = store
        self._folder, self._numbers = folder, itertools.count()
        self.running: list[Served] = []

    def start(self, *options: str, port: int = 0) -> Served:
        folder = self._folder / f"server-{next(self._numbers)}"
        folder.mkdir()
        server = Served(folder, *options, port=port, store=self.store)
        self.running.append(server)
        return server

    def kill(self, server: Served) -> None:
        self.running.remove(server)
        server.kill()

    def stop(self, server: Served) -> int:
        self.running.remove(server)
        return server.stop()


@contextlib.contextmanager
def servers(folder: Path, store: str) -> Iterator[Servers]:
    """Servers that are dead at the end of the block, if they were not stopped before."""
    made = Servers(folder, store)
    try:
        yield made
    finally:
        for server in list(made.running):
            made.kill(server)


def ask_until_done(server: Served) -> tuple[Answer, float]:
    """What the writer answers through a server, and how long that took; a server that stands by waits for a writer."""
    client, began = server.client(), time.monotonic()
    try:
        while True:
            answer = client.post("/v1/check-enforcement", {"agent": "thread-0"})
            seconds = time.monotonic() - began
            if answer.status == 200:
                return answer, seconds
            assert answer.status in (503, 504), answer
            assert seconds < SECONDS
    finally:
        client.close()


def hand_over(store: str) -> str:
    """Order it, again where the standby was too slow and the writer has gone on."""
    done = CliRunner().invoke(main, ["send", "hand-over", "--store", store])
    while done.exit_code and "this server is the writer again" in done.output:
        done = CliRunner().invoke(main, ["send", "hand-over", "--store", store])
    assert done.exit_code == 0, done.output
    return str(json.loads(done.stdout)["ok"]["writer"])


class Load:
    """Agents in threads and coroutines of one client, until they are told to end; what was answered to them."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._changed, self._ending = threading.Condition(), threading.Event()
        self._threads: list[threading.Thread] = []
        self.settled: list[str] = []
        self.reports = 0
        self.failed: list[BaseException] = []

    def begin(self) -> None:
        works: list[Callable[[], None]] = [lambda n=n: self._in_a_thread(n) for n in range(THREADS)]  # type: ignore[misc]
        works.append(lambda: asyncio.run(self._in_coroutines()))
        self._threads = [threading.Thread(target=self._guarded, args=(work,), daemon=True) for work in works]
        for thread in self._threads:
            thread.start()

    def until_more(self, count: int) -> None:
        with self._changed:
            wanted = len(self.settled) + count
            assert self._changed.wait_for(lambda: len(self.settled) >= wanted or self.failed, SECONDS)
        assert not self.failed

    def end(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(SECONDS)
            assert not thread.is_alive()
        assert not self.failed

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - the test says so
            with self._changed:
                self.failed.append(error)
                self._changed.notify_all()

    def _note(self, hold: str) -> None:
        with self._changed:
            self.settled.append(hold)
            self.reports += 1
            self._changed.notify_all()

    def _in_a_thread(self, number: int) -> None:
        with self.client.agent(f"thread-{number}", tokens=TOKENS) as agent:
            while not self._ending.is_set():
                with agent.call(tokens=HELD) as call:
                    call.done(tokens=USED)
                agent.report(tokens=REPORTED)
                self._note(call.id)

    async def _in_a_coroutine(self, number: int) -> None:
        async with self.client.agent(f"coroutine-{number}", tokens=TOKENS) as agent:
            while not self._ending.is_set():
                async with agent.call(tokens=HELD) as call:
                    call.done(tokens=USED)
                await agent.report(tokens=REPORTED)
                self._note(call.id)

    async def _in_coroutines(self) -> None:
        await asyncio.gather(*(self._in_a_coroutine(number) for number in range(COROUTINES)))

    def check(self, url: str) -> None:
        """Everything that was acknowledged is in the log, once; nothing else is, and nothing is open."""
        store = open_store(url)
        try:
            ledger = open_ledger(store).ledger  # proves every link of the chain
            events = [decode_event(record.data, record.name) for record in store.read()]
        finally:
            store.close()
        check_conserved(ledger)
        settled = Counter(event.hold for event in events if isinstance(event, e.HoldSettled))
        assert settled == Counter(self.settled), "a settlement was lost, or came twice"
        counts = Counter(type(event) for event in events)
        assert (counts[e.UsageReported], counts[e.HoldPlaced]) == (self.reports, len(self.settled))
        assert ledger.spent[0] == len(self.settled) * USED + self.reports * REPORTED
        assert (ledger.accounts, ledger.holds) == ({}, {})
