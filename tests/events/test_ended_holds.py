"""The memory of ended holds is packed, and says the same as a plain dict, a list of ends, and a scan of all."""

import datetime as dt
import json
import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide import get_holds as asked
from tallystick.events.log import snapshot
from tallystick.events.messages.replies import Holds
from tallystick.events.state import ended_holds as module
from tallystick.events.state import key_index
from tallystick.events.state.accounts import Notes
from tallystick.events.state.ended_holds import EndedHolds
from tallystick.events.state.limited_holds import Limited, Part
from tallystick.events.state.money import ZERO
from tallystick.events.state.remembered import EndedHold
from tests.support.core import START, Core, allocate, fleet, hold, settle
from tests.support.examples import examples

ENDS = ("settled", "settled", "expired", "cancelled", "released")
AGENTS = ("ann", "ann/1", "bob", "cyd", "dan")


class Plain:
    """The same memory as it would be written without a thought of its size: as it was before it was packed."""

    def __init__(self) -> None:
        self.known: dict[str, EndedHold] = {}
        self.order: deque[tuple[int, str]] = deque()
        self.late: deque[str] = deque()

    def add(self, row: EndedHold) -> None:
        self.known[row.id] = row
        self.order.append((row.position, row.id))

    def change(self, row: EndedHold) -> None:
        self.known[row.id] = row

    def forget_before(self, position: int, most: int) -> None:
        while self.order and self.order[0][0] < position:
            id = self.order.popleft()[1]
            if self.known[id].how == "settled":
                del self.known[id]
            else:
                self.late.append(id)
        while len(self.late) > most:
            del self.known[self.late.popleft()]

    def of(self, agent: str) -> set[tuple[str, str]]:
        return {(row.id, row.how) for row in self.known.values() if row.agent == agent}


class Dice(random.Random):
    """Makes ended holds, nearly all of them plain."""

    def row(self, id: str, position: int) -> EndedHold:
        at = START + dt.timedelta(microseconds=self.randrange(10**12))
        row = EndedHold(
            id, self.choice(ENDS), self.choice(AGENTS), position, None, 3, at, (9, 0, 0), (2**62, 1, 5), START, None
        )
        if self.randrange(5):
            return row
        spent = e.HoldSpent(hold=id, agent=row.agent, tokens=5, day="2026-03-04", labels={"x": "ä"})
        spent.position, spent.at, spent.id = position, at, f"end of {id}"
        part = Part(position, 1, 2, 3, {"team": "a"})
        return replace(
            row,
            lease="lease-1",
            at=dt.datetime.max.replace(tzinfo=dt.UTC),
            booked=(2**70, 0, 0) if self.randrange(2) else ZERO,
            notes=Notes({"team": "a"}, "chat", None, "was late"),
            spent=self.choice((spent, None)),
            counted=self.choice((e.Said.by(spent), None)),
            limited=Limited((("l", 7, "ann"),), "m", True, True, 1, 2, 3, (part,)),
        )


def same_hash(_: object) -> int:
    return -7


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch)


def make_small(patched: pytest.MonkeyPatch) -> None:
    """Pages, blocks and buckets that few holds fill."""
    patched.setattr(module, "PAGE", 2)
    patched.setattr(module, "BLOCK", 4)
    patched.setattr(key_index, "FULL", 3)
    patched.setattr(key_index, "_TIDIED", 1)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("seed", "hashing"), [*((seed, hash) for seed in range(8)), (8, same_hash)])
