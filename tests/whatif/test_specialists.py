"""The specialists' proposals of the log stand as long as another policy gives them no reason for others."""

import datetime as dt
from typing import Any

import pytest

from tallystick.actors.manager import Manager
from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.fleet import Fleet
from tallystick.actors.runtime.messages import TRACKER, Envelope, Proposal
from tallystick.config.amounts import Amounts, Budget
from tallystick.config.loader import from_mapping
from tallystick.config.prices import from_mapping as prices_of
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log.codec import GENESIS, encode_command
from tallystick.events.log.store import Record
from tallystick.events.log.store_memory import MemoryStore
from tallystick.events.messages import proposals as p
from tallystick.events.state.ledger import Ledger
from tallystick.whatif.question import Question
from tallystick.whatif.rerun import Rerun
from tallystick.whatif.shadow_specialists import OtherHistory
from tests.support.busy_day import CONFIG, busy_day
from tests.support.core import START
from tests.support.driving import simulated
from tests.support.late_fleet import TickingClock, busy_fleet
from tests.support.running import QUIET
from tests.support.whatif import POLICY, after, allocate, ask, events_of, log, policy, rerun_with_events, run, use

MOVING = {"enabled": True, "interval_seconds": 10}


def same_policy(records: list[Record], **config: Any) -> Rerun:
    """The log's own policy as the other one: not a decision, not a moment, not a digit differs."""
    rerun, events = rerun_with_events(records, Question(from_mapping(config)))
    assert rerun.difference is None
    assert rerun.divergence is None
    assert events == events_of(records)
    assert rerun.message_filter.saved == {}
    assert rerun.message_filter.unknown == set()
    return rerun


@pytest.mark.parametrize("seed", range(4))
def test_the_log_s_own_policy_changes_nothing_in_days_in_which_every_timer_fires(seed: int) -> None:
    records = simulated(busy_day(seed), from_mapping(CONFIG), until=START + dt.timedelta(hours=13)).records
    same_policy(records, **CONFIG)


def test_the_log_s_own_policy_changes_nothing_where_its_people_were_late() -> None:
    """They act when their thread gets its turn; what they proposed, and when, is taken from the log."""
    store, clock = MemoryStore(), TickingClock(START)
    with Fleet.open(store, from_mapping(CONFIG), clock=clock) as fleet:
        busy_fleet(fleet, clock)
    records = list(store.read())
    assert any(isinstance(event, e.ExhaustionWarned | e.BudgetMoved) for event in events_of(records))
    same_policy(records, **CONFIG)


def test_a_setting_that_only_the_core_reads_leaves_late_proposals_as_they_were() -> None:
    store, clock = MemoryStore(), TickingClock(START)
    with Fleet.open(store, from_mapping(CONFIG), clock=clock) as fleet:
        busy_fleet(fleet, clock)
    records = list(store.read())
    rerun, events = rerun_with_events(records, Question(from_mapping({**CONFIG, "enforcement": {"warn_at": "0.45"}})))
    assert rerun.divergence is None
    kinds = (e.ExhaustionWarned, e.BudgetMoved, e.HoldEnded)
    theirs = [event for event in events_of(records) if isinstance(event, kinds)]
    ours = [event for event in events if isinstance(event, kinds)]
    assert [(type(x), x.at) for x in ours] == [(type(x), x.at) for x in theirs]


# --- where they differ ------------------------------------------------------------------------------------------------

IDLE_AND_BUSY = (
    allocate("idle", 4_000),
    allocate("busy", 1_000),
    *(use("busy", 100) for _ in range(9)),
    use("busy", 20, at=75),
    use("busy", 20, at=90),
)
"""After a minute half of what `idle` has is taken back, and `busy` will need more."""


def test_without_reallocation_nothing_moves_and_who_was_topped_up_is_stopped() -> None:
    records = log(*IDLE_AND_BUSY, reallocation=MOVING, until=120)
    rerun, events = rerun_with_events(records, Question(policy(reallocation={"enabled": False})))
    assert any(isinstance(event, e.BudgetMoved) for event in events_of(records))
    assert not any(isinstance(event, e.BudgetMoved | e.Rebalanced) for event in events)
    assert rerun.recorded.plans
    assert rerun.divergence is not None
    # The plan, and before it the forecast that it acts on.
    assert [type(command) for command in rerun.divergence.recorded] == [p.RecordForecast, p.ApplyMoves]
    assert list(rerun.divergence.other) == []
    assert rerun.difference is not None
    assert isinstance(rerun.difference.recorded, e.BudgetMoved)


