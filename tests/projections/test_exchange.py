"""A rebuild while other processes change the views: whatever comes between, nothing is mixed up."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from eventsourcing.sqlite import SQLiteCursor

from tallystick.events.log.store import Row, Store, open_store
from tallystick.projections.store.projector import Projector
from tallystick.projections.store.rebuilding import Rebuilt, rebuild, renew
from tallystick.projections.store.view_store import NotKept, Overtaken
from tests.support.view_logs import bring_up, rows_in, write
from tests.support.view_places import Views, sql, views_for
from tests.support.view_programs import (
    ALL,
    LOG,
    NEWER,
    VERSIONS,
    broken_off,
    nothing_but_live_views_is_kept,
    rebuilt,
    view_store_of,
)

pytestmark = pytest.mark.usefixtures("small_pages")


class Meddled:
    """A store of which others make use: something happens each time that it is read, once."""

    def __init__(self, store: Store, *deeds: Any) -> None:
        self._store = store
        self._deeds = list(deeds)

    def rows(self, after: int = 0, upto: int | None = None) -> Iterator[Row]:
        yield from self._store.rows(after, upto)
        if self._deeds:
            self._deeds.pop(0)()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_live_views_that_move_on_meanwhile_are_followed(url: str, views: Views) -> None:
    bring_up(url, upto=100)
    with closing(open_store(url)) as store, closing(view_store_of(views)) as view_store:
        meddled: Any = Meddled(store, *(lambda upto=upto: bring_up(url, upto) for upto in (200, 330, 331)))
        assert rebuild(meddled, view_store, ALL).position == 331
    rows = rows_in(views)
    views.unlink()
    bring_up(url, upto=331)
    assert rows_in(views) == rows


def test_two_rebuilds_at_once_end_with_the_same_views(url: str, views: Views) -> None:
    bring_up(url)
    before = rows_in(views)
    with closing(open_store(url)) as store, closing(view_store_of(views)) as view_store:
        meddled: Any = Meddled(store, lambda: rebuilt(url))
        assert rebuild(meddled, view_store, ALL) == Rebuilt(len(LOG), VERSIONS)
    assert rows_in(views) == before
    assert nothing_but_live_views_is_kept(views)


def test_live_views_that_are_exchanged_for_a_newer_version_meanwhile_are_left_alone(url: str, views: Views) -> None:
    bring_up(url)
    with closing(open_store(url)) as store, closing(view_store_of(views)) as view_store:
        meddled: Any = Meddled(store, lambda: sql(views, "UPDATE views SET version = version + 1 WHERE side = 'live'"))
        with pytest.raises(NotKept, match="newer version"):
            rebuild(meddled, view_store, ALL)


def test_live_views_that_are_begun_anew_meanwhile_are_rebuilt_where_they_then_are(url: str, views: Views) -> None:
    bring_up(url, upto=300)

    def begin_anew() -> None:
        with closing(view_store_of(views)) as other:
            other.drop(None)
        bring_up(url, upto=100)

    with closing(open_store(url)) as store, closing(view_store_of(views)) as view_store:
        meddled: Any = Meddled(store, begin_anew)
        assert rebuild(meddled, view_store, ALL) == Rebuilt(100, VERSIONS)


def test_live_views_that_are_dropped_meanwhile_are_made_in_place(url: str, views: Views) -> None:
    bring_up(url, upto=300)

    def drop() -> None:
        with closing(view_store_of(views)) as other:
            other.drop(None)

    with closing(open_store(url)) as store, closing(view_store_of(views)) as view_store:
        meddled: Any = Meddled(store, drop)
        assert rebuild(meddled, view_store, ALL) == Rebuilt(len(LOG), {})


def test_who_restored_the_views_before_they_were_exchanged_restores_them_again(url: str, views: Views) -> None:
    bring_up(url, upto=200)
    with closing(open_store(url)) as store, closing(view_store_of(views)) as view_store:
        follower = Projector(store, view_store)
        follower._folding._views[0]._row.alerts = 1_000  # type: ignore[attr-defined]
        rebuilt(url)
        follower.catch_up()
    rows = rows_in(views)
    views.unlink()
    bring_up(url)
    assert rows_in(views) == rows, "what it had in mind was written over what was rebuilt"


def test_a_rebuild_that_is_stopped_exchanges_nothing_and_the_next_one_goes_on(url: str, views: Views) -> None:
    bring_up(url)
    old, stopping = rows_in(views), threading.Event()
    with closing(open_store(url)) as store, closing(view_store_of(views, NEWER)) as view_store:
        meddled: Any = Meddled(store, stopping.set)
        monitored: list[int] = []

        def progress(items: Iterator[Any], total: int) -> Iterator[Any]:
            monitored.append(total)
            for count, item in enumerate(items, start=1):
                if count == 160:
                    stopping.set()
                yield item

        renew(meddled, view_store, progress, stopping)
        assert rows_in(views) == old
        with closing(view_store.beside()) as beside:
            assert 0 < beside.reached().position < len(LOG)
            left = len(LOG) - beside.reached().position
        stopping.clear()
        renew(store, view_store, progress)
        assert monitored == [len(LOG), left]
        assert view_store.missing() == []


@pytest.mark.parametrize("position", [1, 150, 300, len(LOG)])
def test_a_broken_off_rebuild_goes_on_where_it_was(url: str, views: Views, position: int) -> None:
    bring_up(url)
    before = rows_in(views)
    broken_off(url, position)
    seen: list[int] = []

    def progress(items: Iterator[Any], total: int) -> Iterator[Any]:
        seen.append(total)
        return items

    with closing(open_store(url)) as store, closing(view_store_of(views)) as view_store:
        rebuild(store, view_store, ALL, progress)
    assert seen == [len(LOG) - position]
    assert rows_in(views) == before


@pytest.mark.parametrize("harm", ["UPDATE kept SET row = '\"nonsense\"'", "UPDATE sides SET digest = 'of another log'"])
def test_a_broken_off_rebuild_that_makes_no_sense_is_begun_anew(url: str, views: Views, harm: str) -> None:
    broken_off(url, 200)
    sql(views, harm)
    bring_up(url)
    before = rows_in(views)
    rebuilt(url)
    assert rows_in(views) == before


def test_a_broken_off_rebuild_that_is_further_than_the_live_views_is_begun_anew(url: str, views: Views) -> None:
    broken_off(url, 300)
    bring_up(url, upto=200)
    before = rows_in(views)
    assert rebuilt(url).position == 200
    assert rows_in(views) == before


class Pulled(BaseException):
    """The plug."""


IN_A_DATABASE = {
    "DELETE FROM kept": "DELETE FROM tallystick_view_rows",
    "UPDATE views": "UPDATE tallystick_views",
    "DELETE FROM views": "DELETE FROM tallystick_views",
    "DELETE FROM tracking": "UPDATE tallystick_view_sides SET position",
}


@pytest.mark.parametrize("statement", IN_A_DATABASE)
def test_a_crash_within_the_exchange_leaves_the_live_views_untouched(
    url: str, views: Views, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    bring_up(url, upto=300)
    old = rows_in(views)
    with closing(open_store(url)) as store, closing(view_store_of(views, NEWER)) as view_store:
        beside = view_store.beside()
        beside.reset()
        Projector(store, beside).catch_up(300)
        pull_the_plug_at(statement, monkeypatch)
        with pytest.raises(Pulled):
            beside.exchange(["agents"], 300)
        beside.close()
        assert rows_in(views) == old
        assert view_store.missing() == ["agents"]
        monkeypatch.undo()
        renew(store, view_store)
        assert view_store.missing() == []
    assert nothing_but_live_views_is_kept(views)


def pull_the_plug_at(statement: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a statement, in whatever place the views are kept."""
    statements = (statement, IN_A_DATABASE[statement])
    for kind, name in ((SQLiteCursor, "execute"), (SQLiteCursor, "executemany"), (psycopg.Connection, "execute")):
        plain = getattr(kind, name)

        def pulled(self: Any, text: Any, *rest: Any, plain: Any = plain) -> Any:
            done = plain(self, text, *rest)
            if str(text).startswith(statements):
                raise Pulled
            return done

        monkeypatch.setattr(kind, name, pulled)


