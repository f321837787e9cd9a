"""What is not answered is sent again with the same id, when there may be an answer, and counts once."""

import asyncio
import json
import logging
import re
import socket
import traceback
from typing import Any

import pytest

from tallystick import Client, Refused, Throttled
from tallystick.client import Unanswered, WrongServer
from tests.support.programs import run
from tests.support.relay import Own, relay
from tests.support.serving import Served

REPORT: dict[str, Any] = {"type": "ReportUsage", "agent": "a", "usage": {"tokens": 10}}


@pytest.fixture
def agent(fleet: Client) -> str:
    fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 1_000_000}, "id": "a"})
    return "a"


def used(fleet: Client) -> int:
    tokens: int = fleet.ask({"type": "GetStatus", "agent": "a"})["ok"]["consumed"].get("tokens", 0)
    return tokens


def at_once(url: str, key: str | None = None, **more: Any) -> Client:
    """A client that waits for nothing between its tries, unless it is asked to."""
    client = Client(url, key, **more)
    client._runner.first_wait_seconds = 0.0
    return client


@pytest.mark.parametrize("outcome", ["lose", "cut"])
def test_a_report_whose_connection_breaks_counts_once(served: Served, fleet: Client, agent: str, outcome: str) -> None:
    before = used(fleet)
    with relay(served.port, lambda number, _: outcome if number <= 3 else "pass") as gateway:
        with at_once(gateway.url) as client:
            assert client.ask(REPORT)["ok"]["agent"] == agent
            assert client.ask([REPORT, REPORT])[1]["ok"]["agent"] == agent
        sent = [json.loads(body) for body in gateway.requests]
    assert len(sent) == 5
    assert sent[:4] == [sent[0]] * 4, "every time the same, with its id"
    assert used(fleet) - before == 30


def test_each_answer_to_threads_and_coroutines_may_be_lost_once(served: Served, fleet: Client, agent: str) -> None:
    before, seen = used(fleet), set()

    def outcome(_: int, body: bytes) -> str:
        first = body not in seen
        seen.add(body)
        return "lose" if first else "pass"

    async def program(client: Client) -> None:
        async with client.agent("sub", parent=agent, tokens=1_000) as sub:

            async def work() -> None:
                async with sub.call(tokens=10) as call:
                    call.done(tokens=7)

            await asyncio.gather(*(work() for _ in range(20)))
        with client.agent("sub-2", parent=agent, tokens=1_000) as plain, plain.call(tokens=10) as plain_call:
            plain_call.done(tokens=7)

    with relay(served.port, outcome) as gateway, at_once(gateway.url) as client:
        run(program(client))
    assert used(fleet) - before == 21 * 7
    answers = [fleet.ask({"type": "GetStatus", "agent": name}) for name in ("sub", "sub-2")]
    assert [answer["error"]["code"] for answer in answers] == ["already_released"] * 2


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_a_gateway_that_answers_for_a_server_that_is_away_is_asked_again(
    served: Served, fleet: Client, agent: str, status: int
) -> None:
    before, away = used(fleet), Own(status, "text/html", b"<h1>away</h1>")
    with (
        relay(served.port, lambda number, _: away if number <= 2 else "pass") as gateway,
        at_once(gateway.url) as client,
    ):
        assert client.ask(REPORT)["ok"]["agent"] == agent
    assert used(fleet) - before == 10


def test_retry_after_is_waited_for_and_is_part_of_the_patience(served: Served, agent: str) -> None:
    paused: list[float] = []
    away = Own(503, "text/plain", b"", {"retry-after": "7"})
    with relay(served.port, lambda number, _: away if number <= 2 else "pass") as gateway:
        with at_once(gateway.url, retry_seconds=100) as client, pytest.MonkeyPatch.context() as patch:
            patch.setattr("tenacity.nap.time.sleep", paused.append)
            assert client.ask(REPORT)["ok"]["agent"] == agent
        assert paused == [7, 7]
        with at_once(gateway.url, retry_seconds=6) as client:
            gateway.requests.clear()
            with pytest.raises(Unanswered, match="answered 503"):
                client.ask(REPORT)
            assert len(gateway.requests) == 1


@pytest.mark.parametrize(("code", "status"), [("busy", 429), ("halted", 503)])
def test_a_server_that_decides_nothing_for_now_is_asked_again(
    served: Served, agent: str, code: str, status: int
) -> None:
    problem = {"type": "about:blank", "title": "?", "status": status, "code": code, "detail": "later"}
    full = Own(status, "application/problem+json", json.dumps(problem | {"retry_after_seconds": 0}).encode())
    with relay(served.port, lambda number, _: full if number <= 2 else "pass") as gateway:
        with at_once(gateway.url) as client:
            assert client.ask(REPORT)["ok"]["agent"] == agent
            assert len(gateway.requests) == 3
        with at_once(gateway.url, retry_seconds=0) as client:
            gateway.requests.clear()
            assert client.ask(REPORT)["error"]["code"] == code
            gateway.requests.clear()
            assert [one["error"]["code"] for one in client.ask([REPORT, b"{"])] == [code, "invalid_message"]
            with pytest.raises(Refused, match=code), client.agent("b", parent=agent, tokens=1):
                pass


def test_what_the_fleet_has_decided_is_not_asked_again(served: Served, fleet: Client, agent: str) -> None:
    with (
        relay(served.port, lambda *_: "pass") as gateway,
        at_once(gateway.url) as client,
        client.agent("c", parent=agent, tokens=100) as sub,
        sub.call(tokens=60) as first,
    ):
        gateway.requests.clear()
        with pytest.raises(Throttled), sub.call(tokens=60, wait_seconds=0):
            pass
        assert len(gateway.requests) == 1
        first.unused()


