"""A fleet is copied out of a database into a file, and put into a database again, whole or not at all."""

import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from tallystick.actors.runtime.fleet import Fleet
from tallystick.events.log import store_transfer
from tallystick.events.log.postgres_place import place_of
from tallystick.events.log.store import Record, open_store
from tests.support.cli import Run
from tests.support.postgres import shared


@pytest.fixture
def url() -> str:
    """A place for a fleet that is not there."""
    return shared().url(fleet=f"moved-{uuid4().hex[:12]}")


def log_of(url: str) -> list[Record]:
    with closing(open_store(url)) as store:
        return list(store.read())


def test_a_fleet_moves_into_a_database_and_back_with_every_byte_of_its_log(
    run: Run, fleet: Path, url: str, tmp_path: Path
) -> None:
    head = run("audit", "anchor").stdout.split()[0]
    restored = run("store", "restore", str(fleet), "--store", url)
    assert restored.stdout == f"restored 28 records to {place_of(url).named}\nhead {head}\n"
    assert log_of(url) == log_of(f"sqlite:///{fleet}")
    assert "result          sound" in run("audit", "verify", "--store", url).stdout
    copied = run("store", "backup", "back.db", "--store", url)
    assert copied.stdout == f"copied 28 records to back.db; the copy is sound\nhead {head}\n"
    assert log_of("sqlite:///back.db") == log_of(f"sqlite:///{fleet}")
    assert "result          sound" in run("audit", "verify", "--store", "sqlite:///back.db").stdout
    assert {path.name for path in tmp_path.iterdir()} == {"tallystick.db", "back.db"} | {
        path.name for path in tmp_path.glob("tallystick.db*") if path.name != "tallystick.db"
    }
    assert (tmp_path / "back.db").stat().st_mode & 0o777 == 0o600
    text = run("store", "info", "--store", "sqlite:///back.db").stdout
    assert f"it was last written as {place_of(url).named}: this file is a copy of that one" in text


def reports_in(url: str) -> int:
    return sum(record.name == "usage-reported.v1" for record in log_of(url))