@pytest.mark.parametrize("at", [200, 300])
def test_an_exchange_needs_both_sides_at_one_position(url: str, views: Views, at: int) -> None:
    bring_up(url, upto=300)
    broken_off(url, 200)
    cannot_be_exchanged(views, at)


def test_an_exchange_needs_both_sides_of_one_log(url: str, views: Views) -> None:
    bring_up(url, upto=300)
    broken_off(url, 300)
    sql(views, "UPDATE sides SET digest = 'of another log' WHERE side = 'live'")
    cannot_be_exchanged(views, 300)


def test_no_view_is_exchanged_for_one_of_an_older_version(url: str, views: Views) -> None:
    bring_up(url, upto=300, kinds=NEWER)
    broken_off(url, 300)
    cannot_be_exchanged(views, 300)


def test_what_another_program_has_rebuilt_meanwhile_is_not_taken_for_ones_own(url: str, views: Views) -> None:
    bring_up(url, upto=300)
    broken_off(url, 300)
    cannot_be_exchanged(views, 300, meanwhile=lambda: broken_off(url, 300, NEWER))


def cannot_be_exchanged(views: Views, at: int, meanwhile: Callable[[], None] = lambda: None) -> None:
    before = rows_in(views)
    with closing(view_store_of(views)) as view_store, closing(view_store.beside()) as beside:
        beside.live()
        meanwhile()
        with pytest.raises(Overtaken):
            beside.exchange(["agents"], at)
    assert rows_in(views) == before


# --- the log ---------------------------------------------------------------------------------------------------------


def test_a_rebuild_waits_for_no_writer_of_the_log_and_takes_nothing_from_it(url: str, tmp_path: Path) -> None:
    if not url.startswith("sqlite"):
        pytest.skip("in a database no reader waits for a writer")
    bring_up(url)
    log = tmp_path / "fleet.db"
    with closing(sqlite3.connect(log, isolation_level=None, timeout=0)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO writer VALUES ('another', 1, '', '')")
        assert rebuilt(url).position == len(LOG)
        writer.execute("ROLLBACK")


def test_two_fleets_with_the_same_log_have_the_same_inventory(url: str, tmp_path: Path) -> None:
    other = f"sqlite:///{tmp_path}/other.db"
    with closing(open_store(other, writer=True)) as store:
        write(store, LOG)
    bring_up(url)
    bring_up(other, upto=7)
    bring_up(other)
    found = []
    for views in (views_for(url), views_for(other)):
        with closing(view_store_of(views)) as view_store:
            found.append(view_store.inventory())
    assert found[0] == found[1]
    assert found[0].reached.position == len(LOG)
    assert {view: held.rows for view, held in found[0].views.items()} == {
        view: len([row for row in rows_in(views_for(url)) if row[0] == view]) for view in ALL
    }
