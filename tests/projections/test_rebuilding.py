"""Views made again beside the live ones: exchanged in one step, only for the same bytes or another version."""

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tallystick.events import catalog as e
from tallystick.events.standing import Standings
from tallystick.events.store import Record, Store, open_store
from tallystick.projections import projector as projecting
from tallystick.projections.agents_view import AgentsView
from tallystick.projections.keeper import NotKept, Overtaken
from tallystick.projections.keeper_file import FileKeeper
from tallystick.projections.projector import Projector
from tallystick.projections.rebuilding import Rebuilt, rebuild, renew
from tallystick.projections.recorder import Differs
from tallystick.projections.upkeep import catch_up
from tallystick.projections.view import Changes, Look, Row, encode
from tallystick.projections.views import KINDS, Kinds
from tests.projections.logs import bring_up, busy_fleet, rows_in, views_of, write

ALL = [kind.name for kind in KINDS]
LOG = busy_fleet(400)


class NewAgents(AgentsView):
    """The agents of a program to come, whose rows say one thing more."""

    version = 2

    def changes(self, last: e.Event) -> Changes:
        return {
            id: row and row._replace(data=row.data[:-1] + b',"new":true}') for id, row in super().changes(last).items()
        }


class Reports:
    """A view of a program to come: how often each agent has reported."""

    name = "reports"
    version = 1

    def __init__(self, standings: Standings, look: Look) -> None:
        self._counts: dict[str, int] = {}

    def _reported(self, event: e.UsageReported) -> None:
        self._counts[event.agent] = self._counts.get(event.agent, 0) + 1

    steps = {e.UsageReported: _reported}  # noqa: RUF012 - nobody changes it

    def changes(self, last: e.Event) -> Changes:
        return {agent: Row(encode([agent, count]), live=True) for agent, count in self._counts.items()}

    def restore(self, rows: Iterable[bytes]) -> None:
        self._counts = dict(map(msgspec.json.decode, rows))


NEWER: Kinds = (*(kind for kind in KINDS if kind is not AgentsView), NewAgents)
MORE: Kinds = (*KINDS, Reports)


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a rebuild takes several pages."""
    monkeypatch.setattr(projecting, "PAGE", 150)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A fleet with a log of some size."""
    url = f"sqlite:///{tmp_path}/fleet.db"
    with closing(open_store(url, writer=True)) as store:
        write(store, LOG)
    return url


@pytest.fixture
def views(url: str) -> Path:
    return views_of(url)


def keeper_of(views: Path, kinds: Kinds = KINDS) -> FileKeeper:
    return FileKeeper(str(views), kinds)


def rebuilt(url: str, *names: str, kinds: Kinds = KINDS) -> Rebuilt:
    with closing(open_store(url)) as store, closing(keeper_of(views_of(url), kinds)) as keeper:
        return rebuild(store, keeper, names or [kind.name for kind in kinds])


def sql(views: Path, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(views)) as connection, connection:
        return connection.execute(statement, values).fetchall()


def nothing_but_live_views_is_kept(views: Path) -> bool:
    copies = sql(views, "SELECT DISTINCT copy FROM kept EXCEPT SELECT copy FROM views WHERE side='live'")
    return not copies and not sql(views, "SELECT * FROM views WHERE side='rebuilt'")


# --- the same version ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", [1, 2, 53, 150, 400, len(LOG)])
def test_a_rebuilt_view_has_the_bytes_of_the_live_one_at_the_same_position(
    url: str, views: Path, position: int
) -> None:
    bring_up(url, upto=position)
    before = rows_in(views)
    assert rebuilt(url) == Rebuilt(position, dict.fromkeys(ALL, 1))
    assert rows_in(views) == before
    assert nothing_but_live_views_is_kept(views)


def test_the_exchanged_views_go_on_as_the_live_ones_would_have(url: str, views: Path, tmp_path: Path) -> None:
    bring_up(url, upto=300)
    rebuilt(url, "agents", "holds")
    bring_up(url)
    rows = rows_in(views)
    views.unlink()
    bring_up(url)
    assert rows_in(views) == rows


