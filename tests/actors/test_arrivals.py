"""What arrives together: it is taken at one time, which is none before it came; and threads that wait for an answer."""

import datetime as dt
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from tallystick.actors.errors import Unanswered
from tallystick.actors.runtime.fleet import Fleet
from tallystick.actors.runtime.messages import Envelope
from tallystick.actors.runtime.pending import Pending, answer_with
from tallystick.config.loader import from_mapping
from tallystick.events.catalog import Event, UsageReported
from tallystick.events.messages import ReportUsage
from tests.support.asking import report
from tests.support.core import START
from tests.support.running import QUIET
from tests.support.stores import SECONDS, GatedStore

ANSWER = (b'{"ok":{}}',)


class CountingClock:
    """Each look at it is a millisecond later than the one before."""

    def __init__(self) -> None:
        self._looks = 0
        self._lock = threading.Lock()

    def now(self) -> dt.datetime:
        with self._lock:
            self._looks += 1
            return START + dt.timedelta(milliseconds=self._looks)


def test_what_waits_together_has_one_time_which_is_none_before_it_was_handed_in() -> None:
    clock, store, events = CountingClock(), GatedStore(), list[Event]()

    def follow(batch: Sequence[Event]) -> None:
        events.extend(event for event in batch if isinstance(event, UsageReported))

    with Fleet.open(store, from_mapping(QUIET), clock=clock, followers=[follow]) as fleet:
        store.shut()
        first = fleet.send(report())
        assert store.entered.wait(SECONDS)
        rest = [fleet.send(report()) for _ in range(50)]
        handed_in = clock.now()
        store.gate.set()
        for pending in (first, *rest):
            assert "ok" in pending.result(SECONDS)
        fleet.quiesce()
    assert len(events) == 51
    assert len({event.at for event in events[1:]}) == 1
    assert events[0].at < handed_in < events[1].at


def test_who_asks_for_an_answer_that_is_there_does_not_sleep() -> None:
    pending = Pending()
    pending.set(ANSWER)
    assert pending.result(0) == {"ok": {}}
    assert not pending._sleepers


def test_only_the_first_answer_counts_also_after_the_wait() -> None:
    pending = Pending()
    with pytest.raises(Unanswered):
        pending.result(0)
    pending.set(ANSWER)
    pending.set((b'{"error":{}}',))
    assert pending.result(0) == pending.result(0) == {"ok": {}}


def test_all_threads_that_wait_for_one_message_get_its_answer() -> None:
    pending = Pending()
    envelope = Envelope([ReportUsage()], [b""], "someone", pending)
    with ThreadPoolExecutor(8) as threads:
        waiting = [threads.submit(pending.result, SECONDS) for _ in range(8)]
        answer_with(envelope, *ANSWER)
        assert [one.result() for one in waiting] == [{"ok": {}}] * 8
    assert pending.result(0) == {"ok": {}}
