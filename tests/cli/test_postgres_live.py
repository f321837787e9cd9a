"""Other processes beside the one that writes a fleet in PostgreSQL: they control it, follow it, and read its views."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from tallystick.actors.runtime.control_place import places_of
from tallystick.actors.runtime.fleet import Fleet
from tallystick.projections.store.kept_views import KeptViews
from tests.support.cli import Run
from tests.support.control import AGENTS_AT_WORK
from tests.support.postgres import PostgresServer, running, shared
from tests.support.programs import until
from tests.support.store_processes import ROOT, SECONDS, child, let_go, line_of
from tests.support.terminals import OnTerminal
from tests.support.view_logs import opened_views


@pytest.fixture
def url() -> str:
    """A place for a fleet that is not there."""
    return shared().url(fleet=f"live-{uuid4().hex[:12]}")


@contextmanager
def tallystick(*words: str, store: str) -> Iterator["subprocess.Popen[str]"]:
    """The program in a process of its own."""
    environment = {**os.environ, "TALLYSTICK_STORE": store}
    with running_program(sys.executable, "-m", "tallystick", *words, env=environment) as process:
        yield process


@contextmanager
def running_program(*command: str, env: Mapping[str, str] | None = None) -> Iterator["subprocess.Popen[str]"]:
    """A process, which ends with the block at the latest."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_another_terminal_controls_a_fleet_at_work_under_any_spelling_of_its_url(run: Run, url: str) -> None:
    other = url.replace("tests@/", "/").replace("postgresql:", "postgres:") + "&user=tests&application_name=ops"
    with child(AGENTS_AT_WORK, url) as program:
        socket = Path(line_of(program))
        assert list(places_of(url)) == list(places_of(other)) == [socket]
        assert run("send", "pause", "the provider is down", "--store", other).exit_code == 0
        assert line_of(program) == "seen"
        assert run("send", "resume", "--store", url).exit_code == 0
        assert line_of(program) == "seen"
        created = run("key", "create", "--role", "auditor", "--store", url, "--json")
        assert json.loads(created.stdout)["role"] == "auditor"
        let_go(program)
    assert not socket.exists()
    assert "decided again" in run("audit", "verify", "--store", url).stdout


def test_after_the_program_was_killed_send_opens_the_store_itself(run: Run, url: str) -> None:
    with child(AGENTS_AT_WORK, url) as program:
        left = Path(line_of(program))
        program.kill()
        program.wait(SECONDS)
        assert left.exists()
        result = run("send", "pause", "it is gone", "--store", url)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["ok"]["paused"] is True


def test_fleets_of_one_database_have_sockets_of_their_own(url: str) -> None:
    with Fleet.open(url) as one, Fleet.open(f"{url}-2") as other:
        assert one.control_socket is not None
        assert one.control_socket != other.control_socket
        assert list(places_of(url)) == [one.control_socket]
        assert list(places_of(f"{url}-2")) == [other.control_socket]
    assert list(places_of(url)) == []


def _have_come_to(views: KeptViews, position: int) -> bool:
    return views.reached().position >= position


def test_views_are_followed_by_a_process_of_their_own(url: str) -> None:
    with Fleet.open(url) as fleet:
        fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 100}})
        with running_program(sys.executable, "-m", "tallystick.projections", url) as follower:
            for tokens in range(1, 4):
                fleet.ask({"type": "ReportUsage", "agent": "a", "usage": {"tokens": tokens}})
                last = fleet.store.last()
                assert last is not None
                views = opened_views(url)
                until(partial(_have_come_to, views, last.position))
                assert b'"tokens":' in (views.row("agents", "a") or b"")
                views.close()
            follower.terminate()
            assert follower.wait(SECONDS) == 0
            assert follower.stderr is not None
            assert follower.stderr.read() == ""


def test_top_shows_what_happens_in_another_process(url: str) -> None:
    with Fleet.open(url) as fleet:
        fleet.ask({"type": "AllocateBudget", "agent": "a-1", "budget": {"tokens": 1_000}})
        with OnTerminal("top", "--store", url) as top:
            top.wait_for("a-1 ")
            fleet.ask({"type": "ReportUsage", "agent": "a-1", "usage": {"tokens": 1_000}})
            top.wait_for("a-1 has used up its tokens")
            top.press("q")
            assert top.wait_for_end() == 0


def test_events_are_followed_over_an_outage_of_the_database_which_is_said_once() -> None:
    with running() as server:
        follows(server)


def follows(server: PostgresServer) -> None:
    url = server.url(fleet="followed")
    with Fleet.open(url) as fleet:
        fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 100}})
        with tallystick("events", "--follow", store=url.replace("tests@", "tests:secret@")) as follower:
            assert follower.stdout is not None
            assert follower.stderr is not None
            while "a was opened" not in follower.stdout.readline():
                pass
            server.stop()
            away = follower.stderr.readline()
            assert away.startswith("tallystick: postgresql://tests@/")
            assert away.endswith("; it is tried again every second\n")
            assert "could not be read" in away
            server.start()
            assert follower.stderr.readline().endswith(" can be read again\n")
            fleet.ask({"type": "ReportUsage", "agent": "a", "usage": {"tokens": 7}})
            assert "a reported 7 tokens" in follower.stdout.readline()
            follower.send_signal(2)
            _, said = follower.communicate(timeout=SECONDS)
            assert (follower.returncode, said) == (0, "")


def test_a_server_shows_its_password_in_no_process_and_no_line(url: str, tmp_path: Path) -> None:
    store = url.replace("tests@", "tests:sEcReT@")
    with tallystick("serve", "--port", "0", store=store) as server:
        assert server.stdout is not None
        serving = server.stdout.readline()
        assert serving.startswith(f"serving {url} at http://127.0.0.1:")
        address = serving.split()[-1]
        sent = [
            "curl",
            "-s",
            f"{address}/v1/allocate-budget",
            "--json",
            '{"agent": "a", "workflow": "w", "budget": {"tokens": 9}}',
        ]
        assert json.loads(subprocess.check_output(sent))["agent"] == "a"
        view = json.loads(subprocess.check_output(["curl", "-s", f"{address}/v1/views/status"]))
        assert view["total_allocated"]["tokens"] == 9
        report = ["curl", "-s", f"{address}/v1/generate-report", "--json", '{"workflow": "w"}']
        assert "markdown" in json.loads(subprocess.check_output(report))
        processes = subprocess.check_output(["ps", "-eo", "args"], text=True)
        assert "tallystick.http.views.reader" in processes
        assert "sEcReT" not in processes
        server.terminate()
        _, said = server.communicate(timeout=SECONDS)
    assert "sEcReT" not in said
