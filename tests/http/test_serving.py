"""A served fleet answers messages, and refuses what is none, over real sockets."""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tallystick.cli.main import main
from tallystick.events.log.codec import BODY_MAX
from tallystick.events.messages import WIRE
from tallystick.http.reading import ENDPOINTS
from tests.support.pages import PROJECT
from tests.support.serving import SECONDS, Client, Served


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    server = Served(tmp_path_factory.mktemp("served"))
    yield server
    assert server.stop() == 0


def test_every_message_has_an_endpoint(client: Client) -> None:
    assert set(ENDPOINTS.values()) == set(WIRE)
    assert {"report-usage", "get-global-status", "reserve"} <= set(ENDPOINTS)
    for name in ENDPOINTS:
        answer = client.post(f"/v1/{name}", {"no_such_field": 1})
        assert (answer.status, answer.json["code"]) == (422, "invalid_message"), name


def test_an_account_is_opened_used_and_exhausted(client: Client) -> None:
    opened = client.post("/v1/allocate-budget", {"agent": "one", "budget": {"tokens": 1000}})
    assert opened.status == 200
    assert opened.headers["ratelimit-policy"] == '"tokens";q=1000;qu="tokens"'
    used = client.post("/v1/messages", {"type": "ReportUsage", "agent": "one", "usage": {"tokens": 500}})
    assert used.json["remaining"] == {"tokens": 500}
    assert used.headers["ratelimit"] == '"tokens";r=500'
    assert (used.headers["x-tallystick-level"], used.headers["x-tallystick-action"]) == ("yellow", "warn")
    denied = client.post("/v1/reserve", {"agent": "one", "estimate": {"tokens": 501}})
    assert (denied.status, denied.headers["content-type"]) == (409, "application/problem+json")
    assert denied.json["title"] == "Conflict"
    assert (denied.json["code"], denied.json["available"]) == ("budget_exhausted", {"tokens": 500})
    assert denied.headers["x-ratelimit-remaining-tokens"] == "500"


def test_every_answer_about_an_agent_says_how_its_budget_stands(client: Client) -> None:
    limits = {"ratelimit-policy": '"tokens";q=1000;qu="tokens"', "x-ratelimit-limit-tokens": "1000"}
    client.post("/v1/allocate-budget", {"agent": "four", "budget": {"tokens": 1000}})
    held = client.post("/v1/reserve", {"agent": "four", "estimate": {"tokens": 600}, "id": "four-h"})
    settled = client.post("/v1/settle", {"hold": "four-h", "usage": {"tokens": 900}})
    refused = client.post("/v1/reserve", {"agent": "four", "estimate": {"tokens": 900}})
    for answer, left, level, action in (
        (held, 400, "green", "continue"),
        (settled, 100, "red", "degrade"),
        (refused, 100, "red", "degrade"),
    ):
        said = {name: value for name, value in answer.headers.items() if name in {*limits, "ratelimit"}}
        assert said == {**limits, "ratelimit": f'"tokens";r={left}'}
        assert (answer.headers["x-tallystick-level"], answer.headers["x-tallystick-action"]) == (level, action)
    client.post("/v1/release-budget", {"agent": "four"})
    after = client.post("/v1/report-usage", {"agent": "four", "usage": {"tokens": 1}})
    assert (after.status, "x-ratelimit-limit-tokens" in after.headers) == (200, False)
    unlimited = client.post("/v1/allocate-budget", {"agent": "five", "budget": {"cost_usd": "1.00"}})
    assert "ratelimit" not in unlimited.headers
    assert unlimited.headers["x-tallystick-level"] == "green"


def test_what_waiting_cures_says_how_long(client: Client) -> None:
    client.post("/v1/allocate-budget", {"agent": "held", "budget": {"tokens": 100}})
    client.post("/v1/reserve", {"agent": "held", "estimate": {"tokens": 60}, "ttl_seconds": 50})
    denied = client.post("/v1/reserve", {"agent": "held", "estimate": {"tokens": 60}})
    assert (denied.status, denied.json["code"]) == (429, "budget_exhausted")
    assert 1 <= int(denied.headers["retry-after"]) <= 50
    assert denied.headers["ratelimit"] == f'"tokens";r=40;t={denied.headers["retry-after"]}'


