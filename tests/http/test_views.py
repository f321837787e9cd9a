"""Views over HTTP are those of the command line, now and at every position, and no reader holds up the server."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tallystick.cli.main import main
from tests.support.serving import Client, Served

LIMITS = """
max_concurrent: {total: 2}
daily_limits: {max_cost_usd: 5, max_tokens_total: 100000}
"""
PLAIN = ("status", "queue", "limits", "alerts", "tasks", "forecast", "cost", "dashboard")


def _lived(client: Client) -> None:
    """Agents below each other, usage, levels, a task that runs and tasks that wait, and a pause."""
    client.post("/v1/allocate-budget", {"agent": "lead", "product": "shop", "budget": {"tokens": 50_000}})
    for name in ("sub-1", "sub-2"):
        client.post("/v1/allocate-budget", {"agent": name, "parent": "lead", "budget": {"tokens": 1_000}})
    for used in (300, 300, 250):
        client.post("/v1/report-usage", {"agent": "sub-1", "usage": {"tokens": used}})
    client.post("/v1/reserve", {"agent": "sub-2", "estimate": {"tokens": 10}})
    for name in ("T-1", "T-2", "T-3"):
        task = {"task": name, "agent_type": "coder", "product": "shop", "estimated_tokens": 1_000}
        assert client.post("/v1/submit-task", task).status == 200
    client.post("/v1/pause-all", {"reason": "lunch"})
    client.post("/v1/resume-all", {})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("views")


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    (folder / "limits.yml").write_text(LIMITS)
    server = Served(folder, "--config", "limits.yml")
    client = server.client()
    _lived(client)
    client.close()
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'fleet.db'}"


def _command(url: str, name: str, *options: str) -> Any:
    result = CliRunner().invoke(main, [name, "--store", url, "--json", *options])
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def _end(client: Client) -> int:
    end: int = client.call("GET", "/v1/views/page").json["end"]
    return end


@pytest.mark.parametrize("name", PLAIN)
def test_at_every_position_a_view_is_what_the_command_prints(name: str, client: Client, url: str) -> None:
    end = _end(client)
    for position in sorted({1, 2, end // 4, end // 2, end - 1, end}):
        answer = client.call("GET", f"/v1/views/{name}?at={position}")
        assert answer.status == 200, answer.body
        assert answer.json == _command(url, name, "--at", str(position)), position


def test_a_time_is_the_state_after_its_last_event(client: Client, url: str) -> None:
    at = client.call("GET", "/v1/views/status?at=4").json["at"]
    answer = client.call("GET", f"/v1/views/status?at={at}").json
    assert answer == _command(url, "status", "--at", at)


def test_without_a_moment_it_is_the_newest_state(client: Client) -> None:
    before = _end(client)
    assert client.post("/v1/allocate-budget", {"agent": "new", "budget": {"tokens": 7}}).status == 200
    found = client.call("GET", "/v1/views/page?every=1").json
    assert found["position"] == found["end"] > before
    agents = client.call("GET", "/v1/views/agents?search=new").json
    assert [one["agent"] for one in agents["shown"]] == ["new"]
    assert found["events"][0]["position"] == found["position"]


def test_an_event_is_found_by_whom_it_is_about(client: Client, url: str) -> None:
    found = client.call("GET", "/v1/views/events?agent=sub-1&type=usage-reported").json
    assert [one["event"]["tokens"] for one in found] == [300, 300, 250]
    last = found[-1]["position"]
    earlier = client.call("GET", f"/v1/views/events?agent=sub-1&type=usage-reported&before={last}&limit=1").json
    assert earlier == found[1:2]
    then = client.call("GET", f"/v1/views/events?agent=sub-1&type=usage-reported&at={found[0]['position']}").json
    assert then == found[:1]


def test_agents_are_a_tree_in_any_order_and_a_window_of_it(client: Client) -> None:
    tree = client.call("GET", "/v1/views/agents?order=name").json
    names = [(one["agent"], one["depth"]) for one in tree["shown"]]
    assert [one for one in names if not one[0].startswith("T-")][:3] == [("lead", 0), ("sub-1", 1), ("sub-2", 1)]
    folded = client.call("GET", "/v1/views/agents?order=name&folded=lead").json
    assert folded["rows"] == tree["rows"] - 2
    window = client.call("GET", "/v1/views/agents?order=name&after=1&count=2").json
    assert [one["agent"] for one in window["shown"]] == [name for name, _ in names[1:3]]
    assert window["rows"] == tree["rows"]
    at_level = next(one["status"] for one in tree["shown"] if one["agent"] == "sub-1")
    assert at_level != "green"
    level = client.call("GET", f"/v1/views/agents?level={at_level}").json
    assert [one["agent"] for one in level["shown"]] == ["sub-1"]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("nothing", 404, "not_found"),
        ("status?at=999999", 404, "unknown_position"),
        ("status?at=0", 404, "unknown_position"),
        ("status?at=2001-01-01", 404, "unknown_position"),
        ("status?at=soon", 422, "invalid_parameter"),
        ("status?agent=no-such", 404, "unknown_agent"),
        ("limits?agent=no-such", 404, "unknown_agent"),
        ("status?limit=many", 422, "invalid_parameter"),
        ("agents?order=size", 422, "invalid_parameter"),
        ("agents?level=pink", 422, "invalid_parameter"),
        ("events?type=no-such", 422, "invalid_parameter"),
        ("cost?by=colour", 422, "invalid_parameter"),
        (f"agents?search={'x' * 300}", 422, "invalid_parameter"),
    ],
)
def test_what_cannot_be_shown_is_a_problem(client: Client, path: str, status: int, code: str) -> None:
    answer = client.call("GET", f"/v1/views/{path}")
    assert (answer.status, answer.json["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("status?agnet=a", "agent, at, limit"),
        ("queue?agent=a", "at, limit"),
        ("cost?per=day", "at, by"),
        ("dashboard?limit=1", "at"),
        ("page?limit=1", "at, every"),
        ("events?since=1", "agent, at, before, limit, model, product, refused, task, type"),
        ("agents?limit=1", "after, at, count, folded, level, order, search, tree"),
    ],
)
def test_a_parameter_that_a_view_does_not_have_is_named_with_those_that_it_has(
    client: Client, path: str, allowed: str
) -> None:
    answer = client.call("GET", f"/v1/views/{path}")
    assert (answer.status, answer.json["code"]) == (422, "invalid_parameter")
    found = path.partition("?")[2].partition("=")[0]
    assert f"found {found!r}, allowed" in answer.json["detail"]
    assert answer.json["detail"].endswith(f" {allowed}")


def test_a_parameter_is_named_once_where_it_means_one_thing(client: Client) -> None:
    answer = client.call("GET", "/v1/views/status?limit=1&limit=2")
    assert answer.json["detail"] == "limit: found 2 of them, allowed is one"


@pytest.mark.skipif(sys.platform != "linux", reason="the limits of another process are changed")
def test_without_files_to_open_a_view_is_unavailable_and_comes_back(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    server = Served(tmp_path)
    client, pid = server.client(), server.process.pid
    client.post("/v1/allocate-budget", {"agent": "one", "budget": {"tokens": 5}})
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(list(Path(f"/proc/{pid}/fd").iterdir())), before[1]))
    answer = client.call("GET", "/v1/views/status")
    assert (answer.status, answer.json["code"]) == (503, "unavailable")
    assert "open files" in answer.json["detail"]
    assert answer.headers["retry-after"] == "1"
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    assert client.call("GET", "/v1/views/status").status == 200
    client.close()
    assert server.stop() == 0


def test_files_of_the_dashboard_are_sent_once_and_under_a_strict_policy(client: Client) -> None:
    for path in ("/", "/app.js", "/app.css", "/icon.svg"):
        answer = client.call("GET", path)
        assert answer.status == 200
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        again = client.call("GET", path, headers={"if-none-match": answer.headers["etag"]})
        assert (again.status, again.body) == (304, b"")


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="processes are found in /proc")
def test_while_a_reader_computes_messages_are_answered(served: Served, client: Client) -> None:
    client.call("GET", "/v1/views/status")  # so that the reader runs
    readers = [
        int(pid)
        for task in Path(f"/proc/{served.process.pid}/task").iterdir()
        for pid in (task / "children").read_text().split()
    ]
    assert readers
    waiting = Client(served.port)
    for pid in readers:
        os.kill(pid, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(1) as threads:
            asked = threads.submit(waiting.call, "GET", "/v1/views/status")
            for _ in range(20):
                assert client.post("/v1/get-global-status", {"limit": 0}).status == 200
            assert not asked.done()
            for pid in readers:
                os.kill(pid, signal.SIGCONT)
            assert asked.result().status == 200
    finally:
        for pid in readers:
            os.kill(pid, signal.SIGCONT)
        waiting.close()


# --- the past ---------------------------------------------------------------------------------------------------------
