from tallystick.events import catalog as e
from tallystick.events import messages as c
from tests.support.core import Core, allocate, budget, fleet, hold, tokens, use


def test_the_unused_returns_to_the_pool() -> None:
    core = Core(fleet(1_000), allocate("ann", 400), use("ann", 150))
    answer = core.wait(90).when(c.ReleaseBudget(agent="ann"))
    core.then_events(e.BudgetReleased)
    assert (answer.allocated, answer.consumed, answer.unused) == (tokens(400), tokens(150), tokens(250))
    assert core.pool[0] == 850
    report = answer.final_report
    assert (report.utilization, report.level, report.open_seconds) == (0.375, "green", 90)
    assert (report.children_released, report.holds_cancelled, report.overrun) == (0, 0, tokens(0))


def test_children_are_released_first_and_holds_cancelled() -> None:
    core = Core(fleet(1_000), allocate("ann", 400), allocate("ann/1", 200, parent="ann"))
    core.given(
        allocate("ann/1/a", 100, parent="ann/1"), hold("ann/1/a", "h", 60), hold("ann", "i", 20), use("ann/1", 30)
    )
    answer = core.when(c.ReleaseBudget(agent="ann"))
    core.then_events(e.HoldEnded, e.BudgetReleased, e.BudgetReleased, e.HoldEnded, e.BudgetReleased)
    assert [event.agent for event in core.every(e.BudgetReleased)] == ["ann/1/a", "ann/1", "ann"]
    assert (answer.consumed, answer.unused) == (tokens(30), tokens(370))
    assert (answer.final_report.children_released, answer.final_report.holds_cancelled) == (1, 1)
    assert core.pool[0] == 970
    assert core.ledger.holds == {}


def test_a_sub_agents_leavings_go_to_its_parent() -> None:
    core = Core(fleet(1_000), allocate("ann", 400), allocate("ann/1", 200, parent="ann"), use("ann/1", 30))
    core.given(c.ReleaseBudget(agent="ann/1"))
    assert (core.pool[0], core.free("ann")[0]) == (600, 370)
    assert core.status("ann").consumed == tokens(30)


def test_a_second_release_is_already_released() -> None:
    core = Core(fleet(1_000), allocate("ann", 400), c.ReleaseBudget(agent="ann"))
    core.when(c.ReleaseBudget(agent="ann"))
    core.then_refused("already_released", agent="ann")
    core.when(c.ReleaseBudget(agent="bob"))
    core.then_refused("unknown_agent", agent="bob")


def test_usage_after_release_is_late() -> None:
    core = Core(fleet(1_000), allocate("ann", 400), c.ReleaseBudget(agent="ann"))
    answer = core.when(use("ann", 25))
    assert (answer.late, answer.unallocated) == (True, False)
    assert core.pool[0] == 975


def test_a_release_ends_the_pressure_of_its_holds() -> None:
    core = Core(fleet(1_000), allocate("ann", 900), hold("ann", "h", 900))
    assert core.ledger.response == 1
    core.given(c.ReleaseBudget(agent="ann"))
    assert core.every(e.FleetResponseChanged)[0].response == "none"


def test_what_was_borrowed_and_overrun_is_in_the_last_statement() -> None:
    core = Core(fleet(1_000), allocate("ann", 100), c.BorrowFromPool(agent="ann", amount=budget(50)), use("ann", 180))
    answer = core.when(c.ReleaseBudget(agent="ann"))
    assert (answer.final_report.borrowed, answer.final_report.overrun) == (tokens(50), tokens(30))
    assert (answer.unused, answer.final_report.level, answer.final_report.utilization) == (tokens(0), "black", 1.2)


def test_a_release_stays_with_the_account_that_limits_the_dimension() -> None:
    core = Core(
        fleet(1_000, "10"), allocate("ann", 500), allocate("ann/1", 100, "4", parent="ann"), use("ann/1", 10, "1")
    )
    core.given(c.ReleaseBudget(agent="ann/1"))
    assert core.pool == (500, None, 9_000_000_000)
    assert core.free("ann")[0] == 490
