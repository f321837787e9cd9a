"""What a report used, in whole units: tokens as given or as the sum of their parts, cost as given or as priced."""

import msgspec

from tallystick.config.amounts import AMOUNT_MAX, InvalidAmount
from tallystick.events.messages import ReportUsage
from tallystick.events.state.rules import Rules


class Priced(msgspec.Struct, gc=False):
    """A report in internal units; ``priced_as`` is the model whose price was taken where the report gave no cost."""

    tokens: int
    time_ms: int
    cost_nanos: int
    priced_as: str | None = None
    unpriced: bool = False


def price(rules: Rules, command: ReportUsage) -> Priced:
    """The amounts of a report. A given cost wins; without one, a model is priced from the list.

    Tokens without a split count as input; an unknown model is never free: it is charged as the most expensive known
    model of its provider, or of all, and flagged. A price is rounded up to the next nano-dollar, once, here.

    Raises:
        InvalidAmount: a negative or too large number, more cached than input tokens, or nothing reported at all.
    """
    usage = command.usage
    tokens, time_ms, cost = (None, None, None) if usage is None else usage.exact("usage")
    model = command.model
    if command.input_tokens is None and command.output_tokens is None and command.cached_tokens is None:
        if usage is None:
            raise InvalidAmount("usage", "nothing", "usage, or input_tokens and output_tokens")
        if cost is not None or model is None:
            return Priced(tokens or 0, time_ms or 0, cost or 0)
        parts = (tokens or 0, 0, 0)
    else:
        parts = (
            _count(command.input_tokens, "input_tokens"),
            _count(command.output_tokens, "output_tokens"),
            _count(command.cached_tokens, "cached_tokens"),
        )
        if parts[2] > parts[0]:
            raise InvalidAmount(
                "cached_tokens", parts[2], f"at most input_tokens, {parts[0]}, of which they are a part"
            )
        if tokens is None:
            tokens = parts[0] + parts[1]
            if tokens > AMOUNT_MAX:
                raise InvalidAmount("input_tokens", parts[0], "a sum with output_tokens up to 2^63-1")
        if cost is not None or model is None:
            return Priced(tokens, time_ms or 0, cost or 0)
    cost, priced_as, unpriced = priced(rules, model, parts)
    if cost > AMOUNT_MAX:
        raise InvalidAmount(
            "usage", f"a price of {cost} nano-dollars", "tokens whose price is at most 2^63-1 nano-dollars"
        )
    return Priced(tokens or 0, time_ms or 0, cost, priced_as, unpriced)


def _count(value: int | None, field: str) -> int:
    if value is None:
        return 0
    if not 0 <= value <= AMOUNT_MAX:
        raise InvalidAmount(field, value, "whole tokens, from 0 to 2^63-1")
    return value


def priced(rules: Rules, model: str, parts: tuple[int, int, int]) -> tuple[int, str | None, bool]:
    """The cost of (input, output, cached) tokens in nano-dollars, as which model, and whether that is a guess."""
    entry = rules.config.models.get(model)
    name, provider = (model, None) if entry is None else (entry.id, entry.provider)
    found = rules.find_price(name, provider)
    if found is not None:
        return found.price.cost(*parts), found.id, False
    stand_in = rules.prices.most_expensive(name, provider, parts)
    if stand_in is None:
        return 0, None, True
    return rules.prices.models[stand_in].cost(*parts), stand_in, True
