"""Facts and holds that are taken together are decided and recorded as if each had come alone, on the general path."""

import copy
import datetime as dt
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.actors.manager import Manager
from tallystick.actors.runtime.messages import Envelope
from tallystick.config.amounts import Budget, Usage
from tallystick.events import decide as core
from tallystick.events import messages as c
from tallystick.events.decide.plain_runs import ROWS
from tallystick.events.log.codec import GENESIS, encode_command
from tallystick.events.log.store_memory import MemoryStore
from tallystick.events.messages import proposals as p
from tallystick.events.state.conservation import check_conserved
from tallystick.events.state.ledger import Ledger
from tests.support.core import START, dump, fleet
from tests.support.examples import examples
from tests.support.plain_pairs import PROFILE
from tests.support.plain_sessions import PRICES, Dice, otherwise, report, reserve, session, settle

USED = Usage(tokens=5)


class Fleet:
    """A manager with a log in memory, which takes envelopes and commits when it is told to."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.manager = Manager(Ledger(), self.store, GENESIS)

    def take(self, commands: list[c.Command], at: dt.datetime, trace: str | None = None) -> Envelope:
        envelope = Envelope(commands, [encode_command(command) for command in commands], "tests", None)
        envelope.trace = trace
        self.manager.take(envelope, at)
        return envelope

    def commit(self, at: dt.datetime) -> None:
        while self.manager.has_work:
            self.manager.commit(at)

    def records(self) -> list[bytes]:
        return [record.data for record in self.store.read()]


class Kept:
    """Takes the answers of an envelope."""

    loop = None

    def __init__(self) -> None:
        self.answers: Sequence[bytes] = []

    def set(self, answers: Sequence[bytes]) -> None:
        self.answers = answers


class Twins:
    """Two fleets that take the same: one decides facts in a row, the other each by itself on the general path."""

    def __init__(self) -> None:
        self.rows, self.single = Fleet(), Fleet()
        self.now = START
        self.in_rows = 0
        """How many facts and holds were decided in rows."""
        self._taken: list[tuple[Envelope, Envelope]] = []

    def take(self, *commands: c.Command, seconds: float = 0.0, trace: str | None = None) -> None:
        self.now += dt.timedelta(seconds=seconds)
        one = self.rows.take([copy.copy(command) for command in commands], self.now, trace)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(core, "PLAIN", {})
            patched.setattr(core, "ROWS", dict.fromkeys(ROWS, lambda *row: []))
            other = self.single.take([copy.copy(command) for command in commands], self.now, trace)
            self.single.commit(self.now)
        self._taken.append((one, other))

    def commit(self) -> None:
        """Both have recorded and answered the same, to the byte, and are as they would be after a replay."""
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(core, "ROWS", {kind: self._counted(decide) for kind, decide in ROWS.items()})
            self.rows.commit(self.now)
        self.single.commit(self.now)
        assert self.rows.records() == self.single.records()
        for one, other in self._taken:
            assert one.answers == other.answers
        assert dump(self.rows.manager.ledger) == dump(self.single.manager.ledger)
        check_conserved(self.rows.manager.ledger)

    def _counted(self, decide: Any) -> Any:
        def counted(*row: Any) -> Any:
            decided = decide(*row)
            self.in_rows += len(decided)
            return decided

        return counted


def messages(seed: int) -> Iterator[tuple[list[c.Command], float]]:
    """A fleet, and then mostly reports, or holds, some of them in arrays; with the seconds since what came before."""
    dice = Dice(seed)
    dice.calm = dice.choice((2, 30, 300, 300))
    steps = session(seed)[:6]
    if dice.randint(0, 3):
        ample = Budget(tokens=50_000, cost_usd=dice.choice((None, Decimal(90))))
        steps[2:] = [(c.AllocateBudget(agent=name, budget=ample), 1.0) for name in ("ann", "ann/1", "bob", "cyd")]
    for command, seconds in steps:
        yield [command], seconds
    held: list[str] = []
    most = dice.choice(((report, report, report, reserve, settle), (reserve, reserve, settle)))
    for number in range(60):
        made: list[c.Command] = []
        usual = dice.choice(most)
        for place in range(dice.choice((1, 1, 1, 4, 9))):
            make = otherwise if dice.seldom(2) else usual if dice.randint(0, 9) else dice.choice((report, reserve))
            command = make(dice, held)
            command.id = f"m-{number}-{place}" if dice.randint(0, 40) else f"m-{number - 1}-0"
            if dice.seldom(6):
                command.id += dice.choice((" ", "\u200b", "é", "e\u0301"))
            if make is reserve:
                held.append(command.id)
            made.append(command)
        yield made, dice.choice((0.0, 0.0, 0.0, 0.2, 1.0, 70.0))


@settings(PROFILE, max_examples=examples(300))
@given(st.integers(0, 2**64), st.integers(1, 20))
def test_whatever_is_taken_together_goes_as_on_the_general_path(seed: int, together: int) -> None:
    twins = Twins()
    for number, (commands, seconds) in enumerate(messages(seed)):
        for command in commands:
            command.id = command.id or f"c-{number}"
        twins.take(*commands, seconds=seconds)
        if number % together == 0:
            twins.commit()
    twins.commit()


@pytest.fixture
def twins() -> Twins:
    """Two fleets with an agent each."""
    twins = Twins()
    configured = fleet(tokens=10**9)
    configured.id = "config"
    twins.take(configured, p.LoadPrices(prices=PRICES, id="prices"))
    twins.take(c.AllocateBudget(agent="ann", budget=Budget(tokens=1_000), id="ann"))
    twins.take(c.AllocateBudget(agent="bob", budget=Budget(tokens=1_000), id="bob"))
    twins.commit()
    return twins


def reports(twins: Twins, first: int, count: int, **said: Any) -> None:
    for number in range(first, first + count):
        twins.take(c.ReportUsage(id=f"r-{number}", **{"agent": "ann", "usage": USED, **said}))


def test_reports_that_follow_one_another_are_decided_in_a_row(twins: Twins) -> None:
    reports(twins, 0, 20)
    twins.commit()
    reports(twins, 20, 20, model="writer-1", input_tokens=4, output_tokens=1)
    twins.commit()
    assert twins.in_rows == 39, "the first one is tried by itself"


def test_settlements_that_follow_one_another_are_decided_in_a_row(twins: Twins) -> None:
    for number in range(40):
        twins.take(c.Reserve(agent="ann", estimate=Budget(tokens=7), id=f"h-{number}"))
    for number in range(40):
        twins.take(c.Settle(hold=f"h-{number}", usage=USED, id=f"s-{number}"), seconds=0.1)
    twins.take(c.Settle(hold="h-3", usage=USED, id="again"))
    twins.commit()
    assert twins.in_rows == 79


def holds(twins: Twins, first: int, count: int, **said: Any) -> None:
    for number in range(first, first + count):
        twins.take(c.Reserve(id=f"h-{number}", **{"agent": "ann", "estimate": Budget(tokens=5), **said}))


def test_holds_that_follow_one_another_are_decided_in_a_row(twins: Twins) -> None:
    holds(twins, 0, 20)
    holds(twins, 20, 20, agent="bob", estimate=Budget(tokens=7, cost_usd=Decimal("0.01")), model="writer-1")
    twins.commit()
    holds(twins, 40, 20, overage="reject", on_expiry="spend", operation="draft", reason="a test")
    twins.commit()
    assert twins.in_rows == 59, "the first one is tried by itself"


def test_an_array_of_holds_and_settlements_has_rows_of_each(twins: Twins) -> None:
    many = [c.Reserve(id=f"h-{number}", agent="ann", estimate=Budget(tokens=7)) for number in range(9)]
    ends = [c.Settle(id=f"s-{number}", hold=f"h-{number}", usage=USED) for number in range(9)]
    twins.take(*many, *ends, *(c.ReportUsage(id=f"r-{n}", agent="bob", usage=USED) for n in range(9)))
    twins.commit()
    assert twins.in_rows == 26


def test_a_hold_for_which_there_is_no_room_is_refused_in_its_place(twins: Twins) -> None:
    holds(twins, 0, 12, estimate=Budget(tokens=90))
    holds(twins, 12, 8, agent="bob")
    twins.commit()
    refused = [b"insufficient" in record or b"refused" in record for record in twins.rows.records()]
    assert refused.count(True) == 1
    assert 0 < twins.in_rows < 20


def test_a_hold_whose_id_is_misspelled_is_refused_in_its_place(twins: Twins) -> None:
    holds(twins, 0, 4)
    twins.take(c.Reserve(id="h-4 ", agent="ann", estimate=Budget(tokens=5)))
    holds(twins, 5, 4)
    twins.commit()
    assert b"white space" in twins._taken[-5][0].answers[0]


def test_a_hold_that_waits_for_room_and_one_that_is_not_set_aside_are_as_before(twins: Twins) -> None:
    holds(twins, 0, 10, estimate=Budget(tokens=99))
    holds(twins, 10, 2, dry_run=True)
    holds(twins, 12, 1, estimate=Budget(tokens=50), wait_seconds=Decimal(30))
    holds(twins, 13, 4, agent="bob")
    twins.take(c.Settle(id="s", hold="h-3", usage=USED))
    holds(twins, 17, 4)
    twins.commit()
    assert b"waited_since" in twins._taken[-10][0].answers[0]


def test_a_hold_that_is_asked_for_twice_in_a_row_is_set_aside_once(twins: Twins) -> None:
    holds(twins, 0, 8)
    holds(twins, 5, 2)
    holds(twins, 5, 1, estimate=Budget(tokens=6))
    twins.take(c.Settle(id="s", hold="h-6", usage=USED))
    twins.take(c.Settle(id="h-20", hold="h-5", usage=USED))
    holds(twins, 4, 20)
    twins.commit()


def test_a_hold_whose_id_is_forgotten_and_whose_end_is_not_is_refused_in_its_place(twins: Twins) -> None:
    configured = fleet(tokens=10**9, idempotency_ids_max=10)
    configured.id = "few-ids"
    twins.take(configured)
    holds(twins, 100, 1)
    twins.take(c.Settle(hold="h-100", usage=USED, id="s"))
    reports(twins, 0, 40)
    twins.commit()
    assert "h-100" not in twins.rows.manager.ledger.ids
    holds(twins, 98, 6)
    twins.commit()
    assert [b"error" in one.answers[0] for one, _ in twins._taken[-6:]] == [False, False, True, False, False, False]


@pytest.mark.parametrize("ttl", [20, 300])
def test_holds_of_a_row_expire_before_what_comes_behind_them(twins: Twins, ttl: int) -> None:
    configured = fleet(tokens=10**9, holds={"ttl_seconds": ttl})
    configured.id = "shorter"
    twins.take(configured)
    reports(twins, 0, 7)
    holds(twins, 0, 2)
    holds(twins, 2, 1, agent="bob")
    twins.now += dt.timedelta(seconds=ttl)
    holds(twins, 3, 4)
    twins.now += dt.timedelta(seconds=ttl)
    reports(twins, 7, 7)
    twins.commit()
    names = [msgspec.json.decode(record)["type"] for record in twins.rows.records()]
    assert names.count("hold-ended.v1") == 7
    assert twins.in_rows > 10


def test_settlements_of_holds_that_count_in_limits_are_as_before(twins: Twins) -> None:
    limit = {"name": "hourly", "window": {"minutes": 60}, "max": {"tokens": 5_000}}
    for id, limits in (("with", [limit]), ("without", [])):
        configured = fleet(tokens=10**9, limits=limits)
        configured.id = id
        twins.take(configured)
        holds(twins, 0 if limits else 12, 12)
        twins.commit()
    for number in range(24):
        twins.take(c.Settle(hold=f"h-{number}", usage=USED, id=f"s-{number}"))
    twins.commit()
    assert twins.in_rows > 12


def test_an_array_of_reports_is_a_row(twins: Twins) -> None:
    twins.take(*(c.ReportUsage(id=f"r-{number}", agent="bob", usage=USED) for number in range(10)), trace="ab" * 16)
    twins.commit()
    assert twins.in_rows == 9


def test_an_id_that_comes_twice_in_a_row_is_answered_as_before(twins: Twins) -> None:
    reports(twins, 0, 8)
    reports(twins, 5, 2)
    reports(twins, 5, 1, usage=Usage(tokens=6))
    for number in range(8, 14):
        reports(twins, number, 1)
        reports(twins, number, 1)
    twins.commit()


def test_a_row_ends_where_a_level_is_come_to(twins: Twins) -> None:
    reports(twins, 0, 60, usage=Usage(tokens=15))
    twins.commit()
    assert 0 < twins.in_rows < 60
    assert twins.rows.manager.ledger.accounts["ann"].level > 0


def test_what_comes_after_reports_sees_them(twins: Twins) -> None:
    reports(twins, 0, 8, usage=Usage(tokens=100))
    twins.take(c.GetStatus(agent="ann", id="q"))
    twins.take(c.Reserve(agent="ann", estimate=Budget(tokens=150), id="h"))
    twins.commit()
    assert b'"consumed":{"tokens":800}' in twins._taken[-2][0].answers[0]


def test_the_first_report_after_an_outage_says_so_in_a_row_too(twins: Twins) -> None:
    reports(twins, 0, 4)
    reports(twins, 4, 4, agent="bob")
    twins.commit()
    twins.take(p.OpenFleet(id="opened"), seconds=3_600)
    reports(twins, 8, 4)
    reports(twins, 12, 4, agent="bob")
    twins.commit()
    outages = [b'"after_outage":true' in record for record in twins.rows.records()]
    assert outages.count(True) == 2


def test_reports_of_several_minutes_are_no_one_row(twins: Twins) -> None:
    for number in range(12):
        twins.take(c.ReportUsage(id=f"r-{number}", agent="ann", usage=USED), seconds=25)
    twins.commit()
    assert 0 < twins.in_rows < 12


def test_what_time_brings_comes_before_the_reports_behind_it(twins: Twins) -> None:
    twins.take(c.Reserve(agent="ann", estimate=Budget(tokens=5), ttl_seconds=Decimal(10), id="h"))
    reports(twins, 0, 6)
    twins.now += dt.timedelta(seconds=60)
    reports(twins, 6, 6)
    twins.commit()
    names = [msgspec.json.decode(record)["type"] for record in twins.rows.records()]
    assert names.index("hold-ended.v1") == len(names) - 7


def test_a_fleet_that_halts_answers_what_waits_in_a_row(twins: Twins) -> None:
    fleet = twins.rows
    envelope = fleet.take([c.ReportUsage(id="r", agent="ann", usage=USED)], START)
    envelope.reply = kept = Kept()
    fleet.manager.halt("a test")
    assert not fleet.manager.has_work
    assert [b"a test" in answer for answer in kept.answers] == [True]
