"""Agents of the typed interface: opened for a block, kept alive, released at its end; in threads and coroutines."""

import asyncio
import datetime as dt
import gc
from collections.abc import Sequence
from typing import Any

import pytest

from tallystick import Fleet, Refused, Stopped
from tallystick.actors.runtime.clock import ManualClock
from tallystick.events import messages as c
from tallystick.events.messages.replies import BudgetStatus, Enforcement, Overrides
from tallystick.interface.usage import UsageNotUnderstood
from tests.support.core import START
from tests.support.programs import agents, consumed, fleet_of, nothing_is_open, recorded, run, status


def test_an_agent_is_opened_with_its_budget_and_labels_and_released_at_the_end() -> None:
    with fleet_of() as fleet:
        terms = {"agent_type": "coder", "product": "shop", "workflow": "w-1", "priority": "high"}
        with fleet.agent("ann", tokens=60_000, usd="1.50", seconds=30, labels={"user": "u-1"}, **terms) as agent:  # type: ignore[arg-type]
            found = status(fleet, "ann")
            assert agent.id == "ann"
            assert found["allocated"] == {"tokens": 60_000, "time_seconds": 30, "cost_usd": "1.50"}
            assert {name: found[name] for name in terms} == terms
            assert found["lease_seconds"] == 120
        assert nothing_is_open(fleet)


def test_a_coroutine_opens_an_agent_in_the_same_way() -> None:
    async def program() -> None:
        with fleet_of() as fleet:
            async with fleet.agent("ann", tokens=1_000, lease_seconds=7.5) as agent:
                assert status(fleet, agent.id)["lease_seconds"] == 7.5
            assert nothing_is_open(fleet)

    run(program())


def test_the_budget_of_a_sub_agent_comes_out_of_its_parents() -> None:
    with fleet_of() as fleet, fleet.agent("lead", tokens=1_000) as lead:
        with lead.agent("sub-1", tokens=300), fleet.agent("sub-2", parent="lead", tokens=200):
            assert status(fleet, "lead")["delegated"] == {"tokens": 500}
            assert status(fleet, "sub-1")["parent"] == "lead"
        assert status(fleet, "lead")["remaining"] == {"tokens": 1_000}


def test_an_agent_without_a_budget_works_on_an_open_account_and_does_not_release_it() -> None:
    with fleet_of() as fleet:
        with pytest.raises(Refused, match="unknown_agent"), fleet.agent("ann"):
            pass
        with fleet.agent("ann", tokens=1_000):
            with fleet.agent("ann") as again, again.call(tokens=10) as call:
                call.done(tokens=10)
            assert agents(fleet) == ["ann"]
            with pytest.raises(TypeError, match="product: an account that is open already has its own"):
                fleet.agent("ann", product="shop")


def test_an_account_that_is_open_is_not_opened_again_nor_released_by_the_one_that_was_refused() -> None:
    with fleet_of() as fleet, fleet.agent("ann", tokens=1_000):
        with pytest.raises(Refused) as refused, fleet.agent("ann", tokens=5):
            pass
        assert refused.value.code == "already_allocated"
        assert agents(fleet) == ["ann"]


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ({"tokens": -1}, "budget.tokens"),
        ({"usd": "a lot"}, "budget.cost_usd"),
        ({"tokens": 1, "lease_seconds": 0}, "lease_seconds"),
        ({"tokens": 10**9}, "pool_exhausted"),
    ],
)
def test_what_is_not_allowed_is_refused_with_the_field_that_is_wrong(budget: dict[str, int], said: str) -> None:
    with fleet_of() as fleet:
        with pytest.raises(Refused, match=said), fleet.agent("ann", **budget):  # type: ignore[arg-type]
            pass
        assert nothing_is_open(fleet)


def test_a_block_is_entered_once() -> None:
    with fleet_of() as fleet:
        block = fleet.agent("ann", tokens=1)
        with block, pytest.raises(RuntimeError, match="entered once"), block:
            pass


def test_a_call_outside_the_block_of_its_agent_is_a_mistake_that_says_so() -> None:
    with fleet_of() as fleet:
        with fleet.agent("ann", tokens=100) as agent:
            pass
        with pytest.raises(RuntimeError, match="ann is not open"), agent.call(tokens=1):
            pass


# --- reports ----------------------------------------------------------------------------------------------------------


def test_an_agent_that_only_reports_learns_what_it_may_do_next() -> None:
    with fleet_of() as fleet, fleet.agent("ann", tokens=1_000) as agent:
        usage = {"prompt_tokens": 600, "completion_tokens": 100}
        reply = agent.report({"usage": usage}, model="haiku", operation="draft", labels={"user": "u-1"})
        assert (reply.status, reply.remaining.tokens) == ("yellow", 300)
        assert agent.enforcement == reply
        assert agent.report(tokens=5, usd="0.10", seconds="0.5").remaining.tokens == 295  # type: ignore[arg-type]
        with pytest.raises(UsageNotUnderstood, match="found None"):
            agent.report()
        with pytest.raises(Refused, match=r"usage\.tokens"):
            agent.report(tokens=-5)


# --- signs of life ----------------------------------------------------------------------------------------------------


