"""``tallystick projections``, as analysts call it."""

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tallystick.projections.views.all_views import ALL_VIEWS, versions_of
from tests.support.cli import Run

ALL = sorted(kind.name for kind in ALL_VIEWS)
VERSIONS = versions_of(ALL_VIEWS)


@pytest.fixture(autouse=True)
def made_way(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """By how much a process would have let others go first; that of the tests goes on as it was."""
    told: list[int] = []
    monkeypatch.setattr("os.nice", told.append, raising=False)
    return told


@pytest.fixture
def views(fleet: Path) -> Path:
    return fleet.with_name(f"{fleet.name}.views")


@pytest.fixture
def read(run: Run, fleet: Path) -> None:
    """The views have been read once."""
    assert run("status").exit_code == 0


OF_AGENTS = "copy = (SELECT copy FROM views WHERE side = 'live' AND view = 'agents')"


def sql(path: Path, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, values).fetchall()


def listed(run: Run) -> dict[str, Any]:
    result = run("projections", "list", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    found: dict[str, Any] = json.loads(result.stdout)
    found["views"] = {view.pop("view"): view for view in found["views"]}
    return found


def state(run: Run) -> dict[str, str]:
    return {view: row["state"] for view, row in listed(run)["views"].items()}


# --- list ------------------------------------------------------------------------------------------------------------


def test_views_that_were_never_read_are_listed_and_not_made(run: Run, fleet: Path, views: Path) -> None:
    found = listed(run)
    assert state(run) == dict.fromkeys(ALL, "missing")
    assert {row["behind"] for row in found["views"].values()} == {found["log_position"]}
    assert "not there" in run("projections", "list").stdout
    assert not views.exists()


@pytest.mark.usefixtures("read")
def test_each_view_is_listed_with_its_position_rows_bytes_and_digest(run: Run, views: Path) -> None:
    found = listed(run)
    end = found["log_position"]
    assert found["rebuilt_position"] is None
    assert sorted(found["views"]) == ALL
    for view, row in found["views"].items():
        kept = sql(views, "SELECT id, live, row FROM shown WHERE view=? ORDER BY id", view)
        lines = "".join(f"{id}|{live}|{text}\n" for id, live, text in kept)
        assert row == {
            "state": "current",
            "version": VERSIONS[view],
            "position": end,
            "behind": 0,
            "rows": len(kept),
            "bytes": sum(len(text.encode()) for _, _, text in kept),
            "sha256": hashlib.sha256(lines.encode()).hexdigest(),
        }
    shown = run("projections", "list").stdout
    for view, row in found["views"].items():
        (line,) = [line for line in shown.splitlines() if f" {view} " in line]
        assert row["sha256"][:12] in line
        assert "up to date" in line
    assert f"the log ends at position {end}" in shown


@pytest.mark.usefixtures("read")
def test_views_behind_the_log_say_how_far(run: Run) -> None:
    before = listed(run)["log_position"]
    assert run("send", '{"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}}').exit_code == 0
    found = listed(run)
    missed = found["log_position"] - before
    assert missed > 0
    assert {(row["state"], row["behind"]) for row in found["views"].values()} == {("behind", missed)}
    assert f"{missed} behind" in run("projections", "list").stdout


@pytest.mark.usefixtures("read")
@pytest.mark.parametrize(
    ("harm", "then"),
    [
        ("UPDATE views SET version = 0 WHERE view = 'agents'", {"agents": "older"}),
        ("UPDATE views SET version = version + 1 WHERE view = 'agents'", {"agents": "newer"}),
        ("UPDATE views SET view = 'oracle' WHERE view = 'agents'", {"agents": "missing", "oracle": "newer"}),
        ("UPDATE sides SET digest = 'another' WHERE side = 'live'", dict.fromkeys(ALL, "foreign")),
    ],
)
def test_a_view_that_does_not_fit_this_program_or_this_log_is_reported(
    run: Run, views: Path, harm: str, then: dict[str, str]
) -> None:
    sql(views, harm)
    assert state(run) == dict.fromkeys(ALL, "current") | then


@pytest.mark.usefixtures("read")
def test_a_rebuild_that_was_broken_off_is_listed(run: Run, views: Path) -> None:
    sql(views, "INSERT INTO tracking VALUES ('rebuilt', 7)")
    assert listed(run)["rebuilt_position"] == 7
    assert "come to position 7" in run("projections", "list").stdout


# --- rebuild ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("read")
def test_a_rebuild_says_that_the_bytes_are_the_same(run: Run) -> None:
    before = listed(run)
    result = run("projections", "rebuild")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.count("the same bytes") == len(ALL)
    assert f"position {before['log_position']}" in result.stdout
    assert listed(run) == before


@pytest.mark.usefixtures("read")
def test_a_rebuild_lets_other_processes_go_first_and_nothing_else_does(run: Run, made_way: list[int]) -> None:
    for command in ("list", "drop", "list"):
        run("projections", command)
    assert made_way == []
    run("projections", "rebuild")
    assert made_way == [10]


@pytest.mark.usefixtures("read")
def test_a_rebuild_for_machines_names_versions_and_position(run: Run) -> None:
    run("projections", "drop", "holds")
    result = run("projections", "rebuild", "holds", "agents", "--json")
    assert json.loads(result.stdout) == {
        "position": listed(run)["log_position"],
        "views": [
            {"view": "holds", "version": VERSIONS["holds"], "before": None},
            {"view": "agents", "version": VERSIONS["agents"], "before": VERSIONS["agents"]},
        ],
    }


@pytest.mark.usefixtures("read")
def test_a_rebuild_puts_a_new_version_in_the_place_of_an_older_one(run: Run, views: Path) -> None:
    sql(views, "UPDATE views SET version = 0 WHERE view = 'agents'")
    assert "in the place of version 0" in run("projections", "rebuild").stdout
    assert state(run) == dict.fromkeys(ALL, "current")


def test_a_rebuild_makes_what_was_never_there(run: Run, fleet: Path) -> None:
    assert run("projections", "rebuild").stdout.count("made: there was none") == len(ALL)
    assert state(run) == dict.fromkeys(ALL, "current")


@pytest.mark.usefixtures("read")
@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (
            f"UPDATE kept SET row = replace(row, '\"reports\":', '\"reports\":1') WHERE id = 'a' AND {OF_AGENTS}",
            "row 'a' says reports 13, and the log makes it 3",
        ),
        (
            f"UPDATE kept SET live = 0 WHERE id = 'a' AND {OF_AGENTS}",
            "row 'a' is marked live=0, and the log makes it live=1",
        ),
        (
            f"UPDATE kept SET row = 'nonsense' WHERE id = 'a' AND {OF_AGENTS}",
            "row 'a' has other bytes than the log makes",
        ),
        (f"UPDATE kept SET row = x'ff' WHERE id = 'a' AND {OF_AGENTS}", "row 'a' has other bytes than the log makes"),
        (f"DELETE FROM kept WHERE id = 'a' AND {OF_AGENTS}", "row 'a' is not in the live view, and the log makes it"),
        (
            f"INSERT INTO kept SELECT copy, 'aa' || char(10), live, row FROM kept WHERE id = 'a' AND {OF_AGENTS}",
            "row 'aa\\n' is in the live view, and the log does not make it",
        ),
    ],
)
def test_a_difference_is_refused_with_the_row_and_what_to_do(run: Run, views: Path, harm: str, said: str) -> None:
    sql(views, harm)
    before = sql(views, "SELECT * FROM shown ORDER BY view, id")
    result = run("projections", "rebuild")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert f"agents: {said}" in result.stderr
    assert "`tallystick projections drop agents`" in result.stderr
    assert sql(views, "SELECT * FROM shown ORDER BY view, id") == before

    shown = run("projections", "rebuild", "--json")
    assert shown.exit_code == 1
    assert shown.stderr == result.stderr
    difference = json.loads(shown.stdout)["difference"]
    assert difference["view"] == "agents"
    assert difference["id"] in said.replace("\\n", "\n")
    assert (difference["live"] is None, difference["rebuilt"] is None) == ("DELETE" in harm, "INSERT" in harm)

    assert run("projections", "drop", "agents").exit_code == 0
    assert run("projections", "rebuild").exit_code == 0


