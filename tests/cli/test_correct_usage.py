"""An operator corrects usage: the command line, every view, and the proof that all of it follows from the log."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tallystick.cli.main import main


@pytest.fixture(autouse=True)
def _in_a_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*args: str) -> Result:
    return CliRunner().invoke(main, args, prog_name="tallystick")


def send(*args: str) -> Any:
    return json.loads(run("send", *args).stdout)


def begun() -> int:
    """A fleet with two reports and a settlement; the position of the last."""
    send('{"type": "AllocateBudget", "agent": "a", "product": "A", "budget": {"tokens": 1000}}')
    send('{"type": "ReportUsage", "agent": "a", "usage": {"tokens": 100, "cost_usd": "1"}}')
    send('{"type": "Reserve", "agent": "a", "estimate": {"tokens": 300}, "id": "h"}')
    send('{"type": "Settle", "hold": "h", "usage": {"tokens": 250, "cost_usd": "2"}}')
    records = [json.loads(line) for line in run("audit", "export", "--format", "jsonl").stdout.splitlines()]
    return int(next(one["position"] for one in records if one["type"] == "hold-settled.v1"))


def test_a_correction_is_shown_by_views_and_explained_and_proved() -> None:
    position = begun()
    reply = send("correct-usage", str(position), "tokens=50", "cost_usd=0.5", "counted", "twice")["ok"]
    assert (reply["before"]["tokens"], reply["after"]["tokens"]) == (250, 50)
    status = send('{"type": "GetStatus", "agent": "a"}')["ok"]
    assert status["consumed"] == {"tokens": 150, "cost_usd": "1.50"} or status["consumed"]["tokens"] == 150
    cost = run("cost", "--json")
    assert cost.exit_code == 0, cost.output
    assert json.loads(cost.stdout)["tokens_used"] == 150 or "150" in cost.stdout
    assert run("audit", "verify").exit_code == 0, run("audit", "verify").output
    explained = run("audit", "explain", "a").output
    assert "counted twice" in explained
    assert run("projections", "rebuild").exit_code == 0
    assert run("audit", "verify").exit_code == 0


@pytest.mark.parametrize("back", [True, False])
def test_what_if_follows_a_log_with_corrections(back: bool) -> None:
    position = begun()
    send("correct-usage", str(position), "tokens=50", "counted twice")
    if back:
        send("correct-usage", str(position), "tokens=250", "it was not")
    result = run("whatif")
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert run("audit", "verify").exit_code == 0


@pytest.mark.parametrize(
    ("position", "code"), [("999", "unknown_position"), ("1", "not_usage")], ids=["none there", "no usage"]
)
def test_only_usage_is_corrected(position: str, code: str) -> None:
    begun()
    assert send("correct-usage", position, "tokens=1", "a test")["error"]["code"] == code
    assert run("audit", "verify").exit_code == 0


@pytest.mark.parametrize("words", [["1"], ["1", "tokens=5"], ["x", "tokens=5", "why"], ["1", "why not"]])
def test_words_that_say_no_correction_are_refused_with_an_example(words: list[str]) -> None:
    result = run("send", "correct-usage", *words)
    assert result.exit_code == 2
    assert "like: correct-usage 1234 tokens=200" in result.output
