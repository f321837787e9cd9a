"""What a standby answers itself, what it passes on to the writer, and what it says of itself."""

import gzip
import hashlib
import json
import secrets
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from tallystick import Fleet
from tallystick.cli.main import main
from tests.support.mcp_client import call, over_http, read, run
from tests.support.otlp import PROTOBUF, as_protobuf, chat, spans
from tests.support.postgres import shared
from tests.support.serving import Answer, Client, Listener, Served
from tests.support.shared_fleets import servers

OPERATOR, ANALYST, AGENT = "tsk_operator", "tsk_analyst", "tsk_agent"
TRACE = "2af7651916cd43dd8448eb211c80319c"
USED = {"agent": "ann", "usage": {"tokens": 1}}


class Pair(NamedTuple):
    writer: Served
    standby: Served


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    store = shared().url(fleet=f"standby-{secrets.token_hex(6)}")
    with Fleet.open(store) as fleet:
        for name, role, agent in (("op", "operator", None), ("looks", "analyst", None), ("ann's", "agent", "ann")):
            key = {"op": OPERATOR, "looks": ANALYST}.get(name, AGENT)
            digest = hashlib.sha256(key.encode()).hexdigest()
            created = {"type": "CreateKey", "key": name, "role": role, "agent": agent, "sha256": digest}
            assert "ok" in fleet.ask({field: value for field, value in created.items() if value is not None})
        fleet.ask({"type": "AllocateBudget", "agent": "ann", "budget": {"tokens": 100_000}})
    with servers(tmp_path_factory.mktemp("pair"), store) as made:
        both = Pair(made.start(), made.start("--standby"))
        yield both
        assert [made.stop(server) for server in reversed(both)] == [0, 0]


class Asking:
    """Programs with keys, at the two servers."""

    def __init__(self, pair: Pair) -> None:
        self._clients = {server: server.client() for server in pair}
        self.writer, self.standby = pair

    def post(self, server: Served, path: str, message: Any, key: str = OPERATOR, **headers: str) -> Answer:
        return self._clients[server].post(f"/v1/{path}", message, authorization=f"Bearer {key}", **headers)

    def get(self, server: Served, path: str, key: str = OPERATOR) -> Answer:
        return self._clients[server].call("GET", path, headers={"authorization": f"Bearer {key}"})

    def record(self, id: str) -> Any:
        return next(one for one in self.get(self.writer, "/v1/events?limit=1000").json["events"] if one["id"] == id)

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


@pytest.fixture
def ask(pair: Pair) -> Iterator[Asking]:
    made = Asking(pair)
    yield made
    made.close()


