"""What the tracker forecasts is recorded, scored, learnt from, and not lost when a specialist fails."""

from pathlib import Path
from typing import Any

import pytest

from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.fleet import Fleet
from tallystick.events import catalog as e
from tallystick.events.log.codec import decode_event
from tallystick.events.state.history import RUNS_MIN
from tests.support.running import OpenFleet
from tests.support.runs import allocate, run_of, work


@pytest.fixture
def fleet(open_fleet: OpenFleet) -> Fleet:
    return open_fleet(total_budget={"tokens": 100_000_000}, reallocation={"enabled": False})


def log_of(fleet: Fleet) -> list[e.Event]:
    fleet.quiesce()
    return [decode_event(record.data, record.name) for record in fleet._store.read()]


def every(fleet: Fleet, kind: type[Any]) -> list[Any]:
    return [event for event in log_of(fleet) if isinstance(event, kind)]


def test_each_tenth_that_is_consumed_is_a_forecast_and_the_truth_is_laid_beside_it(
    fleet: Fleet, clock: ManualClock
) -> None:
    allocate(fleet, "ann", 1_000)
    work(fleet, clock, "ann", [100] * 11)
    made = [p for event in every(fleet, e.ForecastMade) for p in event.predictions]
    assert [p.stage for p in made] == [2, 3, 4, 5, 6, 7, 8, 9]
    assert {p.predicted for p in made} == {10.0}
    scored = every(fleet, e.ForecastScored)
    assert {event.actual for event in scored} == {10.0}
    assert [outcome.stage for event in scored for outcome in event.forecasts] == [2, 3, 4, 5, 6, 7, 8, 9]


def test_a_mark_that_a_step_passes_on_its_way_counts_in_part(fleet: Fleet, clock: ManualClock) -> None:
    allocate(fleet, "ann", 1_000)
    work(fleet, clock, "ann", [300, 300, 300, 400])
    (scored,) = every(fleet, e.ForecastScored)
    assert scored.actual == 3.25


def test_growth_learnt_from_earlier_runs_foretells_the_next_better_than_the_average_rate(
    fleet: Fleet, clock: ManualClock
) -> None:
    for number in range(4):
        run_of(fleet, clock, f"run-{number}")
    assert len(every(fleet, e.RunLearned)) == 4
    allocate(fleet, "ann", 20_000)
    work(fleet, clock, "ann", [1_000, 1_100, 1_200])
    answer = fleet.ask({"type": "Forecast", "agent": "ann"})["ok"]
    found = answer["forecasts"]["tokens"]
    # 1000 + 1100 + …: 20,000 are used up in the 13th step, and the average rate would say in the 19th.
    assert answer["steps"] == 3
    assert found["method"] == "linear_growth"
    assert 9 < found["steps_to_exhaustion"] < 10.5
    assert found["time_to_exhaustion_seconds"] == pytest.approx(5 * found["steps_to_exhaustion"], rel=0.02)
    low, high = found["interval_80"]["steps_to_exhaustion"]
    assert low <= found["steps_to_exhaustion"] <= high
    assert found["estimated_total"] == sum(1_000 + 100 * step for step in range(20))
    assert found["projected_overage"] == found["estimated_total"] - 20_000


def test_nothing_is_known_of_a_run_with_another_model(fleet: Fleet, clock: ManualClock) -> None:
    for number in range(4):
        run_of(fleet, clock, f"run-{number}")
    allocate(fleet, "ann", 20_000)
    work(fleet, clock, "ann", [1_000, 1_100, 1_200], model="opus")
    found = fleet.ask({"type": "Forecast", "agent": "ann"})["ok"]["forecasts"]["tokens"]
    assert found["estimated_total"] is found["projected_overage"] is found["confidence"] is None
    low, high = found["interval_80"]["steps_to_exhaustion"]
    assert low < found["steps_to_exhaustion"] < high


def test_a_score_says_how_far_the_interval_was_widened(fleet: Fleet, clock: ManualClock) -> None:
    allocate(fleet, "ann", 1_000)
    work(fleet, clock, "ann", [90, 110] * 6)
    made = [p.widened for event in every(fleet, e.ForecastMade) for p in event.predictions]
    assert None not in made
    assert [outcome.widened for event in every(fleet, e.ForecastScored) for outcome in event.forecasts] == made


def test_forecasts_that_were_early_for_twenty_agents_are_moved_for_the_next_and_scored_as_they_were(
    fleet: Fleet, clock: ManualClock
) -> None:
    """After 200 and 50 tokens the average rate sees two more steps in 250 tokens, and five come."""
    for number in range(21):
        allocate(fleet, f"run-{number}", 500)
        work(fleet, clock, f"run-{number}", [200, *[50] * 6])
    made = [p for event in every(fleet, e.ForecastMade) for p in event.predictions if p.step == 2]
    assert {(p.predicted, p.raw) for p in made[:20]} == {(4.0, None)}
    assert (made[20].predicted, made[20].raw) == (7.0, 4.0)
    scored = [o for event in every(fleet, e.ForecastScored) if event.agent == "run-20" for o in event.forecasts]
    assert [(o.predicted, o.raw) for o in scored if o.step == 2] == [(7.0, 4.0)]


