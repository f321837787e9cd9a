"""Views that are kept, in every place: written exactly once, read as of one moment, and open to other programs."""

import json
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from tallystick.events.log.store import Row as StoredRow
from tallystick.events.log.store import StoreError, open_store
from tallystick.projections.store.projector import Projector
from tallystick.projections.store.runner import are_kept, catch_up, open_view_store
from tallystick.projections.store.view_store import MemoryViewStore, NotKept, Overtaken
from tallystick.projections.views.view import Row
from tests.support.view_logs import bring_up, opened_views, rows_in, rows_of, stored
from tests.support.view_places import DatabaseViews, views_for
from tests.support.view_programs import LOG, rebuilt


def test_every_place_and_memory_keep_the_same_rows(url: str) -> None:
    end = bring_up(url)
    memory = MemoryViewStore()
    store, kept = open_store(url), open_view_store(url)
    assert catch_up(store, memory) == end
    assert kept.live() == memory.live()
    assert rows_of(memory) == rows_in(views_for(url))
    kept.close()
    store.close()


def test_nothing_is_read_twice(url: str) -> None:
    end = bring_up(url)
    before = rows_in(views_for(url))
    assert bring_up(url) == end
    assert rows_in(views_for(url)) == before


def test_two_projectors_on_the_same_views_hand_over_to_each_other(url: str) -> None:
    bring_up(url, upto=1)
    store, mine, theirs = open_store(url), open_view_store(url), open_view_store(url)
    first, second = Projector(store, mine), Projector(store, theirs)
    first.catch_up(upto=50)
    second.catch_up(upto=120)
    first.catch_up(upto=200)
    end = second.catch_up()
    memory = MemoryViewStore()
    assert catch_up(store, memory) == end
    assert rows_of(memory) == rows_in(views_for(url))
    for held in (mine, theirs, store):
        held.close()


def test_who_read_the_views_before_they_were_begun_anew_cannot_write_any_more(url: str) -> None:
    end = bring_up(url)
    with closing(opened_views(url)) as old, closing(opened_views(url)) as new:
        old.live()
        digest = old.reached().digest
        new.reset()
        new.keep({}, 0, end, digest)
        with pytest.raises(Overtaken):
            old.keep({"agents": {"a": Row(b"1", live=True)}}, end, end + 1, "e")
        assert old.row("agents", "a") is None


def test_a_projector_whose_views_were_begun_anew_goes_on_with_what_is_there(url: str) -> None:
    bring_up(url, upto=100)
    with closing(open_store(url)) as store, closing(opened_views(url)) as view_store:
        projector = Projector(store, view_store)
        with closing(opened_views(url)) as other:
            other.reset()
        end = projector.catch_up()
        memory = MemoryViewStore()
        assert catch_up(store, memory) == end
    assert rows_of(memory) == rows_in(views_for(url))


def test_whether_views_are_kept_is_found_out_without_making_any(url: str) -> None:
    assert not are_kept(url)
    assert not are_kept(url)
    bring_up(url)
    assert are_kept(url)


def test_who_reads_all_rows_sees_one_moment_while_others_change_them(url: str) -> None:
    bring_up(url)
    with closing(opened_views(url)) as reader, reader.reading() as (reached, _, rows):
        first = next(rows)
        rebuilt(url)
        with closing(opened_views(url)) as other:
            other.drop(["holds", "tasks"])
        seen = [(view, row.id) for view, row in (first, *rows)]
    assert reached.position == len(LOG)
    assert {view for view, _ in seen} >= {"holds", "tasks"}


