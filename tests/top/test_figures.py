"""The screen has the figures of the other commands, and follows the log."""

import datetime as dt
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from tallystick.actors.runtime.clock import ManualClock
from tallystick.cli.viewing import opened_views
from tallystick.config.loader import from_mapping
from tallystick.fleet import Fleet
from tallystick.projections.reports.burn import Pace
from tallystick.projections.reports.status import Status
from tallystick.projections.store.view_file import ViewFile
from tallystick.top.figures import Figures, Reader, limit_id
from tallystick.top.rows import rows_of
from tallystick.top.screen import Drawn
from tallystick.top.state import PANELS, SORTS, Opened, State
from tests.support.core import START
from tests.support.view_logs import views_of

CONFIG = {
    "total_budget": {"tokens": 10**8, "cost_usd": 500, "period": "none"},
    "max_concurrent": {"total": 1},
    "limits": [{"name": "user-day", "per": "label:user", "window": "day", "max": {"tokens": 5_000}}],
}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/fleet.db"


@pytest.fixture
def fleet(url: str) -> Iterator[Fleet]:
    """Agents at several levels, a task that runs and one that waits, a limit, and an alert."""
    clock = ManualClock(START)
    with Fleet.open(url, from_mapping(CONFIG), clock=clock) as fleet:
        for number in range(1, 9):
            budget = {"tokens": 1_000 * number, "cost_usd": "2"}
            fleet.ask({"type": "AllocateBudget", "agent": f"a-{number}", "product": "shop", "budget": budget})
        clock.move_to(START + dt.timedelta(minutes=5))
        for number in range(1, 9):
            usage = {"tokens": 900, "cost_usd": f"0.{number}"}
            labels = {"user": f"u-{number % 2}"}
            fleet.ask({"type": "ReportUsage", "agent": f"a-{number}", "usage": usage, "labels": labels})
        fleet.ask({"type": "ReportUsage", "agent": "a-1", "usage": {"tokens": 200}})
        for task in ("T-1", "T-2"):
            fleet.ask({"type": "SubmitTask", "task": task, "agent_type": "qa", "product": "shop"})
        yield fleet


def read(url: str, opened: Opened | None = None, now: dt.datetime | None = None) -> Figures:
    with closing(Reader(url)) as reader:
        return reader.read(now or START + dt.timedelta(minutes=6), opened)


def ids(figures: Figures, **state: object) -> list[str]:
    return [row.id for row in rows_of(figures, State(**state))]  # type: ignore[arg-type]


def drawn(figures: Figures, state: State, width: int = 100, height: int = 30) -> list[str]:
    console = Console(width=width, height=height, highlight=False, color_system=None)
    with console.capture() as captured:
        console.print(Drawn(figures, state, "fleet.db", width, height))
    return captured.get().splitlines()


@pytest.mark.parametrize("apart", [dt.timedelta(days=300), -dt.timedelta(days=300)], ids=["behind", "ahead"])
def test_rates_of_a_fleet_with_a_clock_of_its_own_are_by_its_clock(fleet: Fleet, url: str, apart: dt.timedelta) -> None:
    now = START + dt.timedelta(minutes=6) + apart
    with closing(Reader(url)) as reader:
        reader.read(now)
        fleet.ask({"type": "ReportUsage", "agent": "a-8", "usage": {"tokens": 60}})
        figures = reader.read(now + dt.timedelta(seconds=1))
        assert figures.at == START + dt.timedelta(minutes=5)
        assert figures.burn.tokens_per_hour == (8 * 900 + 200 + 60) * 12
        assert reader.read(now + dt.timedelta(minutes=1)).at == figures.at, "its clock stands still"


def test_rates_of_a_fleet_that_does_nothing_go_down_with_the_machines_clock(fleet: Fleet, url: str) -> None:
    now = START + dt.timedelta(minutes=6)
    with closing(Reader(url)) as reader:
        reader.read(now)
        fleet.ask({"type": "ReportUsage", "agent": "a-8", "usage": {"tokens": 60}})
        now += dt.timedelta(seconds=2)
        assert reader.read(now).at == now
        now += dt.timedelta(hours=1)
        figures = reader.read(now)
        assert (figures.at, figures.burn.tokens_per_hour) == (now, 0)


