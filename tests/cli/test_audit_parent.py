"""``audit verify --parent`` of a fleet whose total is its own."""

from pathlib import Path

from tallystick import Fleet
from tests.support.cli import Run


def test_a_fleet_without_a_parent_has_nothing_to_compare(run: Run, tmp_path: Path) -> None:
    top, own = f"sqlite:///{tmp_path / 'top.db'}", f"sqlite:///{tmp_path / 'own.db'}"
    for store in (top, own):
        Fleet.open(store, notify=False).close()
    result = run("audit", "verify", "--store", own, "--parent", top)
    assert result.exit_code == 1
    assert "there is nothing to compare: this fleet has had no parent" in result.stderr
