"""What all adapters share: at whose account a framework's call is made, and calls that hooks begin and end."""

import asyncio

import pytest

from tallystick import Refused
from tallystick.integrations.calls import Accounts, OpenCalls, about_tokens
from tests.support.programs import agents, consumed, fleet_of, holds, recorded, run, status

USAGE = {"usage": {"input_tokens": 200, "output_tokens": 100}}


def test_calls_are_made_at_an_account_that_is_open() -> None:
    with fleet_of() as fleet, fleet.agent("lead", tokens=10_000):
        with Accounts(fleet, "lead").call("sonnet", max_output_tokens=500) as call:
            assert [held["agent"] for held in holds(fleet)] == ["lead"]
            call.finish(USAGE)
        assert status(fleet, "lead")["consumed"]["tokens"] == 300


def test_or_at_one_that_opens_by_itself() -> None:
    auto = {"auto": {"limits": [{"window": "day", "max": {"tokens": 1_000}}]}}
    with fleet_of(accounts=auto) as fleet:
        with Accounts(fleet, "new").call("sonnet", max_output_tokens=500) as call:
            call.finish(USAGE)
        assert status(fleet, "new")["remaining"]["tokens"] == 700


def test_sub_agents_are_accounts_below_and_end_with_it() -> None:
    with fleet_of() as fleet:
        with fleet.agent("lead", tokens=10_000):
            accounts = Accounts(fleet, "lead", sub_agents={"tokens": 2_000})
            for name in ("reader", "reader", "writer"):
                with accounts.call("sonnet", name, max_output_tokens=500) as call:
                    call.finish(USAGE)
            assert agents(fleet) == ["lead", "lead.reader", "lead.writer"]
            assert status(fleet, "lead.reader")["consumed"]["tokens"] == 600
            with pytest.raises(Refused, match="budget_exhausted"), accounts.call(None, "reader", tokens=1_401):
                raise AssertionError("it was granted more than its own budget")
        assert agents(fleet) == []


def test_without_a_budget_for_sub_agents_their_calls_are_made_at_the_account_itself() -> None:
    with fleet_of() as fleet, fleet.agent("lead", tokens=10_000):
        with Accounts(fleet, "lead").call("sonnet", "reader", max_output_tokens=500) as call:
            call.finish(USAGE)
        assert agents(fleet) == ["lead"]


def test_a_sub_agent_that_was_released_opens_again_with_the_next_life_of_its_parent() -> None:
    with fleet_of() as fleet:
        accounts = Accounts(fleet, "lead", sub_agents={"tokens": 2_000})
        for _ in range(2):
            with fleet.agent("lead", tokens=10_000), accounts.call(None, "reader", tokens=500) as call:
                call.done(tokens=100)
        assert consumed(fleet)["tokens"] == 200
        with pytest.raises(Refused, match="unknown_parent"), accounts.call(None, "reader", tokens=500):
            raise AssertionError("its parent was open")


def test_fifty_first_calls_of_a_sub_agent_at_once_open_one_account() -> None:
    async def program() -> None:
        with fleet_of() as fleet, fleet.agent("lead", tokens=100_000):
            accounts = Accounts(fleet, "lead", sub_agents={"tokens": 50_000})

            async def one() -> None:
                async with accounts.async_call(None, "reader", tokens=1_000) as call:
                    call.done(tokens=100)

            await asyncio.gather(*(one() for _ in range(50)))
            assert status(fleet, "lead.reader")["consumed"]["tokens"] == 5_000
            assert recorded(fleet).count("budget-allocated") == 2

    run(program())


def test_the_framework_chooses_the_model_also_while_the_fleet_degrades() -> None:
    with fleet_of() as fleet, fleet.agent("lead", tokens=10_000):
        accounts = Accounts(fleet, "lead")
        fleet.ask({"type": "ReportUsage", "agent": "lead", "usage": {"tokens": 9_200}})
        for _ in range(2):
            with accounts.call("sonnet", max_output_tokens=10) as call:
                call.finish({"usage": {"input_tokens": 5, "output_tokens": 5}})
            assert call.reply is not None
            assert (call.reply.action, call.model) == ("degrade", "sonnet")


