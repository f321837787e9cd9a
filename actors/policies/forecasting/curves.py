"""What is known at one moment of how far the runs of each kind go: those that ended, and those that are under way."""

from collections.abc import Mapping, Sequence

from tallystick.actors.policies.forecasting.completion import Lengths
from tallystick.actors.policies.forecasting.final_usage import Finished
from tallystick.actors.policies.forecasting.runs import Run
from tallystick.config.amounts import DIMENSIONS
from tallystick.events.state.history import History, Kind
from tallystick.events.state.history import Run as Past


class Curves:
    """Made by one look at all open runs; what it says of a kind is computed when it is asked for, and kept."""

    def __init__(self, history: History, runs: Mapping[str, Run]) -> None:
        self._history, self._runs = history, runs
        self._newest: dict[Kind, Past | None] = {}
        """By kind, the newest run that is counted of those that are over."""
        self._finished: dict[Kind, tuple[Finished, ...]] = {}
        self._lengths: dict[Kind, Lengths] = {}
        self._going: dict[Kind, list[Run]] = {}
        for run in runs.values():
            self._going.setdefault((run.account.agent_type, run.model), []).append(run)

    def finished(self, kind: Kind) -> tuple[Finished, ...]:
        """What runs of a kind use in all, by dimension."""
        known = self._over(kind)
        found = self._finished.get(kind)
        if found is None:
            going = [run.account for run in self._still(kind)]
            found = self._finished[kind] = tuple(
                Finished.of(known, d, [account.consumed(d) - account.closed[d] for account in going])
                for d in DIMENSIONS
            )
        return found

    def lengths(self, kind: Kind) -> Lengths:
        """How many steps runs of a kind have."""
        known = self._over(kind)
        found = self._lengths.get(kind)
        if found is None:
            found = self._lengths[kind] = Lengths(known, [run.steps for run in self._still(kind)])
        return found

    def _over(self, kind: Kind) -> Sequence[Past]:
        """The runs that are over; where another one is since the last time, what was said of the kind is forgotten."""
        known = self._history.known(*kind).runs()
        newest = known[-1] if known else None
        if newest is not self._newest.get(kind):
            self._newest[kind] = newest
            self._finished.pop(kind, None)
            self._lengths.pop(kind, None)
        return known

    def _still(self, kind: Kind) -> list[Run]:
        """Those of the look that have not ended since."""
        return [run for run in self._going.get(kind, ()) if self._runs.get(run.account.id) is run]
