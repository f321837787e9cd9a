"""What a record should have said: what a correction names, the rest as before, and its price where that follows."""

from typing import Any

import msgspec

from tallystick.config.amounts import NOTHING, InvalidAmount, Usage
from tallystick.events import messages as c
from tallystick.events.catalog import Said
from tallystick.events.catalog.usage import tokens_of
from tallystick.events.decide import pricing
from tallystick.events.state.rules import Rules

_COUNTS = (
    *("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens"),
    *("reasoning_tokens", "audio_input_tokens", "audio_output_tokens"),
)
_KEPT = (*_COUNTS, "cache_write_1h_tokens")


def corrected(rules: Rules, asked: c.CorrectUsage, before: Said) -> Said:
    """What counts from here on.

    Tokens by their kinds replace those of the record. Where only another total of tokens is named, its kinds are as
    large a part of it as they were. A cost that is named counts. Without one, usage is priced by the list in force
    where the correction names a model or kinds of tokens, or where the tokens of a record change that was priced by the
    list itself.

    Raises:
        InvalidAmount: a malformed amount, parts that are more than the whole, or nothing named at all.
    """
    tokens, time_ms, cost = NOTHING if asked.usage is None else asked.usage.rounded_up("usage")
    counts = {name: units for name in _COUNTS if (units := getattr(asked, name)) is not None}
    if not counts and (tokens, time_ms, cost) == NOTHING and asked.model is None and asked.requests is None:
        raise InvalidAmount(
            "usage", "nothing", "one or more of tokens, time_seconds, cost_usd, or a model, or tokens by their kinds"
        )
    pricing.check_requests(asked.requests)
    kept: dict[str, Any] = {
        "time_ms": before.time_ms if time_ms is None else time_ms,
        "model": asked.model or before.model,
        "requests": before.requests if asked.requests is None else asked.requests,
    }
    if counts:
        return _by_kinds(rules, asked, kept, cost)
    now = before.tokens if tokens is None else tokens
    said = msgspec.structs.replace(before, **kept, **_in_proportion(before, now), tokens=now)
    by_list = before.priced_as is not None or before.unpriced
    anew = asked.model is not None or asked.requests is not None or now != before.tokens
    if cost is not None:
        return msgspec.structs.replace(said, cost_nanos=cost, priced_as=None, unpriced=False, base_tier=False)
    if said.model is None or not anew or not (by_list or asked.model is not None):
        return said
    return _priced(rules, said)


def _by_kinds(rules: Rules, asked: c.CorrectUsage, kept: dict[str, Any], cost: int | None) -> Said:
    """What counts where the tokens are named by their kinds: as a report of them would."""
    usage = None if asked.usage is None else Usage(tokens=asked.usage.tokens, cost_usd=asked.usage.cost_usd)
    report = c.ReportUsage(
        usage=usage,
        model=kept["model"],
        requests=kept["requests"],
        **{name: getattr(asked, name) for name in _COUNTS},
    )
    priced = pricing.price(rules, report)
    return Said(
        tokens=priced.tokens or 0,
        cost_nanos=priced.cost_nanos or 0,
        **kept,
        **priced.counts._asdict(),
        priced_as=priced.priced_as,
        unpriced=priced.unpriced,
        base_tier=priced.base_tier,
    )


def _priced(rules: Rules, said: Said) -> Said:
    """The same with the price of its tokens.

    Raises:
        InvalidAmount: the price is above 2^63-1 nano-dollars.
    """
    assert said.model is not None
    base = said.base_tier or (said.requests or 1) > 1
    quote = pricing.quoted(rules, said.model, tokens_of(said), base=base)
    return msgspec.structs.replace(
        said,
        cost_nanos=pricing.checked(quote.cost_nanos, "usage"),
        priced_as=quote.priced_as,
        unpriced=quote.unpriced,
        base_tier=quote.base_tier,
    )


def _in_proportion(before: Said, tokens: int) -> dict[str, int | None]:
    """The tokens by their kinds where the whole becomes another, rounded down: the rest is priced as output."""
    whole = max(before.tokens, (before.input_tokens or 0) + (before.output_tokens or 0))
    if whole == tokens or not whole or not any(getattr(before, name) is not None for name in _KEPT):
        return {}
    parts = {name: getattr(before, name) for name in _KEPT}
    return {name: None if units is None else units * tokens // whole for name, units in parts.items()}
