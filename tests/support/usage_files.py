"""Files as tools and providers write them, made by hand, and what an import reads out of them."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tallystick.importing.files import Opened
from tallystick.importing.notes import Notes
from tallystick.importing.staging import Staging
from tallystick.importing.used import Used

BEGAN = datetime(2026, 10, 1, 9, tzinfo=UTC)


def at(seconds: float) -> str:
    """A time as these files write it."""
    return (BEGAN + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write(path: Path, *rows: Any, end: str = "\n") -> Path:
    """JSON lines; a text is written as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{row if isinstance(row, str) else json.dumps(row)}{end}" for row in rows)
    path.write_bytes(text.encode())
    return path


def brought_together(uses: Iterable[Used], notes: Notes) -> list[Used]:
    """What would be reported."""
    with Staging(notes) as staging:
        for used in uses:
            staging.take(used)
        return list(staging.oldest_first())


def opened(path: Path, notes: Notes) -> Opened:
    return Opened(path, notes)


# --- Claude Code -----------------------------------------------------------------------------------------------------


def answer(
    id: str | None = "msg_1", request: str | None = "req_1", seconds: float = 0, output: int = 100, **rest: Any
) -> dict[str, Any]:
    """A line of an answer. Of ``rest``, what is in ``usage`` goes into the usage object, what else into the line."""
    usage = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 300,
        "cache_read_input_tokens": 1000,
        "output_tokens": output,
        **rest.pop("usage", {}),
    }
    message = {
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": rest.pop("model", "claude-sonnet-4-5-20250929"),
    }
    message |= {"content": [{"type": "text", "text": 'the word "usage" in a text'}], "usage": usage}
    row = {"type": "assistant", "sessionId": "s-1", "timestamp": at(seconds), "cwd": "/srv/web", "gitBranch": "main"}
    row |= {"requestId": request, "message": message, **rest}
    return {name: value for name, value in row.items() if value is not None}


# --- Codex -----------------------------------------------------------------------------------------------------------


def minted(seconds: float, digit: str = "0") -> str:
    """An id that has the time in which it was made (UUID version 7)."""
    digits = f"{int((BEGAN + timedelta(seconds=seconds)).timestamp() * 1000):012x}7{digit * 3}8{digit * 15}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def rollout(folder: Path, id: str, *rows: Any) -> Path:
    return write(folder / f"rollout-2026-10-01T09-00-00-{id}.jsonl", *rows)


def meta(id: str, seconds: float = 0, **rest: Any) -> dict[str, Any]:
    payload = {"id": id, "timestamp": at(seconds), "cwd": "/srv/web", "git": {"branch": "main"}, **rest}
    return {"timestamp": at(seconds), "type": "session_meta", "payload": payload}


def turn(seconds: float, model: str = "gpt-5.2-codex", **rest: Any) -> dict[str, Any]:
    return {"timestamp": at(seconds), "type": "turn_context", "payload": {"model": model, **rest}}


def count(seconds: float, last: tuple[int, ...] | None, total: tuple[int, ...] | None) -> dict[str, Any]:
    """A ``token_count`` of input, cached input, output and reasoning."""
    info = {
        name: dict(zip(_NAMES, (*counts, counts[0] + counts[2]), strict=True))
        for name, counts in (("last_token_usage", last), ("total_token_usage", total))
        if counts is not None
    }
    payload = {"type": "token_count", "info": info or None, "rate_limits": {"primary": {"used_percent": 3}}}
    return {"timestamp": at(seconds), "type": "event_msg", "payload": payload}


def counts_of(*lasts: tuple[int, ...], seconds: float = 1) -> Iterator[dict[str, Any]]:
    """Responses one after the other, with the totals that follow."""
    total = (0, 0, 0, 0)
    for n, last in enumerate(lasts):
        total = tuple(a + b for a, b in zip(total, last, strict=True))  # type: ignore[assignment]
        yield count(seconds + n, last, total)


_NAMES = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens", "total_tokens")
