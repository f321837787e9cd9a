"""Calls of the typed interface: they hold before, wait where waiting helps, and settle by what was used."""

import datetime as dt
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tallystick import Fleet, Refused, Stopped, Throttled
from tallystick.actors.runtime.clock import ManualClock
from tallystick.interface.agent_state import OnCrash
from tallystick.interface.usage import UsageNotUnderstood
from tests.support.programs import consumed, fleet_of, holds, in_thread, recorded, run, status, until, waiting

USAGE = {"usage": {"input_tokens": 200, "cache_read_input_tokens": 800, "output_tokens": 100}}


def later(fleet: Fleet, clock: ManualClock, seconds: float) -> None:
    fleet.advance(clock.now() + dt.timedelta(seconds=seconds))


# --- holds and settlements --------------------------------------------------------------------------------------------


def test_a_call_holds_its_input_and_its_largest_output_and_settles_by_the_providers_usage() -> None:
    with fleet_of() as fleet, fleet.agent("ann", tokens=60_000, usd=1) as agent:
        with agent.call("claude-sonnet-4-5", input_tokens=1_000, max_output_tokens=500, operation="draft") as call:
            (held,) = holds(fleet)
            assert (held["hold"], held["agent"], held["operation"]) == (call.id, "ann", "draft")
            assert held["held"]["tokens"] == 1_500
            assert float(held["held"]["cost_usd"]) > 0
            call.done(USAGE)
        assert call.reply is not None
        assert call.reply.remaining.tokens == 60_000 - 1_100
        # 200 of $3, 800 of $0.30 and 100 of $15 a million
        assert call.reply.remaining.cost_usd == "0.99766"
        assert holds(fleet) == []


def test_a_call_that_does_not_know_its_input_holds_its_output() -> None:
    with fleet_of() as fleet, fleet.agent("ann", tokens=60_000) as agent:
        with agent.call("sonnet", max_output_tokens=1_000) as call:
            assert holds(fleet)[0]["held"]["tokens"] == 1_000
            call.done(USAGE)
        assert status(fleet, "ann")["consumed"]["tokens"] == 1_100


def test_another_operation_holds_and_settles_figures() -> None:
    with fleet_of() as fleet, fleet.agent("ann", tokens=1_000, usd=1, seconds=60) as agent:
        with agent.call(tokens=500, usd="0.25", seconds=10) as call:
            assert holds(fleet)[0]["held"] == {"tokens": 500, "time_seconds": 10, "cost_usd": "0.25"}
            call.done(tokens=400, usd=0.125, seconds=2.5)
        assert status(fleet, "ann")["consumed"] == {"tokens": 400, "time_seconds": 2.5, "cost_usd": "0.125"}


def test_the_seconds_of_a_call_are_measured_where_none_are_named() -> None:
    with fleet_of() as fleet, fleet.agent("ann", seconds=60) as agent:
        with agent.call(seconds=10) as call:
            until(lambda: len(list(itertools.islice(itertools.count(), 10_000))) > 0)
            call.done(tokens=1)
        assert 0 <= status(fleet, "ann")["consumed"]["time_seconds"] < 10


def test_a_call_of_a_coroutine_does_the_same() -> None:
    async def program() -> None:
        with fleet_of() as fleet:
            async with fleet.agent("ann", tokens=60_000) as agent:
                async with agent.call("sonnet", max_output_tokens=500) as call:
                    call.done(USAGE)
                assert (await agent.report(tokens=1)).remaining.tokens == 60_000 - 1_101
            assert consumed(fleet)["tokens"] == 1_101

    run(program())


def test_a_call_that_used_nothing_gives_its_hold_back() -> None:
    with fleet_of() as fleet, fleet.agent("ann", tokens=1_000, on_crash="spend") as agent:
        with agent.call(tokens=500) as call:
            call.unused()
        assert status(fleet, "ann")["remaining"] == {"tokens": 1_000}


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "spent"), [("release", 0), ("spend", 500)])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_the_hold_of_a_block_that_raises_ends_by_its_policy(
    policy: OnCrash, spent: int, error: type[BaseException]
) -> None:
    with fleet_of() as fleet:
        with fleet.agent("ann", tokens=1_000, on_crash=policy) as agent:
            with pytest.raises(error), agent.call(tokens=500):
                raise error
            assert status(fleet, "ann")["consumed"]["tokens"] == spent
            assert holds(fleet) == []
        (ended,) = holds(fleet, "settled") + holds(fleet, "cancelled")
        assert ended.get("reason", ended.get("ended_reason")) == f"{error.__name__} in its block" or ended


