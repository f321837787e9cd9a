"""The API does what its description says: each example is answered as described, and nothing undescribed comes."""

import asyncio
import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import jsonschema
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.pytest.lazy import get_all_tests
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from starlette.routing import Route

from tallystick import Fleet
from tallystick.actors.runtime.clock import ManualClock
from tallystick.events import messages as c
from tallystick.events.messages import WIRE
from tallystick.http.app import application
from tallystick.http.examples import EXAMPLES
from tallystick.http.openapi import document
from tallystick.http.reading import ENDPOINTS
from tallystick.http.replies import REPLIES
from tests.support.asgi import call
from tests.support.core import START
from tests.support.examples import THOROUGH, examples
from tests.support.serving import Answer, Client, Served

DESCRIBED = document()
PATH = {message: f"/v1/{name}" for name, message in ENDPOINTS.items()}
REFUSED_IN_THE_STORY = {
    c.CancelHold: "unknown_hold",
    c.ResetBreaker: "breaker_not_open",
    c.AcceptClock: "clock_not_ahead",
}
"""Examples of what a fleet in order has no occasion for."""


KEY = "tsk_of-the-tests"
"""A key of the server from its beginning: the first that a request creates would close it to the others."""
SHOWN = {"authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    with Fleet.open(f"sqlite:///{folder / 'fleet.db'}") as fleet:
        digest = hashlib.sha256(KEY.encode()).hexdigest()
        fleet.ask({"type": "CreateKey", "key": "of the tests", "role": "operator", "sha256": digest})
    server = Served(folder)
    yield server
    assert server.stop() == 0


class WithKey(Client):
    """A client that shows the key."""

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        return super().call(method, path, body, {**SHOWN, **(headers or {})})


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    made = WithKey(served.port)
    yield made
    made.close()


def validator(schema: Any) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({**schema, "components": DESCRIBED["components"]})


def found(given: Any) -> Any:
    return DESCRIBED["components"]["responses"][given["$ref"].rpartition("/")[2]] if "$ref" in given else given


def test_each_message_has_a_path_an_example_and_a_reply() -> None:
    assert set(EXAMPLES) == set(REPLIES) == set(WIRE)
    for message, path in PATH.items():
        operation = DESCRIBED["paths"][path]["post"]
        assert operation["operationId"] == message.__name__
        assert operation["summary"]
        schema = DESCRIBED["components"]["schemas"][message.__name__]
        assert schema["additionalProperties"] is False
        validator(schema).validate(EXAMPLES[message])


def test_examples_sent_in_their_order_are_answered_as_described(client: Client) -> None:
    for message, example in EXAMPLES.items():
        body = {**example, "position": position_of_usage(client)} if message is c.CorrectUsage else dict(example)
        answer = client.post(PATH[message], body)
        response = found(DESCRIBED["paths"][PATH[message]]["post"]["responses"][str(answer.status)])
        content = response["content"][answer.headers["content-type"]]
        validator(content["schema"]).validate(answer.json)
        assert answer.json.get("code") == REFUSED_IN_THE_STORY.get(message), (message.__name__, answer.json)
        assert (answer.status == 200) == (message not in REFUSED_IN_THE_STORY)


def position_of_usage(client: Client) -> int:
    records = client.call("GET", "/v1/events?limit=1000").json["events"]
    return next(one["position"] for one in records if one["type"] == "usage-reported.v1")


def test_a_reply_has_no_field_that_is_not_described(client: Client) -> None:
    """Replies may grow, so the description allows more; but what there is today is in it."""
    schemas = DESCRIBED["components"]["schemas"]
    client.post("/v1/allocate-budget", {"agent": "fields", "budget": {"tokens": 10_000}})
    for message in (c.GetStatus, c.CheckEnforcement, c.Forecast, c.GetEfficiency):
        reply = client.post(PATH[message], {"agent": "fields"}).json
        assert set(reply) <= set(schemas[REPLIES[message][0].__name__]["properties"])


def test_every_path_of_the_application_is_described_and_no_other() -> None:
    """But for the Cycles protocol, which has a description of its own."""
    routes = {
        (method.lower(), route.path.replace("{kind:message}", name))
        for route in routes_of_application()
        if not route.path.startswith("/cycles/")
        for name in (ENDPOINTS if "{kind" in route.path else [""])
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert routes == {(method, path) for path, methods in DESCRIBED["paths"].items() for method in methods}


def routes_of_application() -> list[Route]:
    async def made() -> list[Route]:
        with Fleet.open("memory:") as fleet:
            app: Any = application(fleet, frozenset())[0]
            while not hasattr(app, "routes"):
                app = app._app
            return list(app.routes)

    return asyncio.run(made())


def test_a_record_that_the_clock_caused_is_as_described() -> None:
    clock = ManualClock(START)

    async def page(fleet: Fleet) -> Any:
        app, service = application(fleet, frozenset({"localhost"}))
        answer = await call(app, "GET", "/v1/events")
        await service.close()
        return answer.json

    with Fleet.open("memory:", clock=clock) as fleet:
        fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 10}})
        fleet.ask({"type": "Reserve", "agent": "a", "estimate": {"tokens": 1}, "ttl_seconds": 60})
        fleet.advance(START + dt.timedelta(seconds=61))
        found = asyncio.run(page(fleet))
    assert found["events"][-1]["type"] == "hold-ended.v1"
    assert "id" not in found["events"][-1]
    described = DESCRIBED["paths"]["/v1/events"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    validator(described).validate(found)


def test_the_document_is_served_and_every_reference_in_it_leads_somewhere(client: Client) -> None:
    answer = client.call("GET", "/openapi.json")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json == json.loads(json.dumps(DESCRIBED))
    for reference in set(re.findall(rb'"\$ref":"#/([^"]+)"', answer.body)):
        place = answer.json
        for part in reference.decode().split("/"):
            place = place[part]


def test_the_page_shows_each_path_and_loads_nothing(client: Client) -> None:
    answer = client.call("GET", "/docs")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    page = answer.body.decode()
    for path in DESCRIBED["paths"]:
        assert f" {path}</code>" in page, path
    assert not re.search(r"<(script|img|link|iframe|object)\b|\bstyle=|\bon\w+=|https?://", page)
    targets, named = set(re.findall(r'href="#([^"]+)"', page)), set(re.findall(r'\bid="([^"]+)"', page))
    assert targets <= named


# --- requests that nobody thought of ---------------------------------------------------------------------------------

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
]


