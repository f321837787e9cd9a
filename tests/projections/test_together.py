"""What many agents will have used together: of each kind by its own runs, those that go on and were cut short too."""

import datetime as dt

import pytest

from tallystick.actors.policies.forecasting.survival import GO_ON
from tallystick.config.amounts import TIME, TOKENS, Amounts
from tallystick.projections.views.agent_rows import AgentRow
from tallystick.reports.together import Together, expected_of
from tests.support.core import START

NONE = Amounts()


def row(
    name: str,
    tokens: int,
    *,
    state: str = "released",
    agent_type: str = "qa",
    level: str = "green",
    reports: int | None = None,
    parent: str | None = None,
) -> AgentRow:
    """An agent that made a report a minute, of 10 tokens each."""
    steps = tokens // 10 if reports is None else reports
    last = START + dt.timedelta(minutes=steps)
    return AgentRow(
        agent=name,
        state=state,
        agent_type=agent_type,
        product=None,
        workflow=None,
        priority="normal",
        parent=parent,
        allocated=NONE,
        delegated=NONE,
        consumed=Amounts(tokens=tokens or None),
        held=NONE,
        borrowed=NONE,
        overrun=NONE,
        remaining=NONE,
        percentage=0.0,
        level=level,
        stopped=None,
        throttle=None,
        warned=False,
        reports=steps,
        opened_at=START,
        last_report_at=last if steps else None,
        released_at=last if state == "released" else None,
        late=NONE,
        activity_at=last,
        cover=NONE,
        drawn=NONE,
        given_back=NONE,
        closed=NONE,
        reclaimed=False,
        task=False,
        life=1,
        held_above=NONE,
    )


def expected(chosen: list[AgentRow], others: list[AgentRow] | None = None) -> float | None:
    everyone = {one.agent: one for one in [*chosen, *(others or [])]}
    found = Together(chosen, everyone).total(TOKENS)
    return None if found is None else found.estimate


ENDED = [row(f"over-{n}", tokens) for n, tokens in enumerate((100, 200, 300, 400, 500))]


def test_an_open_agent_is_expected_to_use_what_those_of_its_type_used_that_went_further() -> None:
    going = row("now", 250, state="open")
    assert expected([going], ENDED) == pytest.approx((300 + 400 + 500) / 3)
    assert expected([*ENDED, going]) == pytest.approx(1_500 + 400)


def test_an_agent_that_has_not_reported_is_expected_to_use_what_one_of_its_type_uses() -> None:
    assert expected([row("new", 0, state="open")], ENDED) == pytest.approx(300)


def test_other_types_of_agents_say_nothing_of_this_one() -> None:
    large = [row(f"large-{n}", 90_000, agent_type="builder") for n in range(50)]
    assert expected([row("now", 250, state="open")], [*ENDED, *large]) == pytest.approx(400)


def test_an_agent_of_an_unknown_type_goes_on_by_a_part_of_what_it_used_where_others_are_known() -> None:
    going, strange = row("now", 250, state="open"), row("strange", 1_000, state="open", agent_type="new")
    assert expected([going, strange], ENDED) == pytest.approx(400 + GO_ON * 1_000)


def test_where_no_type_is_known_nothing_is_expected() -> None:
    assert expected([row("now", 250, state="open", agent_type="new")], ENDED) is None
    assert expected([row("now", 250, state="open")], ENDED[:2]) is None


def test_agents_that_were_released_at_the_end_of_their_budgets_say_that_agents_use_more_than_they_did() -> None:
    cut = [row(f"cut-{n}", 350, level="black") for n in range(5)]
    plain = expected([row("new", 0, state="open")], ENDED)
    found = expected([row("new", 0, state="open")], [*ENDED, *cut])
    assert plain is not None
    assert found is not None
    assert found > plain


def test_an_account_that_others_only_draw_on_makes_no_run_itself() -> None:
    team = row("team", 0, state="open")
    going = row("now", 250, state="open", parent="team")
    assert expected([team, going], ENDED) == pytest.approx(400)


def test_a_report_says_what_its_agents_will_have_used_while_some_are_open() -> None:
    going = row("now", 250, state="open")
    everyone = {one.agent: one for one in [*ENDED, going]}
    found = expected_of([going], everyone)
    assert [*found] == ["tokens"]
    assert found["tokens"].estimate == 400
    assert 250 <= found["tokens"].low <= 400 <= found["tokens"].high
    assert expected_of(ENDED, everyone) == {}
    assert Together([going], everyone).used(TIME) == 0
