"""``retry_after_seconds`` says when a hold will be granted if nothing else happens, to the microsecond."""

import datetime as dt
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.config.amounts import Budget
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide import decide
from tallystick.events.log import snapshot
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.ledger import Ledger
from tests.support.core import START, Core, allocate, budget, fleet, hold, submit, use
from tests.support.counting import steps
from tests.support.examples import examples

QUIET = {"enforcement": {"warn_before_exhaustion_seconds": 0}}
STEP = dt.timedelta(microseconds=1)


def answer_at(core: Core, command: c.Reserve | c.Heartbeat, at: dt.datetime) -> Any:
    """What the same request is answered at another time, if nothing else happens until then."""
    ledger = snapshot.load(snapshot.dump(core.ledger))
    assert isinstance(ledger, Ledger)
    return decide(ledger, command, at, "again", "tester").answer


def check(core: Core, command: c.Reserve | c.Heartbeat) -> Any:
    """Ask, and prove what the refusal says of time; the seconds, "granted" or "not a matter of time"."""
    answer = answer_at(core, command, core.now)
    if not isinstance(answer, Refusal):
        return "granted"
    if "retry_after_seconds" not in answer.numbers:
        return "not a matter of time"
    seconds = answer.numbers["retry_after_seconds"]
    if seconds is None:
        for later in (1, 60, 3_600, 86_400, 10**6):
            assert isinstance(answer_at(core, command, core.now + dt.timedelta(seconds=later)), Refusal), later
        return None
    then = core.now + dt.timedelta(seconds=seconds)
    assert not isinstance(answer_at(core, command, then), Refusal), answer
    assert isinstance(answer_at(core, command, then - STEP), Refusal), answer
    return seconds


def test_room_comes_back_to_the_account_that_pays() -> None:
    core = Core(fleet(1_000, **QUIET), allocate("p", 100), allocate("c", cost="1", parent="p"))
    core.given(hold("c", "h", 80, ttl_seconds=Decimal(60))).wait(1)
    assert check(core, c.Reserve(agent="c", estimate=budget(50))) == 59


def test_what_a_hold_gives_back_repays_the_cover_first() -> None:
    core = Core(
        fleet(1_000, **QUIET),
        allocate("a", 100),
        hold("a", "h1", 40, ttl_seconds=Decimal(20)),
        hold("a", "h2", 50, ttl_seconds=Decimal(60)),
        use("a", 70),
    ).wait(10)
    assert check(core, c.Reserve(agent="a", estimate=budget(10))) == 50


def test_a_fleet_that_is_stopped_by_holds_goes_on_when_they_end() -> None:
    core = Core(fleet(1_000, **QUIET), allocate("a", 900), allocate("b", 100))
    core.given(hold("a", "h", 900, ttl_seconds=Decimal(30)), hold("b", "h-2", 99, ttl_seconds=Decimal(300)))
    core.given(use("b", 1)).wait(5)
    assert core.ledger.response == 4
    assert check(core, c.Reserve(agent="a", estimate=budget(10))) == 25


def test_a_daily_limit_that_holds_fill_has_room_when_they_end_and_not_only_tomorrow() -> None:
    core = Core(fleet(10_000, daily_limits={"max_tokens_total": 1_000}, **QUIET), allocate("a", 5_000))
    core.given(hold("a", "h", 900, ttl_seconds=Decimal(40)))
    assert check(core, c.Reserve(agent="a", estimate=budget(200))) == 40
    core.given(use("a", 950))
    assert check(core, c.Reserve(agent="a", estimate=budget(200))) == 12 * 3_600


def test_a_new_period_brings_the_pool_back() -> None:
    core = Core(fleet(1_000, period="day", **QUIET), allocate("a", cost="5"), use("a", 940))
    assert check(core, c.Reserve(agent="a", estimate=budget(100))) == 12 * 3_600
    assert check(core, c.Reserve(agent="a", estimate=budget(1_001))) is None


def test_waiting_brings_nothing_to_an_account_that_has_used_up_its_own() -> None:
    core = Core(fleet(1_000, **QUIET), allocate("a", 100), use("a", 50))
    assert check(core, c.Reserve(agent="a", estimate=budget(51))) is None
    core.given(use("a", 50))
    assert check(core, c.Reserve(agent="a", estimate=budget(1))) is None


def test_what_may_not_run_at_all_is_no_matter_of_time() -> None:
    core = Core(fleet(1_000, **QUIET), allocate("a", 100), c.Stop(agent="a", reason="leaks"))
    assert check(core, c.Reserve(agent="a", estimate=budget(1))) is None
    core.given(c.Resume(agent="a"), c.PauseAll(reason="lunch"))
    assert check(core, c.Reserve(agent="a", estimate=budget(1))) is None


