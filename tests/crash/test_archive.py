"""SIGKILL between any two steps of an archiving: every record is still there, once, and the next attempt succeeds."""

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tallystick.actors.runtime.fleet import Fleet
from tallystick.events.log.audit import Verification
from tallystick.events.log.restoring import open_ledger
from tallystick.events.log.store import Record, open_store
from tallystick.events.log.store_archives import archives_of
from tallystick.events.log.store_archiving import STEPS
from tests.support.core import dump

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60
REPORTS = 1_500


def records_of(url: str) -> list[Record]:
    with closing(open_store(url)) as store:
        return list(store.read())


def archiving(url: str, upto: int, killed_before: str) -> int:
    """Archive in a process of its own, which is killed before a step; its exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.archiver", url, str(upto), killed_before],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=SECONDS,
        check=False,
    )
    return done.returncode


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/fleet.db"
    with Fleet.open(url) as live:
        live.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 10**6}})
        live.ask([{"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}} for _ in range(REPORTS // 2)])
        live.ask([{"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}} for _ in range(REPORTS // 2)])
    return url


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_before_any_step_loses_nothing(url: str, tmp_path: Path, step: str) -> None:
    log = records_of(url)
    with closing(open_store(url)) as store:
        state = dump(open_ledger(store).ledger)
    upto = REPORTS - 100
    assert archiving(url, upto, step) == -signal.SIGKILL
    assert records_of(url) == log
    # A fleet opens, and goes on.
    with Fleet.open(url) as live:
        assert "ok" in live.ask({"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}})
    grown = records_of(url)
    assert grown[: len(log)] == log
    assert archiving(url, upto, "none") == 0
    assert records_of(url) == grown
    assert [(one.first, one.upto) for one in archives_of(tmp_path / "fleet.db")] == [(1, upto)]
    with closing(open_store(url)) as store:
        assert Verification(store.snapshots()).run(store.read()).problems == []
        assert store.stray() is None
        assert dump(open_ledger(store).ledger)["position"] == state["position"] + len(grown) - len(log)
    assert not list(tmp_path.glob("*.part"))


def test_an_archiving_that_nothing_ends_passes_every_step(url: str) -> None:
    log = records_of(url)
    assert archiving(url, 500, "none") == 0
    assert archiving(url, 900, "none") == 0
    assert records_of(url) == log
