"""Counting says by itself which limits may have something to say, and begins no window with what counts nothing."""

from typing import Any

import pytest

from tallystick.config.amounts import Usage
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.state.counters import NEVER_OPENED, Counter, RollingCounter
from tests.support.core import Core, allocate, submit
from tests.support.limited import ask, limit, limited, report

CAP: dict[str, Any] = limit(window="day", max={"tokens": 100})


def counter(core: Core) -> Counter:
    return core.ledger.limits.states["cap"].counters["fleet"]


def test_a_settlement_that_comes_to_a_percentage_alerts_operators() -> None:
    core = limited(CAP).given(allocate("ann", 10_000), ask("ann", "h", 10))
    core.when(c.Settle(hold="h", usage=Usage(tokens=80)))
    assert core.only(e.LimitLine).percent == "80"


def test_what_is_left_of_a_hold_behind_a_part_is_in_the_way_of_the_next() -> None:
    core = limited(CAP).given(allocate("ann", 10_000), ask("ann", "h", 100))
    answer = core.when(c.Settle(hold="h", usage=Usage(tokens=20), final=False))
    assert [one.code for one in answer.obstacles or ()] == ["limit_reached"]


def test_what_runs_may_still_use_is_in_the_way_of_who_reports() -> None:
    core = limited({**CAP, "max": {"tokens": 1_000}}, token_budgets={"backend-engineer": 300})
    core.given(allocate("ann", 10_000), submit("T", estimated_tokens=20))
    answer = core.when(report("ann", 700))
    assert [one.code for one in answer.obstacles or ()] == ["limit_reached"]


@pytest.mark.parametrize("window", [{"seconds": 60}, {"seconds": 60, "from": "first_use"}])
def test_what_counts_nothing_begins_no_window(window: dict[str, Any]) -> None:
    core = limited({**CAP, "window": window, "max": {"requests": 5}}).given(allocate("ann", 10_000))
    core.given(report("ann", 1, model="m"))
    before = counter(core).opened
    last = getattr(counter(core), "last", None)
    for seconds in (30, 60):
        core.wait(seconds).given(report("ann", 1))
        assert counter(core).opened == before
        assert getattr(counter(core), "last", None) == last
    core.given(report("ann", 1, model="m"))
    assert counter(core).opened > before
    assert isinstance(counter(core), RollingCounter) == ("from" not in window)


def test_what_counts_nothing_begins_no_window_anew_that_was_taken_back() -> None:
    most = {"requests": 5, "concurrent": 5}
    core = limited({**CAP, "window": {"seconds": 60, "from": "first_use"}, "max": most}).given(allocate("ann", 10_000))
    core.given(ask("ann", "stays", 1), ask("ann", "h", 1, model="m"), c.CancelHold(hold="h"))
    core.given(report("ann", 1))
    assert counter(core).opened == NEVER_OPENED
