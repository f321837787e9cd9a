"""What a child makes of the answers of its parent, one exchange at a time."""

import datetime as dt
from fractions import Fraction
from typing import Any

import pytest

from tallystick.client.answers import TEMPORARY
from tallystick.config.amounts import Amounts
from tallystick.delegation.child_state import child_state_of
from tallystick.delegation.exchange import Exchange
from tallystick.delegation.parents import Away, decided
from tallystick.delegation.rules import Rules
from tallystick.events import messages as c
from tallystick.events.messages import delegation as d
from tests.support.both_ends import FLEET, TEAM, child
from tests.support.core import START, allocate, use

LATER = START + dt.timedelta(hours=1)


def exchange() -> Exchange:
    return Exchange(FLEET, Rules((1_000, None, None), 3_600.0, Fraction(0)), begun=1)


def status(position: int, granted: int, number: int = 0) -> dict[str, Any]:
    """How a parent answers `GetStatus`, as of a position of its log."""
    of_child = {"fleet": FLEET, "number": number, "booked": 0, "granted": {"tokens": granted}, "position": position}
    return {"ok": {"agent": TEAM, "action": "continue", "decided_by": None, "obstacles": [], "child": of_child}}


def refusal(code: str, **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "detail": f"why: {code}", **more}}


ASKED = [{"type": "GetStatus", "agent": TEAM}]


def hear(one: Exchange, answer: dict[str, Any]) -> None:
    """The child hears an answer, and records it."""
    heard = one.heard(ASKED, [answer], START)
    assert heard is not None
    one.recorded(heard)


def test_an_answer_that_is_older_than_the_one_heard_last_says_nothing() -> None:
    one = exchange()
    newer = one.heard(ASKED, [status(20, 1_500)], START)
    assert newer is not None
    assert newer.granted == Amounts(1_500)
    assert one.heard(ASKED, [status(19, 1_000)], START) is None
    assert one.heard(ASKED, [status(20, 1_500)], START) is not None, "the same one again is no older"


def test_before_the_first_answer_nothing_is_asked_for_reported_or_closed() -> None:
    core = child().given(allocate("ann", 900), use("ann", 30))
    one, at = exchange(), child_state_of(core.ledger)
    assert one.wish(at, LATER) is None, "an old copy must not use its numbers again"
    hear(one, status(20, 1_000))
    assert isinstance(one.wish(at, LATER), d.ReportRange)
    other = exchange()
    assert other.heard(ASKED, [status(20, 1_000)], START) is not None
    assert other.wish(at, LATER) is None, "what it has heard is not recorded"
    ended = child_state_of(child().given(c.ReleaseBudget(agent="fleet")).ledger)
    assert [message["type"] for message in exchange().messages(ended)] == ["Heartbeat", "GetStatus"]
    assert [message["type"] for message in one.messages(ended)] == ["ReleaseBudget", "GetStatus"]


def test_before_the_first_answer_a_refusal_says_why_nothing_may_go_on_and_later_the_fleet_goes_on() -> None:
    one = exchange()
    first = one.heard(ASKED, [refusal("unauthenticated")], START)
    assert first is not None
    assert first.stopped == "it refuses: the key in $TALLYSTICK_PARENT_KEY is not valid there"
    other = one.heard(ASKED, [refusal("unknown_fleet")], START)
    assert other is not None
    assert other.stopped == "it refuses: why: unknown_fleet"
    hear(one, status(20, 1_500))
    assert one.heard(ASKED, [refusal("unauthenticated")], START) is None


def stopped(decided_by: str, *obstacles: tuple[str, str]) -> str | None:
    """Why a child stops where its account is stopped, with obstacles as (what decided it, its text)."""
    answer = status(20, 1_500)
    named = [{"code": "budget_exhausted", "decided_by": by, "detail": text} for by, text in obstacles]
    answer["ok"] |= {"action": "stop", "decided_by": decided_by, "obstacles": named}
    heard = exchange().heard(ASKED, [answer], START)
    assert heard is not None
    return heard.stopped


def test_what_stops_the_account_stops_the_fleet_but_for_what_its_own_budget_is_the_cause_of() -> None:
    own, room = ("level", "the budget is used up"), ("room", "0 tokens is free in the pool, which pays")
    assert stopped("stop", ("stop", "team was stopped: enough"), own) == "team was stopped: enough"
    assert stopped("level", own) is None
    assert stopped("zero_budget", ("zero_budget", "team was allocated nothing"), room) is None
    for by in ("fleet_response", "ancestor_stop", "product_pause"):
        assert stopped("level", own, room, (by, "more is used up")) == "more is used up", "it is not hidden behind it"


@pytest.mark.parametrize("code", ["unknown_agent", "already_released"])
def test_an_account_that_is_not_open_stops_the_fleet_whenever_that_is_heard(code: str) -> None:
    one = exchange()
    hear(one, status(20, 1_500))
    heard = one.heard(ASKED, [refusal(code)], START)
    assert heard is not None
    assert heard.stopped == f"the account is not open there (why: {code})"


def test_a_draw_that_the_parent_refuses_is_settled_and_the_next_one_asks_for_what_it_has() -> None:
    core = child().given(d.AskDraw(amount=Amounts(5_000)))
    one, at = exchange(), child_state_of(core.ledger)
    sent = one.messages(at)
    assert [message["type"] for message in sent] == ["Heartbeat", "BorrowFromPool", "GetStatus"]
    heard = one.heard(sent, [{"ok": {}}, refusal("pool_exhausted", available={"tokens": 700}), status(9, 1_000)], START)
    assert heard is not None
    core.given(heard)
    one.recorded(heard)
    one.rules.want((5_000, None, None))
    assert one.wish(child_state_of(core.ledger), LATER) == d.AskDraw(amount=Amounts(700), id="~draw-2")


@pytest.mark.parametrize("code", sorted(TEMPORARY))
def test_what_a_parent_refuses_for_now_is_no_answer(code: str) -> None:
    with pytest.raises(Away, match=f"^{code}: "):
        decided([{"ok": {}}, refusal(code), status(9, 1_000)])


def test_what_a_parent_refuses_for_good_is_an_answer() -> None:
    replies = [refusal("pool_exhausted"), status(9, 1_000)]
    assert decided(replies) is replies
