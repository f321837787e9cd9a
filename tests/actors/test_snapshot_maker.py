"""A snapshot of a large state is made by another process, from the log, while the fleet goes on."""

import io
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tallystick.actors.manager as manager_module
from tallystick.actors.keeping import Coming, Made, made_of
from tallystick.actors.runtime import snapshot_maker
from tallystick.actors.runtime.manager_actor import HaltNow
from tallystick.actors.runtime.messages import MANAGER
from tallystick.actors.runtime.snapshot_maker import SnapshotMaker, make
from tallystick.events.log import snapshot, store_snapshots
from tallystick.events.log.restoring import open_ledger
from tallystick.events.log.store import StoreError, open_store
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import ZERO
from tallystick.events.state.remembered import EndedHold
from tallystick.fleet import Fleet
from tests.support.core import START
from tests.support.running import QUIET
from tests.support.stores import SECONDS

AGENTS = 30
REPORT = {"type": "ReportUsage", "agent": "a1", "usage": {"tokens": 1}}


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(snapshot_maker, "LONG_MICROS", AGENTS)
    monkeypatch.setattr(manager_module, "SNAPSHOT_EVERY", 50)
    return f"sqlite:///{tmp_path}/fleet.db"


def open_agents(fleet: Fleet) -> None:
    for number in range(AGENTS):
        assert "ok" in fleet.ask({"type": "AllocateBudget", "agent": f"a{number}", "budget": {"tokens": 1_000}})


def report(fleet: Fleet) -> None:
    assert "ok" in fleet.ask(REPORT)


