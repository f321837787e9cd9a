"""Why the same tokens have two costs: another price, or a cache that one side counts as fresh input."""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from tallystick.config.model_names import PROVIDERS, provider_of
from tallystick.config.price import Tokens
from tallystick.events.decide.pricing import quoted
from tallystick.events.state.rules import Rules
from tallystick.reconcile.billed import Parts
from tallystick.reconcile.books import CACHE, PRICE

_PER_MILLE_OF_A_RATIO: Final = 1_000
Quote = Callable[[str, Parts], int | None]


class Cost(NamedTuple):
    """What the bill and the reports say that the same tokens cost, in nano-dollars; ``lines`` were each rounded."""

    model: str | None
    parts: Parts
    billed: int
    reported: int
    lines: int


class Prices:
    """The price list in force, asked for what tokens cost and for who sells a model."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._providers: dict[str, str | None] = {}

    def quote(self, model: str | None, parts: Parts, *, several: bool = True) -> int | None:
        """Nano-dollars of these tokens; None where the model has no price. ``several``: they are of many requests."""
        if model is None:
            return None
        tokens = Tokens(parts.input, parts.output, parts.cached, parts.written)
        found = quoted(self._rules, model, tokens, base=several)
        return None if found.unpriced else found.cost_nanos

    def provider(self, model: str) -> str | None:
        """Who sells a model; None where that is not known."""
        if model not in self._providers:
            named = self._rules.catalogued.get(model, (model, None))[1] or provider_of(model)
            if named is None:
                found = self._rules.find_price(model, None)
                named = None if found is None else found.provider
            self._providers[model] = None if named is None else PROVIDERS.get(named.lower(), named)
        return self._providers[model]

    def cause(self, cost: Cost) -> tuple[str, str]:
        """Why the two costs differ, and the ratio of the one to the other in words.

        It is the cache where one of them is what the list says for tokens with the cache counted otherwise, and the
        other what it says in another way; else the price.
        """
        note = ratio(cost.billed, cost.reported)
        if not cost.parts.cached and not cost.parts.written:
            return PRICE, note
        quotes = [self.quote(cost.model, parts, several=cost.lines > 1) for parts in _readings(cost.parts)]
        close = [
            {place for place, quote in enumerate(quotes) if quote is not None and abs(quote - found) <= cost.lines}
            for found in (cost.billed, cost.reported)
        ]
        return (CACHE if all(close) and not close[0] & close[1] else PRICE), note


def _readings(parts: Parts) -> Iterator[Parts]:
    """The ways in which a cache may be counted: as it is, or what is read from it, written to it, or both as fresh."""
    fresh, cached, written, output = parts
    yield parts
    yield Parts(fresh + cached, 0, written, output)
    yield Parts(fresh + written, cached, 0, output)
    yield Parts(fresh + cached + written, 0, 0, output)


def ratio(billed: int, reported: int) -> str:
    """How many times the reported cost was billed, in words."""
    if not reported:
        return "reported as free"
    mille = (billed * _PER_MILLE_OF_A_RATIO + reported // 2) // reported
    return f"{mille // 1000}.{mille % 1000:03} times what was reported"
