"""Delivery: what is sent where and when, as a plain object with the test's own clock."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.actors.enforcer import Enforcer
from tallystick.actors.policies import delivery
from tallystick.actors.policies.delivery import ATTEMPTS_MAX, Send, Sent
from tallystick.actors.runtime.messages import MANAGER, SENDER, Post, Recorded, Tick
from tallystick.config.loader import from_mapping, to_mapping
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.messages import proposals as p
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.outbox import Owed, addresses
from tests.support.core import START, Core, allocate, fleet, use
from tests.support.examples import examples

ONE, TWO = "json://one/hook", "json://two/hook"
NOTIFIED: dict[str, list[str]] = {"ceo": [ONE], "ops": [TWO]}


class Day:
    """An enforcer, and what it wants done: sends that are on their way, and proposals to the manager."""

    def __init__(self, ledger: Ledger) -> None:
        self.now = START
        self.ledger = ledger
        self.enforcer = Enforcer(delivers=True)
        self.enforcer.begin(ledger)
        self.on_their_way: list[Send] = []
        self.proposed: list[c.Command] = []

    def hand(self, message: Any) -> None:
        self._note(self.enforcer.handle(message, self.now))

    def _note(self, posts: Sequence[Post]) -> None:
        self.on_their_way += [post.message for post in posts if post.to == SENDER]
        self.proposed += [post.message.command for post in posts if post.to == MANAGER]

    def raise_alert(self, name: str, to: tuple[str, ...] = ("ceo", "ops")) -> None:
        event = e.AlertRaised(alert=name, code="x", message=f"{name}!", notify=list(to), position=1, at=self.now)
        self.record(event)

    def record(self, *events: e.Event) -> None:
        self.hand(Recorded(events))

    def answer(self, problem: str | None, at: str) -> Send:
        """What is on its way to an address comes back."""
        send = next(send for send in self.on_their_way if send.address == at)
        self.on_their_way.remove(send)
        self.hand(Sent(send.notice, send.owed, problem))
        return send

    def sent(self, address: str) -> list[str]:
        return [send.notice.alert for send in self.on_their_way if send.address == address]

    def wait_until_due(self) -> float:
        """Let time pass until the enforcer wants a tick; the seconds that it took."""
        due = self.enforcer.due_at()
        assert due is not None
        waited = max(0.0, (due - self.now).total_seconds())
        self.now = max(self.now, due)
        self.hand(Tick(self.now))
        return waited


@pytest.fixture
def day() -> Day:
    return Day(Core(fleet(1_000, notifications=NOTIFIED)).ledger)


def test_an_alert_is_sent_to_every_address_at_once_and_reported_when_it_was_accepted(day: Day) -> None:
    day.raise_alert("a-1")
    assert day.sent(ONE) == day.sent(TWO) == ["a-1"]
    day.answer(None, ONE)
    (made,) = day.proposed
    assert isinstance(made, p.RecordDelivery)
    assert (made.alert, made.to, made.address) == ("a-1", "ceo", next(mark for name, mark in marks() if name == "ceo"))
    assert day.enforcer.due_at() is None


def marks() -> list[Owed]:
    return list(addresses(from_mapping({"notifications": NOTIFIED})))


def test_an_alert_for_one_goes_to_no_other(day: Day) -> None:
    day.raise_alert("a-1", to=("ops",))
    assert (day.sent(ONE), day.sent(TWO)) == ([], ["a-1"])


def test_one_alert_at_a_time_is_on_its_way_to_an_address_in_order(day: Day) -> None:
    for name in ("a-1", "a-2", "a-3"):
        day.raise_alert(name)
    for name in ("a-1", "a-2", "a-3"):
        assert day.sent(ONE) == [name]
        day.answer(None, ONE)
    assert day.sent(ONE) == []
    assert day.sent(TWO) == ["a-1"], "the other address is still busy with the first"


def test_after_a_failure_it_waits_twice_as_long_each_time_up_to_an_hour(day: Day) -> None:
    day.raise_alert("a-1", to=("ceo",))
    waits = []
    for _ in range(14):
        day.answer("no answer", ONE)
        assert day.sent(ONE) == []
        waits.append(day.wait_until_due())
        assert day.sent(ONE) == ["a-1"]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600]
    assert day.proposed == []


def test_an_address_that_is_down_blocks_no_other(day: Day) -> None:
    day.raise_alert("a-1")
    day.answer("no answer", ONE)
    day.answer(None, TWO)
    day.raise_alert("a-2")
    assert (day.sent(ONE), day.sent(TWO)) == ([], ["a-2"])


def test_an_alert_that_is_refused_lets_the_others_of_its_address_go_first(day: Day) -> None:
    for name in ("poison", "a-2", "a-3"):
        day.raise_alert(name, to=("ceo",))
    day.answer("it is not understood", ONE)
    day.wait_until_due()
    for name in ("a-2", "a-3", "poison"):
        assert day.sent(ONE) == [name]
        day.answer(None, ONE)


def test_the_first_success_ends_the_wait(day: Day) -> None:
    day.raise_alert("a-1", to=("ceo",))
    for _ in range(5):
        day.answer("no answer", ONE)
        day.wait_until_due()
    day.answer(None, ONE)
    day.raise_alert("a-2", to=("ceo",))
    assert day.sent(ONE) == ["a-2"]
    day.answer("no answer", ONE)
    assert day.wait_until_due() == 1


def test_after_a_day_of_attempts_an_alert_is_given_up_and_the_next_is_tried(day: Day) -> None:
    day.raise_alert("a-1", to=("ceo",))
    for _ in range(ATTEMPTS_MAX - 1):
        day.answer("no answer", ONE)
        day.wait_until_due()
    assert (day.now - START) > dt.timedelta(hours=23)
    day.raise_alert("a-2", to=("ceo",))
    day.answer("no answer", ONE)
    (made,) = day.proposed
    assert isinstance(made, p.GiveUpDelivery)
    assert (made.alert, made.to, made.attempts) == ("a-1", "ceo", ATTEMPTS_MAX)
    assert day.wait_until_due() == 3600
    assert day.sent(ONE) == ["a-2"]


def test_a_changed_configuration_changes_where_it_goes_and_keeps_what_waits(day: Day) -> None:
    for name in ("a-1", "a-2"):
        day.raise_alert(name)
    config = from_mapping({"notifications": {"ceo": [ONE, "json://new/hook"]}})
    day.record(e.ConfigLoaded(config=to_mapping(config), sha256="0"))
    day.answer(None, TWO)
    day.answer(None, ONE)
    assert day.sent(ONE) == ["a-2"]
    assert day.sent(TWO) == []
    day.raise_alert("a-3", to=("ceo",))
    assert day.sent("json://new/hook") == ["a-3"]


def test_an_alert_that_was_given_up_for_want_of_room_is_not_sent_any_more(day: Day) -> None:
    for name in ("a-1", "a-2"):
        day.raise_alert(name, to=("ceo",))
    to, address = marks()[0]
    for name in ("a-1", "a-2"):
        day.record(e.AlertDeliveryFailed(alert=name, to=to, address=address, reason="outbox_full"))
    day.answer("no answer", ONE)
    assert day.enforcer.due_at() is None
    assert day.sent(ONE) == []


def test_a_successor_sends_what_is_owed_by_the_state() -> None:
    core = Core(fleet(1_000, notifications=NOTIFIED), allocate("a", 10), use("a", 10))
    (alert,) = core.ledger.outbox
    core.given(p.RecordDelivery(alert=alert, to="ops", address=marks()[1][1]))
    day = Day(core.ledger)
    assert day.enforcer.due_at() is not None
    day.wait_until_due()
    assert (day.sent(ONE), day.sent(TWO)) == ([alert], [])


def test_a_successor_does_not_send_what_its_predecessor_learns_was_accepted() -> None:
    core = Core(fleet(1_000, notifications={"ceo": [ONE]}), allocate("a", 10), use("a", 10))
    day = Day(core.ledger)
    ((alert, notice),) = core.ledger.outbox.items()
    day.hand(Sent(notice, notice.owed[0], None))
    assert [made.alert for made in day.proposed if isinstance(made, p.RecordDelivery)] == [alert]
    assert day.sent(ONE) == []
    assert day.enforcer.due_at() is None


def test_it_knows_its_messages_and_no_others(day: Day) -> None:
    with pytest.raises(TypeError, match="does not know str"):
        day.hand("hello")


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(1, 4))
def test_whatever_fails_every_alert_is_accepted_once_or_given_up_and_never_sent_after(
    chances: list[int], attempts: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delivery, "ATTEMPTS_MAX", attempts)
        day = Day(Core(fleet(1_000, notifications=NOTIFIED)).ledger)
        raised = 0
        for chance in chances:
            if chance < 3:
                raised += 1
                day.raise_alert(f"a-{raised}")
            elif day.on_their_way:
                day.answer(None if chance > 6 else "no answer", day.on_their_way[0].address)
            elif day.enforcer.due_at() is not None:
                day.wait_until_due()
            assert len({send.owed for send in day.on_their_way}) == len(day.on_their_way) <= 2
        while day.on_their_way or day.enforcer.due_at() is not None:
            if day.on_their_way:
                day.answer("no answer", day.on_their_way[0].address)
            else:
                day.wait_until_due()
    settled = [(made.alert, made.to) for made in day.proposed if isinstance(made, p.RecordDelivery | p.GiveUpDelivery)]
    assert len(settled) == len(day.proposed)
    assert sorted(settled) == sorted((f"a-{i}", to) for i in range(1, raised + 1) for to in ("ceo", "ops"))
