"""What is no amount, no name or no list of agents is refused clearly, and changes nothing."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tallystick.config.amounts import Budget
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.messages import proposals as p
from tests.support.core import Core, allocate, budget, dump, fleet, hold, use

FINE = Decimal("1E-10")
BAD_BUDGETS = [
    ("tokens", Budget(-1)),
    ("tokens", Budget(2**63)),
    ("tokens", Budget(10**30)),
    *(
        (name, msgspec.structs.replace(Budget(), **{name: Decimal(text)}))
        for name in ("time_seconds", "cost_usd")
        for text in ("-1", "-0.001", "NaN", "sNaN", "Infinity", "-Infinity", "1E+30", "1E+999999", str(FINE))
    ),
]
BUDGET_FIELDS: dict[str, tuple[str, Callable[[Budget], c.Command]]] = {
    "AllocateBudget": ("budget", lambda bad: c.AllocateBudget(agent="new", budget=bad)),
    "AllocateBudget below": ("budget", lambda bad: c.AllocateBudget(agent="new", budget=bad, parent="ann")),
    "AllocateEqual": ("total", lambda bad: c.AllocateEqual(agents=["new"], total=bad)),
    "AllocateProportional": ("total", lambda bad: c.AllocateProportional(weights={"new": Decimal(1)}, total=bad)),
    "AllocateByPriority": ("total", lambda bad: c.AllocateByPriority(agents={"new": "high"}, total=bad)),
    "AllocateFromPool, new": ("request", lambda bad: c.AllocateFromPool(agent="new", request=bad)),
    "AllocateFromPool, open": ("request", lambda bad: c.AllocateFromPool(agent="ann", request=bad)),
    "BorrowFromPool": ("amount", lambda bad: c.BorrowFromPool(agent="ann", amount=bad)),
    "ReturnToPool": ("amount", lambda bad: c.ReturnToPool(agent="ann", amount=bad)),
    "ReportUsage": ("usage", lambda bad: c.ReportUsage(agent="ann", usage=bad)),
    "ReportUsage, stranger": ("usage", lambda bad: c.ReportUsage(agent="new", usage=bad)),
    "Reserve": ("estimate", lambda bad: c.Reserve(agent="ann", estimate=bad)),
    "Settle": ("usage", lambda bad: c.Settle(hold="h", usage=bad)),
    "Settle, late": ("usage", lambda bad: c.Settle(hold="gone", usage=bad)),
    "SetTotalBudget": (
        "budget",
        lambda bad: c.SetTotalBudget(
            budget=c.BudgetChange(
                **{name: value for name in bad.__struct_fields__ if (value := getattr(bad, name)) is not None}
            )
        ),
    ),
}
MAY_BE_EMPTY = {"ReportUsage", "ReportUsage, stranger", "Settle", "Settle, late"}


@pytest.fixture(scope="module")
def shared() -> Core:
    """One fleet for all cases: that is what "changes nothing" means."""
    core = Core(fleet(1_000, "10", 1_000), allocate("ann", 100, "5", seconds=100))
    return core.given(hold("ann", "h", 10), hold("ann", "gone", 10), c.CancelHold(hold="gone"))


def refused(core: Core, command: c.Command, code: str, field: str) -> None:
    before = dump(core.ledger)
    core.when(command)
    refusal = core.then_refused(code)
    assert field in refusal.detail
    assert code != "invalid_amount" or refusal.numbers == {"field": field}
    assert dump(core.ledger) == before
    assert core.decided.events == []


@pytest.mark.parametrize("where", BUDGET_FIELDS)
@pytest.mark.parametrize(("name", "bad"), BAD_BUDGETS, ids=lambda value: str(value)[:40])
def test_what_is_no_amount_is_refused_with_the_name_of_its_field(
    shared: Core, where: str, name: str, bad: Budget
) -> None:
    field, make = BUDGET_FIELDS[where]
    if field == "usage" and str(getattr(bad, name)) == str(FINE):
        return  # what was used is rounded up
    refused(shared, make(bad), "invalid_amount", f"{field}.{name}")


@pytest.mark.parametrize("where", [where for where in BUDGET_FIELDS if where not in MAY_BE_EMPTY])
def test_an_empty_budget_is_refused(shared: Core, where: str) -> None:
    field, make = BUDGET_FIELDS[where]
    refused(shared, make(Budget()), "invalid_amount", field)


@pytest.mark.parametrize("weight", ["-1", "NaN", "Infinity", "1E+19", "1E-19", "0.1234567890123456789"])
def test_a_weight_is_an_exact_decimal_that_is_not_negative(shared: Core, weight: str) -> None:
    weights = {"new": Decimal(1), "other": Decimal(weight)}
    refused(shared, c.AllocateProportional(weights=weights, total=budget(10)), "invalid_amount", "weights.other")


def test_weights_are_not_all_zero(shared: Core) -> None:
    refused(shared, c.AllocateProportional(weights={"new": Decimal(0)}, total=budget(10)), "invalid_amount", "weights")


@pytest.mark.parametrize("ttl", ["0", "-1", "NaN", "Infinity", "0.0001", "604800.001", "1E+30"])
def test_a_time_to_live_is_positive_and_at_most_a_week(shared: Core, ttl: str) -> None:
    command = c.Reserve(agent="ann", estimate=budget(1), ttl_seconds=Decimal(ttl))
    refused(shared, command, "invalid_amount", "ttl_seconds")


def _not_malformed(core: Core, command: c.Command, field: str) -> None:
    core.when(command)
    assert field in core.then_refused("invalid_message").detail
    assert core.decided.events == []


@pytest.mark.parametrize(
    "name", ["pool", "fleet", "reserve", "overdraft", "bell\a", "new\nline", "nul\0", "\u202eright"]
)
def test_no_agent_has_a_reserved_name_or_one_that_cannot_be_printed(shared: Core, name: str) -> None:
    commands: list[tuple[str, c.Command]] = [
        ("agent", c.AllocateBudget(agent=name, budget=budget(1))),
        ("agent", c.AllocateFromPool(agent=name, request=budget(1))),
        ("agents", c.AllocateEqual(agents=["new", name], total=budget(1))),
        ("weights", c.AllocateProportional(weights={name: Decimal(1)}, total=budget(1))),
        ("agents", c.AllocateByPriority(agents={name: "low"}, total=budget(1))),
    ]
    for field, command in commands:
        _not_malformed(shared, command, field)


@pytest.mark.parametrize(
    ("field", "command"),
    [
        ("agents", c.AllocateEqual(agents=[], total=budget(1))),
        ("agents", c.AllocateEqual(agents=["new", "new"], total=budget(1))),
        ("weights", c.AllocateProportional(weights={}, total=budget(1))),
        ("agents", c.AllocateByPriority(agents={}, total=budget(1))),
        ("agents", c.AllocateEqual(agents=[f"a{number}" for number in range(1_001)], total=budget(1))),
        ("agent, task and hold", c.Heartbeat()),
        ("agent, task and hold", c.Heartbeat(agent="ann", hold="h")),
        ("config", c.LoadConfig(config={"no such key": 1})),
        ("prices", p.LoadPrices(prices={"x": {"input": "cheap"}})),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, c.Command) else value,
)
def test_a_list_of_agents_has_one_of_each_and_a_message_what_it_needs(shared: Core, field: str, command: Any) -> None:
    refused(shared, command, "invalid_message", field)


def test_usage_of_an_unprintable_stranger_is_still_a_fact(shared: Core) -> None:
    shared.given(use("bell\a", 1))
    assert shared.only(e.UsageReported).unallocated is True
