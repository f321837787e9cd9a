"""Holds whose expiry counts as used what they still had; and late settlements, which say what it really was."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.config.amounts import Usage
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log import snapshot
from tallystick.events.messages.replies import EdgeAmounts, Refusal
from tallystick.events.state.conservation import check_conserved
from tests.support.core import Core, allocate, budget, dump, fleet, hold, settle, submit, tokens, use
from tests.support.corrections import any_correction, asked
from tests.support.examples import examples

QUIET: dict[str, Any] = {
    "minimum_share_percent": 0,
    "max_pool_share_percent": 100,
    "enforcement": {"warn_before_exhaustion_seconds": 0},
}


def quiet(*commands: c.Command, total: int = 1_000_000) -> Core:
    return Core(fleet(total, "1000", **QUIET), *commands)


def spending(agent: str, id: str, amount: int, **rest: Any) -> c.Reserve:
    return hold(agent, id, amount, on_expiry="spend", ttl_seconds=rest.pop("ttl_seconds", 60), **rest)


def part(hold_id: str, amount: int) -> c.Settle:
    return c.Settle(hold=hold_id, usage=budget(amount), final=False)


# --- the expiry -------------------------------------------------------------------------------------------------------


def test_an_expiry_books_what_the_hold_had_by_an_event() -> None:
    core = quiet(allocate("a", 1_000, product="shop"), spending("a", "h", 300), hold("a", "g", 100, ttl_seconds=60))
    core.wait(60).pass_time()
    assert [type(event) for event in core.decided.events] == [e.HoldEnded, e.HoldSpent]
    spent = core.only(e.HoldSpent)
    assert (spent.agent, spent.hold, spent.tokens, spent.day) == ("a", "h", 300, "2026-03-04")
    status = core.status("a")
    assert (status.consumed, status.held, status.remaining) == (tokens(300), tokens(0), tokens(700))
    assert core.ledger.day.by_product == {"shop": 300}
    (shown,) = core.when(c.GetHolds(hold="h")).holds
    assert (shown.state, shown.booked, shown.on_expiry) == ("expired", tokens(300), "spend")


def test_an_expiry_counts_for_levels_and_the_fleet_as_usage_does() -> None:
    core = quiet(allocate("a", 100), spending("a", "h", 95), total=100)
    core.wait(60).pass_time()
    assert core.check("a").status == "red"
    assert core.ledger.spent[0] == 95


def test_an_expiry_is_no_sign_of_life_and_says_nothing_of_the_pace() -> None:
    core = quiet(allocate("a", 1_000), use("a", 10), spending("a", "h", 300))
    core.wait(60).pass_time()
    assert core.status("a").idle_seconds == 60
    assert core.account("a").last_report_at == core.now - core.now.resolution * 60_000_000


def test_what_was_booked_in_parts_is_not_booked_again() -> None:
    core = quiet(allocate("a", 1_000), spending("a", "h", 300), part("h", 120))
    core.wait(60).pass_time()
    assert core.only(e.HoldSpent).tokens == 180
    assert core.status("a").consumed == tokens(300)
    core = quiet(allocate("a", 1_000), spending("a", "h", 300), part("h", 400))
    core.wait(60).pass_time()
    assert core.only(e.HoldEnded).how == "expired", "nothing is left of it"


def test_cancelling_and_releasing_are_words_of_the_owner_and_give_back() -> None:
    core = quiet(allocate("a", 1_000), spending("a", "h", 300), spending("a", "g", 300), c.CancelHold(hold="h"))
    core.given(c.ReleaseBudget(agent="a"))
    assert core.only(e.HoldEnded).how == "released"
    assert core.ledger.spent[0] == 0


def test_the_end_of_an_agents_lease_ends_each_hold_by_its_policy() -> None:
    core = quiet(allocate("a", 1_000, lease_seconds=60), spending("a", "h", 300, ttl_seconds=600), hold("a", "g", 100))
    core.wait(60).pass_time()
    assert [type(event) for event in core.decided.events] == [
        e.AgentLeaseEnded,
        e.HoldSpent,
        e.HoldEnded,
        e.BudgetReleased,
    ]
    assert core.only(e.BudgetReleased).consumed.tokens == 300
    assert core.pool[0] == 999_700


def test_the_end_of_a_runs_lease_does_the_same() -> None:
    core = quiet(submit("t"), spending("t", "h", 300, ttl_seconds=9_000))
    core.wait(120).pass_time()
    assert core.only(e.HoldSpent).tokens == 300
    assert core.ledger.tasks.known["t"].state == "queued"
    assert core.pool[0] == 999_700


def test_it_counts_for_the_model_that_the_hold_named_or_else_the_agents() -> None:
    core = quiet(allocate("a", 1_000, "9"), spending("a", "h", 300, model="claude-haiku-5-5"))
    core.given(c.ReportUsage(agent="a", model="claude-opus-5-5", input_tokens=1), spending("a", "g", 5, cost="1"))
    core.wait(60).pass_time()
    first, second = core.every(e.HoldSpent)
    assert {first.model, second.model} == {"claude-haiku-5-5", "claude-opus-5-5"}
    assert first.cost_nanos or second.cost_nanos


# --- the late settlement ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("used", [0, 120, 300, 450, 2_000])
def test_a_late_settlement_replaces_what_the_expiry_booked(used: int) -> None:
    core = quiet(allocate("a", 1_000, product="shop"), spending("a", "h", 300))
    core.wait(60).pass_time()
    answer = core.when(settle("h", used))
    assert answer.late
    event = core.only(e.UsageCorrected)
    assert (event.settles, event.counted.tokens, event.counts.tokens, event.tokens) == (True, 300, used, used - 300)
    assert core.status("a").consumed == tokens(used)
    assert core.ledger.used_today[0] == core.ledger.day.by_product["shop"] == core.ledger.spent[0] == used
    core.when(settle("h", used))
    core.then_refused("already_settled")
    (shown,) = core.when(c.GetHolds(hold="h")).holds
    assert (shown.state, shown.booked) == ("settled", tokens(used) if used else EdgeAmounts())


def test_an_agent_that_an_expiry_stopped_may_go_on_when_it_used_less() -> None:
    core = quiet(allocate("a", 300), spending("a", "h", 300))
    core.wait(60).pass_time()
    assert core.check("a").action == "stop"
    assert core.when(settle("h", 100)).action == "continue"


def test_parts_of_a_late_settlement_add_up_from_the_first_on() -> None:
    core = quiet(allocate("a", 1_000), spending("a", "h", 300))
    core.wait(60).given(part("h", 40))
    assert core.only(e.UsageCorrected).partial
    assert core.status("a").consumed == tokens(40)
    core.given(part("h", 5), settle("h", 2))
    assert core.status("a").consumed == tokens(47)
    core.when(settle("h", 2))
    core.then_refused("already_settled")


def test_parts_before_the_expiry_stay() -> None:
    core = quiet(allocate("a", 1_000), spending("a", "h", 300), part("h", 100))
    core.wait(60).given(settle("h", 30))
    assert core.status("a").consumed == tokens(130)


def test_after_a_release_the_account_that_paid_gets_the_difference() -> None:
    core = quiet(
        allocate("boss", 10_000),
        allocate("w", 1_000, parent="boss", product="A", lease_seconds=60),
        spending("w", "h", 500),
    )
    core.wait(60).pass_time()
    assert core.status("boss").consumed == tokens(500)
    core.given(allocate("w", 100), settle("h", 450))
    event = core.only(e.UsageCorrected)
    assert (event.closed, event.charged, event.product) == ("w", "boss", "A")
    assert core.status("boss").consumed == tokens(450)
    assert core.status("w").consumed == tokens(0), "another life"


def test_a_late_settlement_that_names_another_model_moves_what_was_booked() -> None:
    core = quiet(allocate("a", 10_000, "9"), spending("a", "h", 300, cost="1", model="claude-haiku-5-5"))
    core.wait(60)
    core.given(c.Settle(hold="h", model="claude-opus-5-5", input_tokens=10, output_tokens=5))
    event = core.only(e.UsageCorrected)
    assert (event.model, event.model_after, event.counts.tokens) == ("claude-haiku-5-5", "claude-opus-5-5", 15)


def test_an_operators_correction_of_an_expiry_is_replaced_too() -> None:
    core = quiet(allocate("a", 1_000), spending("a", "h", 300))
    core.wait(60).pass_time()
    position = core.only(e.HoldSpent).position
    core.given(asked(core, position, usage=Usage(tokens=200)))
    core.given(settle("h", 90))
    assert core.only(e.UsageCorrected).counted.tokens == 200
    assert core.status("a").consumed == tokens(90)


def test_where_it_is_forgotten_who_was_charged_only_the_excess_is() -> None:
    core = quiet(allocate("a", 1_000, lease_seconds=60), spending("a", "h", 300))
    core.wait(60).pass_time()
    life = core.ledger.released["a"].life
    for ledger in (core.ledger, core.replica):
        del ledger.lives[life], ledger.released["a"]
    core.given(settle("h", 450))
    assert core.only(e.UsageReported).tokens == 150
    assert core.ledger.spent[0] == 450


def test_a_hold_that_gives_back_is_settled_late_as_ever() -> None:
    core = quiet(allocate("a", 1_000), hold("a", "h", 300, ttl_seconds=60))
    core.wait(60).given(settle("h", 120))
    core.then_events(e.UsageReported)


def test_a_late_settlement_keeps_the_lease_of_its_agent() -> None:
    core = quiet(allocate("a", 1_000, lease_seconds=100), spending("a", "h", 300))
    core.wait(90).given(settle("h", 120))
    assert core.status("a").lease_expires_at == "2026-03-04T12:03:10Z"


def test_a_snapshot_keeps_what_an_expiry_booked() -> None:
    core = quiet(allocate("a", 1_000), spending("a", "h", 300), spending("a", "g", 7, ttl_seconds=600))
    core.wait(60).pass_time()
    again = snapshot.load(snapshot.dump(core.ledger))
    assert again is not None
    assert dump(again) == dump(core.ledger)
    core.ledger = again
    core.given(settle("h", 30))
    assert core.status("a").consumed == tokens(30)


# --- any sequence -----------------------------------------------------------------------------------------------------

NAMES = ("a", "b", "a/1", "a/1/x")
PARENTS = {"a/1": "a", "a/1/x": "a/1"}


@settings(max_examples=examples(300), deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_whatever_expires_and_is_settled_late_each_operation_counts_once(seed: int) -> None:
    """Leases, expiries of both kinds, parts, late settlements, corrections and restarts, mixed."""
    dice = Random(seed)
    core = Core(fleet(100_000, **QUIET), compares=False)
    counts: dict[str, int] = {}
    holds: dict[str, bool] = {}
    for number in range(50):
        name, id = dice.choice(NAMES), f"h{number}"
        core.wait(dice.choice((0, 1, 5, 20, 61, 90_000)))
        match dice.randint(0, 9):
            case 0 | 1 | 2:
                lease = dice.choice((None, 30, 90))
                core.when(allocate(name, dice.choice((50, 500)), parent=PARENTS.get(name), lease_seconds=lease))
            case 3 | 4 | 5:
                spends = dice.random() < 0.7
                wanted = spending(name, id, 40, ttl_seconds=30) if spends else hold(name, id, 40, ttl_seconds=30)
                if not isinstance(core.when(wanted), Refusal):
                    holds[id], counts[id] = spends, 0
            case 6 | 7 if holds:
                id, used = dice.choice(list(holds)), dice.choice((0, 10, 40, 70))
                final = dice.random() < 0.6
                core.given(c.Settle(hold=id, usage=budget(used), final=final))
                counts[id] += used
                if final:
                    del holds[id]
            case 8:
                core.when(c.ReleaseBudget(agent=name))
            case _:
                command = any_correction(core, dice)
                if command is not None and command.record is not None and command.record.hold is None:
                    core.when(command)
        check_conserved(core.ledger)
        if not dice.randint(0, 9):
            data = snapshot.dump(core.ledger)
            loaded = snapshot.load(data)
            assert loaded is not None
            assert snapshot.dump(loaded) == data == snapshot.dump(core.replica)
            core.ledger = loaded
    assert snapshot.dump(core.ledger) == snapshot.dump(core.replica)
    spent = {event.hold: event.tokens for event in core.log if isinstance(event, e.HoldSpent)}
    replaced = {event.record.hold for event in core.log if isinstance(event, e.UsageCorrected) and event.settles}
    still = sum(units for id, units in spent.items() if id not in replaced)
    assert core.ledger.spent[0] == sum(counts.values()) + still
