"""A parent behind servers: with keys, in PostgreSQL, handed over and killed; and both logs compared after it."""

import json
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tallystick import Fleet
from tallystick.cli.main import main
from tallystick.delegation.parents import KEY_VARIABLE
from tallystick.events import catalog as e
from tallystick.events.log.codec import decode_event
from tallystick.events.log.store import open_store
from tests.support.few_prices import few_prices
from tests.support.postgres import running, shared
from tests.support.programs import until
from tests.support.serving import Served
from tests.support.shared_fleets import hand_over, servers

QUIET: dict[str, Any] = {"circuit_breaker": {"trip_conditions": []}}
AT_HAND = 10_000
ANN = {"type": "AllocateBudget", "agent": "ann", "budget": {"tokens": 30_000}}


def new_parent(url: str) -> None:
    """A fleet with an account for another one."""
    with Fleet.open(url, {"total_budget": {"tokens": 100_000}, **QUIET}, few_prices()) as top:
        budget = {"tokens": 1_000}
        answer = top.ask({"type": "AllocateBudget", "agent": "team", "budget": budget, "delegated": True})
        assert "ok" in answer


def team(store: str, parent: str | Sequence[str]) -> Fleet:
    delegate = {"parent": parent, "account": "team", "budget": {"tokens": AT_HAND}}
    return Fleet.open(store, {"delegate": delegate, **QUIET}, few_prices())


def events(url: str) -> Iterator[e.Event]:
    store = open_store(url)
    yield from [decode_event(one.data, one.name) for one in store.read()]
    store.close()


def verify(store: str, *options: str) -> Any:
    return CliRunner().invoke(main, ["audit", "verify", "--quick", "--store", store, *options])


def key_of(store: str, *role: str) -> str:
    made = CliRunner().invoke(main, ["key", "create", "--store", store, "--name", role[0], "--json", "--role", *role])
    assert made.exit_code == 0, made.output
    return str(json.loads(made.output)["secret"])


def test_the_log_of_a_served_parent_is_read_with_a_key_that_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top, own = f"sqlite:///{tmp_path}/fleet.db", f"sqlite:///{tmp_path}/team.db"
    new_parent(top)
    agent, auditor = key_of(top, "agent", "--agent", "team"), key_of(top, "auditor")
    server = Served(tmp_path)
    monkeypatch.setenv(KEY_VARIABLE, agent)
    with team(own, server.url) as child:
        child.ask({"type": "ReportUsage", "agent": "ann", "usage": {"tokens": 700}})
        until(lambda: booked(child) > 0)
    against = ("--parent", server.url)
    same = verify(own, *against, "--parent-key", auditor)
    assert same.exit_code == 0, same.output
    assert "both logs say the same" in same.output
    assert "granted 10,100 tokens" in same.output
    for key, why in ((("--parent-key", agent), "may not read"), ((), "asks for a valid key")):
        refused = verify(own, *against, *key)
        assert refused.exit_code != 0
        assert server.url in refused.output
        assert why in refused.output
    assert server.stop() == 0
    away = verify(own, *against, "--parent-key", auditor)
    assert away.exit_code != 0
    assert f"{server.url} cannot be reached" in away.output
    wrong = verify(own, "--parent", "https://")
    assert wrong.exit_code != 0
    assert "--parent: url: found 'https://'" in wrong.output


def test_servers_that_share_a_parent_hand_over_and_go_away_and_the_child_asks_the_other_with_the_same_number(
    tmp_path: Path,
) -> None:
    names = [f"delegation-{secrets.token_hex(6)}" for _ in range(2)]
    top, own = (shared().url(fleet=name) for name in names)
    new_parent(top)
    with servers(tmp_path, top) as made:
        first, second = made.start(), made.start("--standby")
        with team(own, [first.url, second.url]) as child:
            hand_over(top)
            made.kill(first)
            assert child.ask(ANN)["error"]["code"] == "pool_exhausted"
            until(lambda: in_pool(child) >= 30_000)
            assert "ok" in child.ask(ANN)
            child.ask({"type": "ReportUsage", "agent": "ann", "usage": {"tokens": 700}})
            until(lambda: booked(child) > 0)
        same = verify(own, "--parent", top)
        assert made.stop(second) == 0
    assert same.exit_code == 0, same.output
    assert "both logs say the same" in same.output
    check_numbers(own, top)


@pytest.mark.delegation_long
def test_a_parent_without_its_database_is_away_and_what_was_asked_meanwhile_is_asked_again(tmp_path: Path) -> None:
    with running() as database:
        top, own = database.url(fleet="top"), f"sqlite:///{tmp_path}/team.db"
        new_parent(top)
        with servers(tmp_path, top) as made:
            server = made.start()
            with team(own, server.url) as child:
                database.stop()
                until(lambda: is_away(child))
                held = {"type": "AllocateBudget", "agent": "bob", "budget": {"tokens": 500}}
                assert "ok" in child.ask(held), "it goes on within what it has"
                assert child.ask(ANN)["error"]["code"] == "pool_exhausted"
                database.start()
                until(lambda: in_pool(child) >= 30_000)
                assert "ok" in child.ask(ANN)
                assert not is_away(child)
            assert server.stop() == 0
            made.running.clear()
        check_numbers(own, top)


def booked(child: Fleet) -> int:
    """The position of a child's log up to which its parent has booked, as it has heard."""
    position: int = child.ask({"type": "GetGlobalStatus", "limit": 0})["ok"]["delegation"]["booked"]
    return position


def in_pool(child: Fleet) -> int:
    tokens: int = child.ask({"type": "GetGlobalStatus", "limit": 0})["ok"]["pool_available"]["tokens"]
    return tokens


def is_away(child: Fleet) -> bool:
    answered = child.parent_answered
    return answered is not None and answered.is_away


def check_numbers(own: str, top: str) -> None:
    """Each draw was asked for once and granted once, under one number; the last may be under way."""
    asked = [event.number for event in events(own) if isinstance(event, e.DrawAsked)]
    granted = [event.number for event in events(top) if isinstance(event, e.BudgetDrawn)]
    assert asked == list(range(1, len(asked) + 1))
    assert granted in (asked, asked[:-1])
    assert len(granted) >= 2
