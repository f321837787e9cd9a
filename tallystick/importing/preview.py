"""What a fleet would make of reports, decided beside it: nothing is recorded, and no writer is needed."""

import datetime as dt
from typing import Any

from tallystick.config.amounts import InvalidAmount
from tallystick.config.loader import changed, named
from tallystick.config.prices import PriceList, load_prices
from tallystick.config.published import published_prices
from tallystick.config.settings import Config
from tallystick.events.catalog.event import EPOCH
from tallystick.events.decide import pricing
from tallystick.events.decide.occurred import AHEAD_MAX
from tallystick.events.decide.sources import is_larger
from tallystick.events.log.correction import with_facts
from tallystick.events.log.restoring import open_ledger
from tallystick.events.log.store import Store
from tallystick.events.messages import ReportUsage
from tallystick.events.messages import proposals as p
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.rules import Rules
from tallystick.importing.recorded import Recorded


class Preview:
    """Answers reports as the fleet of a store would, as far as an import asks; ``store`` is None for one that is not
    there yet, with the settings with which it would begin.
    """

    def __init__(self, store: Store | None, config: Config | None, prices: PriceList | None, now: dt.datetime) -> None:
        self._now = now
        self._ledger = None if store is None else open_ledger(store).ledger
        self._sources = None if store is None else Recorded(store)
        self._rules = _rules(self._ledger, config, prices, now)
        self.cost_nanos = 0
        """What would be recorded as new costs."""

    def close(self) -> None:
        """Let go of what was read; the store stays open."""
        if self._sources is not None:
            self._sources.close()

    def ask(self, reports: list[ReportUsage]) -> list[dict[str, Any]]:
        """The answers to reports, in their order."""
        return [self._answer(report) for report in reports]

    def _answer(self, report: ReportUsage) -> dict[str, Any]:
        at = report.occurred_at
        if at is not None and not EPOCH <= at <= self._now + AHEAD_MAX:
            return _refused("invalid_message", f"occurred_at: found {at.isoformat()}, allowed is up to now")
        try:
            priced = pricing.price(self._rules, report)
        except InvalidAmount as error:
            return _refused("invalid_amount", str(error))
        reply: dict[str, Any] = {"unpriced": priced.unpriced}
        known = self._known(report)
        if known is not None:
            reply |= {"repeats": known.record.position}
            reply |= {"recorded": is_larger(self._rules, report, known.record, known.last)}
            return {"ok": reply}
        self.cost_nanos += priced.cost_nanos or 0
        began = None if self._ledger is None else self._ledger.period_began_at
        return {"ok": {**reply, "history": at is not None and at < (began or self._now)}}

    def _known(self, report: ReportUsage) -> p.ApplySource | None:
        if self._ledger is None or self._sources is None:
            return None
        found = with_facts(report, self._ledger, self._sources.find, lambda *_: False, self._sources)
        return found if isinstance(found, p.ApplySource) else None


def _rules(ledger: Ledger | None, config: Config | None, prices: PriceList | None, now: dt.datetime) -> Rules:
    if ledger is not None and ledger.configured:
        loaded = ledger.rules.loaded if config is None else changed(ledger.rules.loaded, named(config))
        if config is None and prices is None:
            return ledger.rules
    else:
        loaded, prices = config or Config(), prices or load_prices(None)
    if prices is None:
        assert ledger is not None
        return Rules(loaded, ledger.rules.prices)
    return Rules(loaded, PriceList(prices.written, published_prices(now.date(), loaded.models.values())))


def _refused(code: str, detail: str) -> dict[str, Any]:
    return {"error": {"code": code, "detail": detail}}
