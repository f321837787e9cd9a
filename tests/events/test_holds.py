import datetime as dt
from decimal import Decimal

import pytest

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tests.support.core import START, Core, allocate, fleet, hold, settle, tokens, use


@pytest.fixture
def core() -> Core:
    return Core(fleet(1_000), allocate("ann", 100))


def test_a_hold_sets_its_estimate_aside(core: Core) -> None:
    answer = core.when(hold("ann", "h", 60))
    assert (answer.hold, answer.amount, answer.available) == ("h", tokens(60), tokens(40))
    assert answer.expires_at == "2026-03-04T12:05:00Z"
    status = core.status("ann")
    assert (status.held, status.remaining, status.consumed) == (tokens(60), tokens(40), tokens(0))


def test_a_hold_for_more_than_is_free_is_refused_with_what_there_is(core: Core) -> None:
    core.given(hold("ann", "h", 60))
    core.when(hold("ann", "i", 41))
    refusal = core.then_refused("budget_exhausted", retry_after_seconds=300.0)
    assert (refusal.numbers["available"], refusal.numbers["requested"]) == (tokens(40), tokens(41))


def test_waiting_cannot_help_where_no_hold_of_its_own_would_come_back(core: Core) -> None:
    core.when(hold("ann", "h", 101))
    core.then_refused("budget_exhausted", retry_after_seconds=None)
    core.given(use("ann", 60), hold("ann", "h", 20)).wait(10)
    core.when(hold("ann", "i", 41))
    core.then_refused("budget_exhausted", retry_after_seconds=None)
    core.when(hold("ann", "i", 30))
    core.then_refused("budget_exhausted", retry_after_seconds=290.0)


def test_many_that_ask_at_the_same_moment_are_never_granted_more_than_there_is(core: Core) -> None:
    answers = [core.when(hold("ann", f"h{number}", 7)) for number in range(50)]
    assert sum(hasattr(answer, "hold") for answer in answers) == 14
    assert core.account("ann").held[0] == 98


def test_a_hold_of_two_dimensions_is_granted_whole_or_not_at_all() -> None:
    core = Core(fleet(1_000, "10"), allocate("ann", 100, "1"))
    core.when(hold("ann", "h", 50, "1.01"))
    refusal = core.then_refused("budget_exhausted")
    assert "cost_usd" in refusal.detail
    assert (refusal.numbers["available"].tokens, refusal.numbers["available"].cost_usd) == (100, "1.00")
    core.given(hold("ann", "h", 50, "1"))
    assert core.free("ann") == (50, 0, 0)


def test_a_hold_that_was_forgotten_expires_at_its_moment_exactly(core: Core) -> None:
    core.given(hold("ann", "h", 100))
    core.wait(299.999999)
    core.when(hold("ann", "i", 100))
    core.then_refused("budget_exhausted")
    assert core.due == []
    core.when(hold("ann", "j", 100), at=START + dt.timedelta(seconds=300))
    (ended,) = core.due
    assert isinstance(ended, e.HoldEnded)
    assert (ended.hold, ended.how, ended.by, ended.id) == ("h", "expired", "clock", "")
    core.then_events(e.HoldPlaced)


def test_a_hold_is_gone_before_its_settlement_at_the_same_moment(core: Core) -> None:
    core.given(hold("ann", "h", 100, ttl_seconds=Decimal("1.5")))
    answer = core.when(settle("h", 10), at=START + dt.timedelta(seconds=1.5))
    assert [type(event) for event in core.decided.events] == [e.HoldEnded, e.UsageReported]
    assert answer.late is True


def test_the_clock_gives_back_what_expired_without_being_asked(core: Core) -> None:
    core.given(hold("ann", "h", 30), hold("ann", "i", 30, ttl_seconds=Decimal(10))).wait(10)
    core.pass_time()
    assert [event.hold for event in core.every(e.HoldEnded)] == ["i"]
    assert core.free("ann")[0] == 70


