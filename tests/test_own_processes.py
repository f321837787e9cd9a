"""Processes that a fleet or a server starts run the package, whatever lies in the folder in which it was started."""

import ast
import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tallystick.actors.keeping import Made
from tallystick.actors.runtime.snapshot_maker import SnapshotMaker
from tallystick.events.log import snapshot
from tallystick.events.log.restoring import open_ledger
from tallystick.events.log.store import open_store
from tallystick.fleet import Fleet
from tallystick.http.views.readers import Readers
from tallystick.projections.store.runner import open_view_store
from tallystick.reports import reporter
from tests.support.pages import PROJECT

ROOMS = ("actors", "config", "events", "projections", "tallystick")
FILES = ("tallystick", "json", "secrets", "queue", "statistics", "calendar", "msgspec", "eventsourcing")
"""Of the user, by names of modules that the package loads."""


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A log, in a process whose folder has such files."""
    for name in FILES:
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    # A process that is forked from one that has loaded the package would load nothing.
    own = next(cls for cls in subprocess.Popen.__mro__ if cls.__module__ == "subprocess")
    monkeypatch.setattr(subprocess, "Popen", own)
    url = f"sqlite:///{tmp_path}/fleet.db"
    with Fleet.open(url, {}, notify=False) as fleet:
        fleet.ask({"type": "AllocateBudget", "agent": "a-1", "budget": {"tokens": 10}})
    return url


def make_a_snapshot(url: str) -> None:
    made = list[Made]()
    store = open_store(url)
    ledger = open_ledger(store).ledger
    store.close()
    SnapshotMaker(url, made.append)._make(ledger.position)
    assert [one.sha256 for one in made] == [snapshot.fingerprint(snapshot.dump(ledger))]


def read_a_view(url: str) -> None:
    async def asked() -> bytes:
        readers = Readers(store, log_time=False)
        try:
            return await readers.ask("agents", None, {})
        finally:
            await readers.close()

    store = open_store(url)
    assert asyncio.run(asked()).startswith(b'{"ok":')
    store.close()


def bring_views_up_to_date(url: str) -> None:
    reporter._catch_up_elsewhere(url)
    views, store = open_view_store(url), open_store(url)
    last = store.last()
    assert last is not None
    assert views.whole(()).position == last.position
    views.close()
    store.close()


@pytest.mark.parametrize("start", [make_a_snapshot, read_a_view, bring_views_up_to_date])
def test_no_file_of_the_folder_is_taken_for_a_module(url: str, tmp_path: Path, start: Callable[[str], None]) -> None:
    start(url)
    assert not (tmp_path / "ran").exists()


def test_each_process_of_our_own_is_started_so() -> None:
    found = 0
    for path in sorted(path for room in ROOMS for path in (PROJECT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.List | ast.Tuple) and "sys.executable" in (words := [*map(ast.unparse, node.elts)]):
                found += 1
                assert words[1] == "'-P'", f"{path}, line {node.lineno}"
    assert found == 3
