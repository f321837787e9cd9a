"""With keys on the server, a client may do what the role of its key allows; the rest is refused, and not sent again."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tallystick import Client, Refused
from tallystick.cli.main import main
from tallystick.interface.agents import Agent
from tests.support.programs import run
from tests.support.serving import Served

LEAD = "--role agent --agent lead"


def key(folder: Path, options: str) -> str:
    made = CliRunner().invoke(main, ["key", "create", *options.split(), "--store", f"sqlite:///{folder / 'fleet.db'}"])
    assert made.exit_code == 0, made.output
    return made.stdout.strip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def keys(folder: Path) -> dict[str, str]:
    return {name: key(folder, options) for name, options in (("lead", LEAD), ("all", "--role orchestrator"))}


@pytest.fixture(scope="module")
def url(folder: Path, keys: dict[str, str]) -> Iterator[str]:
    server = Served(folder)
    yield f"http://127.0.0.1:{server.port}"
    assert server.stop() == 0


def test_an_orchestrator_opens_agents_and_runs_tasks(url: str, keys: dict[str, str]) -> None:
    with Client(url, keys["all"]) as fleet, fleet.agent("ann", tokens=1_000) as agent:
        with agent.call(tokens=100) as call:
            call.done(tokens=60)
        with fleet.task("page-1", agent_type="writer", product="docs") as task:
            task.report(tokens=5)
        assert agent.report(tokens=0).remaining.tokens == 940


def test_an_agent_works_for_itself_and_those_below_it(url: str, keys: dict[str, str]) -> None:
    async def program() -> None:
        async with Client(url, keys["lead"]) as fleet, fleet.agent("lead") as lead:

            async def work(number: int) -> None:
                async with lead.agent(f"sub-{number}", tokens=100) as agent, agent.call(tokens=10) as call:
                    call.done(tokens=7)

            await asyncio.gather(*(work(number) for number in range(10)))

    with Client(url, keys["all"]) as office, office.agent("lead", tokens=10_000), office.agent("other", tokens=100):
        run(program())
        with Client(url, keys["lead"]) as fleet:

            @fleet.budgeted(parent="lead", tokens=50)
            def research(agent: Agent) -> None:
                agent.report(tokens=30)

            research()
            with (
                pytest.raises(Refused, match="access_denied: other is neither lead nor below it"),
                fleet.agent("other"),
            ):
                pass
            with pytest.raises(Refused, match="access_denied"), fleet.agent("new", tokens=1):
                pass
        consumed = office.ask({"type": "GetStatus", "agent": "lead"})["ok"]["consumed"]["tokens"]
        assert consumed == 10 * 7 + 30


@pytest.mark.parametrize("shown", [None, "no-key-of-this-server"])
def test_without_a_key_that_is_valid_it_is_refused_at_once(url: str, shown: str | None) -> None:
    with Client(url, shown) as fleet:
        assert fleet.ask({"type": "GetGlobalStatus"})["error"]["code"] == "unauthenticated"
        with pytest.raises(Refused, match="unauthenticated") as refused, fleet.agent("ann", tokens=1):
            pass
    assert shown is None or shown not in f"{refused.value} {refused.value.details}"
