"""Limits and holds whose expiry counts as used, late settlements and corrections: what counts is what counts now."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from tallystick.config.amounts import Usage
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tests.support.core import Core, allocate, budget, hold, settle
from tests.support.corrections import asked, records
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


# --- what is taken back and counted is that of the record, in the windows in which it was used -----------------------

WINDOWS: dict[str, Any] = {
    "total": "total",
    "day": "day",
    "rolling": {"seconds": 600},
    "first-use": {"seconds": 600, "from": "first_use"},
}


def counted(core: Core) -> dict[str, Any]:
    """What each limit has used, of all its values."""
    stands = {name: core.when(c.GetLimits(limit=name)).limits for name in core.ledger.limits.states}
    return {name: sum(one.used["tokens"] for one in found) for name, found in stands.items()}


def everywhere(units: int) -> dict[str, Any]:
    return dict.fromkeys(WINDOWS, units)


def test_a_record_of_nothing_counts_what_it_is_corrected_to() -> None:
    core = limited(*(limit(name, window=window, max={"tokens": 9_000}) for name, window in WINDOWS.items()))
    core.given(allocate("ann", 100_000), c.ReportUsage(agent="ann", usage=budget(0, 1)))
    position = records(core)[-1].position
    core.wait(30).given(asked(core, position, usage=Usage(tokens=500)))
    assert counted(core) == everywhere(500)
    core.wait(30).given(asked(core, position, usage=Usage(tokens=0)))
    assert counted(core) == everywhere(0)
    core.wait(30).given(asked(core, position, usage=Usage(tokens=700)))
    assert counted(core) == everywhere(700)
    core.wait(520)
    assert counted(core) == everywhere(700) | {"rolling": 0, "first-use": 0}


def test_a_model_that_is_corrected_there_and_back_counts_once() -> None:
    models = ("small-1", "large-1")
    limits = [
        limit(f"{name} {model}", match={"model": model}, window=window, max={"tokens": 9_000})
        for name, window in WINDOWS.items()
        for model in models
    ]
    core = limited(*limits).given(allocate("ann", 100_000), report("ann", 500, model="small-1"))
    position = records(core)[-1].position
    for model in ("large-1", "small-1", "large-1"):
        core.wait(30).given(asked(core, position, model=model))
        assert counted(core) == {
            f"{name} {other}": 500 if other == model else 0 for name in WINDOWS for other in models
        }


def used_by_all(core: Core, name: str = "cap") -> dict[str | None, Any]:
    return {one.value: one.used for one in core.when(c.GetLimits(limit=name)).limits}


def test_input_that_was_granted_before_the_window_began_is_not_taken_out_of_it() -> None:
    core = limited(limit(window="day", max={"input_tokens": 9_000}))
    core.now = dt.datetime(2026, 3, 4, 23, 59, tzinfo=dt.UTC)
    core.given(allocate("ann", 100_000), c.Reserve(agent="ann", id="h", model="m", input_tokens=900, output_tokens=9))
    core.wait(120).given(c.ReportUsage(agent="ann", model="m", input_tokens=600))
    core.given(c.Settle(hold="h", input_tokens=1_000, output_tokens=9))
    assert used_by_all(core)["fleet"] == {"input_tokens": 700}
    core.given(asked(core, records(core)[-1].position, input_tokens=50, output_tokens=9))
    assert used_by_all(core)["fleet"] == {"input_tokens": 600}


def test_input_that_was_granted_comes_back_in_the_bucket_of_the_grant() -> None:
    core = limited(limit(window={"seconds": 60}, max={"input_tokens": 9_000}))
    core.given(allocate("ann", 100_000), c.Reserve(agent="ann", id="h", model="m", input_tokens=900, output_tokens=9))
    core.wait(30).given(c.Settle(hold="h", input_tokens=1_000, output_tokens=9))
    core.given(asked(core, records(core)[-1].position, input_tokens=50, output_tokens=9))
    assert used_by_all(core)["fleet"] == {"input_tokens": 50}
    core.wait(31)
    assert used_by_all(core)["fleet"] == {"input_tokens": 0}


BY_USER = {"per": "label:user", "match": {"model": "m"}, "window": "day", "max": {"requests": 9, "tokens": 9_000}}


def held(id: str, **rest: Any) -> c.Reserve:
    asks = {"model": "m", "input_tokens": 100, "output_tokens": 100, "labels": {"user": "ann"}}
    return c.Reserve(agent="team", id=id, **{**asks, "ttl_seconds": Decimal(60), **rest})


@pytest.mark.parametrize("policy", ["release", "spend"])
def test_a_late_settlement_counts_for_what_its_hold_was_for(policy: Any) -> None:
    core = limited(limit(**BY_USER)).given(allocate("team", 100_000), held("h", requests=3, on_expiry=policy))
    core.wait(61).pass_time()
    core.given(c.Settle(hold="h", input_tokens=100, output_tokens=400))
    assert used_by_all(core) == {"ann": {"requests": 3, "tokens": 500}}


def test_parts_of_a_late_settlement_are_no_requests_of_their_own() -> None:
    core = limited(limit(**BY_USER)).given(allocate("team", 100_000), held("h"))
    core.wait(61).pass_time()
    for tokens in (100, 50):
        core.given(c.Settle(hold="h", model="m", usage=budget(tokens), final=False))
    core.given(c.Settle(hold="h", usage=budget(10)))
    assert used_by_all(core) == {"ann": {"requests": 1, "tokens": 160}}


def test_the_settlement_of_a_hold_that_names_the_model_is_corrected_under_it() -> None:
    core = limited(limit(**BY_USER)).given(allocate("team", 100_000), report("team", 10, model="other"), held("h"))
    core.given(c.Settle(hold="h", input_tokens=100, output_tokens=100))
    position = records(core)[-1].position
    core.given(asked(core, position, usage=Usage(tokens=50)))
    assert used_by_all(core) == {"ann": {"requests": 1, "tokens": 50}}
    core.given(asked(core, position, requests=4))
    assert used_by_all(core) == {"ann": {"requests": 4, "tokens": 50}}


def test_a_part_that_was_used_under_another_model_leaves_nothing_under_the_first() -> None:
    small = limit("small", match={"model": "m"}, window="day", max={"input_tokens": 9_000})
    core = limited(small).given(allocate("team", 100_000), held("h"))
    core.given(c.Settle(hold="h", model="other", input_tokens=100, output_tokens=10, final=False))
    core.given(c.Settle(hold="h", model="other", output_tokens=10))
    assert used_by_all(core, "small") == {None: {"input_tokens": 0}}


def test_usage_of_an_id_without_an_account_is_not_corrected_in_one_that_it_has_later() -> None:
    core = limited(limit(per="product", window="day", max={"tokens": 9_000})).given(report("ann", 500))
    position = records(core)[-1].position
    core.given(allocate("ann", 100_000, product="shop"), report("ann", 300))
    core.given(asked(core, position, usage=Usage(tokens=100)))
    assert used_by_all(core) == {"(none)": {"tokens": 100}, "shop": {"tokens": 300}}


def test_what_expired_before_a_window_began_is_not_corrected_in_it() -> None:
    core = limited(DAY, limit("hourly", window="hour", max={"tokens": 9_000}))
    core.now = dt.datetime(2026, 3, 4, 23, 58, tzinfo=dt.UTC)
    core.given(allocate("ann", 100_000), spending("h", 600))
    # The fleet was away: its days and the expiry are recorded at one moment.
    core.wait(36_000).given(report("ann", 500), settle("h", 200))
    assert counted(core) == {"cap": 500, "hourly": 500}


def test_what_was_used_before_a_limit_counts_is_not_taken_back_from_it() -> None:
    core = limited(limit("other", window="day", max={"requests": 9}))
    core.given(allocate("ann", 100_000)).wait(60)
    early = core.now - dt.timedelta(seconds=30)
    config = {"limits": [limit(window="hour", max={"tokens": 9_000})]}
    core.given(c.LoadConfig(config=config), report("ann", 500, occurred_at=early))
    position = records(core)[-1].position
    core.given(report("ann", 300), asked(core, position, usage=Usage(tokens=100)))
    assert used_of(core) == 300
