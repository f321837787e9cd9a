"""Another policy differs from the log's as a person would expect, and what it saves is exact to the token."""

from decimal import Decimal
from typing import Any

from tallystick.actors.runtime.messages import Envelope
from tallystick.actors.runtime.simulation import SimulatedFleet
from tallystick.config.amounts import Budget
from tallystick.config.prices import from_mapping as prices_of
from tallystick.config.prices import to_mapping as prices_to_mapping
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.levels import DEGRADE, STOP, THROTTLE
from tallystick.events.log.codec import encode_command
from tallystick.events.log.store_memory import MemoryStore
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.ledger import Ledger
from tallystick.whatif.message_filter import NO_ACCOUNT, NOT_BEGUN, STOPPED, MessageFilter
from tallystick.whatif.question import Question
from tallystick.whatif.rerun import Rerun
from tests.support.core import START
from tests.support.whatif import POLICY, after, allocate, ask, borrow, log, policy, reserve, run, settle, use

TIGHTER = {"stop_at": "0.8", "degrade_at": "0.8"}


def saved(rerun: Rerun) -> dict[str, tuple[int, int]]:
    """By agent, how many reports were saved, and how many tokens."""
    return {agent: (one.reports, one.used[0]) for agent, one in rerun.message_filter.saved.items()}


def because(rerun: Rerun) -> dict[str, int]:
    return {reason: one.used[0] for reason, one in rerun.message_filter.saved_by_reason.items() if one.reports}


# --- stops -----------------------------------------------------------------------------------------------------------


def test_a_lower_stop_at_stops_earlier_and_saves_exactly_the_later_usage() -> None:
    records = log(allocate("ann", 1_000), use("ann", 700), use("ann", 150), use("ann", 100), use("ann", 7))
    rerun = ask(records, Question(policy(enforcement=TIGHTER)))
    ann, ann_in_log = rerun.other.agents["ann"], rerun.recorded.agents["ann"]
    assert ann.first_at[STOP] == after(3)
    assert ann_in_log.first_at[STOP] is None
    # The report that crosses the line happened: no answer had stopped ann before it.
    assert (ann.used[0], ann_in_log.used[0]) == (850, 957)
    assert saved(rerun) == {"ann": (2, 107)}
    assert because(rerun) == {STOPPED: 107}
    assert rerun.message_filter.unknown == set()


def test_a_lower_stop_at_touches_no_agent_that_stays_below_it() -> None:
    records = log(allocate("ann", 1_000), allocate("bob", 1_000), use("ann", 900), use("bob", 790), use("ann", 1))
    rerun = ask(records, Question(policy(enforcement=TIGHTER)))
    assert saved(rerun) == {"ann": (1, 1)}
    assert rerun.other.agents["bob"].times == rerun.recorded.agents["bob"].times


def test_an_agent_that_is_topped_up_goes_on_with_its_later_reports() -> None:
    records = log(allocate("ann", 1_000), use("ann", 850), use("ann", 50), borrow("ann", 500), use("ann", 60))
    rerun = ask(records, Question(policy(enforcement=TIGHTER)))
    assert saved(rerun) == {"ann": (1, 50)}
    assert rerun.other.agents["ann"].used[0] == 910
    assert rerun.other.agents["ann"].times[STOP] == 1


def test_a_report_that_came_despite_the_log_s_own_stop_stays() -> None:
    records = log(allocate("ann", 1_000), use("ann", 1_000), use("ann", 30))
    rerun = ask(records, Question(policy(enforcement=TIGHTER)))
    assert saved(rerun) == {}
    assert rerun.other.used == rerun.recorded.used


def test_an_operator_s_stop_is_no_policy_and_saves_nothing() -> None:
    stop = {"type": "Stop", "agent": "ann", "reason": "a test"}
    records = log(allocate("ann", 1_000), stop, use("ann", 30), {"type": "Resume", "agent": "ann"}, use("ann", 40))
    rerun = ask(records, Question(policy(enforcement=TIGHTER)))
    assert rerun.difference is None
    assert saved(rerun) == {}


def test_a_hold_that_was_granted_before_the_stop_is_settled_as_recorded() -> None:
    records = log(
        allocate("ann", 1_000), reserve("ann", "h", 100), use("ann", 850), settle("h", 90),
        reserve("ann", "i", 10), settle("i", 9),
    )  # fmt: skip
    rerun = ask(records, Question(policy(enforcement=TIGHTER)))
    # What `h` had set aside was under way when ann was stopped; `i` was not begun.
    assert rerun.other.agents["ann"].used[0] == 940
    assert because(rerun) == {STOPPED: 9}


