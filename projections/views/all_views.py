"""All views of the fleet, folded in one pass over the log.

To add a view, write its class as `tallystick.projections.views.view.View` says, and name it in `ALL_VIEWS`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MethodType
from typing import Any, Final

from tallystick.events.catalog import CATALOG, Event, UsageReported
from tallystick.events.evolve.account_read_model import AccountReadModel
from tallystick.projections.views.accuracy import AccuracyView
from tallystick.projections.views.agents import AgentsView
from tallystick.projections.views.alerts import AlertsView
from tallystick.projections.views.breakdown import BreakdownView
from tallystick.projections.views.cost import CostView
from tallystick.projections.views.fleet import FleetView
from tallystick.projections.views.forecasts import ForecastsView
from tallystick.projections.views.holds import HoldsView
from tallystick.projections.views.hours import HoursView
from tallystick.projections.views.pace import PaceView
from tallystick.projections.views.summed_use import SummedUse, Summing
from tallystick.projections.views.tasks import TasksView
from tallystick.projections.views.timeline import TimelineView
from tallystick.projections.views.view import Changes, Look, View

ViewTypes = Sequence[type[View]]

ALL_VIEWS: Final[ViewTypes] = (
    FleetView,
    HoldsView,
    AgentsView,
    TimelineView,
    ForecastsView,
    AccuracyView,
    HoursView,
    CostView,
    BreakdownView,
    TasksView,
    PaceView,
    AlertsView,
)
"""The classes of all views. The balances that they share are restored from the rows of the first three."""


def versions_of(kinds: ViewTypes) -> dict[str, int]:
    """The version of each view, by its name."""
    return {kind.name: kind.version for kind in kinds}


class Folding:
    """Views in the middle of a log: each event goes to those that follow its class, and then to the balances.

    Where all that follow reports take sums, plain reports are added up before (see `summed_use`).
    """

    def __init__(self, kinds: ViewTypes, look: Look) -> None:
        self.balances = balances = AccountReadModel()
        self._views: tuple[View, ...] = tuple(kind(balances, look) for kind in kinds)
        self._steps: Mapping[type[Event], tuple[Callable[[Any], None], ...]] = {
            cls: (
                *(MethodType(view.steps[cls], view) for view in self._views if cls in view.steps),
                *(MethodType(step, balances) for step in (AccountReadModel.STEPS.get(cls),) if step is not None),
            )
            for cls in CATALOG
        }
        """What is to be done with an event, by its class."""
        following = [view for view in self._views if UsageReported in view.steps]
        self._summing = None
        if all(SummedUse in view.steps for view in following):
            self._summing = Summing(
                balances,
                [MethodType(view.steps[SummedUse], view) for view in following],
                [view.is_alone for view in following if isinstance(view, TasksView)],
            )

    def fold(self, events: Sequence[Event]) -> None:
        """Follow the next events of the log."""
        steps, summing = self._steps, self._summing
        for event in events:
            if summing is not None:
                if type(event) is UsageReported and summing.take(event):
                    continue
                summing.flush()
            for step in steps[type(event)]:
                step(event)

    def changes(self, last: Event) -> dict[str, Changes]:
        """What differs in each view, by its name, since this was last asked; ``last`` is the newest event."""
        if self._summing is not None:
            self._summing.flush()
        return {view.name: view.changes(last) for view in self._views}

    def restore(self, rows: Mapping[str, Iterable[bytes]]) -> None:
        """Go on where the live rows of all views left off; asked once, before the first event."""
        for view in sorted(self._views, key=lambda view: isinstance(view, HoldsView)):  # holds are of accounts
            view.restore(rows.get(view.name, ()))