def test_what_was_used_before_the_block_raised_counts() -> None:
    with fleet_of() as fleet:

        def work() -> None:
            with fleet.agent("ann", tokens=1_000) as agent, agent.call(tokens=500) as call:
                call.done(tokens=123)
                raise ValueError("later")

        with pytest.raises(ValueError, match="later"):
            work()
        assert consumed(fleet)["tokens"] == 123


@pytest.mark.parametrize(("policy", "spent"), [("release", 0), ("spend", 500)])
def test_a_call_that_ends_without_saying_what_it_used_is_an_error(policy: OnCrash, spent: int) -> None:
    with fleet_of() as fleet, fleet.agent("ann", tokens=1_000, on_crash=policy) as agent:
        with pytest.raises(UsageNotUnderstood, match=r"call.done\(reply\) says it"), agent.call(tokens=500):
            pass
        assert status(fleet, "ann")["consumed"]["tokens"] == spent


def test_the_hold_of_a_call_whose_usage_is_not_understood_counts_as_used() -> None:
    with fleet_of() as fleet, fleet.agent("ann", tokens=1_000) as agent:
        with pytest.raises(UsageNotUnderstood, match="found a mapping with tokens_in"), agent.call(tokens=500) as call:
            call.done({"tokens_in": 5})
        assert status(fleet, "ann")["consumed"]["tokens"] == 500


def test_a_hold_that_expired_is_settled_late_and_counts_once(clock: ManualClock) -> None:
    with fleet_of(clock) as fleet:
        with fleet.agent("ann", tokens=1_000, lease_seconds=60, on_crash="spend") as agent:
            with agent.call(tokens=500) as call:
                later(fleet, clock, 90)
                call.done(tokens=200)
            assert call.reply is not None
            assert call.reply.late
        assert consumed(fleet)["tokens"] == 200


def test_usage_of_a_hold_that_was_forgotten_is_reported() -> None:
    with fleet_of() as fleet, fleet.agent("ann", tokens=10**5) as agent:
        with agent.call(tokens=500) as call:
            fleet.ask({"type": "Settle", "hold": call.id, "usage": {"tokens": 0}})
            # As after 10,000 later ones.
            fleet._manager.ledger.ended_holds.forget_before(fleet._manager.ledger.position + 1, 0)
            call.done(tokens=321)
        assert status(fleet, "ann")["consumed"]["tokens"] == 321
        assert "usage-reported" in recorded(fleet)


# --- streams ----------------------------------------------------------------------------------------------------------

PARTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {"usage": {"input_tokens": 300, "output_tokens": 1}}},
    {"type": "content_block_delta"},
    {"type": "message_delta", "usage": {"output_tokens": 100}},
]


def test_a_stream_settles_the_call_by_its_last_figures() -> None:
    async def parts() -> AsyncIterator[dict[str, Any]]:
        for part in PARTS:
            yield part

    async def program() -> None:
        with fleet_of() as fleet:
            async with (
                fleet.agent("ann", tokens=10_000) as agent,
                agent.call("sonnet", max_output_tokens=500) as call,
            ):
                assert [part async for part in call.stream(parts())] == PARTS
            assert consumed(fleet)["tokens"] == 400

    run(program())
    with fleet_of() as fleet, fleet.agent("ann", tokens=10_000) as agent:
        with agent.call("sonnet", max_output_tokens=500) as call:
            assert list(call.stream(PARTS)) == PARTS
        assert status(fleet, "ann")["consumed"]["tokens"] == 400


@pytest.mark.parametrize(("policy", "spent"), [("release", 301), ("spend", 500)])
def test_of_a_stream_that_is_left_what_it_said_counts_or_by_policy_all_that_was_held(
    policy: OnCrash, spent: int
) -> None:
    with fleet_of() as fleet, fleet.agent("ann", tokens=10_000, on_crash=policy) as agent:
        with agent.call("sonnet", max_output_tokens=500) as call:
            for part in call.stream(PARTS):
                assert part
                break
        assert status(fleet, "ann")["consumed"]["tokens"] == spent


def test_a_stream_that_breaks_settles_what_it_said() -> None:
    def breaking() -> Iterator[dict[str, Any]]:
        yield PARTS[0]
        raise ConnectionError("the provider is gone")

    with fleet_of() as fleet, fleet.agent("ann", tokens=10_000) as agent:
        with pytest.raises(ConnectionError), agent.call("sonnet", max_output_tokens=500) as call:
            list(call.stream(breaking()))
        assert status(fleet, "ann")["consumed"]["tokens"] == 301


# --- waiting ----------------------------------------------------------------------------------------------------------

RPM = {"name": "rpm", "window": {"seconds": 60}, "max": {"requests": 1}, "then": "wait"}