def test_rates_levels_and_remains_are_those_of_status(fleet: Fleet, url: str) -> None:
    figures, now = read(url), START + dt.timedelta(minutes=6)
    with opened_views(url, None) as views:
        status = Status(views)
        pace = Pace(views, status, now)
        assert figures.burn == pace.fleet()
        assert {line.row.agent: line.burn for line in figures.agents} == {
            row.agent: pace.agent(row) for row in status.agents.values()
        }
    assert msgspec.to_builtins(figures.limits) == fleet.ask({"type": "GetLimits"})["ok"]["limits"]


def test_the_agent_that_will_be_empty_first_is_first(fleet: Fleet, url: str) -> None:
    figures = read(url)
    assert ids(figures)[:3] == ["a-1", "a-2", "a-8"]
    assert ids(figures, sorts={"agents": SORTS["agents"].index("cost/h")})[0] == "a-8"
    assert ids(figures, reversed=True)[-1] == "a-1"
    assert ids(figures, filter="A-3") == ["a-3"]
    assert ids(figures, filter="shop", sorts={"agents": 4})[0] == "T-1"


def test_tasks_limits_alerts_and_events_are_there(fleet: Fleet, url: str) -> None:
    figures = read(url)
    assert ids(figures, panel="tasks") == ["T-1", "T-2"]
    assert [row.partition("\n")[0] for row in ids(figures, panel="limits")].count("user-day") == 3
    assert len(ids(figures, panel="alerts")) == len(figures.alerts) > 0
    assert ids(figures, panel="events")[0] == str(figures.status.fleet.position)


def test_what_is_recorded_meanwhile_is_read_without_reading_the_rest_again(fleet: Fleet, url: str) -> None:
    with closing(Reader(url)) as reader:
        before = reader.read(START + dt.timedelta(minutes=6))
        assert not reader.has_news()
        fleet.ask({"type": "AllocateBudget", "agent": "new", "budget": {"tokens": 5}})
        assert reader.has_news()
        after = reader.read(START + dt.timedelta(minutes=6))
    assert after.status.fleet.position == before.status.fleet.position + 1
    assert after.events[-2:-1] == before.events[-1:]
    assert "new" in ids(after)
    limits = fleet.ask({"type": "GetLimits"})["ok"]["limits"]
    assert msgspec.to_builtins(after.limits) == limits


def test_views_that_another_process_brings_up_or_drops_are_gone_on_with(fleet: Fleet, url: str) -> None:
    with closing(Reader(url)) as reader:
        before = reader.read(START + dt.timedelta(minutes=6))
        fleet.ask({"type": "AllocateBudget", "agent": "new", "budget": {"tokens": 5}})
        with opened_views(url, None):
            pass
        after = reader.read(START + dt.timedelta(minutes=6))
        assert set(ids(after)) == {*ids(before), "new"}
        with closing(ViewFile(str(views_of(url)))) as views:
            views.drop(None)
        assert ids(reader.read(START + dt.timedelta(minutes=6))) == ids(after)


def test_every_row_can_be_opened_and_says_what_it_is(fleet: Fleet, url: str) -> None:
    plain = read(url)
    for panel in PANELS:
        for id in ids(plain, panel=panel)[:5]:
            opened = Opened(panel, id)
            figures = read(url, opened)
            text = "\n".join(drawn(figures, State(panel=panel, opened=opened)))
            assert "reading" not in text
            assert id.partition("\n")[0] in text
    agent = "\n".join(drawn(read(url, Opened("agents", "a-1")), State(opened=Opened("agents", "a-1"))))
    assert "black, stop" in agent
    assert "a-1 has used up its tokens" in agent
    limit = next(one for one in plain.limits if one.limit == "user-day")
    assert read(url, Opened("limits", limit_id(limit))).details is not None


def test_a_screen_has_the_lines_of_the_terminal_and_none_is_wider(fleet: Fleet, url: str) -> None:
    figures = read(url)
    for panel in PANELS:
        for state in (State(panel=panel), State(panel=panel, is_help=True), State(panel=panel, filter="nothing")):
            for width, height in ((80, 24), (40, 10), (20, 5), (200, 60), (80, 22)):
                lines = drawn(figures, state, width, height)
                assert max(map(len, lines)) <= width
                assert height < 10 or len(lines) == height


def test_a_windows_end_is_seen_although_nothing_was_recorded(fleet: Fleet, url: str) -> None:
    figures = read(url, now=START + dt.timedelta(days=1))
    assert all(one.used.get("tokens") == 0 for one in figures.limits if one.limit == "user-day")
