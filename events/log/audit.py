"""The audit: every record is proved from the first, and so is conservation of money. Nothing stored is trusted.

What a log alone can prove is that no record *inside* it was changed, removed, inserted or reordered. That its tail
was cut off, or that all of it was written anew with fresh digests, only an outside record can show: an anchor, or a
snapshot that is older than the cut.
"""

import datetime as dt
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, Self

from tallystick.events.catalog import Event, SnapshotRecorded
from tallystick.events.catalog.event import EPOCH
from tallystick.events.evolve import evolve
from tallystick.events.evolve.reports import evolve_all
from tallystick.events.log import snapshot
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.codec import GENESIS, begins_a_command, unseal
from tallystick.events.log.reading import event_of
from tallystick.events.log.store import Record, Row
from tallystick.events.log.store_segments import records_behind
from tallystick.events.log.whole_rows import whole
from tallystick.events.state.conservation import BrokenInvariant, check_conserved
from tallystick.events.state.ledger import Ledger

PROVED_EVERY = 100_000
"""Events between two full proofs of conservation; its cost grows with the fleet."""

_TOGETHER_MAX = 4_096
"""So many events of rows that were proved are applied in one go, or those of about so many bytes of rows."""
_TOGETHER_BYTES_MAX = 4 * 1024 * 1024

_ANCHOR = re.compile(r"\s*([1-9][0-9]{0,18}):([0-9a-fA-F]{64})(\s.*)?")
_UNFIT = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
"""What `evolve` may raise on an event that no decision led to."""


class Anchor(NamedTuple):
    """The digest at a position, kept outside of the log by an auditor; ``by`` says where."""

    position: int
    digest: bytes
    by: str = "an anchor"

    @classmethod
    def read(cls, text: str) -> Self:
        """An anchor from ``POSITION:DIGEST``, whatever follows behind a space.

        Raises:
            ValueError: it is not one.
        """
        match = _ANCHOR.fullmatch(text.rstrip("\r\n"))
        if match is None:
            raise ValueError("an anchor is POSITION:DIGEST, with a digest of 64 hex digits")
        return cls(int(match[1]), bytes.fromhex(match[2]))


_Heads = dict[object, bytes]


def link(record: Record, before: bytes, expected: int, heads: _Heads) -> bytes:
    """The digest of a record, once it is proved to be the one at position ``expected`` and to follow ``before``.

    ``heads`` are kept by the caller from record to record. What the record says is not read.

    Raises:
        BrokenChain: it is not the next one, or not what was written.
    """
    position, name, data = record
    if position != expected:
        raise BrokenChain(expected, f"the record is missing: the next one in the store is at position {position}")
    if type(data) is not bytes:
        raise BrokenChain(position, "the record is stored as text: it is not the bytes that were written")
    digest = unseal(data, before, expected)
    head = heads.get(name)
    if head is None:
        head = heads[name] = f'{{"type":"{name}"'.encode()
    if not data.startswith(head):
        raise BrokenChain(position, f"the record is stored as {name!r}, but names another type itself")
    return digest


class Chain:
    """Records as they are read, up to the first that does not follow the one before: ``broken`` says why."""

    __slots__ = ("broken", "digest", "position")

    def __init__(self) -> None:
        self.position, self.digest = 0, GENESIS
        self.broken: BrokenChain | None = None

    def proved(self, records: Iterable[Record]) -> Iterator[Record]:
        """The records that follow one another."""
        heads: _Heads = {}
        try:
            for record in records:
                self.digest = link(record, self.digest, self.position + 1, heads)
                self.position = record.position
                yield record
        except BrokenChain as error:
            self.broken = error


