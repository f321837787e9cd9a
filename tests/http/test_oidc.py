"""Tokens of an OpenID provider beside keys: only its own, for this server, signed asymmetrically, with one role."""

import asyncio
import hashlib
import hmac
import json
import ssl
import time
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from tallystick.actors.runtime.clock import ManualClock
from tallystick.cli.main import main
from tallystick.events.decide.permissions import ROLES, Caller
from tallystick.fleet import Fleet
from tallystick.http.access import NoRole
from tallystick.http.app import application
from tallystick.http.guard import LOOPBACK
from tallystick.http.issuer_keys import (
    AGAIN_SECONDS,
    BYTES_MAX,
    DISCOVERY,
    KEEP_SECONDS,
    STALE_SECONDS,
    IssuerKeys,
    fetcher,
)
from tallystick.http.oidc import LEEWAY_SECONDS, OidcTokens, Provider
from tests.support.asgi import call
from tests.support.core import START
from tests.support.issuer import AUDIENCE, Issuer
from tests.support.mcp_client import MODERN, request_of
from tests.support.serving import Served


@pytest.fixture
def issuer(tmp_path: Path) -> Iterator[Issuer]:
    made = Issuer(tmp_path)
    yield made
    made.close()


def tokens_of(issuer: Issuer, now: Callable[[], float] = time.time, **named: str) -> OidcTokens:
    provider = Provider(issuer.url, AUDIENCE, named.get("role", "role"), named.get("agent", "agent"))
    return OidcTokens(provider, IssuerKeys(issuer.url, fetcher(issuer.trust())), now)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_a_token_says_who_its_holder_is(issuer: Issuer, algorithm: str) -> None:
    issuer.add("two", algorithm)

    async def test() -> None:
        tokens = tokens_of(issuer)
        identity = await tokens.identify(issuer.token("two", role="agent", agent="lead"))
        assert identity is not None
        assert (identity.by, identity.name, identity.caller) == ("lead", "ann", Caller("agent", "lead"))
        other = await tokens.identify(issuer.token("two", role="operator"))
        assert other is not None
        assert (other.by, other.caller) == ("ann", Caller("operator"))

    run(test)