def test_the_fleet_goes_on_while_it_is_made_and_records_its_hash_when_it_is_there(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_it, went_on = SnapshotMaker._make, threading.Event()

    def slowly(maker: SnapshotMaker, position: int) -> None:
        assert went_on.wait(SECONDS)
        make_it(maker, position)

    monkeypatch.setattr(SnapshotMaker, "_make", slowly)
    with Fleet.open(url, QUIET) as fleet:
        open_agents(fleet)
        for _ in range(40):
            report(fleet)
        went_on.set()
        while not fleet.store.snapshots():
            report(fleet)
        fleet.quiesce()
    store = open_store(url)
    (position, data), *_ = store.snapshots()
    recorded = [record.position for record in store.read() if record.name == "snapshot-recorded.v1"]
    assert 50 <= position < recorded[0] - 1, "messages were taken in between"
    state = open_ledger(store, position).ledger
    assert (state.position, snapshot.dump(state)) == (position, snapshot.unpacked(data))
    store.close()


def test_it_is_written_in_parts_between_which_messages_are_taken(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_snapshots, "PART_BYTES", 100)
    written, kept = list[int](), list[int]()
    with Fleet.open(url, QUIET) as fleet:
        stage, save = fleet.store.stage_snapshot, fleet.store.save_snapshot

        def staged(position: int, data: bytes) -> Iterator[None]:
            for part in stage(position, data):
                written.append(fleet.position)
                fleet.send(REPORT)
                yield part

        def saved(position: int, data: bytes) -> None:
            kept.append(fleet.position)
            save(position, data)

        monkeypatch.setattr(fleet.store, "stage_snapshot", staged)
        monkeypatch.setattr(fleet.store, "save_snapshot", saved)
        open_agents(fleet)
        while not kept:
            report(fleet)
    assert len(written) > 10
    assert len({*written}) > 10, "messages were taken in between"


def test_one_of_which_a_part_could_not_be_written_is_tried_whole(url: str) -> None:
    with Fleet.open(url, QUIET) as fleet:
        coming = Coming(Made(1, "", b"a state"), fleet.store)
        fleet.store.close()
        assert coming.is_there()


def test_a_fleet_that_has_stopped_records_none(url: str) -> None:
    with Fleet.open(url, QUIET) as fleet:
        report(fleet)
        made = made_of(fleet._manager.ledger)
        before = fleet.store.last()
        fleet._tell(MANAGER, HaltNow("the log is an old copy"))
        fleet._tell(MANAGER, Coming(made, fleet.store))
        fleet.keep_snapshot()
        fleet.quiesce()
        assert fleet.store.last() == before
        assert fleet.store.snapshots() == []
        assert fleet.halted == "the log is an old copy"


def test_one_that_comes_late_takes_nothing_from_a_newer_one_or_from_the_index_of_sources(url: str) -> None:
    with Fleet.open(url, QUIET) as fleet:
        report(fleet)
        late = made_of(fleet._manager.ledger)
        report(fleet)
        fleet.keep_snapshot()
        fleet.quiesce()
        newer = fleet.store.snapshots()
        upto = fleet.store.sources.upto()
        fleet._tell(MANAGER, Coming(late, fleet.store))
        fleet.quiesce()
        assert [position for position, _ in fleet.store.snapshots()] == [newer[0][0], late.position]
        assert fleet.store.snapshots()[0] == newer[0]
        assert fleet.store.sources.upto() >= upto > late.position


def test_what_it_makes_is_the_state_at_that_position_and_not_behind_it(url: str) -> None:
    with Fleet.open(url, QUIET) as fleet:
        open_agents(fleet)
        position, expected = fleet.position, snapshot.dump(fleet._manager.ledger)
        report(fleet)
    out = io.BytesIO()
    make(url, position, out)
    sha256, _, data = out.getvalue().partition(b"\n")
    assert snapshot.unpacked(data) == expected
    assert sha256.decode() == snapshot.fingerprint(data)
    with pytest.raises(StoreError, match="ends at"):
        make(url, 1_000_000, io.BytesIO())


def large_state() -> Ledger:
    ledger = Ledger()
    ledger.accounts = {str(n): ledger.root for n in range(AGENTS)}
    return ledger


def remembering(ids: int = 0, ended: int = 0) -> Ledger:
    ledger = Ledger()
    ledger.ids.add_all([str(n) for n in range(ids)], range(1, ids + 1), ids)
    ledger.ended_holds.add_all(
        EndedHold(str(n), "settled", "a", n, None, 1, START, ZERO, ZERO, START, None) for n in range(ended)
    )
    return ledger


@pytest.mark.parametrize("large", [remembering(ids=100_000), remembering(ended=10_000)], ids=["ids", "ended holds"])
def test_what_is_remembered_makes_a_state_large_too(large: Ledger, tmp_path: Path) -> None:
    maker = SnapshotMaker(f"sqlite:///{tmp_path}/none.db", lambda made: None)
    assert begun(maker, large)
    assert not begun(maker, remembering(ids=1_000, ended=1_000))


def test_a_small_state_and_one_in_memory_are_for_the_managers_own_turn(url: str) -> None:
    assert not SnapshotMaker(url, lambda made: None).begin(Ledger())
    assert not SnapshotMaker("memory:", lambda made: None).begin(large_state())


def begun(maker: SnapshotMaker, state: Ledger | None = None) -> bool:
    """Whether a process was begun; it has ended."""
    if not maker.begin(state or large_state()):
        return False
    assert maker._thread is not None
    maker._thread.join(SECONDS)
    return True


def test_where_a_process_could_not_make_one_the_manager_makes_the_next_and_the_reason_is_said(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = list[Made]()
    maker = SnapshotMaker(url, made.append)  # there is no such log
    assert begun(maker)
    assert "NoFleet: there is no fleet at sqlite:///" in caplog.text
    assert not begun(maker)
    assert begun(maker), "whatever it was may be over"
    assert made == []


def test_what_a_process_has_said_does_not_stay_with_it(url: str) -> None:
    with Fleet.open(url, QUIET) as fleet:
        open_agents(fleet)
        position, made = fleet.position, list[Made]()
    maker = SnapshotMaker(url, made.append)
    maker._make(position)
    assert [one.position for one in made] == [position]
    assert maker._process is None, "it keeps all that was read from it"


def test_one_that_is_stopped_before_its_process_has_begun_ends_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Fleet.open(url, QUIET) as fleet:
        open_agents(fleet)
        position, begin, made = fleet.position, subprocess.Popen, list[Made]()
    maker = SnapshotMaker(url, made.append)

    def late(*arguments: Any, **rest: Any) -> Any:
        monkeypatch.setattr(maker, "_thread", None)
        maker.stop()
        return begin(*arguments, **rest)

    monkeypatch.setattr(snapshot_maker.subprocess, "Popen", late)
    maker._make(position)
    assert made == []


def test_the_url_which_may_have_a_password_is_no_argument_of_the_process(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, seen = subprocess.Popen, list[str]()

    def noting(arguments: list[str], **rest: Any) -> Any:
        seen.extend(arguments)
        return begin(arguments, **rest)

    monkeypatch.setattr(snapshot_maker.subprocess, "Popen", noting)
    assert begun(SnapshotMaker(url, lambda made: None))
    assert seen
    assert url not in " ".join(seen)


def test_a_fleet_that_is_closed_gives_up_what_is_being_made(url: str) -> None:
    with Fleet.open(url, QUIET) as fleet:
        open_agents(fleet)
        for _ in range(25):
            report(fleet)
    assert "snapshot" not in {thread.name for thread in threading.enumerate()}
    store = open_store(url)
    assert open_ledger(store).ledger.accounts.keys() >= {"a0", "a1"}
    store.close()