class Life:
    """A fleet and the heartbeats of its interface, whose clocks are moved together."""

    def __init__(self, fleet: Fleet, clock: ManualClock) -> None:
        self.fleet, self.clock, self.heartbeats = fleet, clock, fleet._runner.heartbeats
        self.heartbeats.clock = self.seconds
        self.sent: list[list[str]] = []
        send = self.heartbeats._send

        def noting(messages: Sequence[Any]) -> list[Any]:
            self.sent.append([one.agent or one.hold for one in messages])
            return send(messages)

        self.heartbeats._send = noting

    def seconds(self) -> float:
        return (self.clock.now() - START).total_seconds()

    def pass_time(self, seconds: float, *, beats: bool = True) -> None:
        for _ in range(round(seconds / 10)):
            self.fleet.advance(self.clock.now() + dt.timedelta(seconds=10))
            if beats:
                self.heartbeats.beat()


def test_a_quiet_agent_and_its_hold_live_for_many_leases_and_end_one_lease_after_the_last_sign(
    clock: ManualClock,
) -> None:
    with fleet_of(clock) as fleet:
        life = Life(fleet, clock)
        with fleet.agent("ann", tokens=100, lease_seconds=60) as agent, agent.call(tokens=5) as call:
            life.pass_time(600)
            assert agents(fleet) == ["ann"]
            assert "hold-ended" not in recorded(fleet)
            life.pass_time(70, beats=False)
            assert agents(fleet) == []
            call.done(tokens=5)
        assert call.reply is not None
        assert call.reply.late
        assert consumed(fleet) == {"tokens": 5, "cost_usd": "0.00"}


def test_signs_of_life_of_all_agents_are_one_message(clock: ManualClock) -> None:
    with fleet_of(clock) as fleet:
        life = Life(fleet, clock)
        with fleet.agent("ann", tokens=100, lease_seconds=90), fleet.agent("ben", tokens=100, lease_seconds=90):
            life.pass_time(60)
            assert [sorted(names) for names in life.sent] == [["ann", "ben"], ["ann", "ben"]]


def test_no_sign_of_life_is_sent_for_an_agent_that_was_heard(clock: ManualClock) -> None:
    with fleet_of(clock) as fleet:
        life = Life(fleet, clock)
        with fleet.agent("ann", tokens=100, lease_seconds=90) as agent:
            for _ in range(10):
                life.pass_time(20)
                agent.report(tokens=1)
            assert life.sent == []
            life.pass_time(30)
            assert life.sent == [["ann"]]


def test_what_a_program_refers_to_no_more_is_not_kept_alive(clock: ManualClock) -> None:
    with fleet_of(clock) as fleet:
        life = Life(fleet, clock)
        fleet.agent("ann", tokens=100, lease_seconds=60).__enter__()
        gc.collect()
        life.pass_time(70)
        assert agents(fleet) == []
        assert "agent-lease-ended" in recorded(fleet)


def test_an_agent_that_others_have_released_is_stopped_and_does_not_release_the_next_one_of_its_name(
    clock: ManualClock,
) -> None:
    with fleet_of(clock) as fleet:
        life = Life(fleet, clock)
        with fleet.agent("ann", tokens=100, lease_seconds=60) as agent:
            fleet.ask({"type": "ReleaseBudget", "agent": "ann"})
            life.pass_time(30)
            fleet.ask({"type": "AllocateBudget", "agent": "ann", "budget": {"tokens": 7}})
            with pytest.raises(Stopped, match="already_released"), agent.call(tokens=1):
                pass
        assert status(fleet, "ann")["allocated"] == {"tokens": 7}


def test_a_sign_of_life_brings_the_newest_word_about_the_agent(clock: ManualClock) -> None:
    with fleet_of(clock) as fleet:
        life = Life(fleet, clock)
        with fleet.agent("ann", tokens=100, lease_seconds=60) as agent:
            fleet.request(c.Stop(agent="ann", reason="a test"), Overrides, by="ada")
            life.pass_time(30)
            assert isinstance(agent.enforcement, Enforcement)
            assert (agent.enforcement.action, agent.enforcement.decided_by) == ("stop", "stop")


# --- messages ---------------------------------------------------------------------------------------------------------


def test_a_request_is_answered_by_a_typed_reply_or_an_exception() -> None:
    async def program() -> None:
        with fleet_of() as fleet:
            async with fleet.agent("ann", tokens=100):
                found = await fleet.request_async(c.GetStatus(agent="ann"), BudgetStatus)
                assert found.allocated.tokens == 100
            with pytest.raises(Refused) as refused:
                await fleet.request_async(c.GetStatus(agent="ben"), BudgetStatus)
            assert refused.value.details == {"agent": "ben"}
            assert str(refused.value).startswith("unknown_agent: no account is open for ben")

    run(program())


def test_a_fleet_is_closed_without_blocking_the_loop() -> None:
    async def program() -> list[str]:
        ticks: list[str] = []

        async def tick() -> None:
            while True:
                ticks.append("tick")
                await asyncio.sleep(0)

        with fleet_of() as fleet:
            ticking = asyncio.create_task(tick())
            async with fleet:
                pass
            ticking.cancel()
            assert fleet.ask({"type": "GetGlobalStatus"})["error"]["code"] == "halted"
        return ticks

    assert run(program())
