"""Who becomes the writer, and when: each server of a fleet is run in this process."""

import asyncio
import contextlib
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tallystick import Fleet
from tallystick.cli.main import main
from tallystick.cli.serve import Files, _opened
from tallystick.events.log import postgres_together
from tallystick.events.log.postgres_appending import write
from tallystick.events.log.postgres_servers import Servers
from tallystick.events.log.restoring import Opened, open_ledger
from tallystick.events.log.store import Store, open_store
from tallystick.events.log.store_postgres import PostgresStore
from tallystick.http.app import application
from tallystick.http.elsewhere import NotHandedOver
from tallystick.http.guard import LOOPBACK
from tallystick.standby import role as roles
from tallystick.standby import to_writer
from tallystick.standby.role import Role
from tallystick.standby.shared import SharedFleet
from tests.support.asgi import Answered, call
from tests.support.postgres import shared
from tests.support.programs import SECONDS, until


class Member:
    """One server of a fleet, without a socket."""

    def __init__(self, url: str, number: int, standby: bool) -> None:
        self.address = f"http://server-{number}"
        store = None if standby else PostgresStore(url, writer=True)
        self.fleet = SharedFleet(url, opened)
        self.role = Role(self.fleet, self.address)
        self.role.begin(store)

    @property
    def writes(self) -> bool:
        return self.fleet.fleet is not None

    def end(self) -> None:
        self.role.close()
        self.fleet.close()

    def ask(self, path: str, message: Any = None, method: str = "POST") -> Answered:
        async def asked() -> Answered:
            others = to_writer.ToWriter(self.fleet, self.role)
            app, service = application(self.fleet, LOOPBACK, None, others)
            try:
                return await call(app, method, path, message)
            finally:
                await service.close()

        return asyncio.run(asked())


def opened(store: Store, begun: Opened | None) -> Fleet:
    return Fleet.open(store, begun=begun, notify=False)


@pytest.fixture
def url() -> str:
    return shared().url(fleet=f"roles-{secrets.token_hex(6)}")


@pytest.fixture
def members(url: str) -> Iterator[Any]:
    """``members(standby=False)``: one more server, ended after the test."""
    made: list[Member] = []

    def start(standby: bool) -> Member:
        made.append(Member(url, len(made), standby))
        return made[-1]

    yield start
    for member in made:
        with contextlib.suppress(RuntimeError):
            member.end()


def test_of_several_standbys_one_becomes_the_writer_and_the_others_follow_it(members: Any) -> None:
    writer, *standbys = members(standby=False), *(members(standby=True) for _ in range(3))
    writer.fleet.fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 10}})
    writer.end()
    until(lambda: any(one.writes for one in standbys))
    winner = next(one for one in standbys if one.writes)
    others = [one for one in standbys if one is not winner]
    until(lambda: [one.fleet.writer.url for one in others] == [winner.address] * 2)
    assert not any(one.writes for one in others)
    assert winner.fleet.fleet.ask({"type": "GetStatus", "agent": "a"})["ok"]["remaining"] == {"tokens": 10}


def test_a_standby_where_there_is_no_writer_is_the_writer_at_once(url: str, members: Any) -> None:
    Fleet.open(url, notify=False).close()
    standby = members(standby=True)
    until(lambda: standby.writes)


def test_a_hand_over_goes_to_a_standby_and_back(members: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roles, "TAKE_BACK_SECONDS", SECONDS)
    first, second = members(standby=False), members(standby=True)
    assert first.role.hand_over() == second.address
    assert (first.writes, second.writes) == (False, True)
    assert second.role.hand_over() == first.address
    assert (first.writes, second.writes) == (True, False)


def test_a_server_that_is_being_stopped_hands_nothing_over(members: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roles, "ORDER_SECONDS", 0.0)
    writer = members(standby=False)
    writer.role.close()
    with pytest.raises(NotHandedOver, match="being stopped"):
        writer.role.hand_over()


def test_without_a_standby_nothing_is_handed_over(members: Any) -> None:
    alone = members(standby=False)
    with pytest.raises(NotHandedOver, match="start one with tallystick serve --standby") as refused:
        alone.role.hand_over()
    assert refused.value.code == "no_standby"
    assert alone.fleet.fleet.ask({"type": "GetGlobalStatus"})["ok"]
    answer = alone.ask("/v1/hand-over")
    assert (answer.status, answer.json["code"]) == (409, "no_standby")


def test_where_no_standby_takes_the_place_the_writer_goes_on(
    url: str, members: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roles, "TAKE_BACK_SECONDS", 0.3)
    writer = members(standby=False)
    dying = Servers(url)
    dying.say("http://dying", None, 0)
    answer = writer.ask("/v1/hand-over")
    assert (answer.status, answer.json["code"]) == (503, "not_taken_over")
    assert writer.writes
    assert writer.fleet.fleet.ask({"type": "GetGlobalStatus"})["ok"]
    dying.close()