def test_a_parent_s_stop_reaches_those_who_spend_from_it() -> None:
    records = log(allocate("ann", 1_000), allocate("sub", cost="1", parent="ann"), use("ann", 850), use("sub", 20))
    rerun = ask(records, Question(policy(enforcement=TIGHTER)))
    assert rerun.other.agents["sub"].times[STOP] == 1
    assert saved(rerun) == {"sub": (1, 20)}


def test_a_pause_by_configuration_saves_everything() -> None:
    records = log(
        allocate("ann", 1_000), use("ann", 10), {"type": "ReportUsage", "agent": "nobody", "usage": {"tokens": 5}}
    )
    rerun = ask(records, Question(policy(manual_override={"pause_all_agents": True})))
    assert saved(rerun) == {"ann": (1, 10), "nobody": (1, 5)}
    assert rerun.other.used == (0, 0, 0)


# --- refusals --------------------------------------------------------------------------------------------------------


def test_an_agent_whose_account_is_not_opened_uses_nothing() -> None:
    records = log(
        allocate("ann", 6_000),
        allocate("bob", 3_000),
        use("ann", 10),
        use("bob", 20),
        reserve("bob", "h", 5),
        settle("h", 4),
        borrow("bob", 50),
        {"type": "ReleaseBudget", "agent": "bob"},
    )
    rerun = ask(records, Question(total={"tokens": 7_000}))
    assert rerun.other.refused == {"pool_exhausted": 1}
    assert rerun.other.agents["bob"].opened_at is None
    assert because(rerun) == {NO_ACCOUNT: 24}
    assert rerun.difference is not None
    assert isinstance(rerun.difference.recorded, e.BudgetAllocated)
    assert isinstance(rerun.difference.other, e.RequestRefused)
    assert rerun.difference.position == next(record.position for record in records if b'"m-2"' in record.data)


def test_an_operation_whose_hold_is_refused_for_want_of_budget_is_not_begun() -> None:
    draw = {"type": "AllocateFromPool", "agent": "ann", "request": {"tokens": 400}}
    beat = {"type": "Heartbeat", "hold": "h"}
    records = log(
        allocate("bob", 500),
        draw,
        draw,
        reserve("ann", "h", 600),
        beat,
        settle("h", 350),
        total_budget={"tokens": 2_000},
    )
    rerun = ask(records, Question(total={"tokens": 1_000}))
    # The second draw found too little, so that there was no room for the hold.
    assert rerun.other.refused == {"pool_exhausted": 1, "budget_exhausted": 1}
    assert because(rerun) == {NOT_BEGUN: 350}
    assert rerun.other.ledger.holds == {}


def test_a_throttle_moves_no_report_in_time() -> None:
    """A careful agent that asks too early would have waited, and then have done the same."""
    records = log(
        allocate("ann", 1_000), use("ann", 650), use("ann", 10), reserve("ann", "h", 100), settle("h", 90), every=30
    )
    rerun = ask(records, Question(policy(enforcement={"throttle_at": "0.6", "throttle_rate": "0.1"})))
    assert rerun.other.refused == {"throttled": 1}
    assert rerun.other.agents["ann"].used == rerun.recorded.agents["ann"].used
    assert saved(rerun) == {}
    assert rerun.other.agents["ann"].first_at[THROTTLE] == after(60)
    assert rerun.recorded.agents["ann"].first_at[THROTTLE] == after(150)


def test_another_rate_is_reported_and_decides_nothing_else() -> None:
    report = {"type": "ReportUsage", "agent": "ann", "usage": {"tokens": 800, "time_seconds": 6}}
    records = log(allocate("ann", 1_000), report, use("ann", 1))
    rerun = ask(records, Question(policy(enforcement={"throttle_rate": "0.25"})))
    assert rerun.difference is not None
    assert (rerun.difference.recorded, rerun.difference.other) == (None, None)
    assert rerun.difference.answered.recorded is not None
    assert rerun.difference.answered.other is not None
    assert (rerun.difference.answered.recorded.throttle_rate, rerun.difference.answered.other.throttle_rate) == (
        0.5,
        0.25,
    )
    # 6 s x (1/rate - 1), and then the second since the report before x the same.
    assert rerun.recorded.agents["ann"].waited_ms == 6_000 + 1_000
    assert rerun.other.agents["ann"].waited_ms == 18_000 + 3_000


