"""Sessions of Claude Code: JSON lines, one file per session, and one per sub-agent in ``SESSION/subagents``.

A message has several lines while it streams, and only the last one is whole. A session that is resumed or forked
repeats the lines of the other one; a side conversation repeats messages under ids of requests of its own. So the id of
a message is what tells calls apart here, and that of the request is what they are recorded under: telemetry has no
other.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import PurePath
from typing import Any, Final

import msgspec

from tallystick.importing.fields import Fields
from tallystick.importing.files import Line, Opened
from tallystick.importing.notes import Misread
from tallystick.importing.used import Used, labelled, last_folder, named
from tallystick.sources_of_tools import claude_code, source_named

ENDINGS: Final = (".jsonl", ".jsonl.gz")
_TOOL: Final = "claude-code"
_NO_MODEL: Final = "<synthetic>"
_USAGE: Final = b'"usage"'
_NOT_WORDS: Final = re.compile(r"[^A-Za-z0-9]")
_CACHES: Final = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")


class _Row(msgspec.Struct):
    """A line; of what it has beside these nothing is read, as the text of prompts and replies."""

    type: Any = None
    timestamp: Any = None
    sessionId: Any = None  # noqa: N815 - the names of the file
    requestId: Any = None  # noqa: N815
    isSidechain: Any = None  # noqa: N815
    agentId: Any = None  # noqa: N815
    gitBranch: Any = None  # noqa: N815
    costUSD: Any = None  # noqa: N815
    cwd: Any = None
    uuid: Any = None
    message: msgspec.Raw = msgspec.Raw()
    data: msgspec.Raw = msgspec.Raw()


class _Message(msgspec.Struct):
    id: Any = None
    model: Any = None
    usage: Any = None


class _Progress(msgspec.Struct):
    """What a session says of the step of a sub-agent: a line within the line."""

    message: msgspec.Raw = msgspec.Raw()


_decode_row = msgspec.json.Decoder(_Row).decode
_decode_message = msgspec.json.Decoder(_Message).decode
_decode_progress = msgspec.json.Decoder(_Progress).decode


def read(file: Opened) -> Iterator[Used]:
    """The calls that a file says."""
    for line in file.lines():
        text = line.text.strip()
        if not text:
            continue
        if not text.startswith(b"{") or not text.endswith(b"}"):
            _cut_off(file, line)
        elif _USAGE in text:
            try:
                yield from _uses(file, line.number, text)
            except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
                if line.is_whole:
                    file.notes.cannot_read(file.place(line.number), f"not JSON: {error}")
                else:
                    _cut_off(file, line)
            except Misread as error:
                file.notes.cannot_read(file.place(line.number), error)


def _cut_off(file: Opened, line: Line) -> None:
    if line.is_whole:
        file.notes.cannot_read(file.place(line.number), "not an object of JSON")
    else:
        file.notes.remark(f"{file.place(line.number)}: has no end yet; import again when it is written")


def _uses(file: Opened, number: int, text: bytes) -> Iterator[Used]:
    row = _decode_row(text)
    if row.type == "progress" and bytes(row.data).startswith(b"{"):
        inner = bytes(_decode_progress(row.data).message)
        if not inner.startswith(b"{"):
            return
        outer, row = row, _decode_row(inner)
        row.sessionId, row.cwd, row.gitBranch = outer.sessionId, row.cwd or outer.cwd, row.gitBranch or outer.gitBranch
    if row.type not in (None, "assistant") or not bytes(row.message).startswith(b"{"):
        return
    message = _decode_message(row.message)
    if not isinstance(message.usage, dict):
        return
    if message.model == _NO_MODEL:
        file.notes.drop("of no model (<synthetic>)")
        return
    yield from _calls(file, number, row, message)


def _calls(file: Opened, number: int, row: _Row, message: _Message) -> Iterator[Used]:
    """The call of a message, and those that an advisor answered within it, which is another model."""
    fields = Fields(msgspec.structs.asdict(row))
    at = fields.moment("timestamp")
    if at is None:
        raise fields.misread("timestamp", "a time like 2026-03-04T12:00:00Z")
    usage = Fields(message.usage, "usage.")
    parts = [Fields(part, "usage.iterations.") for part in usage.items("iterations") if isinstance(part, dict)]
    beside = [part for part in parts if part.text("type") not in (None, "message")]
    id, request, session = _text(message.id), fields.text("requestId"), fields.text("sessionId")
    counts = [_counts(part) for part in [usage, *(part for part in beside if not part.text("model"))]]
    key = id or request or source_named(_TOOL, session or file.path.stem, at.isoformat(), sum(map(_sum, counts)))
    source = claude_code(request, id) or key
    project = _project(file.name, fields.text("cwd"))
    shared: dict[str, Any] = {
        "agent": named(_TOOL, project),
        "at": at,
        "labels": labelled(
            project=project,
            session=session,
            branch=fields.text("gitBranch"),
            subagent=fields.text("agentId"),
            speed=None if usage.text("speed") == "standard" else usage.text("speed"),
        ),
        "copied": row.isSidechain is True,
        "file": file.name,
        "line": number,
    }
    summed = counts[0] if len(counts) == 1 else {name: sum(one[name] for one in counts) for name in counts[0]}
    cost = fields.money("costUSD")
    if _sum(summed) or cost:
        yield Used(
            key=key, source=source, model=_text(message.model), cost=cost, tokens=_sum(summed),
            counts={"provider_usage": _as_usage(summed)}, **shared,
        )  # fmt: skip
    else:
        file.notes.drop("of no use")
    for nth, part in enumerate([part for part in beside if part.text("model")], start=1):
        mine = _counts(part)
        yield Used(
            key=source_named(key, "within", nth), source=source_named(source, "within", nth), model=part.text("model"),
            tokens=_sum(mine), counts={"provider_usage": _as_usage(mine)}, **shared,
        )  # fmt: skip


def _counts(usage: Fields) -> dict[str, int]:
    """The tokens of a usage object of Anthropic, in which cached input stands beside the input."""
    caches = usage.inside("cache_creation")
    short, hour = (caches.count(name) or 0 for name in _CACHES)
    return {
        "input_tokens": usage.count("input_tokens") or 0,
        "output_tokens": usage.count("output_tokens") or 0,
        "cache_read_input_tokens": usage.count("cache_read_input_tokens") or 0,
        "cache_creation_input_tokens": max(usage.count("cache_creation_input_tokens") or 0, short + hour),
        _CACHES[1]: hour,
    }


def _sum(counts: dict[str, int]) -> int:
    return sum(counts.values()) - counts[_CACHES[1]]


def _as_usage(counts: dict[str, int]) -> dict[str, Any]:
    """The usage object that is reported, from which the fleet reads the tokens as from the provider's own."""
    rest = {name: count for name, count in counts.items() if name != _CACHES[1]}
    hour = counts[_CACHES[1]]
    short = counts["cache_creation_input_tokens"] - hour
    return {**rest, "cache_creation": dict(zip(_CACHES, (short, hour), strict=True))} if hour else rest


def _text(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


@lru_cache(maxsize=4096)
def _project(file: str, folder: str | None) -> str | None:
    """The name of the project: of the folder in which the session began, which the file's own folder is named after.

    A session may go on in a folder below it.
    """
    if folder is None:
        return None
    named_after = set(PurePath(file).parts)
    parts = folder.replace("\\", "/").rstrip("/").split("/")
    for end in range(len(parts), 0, -1):
        if _NOT_WORDS.sub("-", "/".join(parts[:end])) in named_after:
            return parts[end - 1] or None
    return last_folder(folder)
