"""Whatever is in a file: it is read, or named, and what is read can be sent."""

import copy
import json
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.events.log.codec import read_message
from tallystick.events.messages.replies import Refusal
from tallystick.importing import anthropic, claude_code, codex, litellm, openai, openrouter, trace
from tallystick.importing.files import Opened
from tallystick.importing.notes import Notes
from tallystick.importing.reporting import Outcome, report
from tallystick.importing.used import Used
from tests.support.usage_files import answer, brought_together, count, meta, minted, turn

NOW = datetime(2026, 11, 29, tzinfo=UTC)
BUCKET = {"start_time": 1790812800, "end_time": 1790899200, "project_id": "p", "model": "m"}
HOUR = {"starting_at": "2026-11-01T10:00:00Z", "ending_at": "2026-11-01T11:00:00Z"}
READERS: dict[str, tuple[Callable[[Opened], Iterator[Used]], list[Any]]] = {
    "claude-code": (claude_code.read, [answer(usage={"iterations": [{"type": "compaction", "input_tokens": 1}]})]),
    "codex": (
        lambda file: codex.read(file, {}),
        [meta(minted(0), forked_from_id="x"), turn(0, turn_id=minted(1)), count(1, (9, 1, 2, 1), (9, 1, 2, 1))],
    ),
    "openai": (
        lambda file: openai.read(file, NOW),
        [{"data": [{**BUCKET, "results": [{"input_tokens": 5, "batch": True}, {"amount": {"value": 1}}]}]}],
    ),
    "anthropic": (
        lambda file: anthropic.read(file, NOW),
        [{**HOUR, "results": [{"uncached_input_tokens": 5, "cache_creation": {}}, {"amount": "1.5", "currency": "X"}]}],
    ),
    "litellm": (
        litellm.read,
        [
            {
                "request_id": "a",
                "startTime": "2026-11-01",
                "prompt_tokens": 5,
                "spend": 1,
                "metadata": {"usage_object": {}},
            }
        ],
    ),
    "openrouter": (
        openrouter.read,
        [{"generation_id": "g", "created_at": "2026-11-01", "tokens_prompt": 5, "model_permaslug": "m"}],
    ),
    "trace": (
        lambda file: trace.read(file, NOW, lambda _: 1),
        [{"run_id": "r", "agent": "a", "timestamp_s": 5, "input_tokens": 5, "cached_tokens": 1, "duration_s": 1}],
    ),
}
STRANGE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(),
    st.sampled_from(["\ud800", "\u200b", "x" * 500, "1e999999", "-0", " ", "NaN", "fleet", "2026-13-01", "[", "{"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inner:
        yield (*path, name)
        yield from places(one, (*path, name))


@pytest.mark.parametrize("kind", READERS)
@given(data=st.data())
def test_a_strange_value_in_any_place_is_read_or_named(kind: str, data: st.DataObject) -> None:
    read, rows = READERS[kind]
    rows = copy.deepcopy(rows)
    for _ in range(data.draw(st.integers(1, 3))):
        *path, last = data.draw(st.sampled_from(list(places(rows))))
        inside: Any = rows
        for name in path:
            inside = inside[name]
        inside[last] = data.draw(STRANGE)
    check(read, "\n".join(json.dumps(row) for row in rows).encode())


@pytest.mark.parametrize("kind", READERS)
@given(lines=st.lists(st.binary(max_size=30) | st.sampled_from([b'{"usage"}', b'{"a":', b"[", b'"', b"\xff\xfe"])))
def test_a_file_of_anything_is_read_or_named(kind: str, lines: list[bytes]) -> None:
    check(READERS[kind][0], b"\n".join(lines))


def check(read: Callable[[Opened], Iterator[Used]], content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "x.jsonl")
        file.write_bytes(content)
        notes = Notes()
        uses = brought_together(read(Opened(file, notes)), notes)
    outcome = Outcome()

    def ask(reports: list[Any]) -> list[dict[str, Any]]:
        answers = [read_message(one, lambda: "id") for one in reports]
        return [{"error": {"code": "x"}} if isinstance(one, Refusal) else {"ok": {}} for one in answers]

    rates = {used.currency: Decimal("1.1") for used in uses}
    report(uses, ask, None, rates, "import", outcome)
    assert outcome.reported == len(uses)
    assert not outcome.refusals
