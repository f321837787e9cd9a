"""What usage counts for: its product, model, agent type, agent and labels, as the views that break usage down share it.

An agent's model and a task's product are remembered in rows of the view that asks.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from tallystick.events import catalog as e
from tallystick.events.state.accounts import Account, Balances
from tallystick.events.state.money import Money
from tallystick.projections.views.summed_use import SummedUse
from tallystick.projections.views.view import Look, Row, encode

Use = e.UsageReported | e.HoldSettled


class ModelRow(msgspec.Struct, omit_defaults=True, tag_field="row", tag="model", gc=False):
    """What an open agent ran on last: a hold that is settled does not say."""

    agent: str
    model: str


class TaskRow(msgspec.Struct, omit_defaults=True, tag_field="row", tag="task", gc=False):
    """The product of a task: usage in its name counts there, also while no account of it is open."""

    task: str
    product: str


_decoder: msgspec.json.Decoder[ModelRow | TaskRow] = msgspec.json.Decoder(ModelRow | TaskRow)


Labels = tuple[tuple[str, str], ...]
"""Keys with their values, in the order of the keys."""


class Names(NamedTuple):
    """What one use counts for; None where that is not known."""

    agent: str
    product: str | None
    model: str | None
    type: str | None
    labels: Labels


class Sums:
    """What was used since this was last taken, in all and how often, by what it counts for.

    A view adds it to its rows when somebody looks at them: usage of the same kind comes many times in a row.
    """

    def __init__(self) -> None:
        self._sums: dict[Names, list[int]] = {}

    def add(self, names: Names, event: Use | SummedUse, reports: int = 1) -> None:
        found = self._sums.get(names)
        if found is None:
            self._sums[names] = [event.tokens, event.time_ms, event.cost_nanos, reports]
        else:
            found[0] += event.tokens
            found[1] += event.time_ms
            found[2] += event.cost_nanos
            found[3] += reports

    def take(self) -> list[tuple[Names, Money, int]]:
        """Names, what was used for them, and in how many records."""
        taken = [(names, (one[0], one[1], one[2]), one[3]) for names, one in self._sums.items()]
        self._sums.clear()
        return taken


class UsageNames:
    """Follows what is needed to name usage; ``rows`` are kept by the view of this name."""

    def __init__(self, view: str, balances: Balances, look: Look) -> None:
        self._view, self._balances, self._look = view, balances, look
        self._models: dict[str, str] = {}
        self._products: dict[str, str] = {}
        """Of tasks that were submitted since the rows were last taken."""
        self._rows: dict[str, Row | None] = {}
        self._before: dict[str, Names] = {}
        """Of open accounts, what the last use without labels counted for: most often it is so again."""

    def take(self) -> dict[str, Row | None]:
        """The rows that are new or different, or gone, since they were last taken."""
        rows, self._rows = self._rows, {}
        self._products.clear()
        return rows

    def restore(self, row: ModelRow) -> None:
        self._models[row.agent] = row.model

    # --- what usage counts for ----------------------------------------------------------------------------------------

    def of(self, event: Use) -> Names:
        """What a report, a settlement, or what an expiry books counts for; asked once, when it happens."""
        if isinstance(event, e.UsageReported):
            charged, model = event.account, event.model
            account = None if charged is None else self._balances.accounts.get(charged)
            if account is not None:
                if model is not None:
                    self._runs_on(event.agent, model)
                elif account.is_run:
                    # A run has one model, whether its reports say so or not.
                    model = self._models.get(event.agent)
            return self._names(event, account, model)
        account = self._balances.accounts.get(event.agent)
        if isinstance(event, e.HoldSpent):
            # What an expiry books counts for the model that it names.
            return self._names(event, account, event.model)
        if event.model is not None:
            self._runs_on(event.agent, event.model)
        return self._names(event, account, self._models.get(event.agent))

    def of_sum(self, use: SummedUse) -> Names:
        """What several reports of one agent count for."""
        if use.model is not None:
            self._runs_on(use.agent, use.model)
        return self._names(use, use.account, use.model)

    def corrected(self, event: e.UsageCorrected) -> Names:
        """What a correction counts for: the record's own labels, as of its hold's nothing is kept when it has ended."""
        product = self._product_corrected(event)
        return Names(event.agent, product, event.model, event.agent_type, _in_order(event.record.labels))

    def _names(self, event: Use | SummedUse, account: Account | None, model: str | None) -> Names:
        if account is None:
            kind, product = getattr(event, "agent_type", None), self._product_of(event)
        else:
            kind, product = account.agent_type, account.budget_product
            if event.hold is None and not event.labels:
                before = self._before.get(event.agent)
                if before is None or before.model != model or before.product != product or before.type != kind:
                    before = self._before[event.agent] = Names(event.agent, product, model, kind, ())
                return before
        return Names(event.agent, product, model, kind, self._labels_of(event))

    def _labels_of(self, event: Use | SummedUse) -> Labels:
        """Its own labels over those of its hold, while that stands."""
        hold = None if event.hold is None else self._balances.holds.get(event.hold)
        notes = None if hold is None else hold.notes
        of_hold = None if notes is None else notes.labels
        return _in_order({**of_hold, **(event.labels or {})} if of_hold else event.labels)

    def _product_corrected(self, event: e.UsageCorrected) -> str | None:
        """The product that a record was counted for: without an account, that of the task of its name goes first."""
        record = event.record
        if event.is_own or not isinstance(record, e.UsageReported) or (record.product, record.life) != (None, None):
            return event.product
        return self._products.get(record.agent) or self._kept_product(record.agent) or event.product

    def _product_of(self, event: Use | SummedUse) -> str | None:
        """Of usage without an open account, the product that it had, or that of the account that is charged for it."""
        if isinstance(event, e.UsageReported) and (event.product is not None or event.life is not None):
            return event.product
        task = self._products.get(event.agent) or self._kept_product(event.agent)
        if task is not None:
            return task
        charged = self._balances.accounts.get(getattr(event, "charged", None) or "")
        return None if charged is None else charged.budget_product

    def _kept_product(self, task: str) -> str | None:
        kept = self._look(self._view, id_of(TaskRow(task, "")))
        row = None if kept is None else _decoder.decode(kept)
        return row.product if isinstance(row, TaskRow) else None

    # --- what happens -------------------------------------------------------------------------------------------------

    def submitted(self, event: e.TaskSubmitted) -> None:
        row = TaskRow(event.task, event.product)
        self._products[event.task] = event.product
        self._rows[id_of(row)] = Row(encode(row), live=False)

    def started(self, event: e.TaskStarted) -> None:
        self._runs_on(event.task, event.model)

    def released(self, event: e.BudgetReleased) -> None:
        self._before.pop(event.agent, None)
        if self._models.pop(event.agent, None) is not None:
            self._rows[id_of(ModelRow(event.agent, ""))] = None

    def _runs_on(self, agent: str, model: str) -> None:
        if self._models.get(agent) != model:
            self._models[agent] = model
            row = ModelRow(agent, model)
            self._rows[id_of(row)] = Row(encode(row), live=True)


def _in_order(labels: Mapping[str, str] | None) -> Labels:
    return tuple(sorted(labels.items())) if labels else ()


def id_of(row: ModelRow | TaskRow) -> str:
    """The id of a row."""
    return f"model/{row.agent}" if isinstance(row, ModelRow) else f"task/{row.task}"