def test_a_throttled_agent_waits_to_the_microsecond() -> None:
    core = Core(fleet(10_000, **QUIET), allocate("a", 1_000))
    core.given(c.ReportUsage(agent="a", usage=Budget(800, Decimal("7.003"))))
    core.wait(1.0004567)
    assert check(core, c.Reserve(agent="a", estimate=budget(1))) == pytest.approx(7.003 - 1.000457, abs=1e-5)


def test_of_very_many_holds_only_the_next_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tallystick.events.decide.retry.LOOKED_AT_MAX", 3)
    core = Core(fleet(1_000, **QUIET), allocate("p", 100), allocate("a", cost="1", parent="p"))
    for number in range(10):
        core.given(hold("p", f"h-{number}", 10, ttl_seconds=Decimal(number + 1)))
    answer = core.when(c.Reserve(agent="a", estimate=budget(100)))
    assert answer.numbers["retry_after_seconds"] == 3


# --- more for a hold that stands -------------------------------------------------------------------------------------


def more(hold_id: str, amount: int) -> c.Heartbeat:
    return c.Heartbeat(hold=hold_id, amount=budget(amount))


def test_more_for_a_hold_is_granted_when_others_end() -> None:
    core = Core(fleet(1_000, **QUIET), allocate("a", 100), hold("a", "long", 20, ttl_seconds=Decimal(900)))
    core.given(hold("a", "short", 70, ttl_seconds=Decimal(60))).wait(1)
    assert check(core, more("long", 50)) == 59
    assert check(core, more("long", 10)) == "granted"


def test_more_for_a_hold_that_ends_before_there_is_room_is_no_matter_of_time() -> None:
    core = Core(fleet(1_000, **QUIET), allocate("a", 100), hold("a", "short", 20, ttl_seconds=Decimal(30)))
    core.given(hold("a", "long", 70, ttl_seconds=Decimal(60)))
    assert check(core, more("short", 50)) is None
    assert check(core, more("short", 81)) is None


def test_a_refused_extension_is_recorded_with_its_time() -> None:
    core = Core(fleet(1_000, **QUIET), allocate("a", 100), hold("a", "long", 20, ttl_seconds=Decimal(900)))
    core.given(hold("a", "short", 70, ttl_seconds=Decimal(60)))
    core.when(more("long", 50))
    core.then_refused("budget_exhausted", retry_after_seconds=60)
    assert core.only(e.RequestRefused).numbers["retry_after_seconds"] == 60
    core.when(c.Heartbeat(agent="ghost"))
    assert "retry_after_seconds" not in core.then_refused("unknown_agent").numbers


# --- the property --------------------------------------------------------------------------------------------------


def _fleet(dice: Random) -> Core:
    limits = dice.choice(({}, {"max_tokens_total": 900}, {"max_tokens_total": 300, "max_cost_usd": 1}))
    period = dice.choice(({}, {}, {"period": "day"}, {"period": "week"}))
    core = Core(fleet(1_000, **period, daily_limits=limits, **QUIET), compares=False)
    core.now = START
    core.given(allocate("p", 300), allocate("c", cost="1", parent="p"), allocate("q", 100, parent="p"))
    return core.given(allocate("a", 200), allocate("b", cost="2"), c.AllocateFromPool(agent="d", request=budget(50)))


