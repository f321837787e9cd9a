"""A snapshot is a cache: with it, without it and with a false one, a fleet takes up the same work."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from tallystick.actors import manager as manager_module
from tallystick.config.amounts import Budget
from tallystick.config.loader import from_mapping
from tallystick.events import messages as c
from tallystick.events.catalog import Event, SnapshotRecorded, UsageReported
from tallystick.events.decide import decide
from tallystick.events.evolve.account_read_model import NOT_FOLLOWED, AccountReadModel
from tallystick.events.log import snapshot
from tallystick.events.log.codec import GENESIS, decode_event
from tallystick.events.log.restoring import Opened, open_ledger, replay
from tallystick.events.log.sealing import Sealed
from tallystick.events.log.store import Record, Row, Store, StoreError, open_store
from tallystick.events.log.store_memory import MemoryStore
from tallystick.events.state.accounts import Account
from tallystick.events.state.conservation import check_conserved
from tallystick.events.state.ledger import Ledger
from tests.support.busy_day import CONFIG, busy_day
from tests.support.core import START, dump
from tests.support.driving import simulated, timed
from tests.support.examples import examples
from tests.support.running import OpenFleet
from tests.support.strategies import Step, commands, steps_of

CHANCE = settings(
    max_examples=examples(60),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


@pytest.fixture(autouse=True)
def often() -> Iterator[None]:
    """A snapshot every few events."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manager_module, "SNAPSHOT_EVERY", 20)
        yield


def in_full(store: Store) -> Opened:
    """The state by a replay that trusts no snapshot."""
    ledger = Ledger()
    return Opened(ledger, replay(ledger, GENESIS, store.rows()))


def agree(store: Store) -> None:
    quick, full = open_ledger(store), in_full(store)
    assert quick.digest == full.digest
    assert dump(quick.ledger) == dump(full.ledger)
    assert snapshot.dump(quick.ledger) == snapshot.dump(full.ledger)
    check_conserved(quick.ledger)


@CHANCE
@given(commands(40))
def test_a_restart_from_a_snapshot_is_a_full_replay_whatever_happened(steps: list[Step]) -> None:
    store = MemoryStore()
    outcome = simulated(timed(steps), store=store)
    agree(store)
    assert snapshot.dump(open_ledger(store).ledger) == outcome.state
    for position, data in store.snapshots():
        ledger = snapshot.load(data)
        assert ledger is not None
        assert ledger.position == position
        assert snapshot.dump(ledger) == snapshot.unpacked(data)


def test_in_such_sequences_tasks_and_the_breaker_are_met() -> None:
    happened: Counter[str] = Counter()
    for seed in range(24):
        steps = steps_of(seed, [True] * 60)
        store = MemoryStore()
        simulated(timed(steps), store=store)
        agree(store)
        happened.update(record.name.removesuffix(".v1") for record in store.read())
    for name in (
        *("task-submitted", "task-queued", "task-started", "task-preempted", "lease-lost", "task-completed"),
        *("task-cancelled", "dependencies-awaited", "breaker-tripped", "alert-raised", "priority-overridden"),
    ):
        assert happened[name], f"{name}: {happened}"


def a_busy_store(folder: Path) -> Store:
    store = open_store(f"sqlite:///{folder}/fleet.db", writer=True)
    simulated(busy_day(1), from_mapping(CONFIG), store=store)
    return store


def test_a_snapshot_is_taken_every_so_many_events_and_its_hash_is_the_next_record(tmp_path: Path) -> None:
    store = a_busy_store(tmp_path)
    assert len(store.snapshots()) == 2
    for position, data in store.snapshots():
        record = store.record(position + 1)
        assert record is not None
        assert record.name == "snapshot-recorded.v1"
        assert snapshot.fingerprint(data).encode() in record.data
    agree(store)
    assert open_ledger(store).ledger.position - store.snapshots()[0][0] < 40
    store.close()


@pytest.mark.parametrize("between", [0, 62, 63, 64, 200, 100_001])
def test_its_hash_is_found_however_many_records_came_while_it_was_made(between: int) -> None:
    store, ledger = MemoryStore(), Ledger()
    decided = decide(ledger, c.AllocateBudget(agent="a", budget=Budget(tokens=10**9)), START, "open", "ann")
    before, end = Sealed([(event, None, None, None) for event in decided.events], GENESIS), ledger.position
    store.append(before)
    state = snapshot.dump(ledger)
    store.save_snapshot(end, snapshot.packed(state))
    behind: list[Event] = [
        UsageReported(position=position, at=START, id="", by="a", agent="a", tokens=1)
        for position in range(end + 1, end + 1 + between)
    ]
    recorded = SnapshotRecorded(upto=end, sha256=snapshot.fingerprint(state), position=end + 1 + between, at=START)
    store.append(Sealed([(event, None, None, None) for event in (*behind, recorded)], before.digest))
    read = list[int]()
    replayed = store.rows

    def noted(after: int = 0, upto: int | None = None) -> Iterator[Row]:
        read.append(after)
        return replayed(after, upto)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "rows", noted)
        opened = open_ledger(store)
    assert read[-1] == end, "it began at the snapshot"
    assert opened.ledger.spent[0] == between


def _flip(data: bytes) -> bytes:
    """The same length, and one digit of a balance another."""
    at = data.rindex(b"[1") if b"[1" in data else len(data) - 3
    return data[: at + 1] + b"9" + data[at + 2 :]


def _flipped(data: bytes) -> bytes:
    return snapshot.packed(_flip(snapshot.unpacked(data)))


