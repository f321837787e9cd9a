import datetime as dt
from decimal import Decimal

import pytest

from tallystick.events import catalog as e
from tallystick.events import commands as c
from tallystick.events import proposals as p
from tests.law import START, Law, allocate, fleet, hold, settle, tokens, use


@pytest.fixture
def law() -> Law:
    return Law(fleet(1_000), allocate("ann", 100))


def test_a_hold_sets_its_estimate_aside(law: Law) -> None:
    answer = law.when(hold("ann", "h", 60))
    assert (answer.hold, answer.amount, answer.available) == ("h", tokens(60), tokens(40))
    assert answer.expires_at == "2026-03-04T12:05:00Z"
    status = law.status("ann")
    assert (status.held, status.remaining, status.consumed) == (tokens(60), tokens(40), tokens(0))


def test_a_hold_for_more_than_is_free_is_refused_with_what_there_is(law: Law) -> None:
    law.given(hold("ann", "h", 60))
    law.when(hold("ann", "i", 41))
    refusal = law.then_refused("budget_exhausted", retry_after_seconds=300.0)
    assert (refusal.numbers["available"], refusal.numbers["requested"]) == (tokens(40), tokens(41))


def test_waiting_cannot_help_where_no_hold_of_its_own_would_come_back(law: Law) -> None:
    law.when(hold("ann", "h", 101))
    law.then_refused("budget_exhausted", retry_after_seconds=None)
    law.given(use("ann", 60), hold("ann", "h", 20)).wait(10)
    law.when(hold("ann", "i", 41))
    law.then_refused("budget_exhausted", retry_after_seconds=None)
    law.when(hold("ann", "i", 30))
    law.then_refused("budget_exhausted", retry_after_seconds=290.0)


def test_many_that_ask_at_the_same_moment_are_never_granted_more_than_there_is(law: Law) -> None:
    answers = [law.when(hold("ann", f"h{number}", 7)) for number in range(50)]
    assert sum(hasattr(answer, "hold") for answer in answers) == 14
    assert law.account("ann").held[0] == 98


def test_a_hold_of_two_dimensions_is_granted_whole_or_not_at_all() -> None:
    law = Law(fleet(1_000, "10"), allocate("ann", 100, "1"))
    law.when(hold("ann", "h", 50, "1.01"))
    refusal = law.then_refused("budget_exhausted")
    assert "cost_usd" in refusal.detail
    assert (refusal.numbers["available"].tokens, refusal.numbers["available"].cost_usd) == (100, "1.00")
    law.given(hold("ann", "h", 50, "1"))
    assert law.free("ann") == (50, 0, 0)


def test_a_hold_that_was_forgotten_expires_at_its_moment_exactly(law: Law) -> None:
    law.given(hold("ann", "h", 100))
    law.wait(299.999999)
    law.when(hold("ann", "i", 100))
    law.then_refused("budget_exhausted")
    assert law.due == []
    law.when(hold("ann", "j", 100), at=START + dt.timedelta(seconds=300))
    (ended,) = law.due
    assert isinstance(ended, e.HoldEnded)
    assert (ended.hold, ended.how, ended.by, ended.id) == ("h", "expired", "clock", "")
    law.then_events(e.HoldPlaced)


def test_a_hold_is_gone_before_its_settlement_at_the_same_moment(law: Law) -> None:
    law.given(hold("ann", "h", 100, ttl_seconds=Decimal("1.5")))
    answer = law.when(settle("h", 10), at=START + dt.timedelta(seconds=1.5))
    assert [type(event) for event in law.decided.events] == [e.HoldEnded, e.UsageReported]
    assert answer.late is True


def test_the_clock_gives_back_what_expired_without_being_asked(law: Law) -> None:
    law.given(hold("ann", "h", 30), hold("ann", "i", 30, ttl_seconds=Decimal(10))).wait(10)
    law.given(p.ExpireHolds())
    assert [event.hold for event in law.every(e.HoldEnded)] == ["i"]
    assert law.free("ann")[0] == 70


def test_holds_expire_in_the_order_of_their_moments(law: Law) -> None:
    law.given(*(hold("ann", f"h{ttl}", 10, ttl_seconds=Decimal(ttl)) for ttl in (30, 10, 20))).wait(60)
    law.given(p.ExpireHolds())
    assert [event.hold for event in law.every(e.HoldEnded)] == ["h10", "h20", "h30"]


def test_a_heartbeat_moves_the_expiry_on_by_the_time_to_live(law: Law) -> None:
    law.given(hold("ann", "h", 30, ttl_seconds=Decimal(10))).wait(9)
    answer = law.when(c.Heartbeat(hold="h"))
    assert answer.expires_at == "2026-03-04T12:00:19Z"
    law.wait(9).given(p.ExpireHolds())
    assert law.account("ann").held[0] == 30
    law.wait(1).given(p.ExpireHolds())
    assert law.account("ann").held[0] == 0


