"""Sessions of Codex (rollouts): JSON lines, one file per session.

After each response a ``token_count`` says what it used and the total of the session; the same total is said again when
something else changes. A session that was forked, as that of a sub-agent may be, begins with a copy of what its parent
had said, with new times: that much of it is cut.
"""

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from tallystick.importing.fields import Fields
from tallystick.importing.files import Line, Opened
from tallystick.importing.notes import Misread, Notes
from tallystick.importing.used import Used, labelled, last_folder, named
from tallystick.sources_of_tools import codex

ENDINGS: Final = (".jsonl", ".jsonl.gz")
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_KINDS: Final = (b'"token_count"', b'"turn_context"', b'"session_meta"')
_COPIED_SECONDS: Final = 1.0
"""A copy of a parent's history is written at once, when the session begins."""
_NAMES: Final = (
    "input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens", "cache_write_input_tokens",
)  # fmt: skip


class _Row(msgspec.Struct):
    type: Any = None
    timestamp: Any = None
    payload: Any = None


_decode = msgspec.json.Decoder(_Row).decode


class Counts(NamedTuple):
    """Tokens as Codex counts them: cached input and what was written to a cache are parts of the input, reasoning of
    the output.
    """

    input: int = 0
    cached: int = 0
    output: int = 0
    reasoning: int = 0
    written: int = 0


class _Said(NamedTuple):
    """A ``token_count``: what the last response used, and all of them."""

    last: Counts | None
    total: Counts | None


