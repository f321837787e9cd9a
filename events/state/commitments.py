"""What running tasks may still use: the unspent rest of each one's token budget, kept as it shrinks.

A hold of a run is a part of its rest, not more: what it has set aside is counted where holds are. All sums are kept
beside the runs, so that a question costs the same however many run.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from tallystick.config.amounts import COST, TOKENS
from tallystick.events.state.money import Money


class Commitment:
    """One run: its budget in tokens, what it and all below it have used and set aside.

    ``held`` are tokens and nano-dollars; ``held_priced`` are the tokens of holds that name a cost too.
    """

    __slots__ = ("budget", "held", "held_cost", "held_priced", "model", "product", "spent")

    def __init__(self, product: str, model: str, budget: int) -> None:
        self.product = product
        self.model = model
        self.budget = budget
        self.spent = 0
        self.held = 0
        self.held_priced = 0
        self.held_cost = 0

    @property
    def open(self) -> int:
        """Tokens that it may still use, and that no hold counts."""
        return max(0, self.budget - self.spent - self.held)

    @property
    def unpriced(self) -> int:
        """Tokens that it may still use, and whose cost no hold counts."""
        return max(0, self.budget - self.spent - self.held_priced)


class Commitments:
    """Those of all runs, by task."""

    def __init__(self) -> None:
        self.runs: dict[str, Commitment] = {}
        self.open = 0
        """Tokens that runs may still use beside what is held."""
        self.by_product: Counter[str] = Counter()
        """The same, by product."""
        self.by_model: Counter[str] = Counter()
        """Tokens whose cost is still to come, by the model that they run on."""

    def start(self, task: str, product: str, model: str, budget: int) -> None:
        """A run begins."""
        commitment = self.runs[task] = Commitment(product, model, budget)
        self._count(commitment, 1)

    def end(self, task: str) -> None:
        """A run is over."""
        self._count(self.runs.pop(task), -1)

    def spend(self, task: str, tokens: int) -> None:
        """A run, or an agent below it, has used tokens."""
        commitment = self.runs.get(task)
        if commitment is not None and tokens:
            self._count(commitment, -1)
            commitment.spent += tokens
            self._count(commitment, 1)

    def hold(self, task: str, amount: Money, sign: int) -> None:
        """A run, or an agent below it, sets an amount aside, or with a negative ``sign`` no longer does."""
        commitment = self.runs.get(task)
        if commitment is not None:
            self._count(commitment, -1)
            commitment.held += sign * amount[TOKENS]
            commitment.held_cost += sign * amount[COST]
            if amount[COST]:
                commitment.held_priced += sign * amount[TOKENS]
            self._count(commitment, 1)

    def _count(self, commitment: Commitment, sign: int) -> None:
        tokens, unpriced = sign * commitment.open, sign * commitment.unpriced
        self.open += tokens
        for counter, name, units in (
            (self.by_product, commitment.product, tokens),
            (self.by_model, commitment.model, unpriced),
        ):
            if units:
                counter[name] += units
                if not counter[name]:
                    del counter[name]

    def wrong(self, running: set[str]) -> Iterator[str]:
        """What of the sums is not as the runs say; ``running`` are the tasks that run."""
        if running != set(self.runs):
            yield f"{sorted(self.runs)} have commitments, {sorted(running)} run"
        if (tokens := sum(commitment.open for commitment in self.runs.values())) != self.open:
            yield f"{self.open} tokens are said to be committed, the runs say {tokens}"
        sums: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        for commitment in self.runs.values():
            sums[0][commitment.product] += commitment.open
            sums[1][commitment.model] += commitment.unpriced
        if (+sums[0], +sums[1]) != (self.by_product, self.by_model):
            yield "commitments by product and model differ from those of the runs"

    # --- the snapshot -------------------------------------------------------------------------------------------------

    def dump(self) -> list[Any]:
        """What each run has used; its budget stands with its task, and holds are found again."""
        return [[task, commitment.spent] for task, commitment in self.runs.items()]