def test_where_nothing_is_live_all_views_are_made_up_to_the_end(url: str, views: Path) -> None:
    assert rebuilt(url) == Rebuilt(len(LOG), {})
    rows = rows_in(views)
    views.unlink()
    bring_up(url)
    assert rows_in(views) == rows


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE kept SET row = replace(row, '\"reports\":', '\"reports\":1') WHERE id = 'a-7'",
        "UPDATE kept SET live = 1 - live WHERE id = 'a-7'",
        "UPDATE kept SET row = CAST(row AS BLOB) WHERE id = 'a-7'",
        "UPDATE kept SET row = NULL WHERE id = 'a-7'",
        "DELETE FROM kept WHERE id = 'a-7'",
        "INSERT INTO kept SELECT copy, 'a-7!', live, row FROM kept WHERE id = 'a-7'",
    ],
)
def test_a_view_whose_bytes_differ_is_refused_and_left_as_it_is(url: str, views: Path, harm: str) -> None:
    bring_up(url)
    sql(views, harm)
    before = rows_in(views)
    with pytest.raises(Differs) as refused:
        rebuilt(url)
    found = refused.value.difference
    row = found.live or found.rebuilt
    assert row is not None
    assert (found.view, row.id) == ("agents", "a-7!" if "INSERT" in harm else "a-7")
    assert (found.live is None) == ("DELETE" in harm)
    assert (found.rebuilt is None) == ("INSERT" in harm)
    assert rows_in(views) == before
    assert nothing_but_live_views_is_kept(views)


def test_the_first_of_many_rows_that_differ_is_named(url: str, views: Path) -> None:
    bring_up(url)
    sql(views, "UPDATE kept SET row = '{}' WHERE id IN ('a-30', 'a-31', 'a-4')")
    sql(views, "DELETE FROM kept WHERE id = 'a-22'")
    with pytest.raises(Differs) as refused:
        rebuilt(url, "agents")
    assert refused.value.difference.live is None
    assert refused.value.difference.rebuilt is not None
    assert refused.value.difference.rebuilt.id == "a-22"


def test_only_what_was_named_is_compared_and_exchanged(url: str, views: Path) -> None:
    bring_up(url)
    sql(views, "UPDATE kept SET row = '{}' WHERE id = 'a-7'")
    before = rows_in(views)
    assert rebuilt(url, "holds", "fleet").before == dict.fromkeys(ALL, 1)
    assert rows_in(views) == before


def test_a_damaged_view_is_dropped_and_made_again(url: str, views: Path) -> None:
    bring_up(url, upto=300)
    sound = rows_in(views)
    sql(views, "UPDATE kept SET row = 'nonsense' WHERE id = 'a-7'")
    with closing(keeper_of(views)) as keeper:
        assert keeper.drop(["agents"]) == ["agents"]
        assert keeper.lacking() == ["agents"]
    assert rebuilt(url, "agents") == Rebuilt(300, {"fleet": 1, "holds": 1})
    assert rows_in(views) == sound


# --- dropping --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [["agents"], ["fleet"], ["holds", "fleet"], ALL])
def test_a_dropped_view_is_made_again_when_it_is_next_read(url: str, views: Path, names: list[str]) -> None:
    bring_up(url, upto=300)
    before = rows_in(views)
    with closing(keeper_of(views)) as keeper:
        assert sorted(keeper.drop(names)) == sorted(names)
    assert {view for view, *_ in rows_in(views)} == {view for view, *_ in before} - set(names)
    assert bring_up(url, upto=300) == 300
    assert rows_in(views) == before


def test_dropping_everything_leaves_nothing_of_a_broken_off_rebuild_either(url: str, views: Path) -> None:
    bring_up(url)
    broken_off(url, 200)
    with closing(keeper_of(views)) as keeper:
        assert sorted(keeper.drop(None)) == sorted(ALL)
        assert keeper.drop(None) == []
        assert keeper.reached() == (0, "")
    assert sql(views, "SELECT COUNT(*) FROM kept") == [(0,)]


def broken_off(url: str, position: int, kinds: Kinds = KINDS) -> None:
    """What a rebuild leaves that is killed when it has come to a position."""
    with closing(open_store(url)) as store, closing(keeper_of(views_of(url), kinds).beside()) as beside:
        beside.reset()
        Projector(store, beside).catch_up(position)


def test_a_projector_at_work_makes_a_view_again_that_was_dropped_meanwhile(url: str, views: Path) -> None:
    bring_up(url, upto=100)
    with closing(open_store(url)) as store, closing(keeper_of(views)) as keeper:
        with closing(keeper_of(views)) as other:
            read = keeper.live
            keeper.live = lambda: (read(), other.drop(["agents"]))[0]  # type: ignore[method-assign]
            projector = Projector(store, keeper)
            keeper.live = read  # type: ignore[method-assign]
        with pytest.raises(Exception, match="lack agents"):
            projector.catch_up()
        assert catch_up(store, keeper) == len(LOG)
    rows = rows_in(views)
    views.unlink()
    bring_up(url)
    assert rows_in(views) == rows


# --- another version -------------------------------------------------------------------------------------------------


