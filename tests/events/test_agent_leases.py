"""Leases of agents: an account with one is released when no message came by it, or from below it, for so long."""

import datetime as dt
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.evolve import evolve
from tallystick.events.log import snapshot
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.ledger import Ledger
from tests.support.core import START, Core, allocate, budget, complete, dump, fleet, hold, settle, submit, use
from tests.support.examples import examples

QUIET: dict[str, Any] = {
    "minimum_share_percent": 0,
    "max_pool_share_percent": 100,
    "enforcement": {"warn_before_exhaustion_seconds": 0},
}


def leased(agent: str, tokens: int = 1_000, seconds: int = 60, **rest: Any) -> c.AllocateBudget:
    return allocate(agent, tokens, lease_seconds=Decimal(seconds), **rest)


def quiet(*commands: c.Command) -> Core:
    return Core(fleet(1_000_000, **QUIET), *commands)


def ends(core: Core, agent: str) -> Any:
    return core.status(agent).lease_expires_at


def at(seconds: float) -> str:
    return (START + dt.timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def is_open(core: Core, agent: str) -> bool:
    core.pass_time()
    return agent in core.ledger.accounts


# --- what extends it --------------------------------------------------------------------------------------------------


def test_an_account_with_a_lease_closes_at_its_end_and_not_before() -> None:
    core = quiet(leased("a"), allocate("b", 10))
    core.wait(59.999).pass_time()
    assert "a" in core.ledger.accounts
    core.wait(0.001).pass_time()
    assert [type(event) for event in core.decided.events] == [e.AgentLeaseEnded, e.BudgetReleased]
    ended = core.only(e.AgentLeaseEnded)
    assert (ended.agent, ended.lease_ms, ended.heard_at) == ("a", 60_000, START)
    assert core.only(e.BudgetReleased).unused.tokens == 1_000
    assert is_open(core, "b"), "an account without a lease stays open"
    core.when(use("a", 5))
    assert core.only(e.UsageReported).late


@pytest.mark.parametrize(
    "message",
    [
        use("a", 1),
        hold("a", "new", 1),
        settle("h", 1),
        c.Settle(hold="h", usage=budget(1), final=False),
        c.CancelHold(hold="h"),
        c.Heartbeat(hold="h"),
        c.Heartbeat(agent="a"),
        c.BorrowFromPool(agent="a", amount=budget(1)),
        c.AllocateFromPool(agent="a", request=budget(1)),
        c.ReturnToPool(agent="a", amount=budget(1)),
        allocate("a/2", 1, parent="a"),
        submit("t2", parent="a"),
        use("a/1", 1),
        c.Heartbeat(agent="a/1"),
        c.ReleaseBudget(agent="a/1"),
        c.Heartbeat(task="t"),
        complete("t"),
        hold("a", "too-much", 10**9),
        c.BorrowFromPool(agent="a", amount=budget(10**9)),
    ],
    ids=lambda command: type(command).__name__,
)
def test_any_message_by_the_account_or_below_it_gives_it_its_whole_time_anew(message: c.Command) -> None:
    core = quiet(leased("a", 500_000), allocate("a/1", 100, parent="a"), submit("t", parent="a"), hold("a", "h", 50))
    core.wait(40)
    core.when(message)
    assert ends(core, "a") == at(100)
    core.wait(59)
    assert is_open(core, "a")
    core.wait(1)
    assert not is_open(core, "a")


@pytest.mark.parametrize(
    "message",
    [
        c.Throttle(agent="a", rate=Decimal("0.5")),
        c.Stop(agent="a", reason="a test"),
        c.GetStatus(agent="a"),
        c.CheckEnforcement(agent="a"),
        use("b", 1),
        leased("a"),
        p.WarnAgent(agent="a", exhausted_in_seconds=9, method="average"),
    ],
    ids=lambda command: type(command).__name__,
)
def test_what_others_do_and_what_is_only_asked_says_nothing_of_the_agent(message: c.Command) -> None:
    core = quiet(leased("a"), allocate("b", 10))
    core.wait(40)
    core.when(message)
    assert ends(core, "a") == at(60)
    core.wait(20)
    assert not is_open(core, "a")


def test_the_expiry_of_its_own_hold_is_no_message() -> None:
    core = quiet(leased("a"), hold("a", "h", 5, ttl_seconds=30))
    core.wait(30).pass_time()
    assert core.only(e.HoldEnded).how == "expired"
    core.wait(30)
    assert not is_open(core, "a")


def test_a_lease_is_extended_without_an_event() -> None:
    core = quiet(leased("a"))
    for _ in range(10):
        core.wait(50).when(use("a", 1))
        core.then_events(e.UsageReported)
        assert core.due == []


def test_a_sub_agent_with_a_shorter_lease_closes_alone_and_its_messages_hold_those_above_it() -> None:
    core = quiet(leased("a", seconds=100), leased("a/1", 100, seconds=30, parent="a"))
    core.wait(29).given(use("a/1", 1))
    core.wait(29).given(use("a/1", 1))
    core.wait(30)
    assert not is_open(core, "a/1"), "at 88"
    core.wait(69)
    assert is_open(core, "a"), "it was heard by its sub-agent at 58"
    core.wait(1)
    assert not is_open(core, "a")


def test_those_below_close_first_with_the_one_whose_lease_ends() -> None:
    core = quiet(
        leased("a"), allocate("a/1", 100, parent="a"), leased("a/1/x", 10, parent="a/1"), hold("a/1/x", "h", 3)
    )
    core.wait(60).pass_time()
    assert [(type(event), getattr(event, "agent", None)) for event in core.decided.events] == [
        (e.AgentLeaseEnded, "a"),
        (e.HoldEnded, "a/1/x"),
        (e.BudgetReleased, "a/1/x"),
        (e.BudgetReleased, "a/1"),
        (e.BudgetReleased, "a"),
    ]
    assert core.ledger.due_at() > core.now + dt.timedelta(hours=1), "no timer of theirs is left"


def test_an_id_that_is_allocated_again_has_the_lease_that_it_names() -> None:
    core = quiet(leased("a"))
    core.wait(10).given(c.ReleaseBudget(agent="a"), allocate("a", 5))
    core.wait(600)
    assert is_open(core, "a")
    assert core.status("a").lease_seconds is None


# --- pause, outage ----------------------------------------------------------------------------------------------------


def test_a_pause_freezes_leases_and_its_end_gives_them_their_whole_time() -> None:
    core = quiet(leased("a"))
    core.wait(50).given(c.PauseAll(reason="lunch"))
    assert ends(core, "a") is None
    core.wait(86_400)
    assert is_open(core, "a")
    core.given(c.ResumeAll())
    assert ends(core, "a") == at(86_510)
    core.wait(59)
    assert is_open(core, "a")
    core.wait(1)
    assert not is_open(core, "a")


def test_a_pause_by_configuration_does_the_same() -> None:
    core = quiet(leased("a"))
    core.given(fleet(1_000_000, **QUIET, manual_override={"pause_all_agents": True}))
    core.wait(3_600)
    assert is_open(core, "a")
    core.given(fleet(1_000_000, **QUIET, manual_override={"pause_all_agents": False}))
    assert ends(core, "a") == at(3_660)


def test_a_restart_renews_leases_before_anything_falls_due() -> None:
    core = quiet(leased("a"), leased("b", seconds=500))
    core.wait(86_400).given(p.OpenFleet())
    core.then_events(e.FleetOpened)
    assert (ends(core, "a"), ends(core, "b")) == (at(86_460), at(86_900))
    core.wait(60)
    assert not is_open(core, "a"), "once"
    assert is_open(core, "b")


def test_a_snapshot_keeps_leases_and_when_they_begun_anew() -> None:
    core = quiet(leased("a"), allocate("a/1", 100, parent="a"), leased("a/1/x", 10, 30, parent="a/1"))
    core.wait(20).given(use("a/1/x", 1))
    core.wait(5).given(c.PauseAll(reason="a test"), c.ResumeAll())
    again = snapshot.load(snapshot.dump(core.ledger))
    assert again is not None
    assert dump(again) == dump(core.ledger)
    assert again.due_at() <= again.leases.ends_at(again.accounts["a/1/x"])
    core.ledger = again
    core.wait(30)
    assert not is_open(core, "a/1/x")
    assert is_open(core, "a")


# --- what it says -----------------------------------------------------------------------------------------------------


def test_replies_say_when_the_lease_ends() -> None:
    core = quiet()
    assert core.when(leased("a")).lease_expires_at == at(60)
    core.wait(10)
    assert core.when(c.Heartbeat(agent="a")).lease_expires_at == at(70)
    status = core.status("a")
    assert (status.lease_seconds, status.lease_expires_at) == (60, at(70))
    assert core.when(allocate("b", 1)).lease_expires_at is None


@pytest.mark.parametrize("seconds", ["0", "-1", "604800.001", "0.0001", "NaN", "1e400"])
def test_a_lease_that_cannot_be_is_refused(seconds: str) -> None:
    core = quiet()
    core.when(allocate("a", 1, lease_seconds=Decimal(seconds)))
    core.then_refused("invalid_amount", field="lease_seconds")


# --- its cost ---------------------------------------------------------------------------------------------------------


def test_the_timer_fires_about_once_per_lease_and_its_time_however_many_messages_come() -> None:
    core = quiet(leased("a", seconds=10))
    core.compares = False
    fired, due = 0, core.ledger.due_at()
    for _ in range(1_000):
        core.wait(0.1).when(use("a", 1))
        if core.ledger.due_at() != due:
            fired, due = fired + 1, core.ledger.due_at()
    assert 9 <= fired <= 11


def test_a_chain_of_a_thousand_leases_is_asked_and_ends_without_recursion() -> None:
    core = Core(compares=False)
    core.given(fleet(1_000_000, **QUIET), leased("n0", 1_000))
    for depth in range(1, 1_000):
        core.given(leased(f"n{depth}", 1, parent=f"n{depth - 1}"))
    core.wait(50).given(use("n999", 1))
    core.wait(59)
    assert is_open(core, "n0"), "it is heard by the lowest"
    core.wait(1)
    assert not is_open(core, "n0")
    assert not core.ledger.accounts.keys()
    assert core.only(e.AgentLeaseEnded).agent == "n0", "one lease takes all below it"


# --- any sequence -----------------------------------------------------------------------------------------------------

NAMES = ("a", "b", "a/1", "a/2", "a/1/x")
PARENTS = {"a/1": "a", "a/2": "a", "a/1/x": "a/1"}


class Naive:
    """All leases, each with the time of the last message by its account or below it, found by walking up."""

    def __init__(self) -> None:
        self.lease: dict[str, float] = {}
        self.parent: dict[str, str | None] = {}
        self.heard: dict[str, float] = {}
        self.begun = 0.0
        self.paused = False

    def hear(self, name: str | None, now: float) -> None:
        while name is not None and name in self.parent:
            self.heard[name] = now
            name = self.parent[name]

    def close(self, name: str) -> None:
        for child in [one for one, parent in self.parent.items() if parent == name]:
            self.close(child)
        del self.parent[name], self.lease[name], self.heard[name]

    def pass_time(self, now: float) -> None:
        """Close what is over, in the order of the ends."""
        while not self.paused:
            over = [
                (max(self.heard[name], self.begun) + lease, len(self.parent), name)
                for name, lease in self.lease.items()
                if lease and max(self.heard[name], self.begun) + lease <= now
            ]
            if not over:
                return
            self.close(min(over)[2])


def _command(dice: Random, number: int) -> c.Command:
    name = dice.choice(NAMES)
    match dice.randint(0, 9):
        case 0 | 1 | 2:
            lease = dice.choice((None, 5, 20, 60))
            wanted = None if lease is None else Decimal(lease)
            return allocate(name, dice.choice((10, 100)), parent=PARENTS.get(name), lease_seconds=wanted)
        case 3:
            return c.ReleaseBudget(agent=name)
        case 4:
            return hold(name, f"h{number}", dice.choice((1, 90)), on_expiry=dice.choice(("release", "spend")))
        case 5:
            return dice.choice((c.PauseAll(reason="a test"), c.ResumeAll(), p.OpenFleet()))
        case 6:
            return c.Heartbeat(agent=name)
        case _:
            return use(name, dice.choice((1, 9)))


@settings(max_examples=examples(300), deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_whatever_is_sent_accounts_are_open_as_a_naive_model_says(seed: int) -> None:
    dice, model = Random(seed), Naive()
    core = Core(fleet(1_000_000, **QUIET), compares=False)
    now = 0.0
    for number in range(60):
        waited = dice.choice((0, 1, 4, 10, 21))
        now += waited
        command = _command(dice, number)
        if isinstance(command, p.OpenFleet):
            model.begun = now
        model.pass_time(now)
        answer = core.wait(waited).when(command)
        granted = not isinstance(answer, Refusal)
        match command:
            case c.AllocateBudget() if granted:
                parent = command.parent
                model.parent[command.agent], model.heard[command.agent] = parent, now
                model.lease[command.agent] = float(command.lease_seconds or 0)
                model.hear(parent, now)
            case c.ReleaseBudget() if granted:
                above = model.parent[command.agent]
                model.close(command.agent)
                model.hear(above, now)
            case c.PauseAll():
                model.paused = True
            case c.ResumeAll():
                model.begun = now if model.paused else model.begun
                model.paused = False
            case c.ReportUsage() | c.Heartbeat() | c.Reserve():
                model.hear(command.agent, now)
        assert core.ledger.accounts.keys() == model.parent.keys(), number
        if not dice.randint(0, 9):
            core.restart()
    assert snapshot.dump(core.ledger) == snapshot.dump(core.replica)


def test_a_replay_comes_to_the_same_leases() -> None:
    core = quiet(leased("a"), leased("b", seconds=5))
    core.wait(4).given(use("a", 1))
    core.wait(3).pass_time()
    again = Ledger()
    for event in core.log:
        evolve(again, event)
    assert again.leases.dump() == core.ledger.leases.dump()
