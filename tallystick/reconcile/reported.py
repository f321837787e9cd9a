"""What agents have reported, as it counts now, out of a log: into the books, for a bill to be laid beside it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from tallystick.config.price import Tokens
from tallystick.events import catalog as e
from tallystick.events.catalog import STORED_NAME
from tallystick.events.catalog.usage import tokens_of
from tallystick.events.log.reading import event_of
from tallystick.events.log.store import Record
from tallystick.reconcile.billed import Parts
from tallystick.reconcile.books import Books, Reported, ms_of

KEY_LABELS: Final = ("key", "api_key", "api_key_id")
"""The labels of usage that may name the provider's key, the first that is there."""
ITEM_LABEL: Final = "billed_item"
"""The label that says what was booked, where it is no model's tokens."""
_FOLLOWED: Final = (
    e.UsageReported, e.HoldSettled, e.HoldSpent, e.UsageCorrected, e.HoldPlaced, e.HoldEnded, e.TaskStarted,
    e.BillReconciled,
)  # fmt: skip
_NAMES: Final = frozenset(STORED_NAME[kind] for kind in _FOLLOWED)
_Record = e.UsageReported | e.HoldSettled
OneName = Callable[[str], str]


class ReportedUsage:
    """Follows a log, and puts what counts of each report and settlement into the books.

    ``reconciled`` are the reconciliations that the log knows.
    """

    def __init__(self, books: Books, one_name: OneName) -> None:
        self._books, self._one_name = books, one_name
        self.reconciled: list[e.BillReconciled] = []
        self._models: dict[str, str] = {}
        """By agent or run, the model that it ran on last: what a settlement does not name."""
        self._holds: dict[str, tuple[str | None, Mapping[str, str]]] = {}
        """By open hold, its model and its labels."""

    def read(self, records: Iterable[Record]) -> None:
        """All records of a log, in its order.

        Raises:
            BrokenChain: one cannot be read.
        """
        self._books.run("BEGIN")
        for event in _events(records):
            match event:
                case e.UsageCorrected():
                    self._correct(event)
                case e.UsageReported() | e.HoldSettled():
                    self._put(event)
                case e.HoldPlaced():
                    self._holds[event.hold] = (event.model, event.labels or {})
                case e.HoldEnded():
                    self._holds.pop(event.hold, None)
                case e.TaskStarted():
                    self._models[event.task] = event.model
                case e.BillReconciled():
                    self.reconciled.append(event)
        self._books.run("COMMIT")

    def _put(self, event: _Record) -> None:
        model, labels = self._named(event)
        self._books.put_reported(
            Reported(
                event.position,
                ms_of(event.used_at),
                event.agent,
                None if model is None else self._one_name(model),
                _key_of(labels),
                event.source_id,
                parts_of(tokens_of(event)),
                event.cost_nanos,
                fixed=_fixed(event),
                split=_is_split(event),
                item=labels.get(ITEM_LABEL),
            )
        )

    def _named(self, event: _Record) -> tuple[str | None, Mapping[str, str]]:
        """The model and the labels that a record counts for: its own before those of its hold, or of its agent."""
        hold = event.hold
        model, labels = (None, {}) if hold is None else self._holds.get(hold, (None, {}))
        if hold is not None and not event.partial:
            self._holds.pop(hold, None)
        model = event.model or model
        if model is None and (isinstance(event, e.HoldSettled) or event.lease is not None):
            model = self._models.get(event.agent)
        if model is not None:
            self._models[event.agent] = model
        return model, {**labels, **(event.labels or {})}

    def _correct(self, event: e.UsageCorrected) -> None:
        record, counts = event.record, event.counts
        row = self._books.file.execute(
            "SELECT at, agent, model, key, source, item FROM reported WHERE position = ?", (record.position,)
        ).fetchone()
        at, agent, model, key, source, item = row or (ms_of(record.used_at), record.agent, *[None] * 4)
        named = event.model_after or counts.model
        self._books.put_reported(
            Reported(
                record.position,
                at,
                agent,
                model if named is None else self._one_name(named),
                key,
                event.source_id or source,
                parts_of(tokens_of(counts)),
                counts.cost_nanos,
                last=event.position,
                fixed=_fixed(record),
                split=_is_split(counts),
                item=item,
            )
        )


def parts_of(tokens: Tokens) -> Parts:
    """Tokens in parts that do not overlap."""
    cached = min(tokens.cached, tokens.input)
    written = min(tokens.cache_write, tokens.input - cached)
    return Parts(tokens.input - cached - written, cached, written, tokens.output)


def _events(records: Iterable[Record]) -> Iterator[e.Event]:
    for record in records:
        if record.name in _NAMES:
            yield event_of(record)


def _is_split(said: Any) -> bool:
    return said.input_tokens is not None or said.output_tokens is not None


def _key_of(labels: Mapping[str, str]) -> str | None:
    return next((labels[name] for name in KEY_LABELS if name in labels), None)


def _fixed(event: _Record) -> str | None:
    """Why no correction of a record is possible (as `events.decide.corrections` says)."""
    if event.overdrawn is not None:
        return "it was charged to the fleet, beyond an overdraft_max"
    if isinstance(event, e.UsageReported) and event.child_upto:
        return "it is what a child fleet has used: correct it there"
    return None