def test_a_new_version_takes_the_place_of_the_old_one_and_leaves_the_others(url: str, views: Path) -> None:
    bring_up(url)
    before = rows_in(views)
    bring_up(url, kinds=NEWER)
    after = rows_in(views)
    assert [row for row in after if row[0] != "agents"] == [row for row in before if row[0] != "agents"]
    assert all(',"new":true}' in str(row) for view, _, _, row in after if view == "agents")
    assert sql(views, "SELECT view, version FROM views WHERE side='live' ORDER BY view") == [
        ("agents", 2),
        ("fleet", 1),
        ("holds", 1),
    ]
    assert nothing_but_live_views_is_kept(views)


def test_a_rebuild_takes_a_new_version_without_asking_for_the_same_bytes(url: str, views: Path) -> None:
    bring_up(url, upto=300)
    assert rebuilt(url, kinds=NEWER) == Rebuilt(300, dict.fromkeys(ALL, 1))
    assert sql(views, "SELECT DISTINCT version FROM shown WHERE view='agents'") == [(2,)]


def test_a_view_that_is_new_joins_the_others(url: str, views: Path) -> None:
    bring_up(url, upto=300)
    before = rows_in(views)
    bring_up(url, upto=300, kinds=MORE)
    rows = rows_in(views)
    assert [row for row in rows if row[0] != "reports"] == before
    assert len([row for row in rows if row[0] == "reports"]) > 40


def test_old_programs_read_and_move_on_their_rows_until_the_new_version_is_there(url: str, views: Path) -> None:
    bring_up(url, upto=100)
    broken_off(url, 150, NEWER)
    assert bring_up(url, upto=300) == 300
    old = rows_in(views)
    assert not any('"new"' in str(row) for *_, row in old)
    bring_up(url, upto=300, kinds=NEWER)
    assert [(view, id, live, str(row).replace(',"new":true}', "}")) for view, id, live, row in rows_in(views)] == old


@pytest.mark.parametrize("kinds", [NEWER, MORE])
def test_what_a_newer_program_keeps_is_left_alone_by_an_older_one(url: str, views: Path, kinds: Kinds) -> None:
    bring_up(url, upto=100)
    with closing(open_store(url)) as store, closing(keeper_of(views)) as old:
        projector = Projector(store, old)
        bring_up(url, kinds=kinds)
        before = rows_in(views)
        for attempt in (projector.catch_up, old.live, old.lacking, lambda: rebuild(store, old, ["fleet"])):
            with pytest.raises(NotKept, match=r"newer version of tallystick: it has version [12] of (agents|reports)"):
                attempt()
    assert rows_in(views) == before


# --- while others are at work ----------------------------------------------------------------------------------------


class Meddled:
    """A store of which others make use: something happens each time that it is read, once."""

    def __init__(self, store: Store, *deeds: Any) -> None:
        self._store = store
        self._deeds = list(deeds)

    def read(self, after: int = 0, upto: int | None = None) -> Iterator[Record]:
        yield from self._store.read(after, upto)
        if self._deeds:
            self._deeds.pop(0)()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_live_views_that_move_on_meanwhile_are_followed(url: str, views: Path) -> None:
    bring_up(url, upto=100)
    with closing(open_store(url)) as store, closing(keeper_of(views)) as keeper:
        meddled: Any = Meddled(store, *(lambda upto=upto: bring_up(url, upto) for upto in (200, 330, 331)))
        assert rebuild(meddled, keeper, ALL).position == 331
    rows = rows_in(views)
    views.unlink()
    bring_up(url, upto=331)
    assert rows_in(views) == rows


def test_two_rebuilds_at_once_end_with_the_same_views(url: str, views: Path) -> None:
    bring_up(url)
    before = rows_in(views)
    with closing(open_store(url)) as store, closing(keeper_of(views)) as keeper:
        meddled: Any = Meddled(store, lambda: rebuilt(url))
        assert rebuild(meddled, keeper, ALL) == Rebuilt(len(LOG), dict.fromkeys(ALL, 1))
    assert rows_in(views) == before
    assert nothing_but_live_views_is_kept(views)


def test_live_views_that_are_dropped_meanwhile_are_made_in_place(url: str, views: Path) -> None:
    bring_up(url, upto=300)

    def drop() -> None:
        with closing(keeper_of(views)) as other:
            other.drop(None)

    with closing(open_store(url)) as store, closing(keeper_of(views)) as keeper:
        meddled: Any = Meddled(store, drop)
        assert rebuild(meddled, keeper, ALL) == Rebuilt(len(LOG), {})


def test_who_restored_the_views_before_they_were_exchanged_restores_them_again(url: str, views: Path) -> None:
    bring_up(url, upto=200)
    with closing(open_store(url)) as store, closing(keeper_of(views)) as keeper:
        follower = Projector(store, keeper)
        follower._folding._views[0]._row.alerts = 1_000  # type: ignore[attr-defined]
        rebuilt(url)
        follower.catch_up()
    rows = rows_in(views)
    views.unlink()
    bring_up(url)
    assert rows_in(views) == rows, "what it had in mind was written over what was rebuilt"


