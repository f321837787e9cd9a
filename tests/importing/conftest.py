"""What the tests of importing share: a runner of the command line, in a folder of its own."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tallystick.cli.main import main
from tests.support.cli import Run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run ``tallystick`` in this process; no mistake may end in a traceback."""
    monkeypatch.chdir(tmp_path)

    def run_it(*args: str) -> Result:
        result = CliRunner().invoke(main, args, prog_name="tallystick")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run_it
