"""SIGKILL of a program with many agents under leases: nothing of theirs stays open."""

import datetime as dt
import os
import subprocess
import sys
from collections import Counter
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
from tests.support.leased_agents import HELD, LEASE

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of POSIX")

AGENTS = 200


def killed(url: str, turns: int) -> None:
    """The program runs until it has said ``turns`` times that all agents hold, and is killed."""
    command = [sys.executable, "-m", "tests.support.leased_agents", url, str(AGENTS)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ})
    assert process.stdout is not None
    for _ in range(turns):
        assert process.stdout.readline().startswith("held "), "it ended by itself"
    process.kill()
    process.wait(SECONDS)
    process.stdout.close()


@pytest.mark.parametrize("turns", [1, 3])
def test_after_a_restart_every_hold_and_account_is_ended_by_its_policy_within_the_lease_and_by_events(
    tmp_path: Path, turns: int
) -> None:
    url = f"sqlite:///{tmp_path}/fleet.db"
    killed(url, turns)
    file, store = open_store(url), MemoryStore()
    store.append(list(file.read()))
    file.close()
    left = open_ledger(store).ledger
    assert len(left.accounts) == 2 * AGENTS
    standing = Counter(hold.spends for hold in left.holds.values())
    assert sum(standing.values()) >= AGENTS
    before = left.spent[0]
    fleet = SimulatedFleet.open(store, None, None, left.now)
    opened_at = fleet.ledger.now
    fleet.pass_time(opened_at + dt.timedelta(seconds=LEASE))
    ledger = fleet.ledger
    assert (ledger.accounts, ledger.holds) == ({}, {})
    assert ledger.spent[0] == before + HELD * standing[True]
    assert list(ledger.held) == [0, 0, 0]
    check_conserved(ledger)
    events = [decode_event(record.data, record.name) for record in store.read(left.position)]
    ended = Counter(type(event) for event in events)
    assert ended[e.FleetOpened] == 1
    assert ended[e.AgentLeaseEnded] == AGENTS
    assert ended[e.BudgetReleased] == 2 * AGENTS
    assert ended[e.HoldSpent] == standing[True]
    assert ended[e.HoldEnded] == standing[False]
    assert all(event.at <= opened_at + dt.timedelta(seconds=LEASE) for event in events)