class Replay:
    """A log applied record by record to a state, each proved to follow the one before it."""

    __slots__ = ("_ahead", "_ahead_bytes", "_ahead_digest", "_heads", "digest", "ledger")

    def __init__(self, ledger: Ledger | None = None, digest: bytes = GENESIS) -> None:
        self.ledger = Ledger() if ledger is None else ledger
        self.digest = self._ahead_digest = digest
        self._ahead: list[Event] = []
        """What was proved and is still to be applied, and the digest that it leads to."""
        self._ahead_bytes = 0
        self._heads: _Heads = {}

    def follow(self, rows: Iterable[Row], upto: int | None = None) -> None:
        """Let the state follow the rows of a store from the next record on, as far as ``upto``. The first of them may
        begin before that.

        Raises:
            BrokenChain: a record is missing, is not what was written, or cannot have happened.
        """
        after, last = self.ledger.position, sys.maxsize if upto is None else upto
        try:
            for row in rows:
                if row.position > last or not self._takes(row):
                    self._catch_up()
                    for record in records_behind(row, self.ledger.position):
                        if after < record.position <= last:
                            self.apply(self.prove(record))
                after = 0  # where another row than the first begins before, the log is broken
        finally:
            self._catch_up()  # where this fails too, it is what is wrong with the log first

    def _takes(self, row: Row) -> bool:
        """Prove a row as a whole, if it can be; its events are applied together with those of other rows."""
        position, digest, now = self.ledger.position, self.digest, self.ledger.now
        if self._ahead:
            position, digest, now = self._ahead[-1].position, self._ahead_digest, self._ahead[-1].at
        found = whole(row, position, digest, now)
        if found is None:
            return False
        self._ahead += found.events
        self._ahead_digest = found.digests[-1]
        self._ahead_bytes += len(row.state)
        if len(self._ahead) >= _TOGETHER_MAX or self._ahead_bytes >= _TOGETHER_BYTES_MAX:
            self._catch_up()
        return True

    def _catch_up(self) -> None:
        """Let the state follow what was proved."""
        if not self._ahead:
            return
        events, self._ahead, self._ahead_bytes = self._ahead, [], 0
        try:
            evolve_all(self.ledger, events)
        except _UNFIT as error:
            raise _unfit(self.ledger.position + 1, error) from error
        self.digest = self._ahead_digest

    def prove(self, record: Record) -> Event:
        """The event of the next record.

        Raises:
            BrokenChain: it is not the next one, or not what was written.
        """
        position = record.position
        digest = link(record, self.digest, self.ledger.position + 1, self._heads)
        event = event_of(record)
        if event.position != position:
            raise BrokenChain(position, f"the record says that it is at position {event.position}")
        if event.at < self.ledger.now:
            raise BrokenChain(position, f"its time, {event.at}, is before that of the event before it")
        self.digest = digest
        return event

    def apply(self, event: Event) -> None:
        """Let the state follow a proved event.

        Raises:
            BrokenChain: it cannot have happened in this state.
        """
        try:
            evolve(self.ledger, event)
        except _UNFIT as error:
            raise _unfit(event.position, error) from error


def _unfit(position: int, error: Exception) -> BrokenChain:
    return BrokenChain(position, f"the event cannot have happened: {type(error).__name__} {error}")


def replay_until(records: Iterable[Record], time: dt.datetime | None = None) -> Replay:
    """The state after the last record, or after the last that is not later than ``time``.

    Raises:
        BrokenChain: a record on the way is not what was written.
    """
    replay = Replay()
    for record in records:
        digest = replay.digest
        event = replay.prove(record)
        if time is not None and event.at > time:
            replay.digest = digest
            break
        replay.apply(event)
    return replay


class Follower(Protocol):
    """What lets a state follow a log, and proves each record on the way."""

    replays: bool
    """The state is that of the log, and not only the position."""

    @property
    def ledger(self) -> Ledger:
        """The state: just behind the newest event, or further on where several events are followed together."""

    def follow(self, records: Iterable[Record]) -> Iterator[tuple[Event, bytes]]:
        """Each event and the digest of its record, once it is proved.

        Raises:
            BrokenChain: a record is not what was written, or cannot have happened.
        """


class Replaying:
    """Follows a log event by event, as it is recorded."""

    replays = True

    def __init__(self) -> None:
        self._replay = Replay()

    @property
    def ledger(self) -> Ledger:
        return self._replay.ledger

    def follow(self, records: Iterable[Record]) -> Iterator[tuple[Event, bytes]]:
        replay = self._replay
        for record in records:
            event = replay.prove(record)
            replay.apply(event)
            yield event, replay.digest


class Linking(Replaying):
    """Proves the chain, and that each record can be read; nothing is replayed."""

    replays = False

    def follow(self, records: Iterable[Record]) -> Iterator[tuple[Event, bytes]]:
        replay = self._replay
        for record in records:
            event = replay.prove(record)
            replay.ledger.position, replay.ledger.now = event.position, event.at
            yield event, replay.digest


class Checked(NamedTuple):
    """A stored snapshot, and what became of the comparison."""

    position: int
    verdict: str


class Report:
    """What an audit found. The log is sound where ``problems`` is empty."""

    def __init__(self) -> None:
        self.events = 0
        self.first_at = EPOCH
        self.last_at = EPOCH
        self.digest = GENESIS
        self.proofs = 0
        """How often conservation was proved in full."""
        self.snapshots: list[Checked] = []
        self.snapshots_recorded = 0
        """How many snapshots the log names; old ones are not kept."""
        self.agreeing: list[Anchor] = []
        """The anchors that say what the log says."""
        self.problems: list[BrokenChain] = []
        """What is wrong, with its position: in the log itself at most one, because all behind it is unproved."""