def test_holds_expire_in_the_order_of_their_moments(core: Core) -> None:
    core.given(*(hold("ann", f"h{ttl}", 10, ttl_seconds=Decimal(ttl)) for ttl in (30, 10, 20))).wait(60)
    core.pass_time()
    assert [event.hold for event in core.every(e.HoldEnded)] == ["h10", "h20", "h30"]


def test_a_heartbeat_moves_the_expiry_on_by_the_time_to_live(core: Core) -> None:
    core.given(hold("ann", "h", 30, ttl_seconds=Decimal(10))).wait(9)
    answer = core.when(c.Heartbeat(hold="h"))
    assert answer.expires_at == "2026-03-04T12:00:19Z"
    core.wait(9).pass_time()
    assert core.account("ann").held[0] == 30
    core.wait(1).pass_time()
    assert core.account("ann").held[0] == 0


def test_a_heartbeat_extends_a_hold_from_when_it_would_expire_and_each_adds_to_the_one_before(core: Core) -> None:
    core.given(hold("ann", "h", 30, ttl_seconds=Decimal(10))).wait(9)
    assert core.when(c.Heartbeat(hold="h", extend_seconds=Decimal(5))).expires_at == "2026-03-04T12:00:15Z"
    assert core.when(c.Heartbeat(hold="h", extend_seconds=Decimal(5))).expires_at == "2026-03-04T12:00:20Z"
    core.wait(10).pass_time()
    assert core.account("ann").held[0] == 30
    core.wait(1).pass_time()
    assert core.account("ann").held[0] == 0


def test_no_hold_is_extended_beyond_a_week_from_now_nor_made_shorter_by_that(core: Core) -> None:
    week = Decimal(604_800)
    core.given(hold("ann", "h", 30, ttl_seconds=week)).wait(3600)
    assert core.when(c.Heartbeat(hold="h", extend_seconds=week)).expires_at == "2026-03-11T13:00:00Z"
    assert core.when(c.Heartbeat(hold="h", extend_seconds=Decimal(1))).expires_at == "2026-03-11T13:00:00Z"


def test_a_hold_is_extended_from_now_or_from_its_expiry_and_nothing_else_is(core: Core) -> None:
    core.given(hold("ann", "h", 30))
    core.when(c.Heartbeat(hold="h", ttl_seconds=Decimal(5), extend_seconds=Decimal(5)))
    core.then_refused("invalid_message")
    core.when(c.Heartbeat(agent="ann", extend_seconds=Decimal(5)))
    core.then_refused("invalid_message")
    core.when(c.Heartbeat(hold="h", extend_seconds=Decimal(0)))
    core.then_refused("invalid_amount")


def test_a_heartbeat_names_exactly_one_of_agent_and_hold(core: Core) -> None:
    for command in (c.Heartbeat(), c.Heartbeat(agent="ann", hold="h")):
        core.when(command)
        core.then_refused("invalid_message")
    core.when(c.Heartbeat(hold="h"))
    core.then_refused("unknown_hold")
    assert core.when(c.Heartbeat(agent="ann")).action == "continue"
    core.then_events(e.AgentHeard)


@pytest.mark.parametrize(("used", "free"), [(20, 80), (60, 40), (75, 25), (0, 100)])
def test_a_settlement_replaces_the_hold_in_one_step(core: Core, used: int, free: int) -> None:
    core.given(hold("ann", "h", 60))
    answer = core.when(settle("h", used))
    core.then_events(e.HoldSettled, *[e.LevelChanged] * (used >= 50))
    assert (answer.remaining, answer.late) == (tokens(free), False)
    assert (core.account("ann").held[0], core.account("ann").spent[0]) == (0, used)


def test_settling_twice_is_already_settled(core: Core) -> None:
    core.given(hold("ann", "h", 60), settle("h", 10))
    core.when(settle("h", 10))
    core.then_refused("already_settled", hold="h", ended="settled", ended_at="2026-03-04T12:00:00Z")


