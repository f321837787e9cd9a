"""``tallystick holds``: what `GetHolds` answers, for people and programs."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tallystick.actors.runtime.fleet import Fleet
from tallystick.cli.main import main
from tallystick.config.loader import from_mapping


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/fleet.db"
    with Fleet.open(url, from_mapping({"total_budget": {"tokens": 10_000, "cost_usd": "5"}})) as fleet:
        for message in (
            {"type": "AllocateBudget", "agent": "ann", "budget": {"tokens": 1_000, "cost_usd": "1"}},
            {"type": "Reserve", "id": "call-1", "agent": "ann", "estimate": {"tokens": 400, "cost_usd": "0.5"},
             "operation": "draft", "labels": {"user": "u-1"}},
            {"type": "Settle", "hold": "call-1", "usage": {"tokens": 150}, "final": False},
            {"type": "Reserve", "id": "call-2", "agent": "ann", "estimate": {"tokens": 10}},
            {"type": "CancelHold", "hold": "call-2", "reason": "user left"},
        ):  # fmt: skip
            assert "ok" in fleet.ask(message)
    return url


def run(url: str, *arguments: str, code: int = 0) -> Result:
    found = CliRunner().invoke(main, ["holds", "--store", url, *arguments], env={"COLUMNS": "160"})
    assert found.exit_code == code, found.output
    return found


def test_holds_are_shown_with_what_is_still_held_and_what_they_are_for(url: str) -> None:
    text = run(url).stdout
    for part in ("call-1: draft; user=u-1", "400 tokens", "250 tokens", "150 tokens", "open", "user left", "cancelled"):
        assert part in text


def test_json_is_what_the_manager_answers(url: str) -> None:
    with Fleet.open(url) as fleet:
        answer: Any = fleet.ask({"type": "GetHolds", "agent": "ann"})["ok"]
    assert json.loads(run(url, "--agent", "ann", "--json").stdout) == answer
    assert [hold["state"] for hold in answer["holds"]] == ["open", "cancelled"]


def test_a_page_a_state_and_one_hold_can_be_asked_for(url: str) -> None:
    assert "there are more: --after call-1" in run(url, "--limit", "1").stdout
    assert "call-1" not in run(url, "--state", "cancelled").stdout
    assert "No such hold" in run(url, "--state", "expired").stdout
    assert "no hold never is known" in run(url, "--hold", "never", code=1).stderr


def test_what_labelled_holds_used_can_be_summed_by_a_label(url: str) -> None:
    found = CliRunner().invoke(main, ["cost", "--by", "label:user", "--json", "--store", url])
    (part,) = json.loads(found.stdout)
    assert (part["name"], part["tokens_used"], part["percent"]) == ("u-1", 150, 100)
    for wrong in ("label:", "label", "users"):
        refused = CliRunner().invoke(main, ["cost", "--by", wrong, "--store", url])
        assert refused.exit_code == 2
        assert "or label:KEY" in refused.stderr


def test_an_explanation_names_what_a_hold_is_for(url: str) -> None:
    text = CliRunner().invoke(main, ["audit", "explain", "5", "--store", url], env={"COLUMNS": "200"}).stdout
    assert "in hold call-1" in text
    assert ", for draft, labelled user=u-1" in text
