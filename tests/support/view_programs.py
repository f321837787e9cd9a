"""Programs to come and views that are tampered with, for tests of rebuilds."""

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import msgspec

from tallystick.events import catalog as e
from tallystick.events.log.store import open_store
from tallystick.events.state.accounts import Balances
from tallystick.projections.store.kept_views import KeptViews
from tallystick.projections.store.projector import Projector
from tallystick.projections.store.rebuilding import Rebuilt, rebuild
from tallystick.projections.store.view_file import ViewFile
from tallystick.projections.views.agents import AgentsView
from tallystick.projections.views.all_views import ALL_VIEWS, ViewTypes, versions_of
from tallystick.projections.views.view import Changes, Look, Row, encode
from tests.support.view_logs import busy_fleet, opened_views
from tests.support.view_places import Views, sql

ALL = [kind.name for kind in ALL_VIEWS]
VERSIONS = versions_of(ALL_VIEWS)
LOG = busy_fleet(400)
"""The log of the fleet of these tests."""


class NewAgents(AgentsView):
    """The agents of a program to come, whose rows say one thing more."""

    version = AgentsView.version + 1

    def changes(self, last: e.Event) -> Changes:
        return {
            id: row and row._replace(data=row.data[:-1] + b',"new":true}') for id, row in super().changes(last).items()
        }


class Reports:
    """A view of a program to come: how often each agent has reported."""

    name = "reports"
    version = 1

    def __init__(self, balances: Balances, look: Look) -> None:
        self._counts: dict[str, int] = {}

    def _reported(self, event: e.UsageReported) -> None:
        self._counts[event.agent] = self._counts.get(event.agent, 0) + 1

    steps = {e.UsageReported: _reported}  # noqa: RUF012 - it is never changed

    def changes(self, last: e.Event) -> Changes:
        return {agent: Row(encode([agent, count]), live=True) for agent, count in self._counts.items()}

    def restore(self, rows: Iterable[bytes]) -> None:
        self._counts = dict(map(msgspec.json.decode, rows))


NEWER: ViewTypes = (*(kind for kind in ALL_VIEWS if kind is not AgentsView), NewAgents)
MORE: ViewTypes = (*ALL_VIEWS, Reports)


def view_store_of(views: Views, kinds: ViewTypes = ALL_VIEWS) -> KeptViews:
    return ViewFile(str(views), kinds) if isinstance(views, Path) else opened_views(views.url, kinds)


def rebuilt(url: str, *names: str, kinds: ViewTypes = ALL_VIEWS) -> Rebuilt:
    with closing(open_store(url)) as store, closing(opened_views(url, kinds)) as view_store:
        return rebuild(store, view_store, names or [kind.name for kind in kinds])


def nothing_but_live_views_is_kept(views: Views) -> bool:
    copies = sql(views, "SELECT DISTINCT copy FROM kept EXCEPT SELECT copy FROM views WHERE side='live'")
    return not copies and not sql(views, "SELECT * FROM views WHERE side='rebuilt'")


def broken_off(url: str, position: int, kinds: ViewTypes = ALL_VIEWS) -> None:
    """What a rebuild leaves that is killed when it has come to a position."""
    with closing(open_store(url)) as store, closing(opened_views(url, kinds)) as live, closing(live.beside()) as beside:
        beside.reset()
        Projector(store, beside).catch_up(position)