def test_an_array_is_answered_in_its_order(client: Client) -> None:
    array = [{"type": "GetStatus", "agent": "no one"}, {"type": "GetGlobalStatus"}, {"type": "Nope"}, 7]
    answer = client.post("/v1/messages", array)
    assert answer.status == 200
    assert [next(iter(one)) for one in answer.json] == ["error", "ok", "error", "error"]
    assert client.post("/v1/messages", []).json == []
    many = client.post("/v1/messages", [{"type": "GetGlobalStatus", "limit": 0}] * 1_001)
    assert (many.status, many.json["code"]) == (422, "invalid_message")
    assert "1000" in many.json["detail"]


def test_an_idempotency_key_is_the_id_of_the_message(client: Client) -> None:
    client.post("/v1/allocate-budget", {"agent": "two", "budget": {"tokens": 100}})
    usage = {"agent": "two", "usage": {"tokens": 10}}
    for key in ('"key 1"', "key 1", '"key 1"'):
        assert client.post("/v1/report-usage", usage, Idempotency_Key=key).json["remaining"] == {"tokens": 90}
    other = client.post("/v1/report-usage", {**usage, "usage": {"tokens": 11}}, Idempotency_Key="key 1")
    assert (other.status, other.json["code"]) == (422, "idempotency_conflict")
    for key, body in (("a", {**usage, "id": "b"}), ('"' + "x" * 300 + '"', usage), ('"', usage), ("~internal", usage)):
        assert client.post("/v1/report-usage", body, Idempotency_Key=key).status == 422, key
    assert client.post("/v1/messages", [usage], Idempotency_Key="a").status == 422
    assert client.post("/v1/report-usage", {**usage, "id": "same"}, Idempotency_Key="same").status == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/reserve", b"{", 400, "invalid_message"),
        ("/v1/reserve", b"", 400, "invalid_message"),
        ("/v1/reserve", b"\xff\xfe", 400, "invalid_message"),
        ("/v1/messages", b"[{]", 400, "invalid_message"),
        ("/v1/reserve", b"[]", 422, "invalid_message"),
        ("/v1/reserve", b"7", 422, "invalid_message"),
        ("/v1/reserve", b" { } ", 422, "invalid_message"),
        ("/v1/messages", b"{}", 422, "invalid_message"),
        ("/v1/messages", b"[" * 100_000, 422, "invalid_message"),
        ("/v1/reserve", b'{"type": "Settle"}', 422, "invalid_message"),
        ("/v1/reserve", b'{"type": null}', 422, "invalid_message"),
        ("/v1/get-status", b'{"agent": "no one"}', 404, "unknown_agent"),
        ("/v1/report-usage", b'{"agent": "a", "usage": {"tokens": -1}}', 422, "invalid_amount"),
        ("/v1/nope", b"{}", 404, "not_found"),
        ("/v2", b"{}", 404, "not_found"),
    ],
)
def test_what_is_no_message_is_refused_with_a_code(
    client: Client, path: str, body: bytes, status: int, code: str
) -> None:
    answer = client.post(path, body)
    assert (answer.status, answer.json["code"], answer.json["status"]) == (status, code, status)
    assert answer.json["detail"]


def test_of_a_message_that_is_no_object_the_answer_says_what_it_is(client: Client) -> None:
    assert client.post("/v1/reserve", b"[]").json["detail"] == "Expected an object, got a list"
    assert client.post("/v1/reserve", b"7").json["detail"] == "Expected an object, got a whole number"


