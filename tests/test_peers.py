"""`make bench-peers` sees what it asks for: what is granted too often, what is lost, and what a cycle takes."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.peers import questions
from benchmarks.peers.__main__ import OURS, Answers, Cycle, table
from benchmarks.peers.by_sqlite import ByHand
from benchmarks.peers.contract import Peer
from benchmarks.peers.driving import Loss, Side, answering, killed, processor_seconds
from benchmarks.peers.ours import ByMappings, ByStructsInALoop
from tests.support.forgetful import Forgetful

HERE = Path(sys.executable)
FEW = 3
"""Acknowledgements before a process is killed."""


@pytest.mark.parametrize("kind", [ByHand, ByMappings, ByStructsInALoop])
def test_as_many_calls_are_made_as_there_is_budget_for(tmp_path: Path, kind: type[ByHand] | type[ByMappings]) -> None:
    peer: Peer = kind(tmp_path, "")
    peer.open(questions.BUDGETS)
    assert questions.raced(peer) == questions.ENOUGH_FOR
    assert peer.used(questions.RACE) == questions.BUDGETS[questions.RACE]
    peer.close()


def test_callers_who_look_first_and_record_later_are_seen_to_make_more_calls(tmp_path: Path) -> None:
    peer = Forgetful(tmp_path, "")
    peer.open(questions.BUDGETS)
    assert questions.raced(peer) > questions.ENOUGH_FOR


def test_what_we_acknowledged_is_there_after_a_sigkill() -> None:
    loss = killed(Side("benchmarks.peers.ours:ByMappings", HERE), FEW)
    assert loss.acknowledged >= FEW
    assert loss.lost == 0


def test_what_a_peer_forgets_when_it_is_killed_is_counted_as_lost() -> None:
    loss = killed(Side("tests.support.forgetful:Forgetful", HERE), FEW)
    assert loss.lost == loss.acknowledged >= FEW


def test_a_peer_is_asked_in_a_process_of_its_own_what_a_cycle_takes() -> None:
    with answering(Side("benchmarks.peers.by_sqlite:ByHand", HERE)) as peer:
        done, processor = peer.cost("own", seconds=0.0)
    assert done.cycles == questions.CALLERS, "each caller makes one cycle, however short the time"
    assert processor >= 0


def test_the_processor_time_of_children_counts() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert processor_seconds([child.pid]) >= 0
        child.stdin.close()


def test_a_peers_cycle_is_shown_as_a_multiple_of_ours_round_by_round() -> None:
    def answers(*walls: float, raced: int = 100, lost: int = 0) -> Answers:
        cycles = [Cycle(wall, wall / 2) for wall in walls]
        return Answers(raced, Loss(900, lost), {"own": cycles, "one": cycles})

    ours = {one.name: answers(10.0, 20.0, 40.0) for one in OURS}
    shown = table({**ours, "slow and forgetful": answers(20.0, 60.0, 80.0, raced=163, lost=900)})
    last = shown.splitlines()[-1]
    assert last == "| slow and forgetful | 163 | 900 of 900 | 60 | 30 | 60 | 30 | 2.00 / 2.00 | 2.00 / 2.00 |"
