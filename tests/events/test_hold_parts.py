"""Holds that are settled in parts, extended, looked at, and told apart when they have ended."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log import snapshot
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.conservation import check_conserved
from tests.support.core import Core, allocate, budget, dump, fleet, hold, tokens, use


@pytest.fixture
def core() -> Core:
    return Core(fleet(1_000), allocate("ann", 100))


def part(hold_id: str, used: int) -> c.Settle:
    return c.Settle(hold=hold_id, usage=budget(used), final=False)


def last(hold_id: str, used: int) -> c.Settle:
    return c.Settle(hold=hold_id, usage=budget(used))


def held(core: Core, **query: Any) -> Any:
    return core.when(c.GetHolds(**query)).holds


# --- parts ------------------------------------------------------------------------------------------------------------


def test_a_part_is_booked_and_the_rest_stays_held(core: Core) -> None:
    core.given(hold("ann", "h", 60))
    answer = core.when(part("h", 20))
    core.then_events(e.HoldSettled)
    assert answer.remaining == tokens(40)
    assert (core.account("ann").held[0], core.account("ann").spent[0]) == (40, 20)
    core.given(part("h", 15), last("h", 5))
    assert (core.account("ann").held[0], core.account("ann").spent[0], core.free("ann")[0]) == (0, 40, 60)


def test_parts_beyond_the_hold_are_covered_like_any_use(core: Core) -> None:
    core.given(hold("ann", "h", 60), part("h", 50))
    core.when(part("h", 70))
    assert core.only(e.Covered).amount.tokens == 20
    assert (core.account("ann").held[0], core.account("ann").spent[0]) == (0, 120)
    core.given(last("h", 0))
    assert core.account("ann").spent[0] == 120


def test_what_is_left_after_parts_expires_and_later_parts_are_late(core: Core) -> None:
    core.given(hold("ann", "h", 60), part("h", 20)).wait(300)
    core.pass_time()
    assert core.free("ann")[0] == 80
    assert core.when(part("h", 5)).late is True
    assert core.when(part("h", 6)).late is True
    assert core.when(last("h", 7)).late is True
    core.when(last("h", 7))
    core.then_refused("already_settled", ended="settled")
    assert core.account("ann").spent[0] == 38
    (shown,) = held(core, hold="h")
    assert (shown.state, shown.booked) == ("settled", tokens(38))


# --- overage ----------------------------------------------------------------------------------------------------------


def test_a_hold_that_rejects_overage_stays_when_a_settlement_is_above_it(core: Core) -> None:
    core.given(hold("ann", "h", 60, overage="reject"), part("h", 50))
    core.when(last("h", 11))
    core.then_refused("overage_rejected", hold="h", dimension="tokens", used=11, left=10)
    assert core.account("ann").held[0] == 10
    core.given(last("h", 10))
    assert core.account("ann").spent[0] == 60


def test_overage_is_measured_in_the_dimensions_that_the_hold_names() -> None:
    core = Core(fleet(1_000, "10"), allocate("ann", 100, "5"), hold("ann", "h", 60, overage="reject"))
    core.given(c.Settle(hold="h", usage=budget(60, None, "1")))
    assert core.account("ann").spent[2] == 10**9


def test_after_its_end_the_use_of_such_a_hold_is_a_fact(core: Core) -> None:
    core.given(hold("ann", "h", 60, overage="reject"), c.CancelHold(hold="h"))
    assert core.when(last("h", 90)).late is True


# --- extension --------------------------------------------------------------------------------------------------------


def test_a_heartbeat_extends_a_hold_in_time_and_in_amount(core: Core) -> None:
    core.given(hold("ann", "h", 60))
    answer = core.when(c.Heartbeat(hold="h", ttl_seconds=Decimal(900), amount=budget(30)))
    assert (answer.expires_at, answer.amount, answer.available) == ("2026-03-04T12:15:00Z", tokens(90), tokens(10))
    core.when(c.Heartbeat(hold="h", ttl_seconds=Decimal(1)))
    assert core.ledger.holds["h"].expires_at.isoformat() == "2026-03-04T12:15:00+00:00"


@pytest.mark.parametrize("cause", ["room", "day", "stop"])
def test_where_there_is_no_room_the_extension_is_refused_and_the_hold_stays(cause: str) -> None:
    core = Core(fleet(1_000, daily_limits={"max_tokens_total": 80}), allocate("ann", 70), hold("ann", "h", 60))
    core.given(*{"room": [], "day": [allocate("bob", 50), use("bob", 15)], "stop": [c.PauseAll(reason="audit")]}[cause])
    more = 11 if cause == "room" else 10
    core.when(c.Heartbeat(hold="h", ttl_seconds=Decimal(900), amount=budget(more)))
    core.then_refused({"room": "budget_exhausted", "day": "daily_limit_reached", "stop": "paused"}[cause])
    standing = core.ledger.holds["h"]
    assert (standing.amount[0], standing.expires_at.isoformat()) == (60, "2026-03-04T12:05:00+00:00")


@pytest.mark.parametrize("ttl", ["0", "-1", "604800.001", "NaN"])
def test_a_time_to_live_out_of_its_bounds_and_an_amount_of_nothing_are_refused(core: Core, ttl: str) -> None:
    core.given(hold("ann", "h", 60))
    core.when(c.Heartbeat(hold="h", ttl_seconds=Decimal(ttl)))
    core.then_refused("invalid_amount", field="ttl_seconds")
    core.when(c.Heartbeat(hold="h", amount=budget(0)))
    core.then_refused("invalid_amount", field="amount")
    core.when(c.Heartbeat(agent="ann", ttl_seconds=Decimal(5)))
    core.then_refused("invalid_message")


MALFORMED = [
    c.Reserve(agent="ghost", estimate=budget(1), labels={"a": "b\u200b"}),
    c.Reserve(agent="ghost", estimate=budget(1), operation=" draft"),
    c.Reserve(agent="ghost", estimate=budget(-1)),
    c.Reserve(agent="ghost", estimate=budget(1), ttl_seconds=Decimal(0)),
    c.CancelHold(hold="GONE", operation=" draft"),
    c.CancelHold(hold="GONE", labels={"a\u200b": "b"}),
    c.Settle(hold="GONE", usage=budget(-1)),
    c.Settle(hold="GONE", usage=budget(1), input_tokens=-1),
    c.Heartbeat(hold="GONE", amount=budget(-1)),
    c.Heartbeat(hold="GONE", amount=budget(0)),
    c.Heartbeat(hold="GONE", ttl_seconds=Decimal(0)),
    c.Heartbeat(agent="ann", amount=budget(-1)),
    c.Heartbeat(task="t", ttl_seconds=Decimal(-1)),
]


@pytest.mark.parametrize("state", ["never was", "settled", "cancelled"])
@pytest.mark.parametrize("command", MALFORMED, ids=lambda command: f"{type(command).__name__}")
def test_what_is_malformed_is_refused_as_that_before_anything_is_said_of_its_hold(
    core: Core, command: Any, state: str
) -> None:
    core.given(hold("ann", "h", 60), last("h", 1) if state == "settled" else c.CancelHold(hold="h"))
    if getattr(command, "hold", None) is not None:
        command = msgspec.structs.replace(command, hold="never" if state == "never was" else "h")
    refusal = core.when(command)
    assert refusal.code in ("invalid_amount", "invalid_message")
    assert core.own == []


def test_a_bad_amount_of_a_sign_of_life_is_named_with_its_bound(core: Core) -> None:
    core.when(c.Heartbeat(agent="ann", amount=budget(-1)))
    detail = core.then_refused("invalid_amount", field="amount.tokens").detail
    assert detail == "amount.tokens: found -1, allowed is whole tokens, from 0 to 9223372036854775807"


def test_signs_of_life_that_move_nothing_leave_nothing_behind(core: Core) -> None:
    core.given(hold("ann", "h", 60), *(c.Heartbeat(hold="h", ttl_seconds=Decimal(1)) for _ in range(50)))
    assert len(core.ledger.expiries) == 1


# --- ended holds ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["settled", "cancelled", "expired", "released"])
def test_whatever_is_asked_of_an_ended_hold_says_how_it_ended_and_when(core: Core, end: str) -> None:
    core.given(hold("ann", "h", 60)).wait(10)
    match end:
        case "settled":
            core.given(last("h", 10))
        case "cancelled":
            core.given(c.CancelHold(hold="h"))
        case "expired":
            core.wait(290).pass_time()
        case _:
            core.given(c.ReleaseBudget(agent="ann"))
    at = "2026-03-04T12:05:00Z" if end == "expired" else "2026-03-04T12:00:10Z"
    how = "cancelled" if end == "released" else end
    core.wait(60)
    for ask in (c.CancelHold(hold="h"), c.Heartbeat(hold="h"), c.Heartbeat(hold="h", amount=budget(1))):
        core.when(ask)
        core.then_refused("hold_ended", hold="h", ended=how, ended_at=at)
    answer = core.when(last("h", 10))
    if end == "settled":
        core.then_refused("already_settled", hold="h", ended=how, ended_at=at)
    else:
        assert answer.late is True


# --- looking at holds -------------------------------------------------------------------------------------------------


def test_a_hold_is_shown_with_what_was_said_about_it(core: Core) -> None:
    core.given(
        hold("ann", "h", 60, labels={"user": "u-1"}, operation="draft", reason="long call"),
        c.Settle(hold="h", usage=budget(10), final=False, labels={"part": "1"}),
    )
    (shown,) = held(core, hold="h")
    assert (shown.state, shown.placed, shown.held, shown.booked) == ("open", tokens(60), tokens(50), tokens(10))
    assert (shown.labels, shown.operation) == ({"user": "u-1", "part": "1"}, "draft")
    assert (shown.reason, shown.expires_at, shown.ended_at) == ("long call", "2026-03-04T12:05:00Z", None)
    core.given(c.CancelHold(hold="h", reason="user left"))
    assert core.only(e.HoldEnded).reason == "user left"
    (shown,) = held(core, hold="h")
    assert (shown.state, shown.reason, shown.ended_reason) == ("cancelled", "long call", "user left")
    assert (shown.held, shown.ended_at) == (budget_of_nothing(), "2026-03-04T12:00:00Z")


def budget_of_nothing() -> Any:
    return tokens(None)  # type: ignore[arg-type]


def test_holds_are_listed_by_agent_and_state_in_pages(core: Core) -> None:
    core.given(allocate("bob", 100), *(hold("ann", f"a{n}", 1) for n in range(7)), hold("bob", "b", 1))
    core.given(last("a3", 1), c.CancelHold(hold="a5"))
    assert [one.hold for one in held(core, agent="bob")] == ["b"]
    assert [one.hold for one in held(core, state="open")] == ["a0", "a1", "a2", "a4", "a6", "b"]
    assert [one.hold for one in held(core, agent="ann", state="settled")] == ["a3"]
    assert [one.hold for one in held(core, agent="ann", state="cancelled")] == ["a5"]
    seen, after = [], None
    while True:
        page = core.when(c.GetHolds(agent="ann", limit=3, after=after))
        seen += [one.hold for one in page.holds]
        after = page.after
        if after is None:
            break
    assert seen == [f"a{n}" for n in range(7)]
    core.when(c.GetHolds(hold="never"))
    core.then_refused("unknown_hold")


# --- a naive model ----------------------------------------------------------------------------------------------------


class HoldMachine(RuleBasedStateMachine):
    """Holds with parts, extension, expiry, late settlement and a restart in the middle, against plain dictionaries.

    ``open`` has what a hold still has and when it expires; ``ended`` how a hold ended; ``used`` is all usage.
    """

    def __init__(self) -> None:
        super().__init__()
        self.core = Core(fleet(10_000), allocate("ann", 300), compares=False)
        self.open: dict[str, list[int]] = {}
        self.ended: dict[str, str] = {}
        self.booked: dict[str, int] = {}
        self.used = self.clock = self.count = 0

    def names(self) -> list[str]:
        return sorted({*self.open, *self.ended})

    @rule(amount=st.integers(1, 120), ttl=st.integers(1, 60))
    def reserve(self, amount: int, ttl: int) -> None:
        self.count += 1
        name = f"h{self.count}"
        answer = self.core.when(hold("ann", name, amount, ttl_seconds=Decimal(ttl)))
        black = self.used >= 300
        free = 300 - self.used - sum(rest for rest, _ in self.open.values())
        if isinstance(answer, Refusal):
            assert black or amount > free or answer.code == "throttled"
        else:
            assert not black
            assert amount <= free
            self.open[name], self.booked[name] = [amount, self.clock + ttl], 0

    @precondition(lambda self: self.open or self.ended)
    @rule(data=st.data(), used=st.integers(0, 80), final=st.booleans())
    def settle(self, data: Any, used: int, final: bool) -> None:
        name = data.draw(st.sampled_from(self.names()))
        answer = self.core.when(c.Settle(hold=name, usage=budget(used), final=final))
        if self.ended.get(name) == "settled":
            assert answer.code == "already_settled"
            return
        assert answer.late is (name in self.ended)
        self.used += used
        self.booked[name] += used
        if name in self.open and not final:
            self.open[name][0] = max(0, self.open[name][0] - used)
        elif final:
            self.open.pop(name, None)
            self.ended[name] = "settled"

    @precondition(lambda self: self.open or self.ended)
    @rule(data=st.data(), more=st.one_of(st.none(), st.integers(1, 50)), ttl=st.integers(1, 60))
    def extend(self, data: Any, more: int | None, ttl: int) -> None:
        name = data.draw(st.sampled_from(self.names()))
        amount = None if more is None else budget(more)
        answer = self.core.when(c.Heartbeat(hold=name, ttl_seconds=Decimal(ttl), amount=amount))
        if name in self.ended:
            assert (answer.code, answer.numbers["ended"]) == ("hold_ended", self.ended[name])
        elif not isinstance(answer, Refusal):
            assert (more or 0) <= max(0, 300 - self.used - sum(rest for rest, _ in self.open.values()))
            self.open[name] = [self.open[name][0] + (more or 0), max(self.open[name][1], self.clock + ttl)]
        else:
            assert more is not None

    @precondition(lambda self: self.open or self.ended)
    @rule(data=st.data())
    def cancel(self, data: Any) -> None:
        name = data.draw(st.sampled_from(self.names()))
        answer = self.core.when(c.CancelHold(hold=name))
        if name in self.ended:
            assert (answer.code, answer.numbers["ended"]) == ("hold_ended", self.ended[name])
        else:
            del self.open[name]
            self.ended[name] = "cancelled"

    @rule(seconds=st.integers(1, 40))
    def wait(self, seconds: int) -> None:
        self.clock += seconds
        self.core.wait(seconds).pass_time()
        for name in [name for name, (_, until) in self.open.items() if until <= self.clock]:
            del self.open[name]
            self.ended[name] = "expired"

    @rule()
    def restart(self) -> None:
        before = dump(self.core.ledger)
        loaded = snapshot.load(snapshot.dump(self.core.ledger))
        assert loaded is not None
        after = dump(loaded)
        # Entries of the heap that are no longer true are left out of a snapshot.
        assert set(after.pop("expiries")) <= set(before.pop("expiries"))
        assert after == before
        assert loaded.due_at() == self.core.ledger.due_at()
        self.core.ledger = loaded

    @invariant()
    def the_books_agree(self) -> None:
        ledger, account = self.core.ledger, self.core.account("ann")
        check_conserved(ledger)
        assert ledger.consumed[0] == account.spent[0] == self.used == sum(self.booked.values())
        assert account.held[0] == sum(rest for rest, _ in self.open.values())
        shown = {one.hold: (one.state, one.booked.tokens or 0) for one in held(self.core, agent="ann", limit=1_000)}
        states = dict.fromkeys(self.open, "open") | self.ended
        assert shown == {name: (state, self.booked[name]) for name, state in states.items()}


HoldMachine.TestCase.settings = settings(
    max_examples=30, stateful_step_count=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
test_holds_are_what_a_naive_model_says = HoldMachine.TestCase
