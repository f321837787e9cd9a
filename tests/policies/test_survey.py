"""Whom a plan of moves may concern, and what is fair to the others."""

import datetime as dt

from benchmarks.campaign_model import whole
from tallystick.actors.policies.forecasting.forecaster import Forecaster
from tallystick.actors.policies.forecasting.runs import Step
from tallystick.actors.policies.rebalancing.figures import Figures
from tallystick.actors.policies.rebalancing.plan import Hungry
from tallystick.actors.policies.rebalancing.survey import Surveyor
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
        self.accounts = ledger.accounts
        self.forecaster = Forecaster(ledger)

    def wait(self, agents: int, tokens: int) -> None:
        """Agents that have not begun."""
        for number in range(agents):
            name = f"waits-{number}"
            account = Account.open(name, ROOT, (tokens, None, None), START, agent_type="qa")
            self.accounts[name] = account

    def run(self, agents: int, tokens: int, steps: int = STEPS) -> None:
        """Agents that have made some steps, one a second."""
        for number in range(agents):
            name = f"runs-{steps}-{number}"
            account = Account.open(name, ROOT, (tokens, None, None), START, agent_type="qa")
            account.model, account.spent_tokens = "m", steps * STEP
            self.accounts[name] = account
            self.forecaster.runs.open(account)
            run = self.forecaster.runs.begin(name, START)
            assert run is not None
            for step in range(steps):
                account.growth = observed(account.growth, (STEP, 0, 0))
                run.take([Step(START + dt.timedelta(seconds=step), (STEP, 0, 0))])

    def hungry(self, free: int) -> list[Hungry]:
        """Those whose budget will not last, with so much in the pool."""
        figures = Figures((free, None, None), (10_000, None, None), (0, 0, 0), in_crisis=False)
        return whole(Surveyor(self.accounts, self.forecaster, figures, CONFIG).survey(START)).hungry


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
