"""``send``: one message, by the live fleet, into a durable store."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tallystick.actors.runtime.fleet import Fleet
from tallystick.config.loader import PACKAGED_FILE
from tallystick.events.log.store import open_store
from tests.support.cli import Run

send = importlib.import_module("tallystick.cli.send")

ALLOCATE = '{"type": "AllocateBudget", "agent": "a-1", "budget": {"tokens": 50000}}'


def test_a_message_is_answered_and_kept(run: Run, tmp_path: Path) -> None:
    result = run("send", ALLOCATE)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["ok"]["allocated"] == {"tokens": 50000}
    status = json.loads(run("send", '{"type": "GetStatus", "agent": "a-1"}').stdout)
    assert status["ok"]["remaining"] == {"tokens": 50000}
    assert (tmp_path / "tallystick.db").exists()


def begin(run: Run, *settings: str) -> None:
    """A fleet that has begun, with nothing in it."""
    question = '{"type": "GetGlobalStatus"}'
    assert run("send", question, "--config", settings[0] if settings else str(PACKAGED_FILE)).exit_code == 0


def test_a_refusal_is_printed_and_exits_with_1(run: Run) -> None:
    run("send", ALLOCATE)
    result = run("send", ALLOCATE)
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] == "already_allocated"
    assert result.stderr == ""


def test_the_same_id_is_answered_as_before(run: Run) -> None:
    first, second = run("send", ALLOCATE, "--id", "x"), run("send", ALLOCATE, "--id", "x")
    assert first.exit_code == second.exit_code == 0
    assert first.stdout == second.stdout


def test_the_words_of_operators(run: Run) -> None:
    begin(run)
    assert json.loads(run("send", "pause", "the", "provider is down", "--by", "ada").stdout)["ok"]["paused"] is True
    assert "everything was paused: the provider is down" in run("audit", "explain", "4").stdout
    assert "ada" in run("audit", "explain", "4").stdout
    assert "paused" not in json.loads(run("send", "resume").stdout)["ok"]
    assert "ok" in json.loads(run("send", "release-reserve", "the audit is due").stdout)


def ok(run: Run, *words: str) -> dict[str, Any]:
    result = run("send", *words)
    assert result.exit_code == 0, result.stdout + result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)["ok"]
    return answer


def test_a_higher_limit_is_approved_in_a_few_words(run: Run, tmp_path: Path) -> None:
    (tmp_path / "limits.yml").write_text(
        "daily_limits: {max_cost_usd: 100, max_tokens_total: 1000}\n", encoding="utf-8"
    )
    begin(run, "limits.yml")
    today = ok(run, "approve-limit", "--cost", "200.50", "--tokens", "5000", "--by", "ada")
    assert today["limits"] == {"tokens": 5000, "cost_usd": "200.50"}
    refused = run("send", "approve-limit", "--cost", "50")
    assert refused.exit_code == 1
    assert json.loads(refused.stdout)["error"]["code"] == "limit_not_raised"
    assert "limits were raised for" in run("audit", "explain", "4").stdout


def test_an_open_breaker_is_reset_in_a_few_words(run: Run, tmp_path: Path) -> None:
    (tmp_path / "limits.yml").write_text(
        "circuit_breaker: {trip_conditions: ['tokens_daily > 10']}\n", encoding="utf-8"
    )
    begin(run, "limits.yml")
    closed = run("send", "reset-breaker", "a", "mistake")
    assert json.loads(closed.stdout)["error"]["code"] == "breaker_not_open"
    ok(run, '{"type": "ReportUsage", "agent": "a", "usage": {"tokens": 11}}')
    assert ok(run, "reset-breaker", "a mistake", "--by", "ada")["silenced"] == ["tokens_daily > 10"]


def test_the_priority_of_a_product_is_overridden_in_a_few_words_and_given_back(run: Run) -> None:
    begin(run)
    assert ok(run, "override", "shop", "critical", "the", "launch")["priority"] == "critical"
    assert ok(run, "override", "shop", "none")["priority"] is None


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["approve-limit"], "approve-limit needs a limit: --cost DOLLARS, --tokens TOKENS, or both"),
        (["approve-limit", "200"], "takes its limits as options: '200' is none; like --cost 200"),
        (["approve-limit", "--cost", "much"], "--cost: found 'much', allowed are dollars like 200 or 12.50"),
        (["approve-limit", "--cost", "1_000"], "--cost: found '1_000', allowed are dollars like 200 or 12.50"),
        (["approve-limit", "--tokens", "\u0661"], "--tokens: found '\u0661', allowed are whole tokens like 5000000"),
        (["approve-limit", "--tokens", "1.5"], "--tokens: found '1.5', allowed are whole tokens like 5000000"),
        (["pause", "now", "--cost", "1"], "--cost belongs to approve-limit"),
        (["retry", "T-1"], "retry needs a task and a reason, like: retry T-1 the provider is back"),
        (["override", "shop"], "override needs a product and a priority, like: override urgent-project critical"),
        (["override", "shop", "urgent"], "'urgent' is no priority: allowed are critical, high, normal, low, none"),
        (["reset-breaker"], "reset-breaker needs a reason"),
        (["release-reserve"], "release-reserve needs a reason"),
        (["nonsense"], "found 'nonsense': allowed are a JSON object, pause REASON"),
        (["pause"], "pause needs a reason"),
        (["resume", "a-1", "now"], "resume takes an agent, or nothing for the whole fleet, and no reason"),
        (["stop", "a-1"], "stop needs an agent and a reason"),
        (["approve-limit", "--reason", "why"], "approve-limit needs a limit"),
        (["{oops"], "not JSON"),
        ([ALLOCATE, "and more"], "put the whole of it in single quotes"),
        (['{"type": "NoSuch"}'], "allowed are AllocateBudget"),
        (['{"type": "ApplyMoves", "moves": []}'], "the fleet's own actors"),
        (['{"type": "GetStatus", "agnt": "a"}'], "unknown field `agnt`"),
        (['{"type": "GetStatus", "agent": "a", "id": "x"}', "--id", "y"], "leave one out"),
        (["resume", "--by", ""], "a name of 1 to 128 characters"),
        (["resume", "--id", "x" * 129], "a name of 1 to 128 characters"),
        ([], "Missing argument"),
    ],
)
def test_what_makes_no_sense_is_reported_in_one_line_and_nothing_is_opened(
    run: Run, tmp_path: Path, words: list[str], reason: str
) -> None:
    result = run("send", *words)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert "see tallystick send --help" in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert not (tmp_path / "tallystick.db").exists()


def test_while_a_process_writes_that_cannot_be_reached_it_is_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(run)
    monkeypatch.setattr(send, "PATIENCE_SECONDS", 0)
    code = (
        "import sys; from tallystick.events.log.store import open_store\n"
        "store = open_store('sqlite:///tallystick.db', writer=True); print('open', flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, **pipes) as holder:  # type: ignore[call-overload]
        assert holder.stdout.readline() == "open\n"
        result = run("send", "resume")
        holder.communicate("")
    assert result.exit_code == 1
    assert f"is being written by process {holder.pid} on " in result.stderr
    assert "no control socket that can be reached from here" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_new_fleet_begins_with_the_project_file_and_keeps_what_is_in_force(run: Run, tmp_path: Path) -> None:
    project = tmp_path / ".claude/resource-management/resource-limits.yml"
    project.parent.mkdir(parents=True)
    project.write_text("total_budget: {tokens: 1000}\n", encoding="utf-8")
    assert ok(run, '{"type": "SetTotalBudget", "budget": {"time_seconds": 5}}')["total"]["tokens"] == 1000
    project.write_text("total_budget: {tokens: 2000}\n", encoding="utf-8")
    assert ok(run, "resume")["total"]["tokens"] == 1000
    result = run("send", "resume", "--config", str(project))
    assert json.loads(result.stdout)["ok"]["total"]["tokens"] == 2000


def test_settings_that_cannot_be_in_force_are_reported(run: Run, tmp_path: Path) -> None:
    run("send", ALLOCATE)
    (tmp_path / "small.yml").write_text("total_budget: {tokens: 10}\n", encoding="utf-8")
    result = run("send", "resume", "--config", "small.yml")
    assert result.exit_code == 1
    assert "the configuration cannot be put in force: tokens: found " in result.stderr
    assert result.stderr.count("\n") == 1
    # The refusal closed the store: the next message goes through.
    assert run("send", "resume").exit_code == 0


def test_bad_settings_leave_the_store_free(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.yml").write_text("enforcement: {warn_att: 1}\n", encoding="utf-8")
    result = run("send", ALLOCATE, "--config", "bad.yml")
    assert result.exit_code == 2
    assert "bad.yml:1:15: enforcement.warn_att: unknown key; did you mean 'warn_at'?" in result.stderr
    with Fleet.open("sqlite:///tallystick.db"):
        pass


def test_prices_are_known_from_the_beginning(run: Run) -> None:
    report = (
        '{"type": "ReportUsage", "agent": "a", "model": "claude-haiku-5-5", "input_tokens": 1000, "output_tokens": 10}'
    )
    assert "unpriced" not in json.loads(run("send", report).stdout)["ok"]


def test_an_alert_is_one_plain_line_for_the_operator(tmp_path: Path) -> None:
    message = ALLOCATE.replace("50000", "100000000")
    done = subprocess.run(
        [sys.executable, "-m", "tallystick", "send", message], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == "pool_exhausted"
    assert "pool_exhausted" in done.stderr
    assert "warning" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "\x1b" not in done.stderr


ORDERS = [
    ["pause", "now"],
    ["resume"],
    ["approve-limit", "--cost", "200"],
    ["override", "shop", "critical"],
    ["reset-breaker", "a mistake"],
    ["release-reserve", "the audit is due"],
    ['{"type": "PauseAll", "reason": "now"}', "--config", "limits.yml"],
    ['{"type": "GetGlobalStatus"}'],
    ['{"type": "Stop", "agent": "a", "reason": "now"}'],
    ['{"type": "ReleaseBudget", "agent": "a"}'],
    ['{"type": "Rebalance"}'],
]


@pytest.mark.parametrize("words", ORDERS, ids=[" ".join(words)[:30] for words in ORDERS])
@pytest.mark.parametrize("before", ["no file", "an empty file", "an empty fleet"])
def test_what_only_operates_or_asks_creates_no_fleet(run: Run, tmp_path: Path, words: list[str], before: str) -> None:
    (tmp_path / "limits.yml").touch()
    db = tmp_path / "mistyped.db"
    if before == "an empty file":
        db.touch()
    elif before == "an empty fleet":
        open_store(f"sqlite:///{db}", writer=True).close()
    there = db.exists() and db.stat().st_size
    result = run("send", *words, "--store", "sqlite:///mistyped.db")
    assert result.exit_code == 1
    assert "no fleet" in result.stderr
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert (db.exists() and db.stat().st_size) == there


def test_a_fleet_that_runs_answers_what_comes_through_a_link_to_its_file(tmp_path: Path) -> None:
    live, link = tmp_path / "live.db", tmp_path / "link.db"
    with Fleet.open(f"sqlite:///{live}") as fleet:
        fleet.ask(json.loads(ALLOCATE))
        link.symlink_to(live)
        command = [sys.executable, "-m", "tallystick", "send", "--store", f"sqlite:///{link}", ALLOCATE]
        sent = subprocess.run(command, capture_output=True, text=True, check=False)
        assert sent.returncode == 1
        assert json.loads(sent.stdout)["error"]["code"] == "already_allocated"
        report = {"type": "ReportUsage", "agent": "a-1", "usage": {"tokens": 1}}
        assert fleet.ask(report)["ok"]["remaining"] == {"tokens": 49999}
