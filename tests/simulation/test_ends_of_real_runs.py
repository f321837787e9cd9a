"""Real runs that have too little make their last call inside their budget; learned estimates are as exact as said."""

import pytest

from benchmarks import ends
from benchmarks.campaign import TRACE
from benchmarks.data import found
from tallystick.demo.trace import read_trace
from tallystick.demo.workload import Workload

FILE = found(TRACE)

pytestmark = pytest.mark.skipif(FILE is None, reason="the real runs are not on this machine")


@pytest.fixture(scope="module")
def workload() -> Workload:
    assert FILE is not None
    return read_trace(FILE)


def test_nearly_all_that_only_report_make_their_last_call_inside_their_budget_and_overspend_no_more(
    workload: Workload,
) -> None:
    played, without = ends.play_ends(workload, holds=False), ends.play_ends(workload, holds=False, percent=0)
    assert played.stopped == without.stopped == len(workload.runs) == 354
    assert played.inside >= 0.95 * played.stopped
    assert without.inside == 0
    assert played.overspent <= without.overspent


def test_nearly_all_that_hold_make_their_last_call_inside_and_overspend_nothing(
    workload: Workload,
) -> None:
    played = ends.play_ends(workload, holds=True)
    assert played.stopped == 354
    assert played.inside >= 0.95 * played.stopped
    assert played.overspent == 0


def test_a_learned_estimate_is_exceeded_as_often_as_its_quantile_says_and_refuses_less(workload: Workload) -> None:
    held = ends.play_estimates(workload)
    assert held.refused < held.refused_most / 3
    assert held.learned > 0.9 * held.steps
    assert abs(held.share_over - 0.05) <= 0.02
    assert max(held.stages) <= 0.10
