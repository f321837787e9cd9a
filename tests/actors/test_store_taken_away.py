"""A fleet whose file is taken away stops within a second, says why, and leaves no caller unanswered."""

import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tallystick import Fleet
from tallystick.events.log.store_backup import back_up
from tests.support.store_processes import run
from tests.support.stores import SECONDS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="open files are those of POSIX")

REPORT = {"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}}


def _deleted(path: Path) -> None:
    path.unlink()


def _replaced(path: Path) -> None:
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


def _emptied(path: Path) -> None:
    os.truncate(path, 0)


TAKEN = {"deleted": _deleted, "replaced": _replaced, "emptied": _emptied}
taken = pytest.mark.parametrize("take", TAKEN.values(), ids=TAKEN)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fleet.db"


@pytest.fixture
def fleet(path: Path) -> Iterator[Fleet]:
    with Fleet.open(f"sqlite:///{path}", {"total_budget": {"tokens": 1000}}, notify=False) as fleet:
        yield fleet


def stopped(fleet: Fleet) -> str:
    """Why it has stopped, once it has; the test fails where it does not."""
    waited = threading.Event()
    for _ in range(SECONDS * 10):
        if fleet.halted is not None:
            return fleet.halted
        waited.wait(0.1)
    raise AssertionError("it goes on")


@taken
def test_a_fleet_that_is_idle_stops_by_itself_and_says_why(
    fleet: Fleet, path: Path, take: Callable[[Path], None]
) -> None:
    take(path)
    reason = stopped(fleet)
    assert str(path) in reason
    assert "cannot be written any more" in reason
    answer = fleet.ask(REPORT)
    assert answer["error"]["code"] == "halted"
    assert reason in answer["error"]["detail"]


@taken
def test_no_answer_says_done_once_the_file_is_gone(fleet: Fleet, path: Path, take: Callable[[Path], None]) -> None:
    assert "ok" in fleet.ask(REPORT)
    take(path)
    assert fleet.ask(REPORT)["error"]["code"] == "halted"
    assert [reply["error"]["code"] for reply in fleet.ask([REPORT, REPORT])] == ["halted"] * 2


def test_who_waits_for_a_task_is_answered(fleet: Fleet, path: Path) -> None:
    assert "ok" in fleet.ask({"type": "SubmitTask", "task": "t", "agent_type": "x", "product": "p"})
    waiting = fleet.send({"type": "GetTask", "task": "t", "wait_seconds": 60})
    path.unlink()
    assert waiting.result(SECONDS)["error"]["code"] == "halted"


def test_a_file_that_is_put_back_from_a_copy_is_opened_as_it_was_copied(tmp_path: Path, path: Path) -> None:
    url = f"sqlite:///{path}"
    with Fleet.open(url, {"total_budget": {"tokens": 1000}}, notify=False) as fleet:
        assert "ok" in fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 10}})
        back_up(url, tmp_path / "copy.db", lambda records, _: records)
        path.unlink()
        stopped(fleet)
    for name in tmp_path.glob("fleet.db*"):
        name.unlink()
    (tmp_path / "copy.db").rename(path)
    with Fleet.open(url, notify=False) as again:
        assert again.ask({"type": "GetStatus", "agent": "a"})["ok"]["allocated"] == {"tokens": 10}


_FORKS = """
import os, sys, warnings
from tallystick import Fleet
from tallystick.events.log.store_backup import back_up
warnings.simplefilter("ignore")
fleet = Fleet.open(sys.argv[1], {"total_budget": {"tokens": 1000}}, notify=False)
report = {"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}}
child = os.fork()
if child == 0:
    print(fleet.ask(report)["error"]["detail"], flush=True)
    os._exit(0)
os.waitpid(child, 0)
print("ok" in fleet.ask(report), flush=True)
fleet.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_of_the_program_is_answered_that_it_runs_no_fleet(path: Path) -> None:
    printed: Any = run(_FORKS, f"sqlite:///{path}")
    assert "a fork of process" in printed[0]
    assert printed[1] == "True"
