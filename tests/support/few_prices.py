"""A short price list for a new fleet: the whole one is most of a small log, and most of the time of many tests."""

import functools
import itertools

from tallystick.config.price_list import PriceList, Provider, Published
from tallystick.config.prices import load_prices
from tallystick.config.published import published_prices
from tallystick.config.settings import Config
from tallystick.events.log.store import Store
from tests.support.core import START


@functools.cache
def few_prices() -> PriceList:
    """What is published for the models of one provider and a few of others, and what the packaged list has written."""
    published = published_prices(START.date(), Config().models.values())
    few = {
        name: Provider(one.names, dict(itertools.islice(one.models.items(), most)))
        for name, one in published.providers.items()
        if (most := {"anthropic": None, "openai": 12, "google": 12}.get(name, 0)) != 0
    }
    return PriceList(load_prices(None).written, Published(published.source, few))


def prices_for(store: Store) -> PriceList | None:
    """For a fleet that is opened on a store: a new one gets the short list, another keeps what is in force."""
    return few_prices() if store.last() is None else None
