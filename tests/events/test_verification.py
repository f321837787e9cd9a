"""The verification of a log: what cannot have happened, sums, times, anchors and snapshots."""

from hashlib import sha256

from tallystick.config.amounts import Amounts
from tallystick.events import catalog as e
from tallystick.events.evolve import evolve
from tallystick.events.log.audit import Anchor, Verification
from tallystick.events.log.codec import GENESIS, digest_of, seal
from tallystick.events.log.replaying import replay_until
from tallystick.events.log.snapshot import dump, fingerprint
from tallystick.events.log.store import Record
from tallystick.events.state.ledger import Ledger
from tests.support.layouts import body_of


def sealed(*events: e.Event) -> list[Record]:
    """A log of events that were never decided, with a chain that is right."""
    records, digest = [], GENESIS
    for position, event in enumerate(events, start=1):
        event.position = event.position or position
        data, digest = seal(event, None, None, digest)
        records.append(Record(position, str(event.__struct_config__.tag), data))
    return records


def test_an_event_that_cannot_have_happened_is_named() -> None:
    report = Verification().run(
        sealed(
            e.FleetResumed(), e.LevelChanged(agent="x", before="green", level="red", percentage=1, dimension="tokens")
        )
    )
    assert [str(problem) for problem in report.problems] == ["position 2: the event cannot have happened: KeyError 'x'"]


def test_money_from_nowhere_is_named() -> None:
    events = [e.FleetResumed() for _ in range(3)]
    used = e.UsageReported(agent="x", tokens=5)
    records = sealed(*events, used)
    ledger = Ledger()
    evolve(ledger, used)
    report = Verification().run(records)
    assert report.problems == [], "a fleet without a limit may use what it likes"
    total = e.TotalBudgetSet(
        budget=Amounts(tokens=10), total=Amounts(tokens=10), reserve=Amounts(), overdraft=Amounts()
    )
    drawn = e.ReserveDrawn(agent="x", amount=Amounts(tokens=5))
    report = Verification().run(sealed(total, drawn))
    assert len(report.problems) == 1
    assert "position 2: the sums are wrong" in str(report.problems[0])


def test_time_does_not_run_backwards() -> None:
    later = e.FleetResumed()
    later.at = later.at.replace(year=2027)
    report = Verification().run(sealed(later, e.FleetResumed()))
    assert "position 2: its time" in str(report.problems[0])


def test_a_record_that_claims_another_position_is_named() -> None:
    report = Verification().run(sealed(e.FleetResumed(), e.FleetResumed(position=7)))
    assert "position 2: the record says that it is at position 7" in str(report.problems[0])


def test_an_event_of_a_later_version_is_named() -> None:
    (record,) = sealed(e.FleetResumed())
    body = body_of(record).replace(b"fleet-resumed.v1", b"fleet-resumed.v9")
    data = body + b',"digest":"' + sha256(GENESIS + body).hexdigest().encode() + b'"}'
    report = Verification().run([Record(1, "fleet-resumed.v9", data)])
    assert "is no event that this tallystick knows" in str(report.problems[0])


def test_anchors_that_agree_are_counted() -> None:
    records = sealed(e.FleetResumed(), e.FleetResumed())
    anchors = [Anchor(1, digest_of(records[0].data)), Anchor(2, digest_of(records[1].data))]
    report = Verification((), anchors).run(records)
    assert report.agreeing == anchors


def test_a_snapshot_whose_hash_is_not_in_the_log_is_no_harm() -> None:
    """The fleet may die between a snapshot and the batch that carries its hash."""
    records = sealed(e.FleetResumed(), e.FleetResumed())
    ledger = replay_until(records[:1]).ledger
    report = Verification([(1, dump(ledger))]).run(records)
    assert report.problems == []
    assert "its hash is not in the log" in report.snapshots[0].verdict


def test_a_snapshot_of_another_format_is_not_compared() -> None:
    old = b'{"format":0}'
    vouched = e.SnapshotRecorded(upto=1, sha256=fingerprint(old))
    report = Verification([(1, old)]).run(sealed(e.FleetResumed(), vouched))
    assert report.problems == []
    assert "was written in another format" in report.snapshots[0].verdict


def test_a_snapshot_that_the_log_vouches_for_must_be_what_a_replay_adds_up_to() -> None:
    wrong = dump(Ledger())
    vouched = e.SnapshotRecorded(upto=1, sha256=fingerprint(wrong))
    report = Verification([(1, wrong)]).run(sealed(e.FleetResumed(), vouched))
    assert "is vouched for by the log, but is not what a replay adds up to" in str(report.problems[0])
