"""What the tests of the command line share: a runner, a scenario in which much happens, and the fleet it leaves."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tallystick.cli.main import main
from tests.support.cli import SCENARIO, Run, lines


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds a fleet or settings of the person who runs it."""
    monkeypatch.chdir(tmp_path)
    for name in ("TALLYSTICK_STORE", "TALLYSTICK_CONFIG", "TALLYSTICK_PRICES", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run() -> Run:
    """Run ``tallystick`` in this process; no mistake may end in a traceback."""

    def run_it(*args: str) -> Result:
        result = CliRunner().invoke(main, args, prog_name="tallystick")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run_it


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
