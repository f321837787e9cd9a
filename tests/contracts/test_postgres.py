"""What only a server can do wrong: it goes away at any moment, answers are lost, and a stale writer comes back."""

import signal
from pathlib import Path

import psycopg
import pytest

from tallystick.events.log.postgres_place import place_of
from tallystick.events.log.store import Fenced, Record, StoreError, WriterPresent, open_store
from tests.support.postgres import OPENERS, shared
from tests.support.postgres_logs import as_written, ask, written
from tests.support.store_processes import SECONDS, child, let_go, line_of, records, stdin_of


def test_the_server_does_not_spend_time_on_compressing_rows(url: str) -> None:
    open_store(url, writer=True).close()
    kind = "SELECT attstorage FROM pg_attribute WHERE attrelid = 'tallystick_events'::regclass AND attname = 'state'"
    assert ask(url, kind) == [("e",)]


def test_a_view_shows_each_record_in_old_rows_and_in_new_ones(url: str) -> None:
    store = open_store(url, writer=True)
    (first,) = records(1, 1)
    ask(url, "INSERT INTO tallystick_events VALUES (%s, %s, %s, %s)", place_of(url).fleet, *first)
    store.append(records(2, 12))
    store.close()
    shown = "SELECT position, type, record->>'text' FROM tallystick_log WHERE fleet = %s ORDER BY 1"
    expected = [(record.position, record.name, "é\n") for record in records(1, 12)]
    assert ask(url, shown, place_of(url).fleet) == expected


def test_a_user_who_may_make_no_view_writes_all_the_same(url: str) -> None:
    open_store(url, writer=True).close()
    ask(url, "DROP VIEW tallystick_log")
    role = f"plain_{place_of(url).fleet.replace('-', '_')}"
    ask(url, f"CREATE ROLE {role} LOGIN")
    ask(url, f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
    store = open_store(f"{url}&user={role}", writer=True)
    store.append(records(1, 1))
    store.close()
    assert ask(url, "SELECT to_regclass('tallystick_log')") == [(None,)]
    open_store(url, writer=True).close()
    assert ask(url, "SELECT to_regclass('tallystick_log')") != [(None,)]


# --- one writer ------------------------------------------------------------------------------------------------------

_HOLDS = """
import sys
from tallystick.events.log import store_postgres
store_postgres.LEASE_SECONDS = float(sys.argv[2])
from tallystick.events.log.store import Fenced, Record, open_store
from tests.support.store_processes import records
store = open_store(sys.argv[1], writer=True)
store.append(records(1, 1))
print("writes", flush=True)
sys.stdin.readline()
try:
    store.append([Record(2, "zombie.v1", b"{}")])
    print("written", flush=True)
except Fenced as error:
    print(f"fenced: {error}", flush=True)
store.close()
"""


def test_a_second_writer_is_refused_and_learns_who_writes(url: str) -> None:
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
        try:
            store = open_store(url, writer=True)
        except WriterPresent:  # a renewal was on its way to the server when the process was stopped
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
import sys, threading
from tallystick.events.log.store import WriterPresent, open_store
opened, said = [], {}
def opens(n):
    try:
        opened.append(open_store(f"{sys.argv[1]}-{n}", writer=True))
        said[n] = "won"
    except WriterPresent as error:
        said[n] = str(error)
threads = [threading.Thread(target=opens, args=(n,)) for n in range(int(sys.argv[2]))]
print("ready", flush=True)
sys.stdin.readline()
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(*(said[n] for n in range(len(threads))), sep="\\n", flush=True)
sys.stdin.readline()
for store in opened:
    store.close()
"""


def test_of_two_processes_that_open_a_fleet_at_once_one_wins_and_the_other_names_it(url: str) -> None:
    with child(_OPENS, url, str(OPENERS)) as one, child(_OPENS, url, str(OPENERS)) as other:
        both = {process.pid: process for process in (one, other)}
        for process in both.values():
            assert line_of(process) == "ready"
        for process in both.values():
            stdin_of(process).write("\n")
            stdin_of(process).flush()
        said = {pid: [line_of(process) for _ in range(OPENERS)] for pid, process in both.items()}
    for fleet in range(OPENERS):
        (winner,) = [pid for pid in both if said[pid][fleet] == "won"]
        (refused,) = [lines[fleet] for pid, lines in said.items() if pid != winner]
        assert f"process {winner} on " in refused


def test_fleets_of_one_database_do_not_see_each_other(url: str) -> None:
    one, other = (open_store(f"{url}-{name}", writer=True) for name in ("one", "other"))
    one.append(records(1, 3))
    other.append(records(1, 1))
    assert (list(one.read()), list(other.read())) == (records(1, 3), records(1, 1))
    one.close()
    other.close()


def test_a_server_that_is_not_there_is_named_in_one_line(tmp_path: Path) -> None:
    url = f"postgresql://ada:secret@/db?host={tmp_path}&fleet=main"
    for writer in (True, False):
        with pytest.raises(StoreError) as refused:
            open_store(url, writer=writer)
        assert "\n" not in str(refused.value)
        assert "secret" not in str(refused.value)


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


def test_a_reader_of_a_fleet_that_is_not_there_is_refused(url: str) -> None:
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