def test_a_heartbeat_names_exactly_one_of_agent_and_hold(law: Law) -> None:
    for command in (c.Heartbeat(), c.Heartbeat(agent="ann", hold="h")):
        law.when(command)
        law.then_refused("invalid_message")
    law.when(c.Heartbeat(hold="h"))
    law.then_refused("unknown_hold")
    assert law.when(c.Heartbeat(agent="ann")).action == "continue"
    law.then_events(e.AgentHeard)


@pytest.mark.parametrize(("used", "free"), [(20, 80), (60, 40), (75, 25), (0, 100)])
def test_a_settlement_replaces_the_hold_in_one_step(law: Law, used: int, free: int) -> None:
    law.given(hold("ann", "h", 60))
    answer = law.when(settle("h", used))
    law.then_events(e.HoldSettled, *[e.LevelChanged] * (used >= 50))
    assert (answer.remaining, answer.late) == (tokens(free), False)
    assert (law.account("ann").held[0], law.account("ann").spent[0]) == (0, used)


def test_settling_twice_is_already_settled(law: Law) -> None:
    law.given(hold("ann", "h", 60), settle("h", 10))
    law.when(settle("h", 10))
    law.then_refused("already_settled", hold="h")
    law.when(c.CancelHold(hold="h"))
    law.then_refused("already_settled")


@pytest.mark.parametrize("end", ["cancelled", "expired", "released"])
def test_a_settlement_after_the_end_is_late_usage_and_happens_once(law: Law, end: str) -> None:
    law.given(hold("ann", "h", 60))
    match end:
        case "cancelled":
            law.given(c.CancelHold(hold="h"))
        case "expired":
            law.wait(300).given(p.ExpireHolds())
        case _:
            law.given(c.ReleaseBudget(agent="ann"))
    assert law.only(e.HoldEnded).how == end
    answer = law.when(settle("h", 70))
    assert answer.late is True
    event = law.only(e.UsageReported)
    assert (event.agent, event.tokens, event.hold, event.late) == ("ann", 70, "h", True)
    assert law.ledger.consumed[0] == 70
    law.when(settle("h", 70))
    law.then_refused("already_settled")


def test_only_a_hold_that_never_was_is_unknown(law: Law) -> None:
    law.when(settle("h", 1))
    law.then_refused("unknown_hold")
    law.when(c.CancelHold(hold="h"))
    law.then_refused("unknown_hold")


def test_a_cancelled_hold_gives_back_all(law: Law) -> None:
    law.given(hold("ann", "h", 60))
    answer = law.when(c.CancelHold(hold="h"))
    assert (answer.hold, answer.agent, answer.available) == ("h", "ann", tokens(100))


def test_an_unknown_or_released_agent_holds_nothing(law: Law) -> None:
    law.when(hold("bob", "h", 1))
    law.then_refused("unknown_agent")
    law.given(c.ReleaseBudget(agent="ann"))
    law.when(hold("ann", "h", 1))
    law.then_refused("already_released")


def test_a_black_agent_is_refused_with_budget_exhausted(law: Law) -> None:
    law.given(use("ann", 100))
    law.when(hold("ann", "h", 1))
    law.then_refused("budget_exhausted", retry_after_seconds=None, available=tokens(0))


def test_an_explicit_stop_answers_before_any_question_of_money(law: Law) -> None:
    law.given(allocate("ann/1", 10, parent="ann"), use("ann/1", 10))
    law.given(c.Stop(agent="ann", reason="enough"))
    for agent, decided_by in (("ann", "stop"), ("ann/1", "ancestor_stop")):
        law.when(hold(agent, "h", 10_000))
        refusal = law.then_refused("agent_stopped", decided_by=decided_by, retry_after_seconds=None)
        assert "enough" in refusal.detail


def test_a_pause_refuses_every_hold_and_ends(law: Law) -> None:
    law.given(c.PauseAll(reason="audit"))
    law.when(hold("ann", "h", 1))
    assert law.then_refused("paused", decided_by="pause_all").detail == "audit"
    law.given(c.ResumeAll(), hold("ann", "h", 1))


def test_a_throttled_agent_is_refused_until_its_wait_is_over(law: Law) -> None:
    law.given(use("ann", 80, seconds=8))
    law.wait(3).when(hold("ann", "h", 1))
    law.then_refused("throttled", retry_after_seconds=5.0, decided_by="level")
    law.wait(5).given(hold("ann", "h", 1))


def test_a_hold_whose_id_was_forgotten_is_not_replaced_by_another() -> None:
    law = Law(fleet(1_000, idempotency_ids_max=2), allocate("ann", 100))
    law.given(hold("ann", "h", 60), c.Heartbeat(agent="ann"), c.Heartbeat(agent="ann"))
    assert "h" not in law.ledger.ids
    law.when(hold("ann", "h", 10))
    law.then_refused("idempotency_conflict", hold="h")
    law.given(c.CancelHold(hold="h"), c.Heartbeat(agent="ann"), c.Heartbeat(agent="ann"))
    law.when(hold("ann", "h", 10))
    law.then_refused("idempotency_conflict")
