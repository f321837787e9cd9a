"""Sends the events of a log to one webhook, on a thread of its own: in order, at least once, and never in the way.

What was accepted is kept (`progress`), and the log has the rest: a receiver that is away for days loses nothing, and
nothing waits in memory. An event that the receiver refuses is passed over once it has accepted one behind it; where it
accepts none, the receiver is at fault, and everything waits.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

import msgspec
import structlog
import tenacity

from tallystick.actors.runtime.log_feed import LogFeed
from tallystick.config.outgoing import Webhook
from tallystick.events.decide.webhook_kinds import kind_of
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.store import Record, Store, StoreError
from tallystick.webhooks.beginning import beginning_of
from tallystick.webhooks.cloudevents import BATCH, SINGLE, body_of, id_of, mark_of
from tallystick.webhooks.progress import Kept, Progress
from tallystick.webhooks.sending import Away, Connection, Refused

PAGE: Final = 500
"""Records that are read at a time."""
PAGE_BYTES: Final = 1024 * 1024
BODY_BYTES: Final = 256 * 1024
"""Of records in one request; a single larger one is sent by itself."""
PACE_SECONDS: Final = 0.05
"""Least time between two requests while there is no backlog: what comes in between is sent together."""
WAIT_FIRST, WAIT_MAX = 1.0, 300.0
"""Seconds between attempts while nothing is accepted: doubled each time, and spread."""
REFUSALS: Final = 5
"""How often an event that was refused is sent before one behind it is tried."""
SUSPECTS_MAX: Final = 20
"""How many events in a row may be refused before the receiver is at fault, and not what was sent."""
log = structlog.wrap_logger(logging.getLogger("tallystick.webhooks"))


class _Again(Exception):
    """Begin again behind what was accepted."""


class _Ended(Exception):
    """Nothing more is to be sent."""


class Source(NamedTuple):
    """A fleet whose events are sent. ``ended``: whether it runs here no more, and another process may have it."""

    store: Store
    records: LogFeed
    name: str
    """The source that its events name."""
    ended: Callable[[], bool]


class Forwarder:
    """One webhook. ``pause`` waits so many seconds, or until it is to end; ``now`` is in seconds since 1970.

    ``before`` is the one whose place this takes, where the webhook was configured otherwise. ``came_at`` is
    the position of the event by which it came into force, where that is known.
    """

    def __init__(
        self,
        name: str,
        hook: Webhook,
        networks: tuple[str, ...],
        source: Source,
        kept: Kept,
        before: "Forwarder | None" = None,
        came_at: int | None = None,
        *,
        pause: Callable[[float], object] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.name, self.hook, self.networks = name, hook, networks
        self.progress = Progress()
        self.accepted = 0
        """Events that were accepted since this began."""
        self.failures = 0
        """Requests that were not accepted."""
        self._has_news, self._is_at_work = False, True
        """Of a record that was committed, one of both says so until it is sent: the first is taken back behind the
        other, and asked before it.
        """
        self._source, self._kept, self._before, self._now = source, kept, before, now
        self._came_at = came_at
        self._closing, self._news = threading.Event(), threading.Event()
        self.removed: threading.Event = threading.Event() if before is None or before.is_removed else before.removed
        """Shared with those whose place was taken and who may still send: the webhook is the same."""
        self._pause = pause or self._closing.wait
        self._connection = Connection(hook, networks)
        self._kinds = frozenset(hook.kinds)
        self._ends_before: int | None = None
        """Where another took its place: the event from which on that one sends."""
        self._read, self._mark = 0, ""
        self._suspects: list[Record] = []
        """Events in a row that were refused, and none behind them was accepted yet."""
        self._retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Away), wait=_Waits(), sleep=self._rest, reraise=True
        )
        self._thread = threading.Thread(target=self._run, name=f"webhook-{name}", daemon=True)

    def begin(self) -> None:
        """Send from now on."""
        self._source.records.follow(self._follow)
        self._thread.start()

    def end(self, before: int | None = None) -> None:
        """Try once what is left, or what of it is before this position, and then end; without waiting for that."""
        self._ends_before = before
        self._closing.set()
        self._news.set()

    def remove(self) -> None:
        """End; where the webhook is configured again later, it begins anew."""
        self.removed.set()
        self.end()

    @property
    def is_removed(self) -> bool:
        """Whether its webhook is not configured any more."""
        return self.removed.is_set()

    @property
    def is_behind(self) -> bool:
        """Whether something may be left to send."""
        return self._has_news or self._is_at_work

    def join(self, seconds: float | None = None) -> bool:
        """Wait until it has ended; whether it has."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _follow(self, _: Sequence[Record]) -> None:
        """In the manager's turn."""
        self._has_news = True
        if not self._news.is_set():
            self._news.set()

    # --- in the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        if self._before is not None:
            self._before.join()
            self._before = None
        attempt = 0
        while not self._source.ended():
            try:
                self._begin()
                attempt = 0
                self._go_on()
            except _Again:
                continue
            except _Ended:
                break
            except Exception as error:
                if not isinstance(error, BrokenChain | StoreError):
                    log.exception("webhook_failed", webhook=self.name)
                attempt += 1
                self._note(str(error))
                if self._closing.is_set():
                    break
                self._pause(min(WAIT_FIRST * 2 ** min(attempt, 10), WAIT_MAX))
        self._source.records.unfollow(self._follow)
        self._connection.close()
        if self.is_removed:
            with contextlib.suppress(StoreError):
                self._kept.drop(self.name)

    def _begin(self) -> None:
        """Go on behind what was accepted, by this process or another."""
        kept = self._kept.load().get(self.name)
        if kept is not None and not self._is_of_this_log(kept):
            log.warning("webhook_begins_again", webhook=self.name, position=kept.position, reason="it is another log")
            self._kept.drop(self.name)
            kept = None
        if kept is None:
            came_at = self._came_at or beginning_of(self.name, self._source.store)
            kept = Progress(max(0, came_at - 1))
        self.progress = kept
        self._read, self._mark, self._suspects = self.progress.position, self.progress.mark, []

    def _is_of_this_log(self, kept: Progress) -> bool:
        """Whether the log has what was accepted: a copy that was restored may not."""
        if not kept.mark:
            return True
        found = self._source.store.record(kept.position)
        return found is not None and mark_of(found) == kept.mark

    def _go_on(self) -> None:
        while True:
            self._is_at_work = True
            self._news.clear()
            self._has_news = False
            records = self._source.records.page(self._read, PAGE, PAGE_BYTES)
            if (end := self._ends_before) is not None:
                records = [one for one in records if one.position < end]
            if records:
                self._take(records)
                if len(records) < PAGE:
                    self._pause(PACE_SECONDS)
                continue
            self._is_at_work = bool(self._suspects)
            if self._closing.is_set():
                self._keep_read()
                raise _Ended
            if not self._news.wait(WAIT_MAX if self._suspects else None):
                raise _Again

    def _take(self, records: Sequence[Record]) -> None:
        """Send what is selected of a page, in order: what is refused together is sent in halves."""
        parts = self._parts(one for one in records if not self._kinds or kind_of(one.name) in self._kinds)[::-1]
        while parts:
            part = parts.pop()
            if self._suspects:
                parts, part = [*parts, part[1:]] if part[1:] else parts, part[:1]
                self._try_suspects()
            try:
                self._send(part)
            except Refused as refusal:
                if len(part) > 1:
                    middle = len(part) // 2
                    parts += [part[middle:], part[:middle]]
                else:
                    self._suspect(part[0], str(refusal))
            else:
                self._accept(part)
        self._read, self._mark = records[-1].position, mark_of(records[-1])
        if self._read - self.progress.position >= PAGE:
            self._keep_read()

    def _parts(self, records: Iterable[Record]) -> list[list[Record]]:
        """What goes into one request each."""
        parts: list[list[Record]] = []
        size = 0
        for record in records:
            if not parts or len(parts[-1]) >= self.hook.batch_max or size + len(record.data) > BODY_BYTES:
                parts.append([])
                size = 0
            parts[-1].append(record)
            size += len(record.data)
        return parts

    # --- requests -----------------------------------------------------------------------------------------------------

    def _send(self, part: Sequence[Record]) -> None:
        """Send until it is accepted. A single event that is refused is tried a few times, as receivers are restarted.

        Raises:
            Refused: the receiver is there, and does not accept it.
            _Ended: it is to end, and the receiver has not accepted it.
        """
        batch = self.hook.batch_max > 1
        body, id = body_of(part, self._source.name, batch=batch), _message_id(part)
        most = 1 if len(part) > 1 or self._suspects else REFUSALS
        for refusals in range(1, most + 1):
            try:
                self._retrying(self._try, id, body, BATCH if batch else SINGLE)
            except Refused as refusal:
                if refusals == most:
                    raise
                self._note(str(refusal))
                self._rest(WAIT_FIRST * 2 ** (refusals - 1))
            else:
                return

    def _try(self, id: str, body: bytes, content_type: str) -> None:
        if self._source.ended() or self.is_removed:
            raise _Ended
        try:
            self._connection.send(id, int(self._now()), body, content_type)
        except (Away, Refused) as problem:
            self.failures += 1
            if isinstance(problem, Away):
                self._note(str(problem))
            raise

    def _rest(self, seconds: float) -> None:
        self._pause(seconds)
        if self._closing.is_set():
            raise _Ended

    def _accept(self, part: Sequence[Record]) -> None:
        """The receiver has accepted a part; what it refuses before that and after is passed over."""
        self.accepted += len(part)
        passed = [record.position for record in self._suspects if not self._is_accepted(record)]
        if passed:
            log.error("webhook_passed_over", webhook=self.name, positions=passed, reason=self.progress.problem)
        elif self.progress.problem is not None:
            log.info("webhook_accepts_again", webhook=self.name)
        self._suspects = []
        count, last = self.progress.passed_over + len(passed), passed[-1] if passed else self.progress.last_passed
        self._keep(Progress(part[-1].position, mark_of(part[-1]), count, last))

    def _suspect(self, record: Record, problem: str) -> None:
        """An event was refused: it, or the receiver, is at fault. The next will tell, sent right behind it."""
        self._note(f"event {record.position} was refused: {problem}")
        self._suspects.append(record)
        if len(self._suspects) >= SUSPECTS_MAX:
            self._note(f"{SUSPECTS_MAX} events in a row were refused, from {self._suspects[0].position} on: {problem}")
            self._rest(WAIT_MAX)
            raise _Again

    def _try_suspects(self) -> None:
        """Send again what was refused, before what follows it: so a receiver that accepts all again misses nothing."""
        self._rest(WAIT_FIRST * 2 ** min(len(self._suspects), 6))
        for place, record in enumerate(self._suspects):
            if self._is_accepted(record):
                self._suspects = self._suspects[:place]
                self._accept([record])
                raise _Again

    def _is_accepted(self, record: Record) -> bool:
        """Whether the receiver accepts what it has refused before."""
        try:
            self._send([record])
        except Refused:
            return False
        return True

    # --- how it stands ------------------------------------------------------------------------------------------------

    def _note(self, problem: str) -> None:
        """Say why nothing is accepted, where it was another reason before."""
        if problem != self.progress.problem:
            log.warning("webhook_problem", webhook=self.name, position=self.progress.position, reason=problem)
            self._keep(msgspec.structs.replace(self.progress, problem=problem))

    def _keep_read(self) -> None:
        """What was read is done, also what is not selected; unless something of it was refused."""
        if not self._suspects and self._read > self.progress.position:
            self._keep(msgspec.structs.replace(self.progress, position=self._read, mark=self._mark))

    def _keep(self, progress: Progress) -> None:
        """Where it cannot be kept, more is sent again after a restart, and nothing is lost."""
        self.progress = progress
        try:
            self._kept.keep(self.name, progress)
        except StoreError as error:
            log.warning("webhook_not_kept", webhook=self.name, reason=str(error))


class _Waits:
    """How long to wait after an attempt: doubled each time and spread, and at least as long as the receiver asks."""

    def __init__(self) -> None:
        self._doubled = tenacity.wait_exponential_jitter(WAIT_FIRST, WAIT_MAX)

    def __call__(self, state: tenacity.RetryCallState) -> float:
        assert state.outcome is not None, "it is asked after an attempt"
        problem = state.outcome.exception()
        return max(self._doubled(state), problem.seconds if isinstance(problem, Away) else 0.0)


def _message_id(part: Sequence[Record]) -> str:
    """The id of a message: the same when the same events are sent again, also by the next process."""
    first, last = id_of(part[0]), id_of(part[-1])
    return first if len(part) == 1 else f"{first}_{last}"
