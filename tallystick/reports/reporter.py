"""Answers `GenerateReport`: from the views, once they have been brought up to the log."""

import datetime as dt
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Final

from tallystick.actors.runtime.messages import MANAGER, REPORTER, Answered, Post, Question
from tallystick.actors.runtime.pending import refused
from tallystick.events import messages as c
from tallystick.events.catalog import Event
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.codec import encode_answer
from tallystick.events.log.store import Store, StoreError, open_store
from tallystick.events.log.store_place import is_in_memory
from tallystick.events.state.ledger import Ledger
from tallystick.projections.reports.usage_report import UsageReport, report_of
from tallystick.projections.store.runner import catch_up, open_view_store
from tallystick.projections.store.view_store import MemoryViewStore, NotKept, ViewStore
from tallystick.reports.markdown import markdown
from tallystick.reports.together import expected_of

FAR_BEHIND: Final = 20_000
"""So many events are folded in passing. More of them would keep the interpreter from the manager: another process
does it."""


class Reported(UsageReport):
    """A report, and the same in Markdown for people."""

    markdown: str = ""


class Reporter:
    """Reads the log beside the manager, so that a large report delays no other message."""

    name = REPORTER
    follows: frozenset[type[Event]] = frozenset()

    def __init__(self, store: Store) -> None:
        self._store = store
        self._views: ViewStore | None = None

    def begin(self, ledger: Ledger) -> None:
        """Nothing is remembered: all that a report says is in the log."""

    def handle(self, message: Any, now: dt.datetime) -> Sequence[Post]:
        match message:
            case Question(command=c.GenerateReport(workflow=workflow)):
                return [Post(MANAGER, Answered(message, self._answer(workflow)))]
        raise TypeError(f"the reporter does not know {type(message).__name__}")

    def due_at(self) -> dt.datetime | None:
        return None

    def _answer(self, workflow: str) -> bytes:
        try:
            return encode_answer(self._report(workflow))
        except (StoreError, BrokenChain) as error:
            return refused("report_failed", f"the log could not be read: {error}")

    def _report(self, workflow: str) -> Reported:
        if is_in_memory(self._store.url):
            # What lies in this process's memory can be read by no other process.
            self._views = self._views or MemoryViewStore()
            catch_up(self._store, self._views)
            return _with_markdown(report_of(self._views, workflow, expected_of))
        store = open_store(self._store.url)
        try:
            return _with_markdown(self._from_kept(store, workflow))
        finally:
            store.close()

    def _from_kept(self, store: Store, workflow: str) -> UsageReport:
        views: ViewStore = MemoryViewStore()
        try:
            views = open_view_store(store.url)
            last = store.last()
            if last is not None and last.position - views.whole(()).position > FAR_BEHIND:
                _catch_up_elsewhere(store.url)
            catch_up(store, views)
        except NotKept:
            # The views cannot be written where they are kept: they are folded for this once.
            views = MemoryViewStore()
            catch_up(store, views)
        try:
            return report_of(views, workflow, expected_of)
        finally:
            views.close()


def _with_markdown(report: UsageReport) -> Reported:
    fields = {field: getattr(report, field) for field in report.__struct_fields__}
    return Reported(**fields, markdown=markdown(report))


def _catch_up_elsewhere(url: str) -> None:
    """Let another process do the work; should it fail, what is left is done here, and the error is met again."""
    code = (
        "import os; from tallystick.events.log.store import open_store;"
        " from tallystick.projections.store.runner import catch_up, open_view_store;"
        " url = os.environ['TALLYSTICK_STORE']; catch_up(open_store(url), open_view_store(url))"
    )
    subprocess.run(  # noqa: S603 - our own program
        # -P: no file of the folder in which the fleet was started is taken for a module.
        [sys.executable, "-P", "-c", code],
        check=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # Not an argument, which every user of the machine can read: a URL may have a password.
        env={**os.environ, "TALLYSTICK_STORE": url},
    )