@pytest.mark.parametrize("end", ["cancelled", "expired", "released"])
def test_a_settlement_after_the_end_is_late_usage_and_happens_once(core: Core, end: str) -> None:
    core.given(hold("ann", "h", 60))
    match end:
        case "cancelled":
            core.given(c.CancelHold(hold="h"))
        case "expired":
            core.wait(300).pass_time()
        case _:
            core.given(c.ReleaseBudget(agent="ann"))
    assert core.only(e.HoldEnded).how == end
    answer = core.when(settle("h", 70))
    assert answer.late is True
    event = core.only(e.UsageReported)
    assert (event.agent, event.tokens, event.hold, event.late) == ("ann", 70, "h", True)
    assert core.ledger.consumed[0] == 70
    core.when(settle("h", 70))
    core.then_refused("already_settled")


def test_only_a_hold_that_never_was_is_unknown(core: Core) -> None:
    core.when(settle("h", 1))
    core.then_refused("unknown_hold")
    core.when(c.CancelHold(hold="h"))
    core.then_refused("unknown_hold")


def test_a_cancelled_hold_gives_back_all(core: Core) -> None:
    core.given(hold("ann", "h", 60))
    answer = core.when(c.CancelHold(hold="h"))
    assert (answer.hold, answer.agent, answer.available) == ("h", "ann", tokens(100))


def test_an_unknown_or_released_agent_holds_nothing(core: Core) -> None:
    core.when(hold("bob", "h", 1))
    core.then_refused("unknown_agent")
    core.given(c.ReleaseBudget(agent="ann"))
    core.when(hold("ann", "h", 1))
    core.then_refused("already_released")


def test_a_black_agent_is_refused_with_budget_exhausted(core: Core) -> None:
    core.given(use("ann", 100))
    core.when(hold("ann", "h", 1))
    core.then_refused("budget_exhausted", retry_after_seconds=None, available=tokens(0))


def test_an_explicit_stop_answers_before_any_question_of_money(core: Core) -> None:
    core.given(allocate("ann/1", 10, parent="ann"), use("ann/1", 10))
    core.given(c.Stop(agent="ann", reason="enough"))
    for agent, decided_by in (("ann", "stop"), ("ann/1", "ancestor_stop")):
        core.when(hold(agent, "h", 10_000))
        refusal = core.then_refused("agent_stopped", decided_by=decided_by, retry_after_seconds=None)
        assert "enough" in refusal.detail


def test_a_pause_refuses_every_hold_and_ends(core: Core) -> None:
    core.given(c.PauseAll(reason="audit"))
    core.when(hold("ann", "h", 1))
    assert core.then_refused("paused", decided_by="pause_all").detail == "audit"
    core.given(c.ResumeAll(), hold("ann", "h", 1))


def test_a_throttled_agent_is_refused_until_its_wait_is_over(core: Core) -> None:
    core.given(use("ann", 80, seconds=8))
    core.wait(3).when(hold("ann", "h", 1))
    core.then_refused("throttled", retry_after_seconds=5.0, decided_by="level")
    core.wait(5).given(hold("ann", "h", 1))


def test_a_hold_whose_id_was_forgotten_is_not_replaced_by_another() -> None:
    core = Core(fleet(1_000, idempotency_ids_max=2), allocate("ann", 100))
    core.given(hold("ann", "h", 60), c.Heartbeat(agent="ann"), c.Heartbeat(agent="ann"))
    assert "h" not in core.ledger.ids
    core.when(hold("ann", "h", 10))
    core.then_refused("idempotency_conflict", hold="h")
    core.given(c.CancelHold(hold="h"), c.Heartbeat(agent="ann"), c.Heartbeat(agent="ann"))
    core.when(hold("ann", "h", 10))
    core.then_refused("idempotency_conflict")
