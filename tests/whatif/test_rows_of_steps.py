"""Messages of a log that are decided again in one go say what they say one by one, and what is wrong with them."""

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tallystick.actors.manager import Manager
from tallystick.actors.runtime.messages import Envelope
from tallystick.audit import deciding
from tallystick.audit.deciding import Contradicted, Deciding
from tallystick.config.amounts import Budget
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log import snapshot
from tallystick.events.log.audit import Verification
from tallystick.events.log.codec import GENESIS, TAIL, encode_command, exchange_of, with_digest
from tallystick.events.log.store import Record
from tallystick.events.log.store_memory import MemoryStore
from tallystick.events.state.ledger import Ledger
from tallystick.whatif.reproduction import Reproduction
from tallystick.whatif.steps import ROW_MAX, Step, rows_of, steps_of
from tests.support.core import START, fleet
from tests.support.decision_logs import records_of
from tests.support.examples import examples
from tests.support.plain_sessions import session
from tests.support.whatif import sealed_again


def recorded(steps: Iterable[tuple[c.Command, float]]) -> list[Record]:
    """The log of a session that a manager has taken."""
    store = MemoryStore()
    manager, now = Manager(Ledger(), store, GENESIS), START
    for number, (command, seconds) in enumerate(steps):
        command.id = command.id or f"n-{number}"
        now += dt.timedelta(seconds=seconds)
        manager.take(Envelope([command], [encode_command(command)], f"tester-{number % 5}", None), now)
    while manager.has_work:
        manager.commit(now)
    return list(store.read())


def calm() -> Iterator[tuple[c.Command, float]]:
    """Reports, then holds, then their settlements, now and then a source, which is no plain case, and a correction."""
    yield fleet(10**9), 0.0
    for agent in ("ann", "bob"):
        yield c.AllocateBudget(id=f"open-{agent}", agent=agent, budget=Budget(tokens=10**6)), 0.0
    for part in range(3):
        for n in range(30):
            source = f"s-{part}" if n == 20 else None
            agent = ("ann", "bob")[n % 2]
            yield c.ReportUsage(id=f"r-{part}-{n}", agent=agent, usage=Budget(tokens=n), source_id=source), 0.1
        for n in range(20):
            yield c.Reserve(id=f"h-{part}-{n}", agent="ann", estimate=Budget(tokens=n + 1)), 0.1
        for n in range(20):
            yield c.Settle(id=f"s-{part}-{n}", hold=f"h-{part}-{n}", usage=Budget(tokens=n)), 2.0
        yield c.CorrectUsage(id=f"c-{part}", position=9 + 70 * part, usage=Budget(tokens=1), reason="test"), 1.0


CALM = recorded(calm())
LOGS = [CALM, *(recorded(session(seed)) for seed in (3, 8, 21)), records_of("corrections")]


def found(records: Sequence[Record], cuts: Sequence[int] = (), *, one_by_one: bool = False) -> tuple[Any, ...]:
    """All that an audit says of a log."""
    follower, seen = Deciding(cuts), []
    with pytest.MonkeyPatch.context() as patched:
        if one_by_one:
            patched.setattr(deciding, "rows_of", lambda steps, _: ([step] for step in steps))
        verification = Verification([(cut, b"{}") for cut in cuts], (), follower)
        compare = verification._compare  # the state at a landmark is what matters
        patched.setattr(verification, "_compare", lambda at: seen.append(snapshot.dump(follower.ledger)) or compare(at))
        report = verification.run(records)
    again = follower.reproduction
    problems = [(str(one), one.fields if isinstance(one, Contradicted) else ()) for one in report.problems]
    counts = (again.messages, again.facts, again.decisions, again.kept, again.reworded)
    stretches = [(one.first, min(one.last, report.events), one.rules) for one in again.stretches.all]
    shown = [one for one in stretches if one[0] <= one[1]]
    state = None if report.problems else snapshot.dump(follower.ledger)
    return problems, report.events, report.digest, report.last_at, counts, shown, seen, state


@given(log=st.sampled_from(LOGS), cuts=st.lists(st.integers(1, 260), max_size=4))
@settings(max_examples=examples(25), deadline=None, suppress_health_check=list(HealthCheck))
def test_a_sound_log_says_the_same(log: list[Record], cuts: list[int]) -> None:
    assert found(log, cuts) == found(log, cuts, one_by_one=True)
    assert not [problem for problem in found(log)[0] if "snapshot" not in problem[0]]


