"""Usage is always recorded, and its reply is all that an agent needs."""

from tallystick.events import catalog as e
from tallystick.events import commands as c
from tallystick.events.amounts import Budget
from tests.law import Law, allocate, budget, fleet, hold, tokens, use


def test_the_reply_to_a_report_carries_all_that_an_agent_must_know() -> None:
    law = Law(fleet(1_000, "10"), allocate("ann", 100, "2"))
    answer = law.when(use("ann", 80, "0.5", 3))
    assert (answer.agent, answer.percentage, answer.status, answer.action) == ("ann", 0.8, "orange", "throttle")
    assert (answer.throttle_rate, answer.wait_seconds, answer.decided_by) == (0.5, 3, "level")
    assert (answer.remaining.tokens, answer.remaining.cost_usd, answer.remaining.time_seconds) == (20, "1.50", None)
    assert (answer.unpriced, answer.late, answer.unallocated, answer.warnings) == (False, False, False, None)


def test_usage_is_recorded_whatever_the_state_of_its_agent() -> None:
    law = Law(fleet(1_000), allocate("ann", 100), c.Stop(agent="ann", reason="enough"), c.PauseAll(reason="audit"))
    assert law.when(use("ann", 500)).action == "stop"
    law.given(c.ReleaseBudget(agent="ann"))
    assert law.when(use("ann", 600)).late is True
    assert law.when(use("eve", 7)).unallocated is True
    assert law.ledger.consumed == (1_107, 0, 0)
    assert law.overdraft[0] == 107


def test_usage_of_nothing_is_a_report_too() -> None:
    law = Law(fleet(1_000), allocate("ann", 100))
    law.given(c.ReportUsage(agent="ann", usage=Budget()))
    assert law.only(e.UsageReported).tokens == 0
    assert law.account("ann").last_report_at == law.now


def test_the_status_shows_every_dimension_that_was_used() -> None:
    law = Law(fleet(1_000), allocate("ann", 100), use("ann", 10, "0.5", "1.25"))
    consumed = law.status("ann").consumed
    assert (consumed.tokens, consumed.time_seconds, consumed.cost_usd) == (10, 1.25, "0.50")


def test_the_parts_of_a_status_add_up() -> None:
    law = Law(
        fleet(1_000), allocate("ann", 400), allocate("ann/1", 150, parent="ann"), hold("ann", "h", 50), use("ann", 40)
    )
    status = law.wait(30).status("ann")
    assert (status.allocated.tokens, status.delegated.tokens, status.held.tokens) == (400, 150, 50)
    assert (status.consumed.tokens, status.remaining.tokens, status.overrun.tokens) == (40, 160, 0)
    assert (status.percentage, status.idle_seconds, status.parent) == (0.16, 30.0, None)
    assert law.status("ann/1").parent == "ann"


def test_remaining_is_never_below_zero_and_overrun_says_what_was_used_beyond() -> None:
    law = Law(fleet(1_000), allocate("ann", 100), use("ann", 130))
    status = law.status("ann")
    assert (status.remaining, status.overrun, status.percentage) == (tokens(0), tokens(30), 1.3)


def test_an_unknown_agent_has_no_status() -> None:
    law = Law(fleet(1_000), allocate("ann", 1), c.ReleaseBudget(agent="ann"))
    for agent, code in (("bob", "unknown_agent"), ("ann", "already_released")):
        law.when(c.GetStatus(agent=agent))
        law.then_refused(code, agent=agent)


def test_every_event_says_where_when_by_whom_and_through_which_command() -> None:
    law = Law(fleet(1_000))
    law.when(allocate("ann", 100), by="olga", id="x-1")
    event = law.only(e.BudgetAllocated)
    assert (event.position, event.at, event.by, event.id) == (3, law.now, "olga", "x-1")
    assert [event.position for event in law.log] == [1, 2, 3]


def test_usage_beyond_what_64_bits_hold_in_sum_is_still_recorded() -> None:
    most = 2**63 - 1
    law = Law(fleet(1_000), *[use("eve", most)] * 3)
    assert law.ledger.consumed[0] == 3 * most
    assert law.overdraft[0] == 3 * most - 1_000


def test_a_hold_in_a_dimension_that_nothing_limits_is_granted() -> None:
    law = Law(fleet(1_000, daily_limits={"max_cost_usd": None}), allocate("ann", 100))
    answer = law.when(hold("ann", "h", 10, "500"))
    assert (answer.amount.cost_usd, answer.available.cost_usd) == ("500.00", None)
    law.given(c.Settle(hold="h", usage=budget(10, None, "400")))
    assert law.ledger.consumed[2] == 400_000_000_000