@settings(max_examples=examples(40), deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_a_repeat_at_that_time_is_granted_and_a_microsecond_earlier_is_not(seed: int) -> None:
    dice = Random(seed)
    core = _fleet(dice)
    for number in range(25):
        core.wait(dice.choice((0, 0.25, 1, 7, 60.000001, 1_800)))
        agent, amount = dice.choice(("c", "q", "a", "b", "d", "p")), dice.choice((1, 20, 60, 150, 400))
        match dice.randint(0, 3):
            case 0:
                core.when(use(agent, amount, seconds=dice.choice((None, 1, "2.5"))))
            case 1:
                core.when(
                    c.Throttle(agent=agent, rate=Decimal("0.25")) if dice.randint(0, 1) else c.Resume(agent=agent)
                )
            case _:
                core.when(
                    hold(agent, f"h-{number}", amount, ttl_seconds=Decimal(dice.choice(("0.5", "30", "301.007"))))
                )
        standing = sorted(core.ledger.holds)
        if standing and dice.randint(0, 1):
            check(core, more(dice.choice(standing), amount))
        if dice.randint(0, 1):
            check(core, c.Reserve(agent=dice.choice(("c", "q", "a", "b", "d")), estimate=budget(amount)))


# --- what it costs -------------------------------------------------------------------------------------------------


def _crowd(n: int) -> Core:
    """A fleet of ``n`` accounts with a hold each, and a tenth as many running tasks."""
    no_limits = {"max_tokens_total": None, "max_cost_usd": None}
    slots = {"max_concurrent": {"total": n, "per_type": {}}, "token_budgets": {"default": 100}}
    core = Core(fleet(10**9, daily_limits=no_limits, **slots, **QUIET), compares=False)
    for number in range(n):
        core.given(allocate(f"a{number}", 1_000, product=f"p{number % 7}"))
        ttl_seconds = Decimal(100 + number * 7 % n)
        core.given(hold(f"a{number}", f"h-{number}", 900, ttl_seconds=ttl_seconds))
    for number in range(n // 10):
        core.given(submit(f"t{number}", "x", product=f"p{number % 7}"))
    assert len(core.ledger.tasks.running) == n // 10
    return core


def _steps(core: Core, command: c.Reserve) -> tuple[int, Any]:
    return steps(lambda: decide(core.ledger, command, core.now, f"{command.agent}-{core.ledger.position}", "tester"))


def test_a_refused_hold_costs_a_few_granted_ones_in_a_fleet_of_any_size() -> None:
    refused, dry = [], []
    for n in (30, 300):
        core = _crowd(n)
        granted, decided = _steps(core, c.Reserve(agent="a3", estimate=budget(1)))
        assert not isinstance(decided.answer, Refusal)
        last = f"a{next(number for number in range(n) if number * 7 % n == n - 1)}"
        waits, decided = _steps(core, c.Reserve(agent=last, estimate=budget(200)))
        assert decided.answer.numbers["retry_after_seconds"] == 100 + n - 1
        hopeless, decided = _steps(core, c.Reserve(agent="a5", estimate=budget(2_000)))
        assert decided.answer.numbers["retry_after_seconds"] is None
        assert waits < 7 * granted
        assert hopeless < 3 * granted
        refused.append(waits)
        dry.append(hopeless)
    assert max(refused) <= min(refused) + 10
    assert max(dry) <= min(dry) + 10


def test_what_looks_at_the_holds_of_others_looks_at_few_of_them() -> None:
    counts = []
    for n in (100, 1_000):
        core = Core(fleet(10**6, daily_limits={"max_tokens_total": 2 * n}, **QUIET), compares=False)
        core.given(allocate("a", 10_000), allocate("b", 10_000))
        for number in range(n):
            core.given(hold("a", f"h-{number}", 1, ttl_seconds=Decimal(number + 1)))
        counts.append(_steps(core, c.Reserve(agent="b", estimate=budget(2 * n)))[0])
    assert counts[1] <= 1.2 * counts[0]


def test_a_day_that_is_used_up_waits_for_the_next_however_many_holds_stand() -> None:
    core = Core(fleet(10**6, daily_limits={"max_tokens_total": 1_000}, **QUIET), compares=False)
    core.given(allocate("a", 10_000), allocate("b", 10_000))
    for number in range(100):
        core.given(hold("a", f"h-{number}", 1, ttl_seconds=Decimal(number + 1)))
    core.given(use("b", 1_000))
    asked = c.Reserve(agent="b", estimate=budget(10))
    taken, decided = _steps(core, asked)
    assert decided.answer.numbers["retry_after_seconds"] == 12 * 3_600
    assert taken < 2_000
    core.wait(12 * 3_600)
    assert not isinstance(core.when(asked), Refusal)


@pytest.mark.parametrize("ended", [0, 100])
def test_what_is_answered_does_not_depend_on_how_many_holds_ended_before(ended: int) -> None:
    """Given a day that is used up and a hold that fills the next, whether or not the state was read from a snapshot."""
    core = Core(fleet(10**6, daily_limits={"max_tokens_total": 1_000}, **QUIET), compares=False)
    core.given(allocate("a", 10_000), allocate("b", 10_000))
    core.given(hold("a", "first", 1, ttl_seconds=Decimal(60)), hold("a", "long", 950, ttl_seconds=Decimal(20 * 3_600)))
    for number in range(ended):
        core.given(hold("a", f"h-{number}", 1, ttl_seconds=Decimal(3_600)))
        core.given(c.Settle(hold=f"h-{number}", usage=budget(0)))
    core.given(use("b", 1_000))
    asked = c.Reserve(agent="b", estimate=budget(100))
    assert check(core, asked) == core.when(asked).numbers["retry_after_seconds"] == 20 * 3_600
