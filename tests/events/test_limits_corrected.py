"""Limits and holds whose expiry counts as used, late settlements and corrections: what counts is what counts now."""

from decimal import Decimal

from tallystick.config.amounts import Usage
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tests.support.core import Core, allocate, hold, settle
from tests.support.corrections import asked
from tests.support.limited import ask, limit, limited, report

DAY = limit(window="day", max={"tokens": 1_000})


def spending(id: str, tokens: int) -> c.Reserve:
    return ask("ann", id, tokens, on_expiry="spend", ttl_seconds=Decimal(60))


def used_of(core: Core, name: str = "cap") -> float | str:
    """What the one counter of a limit has used."""
    (one,) = core.when(c.GetLimits(limit=name)).limits
    assert not any(one.held.values())
    return one.used["tokens"]


def test_an_expiry_that_counts_as_used_is_no_longer_held_and_is_used() -> None:
    core = limited(DAY).given(
        allocate("ann", 100_000), ask("ann", "h", 600, on_expiry="spend", ttl_seconds=Decimal(60))
    )
    core.wait(60).pass_time()
    core.only(e.HoldSpent)
    assert used_of(core) == 600
    core.when(ask("ann", "h2", 401))
    core.then_refused("limit_reached", used=600, held=0)


def test_a_late_settlement_replaces_what_the_expiry_counted() -> None:
    core = limited(DAY).given(
        allocate("ann", 100_000), ask("ann", "h", 600, on_expiry="spend", ttl_seconds=Decimal(60))
    )
    core.wait(60).pass_time()
    core.given(settle("h", 250))
    assert used_of(core) == 250


def test_a_correction_counts_in_the_window_of_its_record() -> None:
    rolling = limit("rolling", window={"seconds": 600}, max={"tokens": 1_000})
    core = limited(DAY, rolling).given(allocate("ann", 100_000), report("ann", 900))
    position = core.decided.events[0].position
    core.wait(30).given(asked(core, position, usage=Usage(tokens=90)))
    assert (used_of(core), used_of(core, "rolling")) == (90, 90)
    core.given(asked(core, position, usage=Usage(tokens=1_000)))
    assert (used_of(core), used_of(core, "rolling")) == (1_000, 1_000)
    core.wait(580)
    assert (used_of(core), used_of(core, "rolling")) == (1_000, 0)


def test_a_corrected_model_counts_in_its_own_limit() -> None:
    small = limit("small", match={"model": "small-1"}, window="day", max={"tokens": 1_000})
    large = limit("large", match={"model": "large-1"}, window="day", max={"tokens": 1_000})
    core = limited(small, large).given(allocate("ann", 100_000), report("ann", 500, model="small-1"))
    position = core.decided.events[0].position
    core.given(asked(core, position, model="large-1"))
    core.when(ask("ann", "h", 501, model="large-1"))
    core.then_refused("limit_reached", limit="large", used=500)
    core.given(ask("ann", "g", 1_000, model="small-1"))


def test_a_window_that_only_a_cancelled_hold_had_opened_opens_again_at_the_next_use() -> None:
    core = limited(limit(window={"seconds": 90, "from": "first_use"}, max={"requests": 2, "concurrent": 9}))
    core.given(allocate("ann", 100_000), hold("ann", "open", 1))
    core.given(ask("ann", "a", 5, model="m")).wait(1).given(c.CancelHold(hold="a")).wait(50)
    core.given(report("ann", 5, model="m")).wait(50)
    core.given(report("ann", 5, model="m")).wait(39)
    core.when(ask("ann", "b", 5, model="m"))
    core.then_refused("limit_reached", used=2)
    core.wait(1).given(ask("ann", "c", 5, model="m"))
