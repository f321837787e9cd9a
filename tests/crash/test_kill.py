"""SIGKILL at any moment: nothing that was acknowledged is lost, nothing that is sent again counts twice."""

import random
import sys
from pathlib import Path

import pytest

from tests.support.crashing import Lives

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of POSIX")


def die(folder: Path, times: int, seed: int) -> None:
    lives = Lives(f"sqlite:///{folder}/fleet.db")
    dice = random.Random(seed)
    while not lives.acknowledged:
        lives.live_and_be_killed(dice)
    lives.check()
    for _ in range(times - 1):
        lives.live_and_be_killed(dice)
        lives.check()
    assert len(lives.acknowledged) > 10 * times
    lives.end_well()


def test_a_fleet_that_is_killed_twenty_times_loses_nothing_and_counts_nothing_twice(tmp_path: Path) -> None:
    die(tmp_path, times=20, seed=20)


@pytest.mark.crash_long
def test_a_fleet_that_is_killed_two_hundred_times_loses_nothing_and_counts_nothing_twice(tmp_path: Path) -> None:
    die(tmp_path, times=200, seed=200)
