"""Reads a trace of usage: a CSV file, gzip welcome, one row per step of a run; an empty cell is unknown."""

import csv
import gzip
import zlib
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final, TextIO

import msgspec

from tallystick.config.amounts import COST, NUMBER, TIME, TOKENS, InvalidAmount, units_up
from tallystick.demo.workload import Run, Step, Workload
from tallystick.events.messages import NAME_MAX
from tallystick.events.state.accounts import RESERVED_NAMES

COLUMNS: Final = (
    "run_id", "agent", "product_or_task", "step", "timestamp_s", "duration_s", "model",
    "input_tokens", "output_tokens", "cached_tokens", "cost_usd",
)  # fmt: skip
RUN_ID_MAX: Final = NAME_MAX - 12
"""A run's messages are named after it, with a number behind."""
CRITICAL_EVERY: Final = 12
"""A trace says nothing of priorities: each twelfth run is critical, beginning with the first, the others are normal."""
_NOTE: Final = "A trace says nothing of priorities: each twelfth run was made critical, the others normal."
_SHOWN_MAX: Final = 40


class TraceError(ValueError):
    """A trace that cannot be run; the text names file, line, column, what was found and what is allowed."""


class _Row(msgspec.Struct, frozen=True):
    """One line of the file, understood."""

    agent: str | None
    product: str | None
    step: int | None
    at_ms: int | None
    duration_ms: int | None
    model: str | None
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    cost_nanos: int | None


def read_trace(file: Path) -> Workload:
    """The runs of a trace, in the order in which they first appear.

    Raises:
        TraceError: the file cannot be read, or is not such a trace.
    """
    rows: dict[str, list[_Row]] = {}
    try:
        with _opened(file) as lines:
            for run_id, row in _rows(file, lines):
                rows.setdefault(run_id, []).append(row)
    except OSError as error:
        raise TraceError(f"{file}: cannot be read: {error.strerror or error}") from None
    except (EOFError, zlib.error) as error:
        raise TraceError(f"{file}: is not a whole gzip file: {error}") from None
    except UnicodeDecodeError:
        raise TraceError(f"{file}: is not a UTF-8 text") from None
    if not rows:
        raise TraceError(f"{file}: holds no step: one line per step is expected below the names of the columns")
    known = [row.at_ms for steps in rows.values() for row in steps if row.at_ms is not None]
    first = min(known, default=0)
    runs = tuple(_run(run_id, steps, i, first) for i, (run_id, steps) in enumerate(rows.items()))
    return Workload(f"the {len(runs)} runs of {file.name}", _NOTE, runs)


def _opened(file: Path) -> TextIO:
    with file.open("rb") as start:
        zipped = start.read(2) == b"\x1f\x8b"
    if zipped:
        return gzip.open(file, "rt", encoding="utf-8-sig", newline="")
    return file.open(encoding="utf-8-sig", newline="")


def _rows(file: Path, lines: TextIO) -> Iterator[tuple[str, _Row]]:
    reader = csv.DictReader(lines, strict=True)
    try:
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            found = ", ".join(reader.fieldnames or ()) or "nothing"
            raise TraceError(f"{file}, line 1: the column {missing[0]} is missing; found {_shown(found)}")
        for cells in reader:
            line = _Line(file, reader.line_num, cells)
            yield line.run_id(), line.row()
    except csv.Error as error:
        raise TraceError(f"{file}, line {reader.line_num}: is not CSV: {error}") from None


class _Line:
    """One line of the file, and how to complain about it."""

    def __init__(self, file: Path, number: int, cells: dict[str, str]) -> None:
        self._file = file
        self._number = number
        self._cells = cells
        if None in cells or None in cells.values():
            raise TraceError(f"{file}, line {number}: found more or fewer cells than the first line names columns")

    def run_id(self) -> str:
        found = self._cells["run_id"].strip()
        if not found or len(found) > RUN_ID_MAX or not found.isprintable() or found in RESERVED_NAMES:
            raise self._bad("run_id", f"a name of 1 to {RUN_ID_MAX} printable characters")
        return found

    def row(self) -> _Row:
        row = _Row(
            agent=self._word("agent"),
            product=self._word("product_or_task"),
            step=self._used("step", TOKENS),
            at_ms=self._used("timestamp_s", TIME),
            duration_ms=self._used("duration_s", TIME),
            model=self._word("model"),
            input_tokens=self._used("input_tokens", TOKENS),
            output_tokens=self._used("output_tokens", TOKENS),
            cached_tokens=self._used("cached_tokens", TOKENS),
            cost_nanos=self._used("cost_usd", COST),
        )
        if (row.cached_tokens or 0) > (row.input_tokens or 0):
            raise self._bad(
                "cached_tokens", f"at most input_tokens ({row.input_tokens or 0}), of which they are a part"
            )
        return row

    def _word(self, column: str) -> str | None:
        found = self._cells[column].strip()
        if len(found) > NAME_MAX or not found.isprintable():
            raise self._bad(column, f"up to {NAME_MAX} printable characters")
        return found or None

    def _used(self, column: str, dimension: int) -> int | None:
        """What was used, or a time: a fact, of which anything finer than our units is rounded up."""
        found = self._cells[column].strip()
        if not found:
            return None
        try:
            if NUMBER.fullmatch(found):
                return units_up(Decimal(found), dimension, column)
        except (InvalidOperation, InvalidAmount):
            pass  # Their words name neither the file nor the line; ours follow.
        raise self._bad(column, "a number, not negative, or nothing")

    def _bad(self, column: str, allowed: str) -> TraceError:
        found = _shown(self._cells[column]) or "nothing"
        return TraceError(f"{self._file}, line {self._number}, column {column}: found {found}; allowed is {allowed}")


def _shown(found: str) -> str:
    text = found if found.isprintable() else repr(found)
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 3] + "..."


def _run(run_id: str, rows: list[_Row], number: int, first_ms: int) -> Run:
    """One run, its steps in order; a step whose time is unknown begins when the one before ends."""
    rows.sort(key=lambda row: row.step or 0)
    started = rows[0].at_ms if rows[0].at_ms is not None else first_ms
    clock, steps = started, []
    for row in rows:
        begins = clock if row.at_ms is None else max(clock, row.at_ms)
        steps.append(
            Step(
                gap_ms=begins - clock,
                duration_ms=row.duration_ms,
                model=row.model,
                input_tokens=row.input_tokens,
                output_tokens=row.output_tokens,
                cached_tokens=row.cached_tokens,
                cost_nanos=row.cost_nanos,
            )
        )
        clock = begins + (row.duration_ms or 0)
    return Run(
        id=run_id,
        agent_type=rows[0].agent,
        product=rows[0].product,
        priority="normal" if number % CRITICAL_EVERY else "critical",
        starts_ms=started - first_ms,
        steps=tuple(steps),
    )
