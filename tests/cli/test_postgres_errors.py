"""What can be wrong with a database is said in one line that names the place, and never shows a password."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tallystick.cli import send
from tallystick.events.log.postgres_place import place_of
from tallystick.events.log.store import open_store
from tallystick.events.log.store_place import shown
from tests.support.cli import Run
from tests.support.postgres import PostgresServer, shared

SECRET = "sEcReT-9"  # noqa: S105 - it must be shown nowhere


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """The server of all tests, with a user who must give a password."""
    server = shared()
    rules = server.folder / "data" / "pg_hba.conf"
    before = rules.read_text(encoding="utf-8")
    rules.write_text(f"local all ada scram-sha-256\n{before}", encoding="utf-8")
    with psycopg.connect(place_of(server.url()).database, autocommit=True) as connection:
        connection.execute("CREATE ROLE ada LOGIN PASSWORD 'right'")
        connection.execute("SELECT pg_reload_conf()")
        open_store(server.url(fleet="there"), writer=True).close()
        yield server
        rules.write_text(before, encoding="utf-8")
        connection.execute("DROP ROLE ada")
        connection.execute("SELECT pg_reload_conf()")


WRONG: dict[str, tuple[Callable[[Path], str], str]] = {
    "a host that is not there": (lambda _: f"postgresql://ada:{SECRET}@nowhere.invalid/ops", "nowhere.invalid"),
    "a port at which nothing listens": (
        lambda _: f"postgresql://ada:{SECRET}@127.0.0.1:1/ops",
        'connection to server at "127.0.0.1", port 1 failed: Connection refused',
    ),
    "a wrong password": (
        lambda folder: f"postgresql://ada:{SECRET}@/postgres?host={folder}&fleet=there",
        'password authentication failed for user "ada"',
    ),
    "a wrong password behind the question mark": (
        lambda folder: f"postgresql://ada@/postgres?host={folder}&fleet=there&password={SECRET}",
        'password authentication failed for user "ada"',
    ),
    "a database that is not there": (
        lambda folder: f"postgresql://tests:{SECRET}@/nowhere?host={folder}",
        'database "nowhere" does not exist',
    ),
    "a name that is none": (
        lambda folder: f"postgresql://tests:{SECRET}@/postgres?host={folder}&fleet=a/b",
        "fleet: found 'a/b', allowed is one name of up to 64 letters",
    ),
    "an option that nobody has": (
        lambda folder: f"postgresql://tests:{SECRET}@/postgres?host={folder}&flet=a",
        "found the option 'flet', which neither tallystick nor libpq has",
    ),
    "a password that cuts the URL": (
        lambda folder: f"postgresql://tests:a/{SECRET}@/postgres?host={folder}",
        "is written as % and two digits",
    ),
    "a scheme that is misspelled": (
        lambda _: f"postgresq://ada:{SECRET}@host/ops",
        "allowed are sqlite:///FILE, postgr",
    ),
}
COMMANDS = [
    ["status"],
    ["events", "--follow"],
    ["audit", "verify"],
    ["projections", "list"],
    ["store", "info"],
    ["store", "backup", "copy.db"],
    ["send", "resume"],
    ["send", '{"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 1}}'],
    ["key", "list"],
    ["serve", "--port", "0"],
    ["whatif"],
]


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_with_a_database_is_said_by_every_command(
    run: Run, server: PostgresServer, wrong: str, tmp_path: Path
) -> None:
    url_of, said = WRONG[wrong]
    url = url_of(server.folder)
    for words in COMMANDS:
        result = run(*words, "--store", url)
        assert result.exit_code == 1, (words, result.output)
        assert said in result.stderr, words
        assert result.stderr.count("\n") == 1, words
        assert result.stderr.startswith("tallystick"), words
        assert SECRET not in result.output, words
        assert result.stdout == "", words
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words", [words for words in COMMANDS if "AllocateBudget" not in words[-1] and "serve" not in words]
)
def test_a_fleet_that_is_not_there_is_made_by_no_question(run: Run, server: PostgresServer, words: list[str]) -> None:
    url = server.url(fleet="missing").replace("tests@", f"tests:{SECRET}@")
    result = run(*words, "--store", url)
    assert result.exit_code == 1
    assert f"there is no fleet at {shown(url)}" in result.stderr
    assert result.stderr.count("\n") == 1
    assert SECRET not in result.output
    assert "there is no fleet" in run("status", "--store", url).stderr


def test_without_the_packages_the_extra_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("psycopg", "psycopg_pool"):
        with monkeypatch.context() as patched:
            patched.setitem(sys.modules, module, None)
            for words in (*COMMANDS, ["top"]):
                if words == ["top"]:
                    continue  # without a terminal it comes to nothing
                result = run(*words, "--store", f"postgresql://ada:{SECRET}@host/ops")
                assert result.exit_code == 1, words
                expected = "tallystick: PostgreSQL needs more packages: pip install 'tallystick[postgres]'\n"
                assert result.stderr == expected, words


def test_a_writer_on_another_machine_is_named_with_what_to_do(
    run: Run, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send, "PATIENCE_SECONDS", 0)
    url = server.url(fleet="far")
    store = open_store(url, writer=True)
    with psycopg.connect(place_of(url).database, autocommit=True) as connection:
        connection.execute("UPDATE tallystick_writers SET holder = 'process 7 on far' WHERE fleet = 'far'")
    result = run("send", '{"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 1}}', "--store", url)
    store.close()
    assert result.exit_code == 1
    assert "is being written by process 7 on far (since " in result.stderr
    assert "it runs on another machine or in a container: send there, or to its server with --url" in result.stderr
    assert result.stderr.count("\n") == 1
