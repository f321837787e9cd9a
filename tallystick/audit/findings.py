"""What an audit found, as lines for people and as JSON."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from tallystick.audit.deciding import Contradicted, Deciding
from tallystick.audit.objects import OddObject
from tallystick.audit.view_rows import Compared
from tallystick.events.catalog import rules_version
from tallystick.events.decide.answers import stamp
from tallystick.events.log.audit import Report
from tallystick.events.log.broken_chain import BrokenChain, NewerLog
from tallystick.whatif.mismatch import Field
from tallystick.whatif.stretches import positions
from tallystick.wording import counted, shown_time

VIEWS = "the file of views"
ARCHIVES = "the table archives"
_BESIDE = (VIEWS, ARCHIVES)
"""Anchors that lie beside the log."""


@dataclass(frozen=True)
class Findings:
    """Everything that was looked at. ``deciding`` is None where only the chain was proved."""

    report: Report
    anchors: int
    deciding: Deciding | None
    stray: str | None
    rows: Compared
    objects: list[OddObject]

    @property
    def first(self) -> str | None:
        """The first thing that is wrong, in words; None where nothing is."""
        problems = sorted(self.report.problems, key=lambda problem: problem.position)
        found: list[object] = [*problems, *filter(None, [self.stray]), *self.rows.named, *self.objects]
        return str(found[0]) if found else None


def findings_lines(findings: Findings) -> Iterator[str]:
    """The findings, a line each."""
    report = findings.report
    bad = bool(report.problems)
    span = f", {shown_time(report.first_at)} to {shown_time(report.last_at)}" if report.events else ""
    yield _line(
        "proved events" if bad else "events",
        f"{report.events:,}{span}, without a gap, each chained to the one before it",
    )
    yield _line("proved up to" if bad else "head", f"{report.events}:{report.digest.hex()}")
    for problem in report.problems:
        yield _line("newer" if isinstance(problem, NewerLog) else "bad", str(problem))
    yield from _decided(findings)
    if report.proofs:
        yield _line("conservation", f"all money accounted for, proved in full {_times(report.proofs)}")
    for checked in report.snapshots:
        yield _line("snapshot", f"the one at position {checked.position} {checked.verdict}")
    missing = report.snapshots_recorded - len(report.snapshots)
    if missing > 0 and findings.deciding is not None:
        yield _line("snapshot", f"{missing} older or deleted: not compared, and not needed")
    yield from _beside(findings)
    yield _line("anchors", _anchored(report, findings.anchors))
    if findings.stray is not None:
        yield _line("not of the log", findings.stray)
    if findings.first is None:
        yield _line("result", "sound" if findings.deciding is not None else "sound, as far as the chain shows")


def _line(name: str, text: str) -> str:
    return f"{name:<15} {text}"


def _decided(findings: Findings) -> Iterator[str]:
    """What was decided again, and what was not."""
    if findings.deciding is None:
        yield _line("decisions", "not decided again: only the chain was proved (--quick)")
        return
    reproduction = findings.deciding.reproduction
    for stretch in reproduction.stretches.all:
        last = min(stretch.last, findings.report.events)
        if last < stretch.first:
            continue
        where = positions(stretch._replace(last=last))
        if stretch.is_ours:
            yield _line("decided again", f"{where}, by version {stretch.rules} of the rules: all as recorded")
        else:
            ours = rules_version.RULES_VERSION
            yield _line(
                "other rules",
                f"{where} were decided by version {stretch.rules}, and this tallystick decides by version {ours}:"
                " chain, conservation and replay were proved, the decisions were not made again",
            )
    if reproduction.reworded:
        records = counted(reproduction.reworded, "record")
        yield _line(
            "sentences", f"in {records} the log has other words for people than this version, and no other numbers"
        )
    if reproduction.calendar:
        ends = counted(reproduction.calendar, "end")
        yield _line(
            "calendar", f"{ends} of days or periods taken from the log: this machine's time-zone data are others"
        )


def _beside(findings: Findings) -> Iterator[str]:
    """What lies beside the log."""
    report, rows = findings.report, findings.rows
    for anchor in report.agreeing:
        if anchor.by == VIEWS:
            yield _line("views", f"agree with the log at position {anchor.position}")
    if rows.views:
        what = f"{counted(rows.rows, 'row')} of {counted(rows.views, 'view')}"
        verdict = (
            "every one is what the log comes to"
            if not rows.odd
            else f"{counted(rows.odd, 'row')} not what the log comes to"
        )
        yield _line("view rows", f"{what} at position {rows.position}: {verdict}")
    for row in rows.named:
        yield _line("bad", str(row))
    for skipped in rows.skipped:
        yield _line("view rows", skipped)
    for odd in findings.objects:
        yield _line("bad", str(odd))


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _anchored(report: Report, given: int) -> str:
    if not given:
        return (
            "none given, so not checked: whether the tail was cut off, or all of the log was written anew"
            " (tallystick audit anchor --out FILE keeps one)"
        )
    return f"{sum(anchor.by not in _BESIDE for anchor in report.agreeing)} of {given} agree with the log"


# --- for machines -----------------------------------------------------------------------------------------------------


def findings_json(findings: Findings) -> dict[str, Any]:
    """Everything, for machines. ``problems`` is empty where the log, the views and the SQL objects are sound."""
    report, deciding, rows = findings.report, findings.deciding, findings.rows
    reproduction = None if deciding is None else deciding.reproduction
    return {
        "result": "sound" if findings.first is None else "not sound",
        "quick": deciding is None,
        "events": report.events,
        "first_at": stamp(report.first_at) if report.events else None,
        "last_at": stamp(report.last_at) if report.events else None,
        "head": f"{report.events}:{report.digest.hex()}",
        "rules": [
            {
                "first": one.first,
                "last": min(one.last, report.events),
                "version": one.rules,
                "decided_again": one.is_ours,
            }
            for one in ([] if reproduction is None else reproduction.stretches.all)
            if one.first <= report.events
        ],
        "messages": None if reproduction is None else reproduction.messages,
        "reworded": None if reproduction is None else reproduction.reworded,
        "calendar_from_log": None if reproduction is None else reproduction.calendar,
        "conservation_proofs": report.proofs,
        "snapshots": [{"position": one.position, "verdict": one.verdict} for one in report.snapshots],
        "anchors": {"given": findings.anchors, "agreeing": sum(one.by not in _BESIDE for one in report.agreeing)},
        "views": {
            "position": rows.position,
            "views": rows.views,
            "rows": rows.rows,
            "odd_rows": rows.odd,
            "not_compared": list(rows.skipped),
        },
        "problems": list(_problems(findings)),
    }


def _problems(findings: Findings) -> Iterator[dict[str, Any]]:
    for problem in sorted(findings.report.problems, key=lambda one: one.position):
        yield _problem("log", problem.reason, problem.position, _fields(problem))
    if findings.stray is not None:
        yield _problem("log", findings.stray)
    for row in findings.rows.named:
        yield {**_problem("view", row.reason, row.position, row.fields), "view": row.view, "row": row.row}
    for odd in findings.objects:
        yield _problem("sql", str(odd))


def _fields(problem: BrokenChain) -> list[Field]:
    return list(problem.fields) if isinstance(problem, Contradicted) else []


def _problem(where: str, reason: str, position: int | None = None, fields: list[Field] | None = None) -> dict[str, Any]:
    return {
        "where": where,
        "position": position,
        "reason": reason,
        "fields": [
            {"field": one.path, "recorded": _plain(one.recorded), "decided_again": _plain(one.decided)}
            for one in fields or []
        ],
    }


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value)