# --- drop ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("read")
def test_a_dropped_view_is_made_again_when_it_is_next_read(run: Run) -> None:
    before = listed(run)
    assert run("projections", "drop", "agents", "holds").stdout == "dropped agents, holds\n"
    assert state(run) == dict.fromkeys(ALL, "current") | {"agents": "missing", "holds": "missing"}
    assert run("projections", "drop", "agents").stdout == "there was nothing to drop\n"
    assert run("status").exit_code == 0
    assert listed(run) == before


@pytest.mark.usefixtures("read")
def test_all_views_are_dropped_where_none_is_named(run: Run) -> None:
    assert json.loads(run("projections", "drop", "--json").stdout) == {"dropped": ALL}
    assert state(run) == dict.fromkeys(ALL, "missing")


@pytest.mark.usefixtures("read")
def test_what_a_newer_program_keeps_is_dropped_by_its_name_and_not_rebuilt(run: Run, views: Path) -> None:
    sql(views, "UPDATE views SET view = 'oracle' WHERE view = 'agents'")
    result = run("projections", "rebuild")
    assert result.exit_code == 1
    assert (
        f"newer version of tallystick: it has version {VERSIONS['agents']} of oracle, and this one no such view"
        in result.stderr
    )
    assert run("status").exit_code == 0, "it is read all the same, and nothing is kept"
    assert run("projections", "drop", "oracle").exit_code == 0
    assert run("projections", "rebuild").exit_code == 0


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("read")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["rebuild", "agnets"], 2, "'agnets' is not one of '" + "', '".join(ALL)),
        (["drop", "agnets"], 2, f"found 'agnets', allowed are {', '.join(ALL)}"),
        (["drop", "agents", "agnets"], 2, "found 'agnets'"),
        (["list", "--store", "sqlite:///none.db"], 1, "there is no fleet"),
        (["rebuild", "--store", "sqlite:///none.db"], 1, "there is no fleet"),
        (["list", "--store", "memory:"], 1, "keeps no views"),
        (["rebuild", "--store", "memory:"], 1, "keeps no views"),
        (["drop", "--store", "memory:"], 1, "keeps no views"),
    ],
)
def test_a_mistake_is_one_line_on_stderr(run: Run, arguments: list[str], code: int, said: str) -> None:
    before = state(run)
    result = run("projections", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert state(run) == before


@pytest.mark.parametrize("command", ["list", "rebuild"])
def test_a_file_that_is_no_file_of_views_is_reported_and_left_alone(run: Run, views: Path, command: str) -> None:
    views.write_bytes(b"somebody's recipes" * 100)
    result = run("projections", command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "tallystick.db.views could not be opened" in result.stderr
    assert views.read_bytes().startswith(b"somebody")


# --- damage ----------------------------------------------------------------------------------------------------------


def _overwritten(views: Path) -> None:
    views.write_bytes(b"this is a letter to my aunt, and no data base\n" * 100)


def _header(views: Path) -> None:
    data = bytearray(views.read_bytes())
    data[16:100] = os.urandom(84)
    views.write_bytes(data)


def _page(number: int) -> Callable[[Path], None]:
    def damage(views: Path) -> None:
        data = bytearray(views.read_bytes())
        data[number * 4096 : (number + 1) * 4096] = b"\xff" * 4096
        views.write_bytes(data)

    return damage


def _half(views: Path) -> None:
    os.truncate(views, views.stat().st_size // 2)


def _without(statement: str) -> Callable[[Path], None]:
    def damage(views: Path) -> None:
        sql(views, statement)

    return damage


DAMAGE = {
    "overwritten": _overwritten,
    "a header of noise": _header,
    "its second page": _page(1),
    "its third page": _page(2),
    "its sixth page": _page(5),
    "cut in half": _half,
    "without a table": _without("DROP TABLE kept"),
    "without its positions": _without("DELETE FROM sides"),
}


@pytest.mark.usefixtures("read")
@pytest.mark.parametrize("names", [[], ["agents"]], ids=["all", "one view"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_cured_by_a_drop_and_the_views_are_as_they_were(
    run: Run, views: Path, damage: Callable[[Path], None], names: list[str]
) -> None:
    before = run("status").stdout
    damage(views)
    result = run("projections", "drop", *names)
    assert result.exit_code == 0, result.stderr
    if names:
        # One that could be dropped by itself leaves the damage elsewhere.
        assert run("projections", "drop").exit_code == 0
    assert run("status").stdout == before
    assert set(state(run).values()) == {"current"}
    assert "result          sound" in run("audit", "verify").stdout


@pytest.mark.usefixtures("read")
def test_what_was_damaged_is_kept_beside_and_said(run: Run, views: Path) -> None:
    _overwritten(views)
    content = views.read_bytes()
    found = json.loads(run("projections", "drop", "--json").stdout)
    assert found == {"dropped": ALL, "moved_to": f"{views}.damaged"}
    assert Path(found["moved_to"]).read_bytes() == content
    assert not views.exists()
    run("status")
    _overwritten(views)
    assert f"it is now {views}.damaged" in run("projections", "drop").stdout


def test_a_drop_leaves_the_file_of_something_else_alone(run: Run, views: Path) -> None:
    sql(views, "CREATE TABLE aunts (name TEXT)")
    before = views.read_bytes()
    result = run("projections", "drop")
    assert result.exit_code == 1
    assert "there is something else in it" in result.stderr
    assert views.read_bytes() == before


@pytest.mark.usefixtures("read")
def test_a_sound_file_is_not_moved_aside(run: Run, views: Path) -> None:
    assert run("projections", "drop").exit_code == 0
    assert views.exists()
    assert not Path(f"{views}.damaged").exists()