def _part(value: dict[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _with_public_key_as_secret(issuer: Issuer) -> str:
    """The old trick: a symmetric signature with what everybody knows."""
    public = json.dumps(issuer.jwk("one")).encode()
    _, body, _ = issuer.token(role="operator").split(".")
    signed = f"{_part({'alg': 'HS256', 'kid': 'one'})}.{body}"
    signature = urlsafe_b64encode(hmac.digest(public, signed.encode(), "sha256")).rstrip(b"=").decode()
    return f"{signed}.{signature}"


def _unsigned(issuer: Issuer) -> str:
    _, body, _ = issuer.token(role="operator").split(".")
    return f"{_part({'alg': 'none', 'kid': 'one'})}.{body}."


def _changed(issuer: Issuer) -> str:
    head, body, signature = issuer.token(role="analyst").split(".")
    return ".".join((head, issuer.token(role="operator").split(".")[1], signature)) if head and body else ""


def _by_another(issuer: Issuer) -> str:
    """Signed with a key that is not the issuer's, under the id of one that is."""
    mine = issuer.keys["one"]
    issuer.add("one", "RS256")
    token = issuer.token(role="operator")
    issuer.keys["one"] = mine
    return token


def _with_its_own_key(issuer: Issuer) -> str:
    """It brings its key, and the address of it, along."""
    mine = issuer.keys["one"]
    issuer.add("one", "RS256")
    more = {"jwk": issuer.jwk("one"), "jku": "https://evil.example/keys"}
    token = issuer.token(headers=more, role="operator")
    issuer.keys["one"] = mine
    return token


NOT_VALID: dict[str, Callable[[Issuer], str]] = {
    "no token": lambda _: "a.b.c",
    "a key": lambda _: "tsk_abc",
    "nothing": lambda _: "..",
    "another issuer": lambda i: i.token(role="operator", iss="https://evil.example"),
    "another audience": lambda i: i.token(role="operator", aud="others"),
    "no audience": lambda i: i.token(role="operator", aud=None),
    "expired": lambda i: i.token(role="operator", exp=int(time.time()) - LEEWAY_SECONDS - 5),
    "not yet valid": lambda i: i.token(role="operator", nbf=int(time.time()) + 600),
    "without an end": lambda i: i.token(role="operator", exp=None),
    "without a subject": lambda i: i.token(role="operator", sub=None),
    "an unknown key": lambda i: i.token(headers={"kid": "other"}, role="operator"),
    "a key id that is no text": lambda i: i.token(headers={"kid": ""}, role="operator"),
    "unsigned": _unsigned,
    "symmetric": _with_public_key_as_secret,
    "changed": _changed,
    "by another": _by_another,
    "with its own key": _with_its_own_key,
}


@pytest.mark.parametrize("made", NOT_VALID.values(), ids=NOT_VALID)
def test_what_is_not_the_issuers_for_this_server_is_not_valid(issuer: Issuer, made: Callable[[Issuer], str]) -> None:
    async def test() -> None:
        assert await tokens_of(issuer).identify(made(issuer)) is None

    run(test)


def test_a_key_is_used_for_its_own_algorithm_and_for_signatures_only(issuer: Issuer) -> None:
    async def test() -> None:
        token = issuer.token(role="operator")
        for change in ({"alg": "PS256"}, {"use": "enc"}, {"kty": "oct", "k": "AAAA"}):
            keys = json.dumps({"keys": [{**issuer.jwk("one"), **change}]}).encode()
            issuer.answers["/keys"] = (200, {}, keys)
            assert await tokens_of(issuer).identify(token) is None, change
        unsaid = {name: value for name, value in issuer.jwk("one").items() if name not in ("alg", "use")}
        issuer.answers["/keys"] = (200, {}, json.dumps({"keys": [unsaid, 5]}).encode())
        assert await tokens_of(issuer).identify(token) is not None

    run(test)


def test_a_secret_among_the_issuers_keys_verifies_nothing(issuer: Issuer) -> None:
    async def test() -> None:
        secret = b"a secret of thirty-two bytes, or more"
        key = {"kty": "oct", "kid": "shared", "k": urlsafe_b64encode(secret).rstrip(b"=").decode()}
        issuer.answers["/keys"] = (200, {}, json.dumps({"keys": [key]}).encode())
        _, body, _ = issuer.token(role="operator").split(".")
        signed = f"{_part({'alg': 'HS256', 'kid': 'shared'})}.{body}"
        signature = urlsafe_b64encode(hmac.digest(secret, signed.encode(), "sha256")).rstrip(b"=").decode()
        assert await tokens_of(issuer).identify(f"{signed}.{signature}") is None

    run(test)


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        *(({"role": role, "agent": "a"}, role) for role in ROLES),
        ({"role": ["users", "auditor", "offline"]}, "auditor"),
        ({"role": ["auditor", "operator"]}, None),
        ({"role": []}, None),
        ({"role": "king"}, None),
        ({"role": "Operator"}, None),
        ({"role": None}, None),
        ({"role": {"operator": True}}, None),
        ({}, None),
        ({"role": "agent"}, None),
        ({"role": "agent", "agent": ""}, None),
        ({"role": "agent", "agent": 5}, None),
        ({"role": "agent", "agent": "a\u200b"}, None),
        ({"role": "agent", "agent": "x" * 1_000}, None),
    ],
)
def test_a_token_has_to_say_one_role(issuer: Issuer, claims: dict[str, Any], role: str | None) -> None:
    async def test() -> None:
        tokens, token = tokens_of(issuer), issuer.token(**claims)
        if role is None:
            with pytest.raises(NoRole):
                await tokens.identify(token)
        else:
            identity = await tokens.identify(token)
            assert identity is not None
            assert identity.caller is not None
            assert identity.caller.role == role

    run(test)