def test_a_finished_run_teaches_what_its_first_steps_used(fleet: Fleet, clock: ManualClock) -> None:
    run_of(fleet, clock, "ann", steps=5)
    (learnt,) = every(fleet, e.RunLearned)
    assert learnt.head == [1_000, 0, 1_100, 0, 1_200, 0], "tokens and cost of three steps"


def test_what_cannot_be_known_is_null(fleet: Fleet, clock: ManualClock) -> None:
    allocate(fleet, "ann", 10_000)
    assert fleet.ask({"type": "Forecast", "agent": "ann"})["ok"] == {
        "agent": "ann", "as_of": None, "steps": 0, "forecasts": {},
    }  # fmt: skip
    work(fleet, clock, "ann", [100])
    early = fleet.ask({"type": "Forecast", "agent": "ann"})["ok"]["forecasts"]["tokens"]
    assert early["method"] == "too_early"
    assert early["estimated_total"] is early["steps_to_exhaustion"] is early["confidence"] is None


def test_a_shown_forecast_is_recorded_under_its_asker_and_once_while_nothing_changes(
    fleet: Fleet, clock: ManualClock
) -> None:
    allocate(fleet, "ann", 100_000)
    work(fleet, clock, "ann", [100, 100])
    first = fleet.ask({"type": "Forecast", "agent": "ann", "id": "f-1"}, by="ada")
    assert fleet.ask({"type": "Forecast", "agent": "ann", "id": "f-1"}, by="ada") == first
    shown = [event for event in every(fleet, e.ForecastMade) if event.why == "shown"]
    assert len(shown) == 1
    assert shown[0].id.startswith("~shown-")
    work(fleet, clock, "ann", [100])
    fleet.ask({"type": "Forecast", "agent": "ann"})
    assert len([event for event in every(fleet, e.ForecastMade) if event.why == "shown"]) == 2


def test_a_forecast_of_an_unknown_agent_is_refused_and_leaves_no_trace(fleet: Fleet) -> None:
    before = log_of(fleet)
    assert fleet.ask({"type": "Forecast", "agent": "nobody"})["error"]["code"] == "unknown_agent"
    allocate(fleet, "ann", 10)
    fleet.ask({"type": "ReleaseBudget", "agent": "ann"})
    assert fleet.ask({"type": "Forecast", "agent": "ann"})["error"]["code"] == "already_released"
    assert [type(event) for event in log_of(fleet)[len(before) :]] == [e.BudgetAllocated, e.BudgetReleased]


def test_a_forecast_sees_what_came_before_it_in_the_same_list(fleet: Fleet) -> None:
    allocate(fleet, "ann", 1_000)
    report = {"type": "ReportUsage", "agent": "ann", "usage": {"tokens": 40}}
    replies = fleet.ask([report, report, {"type": "Forecast", "agent": "ann"}])
    assert replies[2]["ok"]["steps"] == 2


def test_a_tracker_that_dies_loses_nothing_that_it_had_learnt_or_forecast(fleet: Fleet, clock: ManualClock) -> None:
    for number in range(3):
        run_of(fleet, clock, f"run-{number}")
    allocate(fleet, "ann", 10_000)
    work(fleet, clock, "ann", [1_000, 1_100, 1_200])
    before = fleet.ask({"type": "Forecast", "agent": "ann"})["ok"]["forecasts"]["tokens"]
    person = fleet._specialists["tracker"]

    def fail(message: object, now: object) -> Any:
        raise ZeroDivisionError("seven by nothing")

    person.handle = fail  # type: ignore[method-assign, assignment]
    fleet.send({"type": "Forecast", "agent": "ann"})
    fleet.quiesce()
    assert fleet._specialists["tracker"] is not person
    after = fleet.ask({"type": "Forecast", "agent": "ann"})["ok"]["forecasts"]["tokens"]
    assert {key: after[key] for key in ("steps_to_exhaustion", "estimated_total", "method")} == {
        key: before[key] for key in ("steps_to_exhaustion", "estimated_total", "method")
    }
    work(fleet, clock, "ann", [1_300] * 6)
    foretold = [p for event in every(fleet, e.ForecastMade) if event.agent == "ann" for p in event.predictions]
    scored = [o for event in every(fleet, e.ForecastScored) if event.agent == "ann" for o in event.forecasts]
    assert len(scored) == len(foretold), "every forecast is scored, also those from before the death"