DEEDS = (
    "byte",
    "gone",
    "twice",
    "swapped",
    "cut short",
    "another number",
    "another reply",
    "another request",
    "no time",
)


@given(log=st.sampled_from(LOGS), deed=st.sampled_from(DEEDS), data=st.data())
@settings(max_examples=examples(100), deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_done_to_a_log_is_named_as_one_by_one(log: list[Record], deed: str, data: st.DataObject) -> None:
    records = forged(log, deed, data.draw(st.integers(0, len(log) - 1)), data.draw(st.integers(0, 600)))
    assert found(records) == found(records, one_by_one=True)


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("place", [11, 16, 38, 40, 53])
def test_whatever_is_done_within_a_row_is_named_as_one_by_one(deed: str, place: int) -> None:
    records = forged(CALM, deed, place, 60)
    assert found(records)[0]
    assert found(records) == found(records, one_by_one=True)


def forged(log: Sequence[Record], deed: str, place: int, at: int) -> list[Record]:
    """A log with one record that is not what was written."""
    records, record = list(log), log[place]
    match deed:
        case "byte":
            at %= len(record.data)
            records[place] = record._replace(data=record.data[:at] + b"~" + record.data[at + 1 :])
        case "gone":
            del records[place]
        case "twice":
            records.insert(place, record)
        case "swapped":
            records[place], records[place - 1] = records[place - 1], records[place]
        case "cut short":
            records[place] = record._replace(data=record.data[:at])
        case "another number":
            records = sealed_again(records, record.position, _other)
        case "another reply":
            records = _said_otherwise(records, place, b'"reply":{', b'"reply":{"x":1,')
        case "another request":
            records = _said_otherwise(records, place, b'"command":{"type":', b'"command":{"type":1,"x":')
        case "no time":
            records = _said_otherwise(records, place, b'"at":"', b'"at":"never ')
    return records


def _other(event: e.Event) -> e.Event:
    for name in ("tokens", "ttl_ms", "level"):
        if isinstance(value := getattr(event, name, None), int):
            return replace(event, **{name: value + 1})
    return replace(event, by=f"{event.by}x")


def _said_otherwise(records: Sequence[Record], place: int, what: bytes, instead: bytes) -> list[Record]:
    """The log with something else in one record, and a chain that is made anew."""
    made, digest = [], GENESIS
    for number, record in enumerate(records):
        body = record.data[:-TAIL]
        if number == place:
            body = body.replace(what, instead, 1)
        digest = sha256(digest + body).digest()
        made.append(record._replace(data=with_digest(body, digest)))
    return made


@pytest.mark.parametrize("place", range(60, 75))
def test_a_number_within_a_row_is_named_by_its_position(place: int) -> None:
    position = CALM[place].position
    problems = found(sealed_again(CALM, position, _other))[0]
    assert [text.split(":")[0] for text, _ in problems] == [f"position {position}"]


def test_plain_messages_are_decided_in_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    alone: list[Step] = []
    take = Reproduction.take
    monkeypatch.setattr(Reproduction, "take", lambda self, step: alone.append(step) or take(self, step))
    assert not found(CALM)[0]
    assert len(alone) < len(CALM) / 4


def test_a_row_ends_at_a_cut_at_another_kind_and_after_as_many_as_are_tried() -> None:
    steps = list(steps_of(CALM))
    rows = list(rows_of(steps, (20, 21)))
    assert [step for row in rows for step in row] == steps
    assert {20, 21} <= {row[-1].position for row in rows}
    assert all(len({record.name for step in row for record in step.own}) == 1 for row in rows if len(row) > 1)
    assert max(map(len, rows)) <= ROW_MAX
    assert exchange_of(rows[0][0].own[0].data).command


def test_what_cannot_be_decided_in_a_row_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def impossible(again: Reproduction, steps: Sequence[Step]) -> None:
        raise KeyError(steps[0].position)

    monkeypatch.setattr(Reproduction, "take_row", impossible)
    (text, _), *more = found(CALM)[0]
    assert "what is recorded cannot be decided: KeyError" in text
    assert not more
