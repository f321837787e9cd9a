"""What a message used, or wants to use, in whole units: tokens as given or as the sum of their parts, cost as given or
as priced.
"""

from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from tallystick.config.amounts import AMOUNT_MAX, AMOUNTS_MAX, COST, NOTHING, InvalidAmount, Triple, count_up
from tallystick.config.price import Tokens
from tallystick.events.messages import ReportUsage, Reserve, Settle, Spending
from tallystick.events.messages.provider_usage import Counts, counted
from tallystick.events.state.money import Money
from tallystick.events.state.rules import Rules

UNKNOWN: Final = Counts()


class Quote(NamedTuple):
    """What tokens cost, as which model, whether that is a guess, and whether a tier of long requests was left out."""

    cost_nanos: int
    priced_as: str | None
    unpriced: bool
    base_tier: bool


class Priced(msgspec.Struct, gc=False):
    """A message in internal units; None where it does not speak of a dimension.

    ``priced_as`` is the model whose price was taken where the message gave no cost; ``counts`` are the tokens as it
    tells them apart, for the record.
    """

    tokens: int | None
    time_ms: int | None
    cost_nanos: int | None
    counts: Counts = UNKNOWN
    priced_as: str | None = None
    unpriced: bool = False
    base_tier: bool = False

    @property
    def triple(self) -> Triple:
        return (self.tokens, self.time_ms, self.cost_nanos)


def price(rules: Rules, command: Spending, *, total: bool = False) -> Priced:
    """The amounts of a message: of a `Reserve` what it asks for, exactly; of others what was used, rounded up.

    A given cost wins; without one, a model is priced from the list. Tokens without a split count as input; what a total
    has beyond the split is priced as output. A total of several requests (``total``, or ``requests``) is priced at the
    base tier. An unknown model is never free: it is charged as the known model of its provider, or of all, that costs
    most, and flagged. A price is rounded up to the next nano-dollar, once, here.

    Raises:
        InvalidAmount: a negative or too large number, parts that are more than the whole, or nothing said at all; in
            what is asked for also what is finer than its unit.
    """
    if isinstance(command, Reserve):
        field, given = "estimate", NOTHING if command.estimate is None else command.estimate.exact("estimate")
    else:
        field, given = "usage", NOTHING if command.usage is None else command.usage.rounded_up("usage")
    tokens, time_ms, cost = given
    counts = _counts(command)
    if counts is UNKNOWN:
        if given == NOTHING:
            named = field if command.provider_usage is None else "provider_usage"
            allowed = f"{field}, or input_tokens and output_tokens, or a provider_usage with them"
            if field == "estimate":
                allowed += ", or model and input_tokens, for which an output is learned"
            raise InvalidAmount(named, "nothing", allowed)
        if cost is not None or command.model is None:
            return Priced(tokens, time_ms, cost)
        used = Tokens(tokens or 0)
    else:
        used = _used(counts, tokens, read=command.provider_usage is not None)
        if tokens is None:
            tokens = used.input + used.output
            if tokens > AMOUNT_MAX:
                raise InvalidAmount("input_tokens", used.input, f"a sum with output_tokens up to {AMOUNT_MAX}")
        if cost is not None or command.model is None:
            return Priced(tokens, time_ms, cost, counts)
    several = total or (command.requests is not None and command.requests > 1)
    quote = quoted(rules, command.model, used, base=several)
    cost = checked(quote.cost_nanos, field)
    return Priced(tokens, time_ms, cost, counts, quote.priced_as, quote.unpriced, quote.base_tier)


def as_given(command: ReportUsage | Settle) -> Money | None:
    """What was used, where a message says it by itself and nothing is to be priced or told apart: then `price` says no
    more. None where it does.

    Raises:
        InvalidAmount: a negative or too large number.
    """
    usage = command.usage
    if usage is None or command.requests is not None or command.provider_usage is not None:
        return None
    if _counted(command) != _NOT_SAID or (usage.cost_usd is None and command.model is not None):
        return None
    tokens, time_ms, cost = given = usage.rounded_up("usage")
    return None if given == NOTHING else (tokens or 0, time_ms or 0, cost or 0)