def test_a_reply_that_does_not_say_what_it_used_counts_as_all_that_was_held(caplog: pytest.LogCaptureFixture) -> None:
    with fleet_of() as fleet, fleet.agent("lead", tokens=10_000):
        with Accounts(fleet, "lead").call(None, tokens=500) as call:
            call.finish({"text": "hello"})
        assert status(fleet, "lead")["consumed"]["tokens"] == 500
        assert "usage_not_understood" in caplog.text


def test_a_call_that_is_reported_by_others_too_counts_once() -> None:
    with fleet_of() as fleet, fleet.agent("lead", tokens=10_000):
        for _ in range(2):
            with Accounts(fleet, "lead").call("sonnet", max_output_tokens=500) as call:
                call.finish(USAGE, source_id="msg_01XFDUDYJgAACzvnptvVoYEL")
        report = {
            "type": "ReportUsage",
            "agent": "import",
            "source_id": "msg_01XFDUDYJgAACzvnptvVoYEL",
            "model": "sonnet",
            **USAGE["usage"],
        }
        assert fleet.ask(report)["ok"]["recorded"] is False
        assert consumed(fleet)["tokens"] == 300


def test_a_providers_id_may_be_longer_than_a_name() -> None:
    with fleet_of() as fleet, fleet.agent("lead", tokens=10_000):
        accounts = Accounts(fleet, "lead")
        with accounts.call("sonnet", max_output_tokens=500) as call:
            call.finish(USAGE, source_id="r" * 1_000)
        accounts.report(USAGE, model="sonnet", source_id="r" * 1_000)
        accounts.report(USAGE, model="sonnet", source_id="")
        assert consumed(fleet)["tokens"] == 600


def test_an_id_that_is_too_short_to_be_one_calls_alone_is_none() -> None:
    """Ollama's are ``chatcmpl-`` and a number below a thousand."""
    with fleet_of() as fleet, fleet.agent("lead", tokens=10_000):
        for _ in range(2):
            with Accounts(fleet, "lead").call("sonnet", max_output_tokens=500) as call:
                call.finish(USAGE, source_id="chatcmpl-142")
        assert consumed(fleet)["tokens"] == 600


def test_hooks_begin_and_end_calls_by_their_names() -> None:
    with fleet_of() as fleet, fleet.agent("lead", tokens=10_000):
        accounts, calls = Accounts(fleet, "lead"), OpenCalls[str]()
        for name in ("settled", "raised", "begun twice", "begun twice"):
            calls.begin(name, accounts.call(None, tokens=1_000))
        assert len(holds(fleet)) == 3
        calls.settle("settled", USAGE)
        calls.cancel("raised", ValueError())
        calls.settle("begun twice", USAGE)
        calls.settle("settled", USAGE)
        calls.cancel("never begun", ValueError())
        assert holds(fleet) == []
        assert consumed(fleet)["tokens"] == 600


def test_the_hooks_of_coroutines_do_the_same() -> None:
    async def program() -> None:
        with fleet_of() as fleet, fleet.agent("lead", tokens=10_000):
            accounts, calls = Accounts(fleet, "lead"), OpenCalls[str]()
            for name in ("settled", "raised", "begun twice", "begun twice"):
                await calls.begin_async(name, accounts.async_call(None, tokens=1_000))
            await calls.settle_async("settled", USAGE)
            await calls.cancel_async("raised", ValueError())
            await calls.settle_async("begun twice", USAGE)
            await calls.settle_async("settled", USAGE)
            assert holds(fleet) == []
            assert consumed(fleet)["tokens"] == 600
            with pytest.raises(Refused):
                await calls.begin_async("refused", accounts.async_call(None, tokens=10_000))
            await calls.settle_async("refused", USAGE)
            assert consumed(fleet)["tokens"] == 600

    run(program())


@pytest.mark.parametrize(
    ("given", "tokens"),
    [
        ("", 0),
        ("hello", 2),
        ([{"role": "user", "content": [{"type": "text", "text": "word " * 400}]}], 1 + 1 + 500),
        ({"image": "A" * 1_000_000}, 85),
        ({"number": 7, "none": None}, 0),
        ("字" * 4_000, 1_000),
    ],
)
def test_texts_are_about_a_token_for_four_characters(given: object, tokens: int) -> None:
    assert about_tokens(given) == tokens


def test_what_refers_to_itself_is_counted_once() -> None:
    around: list[object] = ["four"]
    around.append(around)
    assert about_tokens(around) == 1