def test_only_declared_media_types_hosts_and_origins_are_read(client: Client, served: Served) -> None:
    cases: list[tuple[dict[str, str], int]] = [
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/json", "content-encoding": "gzip"}, 415),
        ({"content-type": "application/json", "host": "evil.example"}, 421),
        ({"content-type": "application/json", "origin": "http://evil.example"}, 403),
        ({"content-type": "application/json", "origin": "null"}, 403),
        ({"content-type": "Application/JSON; charset=utf-8", "origin": f"http://127.0.0.1:{served.port}"}, 200),
        ({"content-type": "application/json", "host": f"localhost:{served.port}"}, 200),
    ]
    for headers, status in cases:
        answer = client.call("POST", "/v1/get-global-status", b"{}", headers)
        assert answer.status == status, headers
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_method_that_is_not_allowed_is_answered_with_those_that_are(client: Client) -> None:
    answer = client.call("GET", "/v1/reserve")
    assert (answer.status, answer.json["code"], answer.headers["allow"]) == (405, "method_not_allowed", "POST")


def test_no_client_is_sent_to_another_address(client: Client) -> None:
    for method, path in (("GET", "/healthz/"), ("GET", "/metrics/"), ("POST", "/v1/get-global-status/")):
        answer = client.call(method, path, b"{}", {"content-type": "application/json"})
        assert (answer.status, answer.json["code"]) == (404, "not_found"), path
        assert path in answer.json["detail"]


def test_a_body_that_is_too_large_is_not_read(served: Served) -> None:
    client = served.client()
    answer = client.post("/v1/messages", b" " * (BODY_MAX + 1))
    assert (answer.status, answer.json["code"]) == (413, "body_too_large")
    client.close()


def test_a_client_that_waits_for_room_is_answered_when_there_is_some(client: Client, served: Served) -> None:
    client.post("/v1/allocate-budget", {"agent": "three", "budget": {"tokens": 100}})
    client.post("/v1/reserve", {"agent": "three", "estimate": {"tokens": 100}, "id": "first"})
    answers = []

    def wait() -> None:
        other = served.client()
        answers.append(other.post("/v1/reserve", {"agent": "three", "estimate": {"tokens": 50}, "wait_seconds": 60}))
        other.close()

    waiting = [threading.Thread(target=wait) for _ in range(2)]
    for thread in waiting:
        thread.start()
    client.post("/v1/cancel-hold", {"hold": "first"})
    for thread in waiting:
        thread.join()
    assert [answer.status for answer in answers] == [200, 200]


def test_health_readiness_and_metrics(client: Client) -> None:
    assert client.call("GET", "/healthz").status == 200
    assert client.call("GET", "/readyz").body == b"ready\n"
    metrics = client.call("GET", "/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = metrics.body.decode().splitlines()
    assert 'tallystick_http_requests_total{endpoint="readyz",status="200"} 1' in lines
    assert "tallystick_up 1" in lines
    for line in lines:
        name = line.removeprefix("# HELP ").removeprefix("# TYPE ").split("{")[0].split(" ")[0]
        assert name.startswith("tallystick_"), line
        if not line.startswith("#"):
            float(line.rsplit(" ", 1)[1])
    page = (PROJECT / "docs" / "reference" / "http.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`(tallystick_\w+)`", page.split("\n## Metrics\n")[1]))
    assert listed == {line.split(" ")[2] for line in lines if line.startswith("# TYPE ")}


def test_the_reference_lists_the_path_of_every_message() -> None:
    page = (PROJECT / "docs" / "reference" / "http.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `POST /v1/([a-z-]+)` \| `(\w+)` \|$", page, re.MULTILINE))
    assert rows == {name: message.__name__ for name, message in ENDPOINTS.items()}


def test_a_trace_that_was_given_is_in_the_record(client: Client) -> None:
    trace, other = "2af7651916cd43dd8448eb211c80319c", "1af7651916cd43dd8448eb211c80319c"
    client.post("/v1/allocate-budget", {"agent": "six", "budget": {"tokens": 10}})
    usage = {"type": "ReportUsage", "agent": "six", "usage": {"tokens": 1}}
    client.post("/v1/messages", [usage, usage], traceparent=f"00-{trace}-b7ad6b7169203331-01")
    client.post("/v1/report-usage", usage, traceparent=f"00-{other}-b7ad6b7169203331-01")
    client.post("/v1/report-usage", usage, traceparent="nonsense")
    records = client.call("GET", "/v1/events?limit=1000").json["events"]
    reports = [one for one in records if one["type"] == "usage-reported.v1" and one["agent"] == "six"]
    assert [one.get("trace") for one in reports] == [trace, trace, other, None]


