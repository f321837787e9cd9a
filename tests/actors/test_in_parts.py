"""What takes long with many agents is done in parts, between which callers have their turn."""

from collections.abc import Sequence
from typing import Any

import pytest

from tallystick.actors import reallocator as reallocator_module
from tallystick.actors import tracker as tracker_module
from tallystick.actors.policies import parts
from tallystick.actors.policies.rebalancing.figures import Figures
from tallystick.actors.policies.rebalancing.plan import Idle
from tallystick.actors.policies.rebalancing.survey import Survey
from tallystick.actors.reallocator import Reallocator
from tallystick.actors.runtime import manager_actor
from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.fleet import Fleet
from tallystick.actors.runtime.messages import (
    LOOK_ON,
    MANAGER,
    TRACKER,
    Answered,
    Batch,
    Envelope,
    Post,
    Proposal,
    Question,
    Recorded,
    Surveyed,
    SurveyWanted,
    Tick,
)
from tallystick.actors.tracker import Tracker
from tallystick.config.loader import from_mapping
from tallystick.events import messages as c
from tallystick.events.catalog import Event, SpecialistGivenUp
from tallystick.events.messages import proposals as p
from tests.support.core import START, Core, allocate, fleet, use
from tests.support.running import QUIET

AGENTS = 25


class Tracked:
    """A tracker of agents that have all reported."""

    def __init__(self) -> None:
        self.names = [f"a{number:02}" for number in range(AGENTS)]
        self.core = Core(fleet(10**6), *(allocate(name, 1_000) for name in self.names))
        self.core.given(*(use(name, 10) for name in self.names))
        self.tracker = Tracker()
        self.tracker.begin(self.core.ledger)
        self.looked = 0
        outlier = self.tracker._forecaster.outlier

        def counting(look: Any) -> Any:
            self.looked += 1
            return outlier(look)

        self.tracker._forecaster.outlier = counting  # type: ignore[method-assign]

    def handle(self, message: Any) -> Sequence[Post]:
        return self.tracker.handle(message, START)

    def follow(self, *commands: c.Command) -> Sequence[Post]:
        """Let it follow a batch of what these led to."""
        before = len(self.core.log)
        self.core.wait(2).given(*commands)
        return self.handle(Recorded(self.core.log[before:]))

    def report(self) -> Sequence[Post]:
        """Let it follow a batch with a report of each agent, which is due for a look."""
        return self.follow(*(use(name, 10) for name in self.names))

    def ask(self, agent: str = "a00") -> Sequence[Post]:
        question = c.Forecast(agent=agent, id="f")
        return self.handle(Question(question, Envelope([question], [b""], "test", None), 0))


def goes_on(posts: Sequence[Post]) -> int:
    """How many messages the tracker sends itself."""
    return posts.count(Post(TRACKER, LOOK_ON))


def answers(posts: Sequence[Post]) -> list[bytes]:
    return [post.message.answer for post in posts if isinstance(post.message, Answered)]


@pytest.fixture
def tracked() -> Tracked:
    return Tracked()


def test_the_steps_of_many_agents_are_looked_at_some_at_a_time_whatever_comes_meanwhile(
    tracked: Tracked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker_module, "LOOKS_AT_ONCE", 10)
    assert goes_on(tracked.report()) == 1
    assert tracked.looked == 10
    assert goes_on(tracked.report()) == 0, "there is one such message, or they would look at ever more at once"
    assert tracked.looked == 10
    while goes_on(tracked.handle(LOOK_ON)):
        assert tracked.looked % 10 == 0
    assert tracked.looked == 2 * AGENTS
    assert goes_on(tracked.follow(use("a00", 10))) == 0
    assert tracked.looked == 2 * AGENTS + 1


def test_where_more_agents_report_than_can_be_looked_at_no_more_wait_than_a_bound_and_others_are_as_due(
    tracked: Tracked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker_module, "LOOKS_AT_ONCE", 1)
    monkeypatch.setattr(tracker_module, "LOOKS_MAX", 10)
    for _ in range(5):
        tracked.report()
        assert len(tracked.tracker._looks) <= 10
    while goes_on(tracked.handle(LOOK_ON)):
        pass
    looked = tracked.looked
    assert 10 <= looked <= 15
    assert goes_on(tracked.follow(use(tracked.names[-1], 10))) == 0
    assert tracked.looked == looked + 1, "one that was left out is looked at when it reports again"


def test_a_forecast_waits_for_a_look_at_all_runs_which_is_taken_in_parts(
    tracked: Tracked, monkeypatch: pytest.MonkeyPatch
) -> None:
    (at_once,) = answers(tracked.ask())
    monkeypatch.setattr(parts, "AT_ONCE", 5)
    other = Tracked()
    posts, turns = other.ask(), 1
    assert goes_on(posts) == 1
    assert goes_on(other.ask("a01")) == 0
    while not (found := answers(posts)):
        assert goes_on(posts) == 1
        posts, turns = other.handle(LOOK_ON), turns + 1
    assert found[0] == at_once
    assert len(found) == 2
    assert turns == 1 + AGENTS // 5
    assert len(answers(other.ask("a02"))) == 1, "as of the same look"


