"""Where a fleet lives: one place however it is spelled, no other's file, and no file that is not there any more."""

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tallystick.events.log.store import Fenced, Store, StoreError, WriterPresent, open_store
from tallystick.events.log.store_place import file_of
from tallystick.projections.store.runner import open_view_store, place_of
from tests.support.store_processes import records, run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and open files are those of POSIX")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    return home / "fleet.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


def made(url: str, upto: int = 3) -> None:
    store = open_store(url, writer=True)
    store.append(records(1, upto))
    store.close()


# --- spelling --------------------------------------------------------------------------------------------------------


def _link(path: Path) -> str:
    link = path.with_name("link.db")
    link.symlink_to(path)
    return f"sqlite:///{link}"


def _chain(path: Path) -> str:
    first, second = path.with_name("first"), path.with_name("second")
    first.symlink_to(path.name)
    second.symlink_to("first")
    return f"sqlite:///{second}"


def _folder(path: Path) -> str:
    folder = path.parent.with_name("linked")
    folder.symlink_to(path.parent)
    return f"sqlite:///{folder}/{path.name}"


def _dots(path: Path) -> str:
    return f"sqlite:///{path.parent}/../{path.parent.name}/./{path.name}"


def _relative(path: Path) -> str:
    return f"sqlite:///{os.path.relpath(path)}"


SPELLINGS: dict[str, Callable[[Path], str]] = {
    "a link": _link,
    "a link to a link": _chain,
    "a link to the folder": _folder,
    "dots": _dots,
    "a relative path": _relative,
}
spelled = pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)


@spelled
def test_a_second_writer_is_refused_however_it_spells_the_path_and_the_first_goes_on(
    path: Path, url: str, spelling: Callable[[Path], str]
) -> None:
    first, other = open_store(url, writer=True), spelling(path)
    with pytest.raises(WriterPresent, match=f"process {os.getpid()} on "):
        open_store(other, writer=True)
    first.append(records(1, 3))
    assert [record.position for record in open_store(other).read()] == [1, 2, 3]
    first.close()


@spelled
def test_the_views_of_a_store_are_the_same_file_however_it_is_spelled(
    path: Path, url: str, spelling: Callable[[Path], str]
) -> None:
    other = spelling(path)
    assert place_of(other) == place_of(url)
    made(other)
    made_files = {file.name for file in path.parent.iterdir() if not file.is_symlink()}
    assert made_files <= {"fleet.db", "fleet.db.lock"}


@spelled
def test_a_store_is_known_by_its_absolute_path(path: Path, url: str, spelling: Callable[[Path], str]) -> None:
    store = open_store(spelling(path), writer=True)
    assert store.url == url
    store.close()


def test_a_program_that_changes_its_folder_goes_on_with_the_same_fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///fleet.db", writer=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    store.append(records(1, 2))
    assert list(open_store(store.url).read()) == records(1, 2)
    open_view_store(store.url).close()
    assert list((tmp_path / "elsewhere").iterdir()) == []
    store.close()


@pytest.mark.parametrize("url", ["sqlite:///:memory:", "sqlite:///a/:memory:", "sqlite:///a\0b", "sqlite://host/a.db"])
def test_a_url_that_names_no_file_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match=r"is not a store|names no file"):
        file_of(url)


def test_a_loop_of_links_names_no_file(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(StoreError, match="names no file"):
        open_store(f"sqlite:///{tmp_path}/a", writer=True)


@pytest.mark.parametrize("name", ["100%25.db", "what?.db", "a#b.db", "naïve café.db", "it's.db"])
def test_a_name_with_signs_of_a_url_is_a_name(tmp_path: Path, name: str) -> None:
    url = f"sqlite:///{tmp_path / name}"
    made(url)
    store = open_store(url, writer=True)
    with pytest.raises(WriterPresent, match=f"process {os.getpid()} on "):
        open_store(url, writer=True)
    store.close()
    assert list(open_store(url).read()) == records(1, 3)


def test_a_file_with_a_second_name_is_not_written(path: Path, url: str) -> None:
    made(url)
    os.link(path, path.with_name("other.db"))
    for one in (url, f"sqlite:///{path.with_name('other.db')}"):
        with pytest.raises(StoreError, match=r"has 2 names \(hard links\)"):
            open_store(one, writer=True)
        assert list(open_store(one).read()) == records(1, 3)


# --- what is not a fleet ---------------------------------------------------------------------------------------------

FOREIGN = {
    "a data base": "CREATE TABLE aunts (name TEXT)",
    "another event store": "CREATE TABLE stored_events (originator_id TEXT, originator_version INTEGER, topic TEXT)",
    "a data base that is marked as another program's": "PRAGMA application_id = 12345",
}


@pytest.mark.parametrize("writer", [True, False], ids=["to write", "to read"])
@pytest.mark.parametrize("statement", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_data_base_is_refused_and_left_byte_for_byte(
    path: Path, url: str, statement: str, writer: bool
) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="is no fleet"):
        open_store(url, writer)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_the_file_of_the_views_is_no_fleet(path: Path, url: str) -> None:
    made(url)
    open_view_store(url).close()
    with pytest.raises(StoreError, match=r"name the file without \.views"):
        open_store(f"{url}.views", writer=True)


@pytest.mark.parametrize("suffix", [".views", "-wal"])
def test_an_emptied_fleet_is_not_begun_anew(path: Path, url: str, suffix: str) -> None:
    path.touch()
    path.with_name(f"{path.name}{suffix}").write_bytes(b"something")
    with pytest.raises(StoreError, match=f"fleet.db{suffix} beside it says that there was a fleet"):
        open_store(url, writer=True)
    assert path.read_bytes() == b""


def test_an_empty_file_is_a_place_for_a_new_fleet(path: Path, url: str) -> None:
    path.touch()
    made(url)
    assert list(open_store(url).read()) == records(1, 3)


def test_a_fleet_of_the_code_before_the_mark_is_ours_and_is_marked(path: Path, url: str) -> None:
    made(url)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 0")
    assert list(open_store(url).read()) == records(1, 3)
    made_again = open_store(url, writer=True)
    made_again.append(records(4, 4))
    made_again.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (0x74616C6C,)


# --- taken away under its writer -------------------------------------------------------------------------------------


def _deleted(path: Path) -> None:
    path.unlink()


def _replaced(path: Path) -> None:
    other = path.with_name("copy")
    shutil.copy(path, other)
    other.replace(path)


def _truncated(path: Path) -> None:
    os.truncate(path, 0)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 4096)


