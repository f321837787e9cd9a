"""What only a file can do wrong: syncs, a second writer, a stale one, and everything that a path may turn out to be."""

import os
import shutil
import signal
import socket
import sqlite3
import stat
import sys
from pathlib import Path

import pytest

from tallystick.events.log.store import Fenced, Record, Store, StoreError, WriterPresent, open_store
from tallystick.events.log.store_sqlite import SqliteStore
from tests.support.running import OpenFleet
from tests.support.store_processes import SECONDS, as_ordinary_user, child, let_go, line_of, records, run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and file modes are those of POSIX")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fleet.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


def written(path: Path) -> list[tuple[int, bytes]]:
    """What is in the file, seen with nothing of ours."""
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT originator_version, state FROM stored_events ORDER BY 1").fetchall()
    connection.close()
    return rows


# --- durable ---------------------------------------------------------------------------------------------------------


def test_the_writers_connection_keeps_a_write_ahead_log_and_syncs_at_every_commit(url: str) -> None:
    store = open_store(url, writer=True)
    assert isinstance(store, SqliteStore)
    with store._datastore.transaction(commit=False) as cursor:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2)):
            cursor.execute(f"PRAGMA {pragma}")
            assert cursor.fetchone()[0] == value
    store.close()


_APPENDS = """
import sys
from tallystick.events.log.store import Record, open_store
store = open_store(sys.argv[1], writer=True)
for batch in range(int(sys.argv[2])):
    store.append([Record(batch * 10 + n, "event.v1", b"{}") for n in range(1, 11)])
store.close()
"""

_REPORTS = """
import sys, structlog
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
from tallystick.actors.runtime.fleet import Fleet
with Fleet.open(sys.argv[1]) as fleet:
    for _ in range(int(sys.argv[2])):
        replies = fleet.ask([{"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}}] * int(sys.argv[3]))
        assert all("ok" in reply for reply in replies)
"""


def _syncs(tmp_path: Path, program: str, times: int, *arguments: str) -> int:
    if shutil.which("strace") is None:
        pytest.skip("strace is not there to count by")
    folder, trace = tmp_path / f"times-{times}", tmp_path / f"trace-{times}"
    folder.mkdir()
    strace = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=fsync,fdatasync", "-o", str(trace)]
    run(program, f"sqlite:///{folder}/fleet.db", str(times), *arguments, before=strace)
    return sum("sync(" in line for line in trace.read_text().splitlines())


@pytest.mark.parametrize(
    ("program", "arguments"),
    [(_APPENDS, ()), (_REPORTS, ("1",)), (_REPORTS, ("100",))],
    ids=["an append", "a report", "a message of a hundred reports"],
)
def test_every_commit_is_one_sync_of_the_disk(tmp_path: Path, program: str, arguments: tuple[str, ...]) -> None:
    few, many = _syncs(tmp_path, program, 2, *arguments), _syncs(tmp_path, program, 12, *arguments)
    assert many - few == 10


# --- one writer ------------------------------------------------------------------------------------------------------

_HOLDER = """
import sys
from tallystick.events.log.store import Record, open_store
store = open_store(sys.argv[1], writer=True)
store.append([Record(1, "event.v1", b"{}")])
print("open", flush=True)
sys.stdin.readline()
store.close()
"""


def test_a_second_process_is_refused_with_the_name_of_the_first(url: str, path: Path) -> None:
    with child(_HOLDER, url) as holder:
        assert line_of(holder) == "open"
        with pytest.raises(WriterPresent) as refusal:
            open_store(url, writer=True)
        assert f"process {holder.pid} on {socket.gethostname()}" in str(refusal.value)
        assert url in str(refusal.value)
        assert "\n" not in str(refusal.value)
        let_go(holder)
    store = open_store(url, writer=True)
    store.append(records(2, 2))
    store.close()
    assert [position for position, _ in written(path)] == [1, 2]


def test_a_second_writer_in_the_same_process_is_refused_too(url: str) -> None:
    store = open_store(url, writer=True)
    with pytest.raises(WriterPresent, match=f"process {os.getpid()} on "):
        open_store(url, writer=True)
    store.append(records(1, 1))
    store.close()
    open_store(url, writer=True).close()


def test_the_place_of_a_holder_that_was_killed_is_free_at_once(url: str) -> None:
    with child(_HOLDER, url) as holder:
        line_of(holder)
        holder.send_signal(signal.SIGKILL)
        holder.wait(SECONDS)
        store = open_store(url, writer=True)
        assert store.last() == Record(1, "event.v1", b"{}")
        store.close()