def test_a_change_is_passed_on_with_the_callers_key_id_and_trace(ask: Asking) -> None:
    headers = {"idempotency_key": '"step-1"', "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    first = ask.post(ask.standby, "report-usage", USED, AGENT, **headers)
    assert (first.status, first.headers["x-tallystick-level"]) == (200, "green")
    assert "x-tallystick-age-seconds" not in first.headers, "it is the writer's answer"
    record = ask.record("step-1")
    assert (record["by"], record["trace"], record["peer"]["key"]) == ("ann", TRACE, "ann's")
    again = [ask.post(server, "report-usage", USED, AGENT, **headers) for server in (ask.standby, ask.writer)]
    assert [answer.json for answer in again] == [first.json] * 2, "sent again, anywhere, it counts once"


def test_what_a_key_may_not_do_is_refused_as_the_writer_refuses_it(ask: Asking) -> None:
    other = {"agent": "bob", "usage": {"tokens": 1}}
    refused = ask.post(ask.standby, "report-usage", other, AGENT)
    assert (refused.status, refused.json["code"]) == (403, "access_denied")
    position = int(refused.headers["x-tallystick-position"])
    last = ask.get(ask.writer, f"/v1/events?after={position - 1}").json["events"][-1]
    assert (last["type"], last["code"], last["by"]) == ("request-refused.v1", "access_denied", "ann"), "it is recorded"
    seen = ask.post(ask.standby, "get-status", {"agent": "bob"}, AGENT)
    assert (seen.status, seen.json["code"]) == (403, "access_denied")
    assert ask.post(ask.standby, "get-status", {"agent": "ann"}, AGENT).status == 200
    assert ask.post(ask.standby, "report-usage", USED, "tsk_none").status == 401
    assert ask.get(ask.standby, "/v1/events", AGENT).status == 403


def test_a_tool_call_is_passed_on_or_answered_here_like_the_message_that_it_is(pair: Pair, ask: Asking) -> None:
    async def test() -> None:
        async with over_http(pair.standby.url, AGENT) as mcp:
            first = await call(mcp, "ReportUsage", **USED, id="tool-1")
            assert (first.is_refused, first.value["status"]) == (False, "green")
            assert await call(mcp, "ReportUsage", **USED, id="tool-1") == first
            denied = await call(mcp, "ReportUsage", agent="bob", usage={"tokens": 1})
            assert (denied.is_refused, denied.value["code"]) == (True, "access_denied")
            assert json.loads(await read(mcp, "tallystick://agents/ann/status"))["agent"] == "ann"
        async with over_http(pair.standby.url, ANALYST) as mcp:
            assert json.loads(await read(mcp, "tallystick://status"))["agent_count"] == 1

    run(test)
    record = ask.record("tool-1")
    assert (record["by"], record["peer"]["key"]) == ("ann", "ann's")


def test_an_export_is_passed_on_as_it_came(ask: Asking) -> None:
    export = spans(chat(session__id="ann", gen_ai__response__id="msg_1"))
    body = gzip.compress(as_protobuf("traces", export))
    headers = {"content_type": PROTOBUF, "content_encoding": "gzip"}
    for server in (ask.standby, ask.writer):
        taken = ask.post(server, "traces", body, AGENT, **headers)
        assert (taken.status, taken.body) == (200, b"")
        wrong = ask.post(server, "traces", body[:-9], AGENT, **headers)
        assert (wrong.status, wrong.headers["content-type"]) == (400, PROTOBUF)
    records = ask.get(ask.writer, "/v1/events?limit=1000").json["events"]
    (record,) = [one for one in records if one.get("source_id") == "msg_1"]
    assert (record["agent"], record["by"], record["tokens"]) == ("ann", "ann", 110)


def test_a_question_is_answered_here_and_says_how_new_the_answer_is(ask: Asking) -> None:
    ask.post(ask.writer, "report-usage", USED)
    for path, message in (("get-global-status", {}), ("get-limits", {}), ("get-holds", {}), ("list-keys", {})):
        answer = ask.post(ask.standby, path, message)
        assert answer.status == 200
        assert 0 <= float(answer.headers["x-tallystick-age-seconds"]) < 5
        assert int(answer.headers["x-tallystick-position"]) > 0
    refused = ask.post(ask.standby, "get-status", {"agent": "nobody"})
    assert (refused.status, refused.json["code"]) == (404, "unknown_agent")
    array = [{"type": "GetStatus", "agent": "ann"}, {"type": "Nope"}]
    assert [next(iter(one)) for one in ask.post(ask.standby, "messages", array).json] == ["ok", "error"]


def test_whether_an_agent_may_go_on_is_the_writers_to_say(ask: Asking) -> None:
    for path, message in (("check-enforcement", {"agent": "ann"}), ("get-queue", {}), ("forecast", {"agent": "ann"})):
        answer = ask.post(ask.standby, path, message)
        assert (answer.status, "x-tallystick-age-seconds" in answer.headers) == (200, False), path
    mixed = [{"type": "GetStatus", "agent": "ann"}, {"type": "ReportUsage", **USED}]
    answer = ask.post(ask.standby, "messages", mixed)
    assert ("x-tallystick-age-seconds" in answer.headers, len(answer.json)) == (False, 2)


def test_who_has_changed_something_through_a_standby_sees_it_there(ask: Asking) -> None:
    before = ask.post(ask.writer, "get-status", {"agent": "ann"}).json["consumed"]["tokens"]
    from_standby = set[bool]()
    for turn in range(1, 21):
        assert ask.post(ask.standby, "report-usage", USED).status == 200
        answer = ask.post(ask.standby, "get-status", {"agent": "ann"})
        assert answer.json["consumed"]["tokens"] == before + turn
        from_standby.add("x-tallystick-age-seconds" in answer.headers)
    # One that has not read so far within some seconds asks the writer.
    assert True in from_standby


def test_the_cycles_protocol_is_spoken_at_a_standby_too_and_who_has_changed_something_sees_it_there(
    ask: Asking,
) -> None:
    limits = [{"window": "total", "max": {"tokens": 50}}]
    ask.post(ask.writer, "allocate-budget", {"agent": "tenant:acme", "limits": limits})
    client = ask.standby.client()
    action, amount, from_standby = {"kind": "llm", "name": "m"}, {"unit": "TOKENS", "amount": 2}, set[bool]()
    body = {"subject": {"tenant": "acme"}, "action": action, "estimate": amount}
    for turn in range(10):
        key = {"idempotency_key": f"c-{turn}"}
        made = client.post("/cycles/v1/reservations", {**body, **key}, X_Cycles_API_Key=OPERATOR)
        assert (made.status, made.headers["x-cycles-tenant"]) == (200, "acme"), made.body
        path = f"/cycles/v1/reservations/{made.json['reservation_id']}"
        seen = client.call("GET", path, headers={"X-Cycles-API-Key": OPERATOR})
        assert seen.status == 200, seen.body
        from_standby.add("x-tallystick-age-seconds" in seen.headers)
        used = {"idempotency_key": "c", "actual": amount}
        assert client.post(f"{path}/commit", used, X_Cycles_API_Key=OPERATOR).status == 200
    assert True in from_standby
    refused = client.post("/cycles/v1/events", {**key, "subject": {}}, X_Cycles_API_Key=OPERATOR)
    assert (refused.status, refused.json["error"]) == (400, "INVALID_REQUEST")
    balances = client.call("GET", "/cycles/v1/balances?tenant=acme", headers={"X-Cycles-API-Key": OPERATOR}).json
    assert balances["balances"][0]["remaining"] == {"unit": "TOKENS", "amount": 30}
    client.close()


def test_the_stream_and_the_views_of_a_standby_follow_the_writer(ask: Asking) -> None:
    position = int(ask.post(ask.writer, "report-usage", USED).headers["x-tallystick-position"])
    listener = Listener(ask.standby.port, f"?after={position}", authorization=f"Bearer {ANALYST}")
    ask.post(ask.writer, "report-usage", {**USED, "id": "streamed"})
    event = listener.take(1)[0]
    listener.close()
    assert json.loads(event.data or "")["id"] == "streamed"
    view = ask.get(ask.standby, "/v1/views/status?agent=ann", ANALYST)
    assert view.json["consumed"] == ask.post(ask.writer, "get-status", {"agent": "ann"}).json["consumed"]
    assert int(view.headers["x-tallystick-position"]) > position


def test_it_says_that_it_is_a_standby_and_how_far_behind(ask: Asking) -> None:
    for path, word in (("/healthz", "ok"), ("/readyz", "ready")):
        assert ask.get(ask.writer, path).body == f"{word}\n".encode()
        said = ask.get(ask.standby, path).body.decode()
        assert said.startswith(f"{word}: standby at position ")
        assert said.endswith(" s behind\n")
    for server, standby in ((ask.writer, "0"), (ask.standby, "1")):
        lines = ask.get(server, "/metrics", ANALYST).body.decode().splitlines()
        figures = dict(line.split(" ") for line in lines if line.startswith("tallystick_standby"))
        assert figures["tallystick_standby"] == standby
        assert 0 <= float(figures["tallystick_standby_behind_seconds"]) < 5


def test_a_session_that_was_begun_at_a_standby_orders_at_the_writer(ask: Asking) -> None:
    client = ask.standby.client()
    begun = client.post("/v1/session", {"key": OPERATOR})
    cookie = {"cookie": begun.headers["set-cookie"].partition(";")[0], "origin": ask.standby.url}
    throttled = client.post("/v1/throttle", {"agent": "ann", "rate": 0.5, "id": "from a page"}, **cookie)
    client.post("/v1/resume", {"agent": "ann"}, **cookie)
    client.close()
    assert throttled.status == 200
    assert ask.record("from a page")["by"] == "op"


def test_a_hold_that_waits_is_passed_on_and_ends_with_its_client(ask: Asking) -> None:
    ask.post(ask.writer, "allocate-budget", {"agent": "full", "budget": {"tokens": 100}})
    ask.post(ask.writer, "reserve", {"agent": "full", "estimate": {"tokens": 100}, "id": "first"})
    waiting = {"agent": "full", "estimate": {"tokens": 60}, "wait_seconds": 600}
    gone, stays = ask.standby.client(), ask.standby.client()
    answers: list[Answer] = []

    def wait_on() -> None:
        answers.append(stays.post("/v1/reserve", {**waiting, "id": "stays"}, authorization=f"Bearer {OPERATOR}"))

    thread = threading.Thread(target=wait_on)
    begin_to_wait(gone, {**waiting, "id": "gone"})
    until(lambda: in_progress(ask) == 2)
    thread.start()
    until(lambda: in_progress(ask) == 3)
    gone.close()
    until(lambda: in_progress(ask) == 2)
    ask.post(ask.writer, "cancel-hold", {"hold": "first"})
    thread.join()
    assert [answer.status for answer in answers] == [200]
    stays.close()


def begin_to_wait(client: Client, message: Any) -> None:
    headers = {"content-type": "application/json", "authorization": f"Bearer {OPERATOR}"}
    client._connection.request("POST", "/v1/reserve", json.dumps(message), headers)


def in_progress(ask: Asking) -> int:
    """Requests at the writer that are not answered yet; this one is among them."""
    text = ask.get(ask.writer, "/metrics").body.decode()
    return int(text.partition("\ntallystick_http_requests_in_progress ")[2].partition("\n")[0])


def until(condition: Callable[[], bool]) -> None:
    assert any(condition() for _ in range(10_000)), "it did not happen"


def test_a_standby_that_is_taken_for_the_writer_passes_nothing_on(ask: Asking) -> None:
    answer = ask.post(ask.standby, "report-usage", USED, x_tallystick_forwarded="1")
    assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (503, "no_writer", "1")


def test_only_an_operator_hands_over_and_only_the_writer_does(ask: Asking) -> None:
    for server, key, status, code in (
        (ask.writer, ANALYST, 403, "access_denied"),
        (ask.writer, AGENT, 403, "access_denied"),
        (ask.standby, OPERATOR, 409, "not_writer"),
    ):
        answer = ask.post(server, "hand-over", {}, key)
        assert (answer.status, answer.json["code"]) == (status, code)
    assert ask.writer.url in ask.post(ask.standby, "hand-over", {}).json["detail"]
    command = ["send", "hand-over", "--url", ask.standby.url]
    result = CliRunner().invoke(main, command, env={"TALLYSTICK_KEY": OPERATOR})
    assert (result.exit_code, json.loads(result.stdout)["error"]["code"]) == (1, "not_writer")
    both = CliRunner().invoke(main, [*command, "--store", "memory:"])
    assert (both.exit_code, "--store and --url" in both.output) == (2, True)