@pytest.mark.parametrize("kind", ["database", "file"])
def test_a_fleet_that_moved_goes_on_with_the_same_answers(run: Run, url: str, kind: str) -> None:
    report = {"type": "ReportUsage", "agent": "a", "usage": {"tokens": 30}, "id": "step-1"}
    with Fleet.open("sqlite:///tallystick.db") as begun:
        begun.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 100}})
        answered = begun.ask(report)
    assert run("store", "restore", "tallystick.db", "--store", url).exit_code == 0
    if kind == "file":
        assert run("store", "backup", "back.db", "--store", url).exit_code == 0
        url = "sqlite:///back.db"
    with Fleet.open(url) as moved:
        assert moved.ask(report) == answered
        assert reports_in(url) == 1, "what was answered once is not done again"
        moved.ask({"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}})
    assert "result          sound" in run("audit", "verify", "--store", url).stdout


def test_archived_records_and_snapshots_move_too(run: Run, fleet: Path, url: str) -> None:
    whole = log_of(f"sqlite:///{fleet}")
    assert run("store", "archive", "--before", "20").exit_code == 0
    with closing(open_store(f"sqlite:///{fleet}", writer=True)) as store:
        store.save_snapshot(20, b"a state")
    assert run("store", "restore", str(fleet), "--store", url).exit_code == 1, "no snapshot that the log does not know"
    with closing(sqlite3.connect(fleet)) as connection, connection:
        connection.execute("DELETE FROM snapshots")
    assert run("store", "restore", str(fleet), "--store", url).exit_code == 0
    assert log_of(url) == whole


def test_a_copy_of_a_fleet_at_work_in_a_database_is_whole_and_sound(run: Run, url: str) -> None:
    with Fleet.open(url) as live:
        live.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 1_000_000}})
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                live.ask([{"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}}] * 20)

        worker = threading.Thread(target=work)
        worker.start()
        try:
            result = run("store", "backup", "copy.db", "--store", url)
        finally:
            stop.set()
            worker.join()
    assert result.exit_code == 0, result.stderr
    copied = log_of("sqlite:///copy.db")
    assert copied == log_of(url)[: len(copied)]
    assert len(copied) > 3


def test_nothing_is_restored_over_a_fleet_or_out_of_one_that_is_not_sound(run: Run, fleet: Path, url: str) -> None:
    assert run("store", "restore", str(fleet), "--store", url).exit_code == 0
    again = run("store", "restore", str(fleet), "--store", url)
    assert (again.exit_code, again.stderr.count("\n")) == (1, 1)
    assert f"there is a fleet at {place_of(url).named} already" in again.stderr
    with closing(sqlite3.connect(fleet)) as connection, connection:
        changed = "CAST(replace(state, '\"by\"', '\"By\"') AS BLOB)"
        connection.execute(f"UPDATE stored_events SET state = {changed} WHERE originator_version = 5")
    damaged = run("store", "restore", str(fleet), "--store", f"{url}-2")
    assert (damaged.exit_code, damaged.stderr.count("\n")) == (1, 1)
    assert "is not sound, and nothing is restored from it: position 5" in damaged.stderr
    assert "there is no fleet" in run("status", "--store", f"{url}-2").stderr


def test_a_restore_that_breaks_off_leaves_nothing_and_can_be_done_again(
    run: Run, fleet: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_of(url)
    with psycopg.connect(place.database, autocommit=True) as other:
        pages = []

        def cut(records: object, total: int) -> object:
            pages.append(total)
            for number, record in enumerate(records):  # type: ignore[arg-type, var-annotated]
                if len(pages) == 2 and number == 20:
                    other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY%'")
                yield record

        with pytest.raises(store_transfer.StoreError, match="could not be written"):
            store_transfer.restore(fleet, url, cut)  # type: ignore[arg-type]
        found = other.execute("SELECT count(*) FROM tallystick_events WHERE originator_id = %s", (place.fleet,))
        assert found.fetchone() == (0,)
    assert run("store", "restore", str(fleet), "--store", url).exit_code == 0
    assert len(log_of(url)) == 28


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["restore", "tallystick.db", "--store", "sqlite:///new.db"], "a backup is a fleet's file already: copy it"),
        (["restore", "tallystick.db", "--store", "memory:"], "--store: found memory:, allowed is postgresql://"),
        (["archive", "--before", "5", "--store", "DATABASE"], "records in a database stay in their table"),
        (["backup", "tallystick.db", "--store", "DATABASE"], "is there already: name a new file"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_does(
    run: Run, fleet: Path, url: str, words: list[str], said: str
) -> None:
    assert run("store", "restore", str(fleet), "--store", url).exit_code == 0
    before = log_of(url)
    result = run("store", *(url if word == "DATABASE" else word for word in words))
    assert result.exit_code == 1
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert log_of(url) == before
    assert not [name for name in os.listdir() if "new.db" in name]  # noqa: PTH208 - names are all that is asked


def test_a_trigger_and_a_view_that_shows_something_else_are_found_by_verify(run: Run, fleet: Path) -> None:
    server = shared()
    server.new_database("tampered")
    url = server.url("tampered", "main")
    assert run("store", "restore", str(fleet), "--store", url).exit_code == 0
    run("status", "--store", url)
    with psycopg.connect(place_of(url).database) as connection:
        connection.execute("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
        connection.execute("CREATE TRIGGER sly BEFORE INSERT ON tallystick_events FOR EACH ROW EXECUTE FUNCTION f()")
        connection.execute("CREATE RULE slow AS ON DELETE TO tallystick_writers DO INSTEAD NOTHING")
        connection.execute(
            "CREATE OR REPLACE VIEW tallystick_shown AS SELECT fleet, view, version, id, live, '{}'::json AS row"
            " FROM tallystick_views JOIN tallystick_view_rows USING (copy) WHERE side = 'live'"
        )
        connection.execute(
            "CREATE OR REPLACE VIEW tallystick_log AS SELECT originator_id AS fleet, originator_version AS position,"
            " topic AS type, '{}'::json AS record FROM tallystick_events"
        )
    result = run("audit", "verify", "--store", url)
    assert result.exit_code == 1
    for said in ("the trigger sly on tallystick_events", "the rule slow on tallystick_writers"):
        assert said in result.stdout
    for view in ("tallystick_shown", "tallystick_log"):
        assert f"the view {view}" in result.stdout
    with psycopg.connect(place_of(url).database) as connection:
        connection.execute("DROP VIEW tallystick_shown")
        connection.execute("UPDATE tallystick_view_rows SET row = '{\"agent\": \"a\"}' WHERE id = 'a'")
    result = run("audit", "verify", "--store", url)
    assert "view agents, row a" in result.stdout
