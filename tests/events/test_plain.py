"""The plain case is decided as the general path decides it: the same events, the same answers, the same state."""

import copy
import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.config.amounts import Budget, Usage
from tallystick.events import catalog as e
from tallystick.events import decide as core
from tallystick.events import messages as c
from tallystick.events.decide.plain import PLAIN
from tallystick.events.decide.turn import Turn
from tallystick.events.log.codec import encode_answer
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.ledger import Ledger
from tests.support.core import START, TESTER, dump, fleet, submit
from tests.support.examples import examples
from tests.support.strategies import Step, commands

PROFILE = settings(
    max_examples=examples(150),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)
PRICES = {"writer-1": {"input": 3, "output": 15}, "reader-1": {"input": 1, "output": "0.3"}}


class Pair:
    """Two fleets that are asked the same: one decides plain cases in one go, the other never does."""

    def __init__(self) -> None:
        self.plain, self.general = Ledger(), Ledger()
        self.now = START
        self.quick = 0
        """How many messages were decided in one go."""
        self.events: list[e.Event] = []
        """What the last command caused."""
        self._count = 0

    def ask(self, command: c.Command, seconds: float = 0.0) -> Any:
        """One command to both; both must have caused and answered the same, to the byte. The answer."""
        self.now += dt.timedelta(seconds=seconds)
        self._count += 1
        id = command.id or f"id-{self._count}"
        assert self.plain.is_due(self.now) == (self.plain.due_at() <= self.now)
        with pytest.MonkeyPatch.context() as watched:
            watched.setattr(core, "PLAIN", {cls: self._counted(function) for cls, function in PLAIN.items()})
            one = core.decide(self.plain, copy.copy(command), self.now, id, TESTER)
            watched.setattr(core, "PLAIN", {})
            other = core.decide(self.general, copy.copy(command), self.now, id, TESTER)
        assert msgspec.json.encode(one.events) == msgspec.json.encode(other.events), command
        assert encode_answer(one.answer) == encode_answer(other.answer), command
        assert one.own == other.own
        self.events = one.events
        return one.answer

    def _counted(self, function: Any) -> Any:
        def counted(turn: Turn, command: c.Command) -> Any:
            answer = function(turn, command)
            self.quick += answer is not None
            return answer

        return counted

    def play(self, steps: Sequence[Step]) -> None:
        for command, seconds in steps:
            self.ask(command, seconds)
        assert dump(self.plain) == dump(self.general)


@PROFILE
@given(commands(60))
def test_any_session_goes_as_on_the_general_path(steps: list[Step]) -> None:
    Pair().play(steps)


# --- sessions of the three messages alone -----------------------------------------------------------------------------

NAMES = ("ann", "ann/1", "bob", "cyd", "nobody", "bell\a")
_COUNTS = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "cache_write_tokens")


