"""What only a server can do wrong: it goes away at any moment, answers are lost, and a stale writer comes back."""

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest

from tallystick.events.log import store_postgres
from tallystick.events.log.postgres_place import place_of
from tallystick.events.log.store import Fenced, Record, Store, StoreError, WriterPresent, open_store
from tests.support.cutting_proxy import CuttingProxy, Moment
from tests.support.postgres import PostgresServer, programs, running, shared
from tests.support.store_processes import SECONDS, child, let_go, line_of, records

pytestmark = pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed (Debian: postgresql)")


@pytest.fixture
def url(request: pytest.FixtureRequest) -> str:
    """A fleet of its own in the server of all tests."""
    return shared().url(fleet=f"f-{abs(hash(request.node.nodeid)):x}")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server that tests stop and kill."""
    with running() as own:
        yield own


def written(url: str) -> list[tuple[int, bytes]]:
    """What is in the database, seen with nothing of ours."""
    place = place_of(url)
    with psycopg.connect(place.database) as connection:
        return connection.execute(
            "SELECT originator_version, state FROM tallystick_events WHERE originator_id = %s ORDER BY 1",
            (place.fleet,),
        ).fetchall()


def as_written(upto: int) -> list[tuple[int, bytes]]:
    return [(record.position, record.data) for record in records(1, upto)]


# --- one writer ------------------------------------------------------------------------------------------------------

_HOLDS = """
import sys
from tallystick.events.log import store_postgres
store_postgres.LEASE_SECONDS = float(sys.argv[2])
from tallystick.events.log.store import Fenced, Record, open_store
store = open_store(sys.argv[1], writer=True)
store.append([Record(1, "event-1.v1", b'{"n":1,"text":"\\xc3\\xa9"}')])
print("writes", flush=True)
sys.stdin.readline()
try:
    store.append([Record(2, "zombie.v1", b"{}")])
    print("written", flush=True)
except Fenced as error:
    print(f"fenced: {error}", flush=True)
store.close()
"""


def test_a_second_writer_is_refused_and_told_who_writes(url: str) -> None:
    first = open_store(url, writer=True)
    with pytest.raises(WriterPresent, match=r"is being written by process \d+ on .+ \(since "):
        open_store(url, writer=True)
    first.close()
    open_store(url, writer=True).close()


def test_a_writer_that_was_killed_is_followed_when_its_lease_has_ended(url: str) -> None:
    with child(_HOLDS, url, "2") as process:
        assert line_of(process) == "writes"
        process.kill()
        process.wait(SECONDS)
        store = open_store(url, writer=True)
    assert list(store.read()) == records(1, 1)
    store.append(records(2, 2))
    store.close()


def test_a_writer_that_was_stopped_for_longer_than_its_lease_writes_nothing_and_says_so(url: str) -> None:
    with child(_HOLDS, url, "1") as process:
        assert line_of(process) == "writes"
        process.send_signal(signal.SIGSTOP)
        store = open_store(url, writer=True)
        store.append(records(2, 2))
        process.send_signal(signal.SIGCONT)
        (said,) = let_go(process)
    assert "the writer's place was taken over by process" in said
    assert written(url) == as_written(2)
    assert store.lost() is None
    store.close()


def test_a_writer_that_goes_on_before_anyone_took_its_place_goes_on_writing(url: str) -> None:
    with child(_HOLDS, url, "0.1") as process:
        assert line_of(process) == "writes"
        process.send_signal(signal.SIGSTOP)
        place = place_of(url)
        with psycopg.connect(place.database, autocommit=True) as connection:
            ended = "SELECT until < clock_timestamp() FROM tallystick_writers WHERE fleet = %s"
            while connection.execute(ended, (place.fleet,)).fetchone() != (True,):
                pass
        process.send_signal(signal.SIGCONT)
        assert let_go(process) == ["written"]


_OPENS = """
import sys
from tallystick.events.log.store import WriterPresent, open_store
print("ready", flush=True)
sys.stdin.readline()
try:
    store = open_store(sys.argv[1], writer=True)
    print("won", flush=True)
    sys.stdin.readline()
    store.close()
except WriterPresent as error:
    print(error, flush=True)
