"""Which limits an account counts in is found once for all that are alike to them, and is what would be found anew."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.config.amounts import Budget
from tallystick.events import messages as c
from tallystick.events.messages import proposals as p
from tallystick.events.state import limit_subjects
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.limit_subjects import limits_of, own_value, subject_of
from tests.support.core import Core, fleet
from tests.support.limited import limit, limited, report
from tests.support.plain_limits import MODELS, PRICES, limited_session, some_limits
from tests.support.plain_pairs import PROFILE
from tests.support.plain_sessions import Dice

LABELS: list[dict[str, str] | None] = [None, None, {"user": "u-2"}, {"user": "(other)"}, {"team": "t"}]


def anew(ledger: Ledger, agent: str, said: dict[str, Any], *, hold: bool) -> list[tuple[str, str]]:
    """The limits that an account counts in, and whose counters, without what is remembered."""
    subject = subject_of(ledger, ledger.accounts[agent], **said)
    return [
        (rule.name, rule.value_of(subject))
        for rule in ledger.rules.limits.matching(subject)
        if rule.owner is not None or not (hold and subject.model is None and rule.asks_for_model)
    ]


@settings(PROFILE)
@given(st.integers(0, 2**64))
def test_what_is_remembered_is_what_would_be_found(seed: int) -> None:
    dice, core = Dice(seed), Core(compares=False)
    steps = limited_session(seed)
    for command, _ in steps[:5]:
        core.when(command)
    for _ in range(60):
        if not dice.randrange(20):
            core.when(dice.choice((c.LoadConfig(config={"limits": some_limits(dice)}), p.LoadPrices(prices=PRICES))))
        agent, hold = dice.choice([*core.ledger.accounts]), bool(dice.randrange(2))
        said = {"model": dice.choice((None, "unheard-of", *MODELS)), "labels": dice.choice(LABELS)}
        account = core.ledger.accounts[agent]
        found = limits_of(core.ledger, account, **said, hold=hold)
        named = [(rule.name, value or own_value(rule, account, said["labels"])) for rule, value in found]
        assert named == anew(core.ledger, agent, said, hold=hold)


def many(core: Core, count: int) -> Core:
    """Accounts of users, which each report something."""
    for number in range(count):
        name = f"agent-{number}"
        core.given(c.AllocateBudget(agent=name, budget=Budget(tokens=9), labels={"user": f"u-{number}"}))
        core.given(report(name, 1))
    return core


def test_accounts_that_are_alike_to_the_limits_share_what_was_found() -> None:
    per_user = limit("user", per="label:user", window="day", max={"tokens": 100})
    per_agent = limit("agent", per="account", window="day", max={"tokens": 100})
    core = many(limited(per_user, per_agent), 20)
    assert len(core.ledger.rules.limits.known) == 1
    assert all(len(core.ledger.limits.states[name].counters) == 20 for name in ("user", "agent"))


def test_where_a_limit_matches_by_a_label_those_with_other_values_are_found_anew() -> None:
    one = limit("one", match={"label:user": "u-3"}, window="day", max={"tokens": 100})
    core = many(limited(one), 5)
    assert core.ledger.rules.limits.asks_for == ("user",)
    assert len(core.ledger.rules.limits.known) == 5
    assert core.ledger.limits.states["one"].counters["fleet"].used == [1]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit_subjects, "KNOWN_MAX", 3)
    core = many(limited(limit("one", match={"label:user": "u-3"}, window="day", max={"tokens": 100})), 10)
    assert len(core.ledger.rules.limits.known) <= 3


def test_accounts_that_are_labelled_alike_share_the_texts_also_after_a_restart() -> None:
    core = Core().given(fleet(tokens=1_000))
    for name in ("ann", "bob"):
        labels = msgspec.json.decode(b'{"user": "u-1"}')
        core.given(c.AllocateBudget(agent=name, budget=Budget(tokens=9), labels=labels))
    for _ in range(2):
        ann, bob = (core.account(name).all_labels for name in ("ann", "bob"))
        assert ann is not None
        assert bob is not None
        assert ann["user"] is bob["user"]
        core.restart()
