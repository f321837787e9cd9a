"""Faults that were found in use, as they were found: each with what is right."""

import datetime as dt
import math
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.config.amounts import Budget, Usage
from tallystick.config.price_list import PriceList
from tallystick.config.prices import to_mapping
from tallystick.config.published import published_prices
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log.codec import read_message
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Refusal
from tests.support.core import Core, allocate, budget, fleet

PUBLISHED = to_mapping(PriceList({}, published_prices(dt.date(2026, 3, 4))))["published"]


def opened(prices: dict[str, Any] | None = None, **config: Any) -> Core:
    return Core(
        fleet(**config),
        p.LoadPrices(prices=prices or {}, published=PUBLISHED),
        allocate("a", 1_000_000, "1000", seconds=100),
    )


def said(core: Core, kind: str, **fields: Any) -> Any:
    """The answer to a message as it comes in as JSON."""
    fields = {"id": f"m-{core.ledger.position}", **({} if kind == "Settle" else {"agent": "a"}), **fields}
    read = read_message(msgspec.json.encode({"type": kind, **fields}), lambda: "new")
    assert not isinstance(read, Refusal), read
    return core.when(read[0])


def reported(core: Core, **fields: Any) -> e.UsageReported:
    said(core, "ReportUsage", **fields)
    return core.only(e.UsageReported)


# --- the six cases ---------------------------------------------------------------------------------------------------


def test_tokens_beyond_the_split_are_priced_as_output() -> None:
    event = reported(opened(), model="gemini-2.5-pro", usage={"tokens": 2_150}, input_tokens=100, output_tokens=50)
    assert (event.tokens, event.input_tokens, event.output_tokens) == (2_150, 100, 50)
    assert event.cost_nanos == 100 * 1_250 + 2_050 * 10_000


def test_an_unknown_model_beside_a_free_one_is_charged_as_if_it_were_dear() -> None:
    core = opened({"local-llama": {"input": 0, "output": 0}})
    answer = said(core, "ReportUsage", model="local-mixtral", input_tokens=1_000_000, output_tokens=0)
    event = core.only(e.UsageReported)
    assert answer.unpriced
    assert (event.unpriced, event.priced_as) == (True, "o1-pro")
    assert event.cost_nanos == 150 * 10**9


@pytest.mark.parametrize(
    ("model", "dollars"),
    [
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", "1.10"),
        ("anthropic/claude-sonnet-4-5", "6"),
        ("azure/gpt-4o", "2.50"),
        ("openai/gpt-4o-mini", "0.15"),
        ("bedrock/anthropic.claude-sonnet-4-5", "6"),
        ("openrouter/anthropic/claude-sonnet-4.5", "6"),
        ("gemini/gemini-2.5-pro", "2.50"),
        ("vertex_ai/gemini-2.5-pro", "2.50"),
        ("claude-sonnet-4-5@20250929", "6"),
    ],
)
def test_model_names_as_routers_write_them_are_priced_as_the_model_that_they_name(model: str, dollars: str) -> None:
    core = opened(models={"haiku": {"provider": "aws", "id": "us.anthropic.claude-haiku-4-5-20251001-v1:0"}})
    event = reported(core, model=model, input_tokens=1_000_000, output_tokens=0)
    assert not event.unpriced
    assert event.cost_nanos == Decimal(dollars) * 10**9


def test_a_written_price_above_200k_keeps_the_published_ratio() -> None:
    core = opened({"claude-sonnet-4-5": {"input": "2.7", "output": "13.5", "cached_input": "0.27"}})
    assert reported(core, model="claude-sonnet-4-5", input_tokens=250_000, output_tokens=0).cost_nanos == 1_350_000_000


def test_a_hold_that_is_settled_with_a_model_is_priced_and_so_is_its_settlement() -> None:
    core = opened()
    held = said(core, "Reserve", id="h1", model="claude-sonnet-4-5", estimate={"tokens": 200_000})
    assert (held.amount.tokens, held.amount.cost_usd) == (200_000, "0.60")
    placed = core.only(e.HoldPlaced)
    assert (placed.model, placed.priced_as, placed.unpriced) == ("claude-sonnet-4-5", "claude-sonnet-4-5", False)
    said(core, "Settle", hold="h1", model="claude-sonnet-4-5", input_tokens=100_000, output_tokens=10_000)
    settled = core.only(e.HoldSettled)
    assert (settled.tokens, settled.cost_nanos) == (110_000, 450_000_000)
    assert (settled.input_tokens, settled.output_tokens, settled.priced_as) == (100_000, 10_000, "claude-sonnet-4-5")
    assert core.ledger.accounts["a"].model == "claude-sonnet-4-5"