class Dice(Random):
    """Oddities come now and then in some sessions, and hardly ever in others, so that these go on being plain."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.calm = self.choice((1, 5, 30))

    def seldom(self, sides: int) -> bool:
        return not self.randrange(sides * self.calm)


def session(seed: int) -> list[Step]:
    """Use of a fleet that is mostly without limits, and what now and then is no plain case."""
    dice = Dice(seed)
    steps: list[Step] = [(_configured(dice), 0.0), (p.LoadPrices(prices=PRICES), 0.0)]
    for name, parent in (("ann", None), ("ann/1", "ann"), ("bob", None), ("cyd", None)):
        grant = Budget(
            tokens=dice.choice((None, 300, 1_500, 4_000)),
            time_seconds=dice.choice((None, None, Decimal(900))),
            cost_usd=dice.choice((None, None, Decimal(2))),
        )
        opened = c.AllocateBudget(
            agent=name,
            budget=grant,
            parent=parent,
            product=dice.choice((None, "shop", "site")),
            overdraft_max=Budget(tokens=60) if grant.tokens is not None and dice.seldom(2) else None,
            limits=[{"window": "day", "max": {"tokens": 900}}] if dice.seldom(4) else None,
            delegated=dice.seldom(6),
        )
        steps.append((opened, 1.0))
    held: list[str] = []
    for number in range(60):
        make = _else if dice.seldom(15) else dice.choice((_report, _reserve, _settle))
        command = make(dice, held)
        command.id = f"m-{number}"
        if make is _reserve:
            held.append(command.id)
        steps.append((command, dice.choice((0.0, 0.2, 1.0, 1.0, 30.0, 90.0))))
    return steps


def _configured(dice: Dice) -> c.Command:
    config: dict[str, Any] = {"daily_limits": {"max_tokens_total": dice.choice((None, None, 3_000, 50_000))}}
    if dice.seldom(4):
        site = {"name": "site", "window": "day", "max": {"tokens": 5_000}, "match": {"product": "site"}}
        config["limits"] = [site]
    if dice.seldom(6):
        config["enforcement"] = {"last_call": {"percent": 10}}
    if dice.seldom(4):
        config["products"] = {"shop": {"token_budget_daily": 2_000}}
    if dice.seldom(4):
        config["accounts"] = {"auto": {"limits": [{"window": "day", "max": {"tokens": 800}}]}}
    config["emergency_reserve_percent"] = dice.choice((0, 0, 10))
    return fleet(tokens=dice.choice((None, 8_000, 10**10)), cost=dice.choice((None, None, "9")), **config)


def _amounts(dice: Dice, kind: type[Usage]) -> Any:
    """Of a settlement or a report also what is finer than its unit."""
    if dice.seldom(12):
        return kind(tokens=dice.choice((-1, 2**70)), cost_usd=dice.choice((None, Decimal("NaN"), Decimal("-1"))))
    tokens: Any = dice.choice((None, 0) if dice.seldom(3) else (1, 7, 7, 40, 40, 150))
    if kind is Usage and dice.seldom(10):
        tokens = 10.4
    return kind(
        tokens=tokens,
        time_seconds=dice.choice((None, None, Decimal("1.5"), Decimal("0.0001") if kind is Usage else Decimal(2))),
        cost_usd=dice.choice((None, None, Decimal("0.011"))),
    )


def _spoken(dice: Dice, of: type[c.Command]) -> dict[str, Any]:
    """What a message says beside its amounts."""
    said: dict[str, Any] = {}
    if not dice.randint(0, 2):
        said["model"] = dice.choice(
            ("writer-1", "reader-1", *(("unheard-of", "writer\u200b-1") if dice.seldom(3) else ()))
        )
        names = dice.sample(_COUNTS, dice.choice((0, 1, 2, 3))) if dice.seldom(3) else ("input_tokens", "output_tokens")
        said |= {name: dice.choice((0, 10, 60, 400)) for name in names}
    if not dice.randint(0, 5):
        said["operation"] = dice.choice(("draft", " read") if dice.seldom(3) else ("draft",))
    odd: dict[str, Any] = {
        "labels": dice.choice(({}, {"user": "u-1"})),
        "requests": dice.choice((0, 1, 3, -1)),
        "provider_usage": {"input_tokens": 9, "output_tokens": 4},
    }
    if of is not c.Reserve:
        odd |= {
            "source_id": f"s-{dice.randint(0, 999)}",
            "occurred_at": START - dt.timedelta(hours=dice.randint(0, 30)),
        }
    return said | {name: value for name, value in odd.items() if dice.seldom(15)}


def _agent(dice: Dice) -> str:
    return dice.choice(NAMES) if dice.seldom(3) else dice.choice(NAMES[:4])


def _report(dice: Dice, held: list[str]) -> c.Command:
    said: dict[str, Any] = {**_spoken(dice, c.ReportUsage), "agent": _agent(dice)}
    said["usage"] = None if dice.seldom(6) else _amounts(dice, dice.choice((Usage, Budget)))
    if dice.seldom(15):
        said |= dice.choice(
            ({"task": "T"}, {"lease": "l"}, {"rate_limited": True}, {"retry_after_seconds": Decimal(1)})
        )
    return c.ReportUsage(**said)


def _reserve(dice: Dice, held: list[str]) -> c.Command:
    said: dict[str, Any] = {**_spoken(dice, c.Reserve), "agent": _agent(dice)}
    said["estimate"] = None if dice.seldom(6) else _amounts(dice, Budget)
    odd: dict[str, Any] = {
        "ttl_seconds": dice.choice((Decimal(40), Decimal(0))),
        "dry_run": True,
        "overage": "reject",
        "on_expiry": "spend",
        "last_call": True,
        "max_output_tokens": dice.choice((50, -1)),
        "reason": "a test",
    }
    return c.Reserve(**said, **{name: value for name, value in odd.items() if dice.seldom(12)})


def _settle(dice: Dice, held: list[str]) -> c.Command:
    usage = _amounts(dice, dice.choice((Usage, Budget)))
    hold = dice.choice(held[-3:]) if held else "none"
    return c.Settle(hold=hold, usage=usage, final=not dice.seldom(6), **_spoken(dice, c.Settle))


def _else(dice: Dice, held: list[str]) -> c.Command:
    agent = dice.choice(NAMES[:4])
    return dice.choice(
        (
            c.Stop(agent=agent, reason="a test"),
            c.Resume(agent=agent),
            c.Throttle(agent=agent, rate=Decimal("0.5")),
            p.WarnAgent(agent=agent, exhausted_in_seconds=90, method="average"),
            c.BorrowFromPool(agent=agent, amount=Budget(tokens=500)),
            c.ReleaseBudget(agent=agent),
            c.AllocateBudget(agent=agent, budget=Budget(tokens=50)),
            c.PauseAll(reason="a test"),
            c.ResumeAll(),
            c.ResumeAll(),
            p.LoadPrices(prices=dice.choice((PRICES, {}))),
            p.OpenFleet(),
        )
    )


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