def test_who_is_told_to_stop_exchanges_nothing_and_the_next_one_goes_on(url: str, views: Path) -> None:
    bring_up(url)
    old, stopping = rows_in(views), threading.Event()
    with closing(open_store(url)) as store, closing(keeper_of(views, NEWER)) as keeper:
        meddled: Any = Meddled(store, stopping.set)
        monitored: list[int] = []

        def progress(items: Iterator[Any], total: int) -> Iterator[Any]:
            monitored.append(total)
            for count, item in enumerate(items, start=1):
                if count == 160:
                    stopping.set()
                yield item

        renew(meddled, keeper, progress, stopping)
        assert rows_in(views) == old
        with closing(keeper.beside()) as beside:
            assert 0 < beside.reached().position < len(LOG)
            left = len(LOG) - beside.reached().position
        stopping.clear()
        renew(store, keeper, progress)
        assert monitored == [len(LOG), left]
        assert keeper.lacking() == []


@pytest.mark.parametrize("position", [1, 150, 300, len(LOG)])
def test_a_broken_off_rebuild_goes_on_where_it_was(url: str, views: Path, position: int) -> None:
    bring_up(url)
    before = rows_in(views)
    broken_off(url, position)
    seen: list[int] = []

    def progress(items: Iterator[Any], total: int) -> Iterator[Any]:
        seen.append(total)
        return items

    with closing(open_store(url)) as store, closing(keeper_of(views)) as keeper:
        rebuild(store, keeper, ALL, progress)
    assert seen == [len(LOG) - position]
    assert rows_in(views) == before


@pytest.mark.parametrize("harm", ["UPDATE kept SET row = 'nonsense'", "UPDATE sides SET digest = 'of another log'"])
def test_a_broken_off_rebuild_that_makes_no_sense_is_begun_anew(url: str, views: Path, harm: str) -> None:
    broken_off(url, 200)
    sql(views, harm)
    bring_up(url)
    before = rows_in(views)
    rebuilt(url)
    assert rows_in(views) == before


def test_a_broken_off_rebuild_that_is_further_than_the_live_views_is_begun_anew(url: str, views: Path) -> None:
    broken_off(url, 300)
    bring_up(url, upto=200)
    before = rows_in(views)
    assert rebuilt(url).position == 200
    assert rows_in(views) == before


class Pulled(BaseException):
    """The plug."""


@pytest.mark.parametrize("statement", ["DELETE FROM kept", "UPDATE views", "DELETE FROM views", "DELETE FROM tracking"])
def test_a_crash_within_the_exchange_leaves_the_live_views_untouched(
    url: str, views: Path, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    bring_up(url, upto=300)
    old = rows_in(views)
    with closing(open_store(url)) as store, closing(keeper_of(views, NEWER)) as keeper:
        beside = keeper.beside()
        beside.reset()
        Projector(store, beside).catch_up(300)
        pull_the_plug_at(beside, statement, monkeypatch)
        with pytest.raises(Pulled):
            beside.exchange(["agents"], 300)
        beside.close()
        assert rows_in(views) == old
        assert keeper.lacking() == ["agents"]
        monkeypatch.undo()
        renew(store, keeper)
        assert keeper.lacking() == []
    assert nothing_but_live_views_is_kept(views)


def pull_the_plug_at(keeper: FileKeeper, statement: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from eventsourcing.sqlite import SQLiteCursor  # noqa: PLC0415 - what is tampered with here, and nowhere else

    for name in ("execute", "executemany"):
        plain = getattr(SQLiteCursor, name)

        def pulled(self: Any, text: str, *rest: Any, plain: Any = plain) -> None:
            plain(self, text, *rest)
            if text.startswith(statement):
                raise Pulled

        monkeypatch.setattr(SQLiteCursor, name, pulled)


def test_an_exchange_needs_both_sides_at_one_position(url: str, views: Path) -> None:
    bring_up(url, upto=300)
    broken_off(url, 200)
    with closing(open_store(url)), closing(keeper_of(views)) as keeper, closing(keeper.beside()) as beside:
        beside.live()
        for at in (200, 300):
            with pytest.raises(Overtaken):
                beside.exchange(ALL, at)


# --- the log ---------------------------------------------------------------------------------------------------------


def test_a_rebuild_waits_for_no_writer_of_the_log_and_takes_nothing_from_it(url: str, tmp_path: Path) -> None:
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
    for views in (views_of(url), views_of(other)):
        with closing(keeper_of(views)) as keeper:
            found.append(keeper.inventory())
    assert found[0] == found[1]
    assert found[0].reached.position == len(LOG)
    assert {view: held.rows for view, held in found[0].views.items()} == {
        view: len([row for row in rows_in(views_of(url)) if row[0] == view]) for view in ALL
    }
