"""The model of a campaign that resamples are played in, beside the whole fleet; and the level that knows all totals."""

from math import inf

import msgspec
import pytest

from benchmarks.campaign import TRACE, normal, opened, play
from benchmarks.campaign_levels import Boundless, Wanted, knowing, totals_of, true_level
from benchmarks.campaign_model import Campaign
from benchmarks.campaign_resamples import finished, resampled
from benchmarks.data import found
from tallystick.demo.trace import read_trace
from tallystick.demo.workload import Workload
from tallystick.events.log.store_memory import MemoryStore

FILE = found(TRACE)
THIRD = 3


@pytest.fixture(scope="module")
def workload() -> Workload:
    if FILE is None:
        pytest.skip("the real runs are not on this machine")
    whole = normal(read_trace(FILE))
    return msgspec.structs.replace(whole, runs=whole.runs[::THIRD])


def test_about_as_many_runs_finish_in_the_model_as_in_the_fleet(workload: Workload) -> None:
    model, fleet = Campaign(opened(workload, MemoryStore()), workload.runs).play(), play(workload)
    assert abs(model.finished - fleet.finished) <= 0.03 * len(workload.runs)
    assert model.consumed == pytest.approx(fleet.consumed, abs=0.02)


def test_a_resample_is_as_large_as_the_sample_and_the_same_each_time(workload: Workload) -> None:
    first, again, other = resampled(workload, 1), resampled(workload, 1), resampled(workload, 2)
    assert first.runs == again.runs
    assert first.runs != other.runs
    assert len({run.id for run in first.runs}) == len(workload.runs)


def test_a_shuffled_resample_begins_runs_at_the_same_moments(workload: Workload) -> None:
    kept, shuffled = resampled(workload, 1), resampled(workload, 1, shuffled=True)
    assert [run.starts_ms for run in shuffled.runs] == [run.starts_ms for run in workload.runs]
    assert [run.steps for run in shuffled.runs] == [run.steps for run in kept.runs]


def test_a_level_that_takes_all_runs_for_small_is_none(workload: Workload) -> None:
    totals = totals_of(workload)
    small = knowing(dict.fromkeys(totals, 1))
    assert finished(workload, small) == finished(workload, Boundless)
    assert finished(workload, small) < finished(workload, knowing(totals))


def test_at_the_true_level_what_is_used_is_what_there_is() -> None:
    agents = [Wanted(0, 10, 1.0), Wanted(0, 100, 1.0), Wanted(30, 100, 1.0)]
    assert true_level(agents, 70) == pytest.approx(30)
    assert true_level(agents, 210) == inf
    assert true_level([Wanted(0, 100, 1.0), Wanted(0, 100, 0.5)], 90) == pytest.approx(60)
