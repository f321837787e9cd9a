"""A log with leases of agents, spent holds, last calls and learned estimates is decided again as it was."""

from typing import Any

from tallystick.events import catalog as e
from tallystick.whatif.question import Question
from tests.support.whatif import allocate, events_of, log, reproduce, reserve, settle, use
from tests.support.whatif import ask as put_to

MODEL = "claude-haiku-5-5"


def ask(agent: str, id: str, **rest: Any) -> dict[str, Any]:
    return {"type": "Reserve", "agent": agent, "id": id, "model": MODEL, "input_tokens": 10, **rest}


def test_what_such_a_log_decided_is_decided_again() -> None:
    taught = [
        {"type": "ReportUsage", "agent": "b", "model": MODEL, "input_tokens": 1, "output_tokens": n} for n in range(25)
    ]
    records = log(
        allocate("a", 1_000, lease_seconds=60),
        allocate("a/1", 100, parent="a", lease_seconds=30),
        allocate("b", 5_000),
        reserve("a", "h", 300, on_expiry="spend", ttl_seconds=40),
        reserve("a/1", "g", 50, on_expiry="spend", ttl_seconds=400),
        use("a", 500),
        *taught,
        ask("b", "learned"),
        ask("a", "needed"),
        settle("learned", 30),
        {**settle("h", 120), "at": 90},
        {**use("a", 1), "at": 300},
        {**settle("g", 20), "at": 400},
        {**reserve("b", "big", 5_000), "at": 410},
        {**reserve("b", "last", 1_000, last_call=True), "at": 420},
        until=2_000,
        enforcement={"last_call": {"percent": 20}},
    )
    seen = {type(event) for event in events_of(records)}
    assert seen >= {e.AgentLeaseEnded, e.HoldSpent, e.UsageCorrected, e.RequestRefused}
    assert reproduce(records).decisions


def test_what_an_expired_hold_was_spent_with_is_saved_where_the_hold_is_not_granted() -> None:
    held = reserve("a", "h", 300, on_expiry="spend", ttl_seconds=40)
    rerun = put_to(log(allocate("a", 1_000), held, until=100), Question(total={"tokens": 500}))
    assert (rerun.recorded.used[0], rerun.other.used[0], rerun.message_filter.saved_in_all.used[0]) == (300, 0, 300)


def test_a_late_settlement_replaces_what_is_saved_of_an_expired_hold() -> None:
    held = reserve("a", "h", 300, on_expiry="spend", ttl_seconds=40)
    late = {**settle("h", 120), "at": 90}
    rerun = put_to(log(allocate("a", 1_000), held, late, until=100), Question(total={"tokens": 500}))
    assert (rerun.recorded.used[0], rerun.other.used[0], rerun.message_filter.saved_in_all.used[0]) == (120, 0, 120)