def described() -> Any:
    """What requests are made from. In an ordinary run, lists have few kinds of messages.

    To prepare for all kinds takes many times as long as to send them, and each kind is sent to its own path as well.
    """
    components = DESCRIBED["components"]
    every = components["schemas"]["Message"]
    few = {**every, "oneOf": every["oneOf"][:: 1 if THOROUGH else 8]}
    return {**DESCRIBED, "components": {**components, "schemas": {**components["schemas"], "Message": few}}}


SCHEMA = schemathesis.openapi.from_dict(described())
OPERATIONS = [
    (method, path)
    for path, methods in DESCRIBED["paths"].items()
    for method in methods
    if path != "/v1/stream"  # a stream does not end, so its tests are elsewhere
]


@pytest.fixture(scope="module")
def connection() -> Iterator[requests.Session]:
    """One for all requests, and each is a stranger to the next: no cookie is kept, nor looked for in the settings."""
    with requests.Session() as session:
        session.trust_env = False
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        yield session


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=map(" ".join, OPERATIONS))
def test_nothing_comes_that_is_not_described(
    method: str, path: str, served: Served, connection: requests.Session
) -> None:
    """The hundreds of requests of an operation are made when its test runs, and not already where tests are listed:
    each process of the tests does that.
    """
    (made,) = get_all_tests(
        schema=SCHEMA.include(method=method.upper(), path=path), test_func=check, settings=None, given_kwargs={}
    )
    _, test = made.ok()
    test(served=served, connection=connection)


@settings(
    max_examples=examples(30),
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def check(case: Any, served: Served, connection: requests.Session) -> None:
    drop_waits(case.body)
    url = f"http://127.0.0.1:{served.port}"
    case.call_and_validate(base_url=url, checks=CHECKS, headers=SHOWN, session=connection)


def drop_waits(body: Any) -> None:
    """A message that waits would be answered at its end only."""
    for one in body if isinstance(body, list) else [body]:
        if isinstance(one, dict):
            one.pop("wait_seconds", None)