def test_float_noise_in_usage_is_rounded_up_and_nothing_is_lost() -> None:
    core = opened()
    first = reported(core, usage={"tokens": 500, "cost_usd": 0.00010811999999999999})
    second = reported(core, usage={"tokens": 500, "time_seconds": 0.02150231999985408})
    assert (first.tokens, first.cost_nanos) == (500, 108_120)
    assert (second.tokens, second.time_ms) == (500, 22)


# --- their kinds -----------------------------------------------------------------------------------------------------


def test_a_late_settlement_is_priced_and_flagged_as_a_report_is() -> None:
    core = opened()
    said(core, "Reserve", id="h1", estimate={"tokens": 10})
    core.given(c.CancelHold(hold="h1"))
    answer = said(core, "Settle", hold="h1", model="mystery-9", input_tokens=10)
    event = core.only(e.UsageReported)
    assert (event.hold, event.late, event.model, event.unpriced) == ("h1", True, "mystery-9", True)
    assert answer.late
    assert answer.unpriced
    assert "mystery-9" in core.ledger.unpriced


def test_an_unknown_model_of_a_settlement_is_flagged_and_alerted_once() -> None:
    core = opened()
    for hold in ("h1", "h2"):
        said(core, "Reserve", id=hold, estimate={"tokens": 10})
        assert said(core, "Settle", hold=hold, model="mystery-9", input_tokens=10).unpriced
        assert [event.code for event in core.decided.events if isinstance(event, e.AlertRaised)] == [
            "unpriced_model"
        ] * (hold == "h1")


def test_a_hold_may_be_asked_for_by_its_parts_alone_and_a_given_cost_wins() -> None:
    core = opened()
    held = said(core, "Reserve", model="gpt-4o", input_tokens=1_000, output_tokens=100)
    assert (held.amount.tokens, held.amount.cost_usd) == (1_100, "0.0035")
    held = said(core, "Reserve", model="gpt-4o", estimate={"tokens": 10, "cost_usd": "0.5"})
    assert held.amount.cost_usd == "0.50"
    held = said(core, "Reserve", model="mystery-9", input_tokens=10, output_tokens=5)
    assert held.unpriced


def test_what_is_asked_for_is_exact_or_an_error() -> None:
    for fields in ({"input_tokens": 1.5}, {"estimate": {"tokens": 1.5}}, {"estimate": {"tokens": 5.0}}):
        message = msgspec.json.encode({"type": "Reserve", "agent": "a", **fields})
        assert isinstance(read_message(message, lambda: "new"), Refusal)
    core = opened()
    core.when(c.Reserve(agent="a", estimate=Budget(None, None, Decimal("1E-10"))))
    core.then_refused("invalid_amount", field="estimate.cost_usd")


@pytest.mark.parametrize("requests", [2, 100])
def test_a_total_of_many_requests_is_priced_at_the_base_tier_and_says_so(requests: int) -> None:
    core = opened()
    answer = said(core, "ReportUsage", model="claude-sonnet-4-5", input_tokens=900_000, requests=requests)
    event = core.only(e.UsageReported)
    assert (event.cost_nanos, event.base_tier, event.requests) == (900_000 * 3_000, True, requests)
    assert answer.base_tier
    answer = said(core, "ReportUsage", model="claude-sonnet-4-5", input_tokens=9_000, requests=requests)
    assert not answer.base_tier


def test_one_request_reaches_its_tier() -> None:
    for requests in (None, 0, 1):
        event = reported(opened(), model="claude-sonnet-4-5", input_tokens=900_000, requests=requests)
        assert (event.cost_nanos, event.base_tier) == (900_000 * 6_000, False)


