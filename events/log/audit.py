"""The audit: every record is proved from the first, and so is conservation of money. Nothing stored is trusted.

What a log alone can prove is that no record *inside* it was changed, removed, inserted or reordered. That its tail
was cut off, or that all of it was written anew with fresh digests, only an outside record can show: an anchor, or a
snapshot that is older than the cut.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, Self

from tallystick.events.catalog import Event, SnapshotRecorded
from tallystick.events.catalog.event import EPOCH
from tallystick.events.log import snapshot
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.codec import GENESIS, begins_a_command
from tallystick.events.log.replaying import Replay
from tallystick.events.log.store import Record
from tallystick.events.state.conservation import BrokenInvariant, check_conserved
from tallystick.events.state.ledger import Ledger

PROVED_EVERY = 100_000
"""Events between two full proofs of conservation; its cost grows with the fleet."""

_ANCHOR = re.compile(r"\s*([1-9][0-9]{0,18}):([0-9a-fA-F]{64})(\s.*)?")


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