def test_a_server_that_is_not_there_is_named_and_waited_for_as_long_as_was_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with Client(f"http://127.0.0.1:{port}", "secret", retry_seconds=0.2) as client:
        with pytest.raises(Unanswered, match=rf"http://127.0.0.1:{port} cannot be reached .*tallystick serve"):
            client.ask(REPORT)
        with pytest.raises(Unanswered, match="cannot be reached"), client.agent("a", tokens=1):
            pass

        async def program() -> None:
            await client.ask_async(REPORT)

        with pytest.raises(Unanswered, match="cannot be reached") as unanswered:
            run(program())
        assert "secret" not in repr(client) + str(unanswered.value)


@pytest.mark.parametrize("kind", ["thread", "loop"])
def test_what_a_program_is_shown_of_a_server_that_is_not_there_is_short(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    def ask(client: Client) -> None:
        if kind == "thread":
            with client.agent("a", tokens=1):
                pass
        else:
            run(client.ask_async(REPORT))

    with Client(f"http://127.0.0.1:{port}", retry_seconds=0.2) as client, pytest.raises(Unanswered) as unanswered:
        ask(client)
    assert re.search(r"\(sent ([2-9]|\d\d) times in \d+\.\d s\)$", str(unanswered.value))
    shown = "".join(traceback.format_exception(unanswered.value))
    assert "another exception" not in shown
    assert "direct cause" not in shown
    frames = re.findall(r'^  File "(.*?)"', shown, re.MULTILINE)
    assert not [frame for frame in frames if "site-packages" in frame], "nothing of how it failed inside"
    assert caplog.text.count("does_not_answer") == 1, "not once for each try"


def test_an_answer_that_does_not_come_in_time_is_named(served: Served) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.MonkeyPatch.context() as patch:
        patch.setattr("tallystick.client.transport._GRACE_SECONDS", 0.0)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            Client(url, retry_seconds=0) as client,
            pytest.raises(Unanswered, match=r"no answer within 0\.1 s; it may"),
        ):
            client.ask(REPORT, timeout=0.1)


@pytest.mark.parametrize(
    "own",
    [
        Own(200, "text/html", b"<h1>It works!</h1>"),
        Own(200, "application/json", b"[]"),
        Own(200, "application/json", b"{"),
        Own(404, "text/html", b"nothing here"),
        Own(302, "text/html", b"", {"location": "http://127.0.0.1:1/"}),
        Own(403, "application/problem+json", b'{"title": "Forbidden", "status": 403}'),
    ],
)
def test_what_is_no_server_of_tallystick_is_named_at_once(served: Served, own: Own) -> None:
    with relay(served.port, lambda *_: own) as gateway, at_once(gateway.url) as client:
        with pytest.raises(WrongServer, match=rf"{gateway.url} answered {own.status} with"):
            client.ask(REPORT)
        assert len(gateway.requests) == 1


def test_a_server_without_tls_is_named_where_the_url_says_https(served: Served) -> None:
    url = f"https://127.0.0.1:{served.port}"
    with Client(url) as client, pytest.raises(WrongServer, match=f"{url} does not answer as https: .* is http://"):
        client.ask(REPORT)


@pytest.mark.parametrize("proxy", ["gopher://a", "http://a:x", "socks5://127.0.0.1:1"])
def test_a_proxy_of_the_environment_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with Client("http://tallystick.invalid") as client:
        for ask in (lambda: client.ask(REPORT), lambda: run(client.ask_async(REPORT))):
            with pytest.raises(WrongServer, match=r"tallystick.invalid cannot .* proxy of the environment: .*NO_PROXY"):
                ask()


def test_the_key_goes_with_each_request_and_nowhere_else(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TALLYSTICK_KEY", "key-of-the-environment")
    caplog.set_level(logging.DEBUG)
    with relay(served.port, lambda number, _: "cut" if number == 1 else "pass") as gateway:
        with at_once(gateway.url) as client:
            client.ask(REPORT)
            run(client.ask_async(REPORT))
            assert "key-of" not in repr(client)
        assert gateway.authorizations == {"Bearer key-of-the-environment"}
        gateway.authorizations.clear()
        with at_once(gateway.url, "key-of-the-program") as client:
            client.ask(REPORT)
        assert gateway.authorizations == {"Bearer key-of-the-program"}
    assert "does_not_answer" in caplog.text
    assert "key-of" not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        *("", "127.0.0.1:8321", "ftp://a", "http://", "http://a:x", "http://a/?b", "http://a#b"),
        *("http://a\n", "http://a b", "http://[::1", "http://" + "a" * 64, "http://a:0", "http://a\x00"),
    ],
)
def test_a_url_that_is_none_is_a_mistake(url: str) -> None:
    with pytest.raises(ValueError, match="allowed is one like"):
        Client(url)


def test_a_key_is_not_written_into_a_url_and_is_one_word() -> None:
    with pytest.raises(ValueError, match="url: found one with a key, allowed is one without") as error:
        Client("http://secret@localhost")
    assert "secret" not in str(error.value)
    with pytest.raises(ValueError, match="allowed is one like") as error:
        Client("http://secret@[")
    assert "secret" not in str(error.value)
    for key in ("secret\n", "sec ret", "sécret"):
        with pytest.raises(ValueError, match="key: found") as error:
            Client("http://localhost", key)
        assert "cret" not in str(error.value).replace("secret server", "")