class _Session:
    """A session as far as it is read."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.parent: str | None = None
        self.began: dt.datetime | None = None
        self.folder: str | None = None
        self.branch: str | None = None
        self.role: str | None = None
        self.model: str | None = None
        self.turn: str | None = None
        self.has_copy = False
        self.copied: Iterator[_Said] | None = None
        self.is_fresh = True
        self.total: Counts | None = None
        self.seen: Counter[Counts] = Counter()
        self._is_known = False

    def begin(self, row: Fields, meta: Fields) -> None:
        """Take what a ``session_meta`` says; another one is that of the parent, and comes with its history."""
        id = meta.text("id", "session_id")
        if self._is_known:
            self.has_copy = self.has_copy or id != self.id
            return
        self._is_known = True
        spawn = meta.inside("source").inside("subagent").inside("thread_spawn")
        self.id = id or self.id
        self.parent = meta.text("forked_from_id", "parent_thread_id") or spawn.text("parent_thread_id")
        self.began = meta.moment("timestamp") or row.moment("timestamp")
        self.folder, self.branch = meta.text("cwd"), meta.inside("git").text("branch")
        self.role = None if self.parent is None else spawn.text("agent_role", "agent_nickname")


def sessions_of(files: list[Path]) -> dict[str, Path]:
    """The file of each session, by the id in its name."""
    found = {}
    for file in files:
        if ids := _UUID.findall(file.name):
            found[ids[-1]] = file
    return found


def read(file: Opened, sessions: Mapping[str, Path]) -> Iterator[Used]:
    """The responses that a file says; ``sessions`` are those in which its parent may be."""
    ids = _UUID.findall(file.path.name)
    session = _Session(ids[-1] if ids else file.path.name.removesuffix(".gz").removesuffix(".jsonl"))
    for line, row in _rows(file):
        try:
            payload = row.inside("payload")
            kind = row.text("type")
            if kind == "session_meta":
                session.begin(row, payload)
                if session.copied is None and session.parent is not None and session.parent in sessions:
                    session.copied = _said_by(sessions[session.parent])
            elif kind == "turn_context":
                session.model = payload.text("model") or session.model
                session.turn = payload.text("turn_id") or session.turn
                session.folder = session.folder or payload.text("cwd")
            elif (said := _said(payload)) is not None:
                yield from _use(file, line.number, session, row, payload, said)
        except Misread as error:
            file.notes.cannot_read(file.place(line.number), error)


def _rows(file: Opened) -> Iterator[tuple[Line, Fields]]:
    """The lines that matter here."""
    for line in file.lines():
        text = line.text.strip()
        if not text:
            continue
        is_object = text.startswith(b"{") and text.endswith(b"}")
        if is_object and not any(kind in text for kind in _KINDS):
            continue
        try:
            row = _decode(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            if line.is_whole:
                file.notes.cannot_read(file.place(line.number), f"not JSON: {error}")
            else:
                file.notes.remark(f"{file.place(line.number)}: has no end yet; import again when it is written")
            continue
        if isinstance(row.payload, dict):
            yield line, Fields(msgspec.structs.asdict(row))


def _said(payload: Fields) -> _Said | None:
    """What a ``token_count`` says of tokens; None for what is none, or says nothing of them."""
    if payload.text("type") != "token_count":
        return None
    info = payload.inside("info")
    last, total = (
        _counts(info.inside(name)) if name in info else None for name in ("last_token_usage", "total_token_usage")
    )
    return None if last is None and total is None else _Said(last, total)


def _counts(fields: Fields) -> Counts:
    sent, cached, got, reasoning, written = (fields.count(name) or 0 for name in _NAMES)
    cached = min(cached, sent)
    return Counts(sent, cached, got, min(reasoning, got), min(written, sent - cached))


def _said_by(parent: Path) -> Iterator[_Said]:
    """What a parent has said, as long as it is asked for."""
    for _, row in _rows(Opened(parent, Notes())):
        try:
            said = _said(row.inside("payload"))
        except Misread:
            continue
        if said is not None:
            yield said


def _use(file: Opened, number: int, session: _Session, row: Fields, payload: Fields, said: _Said) -> Iterator[Used]:
    before, at = session.total, row.moment("timestamp")
    session.total = said.total or before
    if at is None:
        raise row.misread("timestamp", "a time like 2026-03-04T12:00:00Z")
    if session.parent is not None and _is_copied(session, said, at):
        file.notes.drop("replayed by a fork")
        return
    if said.total is not None and said.total == before:
        file.notes.drop("the same total again")
        return
    used = said.last or Counts(*(now - then for now, then in zip(said.total or (), before or Counts(), strict=True)))
    if min(used) < 0 or not any(used):
        file.notes.drop("of no use")
        return
    session.seen[used] += 1
    project = last_folder(session.folder)
    parts = (used.input, used.cached, used.output, used.reasoning)
    source = codex(session.id, parts, session.seen[used])
    counts = {
        "input_tokens": used.input,
        "output_tokens": used.output,
        "cached_tokens": used.cached,
        "cache_write_tokens": used.written,
        "reasoning_tokens": used.reasoning,
    }
    yield Used(
        key=source,
        source=source,
        agent=named("codex", project),
        at=at,
        model=payload.text("model") or payload.inside("info").text("model") or session.model,
        tokens=used.input + used.output,
        counts=counts,
        labels=labelled(project=project, session=session.id, branch=session.branch, subagent=session.role),
        file=file.name,
        line=number,
    )


def _is_copied(session: _Session, said: _Said, at: dt.datetime) -> bool:
    """Whether a fork still repeats its parent: it says what the parent said, from the beginning, without a gap.

    Without the parent, the id of the turn shows it, which has the time at which the turn began; or it is all written in
    the moment in which the session begins.
    """
    if session.copied is not None:
        if next(session.copied, None) == said:
            return True
        session.copied, session.has_copy = iter(()), False
    turn = None if session.turn is None else _minted(session.turn)
    began = _minted(session.id) or session.began
    if began is None:
        return False
    if turn is not None:
        return turn < began
    at_once = session.has_copy and session.is_fresh and (at - began).total_seconds() <= _COPIED_SECONDS
    session.is_fresh = at_once
    return at_once


def _minted(id: str) -> dt.datetime | None:
    """When an id was made that says so (UUID version 7)."""
    digits = id.replace("-", "")
    if len(digits) != 32 or digits[12] != "7" or not _UUID.fullmatch(id):
        return None
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=int(digits[:12], 16))