def test_a_call_waits_where_a_limit_has_no_room_and_goes_on_when_it_has(clock: ManualClock) -> None:
    with fleet_of(clock, limits=[RPM]) as fleet, fleet.agent("ann", tokens=1_000) as agent:

        def ask() -> None:
            with agent.call("haiku", max_output_tokens=10) as call:
                call.done({"input_tokens": 1, "output_tokens": 1})

        ask()
        second = in_thread(ask)
        until(lambda: waiting(fleet) == 1)
        later(fleet, clock, 60)
        assert waiting(fleet) == 1
        later(fleet, clock, 1)
        second.result()
        assert status(fleet, "ann")["consumed"]["tokens"] == 4


def test_a_throttled_agent_waits_as_long_as_the_fleet_says(clock: ManualClock) -> None:
    with fleet_of(clock) as fleet, fleet.agent("ann", tokens=1_000) as agent:
        said = agent.report(tokens=750, seconds=10)
        assert (said.action, said.wait_seconds) == ("throttle", 10)

        def ask() -> None:
            with agent.call(tokens=10) as call:
                call.done(tokens=1)

        asked = in_thread(ask)
        until(lambda: waiting(fleet) == 1)
        later(fleet, clock, 9.9)
        assert waiting(fleet) == 1
        later(fleet, clock, 0.1)
        asked.result()


def test_the_end_of_the_patience_is_a_throttled_that_says_when(clock: ManualClock) -> None:
    with fleet_of(clock, limits=[RPM]) as fleet, fleet.agent("ann", tokens=1_000) as agent:
        with agent.call("haiku", max_output_tokens=10) as call:
            call.done({"input_tokens": 1, "output_tokens": 1})
        with pytest.raises(Throttled) as refused, agent.call("haiku", max_output_tokens=10, wait_seconds=0):
            pass
        assert (refused.value.code, refused.value.retry_after_seconds) == ("limit_reached", 61)

        def ask() -> None:
            with agent.call("haiku", max_output_tokens=10, wait_seconds=5):
                pass

        asked = in_thread(ask)
        until(lambda: waiting(fleet) == 1)
        later(fleet, clock, 5)
        assert isinstance(asked.exception(), Throttled)
        assert holds(fleet) == []


def test_where_waiting_cannot_help_a_call_is_refused_at_once() -> None:
    with fleet_of() as fleet, fleet.agent("ann", tokens=1_000) as agent:
        with pytest.raises(Refused) as refused, agent.call(tokens=1_001):
            pass
        assert type(refused.value) is Refused
        assert refused.value.details["available"] == {"tokens": 1_000}
        assert recorded(fleet).count("request-refused") == 1


def test_who_is_stopped_learns_it_at_once() -> None:
    with fleet_of() as fleet, fleet.agent("ann", tokens=1_000) as agent:
        agent.report(tokens=1_000)
        with pytest.raises(Stopped, match="the budget is used up"), agent.call(tokens=1):
            pass
        with fleet.agent("ben", tokens=1_000) as other:
            fleet.ask({"type": "Stop", "agent": "ben", "reason": "a test"})
            with pytest.raises(Stopped, match="agent_stopped"), other.call(tokens=1):
                pass
        fleet.ask({"type": "PauseAll", "reason": "the provider is down"})
        with pytest.raises(Stopped, match="paused: the provider is down"), agent.call(tokens=1):
            pass


# --- degraded models, last calls --------------------------------------------------------------------------------------


def test_a_degraded_agent_uses_the_cheaper_model_step_by_step_until_it_is_not_degraded() -> None:
    with fleet_of() as fleet, fleet.agent("ann", tokens=10_000) as agent:
        agent.report({"input_tokens": 9_000, "output_tokens": 0}, model="haiku")

        def ask(model: str) -> str | None:
            with agent.call(model, max_output_tokens=10, wait_seconds=0) as call:
                call.done({"input_tokens": 1, "output_tokens": 1}, seconds=0)
                return call.model

        assert [ask("opus") for _ in range(4)] == ["opus", "sonnet", "haiku", "haiku"]
        assert ask("sonnet") == "sonnet", "a cheaper model is known for what was asked for only"
        assert ask("haiku") == "haiku"
        fleet.ask({"type": "BorrowFromPool", "agent": "ann", "amount": {"tokens": 100_000}})
        assert [ask("opus") for _ in range(2)] == ["haiku", "opus"]


def test_the_last_call_may_use_what_is_kept_for_it() -> None:
    with fleet_of(enforcement={"last_call": {"percent": 10}}) as fleet, fleet.agent("ann", tokens=1_000) as agent:
        with pytest.raises(Refused) as refused, agent.call(tokens=950):
            pass
        assert refused.value.last_call
        assert refused.value.details["left"] == {"tokens": 1_000}
        with agent.last_call(tokens=950) as call:
            call.done(tokens=940)
        with pytest.raises(Refused) as refused, agent.last_call(tokens=10):
            pass
        assert not refused.value.last_call
