"""The price list in force, and how the price of a model is found in it by any name that the model has.

It has two layers. The *published* prices are those that the providers publish (``published.py`` reads them). The
*written* ones are those of a file ``prices.yml``: they win, model by model, and only they can be free. The list in
force is a fact in the log, so all that is needed to find a price is in it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from tallystick.config.amounts import dollars
from tallystick.config.model_names import ANY, PROVIDERS, SELLERS, Spelling, providers_named, spellings
from tallystick.config.price import PARTS, ModelPrice, Tier, Tokens, rates, scaled

REMEMBERED_MAX: Final = 1_024
"""Names of models whose price was looked up, and need not be again."""


class Names(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """Which names mean one model, or are of one provider: those that fit any of these, in lower case."""

    equals: tuple[str, ...] = ()
    starts_with: tuple[str, ...] = ()
    ends_with: tuple[str, ...] = ()
    contains: tuple[str, ...] = ()
    regex: tuple[str, ...] = ()

    def fit(self, name: str) -> bool:
        """Whether a name, in lower case, is one of these."""
        return (
            name in self.equals
            or name.startswith(self.starts_with)
            or name.endswith(self.ends_with)
            or any(part in name for part in self.contains)
            or any(re.search(pattern, name) for pattern in self.regex)
        )


class PublishedModel(msgspec.Struct, frozen=True, gc=False):
    """A model's published price, and what it is called; without names it is called by its id."""

    price: ModelPrice
    names: Names = Names()


class Provider(msgspec.Struct, frozen=True, gc=False):
    """A provider's models by id. ``names`` tell that a model is this provider's where none is given."""

    names: Names
    models: Mapping[str, PublishedModel]


class Published(msgspec.Struct, frozen=True, dict=True):
    """What providers publish; ``source`` says who collected it, and in which version."""

    source: str = ""
    providers: Mapping[str, Provider] = msgspec.field(default_factory=dict)

    @cached_property
    def mapping(self) -> dict[str, Any]:
        """What `to_mapping` gives of it. The lists of a process that share what is published share this, too."""
        providers = {name: _shown_provider(provider) for name, provider in self.providers.items()}
        return {"source": self.source, "providers": providers}


class Found(NamedTuple):
    """A model's price. ``provider`` is None, and ``written`` true, where the price is from a file."""

    id: str
    price: ModelPrice
    provider: str | None
    written: bool


class _Models(NamedTuple):
    """A provider's models, so arranged that most names are found without a search."""

    equals: dict[str, tuple[int, str]]
    others: list[tuple[int, str, Names]]


