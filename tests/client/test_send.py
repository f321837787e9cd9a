"""``tallystick send --url`` asks a server."""

import json
import socket

import pytest
from click.testing import CliRunner, Result

from tallystick import Client
from tallystick.cli.main import main
from tests.support.relay import Own, relay
from tests.support.serving import Served


def send(*words: str, **environment: str) -> Result:
    return CliRunner(env=environment).invoke(main, ["send", *words])


def test_messages_and_orders_go_to_the_server_and_replies_are_printed(fleet: Client) -> None:
    opened = send("--url", fleet.url, json.dumps({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 10}}))
    assert (opened.exit_code, json.loads(opened.stdout)["ok"]["allocated"]) == (0, {"tokens": 10})
    paused = send("--url", fleet.url, "pause", "the provider is down", TALLYSTICK_STORE="sqlite:///elsewhere.db")
    assert json.loads(paused.stdout)["ok"]["paused"] is True
    refused = send("--url", fleet.url, '{"type": "Reserve", "agent": "a", "estimate": {"tokens": 1}}')
    assert (refused.exit_code, json.loads(refused.stdout)["error"]["code"]) == (1, "paused")
    assert send("--url", fleet.url, "resume").exit_code == 0


def test_the_key_is_that_of_the_option_or_the_environment(served: Served) -> None:
    with relay(served.port, lambda *_: "pass") as gateway:
        question = '{"type": "GetGlobalStatus", "limit": 0}'
        assert send("--url", gateway.url, question, TALLYSTICK_KEY="from-outside").exit_code == 0
        assert send("--url", gateway.url, "--key", "given", question, TALLYSTICK_KEY="from-outside").exit_code == 0
        assert gateway.authorizations == {"Bearer from-outside", "Bearer given"}


def test_what_cannot_be_sent_is_one_line_that_says_what_to_do(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tallystick.cli.send_to_server._RETRY_SECONDS", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    away = send("--url", f"http://127.0.0.1:{port}", "resume", "--id", "r-1")
    assert (away.exit_code, away.stderr.count("\n")) == (1, 1)
    assert "cannot be reached" in away.stderr
    assert "--id r-1" in away.stderr
    with relay(served.port, lambda *_: Own(200, "text/html", b"hello")) as gateway:
        wrong = send("--url", gateway.url, "resume")
    assert (wrong.exit_code, "no server of tallystick" in wrong.stderr) == (1, True)
    for words in (
        ("--url", "nonsense", "resume"),
        ("--url", "http://a", "--key", "a b", "resume"),
        ("--url", "http://a", "--by", "ada", "resume"),
        ("--url", "http://a", "--store", "sqlite:///a.db", "resume"),
        ("--url", "http://a", "--config", "limits.yml", "resume"),
    ):
        assert send(*words).exit_code == 2, words
