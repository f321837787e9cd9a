"""What is known at one moment of how far the runs of each kind go: those that ended, and those that are under way."""

from collections.abc import Mapping

from tallystick.actors.policies.forecasting.completion import Lengths
from tallystick.actors.policies.forecasting.final_usage import Finished
from tallystick.actors.policies.forecasting.runs import Run
from tallystick.config.amounts import DIMENSIONS
from tallystick.events.state.accounts import Account
from tallystick.events.state.history import History, Kind


class Curves:
    """Made by one look at all open runs; what it says of a kind is computed when it is asked for, and kept."""

    def __init__(self, history: History, accounts: Mapping[str, Account], runs: Mapping[str, Run]) -> None:
        self._history, self._runs = history, runs
        self._finished: dict[Kind, tuple[Finished, ...]] = {}
        self._lengths: dict[Kind, Lengths] = {}
        self._going: dict[Kind, list[tuple[Account, Run]]] = {}
        for name, run in runs.items():
            account = accounts.get(name)
            if account is not None:
                self._going.setdefault((account.agent_type, run.model), []).append((account, run))

    def finished(self, kind: Kind) -> tuple[Finished, ...]:
        """What runs of a kind use in all, by dimension."""
        found = self._finished.get(kind)
        if found is None:
            known, going = tuple(self._history.known(*kind).runs()), [account for account, _ in self._still(kind)]
            found = self._finished[kind] = tuple(
                Finished.of(known, d, [account.consumed(d) - account.closed[d] for account in going])
                for d in DIMENSIONS
            )
        return found

    def lengths(self, kind: Kind) -> Lengths:
        """How many steps runs of a kind have."""
        found = self._lengths.get(kind)
        if found is None:
            going = [run.steps for _, run in self._still(kind)]
            found = self._lengths[kind] = Lengths(self._history.known(*kind).runs(), going)
        return found

    def forget(self, kind: Kind) -> None:
        """Another run of a kind has ended: what is said of it next counts that."""
        self._finished.pop(kind, None)
        self._lengths.pop(kind, None)

    def _still(self, kind: Kind) -> list[tuple[Account, Run]]:
        """Those of the look that have not ended since."""
        return [(account, run) for account, run in self._going.get(kind, ()) if self._runs.get(account.id) is run]