def test_claims_may_be_paths(issuer: Issuer) -> None:
    async def test() -> None:
        tokens = tokens_of(issuer, role="realm_access.roles", agent="https://a.example/agent")
        said = {"realm_access": {"roles": ["agent"]}, "https://a.example/agent": "lead"}
        identity = await tokens.identify(issuer.token(**said))
        assert identity is not None
        assert identity.caller == Caller("agent", "lead")

    run(test)


def test_what_was_begun_with_a_token_ends_with_it(issuer: Issuer) -> None:
    now = [time.time()]

    async def test() -> None:
        identity = await tokens_of(issuer, lambda: now[0]).identify(issuer.token(role="operator"))
        assert identity is not None
        assert not identity.ended()
        now[0] += 600 + LEEWAY_SECONDS + 5
        assert identity.ended()

    run(test)


# --- the issuer's keys ------------------------------------------------------------------------------------------------


def test_keys_are_kept_and_unknown_ones_asked_for_once_a_minute(issuer: Issuer) -> None:
    now = [0.0]

    async def test() -> None:
        keys = IssuerKeys(issuer.url, fetcher(issuer.trust()), lambda: now[0])
        await asyncio.gather(*(keys.find("one") for _ in range(20)))
        assert issuer.asked["/keys"] == 1
        issuer.add("two", "ES256")
        assert await keys.find("two") is None, "it was just asked"
        now[0] += AGAIN_SECONDS
        assert await keys.find("two") is not None
        for n in range(50):
            assert await keys.find(f"made up {n}") is None
        assert issuer.asked["/keys"] == 2
        # One that the issuer has withdrawn is not used for longer than keys are kept.
        del issuer.keys["one"]
        now[0] += KEEP_SECONDS
        assert await keys.find("one") is None
        assert issuer.asked["/keys"] == 3

    run(test)


def test_an_issuer_that_does_not_answer_leaves_its_keys_for_a_day(issuer: Issuer) -> None:
    now = [0.0]

    async def test() -> None:
        keys = IssuerKeys(issuer.url, fetcher(issuer.trust()), lambda: now[0])
        assert await keys.find("one") is not None
        issuer.answers["/keys"] = (500, {}, b"")
        now[0] += KEEP_SECONDS
        with capture_logs() as lines:
            assert await keys.find("one") is not None
        assert [line["event"] for line in lines] == ["issuer_not_answering"]
        now[0] = STALE_SECONDS
        assert await keys.find("one") is None

    run(test)


def _elsewhere(issuer: Issuer, address: str) -> bytes:
    return json.dumps({"issuer": issuer.url, "jwks_uri": address}).encode()


WRONG: dict[str, Callable[[Issuer], dict[str, tuple[int, dict[str, str], bytes]]]] = {
    "not found": lambda _: {DISCOVERY: (404, {}, b"")},
    "no JSON": lambda _: {DISCOVERY: (200, {}, b"<html>")},
    "another issuer": lambda _: {DISCOVERY: (200, {}, b'{"issuer": "https://evil.example", "jwks_uri": "https://x"}')},
    "keys over http": lambda i: {DISCOVERY: (200, {}, _elsewhere(i, i.url.replace("https", "http") + "/keys"))},
    "keys of a file": lambda i: {DISCOVERY: (200, {}, _elsewhere(i, "file:///etc/passwd"))},
    "no address of keys": lambda i: {DISCOVERY: (200, {}, json.dumps({"issuer": i.url}).encode())},
    "keys elsewhere": lambda i: {"/keys": (302, {"location": f"{i.url}/other"}, b"")},
    "no keys": lambda _: {"/keys": (200, {}, b"[]")},
    "keys that are no list": lambda _: {"/keys": (200, {}, b'{"keys": {}}')},
    "too many keys": lambda _: {"/keys": (200, {}, json.dumps({"keys": [{}] * 101}).encode())},
    "too much": lambda _: {"/keys": (200, {}, b" " * (BYTES_MAX + 1))},
}


