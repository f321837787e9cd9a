"""Puts links into the alerts that are sent: to each recipient those that answer the alert, and that it may use."""

import datetime as dt
import logging
import os
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
import structlog

from tallystick.actors.policies.delivery import Send
from tallystick.approvals.links import LIFE, Link, address_of, key_of, text_of
from tallystick.approvals.orders import ANSWERS, ORDERS, words_of
from tallystick.config.amounts import COST, TOKENS
from tallystick.config.limits import DAILY, MEASURES, shown
from tallystick.config.outgoing import ApprovalLinks, NoSecret
from tallystick.delegation.identity import identity
from tallystick.events.catalog import LimitLine
from tallystick.events.log.reading import event_of
from tallystick.events.log.store import Store
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.outbox import Notice

_DAILY: Final = {"daily_tokens": TOKENS, "daily_cost": COST}
log = structlog.wrap_logger(logging.getLogger("tallystick.links"))


class LinkedAlerts:
    """Makes the links of a fleet's alerts, on the threads that send them. ``ledger`` is only looked at."""

    def __init__(self, store: Store, ledger: Ledger, environ: Mapping[str, str] = os.environ) -> None:
        self._store, self._ledger, self._environ = store, ledger, environ

    def prepare(self, send: Send) -> Notice:
        """The alert as its recipient gets it. Where its links cannot be made, it goes out without them."""
        try:
            return self._with_links(send)
        except Exception:
            log.exception("alert_without_links", alert=send.notice.alert)
            return send.notice

    def _with_links(self, send: Send) -> Notice:
        notice, links = send.notice, self._ledger.rules.config.approval_links
        if links is None or notice.code not in ANSWERS:
            return notice
        try:
            key = key_of(links, self._environ)
        except NoSecret as error:
            log.warning("alert_without_links", alert=notice.alert, reason=str(error))
            return notice
        lines = [
            f"{words_of(link)}: {address_of(links, text_of(link, key))}"
            for link in self._links(notice, send.owed[0], links)
        ]
        if not lines:
            return notice
        until = expiry_of(notice).strftime("%Y-%m-%d %H:%M:%SZ")
        text = "\n".join([notice.message, "", *lines, f"Each link works once, until {until}."])
        return msgspec.structs.replace(notice, message=text)

    def _links(self, notice: Notice, to: str, links: ApprovalLinks) -> Iterator[Link]:
        expires = int(expiry_of(notice).timestamp())
        for order in ANSWERS[notice.code]:
            if ORDERS[order].loosens and to not in links.may_loosen:
                continue
            link = Link(identity(self._store), notice.alert, order, to, expires, notice.agent)
            if order == "raise":
                raised = self._raise(notice, link, links.raise_percent)
                if raised is None:
                    continue
                link = raised
            yield link

    def _raise(self, notice: Notice, link: Link, percent: int) -> Link | None:
        """The limit of an alert, and its new maximum; None where there is no limit any more."""
        dimension = _DAILY.get(notice.code.rpartition("_")[0])
        if dimension is not None:
            units = self._ledger.day.limit_of(dimension)
            limit, value, measure = DAILY, None, MEASURES[dimension]
        else:
            line = self._line_before(notice)
            if line is None:
                return None
            units, limit, value, measure = line.max_units, line.limit_name, line.scope_value, line.measure
        if units is None:
            return None
        most = shown(MEASURES.index(measure), units + max(1, units * percent // 100))
        return msgspec.structs.replace(link, limit=limit, value=value or None, measure=measure, most=str(most))

    def _line_before(self, notice: Notice) -> LimitLine | None:
        """What the log says right before the alert of a limit: which limit it is, and of whom."""
        position = notice.alert.rpartition("-")[2]
        record = self._store.record(int(position) - 1) if position.isdigit() else None
        event = None if record is None else event_of(record)
        return event if isinstance(event, LimitLine) else None


def expiry_of(notice: Notice) -> dt.datetime:
    """Until when the links of an alert work."""
    return notice.at + LIFE
