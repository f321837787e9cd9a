"""Sessions of pages: they begin with a key, and end with it; and addresses that go on without one have to wait."""

from typing import Any

import pytest
from starlette.types import ASGIApp
from structlog.testing import capture_logs

from tallystick.http.failures import ADDRESSES_MAX, FAILURES_MAX, WINDOW_SECONDS, Failures
from tallystick.http.identity import Identity
from tallystick.http.sessions import COOKIE, SESSION_SECONDS, SESSIONS_MAX, Sessions, session_of
from tests.support.access import World, ask, bearer, count_of, secret
from tests.support.asgi import call


def test_a_page_logs_in_with_a_key_and_out() -> None:
    world = World()
    world.key("ann", "auditor")

    async def test(app: ASGIApp) -> None:
        begun = await call(app, "POST", "/v1/session", {"key": secret("ann")})
        assert begun.status == 200
        assert begun.json == {
            "open": False, "role": "auditor", "name": "ann", "agent": None, "expires_in_seconds": SESSION_SECONDS,
        }  # fmt: skip
        cookie, *rest = begun.headers["set-cookie"].split("; ")
        assert set(rest) == {"HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={SESSION_SECONDS}"}
        assert secret("ann") not in cookie
        page = {"cookie": f"other=1; {cookie}", "origin": "http://localhost"}
        assert (await call(app, "GET", "/v1/session", cookie=cookie)).json["name"] == "ann"
        assert (await ask(app, **page)).status == 200
        assert (await ask(app, {"type": "ResumeAll"}, **page)).status == 403, "the role is the key's"
        for origin in ({}, {"sec_fetch_site": "cross-site"}, {"origin": "http://evil.example"}, {"origin": "null"}):
            answer = await ask(app, cookie=cookie, **origin)
            assert (answer.status, answer.json["code"]) == (403, "wrong_origin"), origin
        assert (await ask(app, cookie=cookie, sec_fetch_site="same-origin")).status == 200
        ended = await call(app, "DELETE", "/v1/session", **page)
        assert (ended.status, "Max-Age=0" in ended.headers["set-cookie"]) == (204, True)
        assert (await ask(app, **page)).status == 401

    world.run(test)


def test_a_session_ends_with_its_key() -> None:
    world = World()
    world.key("ann", "operator")

    async def test(app: ASGIApp) -> None:
        begun = await call(app, "POST", "/v1/session", {"key": secret("ann")})
        page = {"cookie": begun.headers["set-cookie"].split(";")[0], "origin": "http://localhost"}
        assert (await ask(app, **page)).status == 200
        world.ask({"type": "RevokeKey", "key": "ann"})
        assert (await ask(app, **page)).status == 401

    world.run(test)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", {"key": 5}, {"key": "x", "more": 1}, {"key": "x" * 20_000}])
def test_what_is_no_login_is_refused(body: Any) -> None:
    world = World()
    world.key("ann", "operator")

    async def test(app: ASGIApp) -> None:
        assert (await call(app, "POST", "/v1/session", body)).status in (413, 422)
        assert (await call(app, "POST", "/v1/session", b"{}", content_type="text/plain")).status == 415

    world.run(test)


def test_an_open_server_needs_no_login_and_gives_no_cookie() -> None:
    world = World()

    async def test(app: ASGIApp) -> None:
        begun = await call(app, "POST", "/v1/session", {"key": "whatever"})
        assert (begun.json["open"], "set-cookie" in begun.headers) == (True, False)
        assert (await call(app, "GET", "/v1/session")).json == begun.json

    world.run(test)


def test_a_session_lasts_its_time_and_there_are_not_too_many() -> None:
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    first = sessions.begin(Identity("a"))
    now[0] = SESSION_SECONDS - 1
    assert sessions.find(first) == Identity("a")
    second = sessions.begin(Identity("b"))
    now[0] = SESSION_SECONDS
    assert sessions.find(first) is None
    for _ in range(SESSIONS_MAX):
        sessions.begin(Identity("c"))
    assert sessions.find(second) is None, "the oldest ends"


@pytest.mark.parametrize(
    ("cookies", "id"),
    [
        ([], None),
        ([f"{COOKIE}=abc"], "abc"),
        (["a=1; b=2", f"c=3; {COOKIE}=abc; d=4"], "abc"),
        ([f"{COOKIE}="], None),
        (["\x00; =; ;;"], None),
    ],
)
def test_a_session_is_found_among_cookies(cookies: list[str], id: str | None) -> None:
    assert session_of(cookies) == id


# --- limits against abuse ---------------------------------------------------------------------------------------------


def test_an_address_that_goes_on_failing_has_to_wait_and_others_have_not() -> None:
    world = World()
    world.key("ann", "operator")
    wrong = {"authorization": "Bearer wrong"}

    async def test(app: ASGIApp) -> None:
        with capture_logs() as lines:
            answers = [await ask(app, address="10.0.0.1", **wrong) for _ in range(FAILURES_MAX + 3)]
            login = await call(app, "POST", "/v1/session", {"key": "wrong"}, address="10.0.0.1")
        assert [answer.status for answer in answers] == [401] * FAILURES_MAX + [429] * 3
        assert (login.status, login.json["code"]) == (429, "too_many_failures")
        assert 1 <= int(login.headers["retry-after"]) <= WINDOW_SECONDS
        assert [line["event"] for line in lines].count("access_refused") == FAILURES_MAX, "the rest is counted only"
        assert (await ask(app, address="10.0.0.2", **wrong)).status == 401
        # A proxy has one address for all: who shows a valid key is not locked out by the others.
        assert (await ask(app, address="10.0.0.1", authorization=bearer("ann"))).status == 200
        assert await count_of(app, "too_many_failures", "ann") == 4

    world.run(test)


def test_failures_are_forgotten_after_a_minute_and_few_addresses_are_remembered() -> None:
    now = [0.0]
    failures = Failures(lambda: now[0])
    assert [failures.note("a") for _ in range(FAILURES_MAX)] == [None] * FAILURES_MAX
    now[0] = 20.5
    assert failures.note("a") == 40
    now[0] = WINDOW_SECONDS
    assert failures.note("a") is None
    for n in range(ADDRESSES_MAX + 5):
        failures.note(f"b{n}")
    assert len(failures._of) == ADDRESSES_MAX
    assert failures.note(None) is None
