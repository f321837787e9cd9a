"""Real processes: a served parent and its children are killed again and again while all ask for more than there is."""

import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tallystick.cli.main import main
from tallystick.delegation.link import BehindParent
from tallystick.events.catalog import Covered
from tallystick.events.log.codec import decode_event
from tallystick.events.log.restoring import open_ledger
from tallystick.events.log.store import open_store
from tests.support.child_fleets import opened
from tests.support.serving import Served
from tests.support.store_processes import ROOT, line_of

TOKENS = 20_000


class Town:
    """A parent, and its children in several processes."""

    def __init__(self, folder: Path, children: int, processes: int) -> None:
        self.folder, self.children = folder, children
        settings = folder / "top.yml"
        whole = f"total_budget: {{tokens: {TOKENS}}}\nmax_pool_share_percent: 100\n"
        settings.write_text(f"{whole}circuit_breaker: {{trip_conditions: []}}\n")
        self.options = ("--config", str(settings))
        self.parent = Served(folder, *self.options)
        client = self.parent.client()
        for number in range(children):
            asked = {"agent": f"team-{number}", "budget": {"tokens": 0}, "delegated": True}
            answer = client.post("/v1/allocate-budget", asked)
            assert answer.status == 200, answer.body
        client.close()
        size = -(-children // processes)
        self.spans = [(first, min(first + size, children)) for first in range(0, children, size)]
        self.processes = [self.begin(span, "work") for span in self.spans]

    def begin(self, span: tuple[int, int], mode: str) -> "subprocess.Popen[str]":
        url = f"http://127.0.0.1:{self.parent.port}"
        program = [sys.executable, "-m", "tests.support.child_fleets", str(self.folder)]
        with (self.folder / "children.log").open("ab") as log:
            return subprocess.Popen(
                [*program, *map(str, span), url, mode], stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT
            )

    def kill(self, place: int, after: int) -> None:
        """Kill the children of a process after it has had so many answers, and begin them again."""
        process = self.processes[place]
        for _ in range(after):
            line_of(process)
        self._end(process)
        self.processes[place] = self.begin(self.spans[place], "work")

    def kill_parent(self) -> None:
        """Kill the parent, and begin it again at its address."""
        port = self.parent.port
        self.parent.kill()
        self.parent = Served(self.folder, *self.options, port=port)

    def settle(self) -> None:
        """Kill all children once more, and let them exchange what is under way."""
        for process in self.processes:
            self._end(process)
        settling = [self.begin(span, "settle") for span in self.spans]
        for process in settling:
            output, _ = process.communicate(timeout=180)
            assert process.returncode == 0, (output, (self.folder / "children.log").read_text()[-2_000:])
        assert self.parent.stop() == 0

    def _end(self, process: "subprocess.Popen[str]") -> None:
        process.kill()
        process.communicate()


def check(town: Town) -> None:
    """The grants of all fleets are within the top's total, every overrun is covered, and every log verifies."""
    parent_url = f"sqlite:///{town.folder / 'fleet.db'}"
    store = open_store(parent_url)
    parent = open_ledger(store).ledger
    covered = {}
    for record in store.read():
        event = decode_event(record.data, record.name)
        if isinstance(event, Covered) and event.cause == "delegated_overrun":
            covered[event.target] = covered.get(event.target, 0) + (event.amount.tokens or 0)
    store.close()
    granted = overrun = 0
    for number in range(town.children):
        url = f"sqlite:///{town.folder / f'team-{number}.db'}"
        child = open_store(url)
        ledger = open_ledger(child).ledger
        child.close()
        account = parent.accounts[f"team-{number}"]
        assert ledger.total[0] is not None
        assert account.allocated[0] is not None
        assert ledger.total[0] <= account.allocated[0]
        assert account.consumed(0) == ledger.spent[0]
        granted += ledger.total[0]
        beyond = max(0, account.consumed(0) - account.allocated[0])
        assert account.cover[0] == beyond
        assert covered.get(account.id, 0) >= beyond
        overrun += beyond
        result = CliRunner().invoke(main, ["audit", "verify", "--store", url, "--parent", parent_url])
        assert result.exit_code == 0, result.output
        assert "both logs say the same" in result.output
    assert granted <= TOKENS
    assert overrun > 0, "some child has used more than there was"


def play(folder: Path, seed: int, children: int, processes: int, kills: int) -> None:
    chance, town = random.Random(seed), Town(folder, children, processes)
    for number in range(kills):
        town.kill(chance.randrange(len(town.spans)), chance.randrange(5, 60))
        if number % 3 == 1:
            town.kill_parent()
    town.settle()
    check(town)


def test_killed_children_and_a_killed_parent_lose_and_double_nothing(tmp_path: Path) -> None:
    play(tmp_path, 0, 4, 2, 2)


@pytest.mark.delegation_long
@pytest.mark.parametrize("seed", range(20))
def test_a_hundred_children_killed_many_times(seed: int, tmp_path: Path) -> None:
    play(tmp_path, seed, 100, 4, 8)
    shutil.rmtree(tmp_path)


def test_a_child_restored_from_an_old_copy_refuses_to_open(tmp_path: Path) -> None:
    town = Town(tmp_path, 1, 1)
    file, copy = tmp_path / "team-0.db", tmp_path / "copy.db"
    assert line_of(town.processes[0]) == "ready"
    copied: Any = CliRunner().invoke(main, ["store", "backup", str(copy), "--store", f"sqlite:///{file}"])
    assert copied.exit_code == 0, copied.output
    town.kill(0, 20)
    for process in town.processes:
        town._end(process)
    settling = town.begin((0, 1), "settle")
    settling.communicate(timeout=60)
    assert settling.returncode == 0
    for beside in tmp_path.glob("team-0.db*"):
        beside.unlink()
    shutil.copy(copy, file)
    with pytest.raises(BehindParent, match="an old copy"):
        opened(str(tmp_path), 0, f"http://127.0.0.1:{town.parent.port}")
    assert town.parent.stop() == 0