def test_whatever_ends_changes_and_is_forgotten_it_knows_what_a_plain_dict_knows(
    seed: int, hashing: Callable[[object], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_index, "hash", hashing, raising=False)
    dice, position = Dice(seed), 0
    ended, plain = EndedHolds(), Plain()
    names = [f'{n} "ä"' for n in range(70)]
    for _ in range(300):
        position += dice.choice((1, 1, 3))
        name = dice.choice(names)
        match dice.randrange(14):
            case 0:
                before, late = position - dice.randrange(60), dice.choice((0, 3, 8, 8, 30))
                ended.forget_before(before, late)
                plain.forget_before(before, late)
            case 1:
                ended = EndedHolds.load(*ended.dump())
            case 2 | 3 | 4 if name in plain.known:
                row = replace(dice.row(name, plain.known[name].position), agent=plain.known[name].agent)
                ended.change(row)
                plain.change(row)
            case _ if name not in plain.known:
                row = dice.row(name, position)
                ended.add_all([row])
                plain.add(row)
        assert_same(ended, plain, names)
        assert set(ended.among(names)) == plain.known.keys()
        assert {name for name in names if ended.among((name,))} == plain.known.keys()


def assert_same(ended: EndedHolds, plain: Plain, names: list[str]) -> None:
    assert len(ended) == len(plain.known)
    assert dict(ended) == plain.known
    assert {name: ended.get(name) for name in names if name in ended} == plain.known
    assert list(ended) == [*plain.late, *(name for _, name in plain.order)]
    for agent in AGENTS:
        found = [(row.id, row.how) for row in ended.of(agent)]
        assert len(found) == len(set(found))
        assert set(found) == plain.of(agent)
    late, rows = (json.loads(part) for part in ended.dump())
    assert [row[0] for row in late] == [*plain.late]
    assert [(row[3], row[0]) for row in rows] == [*plain.order]


def test_what_is_not_there_is_neither_found_nor_changed() -> None:
    ended = EndedHolds()
    assert ended.get("h") is None
    assert "h" not in ended
    assert 5 not in ended
    assert not ended.among(["h"])
    assert not ended.among([])
    with pytest.raises(KeyError):
        ended["h"]


@pytest.mark.usefixtures("small")
def test_numbers_of_rows_may_begin_anew() -> None:
    dice, ended, plain = Dice(3), EndedHolds(), Plain()
    ended._first = ended._newer_from = 2**32 - 40
    names = [f"h-{n}" for n in range(120)]
    for n, name in enumerate(names):
        row = dice.row(name, n)
        ended.add_all([row])
        plain.add(row)
        if n % 7 == 6:
            ended.forget_before(n - 25, 5)
            plain.forget_before(n - 25, 5)
        assert_same(ended, plain, names)


def test_the_index_has_each_row_once_and_lets_go_of_those_that_are_gone() -> None:
    ended, rows, kept = EndedHolds(), 60 * module.BLOCK, 10 * module.BLOCK
    for n in range(rows):
        ended.add_all([EndedHold(f"h-{n}", "settled", "ann", n, None, 1, START, ZERO, ZERO, START, None)])
        if n % 1_000 == 0:
            ended.forget_before(n - kept, 0)
    buckets = ended._index._buckets
    entries = [entry for bucket in buckets for (entry,) in key_index._entries(bucket)]
    assert len(set(entries)) == len(entries) == ended._index._count < 2 * len(ended)
    assert max(map(len, buckets)) < 4 * 8 * key_index.FULL


def test_of_many_that_are_forgotten_at_once_only_those_are_read_that_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What leaves after an outage is a day's: it must not keep others waiting."""
    ended, read = EndedHolds(), list[int]()
    for n in range(30 * module.BLOCK):
        how = "expired" if n % 2 and n < 19 * module.BLOCK else "settled"
        ended.add_all([EndedHold(f"h-{n}", how, "ann", n, None, 1, START, ZERO, ZERO, START, None)])
    rows = module._Block.rows

    def counted(block: Any, first: int) -> Iterator[EndedHold]:
        for row in rows(block, first):
            read.append(row.position)
            yield row

    monkeypatch.setattr(module._Block, "rows", counted)
    ended.forget_before(19 * module.BLOCK, module.BLOCK)
    assert len(read) <= 3 * module.BLOCK
    read.clear()
    ended.forget_before(29 * module.BLOCK, module.BLOCK)
    assert len(read) <= 1
    assert [row.position for row in ended.values()][: module.BLOCK] == [
        n for n in range(17 * module.BLOCK, 19 * module.BLOCK) if n % 2
    ]


# --- in a fleet -------------------------------------------------------------------------------------------------------


def scanned(ledger: Any, command: c.GetHolds) -> Iterator[str]:
    """The names of holds as they were found before: all are looked at."""
    agent, state, after = command.agent, command.state, command.after or ""
    for name, one in [*ledger.holds.items(), *ledger.ended_holds.items()]:
        how = asked.end_of(one) if isinstance(one, EndedHold) else "open"
        if name > after and agent in (None, one.agent) and state in (None, how):
            yield name


@settings(max_examples=examples(30), deadline=None)
@given(st.integers(0, 2**32))
def test_the_holds_of_an_agent_are_those_that_a_look_at_all_of_them_finds(seed: int) -> None:
    dice = random.Random(seed)
    with pytest.MonkeyPatch.context() as patched:
        make_small(patched)
        patched.setattr("tallystick.events.state.ledger.LATE_KEPT", 6)
        core = Core(
            fleet(10**9, idempotency_hours=1, enforcement={"warn_before_exhaustion_seconds": 0}),
            *(allocate(name, 10**6) for name in AGENTS[2:]),
            compares=False,
        )
        for n in range(70):
            core.wait(dice.choice((1, 1, 60, 900)))
            open_holds = list(core.ledger.holds) or ["h-0"]
            match dice.randrange(12):
                case 0:
                    core.when(c.CancelHold(hold=dice.choice(open_holds)))
                case 1:
                    core.when(settle(f"h-{dice.randrange(n + 1)}", 7))
                case 2 | 3 | 4 | 5:
                    core.when(settle(dice.choice(open_holds), 7))
                case 6:
                    agent = dice.choice(AGENTS[2:])
                    core.when(c.ReleaseBudget(agent=agent))
                    core.given(allocate(agent, 10**6))
                case _:
                    core.when(hold(dice.choice(AGENTS[2:]), f"h-{n}", 9, ttl_seconds=dice.choice((5, 4_000))))
            if n % 10 == 9:
                _assert_answers(core.ledger, dice)
        dumped = snapshot.dump(core.ledger)
        restored = snapshot.load(dumped)
        assert restored is not None
        _assert_answers(restored, dice)
        assert snapshot.dump(restored) == dumped


def _assert_answers(ledger: Any, dice: random.Random) -> None:
    for _ in range(8):
        command = c.GetHolds(
            agent=dice.choice((None, *AGENTS)),
            state=dice.choice((None, "open", "settled", "expired", "cancelled")),
            after=dice.choice((None, f"h-{dice.randrange(70)}")),
            limit=dice.choice((2, 100)),
        )
        turn: Any = type("Turn", (), {"ledger": ledger})
        answer = asked.get_holds(turn, command)
        names = sorted(scanned(ledger, command))
        assert isinstance(answer, Holds)
        assert answer.holds == [asked._status(ledger, name) for name in names[: command.limit]]
        assert answer.after == (names[command.limit - 1] if len(names) > command.limit else None)