def test_each_request_is_one_line_of_json_with_its_trace(client: Client, served: Served) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01", "authorization": "Bearer secret-key"}
    client.call("GET", "/healthz", None, headers)
    client.call("GET", "/healthz", None, {"traceparent": "nonsense"})
    client.call("GET", "/healthz")
    text = served.log.read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    assert "secret" not in text
    assert [line["status"] for line in lines if line.get("trace_id") == trace] == [200]
    assert all(len(line["trace_id"]) == 32 for line in lines if line["event"] == "request")
    assert [line["event"] for line in lines].count("open_server") == 1


def test_an_address_that_others_reach_is_refused_without_keys(tmp_path: Path) -> None:
    store = tmp_path / "fleet.db"
    options = ["--store", f"sqlite:///{store}"]
    result = CliRunner().invoke(main, ["serve", "--host", "192.0.2.1", *options])
    assert (result.exit_code, "without keys" in result.output) == (2, True)
    assert not store.exists(), "nothing is created for it"
    assert CliRunner().invoke(main, ["send", "pause", "…", *options]).exit_code == 1
    CliRunner().invoke(main, ["send", '{"type": "SetTotalBudget", "budget": {"tokens": 1}}', *options])
    assert CliRunner().invoke(main, ["serve", "--host", "192.0.2.1", *options]).exit_code == 2
    assert CliRunner().invoke(main, ["key", "create", "--role", "operator", *options]).exit_code == 0
    # With a key it would listen, if the address were this machine's.
    result = CliRunner().invoke(main, ["serve", "--host", "192.0.2.1", *options])
    assert (result.exit_code, "without keys" in result.output) == (1, False)
    assert "allowed is an address that this machine has" in result.output


def test_it_is_called_by_names_that_are_allowed(tmp_path: Path) -> None:
    server = Served(tmp_path, "--allow-host", "Budgets.Internal")
    client = server.client()
    try:
        for host, status in (("budgets.internal", 200), ("budgets.internal:80", 200), ("other.internal", 421)):
            assert client.call("GET", "/healthz", headers={"host": host}).status == status
    finally:
        client.close()
        assert server.stop() == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a file that is always full is Linux's")
def test_a_log_that_cannot_be_written_cuts_no_connection(tmp_path: Path) -> None:
    (tmp_path / "serve.log").symlink_to("/dev/full")
    served = Served(tmp_path)
    client = served.client()
    for _ in range(4):
        assert client.call("GET", "/readyz").status == 200
        assert client.call("GET", "/nothing").status == 404
    client.close()
    assert served.stop() == 0


def test_a_stop_answers_those_who_wait_and_a_second_server_is_refused(tmp_path: Path) -> None:
    server = Served(tmp_path)
    second = CliRunner().invoke(main, ["serve", "--port", "0", "--store", f"sqlite:///{tmp_path / 'fleet.db'}"])
    assert (second.exit_code, "stop that process" in second.output) == (1, True)
    client = server.client()
    client.post("/v1/allocate-budget", {"agent": "a", "budget": {"tokens": 100}})
    client.post("/v1/reserve", {"agent": "a", "estimate": {"tokens": 100}})
    waiting = {"agent": "a", "estimate": {"tokens": 100}, "wait_seconds": 600, "id": "waits"}
    connection = client._connection
    connection.request("POST", "/v1/reserve", json.dumps(waiting), {"content-type": "application/json"})
    # Itself, and the one that waits.
    other = server.client()
    deadline = time.monotonic() + SECONDS
    while b"tallystick_http_requests_in_progress 2" not in other.call("GET", "/metrics").body:
        assert time.monotonic() < deadline
    assert server.stop() == 0
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())["code"]) == (503, "shutting_down")
    client.close()
    other.close()


