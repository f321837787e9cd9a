"""A link of an alert shows what it would change, and does it once, within a day; or says why it does not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tallystick.approvals.links import Forged, Link, link_of, text_of
from tallystick.approvals.orders import ANSWERS, ORDERS
from tallystick.events import catalog as e
from tests.support.asgi import Answered
from tests.support.linked_alerts import KEY, Linked, linked, seen_on


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Linked]:
    with linked(tmp_path) as made:
        made.ask("AllocateBudget", agent="a", budget={"tokens": 5_000})
        made.ask("AllocateBudget", agent="used-up", budget={"tokens": 10})
        yield made


def reach_the_daily_limit(world: Linked) -> None:
    world.ask("ReportUsage", agent="a", usage={"tokens": 1_000})


def words(answer: Answered) -> str:
    return answer.body.decode()


RAISE = "raise limit daily to 1,500 tokens"
STOP = "stop used-up and its sub-agents"


def use_up(world: Linked) -> dict[str, str]:
    world.ask("ReportUsage", agent="used-up", usage={"tokens": 10})
    return world.alert("budget_exhausted")


# --- what it shows and does -------------------------------------------------------------------------------------------


def test_the_page_says_exactly_what_changes_and_opening_it_changes_nothing(world: Linked) -> None:
    reach_the_daily_limit(world)
    path = world.alert("daily_tokens_reached")[RAISE]

    async def test(world: Linked) -> None:
        before = world.fleet.position
        for method in ("GET", "HEAD", "GET"):
            answer = await world.get(path, method)
            assert answer.status == 200
        shown = words(answer)
        assert "<dt>limit daily (day)</dt><dd>now: 1,000 tokens</dd><dd>then: 1,500 tokens, until 2026-03-05" in shown
        assert "<dt>used</dt><dd>1,000 tokens</dd>" in shown
        assert '<form method="post">' in shown
        assert "<script" not in shown
        assert world.fleet.position == before

    world.run(test)


def test_the_form_does_it_and_the_log_says_who(world: Linked) -> None:
    reach_the_daily_limit(world)
    path = world.alert("daily_tokens_reached")[RAISE]

    async def test(world: Linked) -> None:
        answer = await world.use(path)
        assert (answer.status, "Done" in words(answer)) == (200, True)
        (approved,) = world.events(e.LimitApproved)
        assert (approved.by, approved.limits.tokens) == ("ceo", 1_500)
        assert world.ask("GetLimits", limit="daily")["ok"]["limits"][0]["max"]["tokens"] == 1_500

    world.run(test)


ORDERED = {
    "stop": ("budget_exhausted", e.AgentStopped),
    "resume": ("budget_exhausted", e.AgentResumed),
    "raise": ("limit_reached", e.LimitRaised),
    "pause": ("limit_reached", e.FleetPaused),
    "reset": ("breaker_tripped", e.BreakerReset),
    "reserve": ("pool_exhausted", e.ReserveReleased),
}


def test_each_order_does_what_its_alert_asks_for(tmp_path: Path) -> None:
    limit = {"name": "lab", "per": "product", "window": "day", "max": {"cost_usd": "1.00"}, "then": "warn"}
    breaker = {"trip_conditions": ["tokens_daily > 5000"]}
    total = {"tokens": 10_000}
    with linked(tmp_path, limits=[limit], circuit_breaker=breaker, total_budget=total) as world:
        world.ask("AllocateBudget", agent="used-up", budget={"tokens": 10}, product="lab")
        world.ask("ReportUsage", agent="used-up", usage={"tokens": 10, "cost_usd": "1.25"})
        world.ask("Stop", agent="used-up", reason="by hand")
        world.ask("AllocateBudget", agent="b", budget={"tokens": 9_000})
        world.ask("BorrowFromPool", agent="b", amount={"tokens": 9_000})
        world.ask("ReportUsage", agent="b", usage={"tokens": 5_500})

        async def test(world: Linked) -> None:
            for order, (code, kind) in ORDERED.items():
                links = world.alert(code)
                prefix = ORDERS[order].words.partition(" {")[0]
                path = next(path for name, path in links.items() if name.startswith(prefix))
                answer = await world.use(path)
                assert (answer.status, order) == (200, order), words(answer)
                assert world.events(kind)[-1].by == "ceo"

        world.run(test)


def test_every_order_of_an_alert_is_known_and_has_a_message() -> None:
    assert {order for orders in ANSWERS.values() for order in orders} == set(ORDERS)


def test_what_has_changed_since_it_was_shown_is_shown_again(world: Linked) -> None:
    reach_the_daily_limit(world)
    path = world.alert("daily_tokens_reached")[RAISE]

    async def test(world: Linked) -> None:
        seen = seen_on(await world.get(path))
        world.ask("ApproveLimit", max_tokens_total=1_200)
        answer = await world.post(path, seen)
        assert answer.status == 409
        assert "and not what was shown before" in words(answer)
        assert "now: 1,200 tokens" in words(answer)
        assert (await world.post(path, seen_on(answer))).status == 200
        again = world.ask("GetLimits", limit="daily")["ok"]["limits"][0]["max"]["tokens"]
        assert again == 1_500

    world.run(test)


def test_a_limit_that_is_raised_already_is_not_lowered(world: Linked) -> None:
    reach_the_daily_limit(world)
    path = world.alert("daily_tokens_reached")[RAISE]
    world.ask("ApproveLimit", max_tokens_total=9_000)

    async def test(world: Linked) -> None:
        for answer in (await world.get(path), await world.post(path, "anything")):
            assert answer.status == 409
            assert "There is nothing to do: it is 9,000 tokens already." in words(answer)

    world.run(test)


# --- who may what -----------------------------------------------------------------------------------------------------


def test_a_recipient_that_may_not_loosen_gets_only_what_tightens(world: Linked) -> None:
    reach_the_daily_limit(world)
    assert list(world.alert("daily_tokens_reached", "ops")) == ["pause the whole fleet"]
    assert list(world.alert("daily_tokens_reached", "ceo")) == [RAISE, "pause the whole fleet"]


def test_with_an_operators_key_in_force_a_link_is_what_the_operator_configured(tmp_path: Path) -> None:
    control = {"operator_key": "sha256:" + "0" * 64}
    with linked(tmp_path, control=control) as world:
        world.ask("AllocateBudget", agent="a", budget={"tokens": 5_000})
        reach_the_daily_limit(world)
        path = world.alert("daily_tokens_reached")[RAISE]

        async def test(world: Linked) -> None:
            assert (await world.use(path)).status == 200

        world.run(test)


def forged(world: Linked, **changes: Any) -> str:
    """A link that was signed with the right key, and says what no alert says."""
    path = use_up(world)[STOP]
    link = msgspec.structs.replace(link_of(path.removeprefix("/links/"), KEY.encode()), **changes)
    return f"/links/{text_of(link, KEY.encode())}"


def test_what_loosens_is_refused_where_the_recipient_may_not_loosen_any_more(world: Linked) -> None:
    reach_the_daily_limit(world)
    path = world.alert("daily_tokens_reached")[RAISE]
    entry = {**msgspec.to_builtins(world.fleet.config.approval_links), "may_loosen": ["ops"]}
    world.fleet.put_in_force({"approval_links": entry})
    check(world, path, 403, "link_revoked", "ceo may not do this by a link any more")


# --- what does not work -----------------------------------------------------------------------------------------------


def check(world: Linked, path: str, status: int, code: str, text: str) -> None:
    """A link is refused with a page that says why, whether it is opened or used; it is counted, and nothing is done."""

    async def test(world: Linked) -> None:
        before = world.fleet.position
        with capture_logs() as logged:
            answers = [await world.get(path), await world.post(path, "anything")]
        for answer in answers:
            assert (answer.status, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
            assert text in words(answer)
            assert "<form" not in words(answer)
        assert world.fleet.position == before
        lines = [line for line in logged if line["event"] == "access_refused"]
        assert [line["code"] for line in lines] == [code, code]
        assert all(line["path"] == "/links/…" for line in lines)
        assert path not in str(logged)
        metrics = words(await world.get("/metrics"))
        assert f'tallystick_http_access_refusals_total{{code="{code}"}} 2' in metrics

    world.run(test)


def test_a_link_that_was_used_says_by_whom_and_does_nothing_again(world: Linked) -> None:
    path = use_up(world)[STOP]
    other = world.alert("budget_exhausted", "ops")[STOP]

    async def test(world: Linked) -> None:
        assert (await world.use(path)).status == 200
        assert 'tallystick_links_total{outcome="done"} 1' in words(await world.get("/metrics"))

    world.run(test)
    check(world, path, 410, "link_used", "was done by ceo at 2026-03-04 12:00:00Z (position ")
    check(world, other, 410, "link_used", "was done by ceo")
    assert len(world.events(e.AgentStopped)) == 1


def test_a_link_stays_used_when_ids_are_forgotten_and_after_a_restart(tmp_path: Path) -> None:
    with linked(tmp_path, idempotency_ids_max=1) as world:
        world.ask("AllocateBudget", agent="used-up", budget={"tokens": 10})
        path = use_up(world)[STOP]

        async def test(world: Linked) -> None:
            assert (await world.use(path)).status == 200

        world.run(test)
        for _ in range(5):
            world.ask("Throttle", agent="used-up", rate="0.5")
        assert len(world.fleet._manager.ledger.ids) <= 1
    with linked(tmp_path) as world:
        check(world, path, 410, "link_used", "was done by ceo")


def test_a_link_works_for_a_day(world: Linked) -> None:
    path = use_up(world)[STOP]
    world.after(hours=23, minutes=59)

    async def test(world: Linked) -> None:
        assert (await world.get(path)).status == 200

    world.run(test)
    world.after(hours=24)
    check(world, path, 410, "link_expired", "It worked until 2026-03-05 12:00:00Z")


def test_a_link_of_another_fleet_is_refused(world: Linked) -> None:
    check(world, forged(world, fleet="0" * 32), 404, "link_foreign", "for another fleet")


def test_a_link_of_a_recipient_that_is_gone_is_refused(world: Linked) -> None:
    check(world, forged(world, to="gone"), 403, "link_revoked", "gone may not do this")


def test_another_key_ends_all_links(world: Linked, tmp_path: Path) -> None:
    path = use_up(world)[STOP]
    (tmp_path / "links.key").write_text("another key of the tests, long enough")
    check(world, path, 404, "link_invalid", "signed with a key that this server does not use now")


@pytest.mark.parametrize("text", ["x", ".", "x.y", "%00", "é", "W10.AAAA", "a" * 5_000])
def test_what_is_no_link_is_refused(world: Linked, text: str) -> None:
    check(world, f"/links/{text}", 404, "link_invalid", "is not complete, or was changed")


def test_without_links_in_the_configuration_there_are_none(tmp_path: Path) -> None:
    with linked(tmp_path, approval_links=None) as world:
        world.ask("AllocateBudget", agent="used-up", budget={"tokens": 10})
        assert use_up(world) == {}
        check(world, "/links/x.y", 404, "link_invalid", "not valid")


def test_an_alert_is_sent_without_links_where_there_is_no_key(world: Linked, tmp_path: Path) -> None:
    (tmp_path / "links.key").unlink()
    assert use_up(world) == {}


def test_an_address_that_tries_links_has_to_wait(world: Linked) -> None:
    async def test(world: Linked) -> None:
        answers = [await world.get(f"/links/{n}.x", address="10.0.0.9") for n in range(12)]
        assert [answer.status for answer in answers] == [404] * 10 + [429] * 2
        assert int(answers[-1].headers["retry-after"]) > 0

    world.run(test)


def test_a_page_of_another_site_cannot_press_the_button(world: Linked) -> None:
    path = use_up(world)[STOP]

    async def test(world: Linked) -> None:
        answer = await world.use(path, origin="https://evil.example")
        assert answer.status == 403
        assert world.events(e.AgentStopped) == []

    world.run(test)


def test_the_page_runs_and_loads_nothing(world: Linked) -> None:
    path = use_up(world)[STOP]

    async def test(world: Linked) -> None:
        headers = (await world.get(path)).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "unsafe" not in policy
        assert headers["cache-control"] == "no-store"
        assert headers["x-robots-tag"] == "noindex, nofollow"

    world.run(test)


# --- forgeries --------------------------------------------------------------------------------------------------------

LINK = Link("f" * 32, "budget_exhausted-7", "stop", "ceo", 1_800_000_000, "a")
TEXT = text_of(LINK, KEY.encode())
LETTERS = st.characters(codec="ascii", categories=("L", "N", "P", "S"))


def test_what_was_signed_is_read_again() -> None:
    assert link_of(TEXT, KEY.encode()) == LINK


@settings(max_examples=200)
@given(st.integers(0, len(TEXT) - 1), st.one_of(LETTERS, st.just(""), st.text(LETTERS, max_size=4)))
def test_no_change_of_a_link_is_taken(place: int, letters: str) -> None:
    changed = TEXT[:place] + letters + TEXT[place + 1 :]
    if changed == TEXT:
        return
    with pytest.raises(Forged):
        link_of(changed, KEY.encode())


@given(st.text(max_size=300), st.binary(max_size=64))
def test_no_other_text_is_a_link(text: str, key: bytes) -> None:
    with pytest.raises(Forged):
        link_of(text, KEY.encode())
    if key != KEY.encode():
        with pytest.raises(Forged):
            link_of(TEXT, key)


@given(
    st.builds(
        Link,
        *(st.text(max_size=20) for _ in range(4)),
        st.integers(0, 2**40),
        *(st.none() | st.text(max_size=20) for _ in range(5)),
    )
)
def test_two_links_that_differ_in_anything_have_different_signatures(link: Link) -> None:
    text = text_of(link, KEY.encode())
    assert link_of(text, KEY.encode()) == link
    assert (text == TEXT) == (link == LINK)
