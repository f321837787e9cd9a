"""The plain case is decided as the general path decides it: the same events, the same answers, the same state."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.config.amounts import Budget, Usage
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Refusal
from tests.support.core import START, fleet, submit
from tests.support.examples import examples
from tests.support.plain_pairs import PROFILE, Pair
from tests.support.plain_sessions import PRICES, session
from tests.support.strategies import Step, commands


@PROFILE
@given(commands(60))
def test_any_session_goes_as_on_the_general_path(steps: list[Step]) -> None:
    Pair().play(steps)


@settings(PROFILE, max_examples=examples(400))
@given(st.integers(0, 2**64))
def test_any_use_is_decided_as_on_the_general_path(seed: int) -> None:
    pair, steps = Pair(), session(seed)
    assert not isinstance(pair.ask(*steps[0]), Refusal)
    pair.play(steps[1:])


# --- what is plain, and what is not -----------------------------------------------------------------------------------


@pytest.fixture
def pair() -> Pair:
    """A fleet without limits with an agent and a hold."""
    pair = Pair()
    pair.play(
        [
            (fleet(tokens=10**9), 0),
            (p.LoadPrices(prices=PRICES), 0),
            (c.AllocateBudget(agent="ann", budget=Budget(tokens=10**6)), 0),
        ]
    )
    return pair


USED = Usage(tokens=450, time_seconds=Decimal("2.3"), cost_usd=Decimal("0.011"))
HELD = Budget(tokens=450)


@pytest.mark.parametrize(
    "command",
    [
        c.ReportUsage(agent="ann", usage=USED),
        c.ReportUsage(agent="ann", usage=USED, model="gpt", operation="draft"),
        c.ReportUsage(agent="ann", model="writer-1", input_tokens=400, output_tokens=50, cached_tokens=100),
        c.ReportUsage(agent="ann", model="writer-1", provider_usage={"input_tokens": 9, "output_tokens": 4}),
        c.Reserve(agent="ann", estimate=HELD),
        c.Reserve(agent="ann", estimate=HELD, model="writer-1", operation="draft", on_expiry="spend"),
    ],
    ids=lambda command: msgspec.json.encode(command).decode()[9:],
)
def test_a_plain_message_is_decided_in_one_go(pair: Pair, command: c.Command) -> None:
    pair.ask(command)
    assert pair.quick == 1


def test_a_settlement_of_a_hold_that_stands_is_decided_in_one_go(pair: Pair) -> None:
    pair.ask(c.Reserve(agent="ann", estimate=HELD, id="h"))
    pair.ask(c.Settle(hold="h", usage=USED, model="writer-1", input_tokens=400, output_tokens=50))
    assert pair.quick == 2


@pytest.mark.parametrize(
    "command",
    [
        c.ReportUsage(agent="nobody", usage=USED),
        c.ReportUsage(agent="ann", usage=USED, labels={"user": "u-1"}),
        c.ReportUsage(agent="ann", usage=USED, operation="dr\u200baft"),
        c.ReportUsage(agent="ann", usage=USED, occurred_at=START),
        c.ReportUsage(agent="ann", usage=Usage(tokens=10**7)),
        c.ReportUsage(agent="ann", usage=Usage(tokens=5), model="unheard-of"),
        c.Reserve(agent="ann", estimate=Budget(tokens=10**7)),
        c.Reserve(agent="ann", estimate=HELD, dry_run=True),
        c.Settle(hold="none", usage=USED),
    ],
    ids=lambda command: msgspec.json.encode(command).decode()[9:],
)
def test_what_is_not_plain_is_left_to_the_general_path(pair: Pair, command: c.Command) -> None:
    pair.ask(command)
    assert pair.quick == 0


@pytest.mark.parametrize("limit", [{"max_tokens_total": 100}, {"max_cost_usd": 100}])
def test_a_hold_may_come_just_to_the_limit_of_the_day(limit: dict[str, Any]) -> None:
    for units, code in ((99, None), (100, None), (101, "daily_limit_reached")):
        pair = Pair()
        pair.play([(fleet(daily_limits=limit), 0)])
        pair.play([(c.AllocateBudget(agent="ann", budget=Budget(tokens=1_000)), 0)])
        wanted = Budget(tokens=units) if "max_tokens_total" in limit else Budget(cost_usd=Decimal(units))
        answer = pair.ask(c.Reserve(agent="ann", estimate=wanted))
        assert getattr(answer, "code", None) == code


def test_an_account_that_was_granted_nothing_holds_nothing_that_another_pays() -> None:
    pair = Pair()
    pair.play([(fleet(tokens=1_000), 0), (c.AllocateBudget(agent="ann", budget=Budget(tokens=0)), 0)])
    assert pair.ask(c.Reserve(agent="ann", estimate=Budget(cost_usd=Decimal(1)))).code == "budget_exhausted"


def test_an_account_beyond_its_bound_holds_nothing_that_another_pays() -> None:
    pair = Pair()
    opened = c.AllocateBudget(agent="ann", budget=Budget(tokens=100), overdraft_max=Budget(tokens=10))
    pair.play([(fleet(tokens=10**6), 0), (opened, 0)])
    pair.ask(c.Reserve(agent="ann", estimate=Budget(tokens=95)))
    pair.ask(c.ReportUsage(agent="ann", usage=Usage(tokens=30)))
    assert pair.plain.accounts["ann"].overdrawn
    assert pair.ask(c.Reserve(agent="ann", estimate=Budget(cost_usd=Decimal(1)))).code == "agent_stopped"


def test_what_a_settlement_leaves_over_fills_the_reserve_again() -> None:
    late = {"fleet": {"throttle_at": "1.3", "degrade_at": "1.3", "stop_at": "1.3"}}
    pair = Pair()
    pair.play([(fleet(tokens=1_000, emergency_reserve_percent=10, enforcement=late), 0)])
    pair.play([(c.AllocateBudget(agent="ann", budget=Budget(time_seconds=Decimal(900))), 0)])
    pair.ask(c.Reserve(agent="ann", estimate=Budget(tokens=500), id="h"))
    pair.ask(c.ReportUsage(agent="ann", usage=Usage(tokens=450)))
    assert pair.plain.in_reserve[0] == 50
    pair.ask(c.Settle(hold="h", usage=Usage(tokens=100)))
    assert [type(event) for event in pair.events] == [e.HoldSettled, e.CoverRepaid]


def test_a_run_that_uses_more_than_its_soft_mark_says_so_once() -> None:
    pair = Pair()
    pair.play([(fleet(10_000_000), 0), (submit("t"), 0)])
    seen: list[type[e.Event]] = []
    # A level begins at 60,000 and another one at 90,000. The soft mark lies between, where nothing else happens.
    for tokens in (65_000, 14_000, 2_000, 2_000):
        pair.ask(c.ReportUsage(agent="t", usage=Usage(tokens=tokens)))
        seen += map(type, pair.events)
    assert seen.count(e.TokenBudgetPassed) == 1


def test_a_hold_that_outlives_the_memory_of_its_id_keeps_it(pair: Pair) -> None:
    pair.ask(c.Reserve(agent="ann", estimate=HELD, id="h"))
    assert pair.ask(c.Reserve(agent="ann", estimate=HELD, id="h")).code == "idempotency_conflict"
    pair.ask(c.Settle(hold="h", usage=USED))
    assert pair.ask(c.Reserve(agent="ann", estimate=HELD, id="h")).code == "idempotency_conflict"


def test_the_first_report_after_an_outage_says_so(pair: Pair) -> None:
    pair.ask(c.ReportUsage(agent="ann", usage=USED))
    pair.ask(p.OpenFleet(), 3_600.0)
    pair.ask(c.ReportUsage(agent="ann", usage=USED))
    assert pair.quick == 2


def test_what_presses_on_the_fleet_slows_it_down_from_the_hold_on_that_does() -> None:
    pair = Pair()
    pair.play([(fleet(tokens=1_000), 0), (c.AllocateBudget(agent="ann", budget=Budget(tokens=1_000)), 0)])
    pair.ask(c.Reserve(agent="ann", estimate=Budget(tokens=990)))
    assert pair.plain.response > 0
    assert pair.quick == 0


def test_an_alert_of_the_day_is_given_with_the_report_that_comes_to_it() -> None:
    pair = Pair()
    pair.play([(fleet(daily_limits={"max_tokens_total": 100, "alert_at_percent": 80}), 0)])
    pair.play([(c.AllocateBudget(agent="ann", budget=Budget(tokens=5_000)), 0)])
    for tokens in (79, 1):
        pair.ask(c.ReportUsage(agent="ann", usage=Usage(tokens=tokens)))
    assert pair.quick == 1
    assert e.AlertRaised in map(type, pair.events)


def test_an_alert_of_a_products_day_is_given_with_the_report_that_comes_to_it() -> None:
    pair = Pair()
    pair.play([(fleet(products={"shop": {"token_budget_daily": 1_000}}), 0)])
    pair.play([(c.AllocateBudget(agent="ann", budget=Budget(tokens=5_000), product="shop"), 0)])
    for _ in range(3):
        pair.ask(c.ReportUsage(agent="ann", usage=Usage(tokens=300)))
    assert pair.quick == 2
    assert [type(event) for event in pair.events] == [e.UsageReported, e.LimitLine, e.AlertRaised]
