"""What an account is opened with, beside its names and its budget, and keeps as long as it is open."""

import sys
from functools import lru_cache

import msgspec
from msgspec.structs import replace

from tallystick.config.amounts import NOTHING, Triple
from tallystick.config.limits import AccountLimit


class Terms(msgspec.Struct, array_like=True, frozen=True):
    """The terms of one account; most have the usual ones, and share them."""

    overdraft_max: Triple = NOTHING
    """What others may cover for it at most; None where there is no bound."""
    lease_ms: int = 0
    """How long it stays open without a message by it, or from below it; 0: until it is released."""
    labels: dict[str, str] | None = None
    """Its own free labels; None for none."""
    limits: tuple[AccountLimit, ...] = ()
    """Its own limits."""
    auto: bool = False
    """It has opened by itself."""
    handed_over: bool = False
    """It is the total of another fleet, which alone takes from it."""


USUAL = Terms()


def shared(terms: Terms) -> Terms:
    """Equal terms, as one object for many accounts; those with labels or limits are an account's own.

    Every record brings texts of its own; accounts that are labelled alike share one.
    """
    if terms.labels is not None:
        labels = {sys.intern(name): sys.intern(value) for name, value in terms.labels.items()}
        return replace(terms, labels=labels)
    return terms if terms.limits else _shared(terms)


@lru_cache(maxsize=256)
def _shared(terms: Terms) -> Terms:
    return terms