"""


@pytest.mark.parametrize("turn", range(5))
def test_of_two_that_open_at_once_one_wins_and_the_other_names_it(url: str, turn: int) -> None:
    with child(_OPENS, url) as one, child(_OPENS, url) as other:
        both = {process.pid: process for process in (one, other)}
        for process in both.values():
            assert line_of(process) == "ready"
        for process in both.values():
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        said = {pid: line_of(process) for pid, process in both.items()}
        (winner,) = [pid for pid, line in said.items() if line == "won"]
        (refused,) = [line for line in said.values() if line != "won"]
        assert f"process {winner} on " in refused


def test_fleets_of_one_database_do_not_see_each_other(url: str) -> None:
    one, other = (open_store(f"{url}-{name}", writer=True) for name in ("one", "other"))
    one.append(records(1, 3))
    other.append(records(1, 1))
    assert (list(one.read()), list(other.read())) == (records(1, 3), records(1, 1))
    one.close()
    other.close()


# --- the server goes away --------------------------------------------------------------------------------------------


class Writing(threading.Thread):
    """Appends batches of many sizes until it is told to stop; knows what was acknowledged."""

    def __init__(self, store: Store) -> None:
        super().__init__(daemon=True)
        self._store, self._enough = store, threading.Event()
        self._grown = threading.Condition()
        self.acknowledged = 0
        self.error: StoreError | None = None
        self.start()

    def run(self) -> None:
        try:
            for turn in range(1_000_000):
                if self._enough.is_set():
                    return
                last = self.acknowledged + (1, 7, 100, 64)[turn % 4]
                self._store.append(records(self.acknowledged + 1, last))
                with self._grown:
                    self.acknowledged = last
                    self._grown.notify()
        except StoreError as error:
            self.error = error

    def wait_for(self, more: int) -> None:
        """Until so many more records are acknowledged."""
        with self._grown:
            goal = self.acknowledged + more
            assert self._grown.wait_for(lambda: self.acknowledged >= goal or self.error, SECONDS)
            assert self.error is None

    def stop(self) -> int:
        self._enough.set()
        self.join(SECONDS)
        assert not self.is_alive()
        assert self.error is None
        return self.acknowledged


@pytest.mark.parametrize("way", ["stop", "kill"])
def test_a_server_that_goes_and_comes_back_under_load_loses_nothing_and_doubles_nothing(
    server: PostgresServer, way: str
) -> None:
    url = server.url(fleet=way)
    store = open_store(url, writer=True)
    writing = Writing(store)
    for _ in range(3):
        writing.wait_for(300)
        getattr(server, way)()
        with pytest.raises(StoreError, match="could not be read"):
            store.last()
        server.start()
        writing.wait_for(300)
    last = writing.stop()
    assert list(store.read()) == records(1, last)
    assert store.lost() is None
    store.close()


def test_a_server_that_is_not_there_is_named_in_one_line(tmp_path: Path) -> None:
    url = f"postgresql://ada:secret@/db?host={tmp_path}&fleet=main"
    for writer in (True, False):
        with pytest.raises(StoreError) as refused:
            open_store(url, writer=writer)
        assert "\n" not in str(refused.value)
        assert "secret" not in str(refused.value)


@pytest.fixture
def proxy() -> Iterator[CuttingProxy]:
    with TemporaryDirectory(prefix="px-") as folder:
        made = CuttingProxy(Path(folder), shared().folder)
        yield made
        made.close()


BATCHES = {
    "a few records": (3, []),
    "many records": (100, []),
    "a few records and sources": (3, [("s", 4)]),
    "many records and sources": (100, [("s", 4)]),
}


@pytest.mark.parametrize("moment", ["before the server has it", "after the server has it"])
@pytest.mark.parametrize("batch", BATCHES)
def test_a_connection_that_is_cut_at_any_message_leaves_a_batch_whole_and_once(
    proxy: CuttingProxy, url: str, batch: str, moment: Moment
) -> None:
    size, sources = BATCHES[batch]
    through = url.replace(str(shared().folder), str(proxy.folder))
    for at in range(1, 50):
        fleet = f"{through}-{at}"
        store = open_store(fleet, writer=True)
        assert isinstance(store, store_postgres.PostgresStore)
        store.append(records(1, 1))
        proxy.cut(at, moment)
        store.append(records(2, 1 + size), sources)
        cut = proxy.was_cut.is_set()
        proxy.cut(0, moment)
        assert written(fleet) == as_written(1 + size)
        assert store.sources.find("s") == (4 if sources else None)
        store.append(records(2 + size, 2 + size))
        store.close()
        if not cut:
            assert at > 1
            return
    pytest.fail("an append has more than 50 messages")


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fleet", ["", "a/b", "-a", "a" * 65, "ä", "a&fleet=b"])
def test_a_fleet_with_a_name_that_is_none_is_refused(fleet: str) -> None:
    with pytest.raises(StoreError, match="fleet: found"):
        place_of(f"postgresql://host/db?fleet={fleet}")


def test_an_url_is_shown_without_passwords() -> None:
    place = place_of("postgresql://ada:secret@host:5433/db?fleet=prod&sslpassword=hidden&sslmode=require")
    assert place.named == "postgresql://ada@host:5433/db?fleet=prod&sslpassword=***&sslmode=require"
    assert place.fleet == "prod"
    assert "fleet" not in place.database


def test_a_reader_of_a_fleet_that_is_not_there_is_told_so(url: str) -> None:
    open_store(url, writer=True).close()
    with pytest.raises(StoreError, match="the database has none named 'other'"):
        open_store(shared().url(fleet="other"))


def test_a_record_that_someone_else_wrote_fences_the_writer(url: str) -> None:
    store = open_store(url, writer=True)
    place = place_of(url)
    with psycopg.connect(place.database) as connection:
        connection.execute("INSERT INTO tallystick_events VALUES (%s, 1, 'x', 'y')", (place.fleet,))
    with pytest.raises(Fenced):
        store.append(records(1, 1))
    assert store.last() == Record(1, "x", b"y")
    store.close()