def test_what_waits_for_a_writer_goes_to_the_one_that_takes_over(
    url: str, members: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Fleet.open(url, notify=False) as program:
        program.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 10}})
        standby = members(standby=True)
        asked = {"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}}
        monkeypatch.setattr(to_writer, "HOLD_SECONDS", 0.05)
        refused = standby.ask("/v1/messages", asked)
        monkeypatch.setattr(to_writer, "HOLD_SECONDS", SECONDS)
        # A program that opened the fleet itself is no server that could be asked.
        assert (refused.status, refused.json["code"]) == (503, "no_writer")
        assert "process" in refused.json["detail"]
    answer = standby.ask("/v1/messages", asked)
    assert (answer.status, answer.json["remaining"]) == (200, {"tokens": 9})
    assert "x-tallystick-age-seconds" not in answer.headers, "it is the writer's answer"
    assert standby.writes


def test_the_position_of_a_writer_is_what_is_stored_and_not_what_was_only_decided(
    members: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = members(standby=False)
    writer.fleet.fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 10}})
    before, begun, away = writer.fleet.log_seen.position, threading.Event(), threading.Event()

    def waits(*args: Any) -> None:
        begun.set()
        assert away.wait(60)
        write(*args)

    monkeypatch.setattr(postgres_together, "write", waits)
    asking = threading.Thread(target=writer.ask, args=("/v1/report-usage", {"agent": "a", "usage": {"tokens": 1}}))
    asking.start()
    assert begun.wait(60)
    assert writer.fleet.fleet.position > before, "it is decided"
    assert writer.fleet.log_seen.position == before
    away.set()
    asking.join()
    assert writer.fleet.log_seen.position > before


def test_a_server_whose_log_does_not_follow_what_it_has_ends(members: Any) -> None:
    writer, standby = members(standby=False), members(standby=True)
    standby.fleet.followed._proof.digest = b"x" * 32
    writer.fleet.fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 10}})
    until(lambda: standby.fleet.halted is not None)
    assert "position" in standby.fleet.halted


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("--store", "sqlite:///f.db", "--standby"),
            "--standby: found the store sqlite:///f.db, allowed is",
        ),
        (
            ("--store", "memory:", "--advertise", "http://a:1"),
            "--advertise: found the store memory:, allowed is",
        ),
        (("--store", "postgresql://h/d", "--advertise", "a:1"), "--advertise: found 'a:1', allowed is a URL like http"),
    ],
)
def test_what_only_a_fleet_in_postgresql_has_is_refused_for_others(
    options: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["serve", *options])
    assert (result.exit_code, said in result.output) == (2, True), result.output
    assert list(tmp_path.iterdir()) == []


def test_there_is_no_standby_of_a_fleet_that_does_not_exist(url: str) -> None:
    result = CliRunner().invoke(main, ["serve", "--store", url, "--standby", "--port", "0"])
    assert result.exit_code == 1
    assert "there is no fleet at postgresql://" in result.output


def test_a_server_that_finds_a_writer_says_that_it_may_stand_by(url: str) -> None:
    with Fleet.open(url, notify=False):
        result = CliRunner().invoke(main, ["serve", "--store", url, "--port", "0"])
    assert (result.exit_code, "or stand by for it: tallystick serve --standby" in result.output) == (1, True)


def test_a_hand_over_is_refused_where_there_is_no_writer_to_order_it(url: str) -> None:
    for store, code, said in (
        ("sqlite:///f.db", 2, "found the store sqlite:///f.db, allowed is one in PostgreSQL"),
        (url, 1, "has no writer"),
    ):
        result = CliRunner().invoke(main, ["send", "hand-over", "--store", store])
        assert (result.exit_code, said in result.output) == (code, True), result.output
    with Fleet.open(url, notify=False):
        result = CliRunner().invoke(main, ["send", "hand-over", "--store", url])
        assert (result.exit_code, "which is no server" in result.output) == (1, True), result.output


def test_a_standby_says_at_once_what_is_wrong_with_its_settings(url: str, tmp_path: Path) -> None:
    Fleet.open(url, notify=False).close()
    settings = tmp_path / "limits.yml"
    settings.write_text("total_budget: {tokens: many}\n", encoding="utf-8")
    command = ["serve", "--store", url, "--standby", "--port", "0", "--config", str(settings)]
    result = CliRunner().invoke(main, command)
    assert (result.exit_code, "total_budget.tokens" in result.output) == (2, True), result.output


def test_settings_that_were_broken_meanwhile_do_not_keep_a_standby_from_taking_over(
    tmp_path: Path,
) -> None:
    store = f"sqlite:///{tmp_path / 'fleet.db'}"
    Fleet.open(store, {"total_budget": {"tokens": 7_000_000}}, notify=False).close()
    settings = tmp_path / "limits.yml"
    settings.write_text("total_budget: {tokens: many}\n", encoding="utf-8")
    again = open_store(store, writer=True)
    with _opened(again, Files(settings, None), open_ledger(again)) as fleet:
        assert fleet.config.total_budget.tokens == 7_000_000
