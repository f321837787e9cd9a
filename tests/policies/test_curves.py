"""How far runs of a kind go, by those that ended and by those that are under way at one look."""

from tallystick.actors.policies.forecasting.curves import Curves
from tallystick.actors.policies.forecasting.runs import Run
from tallystick.config.amounts import TOKENS, Amounts
from tallystick.events import catalog as e
from tallystick.events.state.accounts import Account
from tallystick.events.state.growth import NO_STEPS, Growth, observed
from tallystick.events.state.history import History
from tests.support.core import START

ENDED = (100, 200, 300)


def history() -> History:
    """Three runs that ended, of one kind."""
    known = History()
    for tokens in ENDED:
        known.fold(
            e.RunLearned(
                agent="past",
                agent_type="qa",
                model="m",
                steps=tokens // 10,
                consumed=Amounts(tokens),
                elapsed_ms=1_000,
                growth=Growth.read(NO_STEPS).numbers(),
            )
        )
    return known


def under_way(used: dict[str, int], model: str) -> dict[str, Run]:
    """Open accounts that have used so much, each in one step."""
    runs = {}
    for name, tokens in used.items():
        account = Account.open(name, None, (1_000, None, None), START, agent_type="qa")
        account.spent[TOKENS], account.model = tokens, model
        account.growth = observed(NO_STEPS, (tokens, 0, 0))
        runs[name] = Run.of(account)
    return runs


def test_runs_under_way_say_that_runs_of_their_kind_go_further() -> None:
    runs = under_way({"a": 250, "b": 250}, "m")
    assert Curves(history(), {}).finished(("qa", "m"))[TOKENS].expected(0, 1_000) == 200
    # Of the three that came beyond 200, one ended at 300: it stands for all three.
    assert Curves(history(), runs).finished(("qa", "m"))[TOKENS].expected(0, 1_000) == (100 + 200 + 900) / 5


def test_runs_of_another_kind_say_nothing() -> None:
    runs = under_way({"a": 250, "b": 250}, "other")
    assert Curves(history(), runs).finished(("qa", "m"))[TOKENS].expected(0, 1_000) == 200


def test_a_run_that_ended_since_the_look_is_not_counted_twice() -> None:
    runs = under_way({"a": 250, "b": 250}, "m")
    curves = Curves(history(), runs)
    runs.clear()
    assert curves.finished(("qa", "m"))[TOKENS].expected(0, 1_000) == 200
