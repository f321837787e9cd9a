"""What limits are used for: users in a team, the keys of a gateway, a subscription, the pace of a provider."""

import datetime as dt
import tracemalloc
from typing import Any

import pytest

from tallystick.events import messages as c
from tallystick.events.messages.replies import Refusal
from tests.support.core import START, Core, allocate, budget, fleet, use

NONE = {"daily_limits": {"max_tokens_total": None, "max_cost_usd": None}, "max_concurrent": {"total": None}}


def spend(core: Core, agent: str, id: str, cost: str, **rest: Any) -> bool:
    """Reserve and settle; whether it was granted."""
    answer = core.when(c.Reserve(agent=agent, id=id, estimate=budget(None, None, cost), **rest))
    if isinstance(answer, Refusal):
        return False
    core.given(c.Settle(hold=id, usage=budget(None, None, cost)))
    return True


def test_ten_members_with_at_most_5_dollars_each_share_a_team_of_20() -> None:
    limits = [{"name": "member", "per": "label:member", "window": "month", "max": {"cost_usd": 5}}]
    core = Core(fleet(None, "1000", limits=limits, **NONE), allocate("team", None, "20"))
    spent = dict.fromkeys((f"m{n}" for n in range(10)), 0)
    for n in range(100):
        member = f"m{n * 7 % 10}"
        spent[member] += spend(core, "team", f"call-{n}", "0.75", labels={"member": member})
    assert sum(spent.values()) == 26, "26 calls are $19.50, and another is more than the team has"
    assert max(spent.values()) <= 6, "6 calls are $4.50, and 7 more than a member may spend"
    core.when(c.Reserve(agent="team", estimate=budget(None, None, "0.75"), labels={"member": "m0"}))
    core.then_refused("budget_exhausted")
    core.given(c.BorrowFromPool(agent="team", amount=budget(None, None, "20")))
    for n in range(10):
        spend(core, "team", f"more-{n}", "0.75", labels={"member": "m0"})
    core.when(c.Reserve(agent="team", estimate=budget(None, None, "0.75"), labels={"member": "m0"}))
    core.then_refused("limit_reached", limit="member", value="m0", max="5.00", used="4.50")


def test_budgets_of_a_gateway_by_key_user_team_and_provider_all_hold() -> None:
    limits = [
        {"name": "key", "per": "label:key", "window": {"days": 30, "from": "first_use"}, "max": {"cost_usd": 10}},
        {"name": "user", "per": "label:user", "window": "day", "max": {"cost_usd": 4}},
        {"name": "team", "per": "label:team", "window": "month", "max": {"cost_usd": 12}},
        {"name": "provider", "per": "provider", "match": {"provider": "anthropic"}, "window": "day",
         "max": {"cost_usd": 6}},
    ]  # fmt: skip
    core = Core(fleet(None, "1000", limits=limits, **NONE), allocate("gateway", None, "500"))
    labels = {"key": "k1", "user": "ann", "team": "red"}
    assert spend(core, "gateway", "1", "4", labels=labels, model="sonnet")
    assert not spend(core, "gateway", "2", "0.01", labels=labels), "the user's day"
    assert core.then_refused("limit_reached").numbers["limit"] == "user"
    assert not spend(core, "gateway", "3", "2.01", labels={**labels, "user": "ben"}, model="opus")
    assert core.then_refused("limit_reached").numbers["limit"] == "provider"
    assert spend(core, "gateway", "4", "4", labels={**labels, "user": "ben"}, model="gpt-5")
    core.now = dt.datetime(2026, 3, 5, 0, 0, tzinfo=dt.UTC)
    assert spend(core, "gateway", "5", "2", labels=labels, model="sonnet")
    assert not spend(core, "gateway", "6", "1", labels=labels, model="sonnet")
    assert core.then_refused("limit_reached").numbers["limit"] == "key"
    assert spend(core, "gateway", "7", "2", labels={**labels, "key": "k2"}, model="sonnet")
    assert not spend(core, "gateway", "8", "1", labels={**labels, "key": "k3", "user": "cat"})
    assert core.then_refused("limit_reached").numbers["limit"] == "team"


def test_a_plan_of_5_hours_and_7_days_stops_who_reports_until_a_window_ends() -> None:
    limits = [
        {"name": "plan-5h", "window": {"hours": 5, "from": "first_use"}, "max": {"tokens": 900_000}},
        {"name": "plan-7d", "window": {"days": 7, "from": "first_use"}, "max": {"tokens": 2_000_000}},
    ]
    core = Core(fleet(100_000_000, limits=limits, **NONE), allocate("me", 50_000_000))
    said = []
    for hour in range(0, 30, 1):
        core.now = START + dt.timedelta(hours=hour)
        if core.check("me").action != "stop":
            answer = core.when(use("me", 300_000))
            said.append((hour, answer.action, answer.decided_by))
    first = [(0, "continue", "level"), (1, "continue", "level"), (2, "stop", "limit:plan-5h")]
    second = [(5, "continue", "level"), (6, "continue", "level"), (7, "stop", "limit:plan-5h")]
    assert said == [*first, *second, (10, "stop", "limit:plan-7d")]
    core.now = START + dt.timedelta(days=7)
    assert core.check("me").action == "continue"


def test_agents_that_retry_as_they_are_answered_use_nearly_all_that_a_provider_allows() -> None:
    limit = {"name": "rpm", "window": {"seconds": 60}, "max": {"requests": 50, "input_tokens": 400_000}, "then": "wait"}
    core = Core(fleet(1_000_000_000, limits=[limit], **NONE), allocate("a", 900_000_000), compares=False)
    granted: list[dt.datetime] = []
    end, n = START + dt.timedelta(minutes=10), 0
    while core.now < end:
        n += 1
        answer = core.when(c.Reserve(agent="a", id=f"h{n}", model="sonnet", input_tokens=5_000, output_tokens=10))
        if isinstance(answer, Refusal):
            core.wait(float(answer.numbers["retry_after_seconds"]))
        else:
            granted.append(core.now)
            core.given(c.Settle(hold=f"h{n}", input_tokens=5_000, output_tokens=10))
            core.wait(0.2)
    assert len(granted) >= 0.95 * 50 * 10
    minute = dt.timedelta(minutes=1)
    assert max(sum(at - minute < other <= at for other in granted) for at in granted) == 50


@pytest.mark.parametrize(
    ("window", "most"), [("day", 450), ({"hours": 5, "from": "first_use"}, 450), ({"hours": 5}, 1_000 + 450)]
)
def test_a_counter_takes_little_memory(window: Any, most: int) -> None:
    limits = [{"name": "user", "per": "label:user", "window": window, "max": {"tokens": 10**12}}]
    core = Core(fleet(10**12, limits=limits, **NONE), allocate("a", 10**11), compares=False)
    state, limit = core.ledger.limits.states["user"], core.ledger.limits
    names = [f"user-{n}" for n in range(2_000)]
    tracemalloc.start()
    for n, name in enumerate(names):
        counter = limit.counter(state, name)
        counter.count(state.rule, (10**9 + n, 0, 0, 0, 0, 0, 0), limit.began_at(state.rule), 10**15 + n)
        limit.opened(state, name, counter)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / len(names) <= most