def test_a_restart_goes_on_where_the_fleet_was(clock: ManualClock, tmp_path: Path, open_fleet: OpenFleet) -> None:
    url = f"sqlite:///{tmp_path}/fleet.db"
    fleet = open_fleet(url, total_budget={"tokens": 10**8}, reallocation={"enabled": False})
    for number in range(3):
        run_of(fleet, clock, f"run-{number}")
    allocate(fleet, "ann", 10_000)
    work(fleet, clock, "ann", [1_000, 1_100, 1_200])
    before = fleet.ask({"type": "Forecast", "agent": "ann"})["ok"]["forecasts"]["tokens"]
    fleet.close()
    again = Fleet.open(url, clock=clock)
    try:
        after = again.ask({"type": "Forecast", "agent": "ann"})["ok"]["forecasts"]["tokens"]
        assert after["steps_to_exhaustion"] == before["steps_to_exhaustion"]
        assert after["estimated_total"] == before["estimated_total"]
    finally:
        again.close()


def test_a_step_that_stands_out_is_noted_and_a_loop_is_an_alert(fleet: Fleet, clock: ManualClock) -> None:
    allocate(fleet, "ann", 10_000_000)
    work(fleet, clock, "ann", [1_000 + 37 * (step % 5) for step in range(12)] + [90_000])
    (outlier,) = every(fleet, e.AnomalyFound)
    assert (outlier.anomaly, outlier.step, outlier.amount) == ("outlier", 13, 90_000)
    allocate(fleet, "bob", 10_000_000)
    work(fleet, clock, "bob", [500, 900, 2_000, 700] + [1_500] * 12)
    loops = [event for event in every(fleet, e.AnomalyFound) if event.agent == "bob"]
    assert [event.anomaly for event in loops] == ["loop"]
    assert "loop_suspected" in [event.code for event in every(fleet, e.AlertRaised)]


def test_an_agent_is_warned_by_the_early_end_of_the_interval_and_again_after_a_stop(
    fleet: Fleet, clock: ManualClock
) -> None:
    allocate(fleet, "ann", 1_000)
    work(fleet, clock, "ann", [50, 60, 50, 60])
    (warned,) = every(fleet, e.ExhaustionWarned)
    assert warned.agent == "ann"
    assert warned.exhausted_in_seconds < 120
    # What was acted on is in the record before it: here the forecast of the tenth that the same step consumed.
    assert any(event.position < warned.position for event in every(fleet, e.ForecastMade))
    work(fleet, clock, "ann", [400, 400])
    fleet.ask({"type": "BorrowFromPool", "agent": "ann", "amount": {"tokens": 1_000}})
    work(fleet, clock, "ann", [60])
    assert len(every(fleet, e.ExhaustionWarned)) == 2


def test_a_run_that_begins_and_ends_within_one_batch_teaches_as_any_other(fleet: Fleet) -> None:
    fleet.ask(
        [
            {"type": "AllocateBudget", "agent": "brief", "agent_type": "qa", "budget": {"tokens": 1_000}},
            {"type": "ReportUsage", "agent": "brief", "usage": {"tokens": 300}, "model": "m"},
            {"type": "ReportUsage", "agent": "brief", "usage": {"tokens": 400}, "model": "m"},
            {"type": "ReleaseBudget", "agent": "brief"},
        ]
    )
    fleet.quiesce()
    (learnt,) = every(fleet, e.RunLearned)
    assert (learnt.agent, learnt.agent_type, learnt.model, learnt.steps) == ("brief", "qa", "m", 2)
    assert learnt.consumed.tokens == 700
    assert not learnt.exhausted


def test_reports_of_one_batch_are_scored_step_by_step(fleet: Fleet) -> None:
    report = {"type": "ReportUsage", "agent": "a", "usage": {"tokens": 100}}
    fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 1_000}})
    fleet.ask([report] * 4)
    fleet.quiesce()
    stages = [(one.predictions[0].stage, one.predictions[0].step) for one in every(fleet, e.ForecastMade)]
    assert stages == [(2, 2), (3, 3), (4, 4)]


def in_all(fleet: Fleet, agent: str) -> Any:
    return fleet.ask({"type": "Forecast", "agent": agent})["ok"]["forecasts"]["tokens"]["estimated_total"]


def test_a_final_usage_rests_on_runs_that_still_go_on_as_well(fleet: Fleet, clock: ManualClock) -> None:
    """Three short runs have ended, and one long one; three more have gone on longer than the short ones."""
    for number, steps in enumerate((4, 4, 4, 30)):
        run_of(fleet, clock, f"over-{number}", steps)
    allocate(fleet, "ann", 1_000_000)
    work(fleet, clock, "ann", [1_000])
    short = in_all(fleet, "ann")
    for number in range(3):
        allocate(fleet, f"going-{number}", 1_000_000)
        work(fleet, clock, f"going-{number}", [1_000 + 100 * step for step in range(12)])
    assert in_all(fleet, "ann") > short


def test_a_run_that_has_ended_counts_in_the_next_answer(fleet: Fleet, clock: ManualClock) -> None:
    allocate(fleet, "ann", 1_000_000)
    work(fleet, clock, "ann", [1_000])
    for number in range(RUNS_MIN):
        assert in_all(fleet, "ann") is None
        run_of(fleet, clock, f"over-{number}", 4)
    assert in_all(fleet, "ann") == 4_600
