"""Whatever a server can serve has all that its endpoints ask of a fleet."""

from pathlib import Path

import pytest

from benchmarks.http_constant import Constant
from tallystick.demo.served import ServedFleet
from tallystick.events.log.store_memory import MemoryStore
from tallystick.fleet import Fleet
from tallystick.http.served import Served
from tallystick.standby.shared import SharedFleet
from tests.support.postgres import shared

ASKED = sorted(name for name in vars(Served) if not name.startswith("_"))


def has(fleet: object) -> list[str]:
    return [name for name in ASKED if hasattr(fleet, name)]


def test_a_fleet_has_it(tmp_path: Path) -> None:
    assert {"halted", "ask_async", "parent_answered"} <= set(ASKED)
    with Fleet.open(f"sqlite:///{tmp_path}/fleet.db", notify=False) as fleet:
        assert has(fleet) == ASKED


@pytest.mark.parametrize("made", [lambda: ServedFleet(MemoryStore()), Constant], ids=["demonstration", "benchmark"])
def test_what_stands_for_a_fleet_has_it(made: type) -> None:
    assert has(made()) == ASKED


def test_a_fleet_that_servers_share_has_it() -> None:
    url = shared().url(fleet="asked-of-it")
    with Fleet.open(url, notify=False) as fleet:
        assert has(fleet) == ASKED
    assert [name for name in ASKED if not hasattr(SharedFleet, name)] == ["access", "records", "store"], (
        "made with the instance"
    )
