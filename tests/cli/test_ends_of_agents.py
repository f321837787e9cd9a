"""Leases, holds whose expiry counts as used, last calls and learned estimates by the command line."""

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
    config = from_mapping({"total_budget": {"tokens": 10**6}, "enforcement": {"last_call": {"percent": 10}}})
    with Fleet.open(url, config) as fleet:
        assert "ok" in fleet.ask({"type": "AllocateBudget", "agent": "ann", "budget": {"tokens": 10_000}})
    return url


def run(*arguments: str, code: int = 0) -> Result:
    found = CliRunner().invoke(main, arguments, env={"COLUMNS": "200"})
    assert found.exit_code == code, found.output
    return found


def send(url: str, code: int = 0, **message: Any) -> Any:
    """What a message is answered."""
    reply = json.loads(run("send", "--store", url, json.dumps(message), code=code).stdout)
    return reply["error" if code else "ok"]


def test_an_account_gets_a_lease_and_its_replies_say_when_it_ends(url: str) -> None:
    opened = send(url, type="AllocateBudget", agent="bob", budget={"tokens": 10_000}, lease_seconds=600)
    assert opened["lease_expires_at"]
    status = send(url, type="GetStatus", agent="bob")
    assert status["lease_seconds"] == 600
    assert status["lease_expires_at"] >= opened["lease_expires_at"], "each opening of the store renews it"


@pytest.mark.parametrize("seconds", [0, -5, 604_801])
def test_a_lease_that_cannot_be_says_what_can(url: str, seconds: int) -> None:
    refused = send(url, 1, type="AllocateBudget", agent="bob", budget={"tokens": 10}, lease_seconds=seconds)
    assert refused["code"] == "invalid_amount"
    assert refused["detail"] == (
        f"lease_seconds: found {seconds}, allowed is above 0 (at least 0.001) and at most 604800 seconds (a week)"
    )


def test_another_policy_for_the_expiry_of_a_hold_is_refused_with_those_that_there_are(url: str) -> None:
    message = {"type": "Reserve", "agent": "ann", "estimate": {"tokens": 5}, "on_expiry": "keep"}
    assert "allowed are release, spend" in run("send", "--store", url, json.dumps(message), code=2).stderr


def test_the_refusal_of_an_ordinary_hold_says_that_a_last_call_is_left(url: str) -> None:
    send(url, type="Reserve", agent="ann", id="h", estimate={"tokens": 9_000})
    refused = send(url, 1, type="Reserve", agent="ann", estimate={"tokens": 1_000})
    assert (refused["last_call"], refused["left"]) == (True, {"tokens": 1_000})
    assert send(url, type="Reserve", agent="ann", estimate={"tokens": 1_000}, last_call=True)["amount"]
    assert "last call" in run("audit", "explain", "ann", "--store", url).stdout


def test_what_a_hold_without_an_estimate_lacks_is_said(url: str) -> None:
    refused = send(url, 1, type="Reserve", agent="ann", model="sonnet", max_output_tokens=9)
    assert "or model and input_tokens, for which an output is learned" in refused["detail"]
    assert send(url, 1, type="Reserve", agent="ann", model="sonnet", input_tokens=9)["code"] == "estimate_needed"


def test_a_limit_is_raised_only_by_what_says_the_new_maximum(url: str) -> None:
    words = ("send", "--store", url, "approve-limit", "--limit", "cap")
    assert "--limit needs --max" in run(*words, code=2).stderr
    assert "name it in --max" in run(*words, "--max", "{}", "--tokens", "5", code=2).stderr
    unknown = run(*words, "--max", '{"request": 5}', code=2).stderr
    assert "did you mean 'requests'?" in unknown
    assert "input_tokens, output_tokens, requests, concurrent" in unknown
