"""Many counters of limits: those nearest to exhaustion are found without a look at each, or all are read in pages."""

import datetime as dt
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from tallystick.events import messages as c
from tallystick.events.decide import nearest_limits
from tallystick.events.decide.limit_status import get_limits
from tallystick.events.decide.turn import Turn
from tallystick.events.state.slot_time import micros
from tests.support.core import Core, allocate, hold, submit, use
from tests.support.examples import examples
from tests.support.limited import limit, limited, report

SECOND = dt.timedelta(seconds=1)
FIRST_USE = {"hours": 5, "from": "first_use"}
LIMITS = (
    limit("day", per="account", window="day", max={"tokens": 1_000, "cost_usd": 5}),
    limit("user", per="label:user", window=FIRST_USE, max={"tokens": 2_000, "requests": 9}),
    limit("minute", per="account", window={"seconds": 600}, max={"tokens": 900}, then="wait"),
    limit("open", per="product", max={"concurrent": 5}),
    limit("none", per="account", match={"product": "web"}, window="hour", max={"tokens": 0}),
    limit("unused", per="model", window="total", max={"tokens": 7}),
)


def busy(seed: int) -> Core:
    """A fleet with many counters, some of whose windows are over, raised, refused by a provider, or held only."""
    dice = Random(seed)
    core = limited(*LIMITS, products={"shop": {"token_budget_daily": 9_000}}, accounts={"auto": {}})
    names = [f"a{n}" for n in range(40)]
    for n, name in enumerate(names):
        core.given(allocate(name, 50_000, "20", product=("shop", "web", None)[n % 3], labels={"user": f"u{n % 9}"}))
    core.given(submit("t", product="shop", estimated_tokens=500))
    for n in range(120):
        core.pass_time(core.now + dice.choice((0, 0, 1, 60, 400, 9_000)) * SECOND)
        name = dice.choice(names)
        match dice.randrange(7):
            case 0:
                core.when(hold(name, f"h{n}", dice.randrange(1, 300)))
            case 1:
                most = c.MaxChange(tokens=dice.choice((1_500, 3_000)))
                core.when(c.ApproveLimit(limit="day", value=dice.choice((name, None)), max=most))
            case 2 if seed % 2:
                core.when(
                    c.ReportUsage(
                        agent=name, model="claude-haiku-4-5", rate_limited=True, retry_after_seconds=Decimal(900)
                    )
                )
            case _:
                core.given(use(name, dice.randrange(1, 700), str(dice.randrange(3))))
    return core


def shown(core: Core, **asked: Any) -> list[tuple[str, str | None]]:
    return [(one.limit, one.value) for one in core.when(c.GetLimits(**asked)).limits]


@pytest.mark.parametrize("seed", range(examples(8)))
def test_the_nearest_are_those_that_a_look_at_every_counter_finds(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    core = busy(seed)
    now = micros(core.now)
    states = [*core.ledger.day.products.values(), *core.ledger.limits.states.values()]
    every = [match for state in states for match in nearest_limits.counters_of(state, now)]
    every.sort(key=lambda match: nearest_limits.order_of(core.ledger, match, now))
    monkeypatch.setattr(nearest_limits, "_FIRST_LOOK", 1)
    for count in (1, 2, 7, 30, len(every), 1_000):
        assert nearest_limits.nearest_counters(core.ledger, states, count, now) == every[:count]
    found = core.when(c.GetLimits(count=1_000)).limits
    parts = [max(one.percentage, 1.0 if one.rate_limited_until else 0.0) for one in found]
    assert parts == sorted(parts, reverse=True)


def test_of_very_many_counters_few_are_looked_at_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    core = limited(limit(per="label:user", window="day", max={"tokens": 1_000}))
    core.given(allocate("ann", 1_000_000))
    core.given(*(report("ann", 1 + n % 197, labels={"user": f"u{n}"}) for n in range(200)))
    looked = []
    order_of = nearest_limits.order_of
    monkeypatch.setattr(nearest_limits, "order_of", lambda *args: looked.append(args) or order_of(*args))
    assert shown(core, count=3) == [("cap", "u196"), ("cap", "u195"), ("cap", "u194")]
    assert len(looked) == 64


def test_all_counters_of_a_limit_are_read_in_pages_by_value() -> None:
    core = busy(3)
    values, after = [], ""
    while page := shown(core, limit="day", after=after, count=7):
        assert len(page) <= 7
        values += [value for _, value in page]
        after = str(values[-1])
    assert values == sorted(core.ledger.limits.states["day"].counters)
    assert len(values) > 20
    assert core.when(c.GetLimits(limit="day", count=0)).limits == []


def test_pages_are_of_one_limit_and_of_no_one_value() -> None:
    core = busy(3)
    for asked in ({"after": ""}, {"limit": "day", "value": "a1", "after": ""}, {"agent": "a1", "after": ""}):
        core.when(c.GetLimits(**asked))
        core.then_refused("invalid_message")


def test_a_query_leaves_the_state_as_it_is() -> None:
    core = busy(5)
    turn = Turn(core.ledger, core.now, "q", "reader")
    get_limits(turn, c.GetLimits(count=50))
    assert turn.events == []