def _foreign(data: bytes) -> bytes:
    state = msgspec.json.decode(snapshot.unpacked(data))
    return msgspec.json.encode({**state, "format": snapshot.FORMAT + 1})


FALSE: dict[str, Callable[[bytes], bytes]] = {
    "a digit changed": _flipped,
    "a byte of what is stored changed": lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:],
    "cut off": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "no JSON": lambda data: b"\x00\xff" + data,
    "another format": _foreign,
    "something else": lambda data: b'{"format":1}',
}


@pytest.mark.parametrize("false", FALSE)
def test_a_false_snapshot_is_ignored(tmp_path: Path, false: str) -> None:
    store = a_busy_store(tmp_path)
    expected = snapshot.dump(in_full(store).ledger)
    for place in (0, 1):
        position, data = store.snapshots()[place]
        with sqlite3.connect(tmp_path / "fleet.db") as connection:
            changed = (FALSE[false](data), position)
            connection.execute("UPDATE snapshots SET state=? WHERE originator_version=?", changed)
        connection.close()
        assert store.snapshots()[place][1] != data
        assert snapshot.dump(open_ledger(store).ledger) == expected
        agree(store)
    store.close()


def test_a_snapshot_of_a_foreign_format_is_ignored_even_where_the_log_vouches_for_it() -> None:
    store = MemoryStore()
    simulated(busy_day(2), from_mapping(CONFIG), store=store)
    foreign = _foreign(store.snapshots()[0][1])
    assert snapshot.is_foreign(foreign)
    assert snapshot.load(foreign) is None


def test_snapshots_can_all_be_deleted(tmp_path: Path) -> None:
    store = a_busy_store(tmp_path)
    before = snapshot.dump(open_ledger(store).ledger)
    with sqlite3.connect(tmp_path / "fleet.db") as connection:
        connection.execute("DELETE FROM snapshots")
    connection.close()
    assert store.snapshots() == []
    assert snapshot.dump(open_ledger(store).ledger) == before
    store.close()


def test_a_snapshot_that_was_moved_to_another_position_is_ignored(tmp_path: Path) -> None:
    store = a_busy_store(tmp_path)
    before = snapshot.dump(in_full(store).ledger)
    (newest, _), (older, _) = store.snapshots()
    with sqlite3.connect(tmp_path / "fleet.db") as connection:
        connection.execute("DELETE FROM snapshots WHERE originator_version=?", (newest,))
        connection.execute("UPDATE snapshots SET originator_version=? WHERE originator_version=?", (newest, older))
    connection.close()
    assert snapshot.dump(open_ledger(store).ledger) == before
    store.close()


class DiesAfterSnapshot(MemoryStore):
    """Whatever comes behind a snapshot, its own event first, is never written."""

    dies, dead = True, False

    def save_snapshot(self, position: int, data: bytes) -> None:
        super().save_snapshot(position, data)
        self.dead = self.dies

    def append(self, records: Sequence[Record], sources: Sequence[tuple[str, int]] = ()) -> None:
        if self.dead:
            raise StoreError("the lights went out")
        super().append(records, sources)


def test_a_crash_between_a_snapshot_and_its_event_is_harmless(open_fleet: OpenFleet) -> None:
    store = DiesAfterSnapshot()
    fleet = open_fleet(store)
    report = {"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}}
    answered = 0
    while "ok" in fleet.ask(report):
        answered += 1
    assert len(store.snapshots()) == 1
    assert "snapshot-recorded.v1" not in [record.name for record in store.read()]
    agree(store)
    assert open_ledger(store).ledger.spent[0] >= answered
    store.dies = store.dead = False
    again = open_fleet(store)
    for _ in range(30):
        assert "ok" in again.ask(report)
    agree(store)


def test_a_snapshot_that_cannot_be_kept_is_done_without(open_fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(position: int, data: bytes) -> None:
        raise StoreError("no room")

    store = MemoryStore()
    monkeypatch.setattr(store, "save_snapshot", fail)
    fleet = open_fleet(store)
    for _ in range(50):
        assert "ok" in fleet.ask({"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}})
    assert fleet.halted is None
    assert store.snapshots() == []
    agree(store)


# --- the figures that judgement uses ---------------------------------------------------------------------------------


def seen(account: Account) -> dict[str, object]:
    plain = {field: getattr(account, field) for field in Account.__struct_fields__}
    plain["parent"] = None if account.parent is None else account.parent.id
    plain["payers_above"] = [payer.id for payer in account.payers_above]
    return plain


@CHANCE
@given(commands(50))
def test_balances_folded_from_the_log_are_those_of_the_ledger(steps: list[Step]) -> None:
    outcome = simulated(timed(steps), until=START)
    folded = AccountReadModel()
    folded.fold(decode_event(record.data, record.name) for record in outcome.records)
    stated = AccountReadModel(outcome.ledger)
    for sums in ("spent", "held", "opening"):
        assert getattr(folded, sums) == getattr(stated, sums) == getattr(outcome.ledger, sums)
    assert seen(folded.root) == seen(stated.root)
    assert seen(folded.reserve) == seen(stated.reserve)
    assert folded.accounts.keys() == stated.accounts.keys()
    for name, account in folded.accounts.items():
        assert seen(account) == seen(stated.accounts[name])
        followed = seen(account).keys() - NOT_FOLLOWED
        own = seen(outcome.ledger.accounts[name])
        assert {field: seen(account)[field] for field in followed} == {field: own[field] for field in followed}
    assert {hold.id: (hold.account.id, hold.amount) for hold in folded.holds.values()} == {
        hold.id: (hold.account.id, hold.amount) for hold in outcome.ledger.holds.values()
    }
