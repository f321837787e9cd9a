"""A command loads what it needs, and no more: what it loads is what its user waits for."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("loading")

_LOADED = """
import sys
from tallystick.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    assert ended.code == 0, ended.code
print(*sorted(sys.modules), file=sys.stderr)
"""
FLEET = {"tallystick.actors.manager", "tallystick.actors.allocator", "pykka", "genai_prices", "structlog"}


def loaded(folder: Path, *args: str) -> set[str]:
    """The modules that a command has loaded when it ends well."""
    done = subprocess.run(
        [sys.executable, "-c", _LOADED, *args], cwd=folder, capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


def test_the_version_is_said_without_anything_of_a_fleet(tmp_path: Path) -> None:
    modules = loaded(tmp_path, "--version")
    assert not modules & (FLEET | {"tallystick.events.state.ledger", "eventsourcing", "rich", "yaml"})


@pytest.mark.parametrize("command", ["status", "limits", "holds"])
def test_what_only_reads_a_log_loads_neither_actors_nor_prices_nor_the_logger(fleet: Path, command: str) -> None:
    assert not loaded(fleet.parent, command) & FLEET
