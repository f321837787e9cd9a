"""The file of views: written exactly once, thrown away and made again at will."""

from pathlib import Path

import pytest

from tallystick.events.store import open_store
from tallystick.projections import projector as projecting
from tallystick.projections.agents_view import AgentsView
from tallystick.projections.keeper import FileKeeper, MemoryKeeper, NotKept, Overtaken
from tallystick.projections.projector import VERSIONS, Projector, catch_up, open_keeper
from tallystick.projections.view import Row
from tests.law import Law, allocate, fleet, use
from tests.projections.logs import busy_fleet, rows_in, stored, write


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A fleet with a log of some size."""
    url = f"sqlite:///{tmp_path}/fleet.db"
    store = open_store(url, writer=True)
    write(store, busy_fleet(400))
    store.close()
    return url


def views_of(url: str) -> Path:
    return Path(f"{url.removeprefix('sqlite:///')}.views")


def bring_up(url: str, upto: int | None = None) -> int:
    store, keeper = open_store(url), open_keeper(url)
    try:
        return Projector(store, keeper).catch_up(upto)
    finally:
        keeper.close()
        store.close()


def test_file_and_memory_keep_the_same_rows(url: str) -> None:
    end = bring_up(url)
    memory = MemoryKeeper()
    store, file = open_store(url), open_keeper(url)
    assert catch_up(store, memory) == end
    assert file.live() == memory.live()
    assert [(view, id, row.live, row.data.decode()) for view, id, row in _all(memory)] == rows_in(views_of(url))
    file.close()
    store.close()


def _all(keeper: MemoryKeeper) -> list[tuple[str, str, Row]]:
    return [(view, id, row) for view, rows in sorted(keeper._rows.items()) for id, row in sorted(rows.items())]


def test_nothing_is_read_twice(url: str) -> None:
    end = bring_up(url)
    before = rows_in(views_of(url))
    assert bring_up(url) == end
    assert rows_in(views_of(url)) == before


def test_a_deleted_file_is_made_again_with_the_same_bytes(url: str) -> None:
    bring_up(url, upto=77)
    bring_up(url)
    before = rows_in(views_of(url))
    for path in views_of(url).parent.glob("*.views*"):
        path.unlink()
    bring_up(url)
    assert rows_in(views_of(url)) == before


def test_a_new_version_of_one_view_makes_all_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    end = bring_up(url)
    before = rows_in(views_of(url))
    monkeypatch.setattr(projecting, "VERSIONS", {**VERSIONS, AgentsView.name: 2})
    old = FileKeeper(str(views_of(url)), VERSIONS)
    keeper = open_keeper(url)
    assert keeper.live().position == 0
    with pytest.raises(NotKept, match="another version"):
        old.keep({}, end, end + 1, "")
    old.close()
    assert not rows_in(views_of(url))
    store = open_store(url)
    assert catch_up(store, keeper) == end
    assert rows_in(views_of(url)) == before
    keeper.close()
    store.close()


def test_views_of_another_log_are_made_again(url: str, tmp_path: Path) -> None:
    bring_up(url)
    for path in tmp_path.glob("fleet.db*"):
        if ".views" not in path.name:
            path.unlink()
    store = open_store(url, writer=True)
    law = Law(fleet(10_000)).given(allocate("zoe", 1_000), *(use("zoe", 1) for _ in range(600)))
    write(store, law.log)
    store.close()
    bring_up(url)
    assert [id for view, id, _, _ in rows_in(views_of(url)) if view == "agents"] == ["zoe"]


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_a_page_is_written_once_and_only_from_where_the_views_are(tmp_path: Path, kind: str) -> None:
    keeper = MemoryKeeper() if kind == "memory" else FileKeeper(str(tmp_path / "x.views"), VERSIONS)
    keeper.keep({"agents": {"a": Row(b"1", live=True), "b": Row(b"2", live=False)}}, 0, 10, "d")
    for after, position in ((0, 10), (0, 20), (5, 11), (20, 30)):
        with pytest.raises(Overtaken):
            keeper.keep({"agents": {"a": None}}, after, position, "e")
    assert keeper.row("agents", "a") == b"1"
    assert keeper.live() == (10, "d", {"agents": [b"1"]})
    keeper.close()


def test_two_projectors_on_one_file_hand_over_to_each_other(url: str) -> None:
    store, keeper = open_store(url), open_keeper(url)
    first, second = Projector(store, keeper), Projector(store, keeper)
    first.catch_up(upto=50)
    second.catch_up(upto=120)
    first.catch_up(upto=200)
    end = second.catch_up()
    rows = rows_in(views_of(url))
    fresh = MemoryKeeper()
    assert catch_up(store, fresh) == end
    assert [(view, id, row.live, row.data.decode()) for view, id, row in _all(fresh)] == rows
    keeper.close()
    store.close()


def test_a_file_that_holds_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.views"
    path.write_bytes(b"this is not a database, and somebody may want it" * 100)
    with pytest.raises(NotKept, match="the views in"):
        FileKeeper(str(path), VERSIONS)
    assert path.read_bytes().startswith(b"this is not")


def test_an_empty_log_has_empty_views() -> None:
    keeper = MemoryKeeper()
    assert catch_up(stored([]), keeper) == 0
    assert keeper.live() == (0, "", {})
