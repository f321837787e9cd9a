"""Usage with a source or a time of its own, put to another policy: it is recorded once there, too, when it was used."""

import datetime as dt
from random import Random
from typing import Any

import pytest

from tallystick.events import catalog as e
from tallystick.events.log.store import Record
from tallystick.whatif.message_filter import HISTORY
from tallystick.whatif.question import Question
from tallystick.whatif.rerun import Rerun
from tests.support.core import START
from tests.support.whatif import (
    allocate,
    ask,
    events_of,
    first_mismatch,
    log,
    policy,
    reproduce,
    rerun_with_events,
    reserve,
    sealed_again,
    settle,
    use,
)

LATER = 26 * 3_600
"""Seconds from the start to the afternoon of the day after."""
STRICT = policy(enforcement={"warn_at": "0.5", "throttle_at": "0.5", "degrade_at": "0.5", "stop_at": "0.5"})
"""Stops an agent that has used half of its budget."""


def stamp(seconds: float) -> str:
    return (START + dt.timedelta(seconds=seconds)).isoformat()


def said(source: str, tokens: int, agent: str = "a", **rest: Any) -> dict[str, Any]:
    return use(agent, tokens, source_id=source, **rest)


def used(rerun: Rerun) -> tuple[int, int, int, int]:
    """Tokens used in the log, used under the other policy, saved, and used there beyond the log."""
    saved = rerun.message_filter.saved_in_all.used[0]
    return rerun.recorded.used[0], rerun.other.used[0], saved, rerun.message_filter.beyond_log[0]


# --- sources ----------------------------------------------------------------------------------------------------------


def test_under_the_same_policy_every_event_of_a_log_with_sources_is_made_again() -> None:
    records = log(
        *(allocate("a", 5_000), allocate("b", 2_000)),
        *(said("m", 100), said("m", 150), said("m", 150, "b"), said("m", 120)),
        *(reserve("b", "h", 400), settle("h", 160, source_id="m"), reserve("b", "g", 400)),
        *(settle("g", 200, source_id="n", final=False), settle("g", 300, source_id="n"), said("n", 350)),
        *(said("old", 70, occurred_at=stamp(-3_600)), said("old", 90, occurred_at=stamp(-3_600))),
    )
    rerun, events = rerun_with_events(records, Question(policy()))
    assert events == events_of(records)
    assert rerun.difference is None
    assert used(rerun) == (160 + 350, 160 + 350, 0, 0)
    assert reproduce(records).decisions


def test_where_the_first_message_of_a_source_is_not_sent_the_next_one_that_the_log_has_is_recorded_whole() -> None:
    """The log has 600, and 150 more of the same source from another agent. Where a is stopped, b says all of it."""
    records = log(
        *(allocate("a", 1_000), allocate("b", 2_000), use("a", 500)),
        *(said("m", 100), said("m", 150, "b")),
    )
    rerun = ask(records, Question(STRICT))
    assert rerun.recorded.agents["a"].used[0] == 650
    assert (rerun.other.agents["a"].used[0], rerun.other.agents["b"].used[0]) == (500, 150)
    assert used(rerun) == (650, 650, 0, 0), "nothing of it is saved"


def test_a_settlement_of_what_is_recorded_there_ends_its_hold() -> None:
    records = log(allocate("a", 5_000), said("m", 300), reserve("a", "h", 400), settle("h", 300, source_id="m"))
    rerun = ask(records, Question(policy(minimum_share_percent=1)))
    assert used(rerun) == (300, 300, 0, 0)
    assert not rerun.other.ledger.holds


def test_a_larger_figure_of_a_source_is_saved_with_what_it_adds() -> None:
    records = log(allocate("a", 1_000), said("m", 100), use("a", 450), said("m", 180))
    assert used(ask(records, Question(STRICT))) == (630, 550, 80, 0)


def test_what_an_operator_says_of_a_source_holds_from_whichever_message_it_is_recorded_there() -> None:
    messages = [allocate("a", 1_000), allocate("b", 2_000), use("a", 500), said("m", 100), said("m", 150, "b")]
    records = log(*messages, corrected(log(*messages), 120))
    assert used(ask(records, Question(STRICT))) == (620, 620, 0, 0)
    assert used(ask(records, Question(policy()))) == (620, 620, 0, 0)
    alone = [allocate("a", 1_000), use("a", 500), said("m", 100), said("m", 150)]
    records = log(*alone, corrected(log(*alone), 120))
    assert used(ask(records, Question(STRICT))) == (620, 500, 120, 0)


