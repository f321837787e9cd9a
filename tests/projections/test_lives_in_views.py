"""Views tell the lives of one id apart, wherever a page of the log ends."""

from random import Random

import pytest

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.projections.reports.agent_usage import used_by
from tallystick.projections.store.projector import Projector
from tallystick.projections.store.view_store import MemoryViewStore
from tallystick.projections.views.agent_rows import decode as agent_of
from tallystick.projections.views.agents import AgentsView
from tallystick.projections.views.cost import CostView, PartRow
from tallystick.projections.views.cost import decode as cost_of
from tallystick.projections.views.tasks import TasksView
from tests.support.core import Core, allocate, budget, complete, fleet, hold, settle, submit, use
from tests.support.lives import run
from tests.support.view_logs import rows_of, stored


def folded(log: list[e.Event], pages: Random | None = None) -> MemoryViewStore:
    """The views of a log: in one page, or in pages that end anywhere."""
    store, view_store = stored(log), MemoryViewStore()
    projector = Projector(store, view_store)
    while pages is not None and projector.position < len(log):
        projector.catch_up(min(len(log), projector.position + pages.randint(1, 9)))
        if not pages.randint(0, 3):
            projector = Projector(store, view_store)
    projector.catch_up(None)
    return view_store


def folded_wherever_a_page_ends(log: list[e.Event]) -> MemoryViewStore:
    """The views of a log, once it is seen that they are the same wherever the first of two pages ends."""
    whole = folded(log)
    for number in range(1, len(log)):
        first = MemoryViewStore()
        Projector(stored(log), first).catch_up(number)
        Projector(stored(log), first).catch_up(None)
        assert rows_of(first) == rows_of(whole), f"a page that ends at {number}"
    return whole


@pytest.mark.parametrize("seed", range(6))
def test_rows_do_not_depend_on_where_a_page_ends_whatever_is_released_reopened_and_reported_late(seed: int) -> None:
    log = run(Random(seed), 120).log
    assert rows_of(folded(log)) == rows_of(folded(log, Random(seed)))


def test_usage_of_an_account_with_the_name_of_an_ended_task_is_not_the_tasks() -> None:
    core = Core(fleet(1_000_000), submit("t"), complete("t"), allocate("t", 100), use("t", 7))
    core.given(submit("u"), allocate("u/1", 10, parent="u"), complete("u"), allocate("u/1", 10), use("u/1", 3))
    whole = folded_wherever_a_page_ends(core.log)
    assert all(b'"used"' not in row for row in whole.whole((TasksView.name,)).rows[TasksView.name])


def reopened() -> Core:
    return Core(
        fleet(100_000),
        allocate("boss", 10_000),
        allocate("w", 1_000, parent="boss", product="A", agent_type="old"),
        hold("w", "h-old", 500),
        c.ReleaseBudget(agent="w"),
        allocate("w", 200, product="B", agent_type="new"),
    ).given(settle("h-old", 450))


def test_a_late_settlement_is_billed_to_the_product_and_type_of_its_own_account() -> None:
    rows = folded(reopened().log).whole((CostView.name,)).rows[CostView.name]
    parts = {(row.by, row.name): row.used.tokens for row in map(cost_of, rows) if isinstance(row, PartRow)}
    assert parts == {("product", "A"): 450, ("type", "old"): 450, ("agent", "w"): 450, ("model", None): 450}


def test_a_late_settlement_is_in_the_row_of_the_account_that_paid_and_in_no_later_one() -> None:
    core = reopened()
    rows = {row.agent: row for row in map(agent_of, folded(core.log).whole((AgentsView.name,)).rows[AgentsView.name])}
    assert (rows["w"].consumed.tokens, rows["w"].reports, rows["w"].late.tokens) == (0, 0, None)
    assert rows["boss"].consumed.tokens == 450
    core.given(c.ReleaseBudget(agent="w"), use("w", 5))
    rows = {row.agent: row for row in map(agent_of, folded(core.log).whole((AgentsView.name,)).rows[AgentsView.name])}
    row = rows["w"]
    assert (row.consumed.tokens, row.late.tokens) == (0, 5)


def test_the_row_of_a_released_agent_says_whether_it_is_stopped() -> None:
    core = Core(fleet(1_000), allocate("a", 100), c.ReleaseBudget(agent="a"), c.Stop(agent="a", reason="leaks"))

    def row() -> object:
        rows = folded(core.log).whole((AgentsView.name,)).rows[AgentsView.name]
        return next(row.stopped for row in map(agent_of, rows) if row.agent == "a")

    assert row() == "leaks"
    core.given(c.Resume(agent="a"))
    assert row() is None


def test_what_the_fleet_pays_for_an_account_beyond_its_bound_is_the_agents_usage_wherever_a_page_ends() -> None:
    core = Core(fleet(1_000), allocate("ann", 100, overdraft_max=budget(20)), hold("ann", "h", 10), use("ann", 115))
    core.given(use("ann", 7), settle("h", 30), use("ann", 1), c.BorrowFromPool(agent="ann", amount=budget(50)))
    whole = folded_wherever_a_page_ends(core.log)
    row = agent_of(whole.whole((AgentsView.name,)).rows[AgentsView.name][0])
    assert (row.consumed.tokens, row.beyond.tokens, row.overdrawn, row.state) == (116, 37, False, "open")
    assert used_by(row)[0] == core.ledger.spent[0] == 115 + 7 + 30 + 1