def test_a_forecast_that_waits_comes_before_more_steps_than_are_looked_at_at_once(
    tracked: Tracked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker_module, "LOOKS_AT_ONCE", 10)
    monkeypatch.setattr(tracker_module, "LOOKS_BESIDE", 2)
    monkeypatch.setattr(parts, "AT_ONCE", 5)
    tracked.report()
    tracked.ask()
    looked, posts = [tracked.looked], tracked.handle(LOOK_ON)
    while goes_on(posts):
        looked.append(tracked.looked)
        posts = tracked.handle(LOOK_ON)
    assert looked == [10, 12, 14, 16, 25, 25], "few beside a forecast, until no more wait than are looked at at once"


def test_many_forecasts_are_shown_some_at_a_time(tracked: Tracked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker_module, "SHOWN_AT_ONCE", 2)
    monkeypatch.setattr(tracked.tracker, "_goes_on", True)
    for _ in range(5):
        assert tracked.ask() == []
    assert [len(answers(tracked.handle(LOOK_ON))) for _ in range(3)] == [2, 2, 1]


def test_another_look_is_taken_where_runs_have_ended(tracked: Tracked) -> None:
    tracked.ask()
    first = tracked.tracker._forecaster._curves
    tracked.ask()
    assert tracked.tracker._forecaster._curves is first
    (learnt,) = tracked.follow(c.ReleaseBudget(agent="a00"))
    tracked.follow(learnt.message.command)
    tracked.ask("a01")
    assert tracked.tracker._forecaster._curves is not first


# --- plans ------------------------------------------------------------------------------------------------------------


def reallocator() -> Reallocator:
    planner = Reallocator()
    planner.begin(Core(fleet(10**6), allocate("ann", 100)).ledger)
    return planner


def survey(idle: int = 0) -> Survey:
    agents = [Idle(f"a{number}", "pool", (100, None, None), (100, 0, 0), 60.0, START) for number in range(idle)]
    return Survey(agents, [], Figures((0, None, None), (10**6, None, None), (0, 0, 0), in_crisis=False), {})


def test_no_survey_is_asked_for_while_one_is_under_way() -> None:
    planner = reallocator()

    def tick() -> list[Any]:
        now = planner._next
        return [post.message for post in planner.handle(Tick(now), now)]

    assert tick() == [SurveyWanted(None)]
    assert tick() == []
    command = c.Rebalance()
    asked = Question(command, Envelope([command], [b""], "test", None), 0)
    planner.handle(Surveyed(survey(), asked), START)
    assert tick() == [], "that was another one, which a message had asked for"
    planner.handle(Surveyed(survey(), None), START)
    assert tick() == [SurveyWanted(None)]


def test_a_large_plan_is_applied_in_parts_and_one_that_was_asked_for_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reallocator_module, "MOVES_AT_ONCE", 10)
    planner, command = reallocator(), c.Rebalance()
    asked = Question(command, Envelope([command], [b""], "test", None), 0)

    def plans(idle: int, question: Question | None = None) -> list[p.ApplyMoves]:
        return [post.message.command for post in planner.handle(Surveyed(survey(idle), question), START)]

    found = plans(25)
    assert [len(plan.moves) for plan in found] == [10, 10, 5]
    assert len({plan.id for plan in found}) == 3
    assert [move for plan in found for move in plan.moves] == plans(25, asked)[0].moves
    assert [len(plan.moves) for plan in plans(25, asked)] == [25]
    assert [len(plan.moves) for plan in plans(10)] == [10]
    assert [len(plan.moves) for plan in plans(0, asked)] == [0]
    assert plans(0) == []


def test_callers_have_their_turn_between_the_many_things_that_a_specialist_proposes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(manager_actor, "EVENTS_AT_ONCE", 4)
    batches: list[Sequence[Event]] = []
    with Fleet.open("memory:", from_mapping(QUIET), clock=ManualClock(START), followers=[batches.append]) as opened:
        opened.quiesce()
        batches.clear()
        given_up = [
            Proposal(p.RecordGivenUp(specialist=f"s{number}", reason="test", id=c.internal_id(f"s{number}")), "test")
            for number in range(5)
        ]
        opened._deliver(Post(MANAGER, Batch(list(given_up))))
        opened.quiesce()
        # With each comes an alert.
        given_up_in = [[event for event in batch if type(event) is SpecialistGivenUp] for batch in batches]
        assert list(map(len, given_up_in)) == [2, 2, 1]