@dataclass(frozen=True)
class PriceList:
    """The price of each known model. A model that is not here is unknown, never free.

    ``written`` are the prices as a file writes them; what they leave out is taken from the published price of the same
    model (`effective`).
    """

    written: Mapping[str, ModelPrice] = field(default_factory=dict)
    published: Published = field(default_factory=Published)

    @cached_property
    def effective(self) -> Mapping[str, ModelPrice]:
        """The written prices, whole: with the tiers, and the rarer prices, that the published ones have."""
        if not self.written or not self.published.providers:
            return self.written
        bare = PriceList({}, self.published)
        found = {id: bare.look_up(id, None) for id in self.written}
        return {
            id: price if (one := found[id]) is None else scaled(price, one.price) for id, price in self.written.items()
        }

    @cached_property
    def models(self) -> Mapping[str, ModelPrice]:
        """All models by id. Of providers that have a model of the same id, the first in the list counts."""
        models: dict[str, ModelPrice] = {}
        for provider in self.published.providers.values():
            for id, model in provider.models.items():
                models.setdefault(id, model.price)
        return models | dict(self.effective)

    # --- finding a price ----------------------------------------------------------------------------------------------

    def find(self, model: str, provider: str | None = None) -> Found | None:
        """The price of a model by its id or any other name of it; None where it is not known.

        Where ``provider`` is one of the list, its models count, and those of others only where it sells them too;
        without one, the provider is recognized by the name. A written price beats a published one, whatever the
        model is called.
        """
        return self.finding(model, provider)

    @cached_property
    def finding(self) -> Callable[[str, str | None], Found | None]:
        """`find` itself, without a step in between, for the hot path, which asks with every report."""
        # A twin looks up: a memory that held this list, which holds the memory, would outlive both.
        return lru_cache(REMEMBERED_MAX)(PriceList(self.written, self.published).look_up)

    def look_up(self, model: str, provider: str | None) -> Found | None:
        """`find` without a memory."""
        if model in self.written:
            return self._written(model)
        for loose in (False, True):
            first = None
            for owner, name in self._spelled(model, provider, loose):
                if name in self.written:
                    return self._written(name)
                found = self._named(name.lower(), owner)
                if found is not None and found.written:
                    return found
                first = first or found
            if first is not None:
                return first
        return None

    def label(self, found: Found) -> str:
        """The name under which `find` finds just this price again: the id, with its provider where the id alone
        means another's model.
        """
        again = self.find(found.id)
        same = again is not None and (again.id, again.provider) == (found.id, found.provider)
        return found.id if same or found.provider is None else f"{found.provider}/{found.id}"

    def _spelled(self, model: str, provider: str | None, loose: bool) -> Iterator[Spelling]:
        """The names to look for: of the provider that is named first, and of others only where it sells their
        models.
        """
        given = provider if provider in self.published.providers else PROVIDERS.get((provider or "").lower())
        spelled = list(spellings(model, loose=loose))
        if given in self.published.providers:
            yield from (Spelling(given, name) for name in dict.fromkeys(one.name for one in spelled))
            if given not in SELLERS:
                return
        yield from spelled

    def _named(self, name: str, provider: str | None) -> Found | None:
        if provider == ANY:
            return self._by_id.get(name)
        owner = self._owner(name) if provider is None else provider
        if owner is None or owner not in self.published.providers:
            return None
        models = self._arranged[owner]
        place, id = models.equals.get(name, (len(self.published.providers[owner].models), ""))
        for number, other, names in models.others:
            if number >= place:
                break
            if names.fit(name):
                return self._entry(owner, other)
        return self._entry(owner, id) if id else None

    @cached_property
    def _arranged(self) -> Mapping[str, _Models]:
        return {name: _arranged(provider) for name, provider in self.published.providers.items()}

    @cached_property
    def _by_id(self) -> Mapping[str, Found]:
        """Models by their id in lower case: of those that several providers sell under one id, the one that costs
        most.
        """
        found: dict[str, Found] = {}
        for owner, provider in self.published.providers.items():
            for id in provider.models:
                entry, known = self._entry(owner, id), found.get(id.lower())
                if known is None or _expense(entry) > _expense(known):
                    found[id.lower()] = entry
        return found

    def _entry(self, owner: str, id: str) -> Found:
        if id in self.written:
            return self._written(id)
        return Found(id, self.published.providers[owner].models[id].price, owner, written=False)

    def _written(self, id: str) -> Found:
        return Found(id, self.effective[id], None, written=True)

    def _owner(self, name: str) -> str | None:
        """The provider that a name, in lower case, is recognized to be of."""
        return next((id for id, provider in self.published.providers.items() if provider.names.fit(name)), None)

    # --- what stands for an unknown model -----------------------------------------------------------------------------

    def most_expensive(self, model: str, provider: str | None, used: Tokens, *, base: bool = False) -> Found | None:
        """What stands for an unknown model: the one that costs most for what was used, of the providers that are named
        or that its name tells, or of all where none of them is known; None where the list is empty.

        Written prices alone never make up a provider: a model of one's own says nothing of what others charge.
        """
        families = [
            family for owner in self._providers_of(model, provider) if (family := self._most_expensive_of.get(owner))
        ]
        candidates = [found for family in families for found in family] or self._most_expensive_of_all
        return max(candidates, key=lambda found: (found.price.cost(*used, base=base), found.id), default=None)

    def _providers_of(self, model: str, provider: str | None) -> list[str]:
        """The providers that an unknown model may be of."""
        given = (provider or "").lower()
        named = [provider or "", PROVIDERS.get(given, given), *providers_named(model)]
        names = dict.fromkeys(one.name.lower() for one in spellings(model))
        named += [owner for name in names if (owner := self._owner(name)) is not None]
        return list(dict.fromkeys(named))

    @cached_property
    def _most_expensive_of(self) -> Mapping[str, list[Found]]:
        """Of each provider those models that may cost most; providers of which all prices are written are left out."""
        families: dict[str, list[Found]] = {}
        for name, provider in self.published.providers.items():
            entries = [self._entry(name, id) for id in provider.models]
            if not all(entry.written for entry in entries):
                families[name] = entries
        for id in self.written:
            owner = self._owner(id.lower())
            if owner in families:
                families[owner].append(self._written(id))
        return {name: _may_be_most_expensive(entries) for name, entries in families.items()}

    @cached_property
    def _most_expensive_of_all(self) -> list[Found]:
        entries = [self._entry(name, id) for name, one in self.published.providers.items() for id in one.models]
        return _may_be_most_expensive([*entries, *map(self._written, self.written)])

    @cached_property
    def mapping(self) -> dict[str, Any]:
        """What `to_mapping` gives."""
        mapping: dict[str, Any] = {
            "prices": {model: _shown_written(price) for model, price in sorted(self.written.items())}
        }
        if self.published.providers:
            mapping["published"] = self.published.mapping
        return mapping


