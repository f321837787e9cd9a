"""``send`` from another terminal, to a fleet that runs in a program with agents at work."""

import json
import os
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from tallystick.fleet import Fleet
from tests.support.cli import Run
from tests.support.control import AGENTS_AT_WORK
from tests.support.store_processes import SECONDS, child, let_go, line_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no Unix sockets")

KEY = "a" * 64
KEY_SHA256 = "sha256:ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'tallystick.db'}"


def ok(run: Run, *words: str) -> dict[str, Any]:
    result = run("send", *words)
    assert result.exit_code == 0, result.stdout + result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)["ok"]
    return answer


def test_another_terminal_pauses_and_resumes_and_stops_agents_at_work(run: Run, url: str, tmp_path: Path) -> None:
    with child(AGENTS_AT_WORK, url) as program:
        assert Path(line_of(program)).exists()
        assert ok(run, "pause", "the provider is down", "--by", "ada")["paused"] is True
        assert line_of(program) == "seen"
        ok(run, "resume", "--by", "ada")
        assert line_of(program) == "seen"
        assert ok(run, "stop", "a-1", "it", "repeats", "itself", "--by", "ada")["agent"] == "a-1"
        assert ok(run, '{"type": "CheckEnforcement", "agent": "a-1"}')["action"] == "stop"
        ok(run, "resume", "a-1", "--by", "ada")
        let_go(program)
    with sqlite3.connect(tmp_path / "tallystick.db") as connection:
        found = connection.execute("SELECT position FROM log WHERE type = 'fleet-paused.v1'").fetchall()
    connection.close()
    ((position,),) = found
    explained = run("audit", "explain", str(position)).stdout
    assert "ada, with the id send-" in explained
    assert f"process {os.getpid()}" in explained
    assert "decided again" in run("audit", "verify").stdout
    assert run("whatif").exit_code == 0


def test_after_the_program_was_killed_send_opens_the_store_itself(run: Run, url: str) -> None:
    with child(AGENTS_AT_WORK, url) as program:
        left = Path(line_of(program))
        ok(run, "pause", "first", "--id", "p-1")
        program.send_signal(signal.SIGKILL)
        program.wait(SECONDS)
        assert left.exists()
        again = ok(run, "pause", "first", "--id", "p-1")
        assert again["paused"] is True
        assert "paused" not in ok(run, "resume")
        assert not left.exists()
    assert "sound" in run("audit", "verify").stdout


def test_settings_are_not_put_in_force_on_the_way_into_a_fleet_that_runs(run: Run, url: str, tmp_path: Path) -> None:
    (tmp_path / "limits.yml").write_text("total_budget: {tokens: 10}\n")
    with Fleet.open(url, notify=False) as fleet:
        total = fleet.config.total_budget
        result = run("send", "resume", "--config", "limits.yml")
        assert result.exit_code == 2
        assert "this one runs: send LoadConfig" in result.stderr
        assert fleet.config.total_budget == total


@pytest.mark.parametrize("live", [True, False], ids=["a fleet that runs", "a store"])
def test_what_loosens_a_limit_needs_the_operators_key(
    run: Run, url: str, monkeypatch: pytest.MonkeyPatch, live: bool, tmp_path: Path
) -> None:
    fleet = Fleet.open(url, {"control": {"operator_key": KEY_SHA256}}, notify=False)
    if not live:
        fleet.close()
    assert ok(run, "pause", "tightens")["paused"] is True
    for key in (None, "wrong"):
        if key:
            monkeypatch.setenv("TALLYSTICK_OPERATOR_KEY", key)
        result = run("send", "resume", "--id", "again")
        assert result.exit_code == 1
        error = json.loads(result.stdout)["error"]
        assert (error["code"], error["key_shown"]) == ("operator_key_needed", key is not None)
    monkeypatch.setenv("TALLYSTICK_OPERATOR_KEY", KEY)
    assert "paused" not in ok(run, "resume", "--id", "again")
    fleet.close()
    with sqlite3.connect(tmp_path / "tallystick.db") as connection:
        records = [bytes(row[0]) for row in connection.execute("SELECT state FROM stored_events")]
    connection.close()
    assert sum(b"operator_key_needed" in record for record in records) == 2
    assert not any(KEY.encode() in record for record in records)
    shown = run("config", "show", "--store", url).stdout
    assert KEY not in shown
    assert "sound" in run("audit", "verify").stdout
    assert run("whatif").exit_code == 0


def test_settings_need_the_key_too(run: Run, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Fleet.open(url, {"control": {"operator_key": KEY_SHA256}}, notify=False).close()
    (tmp_path / "limits.yml").write_text("control: {operator_key: null}\n")
    result = run("send", "resume", "--config", "limits.yml")
    assert result.exit_code == 1
    assert "that needs the operator's key, in $TALLYSTICK_OPERATOR_KEY" in result.stderr
    monkeypatch.setenv("TALLYSTICK_OPERATOR_KEY", KEY)
    ok(run, "resume", "--config", "limits.yml")
    monkeypatch.delenv("TALLYSTICK_OPERATOR_KEY")
    ok(run, "resume")


def test_a_key_in_the_place_of_its_digest_is_refused_and_not_shown(run: Run, tmp_path: Path) -> None:
    (tmp_path / "limits.yml").write_text("control: {operator_key: hunter2}\n")
    result = run("config", "check", "limits.yml")
    assert result.exit_code == 2
    assert "limits.yml:1:25: control.operator_key: found another value, which is not shown, allowed is" in result.stderr
    assert "hunter2" not in result.stderr