def test_with_another_fraction_the_plan_is_another_one_at_the_same_moment() -> None:
    records = log(*IDLE_AND_BUSY, reallocation=MOVING, until=120)
    rerun, events = rerun_with_events(records, Question(policy(reallocation={**MOVING, "reclaim_fraction": "0.25"})))

    def reclaimed(of: list[e.Event]) -> list[tuple[dt.datetime, int | None]]:
        return [(x.at, x.amount.tokens) for x in of if isinstance(x, e.BudgetMoved) and x.strategy == "idle"]

    assert reclaimed(events_of(records))[0] == (after(70), 2_000)
    assert reclaimed(events)[0] == (after(70), 1_000)
    assert rerun.divergence is not None
    assert rerun.divergence.at == after(70)


def test_on_their_own_they_warn_give_holds_back_and_renew_periods_when_it_is_time() -> None:
    """The log has none of it; after the divergence nothing waits for a message."""
    records = log(
        allocate("ann", 1_000),
        {"type": "Reserve", "agent": "ann", "id": "h", "estimate": {"tokens": 10}, "ttl_seconds": 30},
        {"type": "Settle", "hold": "h", "usage": {"tokens": 5}, "at": 20},
        use("ann", 300, at=21),
        use("ann", 300, at=24),
        use("ann", 10, at=80_000),
        enforcement={"warn_before_exhaustion_seconds": 1},
    )
    assert not any(
        isinstance(event, e.ExhaustionWarned | e.HoldEnded | e.PeriodRenewed) for event in events_of(records)
    )
    other = policy(
        enforcement={
            "warn_before_exhaustion_seconds": 600,
            "stop_at": "0.55",
            "degrade_at": "0.55",
            "throttle_at": "0.55",
        },
        total_budget={"tokens": 10_000, "period": "day"},
    )
    rerun, events = rerun_with_events(records, Question(other))
    (warned,) = [event for event in events if isinstance(event, e.ExhaustionWarned)]
    assert (warned.agent, warned.at) == ("ann", after(21))
    (renewed,) = [event for event in events if isinstance(event, e.PeriodRenewed)]
    assert renewed.at == START + dt.timedelta(hours=12)
    assert rerun.divergence is not None


def test_what_they_had_just_said_when_they_part_is_not_lost() -> None:
    """One commit holds two reports; the log's warning of the first comes behind both, and they differ at the second."""
    store, clock = MemoryStore(), ManualClock(START)
    with Fleet.open(store, from_mapping({**QUIET, "reallocation": {"enabled": False}}), clock=clock) as fleet:
        for agent in ("ann", "bob"):
            fleet.ask({"type": "AllocateBudget", "agent": agent, "budget": {"tokens": 1_000, "cost_usd": "1"}})
        for seconds, tokens in ((10, 200), (20, 300)):
            fleet.advance(after(seconds))
            report = {"type": "ReportUsage", "model": "claude-opus-5-5", "output_tokens": 60 * tokens}
            fleet.ask([use("ann", tokens), {**report, "agent": "bob", "usage": {"tokens": 1}}])
            fleet.quiesce()
    records = list(store.read())
    warned = [event for event in events_of(records) if isinstance(event, e.ExhaustionWarned)]
    assert [event.agent for event in warned] == ["ann", "bob"]
    last_report = max(event.position for event in events_of(records) if isinstance(event, e.UsageReported))
    assert all(event.position > last_report for event in warned)
    # Free of charge, bob's budget lasts for ever: of him there is nothing to say.
    rerun, events = rerun_with_events(
        records, Question(prices=prices_of({"claude-opus-5-5": {"input": 0, "output": 0}}))
    )
    assert rerun.divergence is not None
    assert [command.agent for command in rerun.divergence.recorded if isinstance(command, p.WarnAgent)] == ["bob"]
    assert list(rerun.divergence.other) == []
    assert [event.agent for event in events if isinstance(event, e.ExhaustionWarned)] == ["ann"]