# --- looser policies -------------------------------------------------------------------------------------------------


def test_a_higher_total_grants_what_was_refused_and_says_whose_usage_is_unknown() -> None:
    records = log(allocate("ann", 6_000), allocate("bob", 6_000), allocate("bob", 6_000), use("ann", 10))
    rerun = ask(records, Question(total={"tokens": 50_000}))
    assert rerun.recorded.refused == {"pool_exhausted": 2}
    assert rerun.other.refused == {}
    assert rerun.other.agents["bob"].opened_at == after(2)
    assert rerun.message_filter.unknown == {"bob"}
    assert rerun.other.used == rerun.recorded.used


def test_what_was_refused_again_and_again_is_granted_once() -> None:
    messages = (
        allocate("ann", 9_500),
        use("ann", 100),
        *[borrow("ann", 1_000)] * 3,
        borrow("ann", 400),
        borrow("ann", 40),
    )
    rerun = ask(log(*messages), Question(total={"tokens": 50_000}))
    # The 400 that the log granted in the end had been granted as the first 1,000; the next request is a new one.
    assert rerun.recorded.granted[0] == 440
    assert rerun.other.granted[0] == 1_040
    assert rerun.other.grants == 2


def test_an_agent_that_the_log_stopped_would_have_gone_on_with_what_is_not_known() -> None:
    records = log(allocate("ann", 1_000), use("ann", 1_100))
    rerun = ask(records, Question(policy(enforcement={"stop_at": "1.2"})))
    assert rerun.other.agents["ann"].times[STOP] == 0
    assert rerun.other.agents["ann"].times[DEGRADE] == 1
    assert rerun.message_filter.unknown == {"ann"}


def test_a_hold_that_would_never_be_settled_holds_nothing_back() -> None:
    """The log refused it, so it does not say what the operation used; the next one must find its room."""
    records = log(
        allocate("ann", 1_000),
        {"type": "ReportUsage", "agent": "ann", "usage": {"tokens": 800, "time_seconds": 6}},
        reserve("ann", "h", 150),
        reserve("ann", "i", 150, at=30),
        settle("i", 90),
    )
    rerun = ask(records, Question(policy(enforcement={"throttle_at": "0.9"})))
    assert rerun.recorded.refused == {"throttled": 1}
    assert rerun.other.refused == {}
    assert rerun.message_filter.unknown == {"ann"}
    assert rerun.other.used == rerun.recorded.used
    assert rerun.other.ledger.holds == {}


# --- prices, totals, configurations ----------------------------------------------------------------------------------

DEARER = prices_of({"claude-opus-5-5": {"input": 500, "output": 2500}})


def test_dearer_prices_raise_cost_and_level_and_leave_reported_costs_alone() -> None:
    given = {
        "type": "ReportUsage",
        "agent": "ann",
        "model": "claude-opus-5-5",
        "usage": {"tokens": 1, "cost_usd": "0.10"},
    }
    records = log(
        allocate("ann", cost="1.00"), run("ann", "claude-opus-5-5", 1_000), given, run("ann", "claude-opus-5-5", 1_000)
    )
    rerun = ask(records, Question(prices=DEARER))
    assert rerun.recorded.used[2] == 4_000_000 + 100_000_000 + 4_000_000
    # 0.50 and 0.10 leave ann yellow; the second 0.50 is one too many.
    assert rerun.other.used[2] == 500_000_000 + 100_000_000 + 500_000_000
    assert rerun.other.agents["ann"].first_at[STOP] == after(4)
    assert rerun.difference is not None
    assert isinstance(rerun.difference.other, e.LevelChanged)
    assert rerun.difference.other.level == "yellow"


def test_cheaper_prices_and_a_higher_cost_total_together() -> None:
    records = log(allocate("ann", cost="1.00"), run("ann", "claude-opus-5-5", 300_000), total_budget={"cost_usd": 100})
    cheap = prices_of({"claude-opus-5-5": {"input": 1, "output": 1}})
    rerun = ask(records, Question(prices=cheap, total={"cost_usd": Decimal(200)}))
    assert rerun.recorded.agents["ann"].times[STOP] == 1
    assert rerun.other.agents["ann"].times[STOP] == 0
    assert rerun.other.ledger.total[2] == 200 * 10**9


def load(**changed: Any) -> dict[str, Any]:
    return {"type": "LoadConfig", "config": {**POLICY, **changed}}