def test_two_processes_that_keep_the_same_page_keep_it_once(url: str) -> None:
    bring_up(url, upto=100)
    stores = [opened_views(url) for _ in range(6)]
    position = stores[0].live().position
    for one in stores:
        one.live()
    together, outcomes = threading.Barrier(len(stores)), []

    def keep(number: int) -> None:
        together.wait()
        try:
            stores[number].keep({"agents": {"x": Row(b'{"n":%d}' % number, live=False)}}, position, 101, f"d-{number}")
            outcomes.append(number)
        except Overtaken:
            pass

    threads = [threading.Thread(target=keep, args=(number,)) for number in range(len(stores))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = outcomes
    assert stores[0].reached() == (101, f"d-{winner}")
    assert stores[0].row("agents", "x") == b'{"n":%d}' % winner
    for one in stores:
        one.close()


class Cut:
    """A log whose reader is cut off once, behind a position."""

    def __init__(self, behind: int) -> None:
        self._log, self._behind = stored(LOG), behind

    def rows(self, after: int = 0, upto: int | None = None) -> Iterator[StoredRow]:
        for row in self._log.rows(after, upto):
            if row.position == self._behind:
                self._behind = 0
                raise StoreError("the database is away")
            yield row

    def __getattr__(self, name: str) -> object:
        return getattr(self._log, name)


def test_a_page_that_was_cut_off_by_the_log_is_folded_once() -> None:
    views, whole = MemoryViewStore(), MemoryViewStore()
    projector = Projector(Cut(200), views)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="away"):
        projector.catch_up()
    projector.catch_up()
    catch_up(stored(LOG), whole)
    assert rows_of(views) == rows_of(whole)


# --- in a database ---------------------------------------------------------------------------------------------------


@pytest.fixture
def database(url: str) -> DatabaseViews:
    """The views of the fleet that is in a database."""
    if url.startswith("sqlite"):
        pytest.skip("of a file, tests/projections/test_view_file.py says more")
    return DatabaseViews(url)


def test_other_programs_read_the_views_with_sql_of_their_own(url: str, database: DatabaseViews) -> None:
    bring_up(url)
    found = database.sql(
        "SELECT row->>'agent', (row->>'reports')::int FROM tallystick_shown"
        " WHERE fleet = 'main' AND view = 'agents' ORDER BY id LIMIT 1"
    )
    first = json.loads(str(next(row for view, _, _, row in rows_in(database) if view == "agents")))
    assert found == [(first["agent"], first["reports"])]


def test_views_of_a_newer_layout_are_left_alone(url: str, database: DatabaseViews) -> None:
    bring_up(url)
    before = rows_in(database)
    database.sql("COMMENT ON TABLE tallystick_views IS 'layout 99'")
    with pytest.raises(NotKept, match="newer version"):
        opened_views(url)
    assert rows_in(database) == before


def test_fleets_of_one_database_have_views_of_their_own(url: str, database: DatabaseViews) -> None:
    other = f"{url.partition('&fleet=')[0]}&fleet=other"
    with closing(open_store(other, writer=True)):
        pass
    bring_up(url)
    before = rows_in(database)
    bring_up(other)
    with closing(opened_views(other)) as views:
        assert views.live() == (0, "", {})
        views.drop(None)
    assert rows_in(database) == before


def test_a_program_that_may_only_read_folds_the_views_in_memory(url: str, database: DatabaseViews) -> None:
    end = bring_up(url, upto=100)
    database.sql("DROP ROLE IF EXISTS reading_only")
    database.sql("CREATE ROLE reading_only LOGIN")
    database.sql("GRANT USAGE ON SCHEMA public TO reading_only")
    database.sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reading_only")
    try:
        reader = url.replace("tests@", "reading_only@")
        with closing(open_store(reader)) as store, closing(opened_views(reader)) as views:
            assert views.live().position == end
            with pytest.raises(NotKept, match="permission denied"):
                Projector(store, views).catch_up()
            memory = MemoryViewStore()
            assert catch_up(store, memory) == len(LOG)
    finally:
        database.sql("DROP OWNED BY reading_only")
        database.sql("DROP ROLE reading_only")


def test_views_go_on_when_their_connection_was_cut(url: str, database: DatabaseViews) -> None:
    bring_up(url)
    with closing(opened_views(url)) as views:
        before = views.live()
        ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        database.sql(ended + " AND datname = current_database()")
        assert views.live() == before


def test_a_database_that_is_not_there_is_named_in_one_line_without_its_password() -> None:
    with pytest.raises(NotKept, match="the views in postgresql://ada@localhost:1/none could not be") as refused:
        opened_views("postgresql://ada:secret@localhost:1/none")
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)