def test_what_the_log_has_of_them_already_is_not_said_again_when_they_part() -> None:
    """Half a second after a plan that both made, bob's price parts them: the plan was applied, and that once."""
    opus = {"type": "ReportUsage", "agent": "bob", "usage": {"tokens": 1}, "model": "claude-opus-5-5"}
    records = log(
        allocate("busy", 1_000),
        allocate("bob", 1_000, cost="1"),
        *(use("busy", 120) for _ in range(7)),
        {**opus, "output_tokens": 12_000, "at": 9.4},
        {**opus, "output_tokens": 18_000, "at": 10.5},
        until=15,
        reallocation=MOVING,
        total_budget={"tokens": 100_000, "cost_usd": "100"},
    )
    grants = [event for event in events_of(records) if isinstance(event, e.BudgetMoved)]
    assert [(event.target, event.at) for event in grants] == [("busy", after(10))]
    rerun, events = rerun_with_events(
        records, Question(prices=prices_of({"claude-opus-5-5": {"input": 0, "output": 0}}))
    )
    assert rerun.divergence is not None
    assert rerun.divergence.at == after(10.5)
    assert [event.amount for event in events if isinstance(event, e.BudgetMoved)] == [grants[0].amount]


def test_a_plan_that_is_asked_for_is_made_anew_by_the_other_settings() -> None:
    messages = (allocate("idle", 4_000), {"type": "Rebalance", "at": 65})
    records = log(*messages, reallocation={**MOVING, "interval_seconds": 1_000})
    other = policy(reallocation={**MOVING, "interval_seconds": 1_000, "idle_seconds": 300})
    rerun, events = rerun_with_events(records, Question(other))
    assert rerun.recorded.agents["idle"].reclaimed[0] == 2_000
    assert rerun.other.agents["idle"].reclaimed[0] == 0
    (plan,) = [event for event in events if isinstance(event, e.Rebalanced)]
    assert (plan.moves, plan.id, plan.by, plan.at) == (0, "m-2", "local", after(65))


def test_a_proposal_of_their_own_is_never_taken_for_one_of_the_log() -> None:
    """Both name positions, each of its own history."""
    others = OtherHistory()
    others.put(c.LoadConfig(config=POLICY), START, "config", "op")
    for agent in ("ann", "bob"):
        others.put(c.AllocateBudget(agent=agent, budget=Budget(tokens=100)), START, agent, "op")
    warn = p.WarnAgent(agent="ann", exhausted_in_seconds=9, method="x", id="~warn-7")
    others.put(warn, START, "~warn-7", TRACKER)
    mine = p.WarnAgent(agent="bob", exhausted_in_seconds=9, method="x", id="~warn-7")
    others.act([Proposal(mine, TRACKER)], START)
    assert [event.agent for event in others.events if isinstance(event, e.ExhaustionWarned)] == ["ann", "bob"]


def test_prices_that_no_specialist_judges_by_are_no_divergence() -> None:
    records = log(
        allocate("idle", 4_000), run("idle", "claude-opus-5-5", 10), run("idle", "claude-opus-5-5", 10, at=200),
        reallocation=MOVING, total_budget={"tokens": 10_000}, until=300,
    )  # fmt: skip
    rerun = ask(records, Question(prices=prices_of({"claude-opus-5-5": {"input": 900, "output": 900}})))
    assert rerun.recorded.plans
    assert rerun.other.plans == rerun.recorded.plans
    assert rerun.divergence is None
    assert rerun.other.used[2] > rerun.recorded.used[2]


def test_a_refused_plan_that_the_log_does_not_have_is_refused_again() -> None:
    """The log has why; the other settings give the specialists no other plan."""
    store = MemoryStore()
    manager = Manager(Ledger(), store, GENESIS)

    def take(*asked: c.Command) -> list[Any]:
        manager.take(Envelope(list(asked), [encode_command(one) for one in asked], "op", None), START)
        return manager.commit(START)

    take(c.LoadConfig(config=POLICY, id="config"))
    *_, post = take(c.Rebalance(id="q"))
    plan = p.ApplyMoves(moves=[p.Move("ghost", "pool", Amounts(tokens=5), "a test", "idle")], asked=True)
    manager.take_proposal(Proposal(plan, "reallocator", post.message), START)
    manager.commit(START)
    rerun, events = rerun_with_events(list(store.read()), Question(policy(enforcement={"stop_at": "0.9"})))
    assert rerun.difference is None
    assert isinstance(events[-1], e.RequestRefused)
    assert events[-1] == events_of(list(store.read()))[-1]


def test_a_configuration_that_this_version_would_not_allow_is_the_cores_to_refuse() -> None:
    command = c.LoadConfig(config={"no_such_section": 1}, id="x")
    assert Question(policy()).instead_of(command) == [command]
