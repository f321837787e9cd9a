"""Every command on a fleet in PostgreSQL says and does what it does on the same fleet in a file."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tallystick.cli.main import main
from tallystick.demo.trace import COLUMNS
from tallystick.events.log.postgres_place import place_of
from tallystick.events.log.store import open_store
from tests.support.cli import Run
from tests.support.mcp_client import call, over_stdio, read
from tests.support.mcp_client import run as in_a_loop
from tests.support.postgres import shared

READING = [
    ["status"],
    ["status", "--json"],
    ["status", "--at", "5"],
    ["status", "--agent", "a", "--json"],
    ["queue", "--json"],
    ["tasks", "--json"],
    ["holds", "--json"],
    ["limits"],
    ["limits", "--at", "20", "--json"],
    ["alerts"],
    ["cost", "--json"],
    ["cost", "--per", "day"],
    ["dashboard"],
    ["metrics", "--json"],
    ["events"],
    ["events", "--since", "5", "--until", "2026-03-04T12:10:45", "--json"],
    ["forecast", "--json"],
    ["report"],
    ["report", "--at", "10", "--json"],
    ["audit", "verify", "--json"],
    ["audit", "verify", "--quick"],
    ["audit", "anchor"],
    ["audit", "replay", "--until", "10"],
    ["audit", "explain", "14"],
    ["audit", "explain", "a"],
    ["audit", "export", "--format", "jsonl"],
    ["audit", "export", "--format", "csv", "--after", "5"],
    ["export", "focus"],
    ["projections", "list", "--json"],
    ["projections", "rebuild"],
    ["whatif"],
    ["config", "show"],
    ["config", "prices", "--json"],
]
CHANGING = [
    ["projections", "drop", "agents"],
    ["projections", "drop", "--json"],
    ["send", "pause", "the provider is down", "--id", "m-1", "--by", "ada"],
    ["send", "pause", "the provider is down", "--id", "m-1", "--by", "ada"],
    ["send", '{"type": "GetStatus", "agent": "nobody"}'],
    ["send", "resume", "--id", "m-2"],
    ["key", "create", "--role", "auditor", "--name", "wall"],
    ["key", "list"],
    ["key", "revoke", "wall"],
]
"""In this order, on one fleet."""
SOURCES = ("anthropic", "claude-code", "codex", "litellm", "openai", "openrouter", "trace")
ELSEWHERE = {
    **{("import", source): "tests/importing/test_into_a_fleet.py" for source in SOURCES},
    ("reconcile",): "test_a_fleet_in_a_database_is_laid_beside_a_bill_like_one_in_a_file",
    ("mcp",): "test_tools_are_called_on_a_fleet_in_a_database",
    ("simulate",): "test_a_simulated_fleet_is_the_same_wherever_it_is_kept",
    ("serve",): "tests/cli/test_postgres_live.py",
    ("fleet", "create"): "tests/cluster",
    ("fleet", "list"): "tests/cluster",
    ("cluster", "up"): "tests/cluster",
    ("demo",): "test_a_demonstration_is_kept_in_a_database",
    ("top",): "test_top_shows_what_happens_in_another_process",
    ("store", "info"): "test_store_info_says_where_a_fleet_is_and_who_writes_it",
    ("store", "backup"): "tests/cli/test_postgres_moves.py",
    ("store", "restore"): "tests/cli/test_postgres_moves.py",
    ("store", "archive"): "tests/cli/test_postgres_moves.py",
}
TRACE = "\n".join(
    (",".join(COLUMNS), *(f"r-{i % 3},x,shop,{i // 3},{i},2,m,{100 * i},10,0,0.00{i}" for i in range(1, 10)))
)
_NOW = re.compile(r'"(idle|window)_seconds": [\d.]+')
"""How long ago something was."""
_VARYING = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?|tsk_\S+|\b[0-9a-f]{64}\b")


@pytest.fixture(scope="module")
def in_database(_template: Path) -> str:
    """The fleet of `_template`, in the database of all tests."""
    url = shared().url(fleet="commands")
    result = CliRunner().invoke(main, ["store", "restore", str(_template), "--store", url])
    assert result.exit_code == 0, result.output
    return url


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def test_every_command_that_takes_a_store_is_in_a_table() -> None:
    with_a_store = {
        path for path, command in commands(main) if any(option.name == "store_url" for option in command.params)
    }
    tried = {path for path in with_a_store for words in (*READING, *CHANGING) if tuple(words[: len(path)]) == path}
    assert tried | set(ELSEWHERE) == with_a_store


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_a_command_says_the_same_of_the_same_log(run: Run, fleet: Path, in_database: str, words: list[str]) -> None:
    for url in (f"sqlite:///{fleet}", in_database):
        assert run("status", "--store", url).exit_code == 0  # so that both have their views
    of_file = run(*words, "--store", f"sqlite:///{fleet}")
    of_database = run(*words, "--store", in_database)
    assert of_file.exit_code == of_database.exit_code == 0, of_database.output
    varying = _VARYING if words == ["audit", "anchor"] else _NOW
    assert varying.sub("…", of_file.stdout) == varying.sub("…", of_database.stdout)
    assert of_file.stderr == of_database.stderr == ""


def test_a_fleet_in_a_database_is_laid_beside_a_bill_like_one_in_a_file(
    run: Run, fleet: Path, in_database: str, tmp_path: Path
) -> None:
    bill = str(tmp_path / "bill.csv")
    assert run("export", "focus", "--store", in_database, "--out", bill).exit_code == 0
    of_file, of_database = (
        run("reconcile", "--bill", bill, "--json", "--store", url) for url in (f"sqlite:///{fleet}", in_database)
    )
    assert of_file.exit_code == of_database.exit_code == 0, of_database.output
    assert of_file.stdout == of_database.stdout


def test_tools_are_called_on_a_fleet_in_a_database(tmp_path: Path) -> None:
    async def test() -> None:
        async with over_stdio(tmp_path, "--store", shared().url(fleet="tools")) as mcp:
            assert not (await call(mcp, "AllocateBudget", agent="a", budget={"tokens": 100})).is_refused
            assert (await call(mcp, "ReportUsage", agent="a", usage={"tokens": 60})).value["status"] == "yellow"
            assert json.loads(await read(mcp, "tallystick://agents/a/status"))["consumed"]["tokens"] == 60

    in_a_loop(test)


def test_commands_that_change_something_do_the_same(run: Run, fleet: Path) -> None:
    url = shared().url(fleet="changed")
    assert run("store", "restore", str(fleet), "--store", url).exit_code == 0
    for words in CHANGING:
        of_file = run(*words, "--store", f"sqlite:///{fleet}")
        of_database = run(*words, "--store", url)
        assert of_file.exit_code == of_database.exit_code == ("nobody" in words[1]), words
        assert of_file.stderr == of_database.stderr, words
        assert _VARYING.sub("…", of_file.stdout) == _VARYING.sub("…", of_database.stdout), words
    assert "result          sound" in run("audit", "verify", "--store", url).stdout


def test_a_simulated_fleet_is_the_same_wherever_it_is_kept(run: Run, scenario: Path, fleet: Path) -> None:
    url = shared().url(fleet="simulated")
    result = run("simulate", str(scenario), "--store", url)
    assert result.exit_code == 0, result.stderr
    assert list(open_store(url).read()) == list(open_store(f"sqlite:///{fleet}").read())
    again = run("simulate", str(scenario), "--store", url.replace("tests@", "tests:secret@"))
    assert "has come to 2026-03-04T12:10:53Z already" in again.stderr
    assert "secret" not in again.stderr


def test_a_demonstration_is_kept_in_a_database(run: Run, tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text(TRACE, encoding="utf-8")
    url = shared().url(fleet="demo")
    result = run("demo", "--trace", "trace.csv", "--store", url, "--json")
    assert result.exit_code == 0, result.stderr
    assert "result          sound" in run("audit", "verify", "--store", url).stdout
    again = run("demo", "--store", url.replace("tests@", "tests:secret@"))
    assert "holds a fleet already" in again.stderr
    assert "secret" not in again.stderr


def test_store_info_says_where_a_fleet_is_and_who_writes_it(run: Run, fleet: Path, in_database: str) -> None:
    run("status", "--store", in_database)
    with_password = in_database.replace("tests@", "tests:secret@")
    result = run("store", "info", "--json", "--store", with_password)
    found, of_file = json.loads(result.stdout), json.loads(run("store", "info", "--json").stdout)
    assert "secret" not in result.output
    for name in ("fleet", "records", "digest", "first_at", "last_at", "days", "events_per_day", "snapshots"):
        assert found[name] == of_file[name]
    assert found["store"] == place_of(in_database).named
    assert found["database"]["name"] == "postgres"
    assert found["database"]["fleets"] >= 1
    assert found["database"]["bytes"] > 100_000
    assert found["writer"]["runs"] is False
    assert found["views"] == "tallystick_shown"
    text = run("store", "info", "--store", in_database).stdout
    assert f"head       {found['records']}:{found['digest']}" in text
    assert "writer     none now; process " in text


def test_names_are_completed_out_of_a_database(in_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_STORE", in_database)
    asked = {"_TALLYSTICK_COMPLETE": "bash_complete", "COMP_WORDS": "tallystick audit explain a-", "COMP_CWORD": "3"}
    result = CliRunner().invoke(main, env=asked, prog_name="tallystick")
    assert result.stdout.split() == ["plain,a-sub"]