def _folder_moved(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))


def _without_its_log_ahead(path: Path) -> None:
    path.with_name("fleet.db-wal").unlink()


TAKEN = {
    "deleted": (_deleted, "is gone"),
    "replaced": (_replaced, "was replaced by another one"),
    "emptied": (_truncated, "was cut off"),
    "cut off": (_cut, "was cut off"),
    "moved with its folder": (_folder_moved, "is gone"),
    "without its write-ahead log": (_without_its_log_ahead, "is gone"),
}
taken = pytest.mark.parametrize(("take", "words"), TAKEN.values(), ids=TAKEN)


@taken
def test_a_store_that_is_taken_away_is_lost_and_nothing_more_is_written(
    tmp_path: Path, take: Callable[[Path], None], words: str
) -> None:
    (tmp_path / "fleet").mkdir()
    path = tmp_path / "fleet" / "fleet.db"
    store = open_store(f"sqlite:///{path}", writer=True)
    store.append(records(1, 300))
    assert store.lost() is None
    take(path)
    lost = store.lost()
    assert lost is not None
    assert words in lost
    assert "\n" not in lost
    with pytest.raises(StoreError, match=r"cannot be written any more|could not be written"):
        store.append(records(301, 301))
    store.close()


def test_a_store_that_grows_and_is_checkpointed_is_not_lost(path: Path, url: str) -> None:
    store = open_store(url, writer=True)
    for first in range(1, 5_000, 500):
        store.append(records(first, first + 499))
        assert store.lost() is None
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert store.lost() is None
    store.save_snapshot(5_000, b"x" * 3_000_000)
    store.save_snapshot(5_000, b"x")
    assert store.lost() is None
    store.close()
    assert store.lost() is None


def test_a_store_that_grows_while_another_thread_looks_at_it_is_not_lost(
    path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look of one thread goes on when the writer has made the file larger, and has looked at it itself."""
    store, look = open_store(url, writer=True), os.stat

    def grows_behind_the_look(file: str) -> os.stat_result:
        found = look(file)
        monkeypatch.setattr(os, "stat", look)
        store.append(records(1, 500))
        with closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        store.append(records(501, 502))
        assert look(path).st_size > found.st_size, "the look is an old one"
        return found

    monkeypatch.setattr(os, "stat", grows_behind_the_look)
    assert store.lost() is None
    assert store.lost() is None
    store.close()


def test_a_store_in_memory_and_one_that_is_only_read_are_never_lost(url: str) -> None:
    made(url)
    assert open_store("memory:", writer=True).lost() is None
    assert open_store(url).lost() is None


# --- taken along by a fork, or copied --------------------------------------------------------------------------------

_FORKS = """
import os, sys, warnings
from tallystick.events.log.store import Fenced, Record, open_store
warnings.simplefilter("ignore")
store = open_store(sys.argv[1], writer=True)
store.append([Record(1, "event.v1", b"{}")])
child = os.fork()
if child == 0:
    print(store.lost(), flush=True)
    try:
        store.append([Record(2, "event.v1", b"{}")])
    except Fenced as error:
        print(error, flush=True)
    store.close()
    os._exit(0)
os.waitpid(child, 0)
store.append([Record(2, "event.v1", b"{}")])
print(os.getpid(), flush=True)
sys.stdin.readline()
store.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_does_not_write_and_leaves_the_place_to_the_process_that_opened_the_store(url: str) -> None:
    lost, fenced, parent = run(_FORKS, url)
    assert lost == fenced
    assert f"was opened by process {parent}: a fork of it must open the store itself" in lost
    assert [record.position for record in open_store(url).read()] == [1, 2]


def test_a_copy_with_its_lock_is_a_fleet_of_its_own(path: Path, url: str, tmp_path: Path) -> None:
    first = open_store(url, writer=True)
    first.append(records(1, 2))
    first_log: Store = first
    copy = tmp_path / "copy.db"
    for suffix in ("", "-wal", ".lock"):
        shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    second = open_store(f"sqlite:///{copy}", writer=True)
    second.append(records(3, 5))
    first_log.append(records(3, 3))
    assert len(list(first.read())) == 3
    assert len(list(second.read())) == 5
    first.close()
    second.close()


def test_the_stale_writer_is_distinguished_by_the_epoch(path: Path, url: str) -> None:
    stale = open_store(url, writer=True)
    Path(f"{path}.lock").unlink()
    store = open_store(url, writer=True)
    with pytest.raises(Fenced):
        stale.append(records(1, 1))
    store.close()
    stale.close()