@pytest.mark.parametrize("answers", WRONG.values(), ids=WRONG)
def test_keys_come_from_the_issuer_over_https_and_from_nowhere_else(issuer: Issuer, answers: Any) -> None:
    issuer.answers = answers(issuer)

    async def test() -> None:
        assert await IssuerKeys(issuer.url, fetcher(issuer.trust())).find("one") is None

    run(test)
    assert issuer.asked["/other"] == 0, "no redirect is followed"


def test_a_certificate_that_is_not_trusted_gives_no_keys(issuer: Issuer) -> None:
    async def test() -> None:
        with capture_logs() as lines:
            assert await IssuerKeys(issuer.url, fetcher(ssl.create_default_context())).find("one") is None
        assert "certificate" in lines[0]["error"].lower()

    run(test)


# --- the server -------------------------------------------------------------------------------------------------------


def test_tokens_and_keys_work_side_by_side(issuer: Issuer) -> None:
    fleet = Fleet.open("memory:", {"total_budget": {"tokens": 100}}, clock=ManualClock(START))
    question = {"type": "GetGlobalStatus", "limit": 0}

    async def test() -> None:
        app, _ = application(fleet, LOOPBACK, tokens_of(issuer))

        async def status(shown: str | None) -> int:
            headers = {} if shown is None else {"authorization": f"Bearer {shown}"}
            return (await call(app, "POST", "/v1/messages", question, **headers)).status

        assert await status(None) == 401, "a server with a provider is not open"
        digest = hashlib.sha256(b"tsk_ann").hexdigest()
        fleet.ask({"type": "CreateKey", "key": "ann", "role": "auditor", "sha256": digest})
        assert await status("tsk_ann") == 200
        assert await status(issuer.token(role="auditor")) == 200
        assert await status(issuer.token(role="agent", agent="a")) == 403
        assert await status(issuer.token()) == 403, "it is valid, and says no role"
        assert await status(issuer.token(role="auditor", aud="others")) == 401
        begun = await call(app, "POST", "/v1/session", {"key": issuer.token(role="auditor")})
        assert (begun.status, begun.json["role"], begun.json["name"]) == (200, "auditor", "ann")

    try:
        run(test)
    finally:
        fleet.close()


def test_a_served_fleet_takes_tokens(issuer: Issuer, tmp_path: Path) -> None:
    options = ("--oidc-issuer", issuer.url, "--oidc-audience", AUDIENCE, "--oidc-ca", str(issuer.ca))
    server = Served(tmp_path, *options)
    client, token = server.client(), issuer.token(tallystick_role="operator")
    try:
        answer = client.post("/v1/get-global-status", {}, Authorization=f"Bearer {token}")
        assert answer.status == 200
        assert client.post("/v1/get-global-status", {}).status == 401
        body, headers = request_of("tools/call", {"name": "GetGlobalStatus", "arguments": {}}, MODERN)
        called = client.post("/mcp", body, **headers, Authorization=f"Bearer {token}")
        assert (called.status, called.json["result"]["isError"]) == (200, False)
        assert client.post("/mcp", body, **headers).status == 401
    finally:
        client.close()
        assert server.stop() == 0
    log = server.log.read_text(encoding="utf-8")
    assert "open_server" not in log
    assert token.rsplit(".", 1)[1] not in log


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--oidc-issuer", "https://a.example"), "--oidc-audience"),
        (("--oidc-audience", "x"), "--oidc-issuer"),
        (("--oidc-issuer", "http://a.example", "--oidc-audience", "x"), "https"),
        (("--oidc-issuer", "https://a.example?x=1", "--oidc-audience", "x"), "https"),
        (("--oidc-issuer", "https://a.example", "--oidc-audience", "x", "--oidc-ca", __file__), "no certificates"),
    ],
)
def test_a_provider_is_configured_in_full_or_not_at_all(args: tuple[str, ...], says: str) -> None:
    result = CliRunner().invoke(main, ["serve", *args])
    assert (result.exit_code, says in result.output) == (2, True), result.output