class Verification:
    """One audit: `take` the records in order, then `finish`."""

    def __init__(
        self,
        snapshots: Sequence[tuple[int, bytes]] = (),
        anchors: Sequence[Anchor] = (),
        follower: Follower | None = None,
    ) -> None:
        self.report = Report()
        self._follower: Follower = Replaying() if follower is None else follower
        self._snapshots = dict(snapshots) if self._follower.replays else {}
        self._anchors: dict[int, list[Anchor]] = {}
        for anchor in anchors:
            self._anchors.setdefault(anchor.position, []).append(anchor)
        self._landmarks = self._anchors.keys() | self._snapshots.keys()
        self._equal: dict[int, bool] = {}
        self._vouched: dict[int, str] = {}

    def run(self, records: Iterable[Record]) -> Report:
        """Prove every record, conservation, the snapshots and the anchors."""
        report, landmarks = self.report, self._landmarks
        try:
            for event, digest in self._follower.follow(self._checked_between(records)):
                report.events, report.last_at, report.digest = event.position, event.at, digest
                if type(event) is SnapshotRecorded:
                    self._vouched[event.upto] = event.sha256
                if event.position in landmarks:
                    self._compare(event.position)
                if event.position == 1:
                    report.first_at = event.at
            self._check_conservation()
        except BrokenChain as error:
            report.problems.append(error)
        if not report.problems:
            self._check_the_end()
            self._judge_snapshots()
        return report

    def _checked_between(self, records: Iterable[Record]) -> Iterator[Record]:
        """The records; conservation is proved now and then before one that begins a command.

        Sums are right after a command; within one, money may be on its way up or down a deep tree.
        """
        proved_at = 0
        for record in records:
            if record.position - proved_at > PROVED_EVERY and begins_a_command(record.data):
                self._check_conservation()
                proved_at = record.position
            yield record

    def _check_conservation(self) -> None:
        if not self._follower.replays:
            return
        ledger = self._follower.ledger
        try:
            check_conserved(ledger)
        except BrokenInvariant as error:
            raise BrokenChain(ledger.position, f"the sums are wrong at or before this position: {error}") from error
        self.report.proofs += 1

    def _compare(self, position: int) -> None:
        """Hold the state at a landmark against the anchors and the snapshot that were made there."""
        for anchor in self._anchors.get(position, ()):
            if anchor.digest != self.report.digest:
                reason = (
                    f"{anchor.by} has another digest for it: the log was rewritten at or before this position,"
                    f" or {anchor.by} was"
                )
                raise BrokenChain(position, reason)
            self.report.agreeing.append(anchor)
        if position in self._snapshots:
            ledger = self._follower.ledger
            # A snapshot is taken between two commands, never in the middle of one.
            is_there = ledger.position == position
            self._equal[position] = is_there and snapshot.dump(ledger) == snapshot.unpacked(self._snapshots[position])

    def _check_the_end(self) -> None:
        """An anchor or a snapshot from behind the end shows that there was more."""
        end = self.report.events
        behind = [(position, f"{anchors[0].by} is") for position, anchors in self._anchors.items() if position > end]
        behind += [(position, "a snapshot is") for position in self._snapshots if position > end]
        if behind:
            position, what = max(behind)
            reason = f"the log ends at position {end}, and {what} from position {position}: its tail was cut off"
            self.report.problems.append(BrokenChain(end + 1, reason))

    def _judge_snapshots(self) -> None:
        report = self.report
        report.snapshots_recorded = len(self._vouched)
        for position, equal in sorted(self._equal.items()):
            vouched = self._vouched.get(position)
            genuine = vouched == snapshot.fingerprint(self._snapshots[position])
            if equal and genuine:
                verdict = "equals the replay"
            elif equal and vouched is None:
                verdict = "equals the replay, but its hash is not in the log: it is ignored when the fleet is opened"
            elif genuine and snapshot.is_foreign(self._snapshots[position]):
                verdict = "was written in another format: it is ignored when the fleet is opened, and was not compared"
            else:
                verdict = (
                    "is vouched for by the log, but is not what a replay adds up to"
                    if genuine
                    else "was changed: it is ignored when the fleet is opened, and can be deleted"
                )
                report.problems.append(BrokenChain(position, f"the snapshot {verdict}"))
            report.snapshots.append(Checked(position, verdict))
