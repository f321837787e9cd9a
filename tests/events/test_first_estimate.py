"""The first estimate: a hold that names no estimate sets aside what earlier outputs were."""

from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.config.amounts import Usage
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log import snapshot
from tallystick.events.messages import proposals as p
from tallystick.events.state.outputs import KINDS_MAX, OUTPUTS_KEPT, Outputs
from tests.support.core import Core, allocate, budget, dump, fleet, tokens

QUIET: dict[str, Any] = {"minimum_share_percent": 0, "max_pool_share_percent": 100}
MODEL = "claude-haiku-5-5"


def taught(*outputs: int, agent_type: str | None = "writer", model: str = MODEL, **config: Any) -> Core:
    core = Core(fleet(10**9, **QUIET, **config), allocate("a", 10**7, agent_type=agent_type))
    core.compares = False
    for output in outputs:
        core.given(c.ReportUsage(agent="a", model=model, input_tokens=5, output_tokens=output))
    core.compares = True
    return core


def ask(agent: str = "a", model: str = MODEL, input_tokens: int = 100, **rest: Any) -> c.Reserve:
    return c.Reserve(agent=agent, model=model, input_tokens=input_tokens, **rest)


def test_it_holds_the_input_and_the_quantile_of_the_outputs() -> None:
    core = taught(*range(1, 101))
    answer = core.when(ask())
    assert (answer.amount.tokens, answer.estimated_by) == (195, "quantile")
    placed = core.only(e.HoldPlaced)
    assert (placed.estimated_by, placed.model) == ("quantile", MODEL)


@pytest.mark.parametrize(("quantile", "output"), [("0.5", 10), ("0.95", 19), ("0.951", 20), ("1", 20), ("0.001", 1)])
def test_the_quantile_is_the_nearest_rank(quantile: str, output: int) -> None:
    core = taught(*range(20, 0, -1), holds={"quantile": Decimal(quantile)})
    assert core.when(ask(input_tokens=0)).amount == tokens(output)


def test_it_is_priced_as_that_output_would_be() -> None:
    core = taught(*[50] * 20, model="writer-model")
    core.given(p.LoadPrices(prices={"writer-model": {"input": 1, "output": 10}}))
    assert core.when(ask(model="writer-model")).amount.cost_usd == "0.0006"


def test_it_is_at_most_what_the_message_names() -> None:
    core = taught(*range(1, 101))
    answer = core.when(ask(max_output_tokens=30))
    assert (answer.amount.tokens, answer.estimated_by) == (130, "quantile")
    assert core.when(ask(max_output_tokens=96)).amount.tokens == 195


def test_with_fewer_than_twenty_outputs_the_most_that_is_named_is_held() -> None:
    core = taught(*[5] * 19)
    answer = core.when(ask(max_output_tokens=4_000))
    assert (answer.amount.tokens, answer.estimated_by) == (4_100, "maximum")
    core.given(c.ReportUsage(agent="a", model=MODEL, input_tokens=1, output_tokens=5))
    assert core.when(ask(max_output_tokens=4_000)).amount.tokens == 105


def test_with_too_few_and_no_maximum_an_estimate_is_needed() -> None:
    core = taught(*[5] * 19)
    core.when(ask())
    core.then_refused("estimate_needed", agent="a", model=MODEL, agent_type="writer")
    assert core.only(e.RequestRefused).code == "estimate_needed"


def test_kinds_are_agent_types_and_models_under_all_their_names() -> None:
    core = taught(*[5] * 20, model="haiku")
    core.given(allocate("b", 10**6, agent_type="writer"), allocate("c", 10**6, agent_type="qa"))
    assert core.when(ask("b", MODEL)).amount.tokens == 105, "haiku is its alias"
    for other in (ask("c"), ask("a", "claude-opus-5-5")):
        core.when(other)
        core.then_refused("estimate_needed")
    core.when(ask("nobody"))
    core.then_refused("unknown_agent")


def test_settlements_teach_and_totals_of_several_requests_do_not() -> None:
    core = taught(*[5] * 19)
    core.given(c.ReportUsage(agent="a", model=MODEL, input_tokens=1, output_tokens=900, requests=7))
    core.given(c.Reserve(id="h", agent="a", estimate=budget(10)))
    core.when(ask())
    core.then_refused("estimate_needed")
    core.given(c.Settle(hold="h", model=MODEL, input_tokens=1, output_tokens=7))
    assert core.when(ask()).amount.tokens == 105