@pytest.mark.parametrize("forged", ["counts", "counted", "day"])
def test_what_a_repeat_of_a_source_is_said_to_have_changed_is_not_believed(forged: str) -> None:
    records = log(allocate("a", 1_000), said("m", 100), said("m", 180))
    (position,) = [event.position for event in events_of(records) if isinstance(event, e.UsageCorrected)]

    def change(event: Any) -> Any:
        if forged == "day":
            event.day = "2026-01-01"
        else:
            setattr(event, forged, e.Said(tokens=177))
        return event

    mismatch, _ = first_mismatch(sealed_again(records, position, change))
    assert mismatch.position == position


# --- times of their own -----------------------------------------------------------------------------------------------


def yesterday(*more: dict[str, Any]) -> list[Record]:
    """The second day of a fleet with 1,000 tokens a day, in which 700 of the day before are reported."""
    return log(
        allocate("a", 5_000),
        {**use("a", 200), "at": LATER},
        said("m", 700, occurred_at=stamp(3_600)),
        *more,
        daily_limits={"max_tokens_total": 1_000},
    )


def corrected(records: list[Record], tokens: int) -> dict[str, Any]:
    """A message with which the dated record of a log is corrected."""
    position = next(event.position for event in events_of(records) if getattr(event, "source_id", None) == "m")
    return {"type": "CorrectUsage", "position": position, "usage": {"tokens": tokens}, "reason": "the bill"}


@pytest.mark.parametrize(
    "forged",
    [
        {"counts_on": "2026-03-05"},
        {"occurred_at": START + dt.timedelta(hours=2)},
        {"occurred_at": None},
        {"history": True},
        {"past_windows": []},
        {"past_windows": ["day", "week"]},
        {"source_id": "n"},
    ],
    ids=str,
)
def test_what_a_record_says_of_when_it_was_used_is_not_believed(forged: dict[str, Any]) -> None:
    records = log(
        *(allocate("a", 5_000), {**use("a", 200), "at": LATER}, said("m", 700, occurred_at=stamp(3_600))),
        limits=[{"name": window, "window": window, "max": {"tokens": 9_000}} for window in ("day", "week")],
    )
    reproduce(records)
    position = next(event.position for event in events_of(records) if getattr(event, "source_id", None) == "m")

    def change(event: Any) -> Any:
        for name, value in forged.items():
            assert getattr(event, name) != value
            setattr(event, name, value)
        return event

    assert first_mismatch(sealed_again(records, position, change))[0].position == position


def test_what_was_used_yesterday_counts_yesterday_under_another_policy_as_well() -> None:
    rerun = ask(yesterday(), Question(policy(daily_limits={"max_tokens_total": 900})))
    assert rerun.other.ledger.used_today[0] == 200
    assert used(rerun) == (900, 900, 0, 0)


def test_a_correction_of_what_was_used_yesterday_counts_yesterday_under_another_policy_as_well() -> None:
    records = yesterday(corrected(yesterday(), 100))
    (there,) = [event for event in events_of(records) if isinstance(event, e.UsageCorrected)]
    reproduce(records)
    rerun, events = rerun_with_events(records, Question(policy(daily_limits={"max_tokens_total": 900})))
    (here,) = [event for event in events if isinstance(event, e.UsageCorrected)]
    assert (there.day, here.day) == ("2026-03-04", "2026-03-04")
    assert rerun.other.ledger.used_today[0] == 200
    assert used(rerun) == (300, 300, 0, 0)


def test_a_larger_figure_of_what_was_used_yesterday_counts_yesterday_under_another_policy_as_well() -> None:
    records = yesterday(said("m", 800), said("m", 850, occurred_at=stamp(LATER)))
    rerun = ask(records, Question(policy(daily_limits={"max_tokens_total": 900})))
    assert rerun.other.ledger.used_today[0] == 200
    assert used(rerun) == (1_050, 1_050, 0, 0)