def test_later_configurations_of_the_log_change_nothing() -> None:
    records = log(
        allocate("ann", 1_000),
        use("ann", 500),
        load(enforcement={"warn_at": "0.4", "throttle_at": "0.45"}),
        load(enforcement={"warn_at": "0.5", "throttle_at": "0.75", **TIGHTER}),
        load(total_budget={"tokens": 400}),
        use("ann", 350),
    )
    question = Question(policy(enforcement=TIGHTER))
    rerun = ask(records, question)
    # The second is the one that is asked about, so it is put in as it is; the third was refused in the log.
    assert question.passed_over == {"configurations": 2, "price_lists": 0, "totals": 0}
    assert rerun.other.agents["ann"].first_at[STOP] == after(6)
    assert rerun.other.agents["ann"].first_at[THROTTLE] is None
    assert rerun.difference is not None
    assert isinstance(rerun.difference.recorded, e.LevelChanged)
    assert (rerun.difference.recorded.level, rerun.difference.other) == ("orange", None)


def test_an_order_of_the_log_that_is_passed_over_is_no_decision_that_differs() -> None:
    records = log(allocate("ann", 1_000), load(total_budget={"tokens": 400}))
    assert [record.name for record in records][-1] == "request-refused.v1"
    assert ask(records, Question(policy(enforcement=TIGHTER))).difference is None


def test_later_prices_of_the_log_change_nothing() -> None:
    """The first list of the log is the one that is replaced."""
    store, opus = MemoryStore(), {"claude-opus-5-5": {"input": 7, "output": 7}}
    fleet = SimulatedFleet.open(store, policy(), None, START)
    for number, prices in enumerate((opus, {}, prices_to_mapping(DEARER)["prices"])):
        command = p.LoadPrices(prices=prices, id=f"p-{number}")
        fleet.ask(Envelope([command], [encode_command(command)], "op", None), START)
    report = c.ReportUsage(agent="ann", model="claude-opus-5-5", input_tokens=1_000, id="r")
    fleet.ask(Envelope([report], [encode_command(report)], "ann", None), START)
    question = Question(prices=DEARER)
    rerun = ask(store.read(), question)
    assert question.passed_over["price_lists"] == 2
    assert rerun.other.used[2] == rerun.recorded.used[2] == 500_000_000
    assert rerun.difference is None


def test_a_total_stands_whatever_orders_and_configurations_say() -> None:
    def order(**budget: Any) -> dict[str, Any]:
        return {"type": "SetTotalBudget", "budget": budget}

    records = log(
        allocate("ann", 1_000),
        order(tokens=5_000),
        order(tokens=6_000, cost_usd="50"),
        order(tokens=20_000),
        allocate("bob", 12_000),
    )
    question = Question(total={"tokens": 20_000})
    rerun = ask(records, question)
    assert question.passed_over["totals"] == 2
    assert rerun.other.ledger.total == (20_000, None, 50 * 10**9)
    assert rerun.difference is None


def test_no_limit_is_a_total_too() -> None:
    records = log(allocate("ann", 10_000), allocate("bob", 20_000))
    rerun = ask(records, Question(total={"tokens": None}))
    assert rerun.other.ledger.total == (None, None, 100 * 10**9)
    assert rerun.other.agents["bob"].opened_at == after(2)


def test_a_longer_hold_is_a_decision_that_differs() -> None:
    records = log(allocate("ann", 1_000), reserve("ann", "h", 100), use("ann", 1, at=400), until=900)
    rerun = ask(records, Question(policy(holds={"ttl_seconds": 600})))
    assert rerun.difference is not None
    assert isinstance(rerun.difference.recorded, e.HoldPlaced)
    assert isinstance(rerun.difference.other, e.HoldPlaced)
    assert rerun.difference.other.expires_at == after(602)


def test_holds_that_are_not_there_are_forgotten_with_the_log_s_memory_of_them() -> None:
    messages, log_state = MessageFilter(), Ledger()
    for number in range(5_000):
        asked = c.Reserve(agent="ann", estimate=Budget(tokens=1), id=f"h-{number}")
        messages.note_answer(asked, refused=False, answer=Refusal("budget_exhausted", "a test"), log=log_state)
    assert len(messages._missing) <= 1_000
    # The newest is remembered in any case: the log has just placed it.
    newest = c.Settle(hold="h-4999", usage=Budget(tokens=1), id="s")
    assert messages.sent(newest, refused=False, log=log_state, other=Ledger()) is None
    assert messages.reason == NOT_BEGUN
