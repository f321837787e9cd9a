"""Under limits, pauses and last calls, too, the plain case is decided as the general path decides it."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.config.amounts import Budget, Usage
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Refusal
from tests.support.core import fleet, submit
from tests.support.examples import examples
from tests.support.plain_limits import limited_session
from tests.support.plain_pairs import PROFILE, Pair

FAR = 10**9
EVERY_KIND: list[dict[str, Any]] = [
    {"name": "day", "per": "label:user", "window": "day", "max": {"tokens": FAR, "requests": FAR}},
    {"name": "all", "window": "total", "max": {"cost_usd": 1_000, "concurrent": 90}, "then": "refuse"},
    {"name": "hour", "per": "account", "window": "hour", "max": {"time_seconds": FAR}, "then": "warn"},
    {"name": "plan", "match": {"product": "shop"}, "window": {"hours": 5, "from": "first_use"}, "max": {"tokens": FAR}},
    {"name": "pace", "per": "model", "window": {"seconds": 60}, "max": {"requests": FAR}, "then": "wait"},
]
OWN = [{"window": "day", "max": {"tokens": FAR}}]


@settings(PROFILE, max_examples=examples(600))
@given(st.integers(0, 2**64))
def test_any_use_under_limits_is_decided_as_on_the_general_path(seed: int) -> None:
    pair, steps = Pair(), limited_session(seed)
    assert not isinstance(pair.ask(*steps[0]), Refusal)
    pair.play(steps[1:])


def limited(*limits: dict[str, Any], budget: Budget | None = None, **config: Any) -> Pair:
    """A fleet with these limits, and an agent that has a budget of its own and a limit of its own."""
    pair = Pair()
    given = Budget(tokens=10**6, cost_usd=Decimal(100)) if budget is None else budget
    opened = c.AllocateBudget(agent="ann", budget=given, product="shop", labels={"user": "u-1"}, limits=OWN)
    pair.play([(fleet(tokens=10**9, limits=list(limits), **config), 0), (opened, 0)])
    return pair


def used(tokens: int, **said: Any) -> c.ReportUsage:
    return c.ReportUsage(agent="ann", usage=Usage(tokens=tokens, cost_usd=Decimal("0.01")), **said)


def held(tokens: int, id: str, **said: Any) -> c.Reserve:
    return c.Reserve(agent="ann", estimate=Budget(tokens=tokens, cost_usd=Decimal("0.01")), id=id, **said)


def test_far_from_limits_of_every_kind_all_is_decided_in_one_go() -> None:
    pair = limited(*EVERY_KIND)
    pair.ask(used(5, model="writer"))
    for number in range(3):
        pair.ask(held(5, f"h{number}", model="writer"), 20)
        pair.ask(c.Settle(hold=f"h{number}", usage=Usage(tokens=4, cost_usd=Decimal("0.01")), model="writer"), 30)
        pair.ask(used(5, model="writer"), 30)
    assert pair.quick == 10


def test_the_first_hold_that_a_limit_counts_is_granted_in_one_go_while_there_is_room_for_counters() -> None:
    for counters, quick in ((6, 1), (5, 0)):
        pair = limited(*EVERY_KIND, limits_counters_max=counters)
        pair.ask(held(5, "h", model="writer"))
        assert pair.quick == quick


def test_who_shares_a_counter_with_others_is_not_granted_what_they_have_used() -> None:
    pair = limited({"name": "cap", "per": "label:user", "window": "day", "max": {"tokens": 100}}, limits_counters_max=1)
    pair.ask(c.AllocateBudget(agent="bob", budget=Budget(tokens=10**6)))
    for user, tokens in (("u-2", 1), ("u-3", 100)):
        pair.ask(c.ReportUsage(agent="bob", usage=Usage(tokens=tokens), labels={"user": user}))
    pair.ask(c.LoadConfig(config={"limits_counters_max": 50}))
    assert pair.ask(held(1, "h")).code == "limit_reached"


def test_what_runs_may_still_use_leaves_less_room() -> None:
    cap = {"name": "cap", "window": "day", "max": {"tokens": 1_000}}
    pair = limited(cap, token_budgets={"backend-engineer": 300})
    pair.ask(submit("T", estimated_tokens=20))
    assert pair.ask(held(750, "h")).code == "limit_reached"
    assert not isinstance(pair.ask(held(600, "g")), Refusal)
    assert pair.quick == 0


def test_a_hold_comes_just_below_a_line_in_one_go_and_onto_it_on_the_general_path() -> None:
    for tokens, quick in ((69, 1), (70, 0)):
        pair = limited({"name": "cap", "window": "day", "max": {"tokens": 100}})
        pair.ask(used(10))
        pair.ask(held(tokens, "h"))
        assert pair.quick == 1 + quick


def test_what_others_hold_leaves_less_room() -> None:
    pair = limited({"name": "cap", "window": "day", "max": {"tokens": 100}, "alert_at_percent": [100]})
    pair.ask(used(10))
    assert not isinstance(pair.ask(held(60, "h")), Refusal)
    assert pair.ask(held(31, "g")).code == "limit_reached"
    assert not isinstance(pair.ask(held(29, "i")), Refusal)


def test_what_the_tokens_may_cost_that_a_run_holds_leaves_less_room() -> None:
    cap = {"name": "cap", "window": "day", "max": {"cost_usd": 1}}
    pair = limited(cap, token_budgets={"backend-engineer": 300})
    pair.ask(p.LoadPrices(prices={"writer-1": {"input": 1_000, "output": 1_000}}))
    pair.ask(submit("T", estimated_tokens=20, model="writer-1"))
    pair.ask(c.Reserve(agent="T", estimate=Budget(tokens=300)))
    assert pair.plain.limits.states["cap"].counters["fleet"].committed == 0
    assert pair.ask(c.Reserve(agent="ann", estimate=Budget(cost_usd=Decimal("0.75")))).code == "limit_reached"


def test_the_report_that_comes_to_a_percentage_alerts_operators_in_one_go() -> None:
    pair = limited({"name": "cap", "window": "day", "max": {"tokens": 100}, "then": "refuse"})
    pair.ask(used(79))
    assert [type(event) for event in pair.events] == [e.UsageReported]
    pair.ask(used(1))
    assert [type(event) for event in pair.events] == [e.UsageReported, e.LimitLine, e.AlertRaised]
    assert pair.quick == 2


def test_a_report_that_passes_a_limit_is_answered_with_what_that_says() -> None:
    pair = limited({"name": "cap", "window": {"seconds": 60}, "max": {"tokens": 100}, "then": "wait"})
    assert pair.ask(used(99)).action == "continue"
    answer = pair.ask(used(1))
    assert (answer.action, answer.decided_by, pair.quick) == ("throttle", "limit:cap", 2)
    assert pair.ask(used(1), 62.0).action == "continue"


def test_what_a_settlement_releases_is_free_again() -> None:
    pair = limited({"name": "cap", "window": "day", "max": {"tokens": 100}, "alert_at_percent": [100]})
    pair.ask(used(10))
    pair.ask(held(80, "h"))
    pair.ask(c.Settle(hold="h", usage=Usage(tokens=1)))
    pair.ask(held(80, "g"))
    assert pair.quick == 4


def test_where_a_provider_has_refused_a_request_no_hold_is_granted_in_one_go() -> None:
    pair = limited({"name": "pace", "window": {"seconds": 60}, "max": {"requests": FAR}, "then": "wait"})
    pair.ask(used(10, model="writer"))
    pair.ask(c.ReportUsage(agent="ann", model="writer", rate_limited=True, retry_after_seconds=Decimal(5)))
    assert pair.ask(held(1, "h", model="writer")).code == "limit_reached"
    assert not isinstance(pair.ask(held(1, "g", model="writer"), 6.0), Refusal)
    assert pair.quick == 2


def test_the_level_of_an_account_without_a_carve_out_follows_from_its_limits() -> None:
    pair = Pair()
    own = [{"window": "day", "max": {"tokens": 100}}]
    pair.play([(fleet(tokens=10**9), 0), (c.AllocateBudget(agent="ann", limits=own), 0)])
    for tokens, level in ((49, "green"), (50, "red"), (1, "black")):
        assert pair.ask(c.ReportUsage(agent="ann", usage=Usage(tokens=tokens))).status == level
    assert pair.quick == 2
    assert pair.ask(held(1, "h")).code == "limit_reached"


def test_the_level_of_an_account_without_a_carve_out_may_follow_from_what_it_holds() -> None:
    pair, levels = Pair(), []
    own = [{"window": "day", "max": {"requests": 10}}]
    pair.play([(fleet(tokens=10**9), 0), (c.AllocateBudget(agent="ann", limits=own), 0)])
    for number in range(7):
        assert not isinstance(pair.ask(held(1, f"h{number}", model="writer")), Refusal)
        levels += [event.level for event in pair.events if isinstance(event, e.LevelChanged)]
    assert levels == ["yellow"]


# --- pauses and last calls --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("product", "quick"), [("shop", 0), ("site", 2)])
def test_where_a_product_is_paused_the_others_go_on_in_one_go(product: str, quick: int) -> None:
    pair = limited(products={product: {}})
    pair.ask(c.LoadConfig(config={"products": {product: {"paused": True}}}))
    assert pair.ask(used(1)).action == ("stop" if product == "shop" else "continue")
    assert isinstance(pair.ask(held(1, "h")), Refusal) == (product == "shop")
    assert pair.quick == quick


def test_where_all_is_paused_by_configuration_nothing_is_plain() -> None:
    pair = limited(manual_override={"pause_all_agents": False})
    pair.ask(c.LoadConfig(config={"manual_override": {"pause_all_agents": True}}))
    assert pair.ask(used(1)).action == "stop"
    assert pair.quick == 0


def test_a_hold_leaves_what_is_kept_for_a_last_call() -> None:
    pair = limited(budget=Budget(tokens=1_000), enforcement={"last_call": {"percent": 10}})
    pair.ask(c.ReportUsage(agent="ann", usage=Usage(tokens=10)))
    pair.ask(c.Reserve(agent="ann", estimate=Budget(tokens=890)))
    assert pair.quick == 2
    assert pair.ask(c.Reserve(agent="ann", estimate=Budget(tokens=1))).code == "budget_exhausted"


def test_a_last_call_is_given_with_the_report_that_comes_near_to_it() -> None:
    pair = limited(budget=Budget(tokens=1_000), enforcement={"last_call": {"percent": 60}})
    pair.ask(c.ReportUsage(agent="ann", usage=Usage(tokens=100)))
    assert pair.ask(c.ReportUsage(agent="ann", usage=Usage(tokens=200))).last_call
    assert [type(event) for event in pair.events] == [e.UsageReported, e.LastCallGiven]
    assert pair.quick == 2