def test_tokens_with_their_cached_part_alone_are_input() -> None:
    event = reported(opened(), model="gpt-4o", usage={"tokens": 1_000}, cached_tokens=900)
    assert event.cost_nanos == 100 * 2_500 + 900 * 1_250


def test_reasoning_without_a_split_is_output() -> None:
    event = reported(opened(), model="gpt-4o", usage={"tokens": 1_000}, reasoning_tokens=300)
    assert event.cost_nanos == 700 * 2_500 + 300 * 10_000


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"input_tokens": 10, "cached_tokens": 6, "cache_write_tokens": 5}, "cache_write_tokens"),
        ({"input_tokens": 10, "audio_input_tokens": 11}, "audio_input_tokens"),
        ({"output_tokens": 10, "reasoning_tokens": 11}, "reasoning_tokens"),
        ({"output_tokens": 10, "audio_output_tokens": 11}, "audio_output_tokens"),
        ({"input_tokens": -1}, "input_tokens"),
        ({"input_tokens": 1, "requests": -1}, "requests"),
        ({"input_tokens": 1, "requests": 2**63}, "requests"),
    ],
)
def test_parts_that_are_more_than_the_whole_are_refused_by_name(fields: dict[str, Any], field: str) -> None:
    core = opened()
    said(core, "ReportUsage", **fields)
    core.then_refused("invalid_amount", field=field)


COUNT = st.integers(0, 10**12) | st.floats(0, 10**12)


@given(COUNT, COUNT, COUNT)
def test_tokens_are_rounded_up_to_whole_ones(tokens: float, sent: float, got: float) -> None:
    event = reported(opened_once(), usage={"tokens": tokens}, input_tokens=sent, output_tokens=got)
    for exact, kept in ((tokens, event.tokens), (sent, event.input_tokens), (got, event.output_tokens)):
        assert kept == math.ceil(exact)


@given(st.decimals(0, 10**6, allow_nan=False, places=17), st.decimals(0, 10**6, allow_nan=False, places=17))
def test_time_and_cost_are_rounded_up_to_the_next_unit_however_they_are_written(time: Decimal, cost: Decimal) -> None:
    tokens, time_ms, cost_nanos = Usage(None, time, cost).rounded_up("usage")
    assert tokens is None
    assert time_ms is not None
    assert cost_nanos is not None
    assert 0 <= Decimal(time_ms) / 1000 - time < Decimal("0.001")
    assert 0 <= Decimal(cost_nanos) / 10**9 - cost < Decimal("0.000000001")
    if Decimal(time_ms) / 1000 == time and Decimal(cost_nanos) / 10**9 == cost:
        assert Budget(None, time, cost).exact("budget") == (None, time_ms, cost_nanos)


def opened_once() -> Core:
    if not _OPENED:
        _OPENED.append(Core(fleet(), allocate("a", 10)))
    return _OPENED[0]


_OPENED: list[Core] = []


# --- digits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["1_000", "\u0661\u0662", " 12 ", "1\u06f2", "\uff11"])
@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize(
    "message",
    [
        {"type": "ReportUsage", "agent": "a", "usage": {"cost_usd": "N"}},
        {"type": "AllocateBudget", "agent": "b", "budget": {"time_seconds": "N"}},
        {"type": "Throttle", "agent": "a", "rate": "N"},
        {"type": "ApproveLimit", "max_cost_usd": "N"},
        {"type": "AllocateProportional", "weights": {"x": "N"}, "total": {"tokens": 5}},
    ],
    ids=lambda message: message["type"],
)
def test_digits_are_ascii_digits(message: dict[str, Any], number: str, escaped: bool) -> None:
    text = msgspec.json.encode(message).replace(b'"N"', (ascii(number).replace("'", '"').replace("\\x", "\\u00")
                                                         if escaped else f'"{number}"').encode())  # fmt: skip
    for written in (text, text.decode(), msgspec.json.decode(text)):
        read = read_message(written, lambda: "new")
        assert isinstance(read, Refusal), written
        assert "ASCII digits" in read.detail


def test_names_may_look_like_numbers() -> None:
    for name in ("1_000", "\u0661", "12 "):
        assert not isinstance(read_message({"type": "GetStatus", "agent": name}, lambda: "new"), Refusal)
    assert budget(1) == Budget(1)
