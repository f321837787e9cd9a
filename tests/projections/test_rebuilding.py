"""Views made again beside the live ones: only for the same bytes, or another version."""

import threading
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tallystick.events.log.store import open_store
from tallystick.projections.store.projector import Projector
from tallystick.projections.store.rebuilding import Rebuilt, rebuild
from tallystick.projections.store.runner import catch_up, follow
from tallystick.projections.store.view_sides import Differs
from tallystick.projections.store.view_store import NotKept
from tallystick.projections.views.all_views import ViewTypes
from tests.support.view_logs import bring_up, rows_in
from tests.support.view_places import DatabaseViews, Views, sql
from tests.support.view_programs import (
    ALL,
    LOG,
    MORE,
    NEWER,
    VERSIONS,
    NewAgents,
    broken_off,
    nothing_but_live_views_is_kept,
    rebuilt,
    view_store_of,
)

pytestmark = pytest.mark.usefixtures("small_pages")


# --- the same version ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", [1, 2, 53, 150, 400, len(LOG)])
def test_a_rebuilt_view_has_the_bytes_of_the_live_one_at_the_same_position(
    url: str, views: Views, position: int
) -> None:
    bring_up(url, upto=position)
    before = rows_in(views)
    assert rebuilt(url) == Rebuilt(position, VERSIONS)
    assert rows_in(views) == before
    assert nothing_but_live_views_is_kept(views)


def test_the_exchanged_views_go_on_as_the_live_ones_would_have(url: str, views: Views, tmp_path: Path) -> None:
    bring_up(url, upto=300)
    rebuilt(url, "agents", "holds")
    bring_up(url)
    rows = rows_in(views)
    views.unlink()
    bring_up(url)
    assert rows_in(views) == rows


def test_where_nothing_is_live_all_views_are_made_up_to_the_end(url: str, views: Views) -> None:
    assert rebuilt(url) == Rebuilt(len(LOG), {})
    rows = rows_in(views)
    views.unlink()
    bring_up(url)
    assert rows_in(views) == rows


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE kept SET row = replace(CAST(row AS TEXT), '\"reports\":', '\"reports\":1') WHERE id = 'a-7'",
        "UPDATE kept SET live = NOT live WHERE id = 'a-7'",
        "UPDATE kept SET row = CAST(row AS BLOB) WHERE id = 'a-7'",
        "UPDATE kept SET row = NULL WHERE id = 'a-7'",
        "DELETE FROM kept WHERE id = 'a-7'",
        "INSERT INTO kept SELECT copy, 'a-7!', live, row FROM kept WHERE id = 'a-7'",
    ],
)
def test_a_view_whose_bytes_differ_is_refused_and_left_as_it_is(url: str, views: Views, harm: str) -> None:
    bring_up(url)
    if isinstance(views, DatabaseViews):
        harm = harm.replace("'\"reports\":1')", "'\"reports\":1')::json")
        if "BLOB" in harm or "NULL" in harm:
            with pytest.raises(psycopg.Error):
                sql(views, harm)
            return
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


def test_the_first_of_many_rows_that_differ_is_named(url: str, views: Views) -> None:
    bring_up(url)
    sql(views, "UPDATE kept SET row = '{}' WHERE id IN ('a-30', 'a-31', 'a-4')")
    sql(views, "DELETE FROM kept WHERE id = 'a-22'")
    with pytest.raises(Differs) as refused:
        rebuilt(url, "agents")
    assert refused.value.difference.live is None
    assert refused.value.difference.rebuilt is not None
    assert refused.value.difference.rebuilt.id == "a-22"


def test_only_what_was_named_is_compared_and_exchanged(url: str, views: Views) -> None:
    bring_up(url)
    sql(views, "UPDATE kept SET row = '{}' WHERE id = 'a-7'")
    before = rows_in(views)
    assert rebuilt(url, "holds", "fleet").before == VERSIONS
    assert rows_in(views) == before


def test_a_damaged_view_is_dropped_and_made_again(url: str, views: Views) -> None:
    bring_up(url, upto=300)
    sound = rows_in(views)
    of_agents = "copy = (SELECT copy FROM views WHERE side = 'live' AND view = 'agents')"
    sql(views, f"UPDATE kept SET row = '{{}}' WHERE id = 'a-7' AND {of_agents}")
    with closing(view_store_of(views)) as view_store:
        assert view_store.drop(["agents"]) == ["agents"]
        assert view_store.missing() == ["agents"]
    assert rebuilt(url, "agents") == Rebuilt(
        300, {name: version for name, version in VERSIONS.items() if name != "agents"}
    )
    assert rows_in(views) == sound


# --- dropping --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [["agents"], ["fleet"], ["holds", "fleet"], ALL])
def test_a_dropped_view_is_made_again_when_it_is_next_read(url: str, views: Views, names: list[str]) -> None:
    bring_up(url, upto=300)
    before = rows_in(views)
    with closing(view_store_of(views)) as view_store:
        assert sorted(view_store.drop(names)) == sorted(names)
    assert {view for view, *_ in rows_in(views)} == {view for view, *_ in before} - set(names)
    assert bring_up(url, upto=300) == 300
    assert rows_in(views) == before


