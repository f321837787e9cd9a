"""What the tests of the command line share: a runner, a scenario in which much happens, and the fleet it leaves."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tallystick.cli.main import main

SCENARIO = [
    {
        "at": "2026-03-04T12:00:00Z",
        "type": "AllocateBudget",
        "agent": "a",
        "budget": {"tokens": 50000, "cost_usd": "1.5"},
    },
    {
        "at": "2026-03-04T12:00:10Z",
        "type": "AllocateBudget",
        "agent": "a-sub",
        "parent": "a",
        "budget": {"tokens": 5000},
    },
    {"at": "2026-03-04T12:00:20Z", "type": "ReportUsage", "agent": "a", "usage": {"tokens": 30000}, "by": "a"},
    {"at": "2026-03-04T12:00:30Z", "type": "Reserve", "agent": "a", "estimate": {"tokens": 10000}, "id": "h-1"},
    {"at": "2026-03-04T12:00:40Z", "type": "Reserve", "agent": "a", "estimate": {"tokens": 10000}, "id": "h-2"},
    {"at": "2026-03-04T12:10:30Z", "type": "ReportUsage", "agent": "a", "usage": {"tokens": 20000, "time_seconds": 2}},
    {"at": "2026-03-04T12:10:40Z", "type": "Settle", "hold": "h-1", "usage": {"tokens": 900}},
    {"at": "2026-03-04T12:10:50Z", "type": "BorrowFromPool", "agent": "a", "amount": {"tokens": 100000}},
    {
        "at": "2026-03-04T12:10:51Z",
        "type": "ReportUsage",
        "agent": "stranger",
        "model": "no-such",
        "input_tokens": 3000,
    },
    {"at": "2026-03-04T12:10:52Z", "type": "Stop", "agent": "a", "reason": "that is enough"},
    {"at": "2026-03-04T12:10:53Z", "type": "Reserve", "agent": "a-sub", "estimate": {"tokens": 1}, "id": "h-3"},
    {"at": "2026-03-04T12:10:54Z", "type": "Reserve", "agent": "a-sub", "estimate": {"tokns": 1}},
    {"at": "2026-03-04T12:10:55Z", "type": "GetStatus", "agent": "a"},
]
"""Levels, a cover, an expiry, a late settlement, moves by the reallocator, an unknown model, a stop, refusals."""

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds a fleet or settings of the person who runs it."""
    monkeypatch.chdir(tmp_path)
    for name in ("TALLYSTICK_STORE", "TALLYSTICK_CONFIG", "TALLYSTICK_PRICES", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run() -> Run:
    """Run ``tallystick`` in this process; nobody's mistake may end in a traceback."""

    def run_it(*args: str) -> Result:
        result = CliRunner().invoke(main, args, prog_name="tallystick")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run_it


def lines(messages: list[dict[str, object]]) -> str:
    return "".join(f"{json.dumps(message)}\n" for message in messages)


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet")
    (folder / "scenario.jsonl").write_text(lines(SCENARIO), encoding="utf-8")
    db = folder / "tallystick.db"
    result = CliRunner().invoke(main, ["simulate", str(folder / "scenario.jsonl"), "--store", f"sqlite:///{db}"])
    assert result.exit_code == 0, result.output
    return db


@pytest.fixture
def fleet(_template: Path, tmp_path: Path) -> Path:
    """The file of a fleet to which the scenario happened: the default store of this test's folder."""
    db = tmp_path / "tallystick.db"
    shutil.copy(_template, db)
    return db


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    file = tmp_path / "scenario.jsonl"
    file.write_text(lines(SCENARIO), encoding="utf-8")
    return file