def test_a_stale_holder_cannot_commit_after_another_took_its_place(url: str, path: Path) -> None:
    stale = open_store(url, writer=True)
    stale.append(records(1, 2))
    Path(f"{path}.lock").unlink()
    store = open_store(url, writer=True)
    before = written(path)
    with pytest.raises(Fenced):
        stale.append(records(3, 300))
    assert written(path) == before
    store.append(records(3, 3))
    with pytest.raises(Fenced):
        stale.append(records(4, 4))
    assert list(store.read()) == records(1, 3)
    stale.close()
    store.close()


def test_a_stale_fleet_halts_and_says_so_and_nothing_of_its_batch_is_in_the_file(
    url: str, path: Path, open_fleet: OpenFleet
) -> None:
    stale = open_fleet(url)
    Path(f"{path}.lock").unlink()
    store = open_store(url, writer=True)
    before = written(path)
    report = {"type": "ReportUsage", "agent": "a", "usage": {"tokens": 5}}
    for reply in (*stale.ask([report, report]), stale.ask(report)):
        assert reply["error"]["code"] == "halted"
        assert "another writer has written" in reply["error"]["detail"]
    assert stale.halted is not None
    assert written(path) == before
    stale.close()
    store.close()
    assert "ok" in open_fleet(url).ask(report)


# --- readers ---------------------------------------------------------------------------------------------------------

_WRITER = """
import sys
from tallystick.events.log.store import Record, open_store
store = open_store(sys.argv[1], writer=True)
for n in range(1, 301):
    store.append([Record(n, "event.v1", b'{"n":%d}' % n)])
    print(n, flush=True)
print("done", flush=True)
sys.stdin.readline()
store.close()
"""


def test_a_reader_sees_all_that_is_committed_while_another_process_writes(url: str) -> None:
    with child(_WRITER, url) as writer:
        committed = int(line_of(writer))
        reader = open_store(url)
        while True:
            seen = [record.position for record in reader.read()]
            assert seen == list(range(1, len(seen) + 1))
            assert len(seen) >= committed
            line = line_of(writer)
            if line == "done":
                break
            committed = int(line)
        assert [record.position for record in reader.read()] == list(range(1, 301))
        reader.close()
        let_go(writer)


def test_a_reader_needs_no_place_and_takes_none(url: str) -> None:
    store = open_store(url, writer=True)
    store.append(records(1, 3))
    readers = [open_store(url) for _ in range(3)]
    assert all(list(reader.read()) == records(1, 3) for reader in readers)
    store.append(records(4, 4))
    assert all(reader.last() == records(4, 4)[0] for reader in readers)
    for reader in (*readers, store):
        reader.close()


def test_one_who_opened_to_read_cannot_append(url: str) -> None:
    store = open_store(url, writer=True)
    store.append(records(1, 1))
    reader = open_store(url)
    with pytest.raises(StoreError):
        reader.append(records(2, 2))
    assert list(store.read()) == records(1, 1)
    reader.close()
    store.close()


# --- what a path may turn out to be ----------------------------------------------------------------------------------


def _sentence(refused: pytest.ExceptionInfo[StoreError]) -> str:
    text = str(refused.value)
    assert "\n" not in text
    assert text.strip() == text != ""
    return text


@pytest.mark.parametrize("writer", [True, False], ids=["to write", "to read"])
@pytest.mark.parametrize(
    "mistake",
    ["", "fleet.db", "sqlite://", "sqlite:///", "sqlite:fleet.db", "mysql://host/fleet", "memory", "file:///fleet.db"],
)
def test_a_url_that_names_no_store_is_refused_with_those_that_are_allowed(mistake: str, writer: bool) -> None:
    with pytest.raises(StoreError) as refused:
        open_store(mistake, writer)
    assert repr(mistake) in _sentence(refused)
    assert "allowed are sqlite:///FILE, postgresql://HOST/DATABASE?fleet=NAME and memory:" in str(refused.value)


def test_there_is_nothing_to_read_where_no_file_is_and_none_is_made(url: str, path: Path) -> None:
    with pytest.raises(StoreError) as refused:
        open_store(url)
    assert "does not exist" in _sentence(refused)
    assert list(path.parent.iterdir()) == []


