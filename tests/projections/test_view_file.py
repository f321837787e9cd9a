"""The file of views: written exactly once, thrown away and made again at will."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tallystick.events.log.store import open_store
from tallystick.projections.store.runner import catch_up
from tallystick.projections.store.view_file import ViewFile
from tallystick.projections.store.view_store import MemoryViewStore, NotKept, Overtaken, ViewsMissing, ViewStore
from tallystick.projections.views.view import Row
from tests.support.core import Core, allocate, fleet, use
from tests.support.view_logs import bring_up, opened_views, rows_in, rows_of, stored, views_of, write
from tests.support.view_places import empty_database
from tests.support.view_programs import LOG


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A fleet with a log of some size, in a file."""
    url = f"sqlite:///{tmp_path}/fleet.db"
    with closing(open_store(url, writer=True)) as store:
        write(store, LOG)
    return url


def test_a_deleted_file_is_made_again_with_the_same_bytes(url: str) -> None:
    bring_up(url, upto=77)
    bring_up(url)
    before = rows_in(views_of(url))
    for path in views_of(url).parent.glob("*.views*"):
        path.unlink()
    bring_up(url)
    assert rows_in(views_of(url)) == before


def test_views_of_another_log_are_made_again(url: str, tmp_path: Path) -> None:
    bring_up(url)
    for path in tmp_path.glob("fleet.db*"):
        if ".views" not in path.name:
            path.unlink()
    store = open_store(url, writer=True)
    core = Core(fleet(10_000)).given(allocate("zoe", 1_000), *(use("zoe", 1) for _ in range(600)))
    write(store, core.log)
    store.close()
    bring_up(url)
    assert [id for view, id, _, _ in rows_in(views_of(url)) if view == "agents"] == ["zoe"]


def fresh(kind: str, folder: Path) -> ViewStore:
    if kind == "memory":
        return MemoryViewStore()
    view_store = ViewFile(str(folder / "x.views")) if kind == "file" else opened_views(empty_database())
    view_store.reset()
    return view_store


@pytest.mark.parametrize("kind", ["file", "database", "memory"])
def test_a_page_is_written_once_and_only_from_where_the_views_are(tmp_path: Path, kind: str) -> None:
    view_store = fresh(kind, tmp_path)
    view_store.keep({"agents": {"a": Row(b"1", live=True), "b": Row(b"2", live=False)}}, 0, 10, "d")
    for after, position in ((0, 10), (0, 20), (5, 11), (20, 30)):
        with pytest.raises(Overtaken):
            view_store.keep({"agents": {"a": None}}, after, position, "e")
    assert view_store.row("agents", "a") == b"1"
    assert view_store.live() == (10, "d", {"agents": [b"1"]})
    view_store.close()


def test_a_file_that_holds_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.views"
    path.write_bytes(b"this is not a database, and somebody may want it" * 100)
    with pytest.raises(NotKept, match="the views in"):
        ViewFile(str(path))
    assert path.read_bytes().startswith(b"this is not")


def test_a_database_of_somebody_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.views"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE kept (recipe TEXT)")
        connection.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(NotKept, match="something else"):
        ViewFile(str(path))
    with closing(sqlite3.connect(path)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        assert tables == {"kept", "recipes"}
        assert connection.execute("PRAGMA application_id").fetchone() == (0,)


def test_a_file_of_an_older_layout_is_begun_anew(url: str) -> None:
    with closing(sqlite3.connect(views_of(url))) as connection:
        connection.execute("CREATE TABLE tracking (application_name TEXT PRIMARY KEY, notification_id INTEGER)")
        connection.execute("CREATE TABLE reached (digest TEXT)")
        connection.execute("CREATE TABLE kept (view TEXT, id TEXT, live INTEGER, row TEXT, PRIMARY KEY (view, id))")
        connection.execute("CREATE INDEX live ON kept (view, id) WHERE live")
    end = bring_up(url)
    memory = MemoryViewStore()
    with closing(open_store(url)) as store:
        assert catch_up(store, memory) == end
    assert rows_of(memory) == rows_in(views_of(url))


def test_a_file_of_the_layout_before_this_one_is_begun_anew(url: str) -> None:
    end = bring_up(url)
    rows = rows_in(views_of(url))
    with closing(sqlite3.connect(views_of(url))) as connection, connection:
        connection.execute("PRAGMA user_version = 2")
        connection.execute("UPDATE views SET view = 'chronicle' WHERE view = 'timeline'")
    assert bring_up(url) == end
    assert rows_in(views_of(url)) == rows


def test_a_file_of_a_newer_layout_is_left_alone(url: str) -> None:
    bring_up(url)
    with closing(sqlite3.connect(views_of(url))) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(NotKept, match="newer version"):
        ViewFile(str(views_of(url)))


def test_a_file_to_which_nothing_is_to_be_written_is_only_read(url: str) -> None:
    bring_up(url)
    before = views_of(url).read_bytes()
    with closing(ViewFile(str(views_of(url)))) as view_store:
        view_store.live()
        view_store.inventory()
        assert view_store.missing() == []
    assert views_of(url).read_bytes() == before


@pytest.mark.parametrize("broken", ["not JSON", "{}", '{"agent": 1}'])
def test_a_row_that_cannot_be_read_is_reported_in_a_sentence(url: str, broken: str) -> None:
    bring_up(url, upto=100)
    with closing(sqlite3.connect(views_of(url))) as connection, connection:
        connection.execute("UPDATE kept SET row=? WHERE id='a-7'", (broken,))
    with pytest.raises(NotKept, match=r"cannot be read: .*tallystick projections drop"):
        bring_up(url)


def test_a_row_that_is_missing_is_reported_in_a_sentence(url: str) -> None:
    bring_up(url, upto=100)
    with closing(sqlite3.connect(views_of(url))) as connection, connection:
        connection.execute("DELETE FROM kept WHERE id LIKE 'a-%'")
    with pytest.raises(NotKept, match=r"do not fit the log at position \d+: .*tallystick projections drop"):
        bring_up(url)


def test_an_empty_log_has_empty_views() -> None:
    view_store = MemoryViewStore()
    assert catch_up(stored([]), view_store) == 0
    assert view_store.live() == (0, "", {})


def test_views_that_are_not_there_are_not_read_as_empty_ones(tmp_path: Path) -> None:
    with (
        closing(ViewFile(str(tmp_path / "x.views"))) as view_store,
        pytest.raises(ViewsMissing, match="fleet, holds, agents"),
    ):
        view_store.live()