def test_a_port_that_is_taken_and_an_address_of_another_machine_are_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(main, ["serve", "--store", "memory:", "--port", str(port)])
        demonstration = CliRunner().invoke(main, ["demo", "--store", "memory:", "--serve", str(port)])
    assert (result.exit_code, f"port {port} of 127.0.0.1 is taken: " in result.output) == (1, True)
    assert demonstration.exit_code == 1
    assert "another --serve (0: any free one)" in demonstration.output
    result = CliRunner().invoke(
        main, ["serve", "--store", "memory:", "--host", "127.0.0.1", "--allow-host", "http://a"]
    )
    assert (result.exit_code, "without scheme" in result.output) == (2, True)


def test_clients_reach_the_server_under_the_names_that_it_was_given(tmp_path: Path) -> None:
    server = Served(tmp_path, "--allow-host", "Budgets.example", "--allow-host", "fd00::1")
    client = server.client()
    named = ("budgets.example:443", "BUDGETS.example", "[fd00::1]:8321", "localhost", "other.example", "fd00")
    statuses = [client.call("GET", "/healthz", None, {"host": name}).status for name in named]
    assert statuses == [200, 200, 200, 200, 421, 421]
    client.close()
    assert server.stop() == 0


def test_a_server_whose_fleet_has_stopped_ends_so_that_it_is_started_again(tmp_path: Path) -> None:
    server = Served(tmp_path)
    client = server.client()
    assert client.call("GET", "/readyz").status == 200
    (tmp_path / "fleet.db").rename(tmp_path / "elsewhere.db")
    server.process.wait(60)
    assert server.stop() == 1
    last = server.log.read_text(encoding="utf-8").splitlines()[-1]
    assert last.startswith("tallystick: the fleet has stopped: sqlite:///")
    assert "is gone" in last
    client.close()


def test_the_log_has_no_lines_of_libraries_also_where_it_lies_beside_the_settings(tmp_path: Path) -> None:
    settings = tmp_path / "limits.yml"
    settings.write_text("total_budget: {tokens: 1000}\n", encoding="utf-8")
    server = Served(tmp_path, "--config", str(settings))
    client = server.client()
    settings.write_text("total_budget: {tokens: 2000}\n", encoding="utf-8")
    deadline = time.monotonic() + SECONDS
    while client.post("/v1/get-global-status", {"limit": 0}).json["total"] != {"tokens": 2000}:
        assert time.monotonic() < deadline
    client.close()
    assert server.stop() == 0
    _, *lines = server.log.read_text(encoding="utf-8").splitlines()  # the first is what opening the fleet warned of
    assert all(json.loads(line)["logger"].startswith("tallystick.") for line in lines), lines


def _addresses(server: Served, forwarded: str) -> set[str]:
    """The clients of requests that say whom they speak for, as the server's log has them."""
    client = server.client()
    assert client.call("GET", "/healthz", headers={"x-forwarded-for": forwarded}).status == 200
    client.close()
    assert server.stop() == 0
    lines = map(json.loads, server.log.read_text(encoding="utf-8").splitlines())
    return {line["client"] for line in lines if line["event"] == "request"}


def test_no_program_of_this_machine_speaks_for_another_address(tmp_path: Path) -> None:
    assert _addresses(Served(tmp_path), "203.0.113.7") == {"127.0.0.1"}


@pytest.mark.parametrize("trusted", ["127.0.0.1", "127.0.0.0/8"])
def test_a_proxy_that_is_trusted_says_who_its_client_is(tmp_path: Path, trusted: str) -> None:
    server = Served(tmp_path, "--trust-proxy", trusted, "--trust-proxy", "10.0.0.7")
    # What the client itself has said stands before what the proxy adds, and is not believed.
    assert _addresses(server, "198.51.100.1, 203.0.113.7, 10.0.0.7") == {"203.0.113.7"}


@pytest.mark.parametrize("proxy", ["*", "proxy.internal", "0.0.0.0/0", "10.0.0.7:80", ""])
def test_what_is_no_address_of_a_proxy_is_refused(proxy: str) -> None:
    result = CliRunner().invoke(main, ["serve", "--trust-proxy", proxy])
    assert result.exit_code == 2
    assert f"--trust-proxy: found {proxy!r}, allowed is an address or a network" in result.output
