"""Whom a plan of moves may concern, and what is fair to the others."""

import datetime as dt
from bisect import insort
from collections.abc import Generator

import pytest

from tallystick.actors.policies.forecasting.forecaster import Forecaster
from tallystick.actors.policies.parts import AT_ONCE, whole
from tallystick.actors.policies.rebalancing import survey
from tallystick.actors.policies.rebalancing.figures import Figures
from tallystick.actors.policies.rebalancing.plan import Hungry
from tallystick.actors.policies.rebalancing.survey import Survey, Surveyor
from tallystick.config.amounts import TOKENS, Amounts
from tallystick.config.loader import from_mapping
from tallystick.events import catalog as e
from tallystick.events.state.accounts import Account
from tallystick.events.state.growth import NO_STEPS, Growth, observed
from tallystick.events.state.ledger import Ledger
from tests.support.core import START

ROOT = Account.open("fleet", None, (10_000, None, None), START)
STEPS, STEP = 5, 50
CONFIG = from_mapping({"total_budget": {"tokens": 10_000, "period": "none"}})


class Fleet:
    """Three runs of a kind have ended, with 100, 200 and 300 tokens."""

    def __init__(self) -> None:
        ledger = Ledger()
        for tokens in (100, 200, 300):
            ledger.history.fold(
                e.RunLearned(
                    agent="past",
                    agent_type="qa",
                    model="m",
                    steps=tokens // STEP,
                    consumed=Amounts(tokens),
                    elapsed_ms=tokens * 1_000 // STEP,
                    growth=Growth.read(NO_STEPS).numbers(),
                )
            )
        self.ledger = ledger
        self.forecaster = Forecaster(ledger)

    def wait(self, agents: int, tokens: int) -> None:
        """Agents that have not begun."""
        for number in range(agents):
            name = f"waits-{number}"
            account = Account.open(name, ROOT, (tokens, None, None), START, agent_type="qa")
            self.open(name, account)

    def run(self, agents: int, tokens: int, steps: int = STEPS) -> None:
        """Agents that have made some steps, one a second."""
        for number in range(agents):
            name = f"runs-{steps}-{number}"
            account = Account.open(name, ROOT, (tokens, None, None), START, agent_type="qa")
            account.model, account.spent_tokens = "m", steps * STEP
            self.open(name, account)
            run = self.forecaster.runs.begin(name, START)
            assert run is not None
            for step in range(steps):
                account.growth = observed(account.growth, (STEP, 0, 0))
                run.take(START + dt.timedelta(seconds=step), run.streak.after((STEP, 0, 0)), account.growth)

    def open(self, name: str, account: Account) -> None:
        self.ledger.accounts[name] = account
        insort(self.ledger.names, name)
        self.forecaster.runs.open(account)

    def survey(self, free: int, later: float = 0.0) -> Survey:
        """So many seconds later, with so much in the pool."""
        figures = Figures((free, None, None), (10_000, None, None), (0, 0, 0), in_crisis=False)
        surveyor = Surveyor(self.ledger, self.forecaster, figures, CONFIG)
        return whole(surveyor.survey(START + dt.timedelta(seconds=later)))

    def hungry(self, free: int) -> list[Hungry]:
        """Those whose budget will not last, with so much in the pool."""
        return self.survey(free).hungry


def test_the_level_counts_on_what_runs_use_that_have_not_ended() -> None:
    fleet = Fleet()
    fleet.run(10, 260)
    fleet.wait(10, 100)
    # By the three that ended, the others would use 200 each: 3,000 and 2,000, and there are 5,200.
    # But ten have used 250 already: such runs use 277 each in the mean, and 5,770 is more than there is.
    (more,) = {agent.fair[TOKENS] for agent in fleet.hungry(free=1_600)}
    assert more is not None
    assert 0 <= more < 300 - 260
    assert {agent.fair[TOKENS] for agent in fleet.hungry(free=2_200)} == {None}


def test_a_run_is_not_given_up_because_most_others_have_not_ended_yet() -> None:
    fleet = Fleet()
    fleet.run(1, 260)
    fleet.run(10, 420, steps=8)
    # Of those that came as far as the one, a run ended at 300 tokens, and ten go on behind that. There are 4,660 in
    # all, so that each may come to about 425.
    one = next(agent for agent in fleet.hungry(free=200) if agent.agent == "runs-5-0")
    more = one.fair[TOKENS]
    assert more is not None
    assert 150 < more < 180


def test_those_whose_accounts_are_older_come_first() -> None:
    fleet = Fleet()
    fleet.run(2, 260)
    fleet.wait(2, 100)
    for number, name in enumerate(("waits-1", "waits-0", "runs-5-1", "runs-5-0")):
        fleet.ledger.accounts[name].opened_at = START + dt.timedelta(seconds=number)
    found = fleet.survey(free=0, later=100)
    assert [agent.agent for agent in found.idle] == ["waits-1", "waits-0"]
    assert [agent.agent for agent in found.hungry] == ["runs-5-1", "runs-5-0"]


def test_one_survey_finds_so_many_idle_agents_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "IDLE_MAX", 3)
    fleet = Fleet()
    fleet.wait(5, 100)
    assert len(fleet.survey(free=0, later=100).idle) == 3


def test_a_survey_of_many_agents_is_taken_in_parts_and_an_account_may_close_meanwhile() -> None:
    fleet = Fleet()
    fleet.run(2, 260)
    fleet.wait(3 * AT_ONCE, 100)
    figures = Figures((0, None, None), (10_000, None, None), (0, 0, 0), in_crisis=False)
    parts = Surveyor(fleet.ledger, fleet.forecaster, figures, CONFIG).survey(START + dt.timedelta(seconds=100))
    found = []

    def closing() -> Generator[None, None, None]:
        found.append((yield from parts))

    turns = 0
    for _ in closing():
        turns += 1
        if turns == 1:
            # It is found in need: how far runs go is looked at next.
            closed = fleet.ledger.accounts.pop("runs-5-1")
            fleet.ledger.names.remove(closed.id)
            fleet.forecaster.runs.close(closed.id)
    assert turns > 6, "for the agents, for the curves, and for those that share the pool"
    assert [agent.agent for agent in found[0].hungry] == ["runs-5-0"]
    assert len(found[0].idle) == 3 * AT_ONCE


def test_agents_in_need_take_longer_than_others_and_fewer_are_looked_at_in_a_part() -> None:
    fleet = Fleet()
    fleet.run(20, 60)
    figures = Figures((0, None, None), (10_000, None, None), (0, 0, 0), in_crisis=False)
    parts = Surveyor(fleet.ledger, fleet.forecaster, figures, CONFIG).survey(START)
    assert sum(1 for _ in parts) >= 20 * survey.IN_NEED // AT_ONCE
