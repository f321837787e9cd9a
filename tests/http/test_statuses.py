"""Each code has one status; waiting is offered where it helps."""

import re

import pytest

from tallystick.http.answers import budget_headers, problem
from tallystick.http.statuses import OWN_STATUS, STATUS, retry_after, status_of
from tests.support.pages import PROJECT

OF_THE_CONTROL_SOCKET = {"idle"}


def codes_of(section: str, page: str = "errors.md") -> dict[str, str]:
    """The codes that a section of a page lists, each with the cell behind it."""
    text = (PROJECT / "docs" / "reference" / page).read_text(encoding="utf-8")
    body = re.split(r"^## ", text.split(f"\n## {section}\n")[1], flags=re.MULTILINE)[0]
    return dict(re.findall(r"^\| `([a-z_]+)` \| ([^|]+?) \|", body, re.MULTILINE))


def test_every_code_of_the_reference_has_a_status_and_no_other_has() -> None:
    assert set(STATUS) == set(codes_of("Codes")) - OF_THE_CONTROL_SOCKET


def test_the_servers_own_codes_are_listed_with_their_statuses() -> None:
    listed = codes_of("Codes of the HTTP server")
    assert {code: int(status) for code, status in listed.items()} == dict(OWN_STATUS)


def test_the_reference_of_the_api_says_the_status_of_every_code() -> None:
    text = (PROJECT / "docs" / "reference" / "http.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d{3}) \| (.+?) \|$", text.split("\n## Statuses\n")[1].split("\n## ")[0], re.MULTILINE)
    said = {code: int(status) for status, codes in rows for code in re.findall(r"`([a-z_]+)`", codes)}
    assert said == {**STATUS, **OWN_STATUS}


@pytest.mark.parametrize(
    ("error", "status", "after"),
    [
        ({"code": "budget_exhausted", "retry_after_seconds": 2.3}, 429, 3),
        ({"code": "budget_exhausted", "retry_after_seconds": None}, 409, None),
        ({"code": "limit_reached", "retry_after_seconds": 0}, 429, 1),
        ({"code": "busy", "retry_after_seconds": 1}, 429, 1),
        ({"code": "too_many_waiting"}, 429, 1),
        ({"code": "halted"}, 503, 1),
        ({"code": "unknown_agent"}, 404, None),
    ],
)
def test_what_waiting_cures_is_429_with_the_seconds(error: dict[str, object], status: int, after: int | None) -> None:
    assert status_of(error) == status
    assert retry_after(error, status) == after
    assert problem({"detail": "", **error}).headers.get("retry-after") == (None if after is None else str(after))


def test_budget_headers_hold_what_a_structured_field_can_hold() -> None:
    body = {"allocated": {"tokens": 10**18}, "remaining": {"tokens": -5}, "status": "black", "action": "stop"}
    assert budget_headers(body) == {
        "ratelimit-policy": '"tokens";q=999999999999999;qu="tokens"',
        "x-ratelimit-limit-tokens": "999999999999999",
        "ratelimit": '"tokens";r=0',
        "x-ratelimit-remaining-tokens": "0",
        "x-tallystick-level": "black",
        "x-tallystick-action": "stop",
    }
    assert budget_headers({"available": {"tokens": 7}, "retry_after_seconds": 1.5})["ratelimit"] == '"tokens";r=7;t=2'
    assert budget_headers({"task": "t", "status": "waiting"}) == {}