def checked(cost_nanos: int, field: str) -> int:
    """A price, if it is one that can be recorded.

    Raises:
        InvalidAmount: it is above 2^63-1 nano-dollars; names ``field``.
    """
    if cost_nanos > AMOUNT_MAX:
        found = f"a price of {cost_nanos} nano-dollars"
        raise InvalidAmount(field, found, f"tokens whose price is at most {AMOUNTS_MAX[COST]} US dollars")
    return cost_nanos


def check_requests(requests: int | None) -> None:
    """Check how many requests a message is the total of.

    Raises:
        InvalidAmount: below 0, or above 2^63-1.
    """
    if requests is not None and not 0 <= requests <= AMOUNT_MAX:
        raise InvalidAmount("requests", requests, f"a whole number from 0 to {AMOUNT_MAX}")


_COUNTED: Final = (
    "input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens",
    "audio_input_tokens", "audio_output_tokens",
)  # fmt: skip
_counted: Final = attrgetter(*_COUNTED)
_NOT_SAID: Final = (None,) * len(_COUNTED)


def _counts(command: Spending) -> Counts:
    """The tokens that a message names, and where it does not, those that the provider's usage object does."""
    if command.requests is not None:
        check_requests(command.requests)
    said = _counted(command)
    if said == _NOT_SAID and command.provider_usage is None:
        return UNKNOWN
    named = {name: count_up(value, name) for name, value in zip(_COUNTED, said, strict=True) if value is not None}
    read = UNKNOWN if command.provider_usage is None else counted(command.provider_usage)
    if not named:
        return UNKNOWN if read == UNKNOWN else read
    return read._replace(**named)


def _used(counts: Counts, tokens: int | None, *, read: bool) -> Tokens:
    """The tokens as prices tell them apart: whole, with each part within what it is a part of.

    ``read``: some were read from a usage object; parts that are more than the whole then make it larger, for what was
    used is a fact, whatever form it comes in.
    """
    cached, written = counts.cached_tokens or 0, counts.cache_write_tokens or 0
    heard, spoken = counts.audio_input_tokens or 0, counts.audio_output_tokens or 0
    reasoned = counts.reasoning_tokens or 0
    got = max(reasoned, spoken) if counts.output_tokens is None else counts.output_tokens
    sent = counts.input_tokens
    if sent is None:
        sent = max(0, tokens - got) if counts.output_tokens is None and tokens is not None else 0
    elif tokens is not None:
        got += max(0, tokens - sent - got)
    if counts.input_tokens is None and counts.output_tokens is not None and tokens is not None:
        got = max(got, tokens)
    for name, part, whole, of in (
        ("cached_tokens", cached, sent, "input_tokens"),
        ("cache_write_tokens", cached + written, sent, "input_tokens (less cached_tokens)"),
        ("audio_input_tokens", heard, sent, "input_tokens"),
        ("reasoning_tokens", reasoned, got, "output_tokens"),
        ("audio_output_tokens", spoken, got, "output_tokens"),
    ):
        if part > whole and not read:
            found = written if name == "cache_write_tokens" else part
            raise InvalidAmount(name, found, f"at most {of}, {whole}, of which they are a part")
    sent, got = max(sent, cached + written, heard), max(got, spoken, reasoned)
    return Tokens(sent, got, cached, written, min(counts.cache_write_1h_tokens or 0, written), heard, spoken)


def quoted(rules: Rules, model: str, used: Tokens, *, base: bool = False) -> Quote:
    """What tokens of a model cost. ``base``: they are the total of several requests, of which none may have been
    long.
    """
    name, provider = rules.catalogued.get(model, (model, None))
    prices = rules.prices
    found = rules.find_price(name, provider)
    unpriced = found is None
    if found is None:
        found = prices.most_expensive(name, provider, used, base=base)
        if found is None:
            return Quote(0, None, unpriced=True, base_tier=False)
    base_tier = base and found.price.at(used.input) is not found.price
    return Quote(found.price.cost(*used, base=base), prices.label(found), unpriced, base_tier)
