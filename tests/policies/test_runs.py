"""The runs of open agents, in one dictionary with the accounts that have not reported."""

import pytest

from tallystick.actors.policies.forecasting.runs import Runs
from tests.support.core import Core, allocate, fleet, use


def core_of(*names: str) -> Core:
    return Core(fleet(10**6), *(allocate(name, 1_000) for name in names))


def test_an_agent_has_a_run_from_its_first_report_on() -> None:
    core = core_of("ann", "bob")
    core.given(use("bob", 10))
    runs = Runs(core.ledger)
    assert [*runs] == ["bob"]
    assert ("ann" in runs, "bob" in runs, len(runs)) == (False, True, 1)
    assert runs.get("ann") is None
    with pytest.raises(KeyError):
        runs["ann"]
    assert runs.silent("ann") is core.account("ann")
    assert runs.silent("bob") is None
    begun = runs.begin("ann", core.now)
    assert begun is runs["ann"] is runs.get("ann")
    assert begun is not None
    assert begun.account is core.account("ann")
    assert ({*runs}, len(runs), runs.silent("ann")) == ({"ann", "bob"}, 2, None)


def test_nothing_begins_where_no_account_is_open() -> None:
    runs = Runs(core_of("ann").ledger)
    assert runs.begin("bob", core_of().now) is None
    assert (len(runs), [*runs]) == (0, [])


def test_what_is_closed_is_gone_and_an_id_that_opens_again_is_silent() -> None:
    core = core_of("ann", "bob")
    core.given(use("ann", 10))
    runs = Runs(core.ledger)
    run = runs["ann"]
    assert (runs.close("bob"), runs.silent("bob"), len(runs)) == (None, None, 1)
    runs.open(core.account("ann"))
    assert ("ann" in runs, len(runs), runs.silent("ann")) == (False, 0, run.account)
    runs.begin("ann", core.now)
    assert len(runs) == 1
    assert runs.close("ann") is not None
    assert (len(runs), runs.close("ann")) == (0, None)
