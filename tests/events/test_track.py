"""Usage is always recorded, and its reply is all that an agent needs."""

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tests.support.core import Core, allocate, budget, fleet, hold, tokens, use


def test_the_reply_to_a_report_carries_all_that_an_agent_must_know() -> None:
    core = Core(fleet(1_000, "10"), allocate("ann", 100, "2"))
    answer = core.when(use("ann", 80, "0.5", 3))
    assert (answer.agent, answer.percentage, answer.status, answer.action) == ("ann", 0.8, "orange", "throttle")
    assert (answer.throttle_rate, answer.wait_seconds, answer.decided_by) == (0.5, 3, "level")
    assert (answer.remaining.tokens, answer.remaining.cost_usd, answer.remaining.time_seconds) == (20, "1.50", None)
    assert (answer.unpriced, answer.late, answer.unallocated, answer.warnings) == (False, False, False, None)


def test_usage_is_recorded_whatever_the_state_of_its_agent() -> None:
    core = Core(fleet(1_000), allocate("ann", 100), c.Stop(agent="ann", reason="enough"), c.PauseAll(reason="audit"))
    assert core.when(use("ann", 500)).action == "stop"
    core.given(c.ReleaseBudget(agent="ann"))
    assert core.when(use("ann", 600)).late is True
    assert core.when(use("eve", 7)).unallocated is True
    assert core.ledger.consumed == (1_107, 0, 0)
    assert core.overdraft[0] == 107


def test_the_status_shows_every_dimension_that_was_used() -> None:
    core = Core(fleet(1_000), allocate("ann", 100), use("ann", 10, "0.5", "1.25"))
    consumed = core.status("ann").consumed
    assert (consumed.tokens, consumed.time_seconds, consumed.cost_usd) == (10, 1.25, "0.50")


def test_the_parts_of_a_status_add_up() -> None:
    core = Core(
        fleet(1_000), allocate("ann", 400), allocate("ann/1", 150, parent="ann"), hold("ann", "h", 50), use("ann", 40)
    )
    status = core.wait(30).status("ann")
    assert (status.allocated.tokens, status.delegated.tokens, status.held.tokens) == (400, 150, 50)
    assert (status.consumed.tokens, status.remaining.tokens, status.overrun.tokens) == (40, 160, 0)
    assert (status.percentage, status.idle_seconds, status.parent) == (0.16, 30.0, None)
    assert core.status("ann/1").parent == "ann"


def test_remaining_is_never_below_zero_and_overrun_says_what_was_used_beyond() -> None:
    core = Core(fleet(1_000), allocate("ann", 100), use("ann", 130))
    status = core.status("ann")
    assert (status.remaining, status.overrun, status.percentage) == (tokens(0), tokens(30), 1.3)


def test_an_unknown_agent_has_no_status() -> None:
    core = Core(fleet(1_000), allocate("ann", 1), c.ReleaseBudget(agent="ann"))
    for agent, code in (("bob", "unknown_agent"), ("ann", "already_released")):
        core.when(c.GetStatus(agent=agent))
        core.then_refused(code, agent=agent)


def test_every_event_says_where_when_by_whom_and_through_which_command() -> None:
    core = Core(fleet(1_000))
    core.when(allocate("ann", 100), by="olga", id="x-1")
    event = core.only(e.BudgetAllocated)
    assert (event.position, event.at, event.by, event.id) == (3, core.now, "olga", "x-1")
    assert [event.position for event in core.log] == [1, 2, 3]


def test_usage_beyond_what_64_bits_hold_in_sum_is_still_recorded() -> None:
    most = 2**63 - 1
    core = Core(fleet(1_000), *[use("eve", most)] * 3)
    assert core.ledger.consumed[0] == 3 * most
    assert core.overdraft[0] == 3 * most - 1_000


def test_a_hold_in_a_dimension_that_nothing_limits_is_granted() -> None:
    core = Core(fleet(1_000, daily_limits={"max_cost_usd": None}), allocate("ann", 100))
    answer = core.when(hold("ann", "h", 10, "500"))
    assert (answer.amount.cost_usd, answer.available.cost_usd) == ("500.00", None)
    core.given(c.Settle(hold="h", usage=budget(10, None, "400")))
    assert core.ledger.consumed[2] == 400_000_000_000