def test_dropping_everything_leaves_nothing_of_a_broken_off_rebuild_either(url: str, views: Views) -> None:
    bring_up(url)
    broken_off(url, 200)
    with closing(view_store_of(views)) as view_store:
        assert sorted(view_store.drop(None)) == sorted(ALL)
        assert view_store.drop(None) == []
        assert view_store.reached() == (0, "")
    assert sql(views, "SELECT COUNT(*) FROM kept") == [(0,)]


def test_a_projector_at_work_makes_a_view_again_that_was_dropped_meanwhile(url: str, views: Views) -> None:
    bring_up(url, upto=100)
    with closing(open_store(url)) as store, closing(view_store_of(views)) as view_store:
        with closing(view_store_of(views)) as other:
            read = view_store.live
            view_store.live = lambda: (read(), other.drop(["agents"]))[0]  # type: ignore[method-assign]
            projector = Projector(store, view_store)
            view_store.live = read  # type: ignore[method-assign]
        with pytest.raises(Exception, match="lack agents"):
            projector.catch_up()
        assert catch_up(store, view_store) == len(LOG)
    rows = rows_in(views)
    views.unlink()
    bring_up(url)
    assert rows_in(views) == rows


# --- another version -------------------------------------------------------------------------------------------------


def test_a_new_version_takes_the_place_of_the_old_one_and_leaves_the_others(url: str, views: Views) -> None:
    bring_up(url)
    before = rows_in(views)
    bring_up(url, kinds=NEWER)
    after = rows_in(views)
    assert [row for row in after if row[0] != "agents"] == [row for row in before if row[0] != "agents"]
    assert all(',"new":true}' in str(row) for view, _, _, row in after if view == "agents")
    assert sql(views, "SELECT view, version FROM views WHERE side='live' ORDER BY view") == [
        (name, VERSIONS[name] + (name == "agents")) for name in sorted(ALL)
    ]
    assert nothing_but_live_views_is_kept(views)


def test_a_rebuild_takes_a_new_version_without_asking_for_the_same_bytes(url: str, views: Views) -> None:
    bring_up(url, upto=300)
    assert rebuilt(url, kinds=NEWER) == Rebuilt(300, VERSIONS)
    assert sql(views, "SELECT DISTINCT version FROM shown WHERE view='agents'") == [(NewAgents.version,)]


def test_a_view_that_is_new_joins_the_others(url: str, views: Views) -> None:
    bring_up(url, upto=300)
    before = rows_in(views)
    bring_up(url, upto=300, kinds=MORE)
    rows = rows_in(views)
    assert [row for row in rows if row[0] != "reports"] == before
    assert len([row for row in rows if row[0] == "reports"]) > 40


def test_old_programs_read_and_move_on_their_rows_until_the_new_version_is_there(url: str, views: Views) -> None:
    bring_up(url, upto=100)
    broken_off(url, 150, NEWER)
    assert bring_up(url, upto=300) == 300
    old = rows_in(views)
    assert not any('"new"' in str(row) for *_, row in old)
    bring_up(url, upto=300, kinds=NEWER)
    assert [(view, id, live, str(row).replace(',"new":true}', "}")) for view, id, live, row in rows_in(views)] == old


@pytest.mark.parametrize("kinds", [NEWER, MORE])
def test_what_a_newer_program_keeps_is_left_alone_by_an_older_one(url: str, views: Views, kinds: ViewTypes) -> None:
    bring_up(url, upto=100)
    with closing(open_store(url)) as store, closing(view_store_of(views)) as old:
        projector = Projector(store, old)
        bring_up(url, kinds=kinds)
        before = rows_in(views)
        for attempt in (projector.catch_up, old.live, old.missing, lambda: rebuild(store, old, ["fleet"])):
            with pytest.raises(NotKept, match=r"newer version of tallystick: it has version \d of (agents|reports)"):
                attempt()
    assert rows_in(views) == before


class Once(threading.Event):
    """Tells a follower to stop when it would wait for more for the first time."""

    def wait(self, timeout: float | None = None) -> bool:
        self.set()
        return True


@pytest.mark.parametrize("kinds", [NEWER, MORE])
def test_a_follower_brings_a_new_version_up_beside_the_old_one_and_goes_on(
    url: str, views: Views, kinds: ViewTypes, tmp_path: Path
) -> None:
    bring_up(url, upto=300)
    assert follow(url, Once(), kinds) == len(LOG)
    rows = rows_in(views)
    views.unlink()
    bring_up(url, kinds=kinds)
    assert rows_in(views) == rows


def test_a_follower_makes_a_view_again_that_is_dropped_while_it_waits(url: str, views: Views) -> None:
    bring_up(url)
    before = rows_in(views)

    class Dropping(Once):
        has_dropped = False

        def wait(self, timeout: float | None = None) -> bool:
            if self.has_dropped:
                return super().wait(timeout)
            with closing(view_store_of(views)) as other:
                other.drop(["holds", "fleet"])
            self.has_dropped = True
            return False

    assert follow(url, Dropping()) == len(LOG)
    assert rows_in(views) == before
