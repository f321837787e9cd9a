"""Commands that only read show of a server what they show of its store, with the key of the environment."""

import datetime as dt
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tallystick.cli.main import main
from tallystick.client.served_log import ServedLog
from tallystick.events.log.snapshot import fingerprint
from tallystick.events.log.store import Record, open_store
from tallystick.top.figures import Reader
from tests.support.serving import Served

LIMITS = """
max_concurrent: {total: 1}
daily_limits: {max_cost_usd: 5, max_tokens_total: 100000}
limits: [{name: user, per: "label:user", window: day, max: {tokens: 5000}}]
"""
COMMANDS = (
    *("status", "queue", "limits", "alerts", "tasks", "cost", "dashboard", "forecast", "holds", "events"),
    *(
        "metrics --at 9",
        "report --at 9",
        "status --agent a",
        "status --at 9",
        "limits --at 9",
        "cost --by product --per day",
        "events --limit 3",
    ),
    *("audit explain a", "audit export --format jsonl"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    """An agent, usage, a hold, a task that runs and one that waits; now and then nothing changes by itself."""
    (folder / "limits.yml").write_text(LIMITS)
    server = Served(folder, "--config", "limits.yml")
    with closing(server.client()) as client:
        client.post("/v1/allocate-budget", {"agent": "a", "product": "shop", "budget": {"tokens": 1_000}})
        client.post("/v1/report-usage", {"agent": "a", "usage": {"tokens": 990}, "labels": {"user": "ann"}})
        client.post("/v1/reserve", {"agent": "a", "estimate": {"tokens": 5}, "ttl_seconds": 3_000})
        for task in ("T-1", "T-2"):
            client.post("/v1/submit-task", {"task": task, "agent_type": "qa", "product": "shop"})
    yield server
    assert server.stop() == 0


@pytest.fixture
def url(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return f"http://127.0.0.1:{served.port}"


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def _steady(text: str) -> str:
    """Without what goes on by itself from one call to the next: seconds that have passed."""
    goes_on = ("second", "minute", "per_hour", "score", '"wait"')
    return "\n".join(line for line in text.splitlines() if not any(word in line for word in goes_on))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_server_shows_what_its_store_shows(url: str, folder: Path, command: str) -> None:
    words = command.split()
    if words[0] != "audit":
        words.append("--json")
    of_store = run(*words, "--store", f"sqlite:///{folder / 'fleet.db'}")
    of_server = run(*words, "--url", url)
    assert (of_server.exit_code, of_server.stderr) == (of_store.exit_code, of_store.stderr)
    assert _steady(of_server.stdout) == _steady(of_store.stdout) != ""


def test_views_of_a_server_are_kept_for_its_user_alone_and_go_on_from_there(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []
    read = ServedLog.read

    def noted(log: ServedLog, after: int = 0, upto: int | None = None) -> Iterator[Record]:
        begun.append(after)
        return read(log, after, upto)

    monkeypatch.setattr(ServedLog, "read", noted)
    first = run("tasks", "--url", url, "--json")
    assert 0 in begun
    (kept,) = (tmp_path / "cache" / "tallystick").glob("*.views")
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    begun.clear()
    assert _steady(run("tasks", "--url", url, "--json").stdout) == _steady(first.stdout)
    assert 0 not in begun


def test_what_is_kept_of_another_fleet_at_the_same_address_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    port = 0
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        server = Served(tmp_path / name, port=port)
        port = server.port
        with closing(server.client()) as client:
            client.post("/v1/allocate-budget", {"agent": name, "budget": {"tokens": 5}})
        shown = run("status", "--url", f"http://127.0.0.1:{port}").stdout
        assert [one for one in ("one", "two") if re.search(rf"\b{one}\b", shown)] == [name]
        assert server.stop() == 0


def test_the_live_screen_of_a_server_has_the_figures_of_its_store(url: str, folder: Path) -> None:
    now = dt.datetime.now(dt.UTC)
    with closing(Reader(url)) as there, closing(Reader(f"sqlite:///{folder / 'fleet.db'}")) as here:
        found, expected = there.read(now), here.read(now)
        assert found.agents == expected.agents
        assert (found.burn, found.limits, found.events) == (expected.burn, expected.limits, expected.events)
        assert [task.task for task in found.tasks] == ["T-1", "T-2"]


def test_events_of_a_server_are_followed_as_they_happen(url: str, served: Served) -> None:
    command = [sys.executable, "-m", "tallystick", "events", "--follow", "--limit", "1", "--url", url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline()
        with closing(served.client()) as client:
            client.post("/v1/allocate-budget", {"agent": "comes", "budget": {"tokens": 5}})
        assert "comes was opened with 5 tokens" in process.stdout.readline()
    finally:
        process.kill()
        process.communicate()


def test_a_log_that_is_read_over_http_is_that_of_the_store_byte_for_byte(url: str, folder: Path) -> None:
    with closing(ServedLog(url)) as there, closing(open_store(f"sqlite:///{folder / 'fleet.db'}")) as here:
        records = list(here.read())
        assert list(there.read(0, records[-1].position)) == records
        assert list(there.read(3, 7)) == records[3:7]
        assert there.record(4) == records[3]
        assert there.record(10**9) is None
        assert there.record(0) is None


def test_a_snapshot_is_given_as_the_log_vouches_for_it(tmp_path: Path) -> None:
    server = Served(tmp_path)
    with closing(server.client()) as client:
        assert client.call("GET", "/v1/snapshot").json["code"] == "not_found"
        assert client.call("GET", "/v1/snapshot?at=1").status == 422
    assert server.stop() == 0
    with closing(open_store(f"sqlite:///{tmp_path / 'fleet.db'}")) as store:
        kept = store.snapshots(1)
    server = Served(tmp_path)
    with closing(ServedLog(f"http://127.0.0.1:{server.port}")) as there:
        assert [(position, fingerprint(data)) for position, data in there.snapshots()] == [
            (position, fingerprint(data)) for position, data in kept
        ]
    assert server.stop() == 0


def _key(folder: Path, role: str, *more: str) -> str:
    words = ["key", "create", "--role", role, "--store", f"sqlite:///{folder / 'fleet.db'}", *more]
    done = subprocess.run([sys.executable, "-m", "tallystick", *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_key_of_the_environment_lets_in_who_may_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    server = Served(tmp_path)
    url = f"http://127.0.0.1:{server.port}"
    reader, agent = _key(tmp_path, "analyst"), _key(tmp_path, "agent", "--agent", "a")
    without = run("status", "--url", url)
    assert (without.exit_code, without.stdout) == (1, "")
    assert (
        without.stderr == f"tallystick: {url} asks for a valid key: put one whose role may read into $TALLYSTICK_KEY\n"
    )
    monkeypatch.setenv("TALLYSTICK_KEY", agent)
    refused = run("status", "--url", url)
    assert (refused.exit_code, "the role agent may not read this" in refused.stderr) == (1, True)
    monkeypatch.setenv("TALLYSTICK_KEY", reader)
    assert run("status", "--url", url).exit_code == 0
    assert server.stop() == 0
    assert "TALLYSTICK_KEY" in os.environ


def test_what_is_no_server_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    gone = run("status", "--url", f"http://127.0.0.1:{port}")
    assert (gone.exit_code, gone.stderr.count("\n")) == (1, 1)
    assert "cannot be reached" in gone.stderr
    for words, said in (
        (("--url", "fleet.db"), "--url: found 'fleet.db', allowed is one like http://127.0.0.1:8321"),
        (("--url", "http://a b"), "url: found 'http://a b', allowed is one like"),
        (("--url", "http://a", "--store", "sqlite:///x.db"), "--store and --url: found both, allowed is one"),
        (("--store", "sqlite:///x.db", "--url", "http://a"), "--store and --url: found both, allowed is one"),
    ):
        wrong = run("status", *words)
        assert (wrong.exit_code, said in wrong.stderr) == (2, True), wrong.stderr