def test_history_is_neither_used_nor_saved() -> None:
    """An agent that is stopped under the other policy reports what it used before the fleet was there."""
    before = stamp(-3_600)
    records = log(
        *(allocate("a", 1_000), use("a", 600), said("m", 5_000, occurred_at=before)),
        *(said("m", 6_000, occurred_at=before), use("a", 50, occurred_at=before)),
    )
    assert used(ask(records, Question(policy()))) == (600, 600, 0, 0)
    assert used(ask(records, Question(STRICT))) == (600, 600, 0, 0)


def test_what_is_history_in_the_period_of_another_policy_is_saved_and_says_why() -> None:
    rerun = ask(yesterday(), Question(policy(total_budget={"tokens": 10_000, "period": "day"})))
    assert used(rerun) == (900, 200, 700, 0)
    assert rerun.message_filter.saved_by_reason[HISTORY].used[0] == 700
    daily = log(
        *(allocate("a", 5_000), {**said("m", 700, occurred_at=stamp(3_600)), "at": LATER}),
        total_budget={"tokens": 10_000, "period": "day"},
    )
    assert used(ask(daily, Question(policy()))) == (0, 700, 0, 700)


def test_a_stop_does_not_prevent_what_was_used_before_it_and_is_reported_afterwards() -> None:
    """Under the other policy a is stopped after 100 s."""
    first = [allocate("a", 1_000), {**use("a", 500), "at": 100}]
    before, after = use("a", 30, occurred_at=stamp(99)), use("a", 7, occurred_at=stamp(101), at=300)
    assert used(ask(log(*first, {**before, "at": 200}, after), Question(STRICT))) == (537, 530, 7, 0)


def test_in_another_time_zone_it_may_have_been_used_on_another_day() -> None:
    """At 21:00 UTC of 4 March it is the day after in Tokyo, as it is at 14:00 UTC of 5 March."""
    records = log(allocate("a", 5_000), {**use("a", 200), "at": LATER}, said("m", 700, occurred_at=stamp(9 * 3_600)))
    assert ask(records, Question(policy())).other.ledger.used_today[0] == 200
    assert ask(records, Question(policy(timezone="Asia/Tokyo"))).other.ledger.used_today[0] == 900


# --- any session ------------------------------------------------------------------------------------------------------


def total(seed: int) -> dict[str, Any]:
    """The fleet's budget, with a period in every third session."""
    return {"tokens": 10_000, "cost_usd": "100", **({"period": "day"} if seed % 3 == 0 else {})}


def session(seed: int) -> list[Record]:
    """Three agents who use up their budgets, and report some sources several times, some of it late."""
    dice, at = Random(seed), 0.0
    messages = [allocate(name, dice.choice((300, 1_000, 3_000))) for name in "abc"]
    holds: list[str] = []
    for n in range(dice.randrange(5, 40)):
        at += dice.choice((1, 1, 600, 30_000))
        agent, tokens = dice.choice("abc"), dice.randrange(1, 200)
        more: dict[str, Any] = {"source_id": f"s-{dice.randrange(8)}", "at": at}
        if dice.random() < 0.4:
            more["occurred_at"] = stamp(at - dice.choice((5, 3_000, 40_000)))
        if dice.random() < 0.3:
            holds.append(f"h-{n}")
            messages.append({**reserve(agent, holds[-1], 200, ttl_seconds=3_600), "at": at})
        if holds and dice.random() < 0.4:
            messages.append(settle(holds.pop(), tokens, **more))
        else:
            messages.append(use(agent, tokens, **more))
    return log(*messages, total_budget=total(seed))


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_reported_again_all_usage_of_the_log_is_used_or_saved_under_another_policy(seed: int) -> None:
    records = session(seed)
    reproduce(records)
    same = ask(records, Question(policy(total_budget=total(seed))))
    assert same.difference is None
    recorded, other, saved, beyond = used(same)
    assert (other, saved, beyond) == (recorded, 0, 0)
    others = (Question(STRICT), Question(total={"tokens": 1_500}), Question(policy(total_budget=total(seed + 1))))
    for question in others:
        rerun = ask(records, question)
        recorded, other, saved, beyond = used(rerun)
        assert other + saved == recorded + beyond
        assert all(one.used[0] >= 0 for one in rerun.other.agents.values())
