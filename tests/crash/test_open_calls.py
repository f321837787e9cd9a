"""SIGKILL of a program whose agents have calls open: within the lease all is settled, given back or spent by policy."""

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tallystick.actors.runtime.simulation import SimulatedFleet
from tallystick.events import catalog as e
from tallystick.events.log.codec import decode_event
from tallystick.events.log.restoring import open_ledger
from tallystick.events.log.store import open_store
from tallystick.events.log.store_memory import MemoryStore
from tallystick.events.state.conservation import check_conserved
from tests.support.crashing import ROOT, SECONDS
from tests.support.open_calls import HELD, LEASE, USED

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of POSIX")

AGENTS = 20


def killed(url: str, lines: int) -> set[str]:
    """The program runs until it has said of ``lines`` calls that they were settled; which ones, when it was killed."""
    command = [sys.executable, "-m", "tests.support.open_calls", url, str(AGENTS)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ})
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(lines)]
    process.kill()
    said += process.stdout.readlines()
    process.wait(SECONDS)
    process.stdout.close()
    return {line.split()[1] for line in said if line.startswith("used ") and line.endswith("\n")}


@pytest.mark.parametrize("lines", [1, 400])
def test_within_a_lease_of_the_restart_nothing_is_open_and_each_hold_ended_by_its_policy(
    tmp_path: Path, lines: int
) -> None:
    url = f"sqlite:///{tmp_path}/fleet.db"
    said = killed(url, lines)
    file, store = open_store(url), MemoryStore()
    store.append(list(file.read()))
    file.close()
    left = open_ledger(store).ledger
    assert left.holds
    settled = {
        event.hold
        for event in (decode_event(record.data, record.name) for record in store.read())
        if isinstance(event, e.HoldSettled)
    }
    assert len(said) >= lines
    assert said <= settled, "what was answered was recorded"
    assert left.spent[0] == USED * len(settled)
    kept = sum(hold.spends for hold in left.holds.values())

    fleet = SimulatedFleet.open(store, None, None, left.now)
    fleet.pass_time(fleet.ledger.now + dt.timedelta(seconds=LEASE))
    ledger = fleet.ledger
    assert (ledger.accounts, ledger.holds) == ({}, {})
    assert ledger.spent[0] == USED * len(settled) + HELD * kept
    check_conserved(ledger)