def test_a_folder_that_is_missing_is_made_for_a_writer_and_not_for_a_reader(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new/folder/fleet.db"
    with pytest.raises(StoreError, match="does not exist"):
        open_store(url)
    assert list(tmp_path.iterdir()) == []
    open_store(url, writer=True).close()
    open_store(url).close()


@pytest.mark.parametrize("writer", [True, False], ids=["to write", "to read"])
def test_a_folder_is_no_store(tmp_path: Path, writer: bool) -> None:
    with pytest.raises(StoreError) as refused:
        open_store(f"sqlite:///{tmp_path}", writer)
    assert str(tmp_path) in _sentence(refused)


def test_a_file_in_the_place_of_the_folder_is_no_store(path: Path) -> None:
    path.write_text("a file")
    with pytest.raises(StoreError) as refused:
        open_store(f"sqlite:///{path}/fleet.db", writer=True)
    assert str(path) in _sentence(refused)


@pytest.mark.parametrize("writer", [True, False], ids=["to write", "to read"])
def test_a_file_that_is_no_data_base_is_refused_and_left_as_it_was(url: str, path: Path, writer: bool) -> None:
    content = b"this is a letter to my aunt, and no data base\n" * 50
    path.write_bytes(content)
    with pytest.raises(StoreError) as refused:
        open_store(url, writer)
    assert url in _sentence(refused)
    assert path.read_bytes() == content
    with pytest.raises(StoreError):
        open_store(url, writer)  # and it was not locked by the first attempt


def test_a_data_base_of_something_else_is_no_fleet_to_read(url: str, path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE aunts (name TEXT)")
    connection.close()
    with pytest.raises(StoreError) as refused:
        open_store(url)
    assert url in _sentence(refused)


_OPEN = """
import sys
from tallystick.events.log.store import Record, StoreError, open_store
try:
    store = open_store(sys.argv[1], writer=sys.argv[2] == "write")
    print([record.position for record in store.read()])
    store.append([Record(2, "event.v1", b"{}")])
except StoreError as error:
    print(f"{type(error).__name__}: {error}")
"""


def _made(url: str) -> None:
    store = open_store(url, writer=True)
    store.append(records(1, 1))
    store.close()


def test_a_read_only_file_is_refused_to_a_writer_in_one_sentence(url: str, path: Path) -> None:
    _made(url)
    path.chmod(stat.S_IRUSR)
    before = written(path)
    lines = run(_OPEN, url, "write", before=as_ordinary_user())
    assert len(lines) == 1
    assert lines[0].startswith(f"StoreError: {url} cannot be written: ")
    assert written(path) == before


def test_a_read_only_folder_is_refused_to_a_writer_in_one_sentence(url: str, path: Path) -> None:
    _made(url)
    path.with_suffix(".db.lock").unlink(missing_ok=True)
    path.parent.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        lines = run(_OPEN, url, "write", before=as_ordinary_user())
    finally:
        path.parent.chmod(stat.S_IRWXU)
    assert len(lines) == 1
    assert lines[0].startswith(f"StoreError: {url} cannot be written: ")


def test_a_new_fleet_in_a_read_only_folder_is_refused_in_one_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        lines = run(_OPEN, f"sqlite:///{tmp_path}/fleet.db", "write", before=as_ordinary_user())
    finally:
        tmp_path.chmod(stat.S_IRWXU)
    assert len(lines) == 1
    assert lines[0].startswith("StoreError: ")


def test_a_file_that_may_not_be_read_is_refused_to_a_reader_in_one_sentence(url: str, path: Path) -> None:
    _made(url)
    path.chmod(0)
    lines = run(_OPEN, url, "read", before=as_ordinary_user())
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    assert len(lines) == 1
    assert lines[0].startswith(f"StoreError: {url} cannot be read: ")


def test_what_was_closed_says_so_in_one_sentence(url: str) -> None:
    store = open_store(url, writer=True)
    store.close()
    with pytest.raises(StoreError) as refused:
        store.append(records(1, 1))
    assert url in str(refused.value)


def test_a_snapshot_table_that_is_gone_is_a_cache_that_is_empty(url: str, path: Path) -> None:
    _made(url)
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE snapshots")
    connection.close()
    reader: Store = open_store(url)
    assert reader.snapshots() == []
    assert list(reader.read()) == records(1, 1)
    reader.close()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder that even root cannot write to is Linux's /proc")
def test_a_place_that_takes_no_files_is_not_called_anothers() -> None:
    with pytest.raises(StoreError, match="cannot be written: /proc takes no new files") as told:
        open_store("sqlite:////proc/fleet.db", writer=True)
    assert not isinstance(told.value, WriterPresent)