def part(output: int | None, final: bool = False, **rest: Any) -> c.Settle:
    said: dict[str, Any] = {"model": MODEL, "input_tokens": 1, "output_tokens": output}
    return c.Settle(hold="h", final=final, **{**said, **rest})


@pytest.mark.parametrize(
    ("parts", "learned"),
    [
        ([part(900), part(60), part(7, final=True)], 967),
        ([part(900), part(0, final=True)], 900),
        ([part(900, requests=2), part(7, final=True)], None),
        ([part(None, input_tokens=None, usage=Usage(tokens=9)), part(7, final=True)], None),
        ([part(900), part(7, final=True, requests=3)], None),
    ],
)
def test_the_parts_of_an_answer_that_streamed_teach_what_it_was_in_all(
    parts: list[c.Settle], learned: int | None
) -> None:
    core = taught(*[5] * 19, holds={"quantile": Decimal(1)})
    core.given(c.Reserve(id="h", agent="a", estimate=budget(1_000)), *parts)
    again = snapshot.load(snapshot.dump(core.ledger))
    assert again is not None
    assert again.outputs.quantile("writer", MODEL, Fraction(1)) == learned


def test_the_parts_of_an_answer_are_known_after_a_restart() -> None:
    core = taught(*[5] * 19, holds={"quantile": Decimal(1)})
    core.given(c.Reserve(id="h", agent="a", estimate=budget(1_000)), part(900))
    again = snapshot.load(snapshot.dump(core.ledger))
    assert again is not None
    core.ledger = again
    core.given(part(7, final=True))
    assert core.when(ask()).amount.tokens == 1_007


@pytest.mark.parametrize(
    "said",
    [{"estimate": budget(7)}, {"output_tokens": 0}, {"provider_usage": {"input_tokens": 100, "output_tokens": 0}}],
)
def test_who_says_what_it_will_use_is_taken_at_its_word(said: dict[str, Any]) -> None:
    core = taught(*[5] * 20)
    answer = core.when(ask(**said))
    assert answer.estimated_by is None
    assert answer.amount.tokens in (7, 100)


@pytest.mark.parametrize("most", [-1, 2**63])
def test_a_maximum_that_cannot_be_is_refused(most: int) -> None:
    core = taught()
    core.when(ask(max_output_tokens=most))
    core.then_refused("invalid_amount", field="max_output_tokens")


def test_a_dry_run_says_the_same() -> None:
    core = taught(*range(1, 101))
    dry = core.when(ask(dry_run=True))
    assert (dry.amount, dry.estimated_by) == (tokens(195), "quantile")


def test_a_snapshot_keeps_what_was_learned() -> None:
    core = taught(*range(1, 101))
    again = snapshot.load(snapshot.dump(core.ledger))
    assert again is not None
    assert dump(again) == dump(core.ledger)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_the_memory_is_that_of_a_list_of_all_outputs(seed: int) -> None:
    dice, outputs = Random(seed), Outputs()
    seen: dict[str, list[int]] = {}
    for _ in range(dice.choice((30, 600))):
        model, tokens_out = dice.choice("abc"), dice.randint(0, 50)
        outputs.note("t", model, tokens_out)
        seen.setdefault(model, []).append(tokens_out)
    part = Decimal(dice.randint(1, 1_000)) / 1_000
    for model, all_of in seen.items():
        kept = sorted(all_of[-OUTPUTS_KEPT:])
        expected = None
        if len(kept) >= 20:
            expected = next(one for one in kept if sum(other <= one for other in kept) >= part * len(kept))
        assert outputs.quantile("t", model, Fraction(part)) == expected
    assert Outputs.load(outputs.dump()).dump() == outputs.dump()


def test_the_kind_least_recently_taught_is_forgotten_first() -> None:
    outputs = Outputs()
    for number in range(KINDS_MAX):
        outputs.note(None, f"m{number}", 1)
    outputs.note(None, "m0", 2)
    outputs.note(None, "new", 3)
    kinds = [model for _, model, *_ in outputs.dump()]
    assert len(kinds) == KINDS_MAX
    assert ("m0" in kinds, "m1" in kinds) == (True, False)
