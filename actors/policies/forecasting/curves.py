"""What is known at one moment of how far the runs of each kind go: those that ended, and those that are under way."""

from collections.abc import Mapping

from tallystick.actors.policies.forecasting.completion import Lengths
from tallystick.actors.policies.forecasting.final_usage import Finished
from tallystick.actors.policies.forecasting.runs import Run
from tallystick.config.amounts import DIMENSIONS
from tallystick.events.state.growth import NO_STEPS
from tallystick.events.state.history import History, Kind


class Curves:
    """Made by one look at all open runs; what it says of a kind is computed when it is asked for, once."""

    def __init__(self, history: History, runs: Mapping[str, Run]) -> None:
        self._history, self._runs = history, runs
        self._finished: dict[Kind, tuple[Finished, ...]] = {}
        self._lengths: dict[Kind, Lengths] = {}
        self._going: dict[Kind, list[Run]] = {}
        for run in runs.values():
            if run.growth != NO_STEPS:
                self._going.setdefault((run.account.agent_type, run.model), []).append(run)

    def finished(self, kind: Kind) -> tuple[Finished, ...]:
        """What runs of a kind use in all, by dimension."""
        found = self._finished.get(kind)
        if found is None:
            known, going = tuple(self._history.known(*kind).runs()), [run.account for run in self._still(kind)]
            found = self._finished[kind] = tuple(
                Finished.of(known, d, [account.consumed(d) - account.closed[d] for account in going])
                for d in DIMENSIONS
            )
        return found

    def lengths(self, kind: Kind) -> Lengths:
        """How many steps runs of a kind have."""
        found = self._lengths.get(kind)
        if found is None:
            going = [run.steps for run in self._still(kind)]
            found = self._lengths[kind] = Lengths(self._history.known(*kind).runs(), going)
        return found

    def _still(self, kind: Kind) -> list[Run]:
        """Those of the look that have not ended since."""
        return [run for run in self._going.get(kind, ()) if self._runs.get(run.account.id) is run]
