"""What some work cost on the model that did it, and what it would have cost on the others of the catalogue."""

from collections.abc import Mapping
from typing import NamedTuple

from tallystick.config.prices import PriceList
from tallystick.config.settings import Model
from tallystick.events.amounts import cents, percent


class Tokens(NamedTuple):
    """What was used; the cached tokens are a part of the input."""

    input: int
    output: int = 0
    cached: int = 0


class Alternative(NamedTuple):
    """What a model of the catalogue, by its alias, costs for the same tokens, in nano-dollars."""

    model: str
    cost_nanos: int


class Comparison(NamedTuple):
    """The models from the dearest to the cheapest, equal ones in the order of the catalogue. Those without a price are
    named in ``unpriced`` and not compared: nobody knows what they would have cost.
    """

    alternatives: tuple[Alternative, ...]
    unpriced: tuple[str, ...]

    def saved(self, by: str, instead_of: str) -> "Saving":
        """What the model ``by`` saves, used instead of another; both are compared.

        Raises:
            KeyError: one of the two is not among the alternatives.
        """
        costs = dict(self.alternatives)
        return Saving(costs[instead_of] - costs[by], costs[instead_of])


class Saving(NamedTuple):
    """What is saved of what would have been paid, in nano-dollars; negative where it costs more."""

    saved_nanos: int
    of_nanos: int

    def __str__(self) -> str:
        """As people read it: half-up to cents, and floored to whole per cent."""
        return f"{cents(self.saved_nanos)} ({percent(self.saved_nanos, self.of_nanos)}%)"


def compare(used: Tokens, models: Mapping[str, Model], prices: PriceList) -> Comparison:
    """The cost of the same tokens on every model of the catalogue.

    It takes for granted that every model would have needed as many tokens: a model that needs more steps does not.
    """
    found = {alias: prices.find(model.id, model.provider) for alias, model in models.items()}
    known = [Alternative(alias, one.price.cost(*used)) for alias, one in found.items() if one is not None]
    known.sort(key=lambda alternative: -alternative.cost_nanos)
    return Comparison(tuple(known), tuple(alias for alias, one in found.items() if one is None))