def _arranged(provider: Provider) -> _Models:
    """The names of a provider's models: of those that fit a name, the first model counts."""
    equals: dict[str, tuple[int, str]] = {}
    others = []
    for number, (id, model) in enumerate(provider.models.items()):
        for name in (id.lower(),) if model.names == Names() else model.names.equals:
            equals.setdefault(name, (number, id))
        names = msgspec.structs.replace(model.names, equals=())
        if names != Names():
            others.append((number, id, names))
    return _Models(equals, others)


def _expense(found: Found) -> tuple[int, int, bool]:
    """What is compared of models of one id; of equal ones the maker's counts, and not one that is sold by another."""
    return found.price.output, found.price.input, found.provider not in SELLERS


def _may_be_most_expensive(entries: Iterable[Found]) -> list[Found]:
    """Those of which no other costs more, whatever is used."""
    kept: list[tuple[Found, tuple[int, ...]]] = []
    for entry in sorted(entries, key=lambda entry: (_bound(entry.price, min), entry.id), reverse=True):
        most = _bound(entry.price, max)
        if not any(all(map(int.__ge__, least, most)) for _, least in kept):
            kept.append((entry, _bound(entry.price, min)))
    return [entry for entry, _ in kept]


def _bound(price: ModelPrice, choose: Callable[[Iterable[int]], int]) -> tuple[int, ...]:
    """The least, or most, that a model charges for each kind of token, in whichever tier."""
    lines: list[ModelPrice | Tier] = [price, *price.tiers]
    charged = [(line.input, line.output, line.cached_input, *rates(line)) for line in lines]
    return tuple(map(choose, zip(*charged, strict=True)))


# --- as the log keeps it ----------------------------------------------------------------------------------------------


def shown(price: ModelPrice | Tier) -> dict[str, str]:
    """The prices that there are, in US dollars per million tokens, as exact strings."""
    found = ((name, getattr(price, name)) for name in PARTS)
    return {name: dollars(nanos) for name, nanos in found if nanos is not None}


def _shown_written(price: ModelPrice) -> dict[str, Any]:
    return shown(price) | _shown_tiers(price)


def _shown_tiers(price: ModelPrice) -> dict[str, Any]:
    return (
        {"tiers": [{"above": tier.above, **shown(tier)} for tier in price.tiers]} if price.tiers or price.flat else {}
    )


def _shown_provider(provider: Provider) -> dict[str, Any]:
    models = {id: _shown_model(model) for id, model in provider.models.items()}
    return {"names": _shown_names(provider.names), "models": models}


def _shown_names(names: Names) -> dict[str, list[str]]:
    return {kind: list(texts) for kind, texts in msgspec.to_builtins(names).items()}


def _shown_model(model: PublishedModel) -> dict[str, Any]:
    names = {} if model.names == Names() else {"names": _shown_names(model.names)}
    return shown(model.price) | names | _shown_tiers(model.price)
